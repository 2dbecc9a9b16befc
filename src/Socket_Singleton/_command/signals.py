"""What `run` and `watch` ask of the system: signals, and what a child process inherits."""

from __future__ import annotations

import os
import signal
import sys

from .._system import sockets
from .shell import INTERRUPTED, SIGNALLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Callable, Sequence


def handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have ``handler`` called for SIGINT and SIGTERM, but for what this process was started to ignore."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # What we were started to ignore (`&` in a script), a command ignores too.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end(number: int, _: FrameType | None) -> None:
    """Handle a signal: end, with the status that a shell gives to it."""
    raise SystemExit(SIGNALLED + number)


def end_by_interrupt() -> int:  # pragma: no cover (a process that a signal ends writes no data)
    """End as a program that Ctrl-C ends: so a shell that runs a script ends that, too.

    Returns:
        int: the status, on a system without such a death (Windows).
    """
    if sys.platform != "win32":
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # it is closed, or full, or not there
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return INTERRUPTED


def count_on_child_status() -> None:
    """Undo a SIGCHLD that we were started to ignore: then every child would seem to end with 0."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def descriptors_to_inherit(sock: sockets.socket) -> tuple[int, ...]:
    """Return what `subprocess` has to pass on so that a child holds ``sock`` too; on Windows it cannot."""
    return () if sys.platform == "win32" else (sock.fileno(),)


def terminal_tells_group() -> bool:
    """Whether Ctrl-C in a terminal reaches this process, and so each child that it has started.

    Unix: if this process is in the terminal's foreground group. A Windows
    console tells all of its programs.
    """
    if sys.platform == "win32" or not hasattr(os, "tcgetpgrp"):
        return True
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    except OSError:
        return False  # there is no terminal


def wait_for_signal_or_end_of_reader(
    received: Sequence[int], descriptor: int, wakened: sockets.socket
) -> None:
    """Return when a handler has added something to ``received``, or nobody reads ``descriptor`` any more.

    Only a pipe, a socket or a terminal can tell the latter. For a file, and where there is no
    ``poll`` (Windows), only a signal ends the wait; it makes ``wakened`` readable.
    """
    import select

    if sys.platform != "win32" and hasattr(select, "poll"):
        poll = select.poll()
        # POLLERR and POLLHUP come unasked, but macOS looks only if asked for one.
        poll.register(descriptor, select.POLLHUP)
        poll.register(wakened, select.POLLIN)
        while not received:
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll()):
                return
            wakened.recv(64)
        return
    while not received:
        wakened.recv(64)
