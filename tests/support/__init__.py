"""What the tests share, one of each.

==============  =============================================================================
module          what is there
==============  =============================================================================
``cases``       `SingletonTestCase`: hosts, launches, programs and peers, cleaned up after;
                `NamedTestCase`: the same with a name and a home
``processes``   `Program`: a child process whose output is read as it comes
``waiting``     `wait_until`: for a condition, under a deadline; `Stopwatch`
``observing``   `Collector`, an observer; `Shelf`, a dispatch; `Printed`, what is printed
``ports``       `free_port`: ports that never collide
``descriptors`` which descriptors are open
``systems``     what a system cannot show: marks for tests that need it
``inside``      all that tests know of private names
==============  =============================================================================
"""

from . import inside
from .cases import (
    NOTHING,
    NamedTestCase,
    SingletonTestCase,
    host_clock_ahead,
    left_behind,
    read_to_end,
    skip_without_ipv6,
)
from .descriptors import descriptors
from .inside import ACK, MAX_PACKET, PORT
from .observing import Collector, Printed, Shelf, expect_lines
from .ports import free_port
from .processes import PROGRAMS, ROOT, TEST_APP, Program, environment, python_of_another_user
from .systems import (
    WINE,
    needs_errors_of_folders,
    needs_fine_clock,
    needs_long_command_lines,
    needs_reset_in_backlog,
    needs_resets,
    needs_unix_descriptors,
)
from .waiting import PATIENCE, Stopwatch, wait_until

__all__ = [
    "ACK",
    "MAX_PACKET",
    "NOTHING",
    "PATIENCE",
    "PORT",
    "PROGRAMS",
    "ROOT",
    "TEST_APP",
    "WINE",
    "Collector",
    "NamedTestCase",
    "Printed",
    "Program",
    "Shelf",
    "SingletonTestCase",
    "Stopwatch",
    "descriptors",
    "environment",
    "expect_lines",
    "free_port",
    "host_clock_ahead",
    "inside",
    "left_behind",
    "needs_errors_of_folders",
    "needs_fine_clock",
    "needs_long_command_lines",
    "needs_reset_in_backlog",
    "needs_resets",
    "needs_unix_descriptors",
    "python_of_another_user",
    "read_to_end",
    "skip_without_ipv6",
    "wait_until",
]
