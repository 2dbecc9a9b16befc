"""What every launch needs from the system, for its sockets and about its own process.

What only a host needs for its sockets is in `_host.sockets`.
"""

import errno
import os
import sys

# `_socket` is the C module under `socket`. It has all that a launch and a host need, but does
# not make enums of all constants, which takes `socket` 6 ms: a third of a launch. As an
# implementation detail it may disappear, or lack something; `socket`, which has the same names,
# then takes its place. With `_socket`, launches do not go elsewhere if a program replaces
# `socket.socket` (with that of a proxy library, say).
try:
    import _socket as sockets

    if not all(hasattr(sockets, name) for name in ("socket", "getaddrinfo", "inet_pton", "timeout")):
        raise ImportError("an incomplete _socket")
except ImportError:
    import socket as sockets  # type: ignore[no-redef]

__all__ = ["sockets"]  # imported here for other modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol, TypeVar

    class _Closable(Protocol):
        def close(self) -> object: ...

    Made = TypeVar("Made", bound=_Closable)


# As many launches as the system lets wait for `accept`: with 128, a burst of
# launches spends a second in SYN retries. Unix reduces the number to its own limit
# (Linux: net.core.somaxconn); Windows has a special value for "the most".
BACKLOG = sockets.SOMAXCONN if sys.platform == "win32" else 65535

# Whether a signal such as Ctrl-C ends a wait in the main thread. On Windows it does not,
# so such waits go through `_wakeup`.
SIGNALS_END_WAITS = sys.platform != "win32"

# Whether a terminal takes text, and no bytes. The console of Windows does: it converts each write of bytes by
# itself, so a character that is divided between two of them is lost (CPython, `Modules/_io/winconsoleio.c`).
TERMINALS_TAKE_TEXT = sys.platform == "win32"

# Seconds until it is certain whether anybody listens on this machine. If nobody does, the system
# says so at once, except that Windows first tries three times, for about 2 s.
LOOK_TIME = 3.0 if sys.platform == "win32" else 2.0

# SO_EXCLUSIVEADDRUSE, which the socket module only has on Windows. winsock2.h
# defines it as the complement of SO_REUSEADDR.
_SO_EXCLUSIVEADDRUSE = ~4

_WSAEACCES = 10013
_WSAEADDRINUSE = 10048


def exclusive_option(system: str = sys.platform) -> int:
    """Return the socket option that gives a port at most one listener on ``system``.

    On Unix, SO_REUSEADDR lets a new host start while connections of the last one are in
    TIME_WAIT, but never beside a listener. On Windows the same option lets anyone steal
    the port, and SO_EXCLUSIVEADDRUSE is the safe one.
    """
    return _SO_EXCLUSIVEADDRUSE if system == "win32" else sockets.SO_REUSEADDR


def is_in_use(error: OSError) -> bool:
    """Return whether ``error``, from bind or listen, means that the port is taken.

    Windows has two errors for this: WSAEADDRINUSE, and WSAEACCES if another program
    holds the port exclusively. Elsewhere EACCES is about privileged ports.
    """
    return error.errno == errno.EADDRINUSE or getattr(error, "winerror", None) in (
        _WSAEADDRINUSE,
        _WSAEACCES,
    )


def is_reserved(error: OSError) -> bool:
    """Return whether ``error``, from bind, means that nobody may use the port, if nothing listens there."""
    return getattr(error, "winerror", None) == _WSAEACCES


def without_ipv4_hint(error: OSError, address: object) -> str:
    """Return what to do about ``error``, from bind or connect, if it means that there is only IPv6."""
    no_ipv4 = (errno.EADDRNOTAVAIL, errno.ENETUNREACH)
    if error.errno in no_ipv4 and str(address).startswith("127."):
        return "; if this machine has no IPv4, give all launches the address ::1"
    return ""


def why_no_connection(error: OSError, address: object) -> str:
    """Return a description of ``error``, from connect, and its possible cause."""
    text = str(error.strerror) + without_ipv4_hint(error, address)
    if error.errno == errno.EPERM:
        # On Linux, from a packet filter or a sandbox; or from torsocks, for a connection to this machine.
        text += ": a firewall, a sandbox or torsocks forbids it (torsocks: AllowOutboundLocalhost 1)"
    return text


def linger(on: bool, system: str = sys.platform) -> bytes:
    """Return a ``struct linger`` with a time of 0: two ints, or two shorts on Windows."""
    size = 2 if system == "win32" else 4
    return int(on).to_bytes(size, sys.byteorder) + bytes(size)


_LINGER_RESET = linger(True)

