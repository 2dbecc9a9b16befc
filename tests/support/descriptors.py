"""Which descriptors this process has open. Programs that tests start use it too."""

from __future__ import annotations

import os

# The system gives the lowest free number, and no test that looks has more open.
_HIGHEST = 1024


def descriptors() -> frozenset[int]:
    """Return the open descriptors; on Windows, where sockets are none, only files."""
    # Each is asked for: a listing takes a descriptor, and not every system has one.
    found = set()
    for number in range(_HIGHEST):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.add(number)
    return frozenset(found)
