"""What happens to hosts when the interpreter exits."""

from __future__ import annotations

import atexit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .host import Host

# By the identifier of the application, oldest first: its host, and its methods, which keep it alive even if
# nobody else has a reference. Written by any thread, in single steps.
_ends: dict[int, tuple[Host, Callable[[], object], Callable[[], bool]]] = {}

# `atexit` keeps an empty slot for every unregistered function, so just one is registered, once per process.
# Two threads may both do that at the same time; ending twice does no harm.
_is_registered = False


def add(application: object, host: Host, end: Callable[[], object], is_over: Callable[[], bool]) -> None:
    """Have ``end``, its method, called when the interpreter exits, unless the application is over before."""
    global _is_registered
    if not _is_registered:
        _is_registered = True
        atexit.register(_end_all)
    forget_those_over()
    _ends[id(application)] = host, end, is_over


def forget_those_over() -> None:
    """Undo `add` for each application that is over, including those that took longer to end than expected."""
    for key, (_, _, is_over) in _ends.copy().items():
        if is_over():
            _ends.pop(key, None)


def hosts() -> list[Host]:
    """Return the hosts of this process, oldest first."""
    return [host for host, _, _ in _ends.copy().values()]


def _end_all() -> None:
    """End each application, even if another one fails: its `release` may be a method of its own."""
    failed = None
    for key, (_, end, _) in reversed(list(_ends.copy().items())):
        try:
            end()
        except BaseException as error:  # noqa: BLE001 (raised below)
            failed = error
        _ends.pop(key, None)
    if failed is not None:
        raise failed
