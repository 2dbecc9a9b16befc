"""What happens to hosts when the interpreter exits."""

from __future__ import annotations

import atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .host import Host

# By identifier, oldest first: the applications that have a host, and what to call. This keeps them alive
# even if nobody else has a reference. Written by any thread, in single steps.
_ends: dict[int, tuple[object, Host, Callable[[], object]]] = {}

# `atexit` keeps an empty slot for every unregistered function, so just one is registered, once per process.
# Two threads may both do that at the same time; ending twice does no harm.
_is_registered = False


def add(application: object, host: Host, end: Callable[[], object]) -> None:
    """Have ``end`` called when the interpreter exits, unless `discard` is called before."""
    global _is_registered
    if not _is_registered:
        _is_registered = True
        atexit.register(_end_all)
    _ends[id(application)] = application, host, end


def discard(application: object) -> None:
    """Undo `add`, if it was called."""
    _ends.pop(id(application), None)


def hosts() -> list[Host]:
    """Return the hosts of this process, oldest first."""
    return [host for _, host, _ in _ends.copy().values()]


def _end_all() -> None:
    for application, _, end in reversed(list(_ends.copy().values())):
        try:
            end()
        finally:
            discard(application)
