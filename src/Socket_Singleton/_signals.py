"""What `run` and `watch` do about signals."""

from __future__ import annotations

import signal

from ._shell import SIGNALLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable


def handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have ``handler`` called for SIGINT and SIGTERM, but for what this process was started to ignore."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # What we were started to ignore (`&` in a script), a command ignores too.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end(number: int, _: FrameType | None) -> None:
    """Handle a signal: end, with the status that a shell gives to it."""
    raise SystemExit(SIGNALLED + number)
