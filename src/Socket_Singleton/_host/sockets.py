"""What the host needs from the system for its sockets, beyond what every launch needs (`_system`)."""

from __future__ import annotations

import errno
import os
import stat
import sys

from .._system import LAST_OF_STDIO, close_resets, linger, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    Mark = Optional[Tuple[int, ...]]

# For `send`: what follows, here the end of the stream, may go into the same segment, so
# that the other side wakes up once, not twice. Only Linux has this.
MORE = getattr(sockets, "MSG_MORE", 0)

# Seconds that a connection may outlive the port after a release. On Windows it keeps the port from
# anybody who wants exclusive use of it (SO_EXCLUSIVEADDRUSE); elsewhere only from programs that do
# not set SO_REUSEADDR.
KEEPS_PORT_TIME = 1.0 if sys.platform == "win32" else float("inf")

_LINGER_OFF = linger(False)

# Whether accepted connections inherit the options of the listener. On Linux they do; elsewhere
# they may (POSIX does not say), and so the options are set again for each connection.
ACCEPTED_RESETS = sys.platform in ("linux", "android")


if sys.platform in ("linux", "android"):
    import fcntl
    import termios

    def has_all(sock: sockets.socket) -> bool:
        """Return whether the other side's system has acknowledged all that was sent, and keeps it to be read.

        A reset after the end of the stream then loses nothing, if that system is Linux too: what has
        arrived can still be read, and then the end.
        """
        try:
            unsent = fcntl.ioctl(sock, termios.TIOCOUTQ, _NO_BYTES)
        except OSError:
            return False
        return unsent == _NO_BYTES

    def abandon(sock: sockets.socket) -> None:
        """Make `close` leave nothing of ``sock``, although the other side has not taken everything."""
        close_resets(sock)

    _NO_BYTES = bytes(4)  # an int
else:  # pragma: no cover (another system)

    def has_all(sock: sockets.socket) -> bool:
        """Return False: except on Linux, a reset throws away what has arrived but was not read."""
        del sock
        return False

    def abandon(sock: sockets.socket) -> None:
        """Let `close` end the stream of ``sock`` in order: a reset could mean that nobody owns the launch."""
        del sock


def close_ends(sock: sockets.socket) -> None:
    """Make `close` end the stream of ``sock`` in order from now on, as is the default."""
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_OFF)


def send_at_once(sock: sockets.socket) -> None:
    """Make each `send` go out at once.

    Otherwise, a small one waits until the last one is acknowledged, which takes 40 ms on Linux.
    """
    try:
        sock.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
    except OSError:
        pass  # the connection has ended


# How many of the last descriptors that a process may have are left to the application.
DESCRIPTORS_KEPT = 8


def is_among_last(sock: sockets.socket) -> bool:
    """Return whether ``sock`` has one of the descriptors that should be left to the application.

    The system always assigns the lowest free number. Windows has no such limit for sockets.
    """
    if sys.platform == "win32":
        return False
    # The soft limit RLIMIT_NOFILE, or -1 if there is none (POSIX, "sysconf"). The application may change it.
    limit = os.sysconf("SC_OPEN_MAX")
    return limit != -1 and sock.fileno() >= limit - DESCRIPTORS_KEPT


def moved(sock: sockets.socket) -> sockets.socket:
    """Return ``sock`` with a descriptor that has become free, if there is one."""
    try:
        twin = _with_descriptor(_moved_above_stdio(os.dup(sock.fileno())), sock)
    except OSError:
        return sock
    sock.close()
    return twin


def end_first(sock: sockets.socket) -> None:
    """End the stream of ``sock`` before its peer does. If `has_all`, `close` then leaves nothing of it."""
    if has_all(sock):
        close_resets(sock)  # first, so that nothing from the peer comes between the end and the reset
    sock.shutdown(sockets.SHUT_WR)


# A daemonizer closes all descriptors that it finds, including those of a host, and their numbers are reused
# for other files. So each socket has a mark, and nothing is closed, woken or waited for by its number alone.
# On macOS and BSD, sockets have no inodes, so the mark only distinguishes a socket from a file.


def mark_of(sock: sockets.socket) -> Mark:
    """Return what distinguishes ``sock`` from a later user of its number; None on Windows."""
    if sys.platform == "win32":
        return None
    found = os.fstat(sock.fileno())
    return stat.S_IFMT(found.st_mode), found.st_dev, found.st_ino


def is_lost(sock: Any, mark: Mark) -> bool:
    """Return whether somebody else has closed ``sock``, which had this mark."""
    if mark is None or sock.fileno() < 0:
        return False  # if it was closed, then here
    try:
        return mark_of(sock) != mark
    except OSError as error:
        return error.errno == errno.EBADF  # anything else (no memory) says nothing about the socket


def close_own(sock: Any, mark: Mark) -> None:
    """Close ``sock``; if somebody else has closed it, only forget its number."""
    if is_lost(sock, mark):  # pragma: no cover (its data is lost too)
        sock.detach()
    else:
        sock.close()


def accept(listener: Any) -> sockets.socket:
    """Return the next connection of ``listener``, which child processes do not inherit."""
    descriptor = listener._accept()[0]  # noqa: SLF001 (`accept`, in C, has this name)
    return _with_descriptor(_moved_above_stdio(descriptor), listener)


def _with_descriptor(descriptor: int, like: Any) -> sockets.socket:
    try:
        return sockets.socket(like.family, like.type, like.proto, fileno=descriptor)
    except BaseException:
        sockets.close(descriptor)  # not `os.close`: on Windows it is a handle, not a descriptor
        raise


def _moved_above_stdio(descriptor: int) -> int:
    if descriptor > LAST_OF_STDIO:
        return descriptor
    try:
        return _moved_above_stdio(os.dup(descriptor))
    finally:
        os.close(descriptor)
