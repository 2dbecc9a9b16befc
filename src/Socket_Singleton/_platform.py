"""The only place that asks which system, and which Python, this is."""

from __future__ import annotations

import errno
import os
import sys

# `_socket` is the C module under `socket`. It has all that a launch and a host need of a
# socket, but no enums of every constant, which take `socket` 6 ms to make: a third of a
# launch. An implementation module may go, or lack something; then it is `socket`, which has
# the same names. What a program puts in the place of `socket.socket` (a library for
# proxies, say) does not send a launch elsewhere.
try:
    import _socket as sockets

    if not all(hasattr(sockets, name) for name in ("socket", "getaddrinfo", "inet_pton", "timeout")):
        raise ImportError("an incomplete _socket")
except ImportError:
    import socket as sockets  # type: ignore[no-redef]

__all__ = ["sockets"]  # what is imported here for others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol, TypeVar

    class _Closable(Protocol):
        def close(self) -> object: ...

    Made = TypeVar("Made", bound=_Closable)


# False where a thread can no longer be started once the main thread has ended,
# though other threads may keep the program alive for hours: CPython 3.12
# ("can't create new thread at interpreter shutdown"). 3.11 and 3.13 can.
THREADS_START_LATE = sys.version_info[:2] != (3, 12)

# As many launches as the system lets wait for `accept`: with 128, a burst of
# launches waits a second in SYN retries. Unix cuts the number to its own limit
# (Linux: net.core.somaxconn); Windows has a value of its own for "the most".
BACKLOG = sockets.SOMAXCONN if sys.platform == "win32" else 65535

# For `send`: what comes next, here the end of the stream, may go in the same segment.
# The other side then wakes up once, not twice. Linux alone has it.
MORE = getattr(sockets, "MSG_MORE", 0)

# Seconds until it is certain whether somebody listens on this machine. Nobody is
# known at once, but Windows asks three times before it says so, for about 2 s.
LOOK_TIME = 3.0 if sys.platform == "win32" else 2.0

# Seconds for what only this process takes part in: that a new thread begins, that a connection to
# a listener of its own is there. It takes microseconds; this is there so that no wait is endless.
_OWN_TIME = 10.0

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
    return _SO_EXCLUSIVEADDRUSE if system == "win32" else sockets.SO_REUSEADDR


def is_in_use(error: OSError) -> bool:
    """Whether ``error``, from bind or listen, says that somebody has the port.

    Windows says so in two ways: WSAEADDRINUSE, and WSAEACCES where the other
    one holds the port exclusively. Elsewhere EACCES is about privileged ports.
    """
    return error.errno == errno.EADDRINUSE or getattr(error, "winerror", None) in (
        _WSAEADDRINUSE,
        _WSAEACCES,
    )


# What a person can do who meets a port that Windows keeps for itself (Hyper-V, WSL and Docker
# have it reserve blocks of ports; learn.microsoft.com, "netsh interface ipv4 show").
RESERVED_HINT = (
    "the system has reserved this port: choose another one"
    " (netsh interface ipv4 show excludedportrange tcp lists them)"
)


def is_reserved(error: OSError) -> bool:
    """Whether ``error``, from bind, means that nobody may have the port, if nobody listens there."""
    return getattr(error, "winerror", None) == _WSAEACCES


def linger(on: bool, system: str = sys.platform) -> bytes:
    """Return ``struct linger`` with a time of 0: two ints, on Windows two shorts."""
    size = 2 if system == "win32" else 4
    return int(on).to_bytes(size, sys.byteorder) + bytes(size)


_LINGER_RESET = linger(True)
_LINGER_OFF = linger(False)


def close_resets(sock: sockets.socket) -> None:
    """From now on the end of ``sock`` is a reset: by `close`, and by the death of the process."""
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_RESET)


# Whether a connection has what was set for the listener that it was accepted from. On Linux it
# has; elsewhere it may have (POSIX does not say), and is told once more.
ACCEPTED_RESETS = sys.platform in ("linux", "android")


def close_ends(sock: sockets.socket) -> None:
    """From now on `close` ends the stream of ``sock`` in order, as is the default."""
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_OFF)


# -- sockets --
#
# Each lies above 2. A program may be started with 0, 1 or 2 closed; a socket that became one
# of them would get what anybody prints, or go when somebody opens "stdout" anew.

_LAST_OF_STDIO = 2


def is_stdio(made: Any) -> bool:
    """Whether ``made`` has 0, 1 or 2 as its descriptor, if it has one."""
    return hasattr(made, "fileno") and made.fileno() <= _LAST_OF_STDIO


