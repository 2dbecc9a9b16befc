"""The class. Read this file first: what a launch does, and how observers are called."""

from __future__ import annotations

import atexit
import math
import sys
import time

from . import _client, _platform
from ._client import Answer, Endpoint
from ._errors import MultipleSingletonsError
from ._wire import encode, encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import TracebackType
    from typing import Any, Callable, Sequence, TypeVar

    from ._delivery import Delivery
    from ._host import Host

    Observer = Callable[..., object]
    Number = TypeVar("Number", int, float)
    Self = TypeVar("Self", bound="Socket_Singleton")

# Seconds that the interpreter's exit waits for observers to take what the host
# owns: nothing to a person, plenty for an observer that only queues.
EXIT_TIME = 0.2


class _Count:
    """An attribute that is a count: who sets it to anything else has the error, not the I/O thread."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, app: Socket_Singleton, owner: type) -> int:
        count: int = app.__dict__[self._name]
        return count

    def __set__(self, app: Socket_Singleton, value: int | str) -> None:
        app.__dict__[self._name] = _count(self._name, value)


class Socket_Singleton:
    """Lets one instance of an application run at a time.

    The first launch binds the port and is the *host*. Every later launch finds
    the port taken, hands its ``sys.argv[1:]`` to the host and ends, inside this
    constructor. The host calls the observers registered with `trace`.

    A launch that could be neither host nor delivered says why: on stderr with
    exit status 1, or as the text of the error. It has about 2 seconds for it.

    In a ``multiprocessing`` worker that is importing the main module (spawn,
    forkserver) the constructor does nothing: workers are not launches.

    Methods and properties may be used from any thread, from an observer and
    from a signal handler. The instance is a context manager that calls
    `release` at its end.

    Args:
        address (str): the IPv4 or IPv6 address, or host name, to bind and to
            reach the host at. A wildcard (``"0.0.0.0"``, ``"::"``, ``""``)
            binds all of the machine's addresses, and is reached over loopback.
        port (int): 0 to 65535; choose a fixed one from 1024 to 32767. 0 binds
            a free one, then found in the attribute ``port``. A number in a
            string will do.
        timeout (float): seconds after which the host gives up the port by
            itself; until then the program does not end, unless `release` is
            called. 0: never, and it may end at any time.
        client (bool): whether a second launch hands its arguments over. If
            not, it only ends.
        strict (bool): how a second launch ends: ``True`` with ``SystemExit``,
            ``False`` with `MultipleSingletonsError`.
        release_threshold (int): the host gives up the port at this many
            clients; the last of them is still delivered. 0: never.
        max_clients (int): the arguments of later clients than this many are
            ignored. 0: none are.
        verbose (bool): print a line beginning ``Socket_Singleton:`` to stdout
            when an observer raises, a client has the wrong secret or sends
            what is not a packet, or a host cannot be reached.
        secret (str | None): what clients must show before they are listened
            to; the same for the host and the launches. ``None`` or ``""``: no
            secret.
        argv (Sequence[str] | None): what a second launch hands over. ``None``:
            its ``sys.argv[1:]``. At most 8 MiB in all.
        notify_empty (bool): call the observers, with ``()``, also for a launch
            without arguments.
        dispatch (Callable | None): takes a function of no arguments and has it
            run on the thread where observers belong (``queue.put``,
            ``loop.call_soon_threadsafe``, ``executor.submit`` ...). It is
            called on the observer thread, once for each launch. If it raises,
            the launch stays first in `arguments`, and is tried again when the
            next one comes. ``None``: observers run on the observer thread.
        wait (float): seconds to wait for the port to come free before this is
            a second launch; ``float("inf")``: for ever.

    Raises:
        SystemExit: this is not the host, and ``strict``: without a code when
            the host took the launch, else with the reason as its message.
        MultipleSingletonsError: this is not the host, and not ``strict``.
        TypeError, ValueError: a parameter cannot be used. No socket was opened.
        OSError: the address cannot be bound, for another reason than that it
            is in use; it is not known (``socket.gaierror``); the system is out
            of descriptors. Nothing stays open.
        RuntimeError: the system is out of threads. Nothing stays open.

    Attributes:
        address, port, timeout, client, strict, release_threshold, max_clients,
        verbose, secret, argv, notify_empty, dispatch, wait: as given, numbers
            as numbers. The host looks at ``release_threshold``,
            ``max_clients``, ``verbose``, ``secret``, ``notify_empty`` and
            ``dispatch`` as it runs; to set the others changes nothing.
    """

    release_threshold = _Count()
    max_clients = _Count()

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int | str = 1337,
        timeout: float | str = 0,
        client: bool = True,
        strict: bool = True,
        release_threshold: int | str = 0,
        max_clients: int | str = 0,
        verbose: bool = False,
        secret: str | None = None,
        *,
        argv: Sequence[str] | None = None,
        notify_empty: bool = False,
        dispatch: Callable[[Callable[[], object]], object] | None = None,
        wait: float | str = 0,
    ) -> None:
        self.address = address
        self.port = _port(port)
        self.timeout = _seconds("timeout", timeout)
        self.client = bool(client)
        self.strict = bool(strict)
        self.release_threshold = release_threshold
        self.max_clients = max_clients
        self.verbose = bool(verbose)
        self.secret = secret
        self.argv = None if argv is None else _words(argv)
        if self.argv is not None:
            encode(self.argv, self._secret)  # raises now what would be raised too late
        self.notify_empty = notify_empty
        if not (dispatch is None or callable(dispatch)):
            raise TypeError(f"dispatch must be callable, not {dispatch!r}")
        self.dispatch = dispatch
        self.wait = wait if wait == math.inf else _seconds("wait", wait)

        # Observer to the args and kwargs that it is called with. No lock: a
        # look-up runs an observer's own __hash__ and __eq__, which no lock may
        # cover. Every access is one step on the dictionary; iteration, on a copy.
        self._observers: dict[Observer, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        # Launches that found no observer when they came to be delivered. One
        # step each: appended by `_append_args`, taken by the observer thread.
        self._arguments: list[tuple[str, ...]] = []
        # Written by the I/O thread, read by anyone.
        self._clients = 0
        self._listening = False
        # Both or neither; set before the host's threads start, and kept.
        self._host: Host | None = None
        self._delivery: Delivery | None = None

        if not _platform.is_worker_importing_main():
            endpoint = Endpoint(address, self.port)
            self._serve(endpoint.claim(self.wait) or self._hand_over(endpoint))

    def _hand_over(self, endpoint: Endpoint) -> socket.socket:
        """End this launch, with its arguments at the host; or return the listener, if that went."""
        argv = sys.argv[1:] if self.argv is None else self.argv
        packet = encode(argv, self._secret) if self.client else None
        deadline = time.monotonic() + _client.HAND_OVER_TIME
        listener, answer, seen = _client.hand_over(endpoint, packet, deadline, self._say_missed)
        if listener is not None:
            return listener
        if answer not in (Answer.OWNED, Answer.CLOSED, Answer.FOUND):
            text = (
                f"Socket_Singleton: {self.address} port {self.port} is in use, but no instance"
                f" there confirmed that it has taken this launch ({seen})"
            )
            delivered: bool | None = False
            code: str | None = text
        else:
            text = (
                f"Another instance is already bound & listening @ {self.address} on port {self.port}"
                " and only one may run at a time."
            )
            delivered = True if answer == Answer.OWNED else None
            code = None
        if self.strict:
            raise SystemExit(code)
        raise MultipleSingletonsError(text, address=self.address, port=self.port, delivered=delivered)

    def _serve(self, listener: socket.socket) -> None:
        """Be the host."""
        try:
            # Imported here because most launches are never a host.
            from ._delivery import Delivery
            from ._host import Host

            self.port = listener.getsockname()[1]
            self._delivery = Delivery(self)
            self._host = Host(listener, self, self._delivery)
        except BaseException:
            listener.close()
            raise
        self._listening = True
        self._host.start()
        atexit.register(self._end_with_interpreter)
        if self.verbose or self._wants_launches():
            self._delivery.wake()

    def __str__(self) -> str:
        return f"{type(self).__name__}(address={self.address!r}, port={self.port})"

    def __repr__(self) -> str:
        return (
            f"{str(self)[:-1]}, timeout={self.timeout}, client={self.client}, strict={self.strict},"
            f" release_threshold={self.release_threshold}, max_clients={self.max_clients},"
            f" verbose={self.verbose}, secret={'***' if self.secret else None},"
            f" observers={len(self._observers)}, clients={self._clients}, listening={self._listening},"
            f" argv={self.argv}, notify_empty={self.notify_empty}, dispatch={self.dispatch},"
            f" wait={self.wait})"
        )

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def secret(self) -> str | None:
        """What clients must show; a new one holds for those that connect from then on."""
        return self._shown_secret

    @secret.setter
    def secret(self, secret: str | None) -> None:
        self._secret = _encoded(secret)  # for the wire; read by the I/O thread
        self._shown_secret = secret

    @property
    def arguments(self) -> tuple[tuple[str, ...], ...]:
        """The launches that the host owns and no observer was given yet, oldest first.

        They wait here for the first `trace`, and stay after `release`. At most
        16 MiB wait; beyond it the oldest are dropped. A copy; one decoding of
        all that waits for each look.
        """
        waiting = self._delivery.waiting() if self._delivery else ()
        return (*self._arguments, *waiting)

    @property
    def clients(self) -> int:
        """How many clients came since this host began.

        A client is a connection that sent a whole packet, or the wrong secret.
        """
        return self._clients

    def trace(self, observer: Observer, *args: Any, **kwargs: Any) -> None:
        """Call ``observer(arguments, *args, **kwargs)`` for every launch from now on.

        ``arguments`` is a tuple of ``str``: what ``sys.argv[1:]`` held in the
        second launch. A launch without arguments calls nobody, unless
        ``notify_empty``. Launches that waited for the first observer come first.

        Observers run where ``dispatch`` takes them; without it, on one daemon
        thread of their own: one launch at a time in order of arrival, each
        through all observers in order of registration. Neither the host nor
        second launches wait for them. What one raises, ``SystemExit`` too, ends
        that call alone (a line, if ``verbose``). They may call anything here,
        `release` included.

        To trace an observer again changes its ``args`` and ``kwargs``.

        Raises:
            TypeError: ``observer`` cannot be called, or has no hash.
        """
        if not callable(observer):
            raise TypeError(f"observer must be callable, not {observer!r}")
        self._observers[observer] = (args, kwargs)
        if self._delivery is not None:
            self._delivery.wake()

    def untrace(self, observer: Observer) -> None:
        """End `trace` for ``observer``; do nothing if it is not registered.

        A call of it that has begun on another thread goes on.
        """
        self._observers.pop(observer, None)

    def release(self) -> None:
        """Give up the port; done when it returns: anyone can bind it at once.

        Launches under way that the host does not own yet claim the port
        themselves. Observers are forgotten: none is called any more, though a
        call that has begun goes on. What they were not given stays in
        `arguments`. To release again does nothing.

        Raises:
            RuntimeError: the host's thread did not end within 10 seconds.
        """
        if self._host is not None:
            self._host.close()
        if self._delivery is not None:
            self._delivery.stop()
        self._observers = {}
        atexit.unregister(self._end_with_interpreter)

    def close(self) -> None:
        """Do as `release`; the name is that of version 1.0.0."""
        self.release()

    def _end_with_interpreter(self) -> None:
        """At exit: free the port, let observers have what is owned if they are quick, release."""
        assert self._host is not None
        assert self._delivery is not None
        self._host.close()
        self._delivery.drain(EXIT_TIME)
        self.release()

    @staticmethod
    def send(
        argv: Sequence[str],
        address: str = "127.0.0.1",
        port: int | str = 1337,
        secret: str | None = None,
        timeout: float | str = 2.0,
    ) -> None:
        """Hand ``argv`` to the running host, as a launch would; return when the host owns it.

        From any program and any thread. Never becomes the host, never ends the
        program.

        Args:
            argv (Sequence[str]): what the host's observers are called with.
            address (str), port (int), secret (str | None): those of the host.
            timeout (float): seconds for everything.

        Raises:
            ConnectionRefusedError: nobody listens there. Windows needs more than
                2 seconds to say so; within less this is a ``TimeoutError``.
            TimeoutError: no answer in time. The host may still come to own it.
            ConnectionError: somebody answered, but did not confirm: another
                program; a host that ignored it, for its secret or for
                ``max_clients``; or a host of version 2.0.0, which cannot
                confirm, though it has taken what it could read.
            TypeError, ValueError: an argument cannot be used.
            OSError: the address is not known.
        """
        packet = encode(_words(argv), _encoded(secret))
        deadline = time.monotonic() + _seconds("timeout", timeout)
        _client.send(Endpoint(address, _port(port)), packet, deadline)

    @staticmethod
    def is_running(address: str = "127.0.0.1", port: int | str = 1337) -> bool:
        """Return whether somebody listens there; a host does not count it as a client.

        It takes 2 seconds at most, 3 on Windows. A host of version 2.0.0 does count it.

        Raises:
            TimeoutError: somebody seems to listen, but accepts no connection.
            OSError: the address is not known.
        """
        endpoint = Endpoint(address, _port(port))
        answer, seen = endpoint.ask(None, time.monotonic() + _platform.LOOK_TIME)
        if answer == Answer.UNREACHED:
            raise TimeoutError(f"{address} port {endpoint.port}: {seen}")
        return answer == Answer.FOUND

    def _wants_launches(self) -> bool:
        return bool(self._observers) or self._is_overridden()

    def _is_overridden(self) -> bool:
        return type(self)._append_args is not Socket_Singleton._append_args

    def _append_args(self, args: tuple[str, ...]) -> None:
        """Notify the observers of one launch, in the calling thread, before it returns.

        With no observer registered the launch waits in `arguments`. Subclasses
        may override this: every launch then passes through here, on the
        observer thread or where ``dispatch`` takes it.
        """
        if not self._notify(args, lambda: True):
            self._arguments.append(args)

    def _deliver(self, args: tuple[str, ...], begin: Callable[[], bool], again: bool) -> bool:
        """On the observer thread: deliver one launch, and return whether it went.

        Args:
            begin: called before any code of the caller's, says whether to go on.
            again: it has passed `_append_args` before, and found no observer.
        """
        if again or not self._is_overridden():
            return self._notify(args, begin)
        if not begin():
            return False
        try:
            self._append_args(args)
        except BaseException as error:
            self._say_raised("Observer", self._append_args, error)
        return True

    def _append(self, args: tuple[str, ...], again: bool) -> None:
        """Where ``dispatch`` has it run: deliver one launch."""
        if again:
            Socket_Singleton._append_args(self, args)
        else:
            self._append_args(args)

    def _notify(self, args: tuple[str, ...], begin: Callable[[], bool]) -> bool:
        """Call the observers; return whether there was one."""
        observers, begun = self._observers, False
        for observer in observers.copy():
            try:
                # Asked one by one: the one before may have untraced it, or released.
                registration = observers.get(observer)
                if registration is None or (begun and observers is not self._observers):
                    continue
                # What has begun is taken, so the first call is made whatever comes now.
                begun = begun or begin()
                if begun:
                    observer(args, *registration[0], **registration[1])
            except BaseException as error:
                self._say_raised("Observer", observer, error)
        return begun

    def _say_raised(self, role: str, culprit: object, error: BaseException) -> None:
        try:
            name = getattr(culprit, "__name__", culprit)
            self._say(f"{role} {name} raised exception: {type(error).__name__}: {error}")
        except BaseException:  # the culprit's or the error's own, as text
            self._say(f"{role} of {type(culprit)} raised exception: {type(error).__name__}")

    def _say_missed(self, seen: str) -> None:
        self._say(f"Failed to connect to existing instance on {self.address}:{self.port} ({seen})")

    def _say(self, line: str) -> None:
        if self.verbose:
            try:
                print(f"Socket_Singleton: {line}", flush=True)
            except BaseException:
                pass  # stdout is the application's: closed, full, or an object of its own


def _words(argv: Sequence[str]) -> tuple[str, ...]:
    if isinstance(argv, (str, bytes)) or not hasattr(argv, "__iter__"):
        raise TypeError(f"argv must be a sequence of str, not {argv!r}")
    return tuple(argv)


def _encoded(secret: str | None) -> bytes | None:
    return encode_text("secret", secret) if secret not in (None, "") else None


def _number(kind: Callable[[Any], Number], name: str, value: object, what: str) -> Number:
    """Return ``value`` as ``kind`` reads it; NaN is an error, and so is a fraction that gets lost."""
    wrong: type[Exception] = ValueError
    try:
        number = kind(value)
        if number == number and (not isinstance(value, float) or number == value):
            return number
    except (TypeError, ValueError, OverflowError) as error:
        wrong = TypeError if isinstance(error, TypeError) else ValueError
    raise wrong(f"{name} must be {what}, not {value!r}")


def _whole(name: str, value: int | str) -> int:
    return _number(int, name, value, "a whole number")


def _port(value: int | str) -> int:
    port = _whole("port", value)
    if not 0 <= port <= 65535:
        raise ValueError("port must be between 0 and 65535 (inclusive)")
    return port


def _count(name: str, value: int | str) -> int:
    count = _whole(name, value)
    if count < 0:
        raise ValueError(f"{name} must be greater than or equal to 0")
    return count


def _seconds(name: str, value: float | str) -> float:
    """Return ``value`` as seconds: an int where it is whole, which is how 2.0.0 shows it."""
    seconds = _number(float, name, value, "a number of seconds")
    if not 0 <= seconds < math.inf:
        also = "" if seconds < 0 else " and finite"
        raise ValueError(f"{name} must be greater than or equal to 0{also}")
    return int(seconds) if seconds.is_integer() else seconds
