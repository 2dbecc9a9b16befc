"""How often a test is run, and how often it tries what goes wrong only now and then."""

from __future__ import annotations

import os
import unittest

from .systems import WINE

# `.ci/run` sets the first variable where it runs all tests again, on other interpreters, and the second one
# where it repeats the races of one of them more often.
_again = "SOCKET_SINGLETON_TESTED" in os.environ and "SOCKET_SINGLETON_RACES" not in os.environ

# For tests whose result is the same on each Python.
once_for_all = unittest.skipIf(_again, "the same on each Python, and the command in README runs it")

# Races are repeated less often where they were repeated before, or where each process takes long to start.
_FEWER = 5
_few = [_again or WINE]  # so that `repeat_less` can change it


def repeat_less() -> None:
    """Have `repeats` return less from now on."""
    _few[0] = True


def repeats(count: int) -> range:
    """Return a range of ``count``, or of a part of it."""
    return range(max(1, count // _FEWER) if _few[0] else count)