def above_stdio(make: Callable[[], Made]) -> Made:
    """Return what ``make`` does, made again while its descriptor is 0, 1 or 2."""
    made = make()
    if not is_stdio(made):
        return made
    try:
        return above_stdio(make)  # the low one is taken meanwhile
    finally:
        made.close()


def new_socket(family: int) -> sockets.socket:
    """Return a new TCP socket."""
    return above_stdio(lambda: sockets.socket(family, sockets.SOCK_STREAM))


def accept(listener: Any) -> sockets.socket:
    """Return the next connection of ``listener``, which its children do not inherit."""
    descriptor = _moved_above_stdio(listener._accept()[0])  # noqa: SLF001 (`accept`, in C, has this name)
    try:
        return sockets.socket(listener.family, listener.type, listener.proto, fileno=descriptor)
    except BaseException:
        sockets.close(descriptor)  # not `os.close`: on Windows it is a handle, and no descriptor
        raise


def _moved_above_stdio(descriptor: int) -> int:
    if descriptor > _LAST_OF_STDIO:
        return descriptor
    try:
        return _moved_above_stdio(os.dup(descriptor))
    finally:
        os.close(descriptor)


def socket_pair() -> tuple[sockets.socket, sockets.socket]:
    """Return two sockets that are connected with each other."""
    one, other = getattr(sockets, "socketpair", connected_pair)()
    if min(one.fileno(), other.fileno()) > _LAST_OF_STDIO:
        return one, other
    try:
        return socket_pair()
    finally:
        one.close()
        other.close()


