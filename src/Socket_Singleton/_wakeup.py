"""Sockets that wake a waiting thread, and waits in the main thread that Ctrl-C ends on every system."""

from __future__ import annotations

from ._system import (
    LAST_OF_STDIO,
    NO_SIGNAL,
    SIGNALS_END_WAITS,
    close_resets,
    exclusive_option,
    raise_no_signal,
    sockets,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# Seconds for connecting to our own listener. It takes microseconds; the limit only ensures that no
# wait is endless.
_OWN_TIME = 10.0


def socket_pair() -> tuple[sockets.socket, sockets.socket]:
    """Return two sockets that are connected to each other."""
    one, other = getattr(sockets, "socketpair", connected_pair)()
    if min(one.fileno(), other.fileno()) > LAST_OF_STDIO:
        for sock in (one, other):
            raise_no_signal(sock)
            sock.setblocking(True)  # regardless of `socket.setdefaulttimeout`
        return one, other
    try:
        return socket_pair()
    finally:
        one.close()
        other.close()


def connected_pair() -> tuple[sockets.socket, sockets.socket]:
    """Return a socket pair made with a listener, for systems without ``socketpair`` (Windows).

    Python's own replacement calls `socket.socket`, which a program may have replaced by that of a proxy.

    Raises:
        socket.timeout: the connection went to another listener.
        ConnectionError: the listener accepted another connection.
    """
    with_us = False
    listener: Any = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    one = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
    try:
        # Nobody else may listen on this port meanwhile, or the connection could go there.
        listener.setsockopt(sockets.SOL_SOCKET, exclusive_option(), 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        for sock in (listener, one):
            sock.settimeout(_OWN_TIME)
        one.connect(listener.getsockname())
        descriptor, _ = listener._accept()  # noqa: SLF001 (`accept`, in C, has this name)
        other = sockets.socket(listener.family, listener.type, listener.proto, fileno=descriptor)
        for sock in (one, other):  # on Windows the other one inherits the listener's mode
            sock.setblocking(True)
        # Another program may have been first; CPython's `socketpair` looks since 3.12.5 (CVE-2024-3219).
        with_us = other.getpeername() == one.getsockname()
        if not with_us:
            other.close()
            raise ConnectionError("another program has connected to a socket of Socket_Singleton")
        return one, other
    finally:
        listener.close()
        if not with_us:
            one.close()


class WokenBySignals:
    """Two sockets, of which every signal makes the first one readable. Only for the main thread.

    A signal that arrives just before a blocking call does not end that call, and its
    Python handler would only run when something else does: perhaps never.
    """

    def __enter__(self) -> tuple[sockets.socket, sockets.socket]:
        import signal

        self._pair = wakened, waker = socket_pair()
        try:
            # On Windows, each wait would otherwise keep a port in TIME_WAIT for minutes. Done while both are
            # open: macOS refuses to set an option once the other end is closed.
            for sock in self._pair:
                close_resets(sock)
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


def wait_for(wait: Callable[[float], bool], timeout: float) -> bool:
    """Return ``wait(timeout)``; in the main thread, Ctrl-C ends the wait.

    On Unix, a signal interrupts the wait for a lock, and its handler may raise. On Windows it
    does not, so another thread waits, and the main thread waits for a byte from it or from a signal.
    """
    import threading

    if SIGNALS_END_WAITS or threading.current_thread() is not threading.main_thread():
        return wait(timeout)
    result: list[bool] = []

    def wait_and_wake() -> None:
        result.append(wait(timeout))
        try:
            waker.send(b"\0", NO_SIGNAL)
        except OSError:
            pass  # Ctrl-C has ended the wait

    with WokenBySignals() as (wakened, waker):
        threading.Thread(target=wait_and_wake, daemon=True).start()
        while not result:
            wakened.recv(64)
        return result[0]


def wait_to_receive(sock: sockets.socket, timeout: float) -> None:
    """Wait until ``sock`` can be read, in such a way that Ctrl-C ends the wait in the main thread.

    Called before a ``recv`` that may take long, on systems where a signal does not interrupt
    `recv` itself. On other threads this returns at once.

    Raises:
        socket.timeout: nothing arrived in time, or there was a signal whose handler did not raise.
    """
    import select
    import threading

    if threading.current_thread() is not threading.main_thread():
        return
    readable, _, _ = select.select([sock], [], [], 0)
    if not readable:
        with WokenBySignals() as (wakened, _):
            readable, _, _ = select.select([sock, wakened], [], [], timeout)
    if sock not in readable:
        raise sockets.timeout("timed out")


def wait_until_writable(descriptor: int) -> bool:
    """Wait until ``descriptor``, which does not block, takes more, or shows an error; False on Windows.

    There is no way to wait for a pipe there.
    """
    import select

    if not hasattr(select, "poll"):
        return False
    poll: Any = select.poll()  # `select` takes no descriptor above 1023
    poll.register(descriptor, 4)  # POLLOUT, on every system
    poll.poll()
    return True
