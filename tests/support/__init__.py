"""What the tests share.

==============  =============================================================================
module          what is there
==============  =============================================================================
``cases``       `SingletonTestCase`: hosts, launches, programs and peers, cleaned up after;
                `NamedTestCase`: the same with a name and a home
``silence``     `SilentTestCase`: a test that fails if something unexpected was printed
``processes``   `Program`: a child process whose output is read as it arrives; `AnotherUser`
``waiting``     `wait_until`: waits for a condition, with a deadline; `Stopwatch`
``observing``   `Collector`, an observer; `Shelf`, a dispatch; `Gate`, where a thread waits;
                `Printed`, what is printed
``ports``       `free_port`: ports that never collide
``descriptors`` which descriptors are open
``repeats``     how often a test is run, and repeats what it tries
``systems``     what a system cannot show: marks for the tests that need it
``inside``      everything that tests know of private names
==============  =============================================================================
"""

from . import inside, silence
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
from .processes import PROGRAMS, ROOT, TEST_APP, AnotherUser, Program, activity_of_thread, environment
from .repeats import once_for_all, repeat_less, repeats
from .silence import SilentTestCase
from .systems import (
    WINE,
    needs_errors_of_folders,
    needs_fine_clock,
    needs_long_command_lines,
    needs_reset_in_backlog,
    needs_resets,
    needs_unix_descriptors,
)
from .waiting import LAUNCH_LIMIT, PATIENCE, Stopwatch, wait_until

__all__ = [
    "ACK",
    "LAUNCH_LIMIT",
    "MAX_PACKET",
    "NOTHING",
    "PATIENCE",
    "PORT",
    "PROGRAMS",
    "ROOT",
    "TEST_APP",
    "WINE",
    "AnotherUser",
    "Collector",
    "NamedTestCase",
    "Printed",
    "Program",
    "Shelf",
    "SilentTestCase",
    "SingletonTestCase",
    "Stopwatch",
    "activity_of_thread",
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
    "once_for_all",
    "read_to_end",
    "repeat_less",
    "repeats",
    "silence",
    "skip_without_ipv6",
    "wait_until",
]