def connected_pair() -> tuple[sockets.socket, sockets.socket]:
    """Return what ``socketpair`` does, where the system has none (Windows): a connection to a listener.

    Raises:
        socket.timeout: the connection went elsewhere.
        ConnectionError: the listener got another one.
    """
    with_us = False
    listener = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    one = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    try:
        # Nobody else may listen on this port meanwhile: there the connection could go.
        listener.setsockopt(sockets.SOL_SOCKET, exclusive_option(), 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.settimeout(_OWN_TIME)
        one.connect(listener.getsockname())
        other = accept(listener)
        other.setblocking(True)  # Windows gives it the listener's mode
        # Another program may have been first; CPython's own `socketpair` looks since 3.12.5 (CVE-2024-3219).
        with_us = other.getpeername() == one.getsockname()
        if not with_us:
            other.close()
            raise ConnectionError("somebody else has connected to a socket of Socket_Singleton")
        return one, other
    finally:
        listener.close()
        if not with_us:
            one.close()


# -- whose instance --

# Whether all of 127.0.0.0/8 is this machine, so that each name can have an address of its own
# there. macOS and the BSDs have 127.0.0.1 alone, until somebody adds another.
WHOLE_LOOPBACK = sys.platform in ("linux", "android", "win32", "cygwin")

# Flags of `os.open`: no links are followed, and no child inherits it (which Python sees to).
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
READ_NO_LINK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _NO_LINK
CREATE_NO_LINK = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK

# Seconds for which a file that others may read can be denied all the same. Windows denies it while
# somebody gives it its name, or removes another one of its names: for well under a millisecond.
DENIED_TIME = 0.5 if sys.platform == "win32" else 0.0


def give_name(unnamed: str, path: str) -> None:
    """Have the file ``unnamed`` be found as ``path``, in one step.

    Unix: it keeps its first name too, for a rename would replace what is there.
    Windows: it does not. A rename replaces nothing there, and a first name could not be
    removed while somebody reads the file (learn.microsoft.com, MoveFileEx, CreateFile).

    Raises:
        FileExistsError: another file has that name, and keeps it.
    """
    if sys.platform == "win32":
        os.rename(unnamed, path)
    else:
        os.link(unnamed, path)


def user() -> str:
    """Return what this user is known by: the decimal uid; on Windows the SID."""
    if sys.platform == "win32":
        return _windows_sid()
    return str(os.geteuid())


def state_base(folder: tuple[str, ...]) -> str:
    """Return where this user keeps ``folder``.

    It is under $HOME, if that is this user's own (under some ``sudo`` it is not),
    else under the home of the account; on Windows under %LOCALAPPDATA%.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        return os.path.join(base, folder[-1])
    home = os.environ.get("HOME", "")
    try:
        own = os.path.isabs(home) and os.stat(home).st_uid == os.geteuid()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        own = False  # any other error may pass, and the next launch would look elsewhere than this one
    if not own:
        import pwd

        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            raise OSError(errno.ENOENT, "this user has no home") from None
    return os.path.join(home, *folder)


def why_not_private(file: os.stat_result, folder: os.stat_result) -> str:
    """Return why others may read or replace a file, and what to do; nothing if they cannot.

    On Windows nothing is asked: what is under %LOCALAPPDATA% is the user's own by default.
    """
    if sys.platform == "win32":
        return ""
    import stat

    me = os.geteuid()
    if not stat.S_ISREG(file.st_mode):
        return "it is no regular file; remove it"
    if file.st_uid != me:
        return "it is another user's; remove it"
    if file.st_mode & 0o077:
        return "others can read or write it; chmod 600, or remove it"
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != me:
        return "its folder is a link, or another user's; remove that"
    return "others can write in its folder; chmod 700 that" if folder.st_mode & 0o022 else ""


if sys.platform == "win32":

    def _windows_sid() -> str:
        """Return the SID of the user whose process this is (learn.microsoft.com, OpenProcessToken)."""
        import ctypes
        from ctypes import wintypes

        token_query, token_user = 8, 1
        kernel32, advapi32 = ctypes.WinDLL("kernel32"), ctypes.WinDLL("advapi32")
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        advapi32.OpenProcessToken.argtypes = (
            wintypes.HANDLE,
            wintypes.DWORD,
            ctypes.POINTER(wintypes.HANDLE),
        )
        advapi32.ConvertSidToStringSidW.argtypes = (ctypes.c_void_p, ctypes.POINTER(wintypes.LPWSTR))
        kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
        kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
        token, size, text = wintypes.HANDLE(), wintypes.DWORD(), wintypes.LPWSTR()
        process = kernel32.GetCurrentProcess()
        if not advapi32.OpenProcessToken(process, token_query, ctypes.byref(token)):
            raise OSError(errno.EACCES, "the system does not tell who this user is; give secret= and a port")
        try:
            advapi32.GetTokenInformation(token, token_user, None, 0, ctypes.byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            told = advapi32.GetTokenInformation(token, token_user, buffer, size, ctypes.byref(size))
            # A TOKEN_USER begins with a pointer to the SID.
            sid = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_void_p))[0] if told else None
            if not sid or not advapi32.ConvertSidToStringSidW(sid, ctypes.byref(text)):
                raise OSError(
                    errno.EACCES, "the system does not tell who this user is; give secret= and a port"
                )
            try:
                return str(text.value)
            finally:
                kernel32.LocalFree(text)
        finally:
            kernel32.CloseHandle(token)


# -- to the front --


def let_come_to_front() -> None:
    """Let the host bring its window to the front; for who is about to hand over. Windows alone asks.

    There a program may only do so with leave of the one that is there
    (learn.microsoft.com, AllowSetForegroundWindow).
    """
    if sys.platform == "win32":
        try:
            import ctypes

            any_process = -1  # ASFW_ANY
            ctypes.WinDLL("user32").AllowSetForegroundWindow(any_process)
        except (ImportError, OSError, AttributeError):
            pass  # a Windows without windows


# -- children --


def is_worker_importing() -> bool:
    """Whether this is a multiprocessing worker in which a module is being imported.

    Under spawn and forkserver a worker runs the top of the main module again:
    ``_inheriting`` is how multiprocessing itself tells that it is there (3.7 to
    3.13: ``_check_not_importing_main`` in multiprocessing/spawn.py). Later it may import
    any module as it unpickles a task; a module that is being imported has a spec
    that says ``_initializing`` (importlib/_bootstrap.py, ``_load_unlocked``).
    """
    processes = sys.modules.get("multiprocessing.process")
    process = processes.current_process() if processes is not None else None
    if getattr(process, "_inheriting", False):
        return True
    if getattr(process, "_parent_pid", None) is None:
        return False  # nobody's worker
    frame = sys._getframe(1)  # noqa: SLF001 (documented, in spite of its name)
    while frame is not None:
        if getattr(frame.f_globals.get("__spec__"), "_initializing", False):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def count_on_child_status() -> None:
    """Undo a SIGCHLD that we were started to ignore: then every child would seem to end with 0."""
    import signal

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


class WokenBySignals:
    """Two sockets; meanwhile each signal makes the first one readable. In the main thread alone.

    A signal that comes just before a blocking call does not end it, and its
    handler, being Python, would run when something else does: perhaps never.
    """

    def __enter__(self) -> tuple[sockets.socket, sockets.socket]:
        import signal

        self._pair = wakened, waker = socket_pair()
        try:
            waker.setblocking(False)
            self._before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        except BaseException:
            self._close()
            raise
        return wakened, waker

    def __exit__(self, *_: object) -> None:
        import signal

        signal.set_wakeup_fd(self._before)
        self._close()

    def _close(self) -> None:
        for sock in self._pair:
            sock.close()


def wait_for_reader_to_go(descriptor: int, wakened: sockets.socket) -> None:
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


def wait_for(wait: Callable[[float], bool], timeout: float) -> bool:
    """Return ``wait(timeout)``, which Ctrl-C ends in the main thread.

    Unix: a signal ends the wait for a lock, and its handler may raise. Windows: it
    does not; there another thread waits, and the main thread for a byte of either.
    """
    import threading

    if sys.platform != "win32" or threading.current_thread() is not threading.main_thread():
        return wait(timeout)
    result: list[bool] = []

    def wait_and_wake() -> None:
        result.append(wait(timeout))
        try:
            waker.send(b"\0")
        except OSError:
            pass  # Ctrl-C has ended the wait

    with WokenBySignals() as (wakened, waker):
        threading.Thread(target=wait_and_wake, daemon=True).start()
        while not result:
            wakened.recv(64)
        return result[0]


def wait_to_receive(sock: sockets.socket, timeout: float) -> None:
    """Before a ``recv`` that may take long: have Ctrl-C end the wait, in the main thread.

    Unix: a signal ends `recv` itself, so this does nothing. Windows: it does not; there
    this waits for ``sock`` and for the signal.

    Raises:
        socket.timeout: nothing has come, or a signal whose handler did not raise.
    """
    if sys.platform != "win32":
        return
    import select
    import threading

    if threading.current_thread() is not threading.main_thread():
        return
    with WokenBySignals() as (wakened, _):
        readable, _, _ = select.select([sock, wakened], [], [], timeout)
    if sock not in readable:
        raise sockets.timeout("timed out")


# Whether a daemon thread is started by the thread that wants it. A signal handler that raises at the
# begin or end of a ``with`` block may leave the block's lock held, here one of `threading` that all threads
# need: before CPython 3.10, and from 3.14 on (issues 74174 and 148874). But before 3.9.6 a thread
# that ends while the system has no descriptor left aborts the program (bpo-44434), and is worse.
STARTS_HERE = sys.implementation.name == "cpython" and (
    sys.version_info < (3, 9) or (3, 10) <= sys.version_info < (3, 14)
)


def start_thread(thread: Any) -> None:
    """Start ``thread``; if a signal handler raises meanwhile, raise that.

    In the middle of its wait for the new thread `threading` would then keep a lock, for which
    that thread waits for ever; or release one that it does not hold, and raise RuntimeError. As a
    daemon such a thread does no harm. One that the program's end waits for is started by
    another thread: handlers run in the main thread alone. So is each, without `STARTS_HERE`.
    """
    if not (thread.daemon and STARTS_HERE):
        _start_elsewhere(thread)
        return
    handled = sys.exc_info()[1]
    try:
        thread.start()
    except RuntimeError as error:
        if error.__context__ is None or error.__context__ is handled:
            raise
        raise error.__context__ from None


def _start_elsewhere(thread: Any) -> None:
    import _thread

    errors: list[BaseException] = []
    begun = _thread.allocate_lock()
    begun.acquire()

    def start() -> None:  # pragma: no cover (nothing traces a thread that `threading` has not started)
        try:
            thread.start()
        except BaseException as error:  # noqa: BLE001 (raised where it was asked for)
            errors.append(error)
        finally:
            begun.release()

    _thread.start_new_thread(start, ())
    if not begun.acquire(timeout=_OWN_TIME):
        raise RuntimeError("the I/O thread of Socket_Singleton did not begin")
    if errors:
        raise errors[0]


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


# Written by hosts as they start and end, in one step each, by whichever thread that is. Read in
# the child of a fork, where no other thread is left to change it; none was in the middle of a
# step: with a GIL the forking thread has it, and builds without one stop all threads before they
# fork (CPython, issue 116522).
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
        # Once a process: the system's hooks cannot be taken back. Two hosts that start in the same
        # moment may both do it; to be told twice of a fork does no harm.
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
        _worker_hooked = True  # two forks at once may both come here; that does no harm either
        util.register_after_fork(ForkAware, _in_worker)


def _after_fork() -> None:
    for follower in list(_followers):
        follower.forked()


def _in_worker(_: type[ForkAware]) -> None:
    for follower in list(_followers):
        follower.in_worker()
