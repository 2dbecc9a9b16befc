"""What `run` and `watch` do about signals."""

from __future__ import annotations

import contextlib
import signal

from . import _platform
from ._shell import SIGNALLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable, Iterator

    from ._platform import sockets


def handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have ``handler`` called for SIGINT and SIGTERM, but for what this process was started to ignore."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # What we were started to ignore (`&` in a script), a command ignores too.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end(number: int, _: FrameType | None) -> None:
    """Handle a signal: end, with the status that a shell gives to it."""
    raise SystemExit(SIGNALLED + number)


@contextlib.contextmanager
def woken_by_signals() -> Iterator[tuple[sockets.socket, sockets.socket]]:
    """Have a byte from the second socket make the first one readable whenever a signal comes.

    A signal that comes just before a blocking call does not end it, and its
    handler, being Python, would run when something else does: perhaps never.
    """
    wakened, waker = _platform.socket_pair()
    try:
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield wakened, waker
        finally:
            signal.set_wakeup_fd(before)
    finally:
        wakened.close()
        waker.close()