# For each `send`, so that a peer that has gone only causes an error, and not also a SIGPIPE, which ends a
# program that leaves that signal at its default, as command-line tools do. Windows has no such signal. macOS
# has a socket option (sys/socket.h) that Python does not name, and PyPy does not name Linux's flag either.
NO_SIGNAL = getattr(sockets, "MSG_NOSIGNAL", 0x4000 if sys.platform == "linux" else 0)
_SO_NOSIGPIPE = 0x1022


def close_resets(sock: sockets.socket) -> None:
    """Make ``sock`` end with a reset from now on, whether it is closed or the process dies."""
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_RESET)


def raise_no_signal(sock: sockets.socket, system: str = sys.platform) -> None:
    """Keep `send` from raising SIGPIPE, on systems where `NO_SIGNAL` does not."""
    if system == "darwin":
        sock.setsockopt(sockets.SOL_SOCKET, _SO_NOSIGPIPE, 1)


# Seconds of silence after which the system probes whether the other side is still there, seconds between
# two probes, and how many of them may remain unanswered.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def keep_alive(sock: sockets.socket) -> None:
    """Make a long wait for the other side end if its machine or the network goes away without a word.

    Where the times cannot be set, that takes the two hours of RFC 9293.
    """
    try:
        sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            if hasattr(sockets, name):
                sock.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, name), value)
    except OSError:
        pass  # an old Windows, or the connection has ended


# Bytes of output that the system keeps for a launch that reads slowly, in its host and in the launch. By
# itself, Linux keeps megabytes, and asks for more only when a third of them have been read: until then,
# such a launch looks as if it did not read at all.
_OUTPUT_BUFFER = 64 * 1024


def limit_buffer(sock: sockets.socket, option: int) -> None:
    """Make the system keep little output on its way: ``SO_SNDBUF`` in the host, ``SO_RCVBUF`` in a launch."""
    try:
        sock.setsockopt(sockets.SOL_SOCKET, option, _OUTPUT_BUFFER)
    except OSError:
        pass  # the connection has ended


# -- descriptors --
#
# Every socket has a descriptor above 2. A program may be started with 0, 1 or 2 closed; a socket that
# got one of these would receive whatever is printed, or be closed when somebody reopens "stdout".

LAST_OF_STDIO = 2


def is_stdio(made: "Any") -> bool:
    """Return whether ``made`` has a descriptor, and it is 0, 1 or 2."""
    return hasattr(made, "fileno") and made.fileno() <= LAST_OF_STDIO


def above_stdio(make: "Callable[[], Made]") -> "Made":
    """Return what ``make`` returns, called again as long as the descriptor is 0, 1 or 2."""
    made = make()
    if not is_stdio(made):
        return made
    try:
        return above_stdio(make)  # the low one remains taken meanwhile
    finally:
        made.close()


def new_socket(family: int) -> sockets.socket:
    """Return a new TCP socket."""
    sock = above_stdio(lambda: sockets.socket(family, sockets.SOCK_STREAM))
    raise_no_signal(sock)
    return sock


# -- this process --


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # the directory was deleted


# The directory that this program was started in, for `relaunch`: paths that it was started with may be
# relative to it. If the program called `chdir` before it imported this package, it is the new directory,
# as in `multiprocessing` (process.py, ``ORIGINAL_DIR``). "" if it is not known.
STARTED_IN = _current_folder()


def is_worker_importing() -> bool:
    """Return whether this is a multiprocessing worker in which a module is being imported.

    Under spawn and forkserver, a worker runs the top level of the main module again;
    ``_inheriting`` is how multiprocessing itself recognizes this (3.7 to 3.13:
    ``_check_not_importing_main`` in multiprocessing/spawn.py). Later it may import any
    module while it unpickles a task. During an import, the module's spec has
    ``_initializing`` set (importlib/_bootstrap.py, ``_load_unlocked``).
    """
    processes = sys.modules.get("multiprocessing.process")
    process = processes.current_process() if processes is not None else None
    if getattr(process, "_inheriting", False):
        return True
    if getattr(process, "_parent_pid", None) is None:
        return False  # not a worker
    frame = sys._getframe(1)  # noqa: SLF001 (documented, in spite of its name)
    while frame is not None:
        if getattr(frame.f_globals.get("__spec__"), "_initializing", False):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def let_come_to_front() -> None:
    """Let the host bring its window to the front; called before a hand-over. Only Windows needs this.

    There, a program needs the permission of the one in the foreground
    (learn.microsoft.com, AllowSetForegroundWindow).
    """
    if sys.platform == "win32":
        try:
            import ctypes

            any_process = -1  # ASFW_ANY
            ctypes.WinDLL("user32").AllowSetForegroundWindow(any_process)
        except (ImportError, OSError, AttributeError):
            pass  # a Windows without a desktop
