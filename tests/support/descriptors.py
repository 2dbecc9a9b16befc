"""Which descriptors this process has open. Programs that tests start use it too."""

from __future__ import annotations

import os

# The system gives out the lowest free number, and no test that uses this has more open.
_HIGHEST = 1024


def descriptors() -> frozenset[int]:
    """Return the open descriptors; on Windows, where sockets have none, only files."""
    # Each number is tried, because a listing takes a descriptor, and not every system has one.
    found = set()
    for number in range(_HIGHEST):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return frozenset(found)
