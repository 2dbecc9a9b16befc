"""The only place that asks which system, and which Python, this is."""

from __future__ import annotations

import errno
import os
import socket
import sys

# False where a thread can no longer be started once the main thread has ended,
# though other threads may keep the program alive for hours: CPython 3.12
# ("can't create new thread at interpreter shutdown"). 3.11 and 3.13 can.
THREADS_START_LATE = sys.version_info[:2] != (3, 12)

# As many launches as the system lets wait for `accept`: with 128, a burst of
# launches waits a second in SYN retries. Unix cuts the number to its own limit
# (Linux: net.core.somaxconn); Windows has a value of its own for "the most".
BACKLOG = socket.SOMAXCONN if sys.platform == "win32" else 65535

# For `send`: what comes next, here the end of the stream, may go in the same segment.
# The other side then wakes up once, not twice. Linux alone has it.
MORE = getattr(socket, "MSG_MORE", 0)

# Seconds until it is certain whether somebody listens on this machine. Nobody is
# known at once, but Windows asks three times before it says so, for about 2 s.
LOOK_TIME = 3.0 if sys.platform == "win32" else 2.0

# SO_EXCLUSIVEADDRUSE, which the socket module has on Windows only. winsock2.h
# defines it as the complement of SO_REUSEADDR.
_SO_EXCLUSIVEADDRUSE = ~4

_WSAEACCES = 10013
_WSAEADDRINUSE = 10048


def exclusive_option(system: str = sys.platform) -> int:
    """Return the socket option with which a port has one listener at most, on ``system``.

    Unix: SO_REUSEADDR lets a new host start beside the TIME_WAIT of the last
    one, and never beside a listener. Windows: the same option lets anyone steal
    the port; there SO_EXCLUSIVEADDRUSE is the safe one.
    """
    return _SO_EXCLUSIVEADDRUSE if system == "win32" else socket.SO_REUSEADDR


def is_in_use(error: OSError) -> bool:
    """Whether ``error``, from bind or listen, says that somebody has the port.

    Windows says so in two ways: WSAEADDRINUSE, and WSAEACCES where the other
    one holds the port exclusively. Elsewhere EACCES is about privileged ports.
    """
    return error.errno == errno.EADDRINUSE or getattr(error, "winerror", None) in (
        _WSAEADDRINUSE,
        _WSAEACCES,
    )


def linger(on: bool, system: str = sys.platform) -> bytes:
    """Return ``struct linger`` with a time of 0: two ints, on Windows two shorts."""
    size = 2 if system == "win32" else 4
    return int(on).to_bytes(size, sys.byteorder) + bytes(size)


_LINGER_RESET = linger(True)
_LINGER_OFF = linger(False)


def close_resets(sock: socket.socket) -> None:
    """From now on the end of ``sock`` is a reset: by `close`, and by the death of the process."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def close_ends(sock: socket.socket) -> None:
    """From now on `close` ends the stream of ``sock`` in order, as is the default."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)


def is_worker_importing_main() -> bool:
    """Whether this is a multiprocessing worker that is importing the program's main module.

    Under spawn and forkserver a worker runs the top of the main module again.
    ``_inheriting`` is how multiprocessing itself tells that it is there (3.7 to
    3.13: ``_check_not_importing_main`` in multiprocessing/spawn.py).
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and getattr(process.current_process(), "_inheriting", False)


def count_on_child_status() -> None:
    """Undo a SIGCHLD that we were started to ignore: then every child would seem to end with 0."""
    import signal

    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def descriptors_to_inherit(sock: socket.socket) -> tuple[int, ...]:
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


def wait_for_reader_to_go(descriptor: int, wakened: socket.socket) -> None:
    """Return when nobody is left to read what is written to ``descriptor``, at no cost until then.

    Only a pipe, a socket or a terminal can tell. For a file, and where there is
    no ``poll`` (Windows), this ends by what the handler of a signal raises;
    ``wakened`` becomes readable with each signal.
    """
    import select

    if sys.platform != "win32" and hasattr(select, "poll"):
        poll = select.poll()
        # POLLERR and POLLHUP come unasked, but macOS looks only if asked for one.
        poll.register(descriptor, select.POLLHUP)
        poll.register(wakened, select.POLLIN)
        while not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll()):
            wakened.recv(64)
        return
    while True:
        wakened.recv(64)


class ForkAware:
    """What has to know that it lives on in a forked child.

    `follow_forks` and `forget_forks` begin and end it. Between them the child of
    any fork calls `forked`, and a multiprocessing worker then calls `in_worker`.
    """

    def forked(self) -> None:
        """Called in the child, in its only thread, before anything else runs there."""
        raise NotImplementedError

    def in_worker(self) -> None:
        """Called in a multiprocessing worker, before its function."""
        raise NotImplementedError


# Written by hosts as they start and end, read by the forking thread. A set
# operation is one step under the GIL, and readers take a copy.
_followers: set[ForkAware] = set()
_hooked = False
_worker_hooked = False


def follow_forks(follower: ForkAware) -> None:
    """Have ``follower`` told of forks, from now on; on a system without fork, do nothing."""
    global _hooked
    if not hasattr(os, "register_at_fork"):
        return
    _followers.add(follower)
    if not _hooked:
        # Once a process: the system's hooks cannot be taken back.
        _hooked = True
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def forget_forks(follower: ForkAware) -> None:
    """End `follow_forks`; harmless if it never began."""
    _followers.discard(follower)


def _before_fork() -> None:
    # To the system's hook a bare fork and a multiprocessing worker look alike;
    # multiprocessing runs hooks of its own in its workers alone. Asking for one
    # here, at the first fork that finds it loaded, spares us importing it.
    global _worker_hooked
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _worker_hooked:
        _worker_hooked = True
        util.register_after_fork(ForkAware, _in_worker)


def _after_fork() -> None:
    for follower in list(_followers):
        follower.forked()


def _in_worker(_: type[ForkAware]) -> None:
    for follower in list(_followers):
        follower.in_worker()
