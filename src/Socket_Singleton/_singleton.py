"""The class, and its exception. Read this file first: what a launch does, and what can be asked of it."""

from __future__ import annotations

import sys
import time

from . import _client, _platform, _settings
from ._client import Endpoint
from ._settings import ADDRESS, FOR_EVER, PORT, Settings
from ._wire import Answer, Parcel, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, NoReturn, Sequence, TypeVar

    from typing_extensions import Concatenate, ParamSpec

    from ._client import Outcome, Talk
    from ._delivery import Delivery
    from ._host import Host
    from ._proof import Identity, LaunchSide

    Self = TypeVar("Self", bound="Socket_Singleton")
    P = ParamSpec("P")

# Seconds that the interpreter's exit waits for observers to take what the host
# owns, and for the answer of one that has released: nothing to a person, plenty for
# an observer that only queues, or returns.
EXIT_TIME = 0.2

_OTHER_INSTANCE = (
    "Another instance is already bound & listening @ {} on port {} and only one may run at a time."
)

# What `delivered` is after an answer: whether the host has the arguments; None: not known, or not
# tried. After all others it is False.
_DELIVERED = {Answer.OWNED: True, Answer.LOST: True, Answer.CLOSED: None, Answer.FOUND: None}

# After these a launch ends as one that did what it was to do.
_GOOD_ENDS = (Answer.OWNED, Answer.ENOUGH, Answer.CLOSED, Answer.FOUND)


def _view(room: str, name: str, doc: str) -> Any:
    """Return an attribute of the application that is one of what is in ``room``."""
    return property(
        lambda app: getattr(getattr(app, room), name),
        lambda app, value: setattr(getattr(app, room), name, value),
        doc=doc,
    )


class Socket_Singleton:
    """Lets one instance of an application run at a time.

    The first launch binds the port and is the *host*. Every later launch finds
    the port taken, hands its ``sys.argv[1:]`` to the host and ends, inside this
    constructor. The host calls the observers registered with `trace`.

    A launch that could be neither host nor delivered says why: on stderr with
    exit status 1, or as the text of the error. It tries for 2 seconds at most.

    In a ``multiprocessing`` worker that is importing a module the constructor does
    nothing: workers are not launches.

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
            launches; the last of them is still delivered. 0: never.
        max_clients (int): the arguments of later launches than this many are
            ignored. 0: none are.
        verbose (bool): print a line beginning ``Socket_Singleton:`` to stdout
            when an observer raises, a client has the wrong secret or sends
            what is not a packet, or a host cannot be reached.
        secret (str | None): what clients must show before they are listened
            to; the same for the host and the launches. ``None`` or ``""``: no
            secret. With a name it is the key of the proof, and is not sent.
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
        name (str | None): whose instance this is: the application, for this user.
            Address and port follow from it where they are left at their defaults.
            Host and launch prove to each other that they are of this name and
            user before an argument is sent; whoever else has the port is told apart.
        answer (bool): a second launch waits for what the observers say, and ends
            with it. For the host it changes nothing. Needs a name.

    Raises:
        SystemExit: this is not the host, and ``strict``: without a code when
            the host took the launch, with the status that it answered, or with the
            reason as its message.
        MultipleSingletonsError: this is not the host, and not ``strict``.
        TypeError, ValueError: a parameter cannot be used. No socket was opened.
        OSError: the address cannot be bound, for another reason than that it
            is in use; it is not known (``socket.gaierror``); the system is out
            of descriptors; the key that goes with a name cannot be made or
            read. Nothing stays open.
        RuntimeError: the system is out of threads. Nothing stays open.

    Attributes:
        address, port, timeout, client, strict, release_threshold, max_clients,
        verbose, secret, name, answer, argv, notify_empty, dispatch, wait: as given,
            numbers as numbers, ``address`` and ``port`` as they follow from the name.
            The host looks at ``release_threshold``, ``max_clients``, ``verbose``,
            ``secret``, ``notify_empty`` and ``dispatch`` as it runs; each is
            checked when it is set. To set the others changes nothing.
    """

    release_threshold: int = _view("_settings", "release_threshold", "The host ends at this many launches.")
    max_clients: int = _view("_settings", "max_clients", "Later launches than this many are ignored.")
    verbose: bool = _view("_settings", "verbose", "Whether to print what goes wrong.")
    secret: str | None = _view("_settings", "secret", "What clients must show, from now on.")
    notify_empty: bool = _view(
        "_settings", "notify_empty", "Whether observers hear of launches without arguments."
    )
    dispatch: Callable[[Callable[[], object]], object] | None = _view(
        "_settings", "dispatch", "What has observers run where they belong."
    )

    # For code that was written for 2.0.0.
    _observers: dict[Any, Any] = _view("_observing", "registered", "Observer to its args and kwargs.")
    _arguments: list[tuple[str, ...]] = _view(
        "_inbox", "heard", "Launches that found no observer; a live list."
    )

    # None until this launch is the host.
    _host: Host | None = None
    _made_delivery: Delivery | None = None

    def __init__(
        self,
        address: str = ADDRESS,
        port: int | str = PORT,
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
        name: str | None = None,
        answer: bool = False,
    ) -> None:
        self.address = _settings.address_text(address)
        self.port: int = _settings.port_number(port)
        self.timeout = _settings.seconds("timeout", timeout)
        self.client = bool(client)
        self.strict = bool(strict)
        self._settings = Settings(release_threshold, max_clients, verbose, secret, notify_empty, dispatch)
        self.name = name
        self.answer = bool(answer)
        self.argv = None if argv is None else _settings.words(argv)
        if self.argv is not None:
            encode(self.argv, self._settings.secret_bytes)  # raises now what would be raised too late
        self.wait = _settings.seconds("wait", wait, for_ever=True)
        if self.answer and name is None:
            raise ValueError("answer needs a name: only a launch with a name can be answered")
        if name is not None:
            from . import _identity

            _identity.check_name(name)
            self.address, self.port = _identity.place_unless_given(name, self.address, self.port)
        if not _platform.is_worker_importing():
            try:
                self._launch()
            except BaseException:
                # Whatever comes, be it out of a signal handler at any step: nothing is left.
                self.release()
                raise

    def _launch(self) -> None:
        """Be the host; or hand over, and end."""
        identity = self._identify()
        endpoint = Endpoint(self.address, self.port)
        try:
            if not endpoint.claim(self.wait):
                outcome = self._hand_over(endpoint, identity)
                if not outcome.claimed:
                    self._end(outcome)
            self._serve(endpoint, identity)
        except BaseException:
            endpoint.drop_listener()
            raise

    def _identify(self) -> Identity | None:
        if self.name is None:
            return None
        from ._identity import identify

        return identify(self.name, self._settings.secret_bytes, make_key=True)

    def _hand_over(self, endpoint: Endpoint, identity: Identity | None) -> Outcome:
        """Hand the arguments to whoever has the port; or have the port, if it comes free."""
        new_talk = None
        if self.client:
            _platform.let_come_to_front()
            argv = sys.argv[1:] if self.argv is None else self.argv
            new_talk = _talks(argv, identity, self._settings.secret_bytes, self.answer)
        elif identity is not None:
            new_talk = _questions(identity)
        deadline = time.monotonic() + _client.HAND_OVER_TIME
        return _client.hand_over(endpoint, new_talk, deadline, FOR_EVER, self._say_missed)

    def _end(self, outcome: Outcome) -> NoReturn:
        """End this launch, which is not the host, with what was found."""
        failure = self._failure(outcome)
        answer: str | int | None = None
        status: str | int | None = None
        if self.answer and outcome.found == Answer.OWNED and outcome.talk is not None:
            from . import _answers

            answer, failure = _answers.read(outcome.talk.answer)
            if self.strict and not failure:
                status = _answers.show(answer)
        if self.strict:
            raise SystemExit(failure or status)
        raise MultipleSingletonsError(
            failure or _OTHER_INSTANCE.format(self.address, self.port),
            address=self.address,
            port=self.port,
            delivered=_DELIVERED.get(outcome.found, False),
            pid=getattr(outcome.talk, "pid", None),
            answer=answer,
        )

    def _failure(self, outcome: Outcome) -> str | None:
        """Return why this launch cannot end as one that was taken; None if it can."""
        if outcome.found == Answer.LOST:
            return (
                f"Socket_Singleton: {self._whom()} has taken this launch, but ended before it answered"
                f" ({outcome.seen}); it may have been acted upon"
            )
        if outcome.found in _GOOD_ENDS:
            return None
        return (
            f"Socket_Singleton: {self._whom()} is in use, but no instance there confirmed"
            f" that it has taken this launch ({outcome.seen}){self._remedy(outcome.found)}"
        )

    def _whom(self) -> str:
        return _place(self.address, self.port, self.name)

    def _remedy(self, found: str) -> str:
        """Return what a person can do about who is there."""
        if self.name:
            strange = found in (Answer.FOREIGN, Answer.REJECTED, Answer.SILENT)
            return "; end the program that has the port, or choose another port" if strange else ""
        return "; choose another port, or a name" if found == Answer.FOREIGN else ""

    def _serve(self, endpoint: Endpoint, identity: Identity | None) -> None:
        """Be the host."""
        # Imported here because most launches are never a host.
        import atexit

        from ._host import Host

        listener = endpoint.listener
        assert listener is not None
        self.port = listener.getsockname()[1]
        new_talk = self._host_talks(identity)
        self._host = Host(listener, self._settings, self._delivery, self.timeout, new_talk)
        endpoint.listener = None
        atexit.register(self._end_with_interpreter)
        self._host.start()
        if not _platform.THREADS_START_LATE:
            self._delivery.wake()

    def _host_talks(self, identity: Identity | None) -> Callable[[Any], Any]:
        """Return what makes the host's side of a new connection."""
        settings = self._settings
        if identity is None or self.name is None:
            from ._wire import Packet

            return lambda _: Packet(settings.secret_bytes)
        from ._identity import identify
        from ._proof import HostSide

        name, first, first_secret = self.name, identity, settings.secret_bytes

        def new_talk(sock: Any) -> HostSide:
            secret = settings.secret_bytes
            known = first if secret == first_secret else identify(name, secret, make_key=True)
            return HostSide(known, sock.getsockname())

        return new_talk

    @property
    def _delivery(self) -> Delivery:
        """The way from the host to the observers; made when somebody needs it, who may be no host."""
        if self._made_delivery is None:
            from ._delivery import Delivery

            overridden = type(self)._append_args is not Socket_Singleton._append_args  # noqa: SLF001
            made = Delivery(self._settings, self._append_args if overridden else None)
            # One step: two threads may have come here at once, and go on with the same one.
            delivery: Delivery = self.__dict__.setdefault("_made_delivery", made)
            return delivery
        return self._made_delivery

    @property
    def _observing(self) -> Any:
        return self._delivery.observers

    @property
    def _inbox(self) -> Any:
        return self._delivery.inbox

    @property
    def _listening(self) -> bool:
        return self._host is not None and self._host.holds_port

    @property
    def _clients(self) -> int:
        return self._host.clients if self._host is not None else 0

    def __str__(self) -> str:
        return f"{type(self).__name__}(address={self.address!r}, port={self.port})"

    def __repr__(self) -> str:
        return (
            f"{str(self)[:-1]}, timeout={self.timeout}, client={self.client}, strict={self.strict},"
            f" release_threshold={self.release_threshold}, max_clients={self.max_clients},"
            f" verbose={self.verbose}, secret={'***' if self.secret else None},"
            f" observers={len(self._observers)}, clients={self._clients}, listening={self._listening},"
            f" argv={self.argv}, notify_empty={self.notify_empty}, dispatch={self.dispatch},"
            f" wait={self.wait}, name={self.name!r}, answer={self.answer})"
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
    def arguments(self) -> tuple[tuple[str, ...], ...]:
        """The launches that the host owns and no observer was given yet, oldest first.

        They wait here for the first `trace`, and stay after `release`. While nobody
        observes, at most 16 MiB wait; beyond it the oldest are dropped. A copy; one
        decoding of all that waits for each look.
        """
        return self._made_delivery.inbox.snapshot() if self._made_delivery is not None else ()

    @property
    def clients(self) -> int:
        """How many clients came since this host began.

        A client is a connection that sent a whole packet, or the wrong secret.
        """
        return self._clients

    def trace(
        self, observer: Callable[Concatenate[tuple[str, ...], P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call ``observer(arguments, *args, **kwargs)`` for every launch from now on.

        ``arguments`` is a tuple of ``str``: what ``sys.argv[1:]`` held in the
        second launch. A launch without arguments calls nobody, unless
        ``notify_empty``. Launches that waited for the first observer come first.

        Observers run where ``dispatch`` takes them; without it, on one daemon
        thread of their own: one launch at a time in order of arrival, each
        through all observers in order of registration. Neither the host nor
        second launches wait for them. When one raises, by ``SystemExit`` too,
        only that call ends; the error is logged (logger ``Socket_Singleton``, level ERROR; a
        line on stdout as well, if ``verbose``). They may call anything here,
        `release` included.

        To a launch that asked (``answer=True``, `ask`) the first observer answers that
        does not return ``None``, by what it returns or raises: a ``str`` is printed,
        an ``int`` from 0 to 255 is the exit status, a future (anything with
        ``add_done_callback``) is waited for.

        To trace an observer again changes its ``args`` and ``kwargs``.

        Raises:
            TypeError: ``observer`` cannot be called, has no hash, or is a coroutine function.
        """
        from ._observers import check

        check(observer)
        self._delivery.observers.add(observer, args, kwargs)
        if self._host is not None:
            self._delivery.wake()

    def untrace(self, observer: Callable[..., object]) -> None:
        """End `trace` for ``observer``; do nothing if it is not registered.

        A call of it that has begun on another thread goes on.
        """
        self._delivery.observers.remove(observer)

    def release(self) -> None:
        """Give up the port; done when it returns: anyone can bind it at once.

        Launches under way that the host does not own yet claim the port
        themselves. Those that wait for an answer get it if it is there already; else
        they are told that none will come. Only the one whose observer calls this
        is answered by what that then returns. Observers are forgotten: none is called
        any more, though a call that has begun goes on. What they were not given stays
        in `arguments`. To release again does nothing.

        Raises:
            RuntimeError: the host's thread did not end within 10 seconds.
        """
        host, delivery = self._host, self._made_delivery
        if host is not None and delivery is not None:
            import atexit

            reply = delivery.current_reply()
            if reply is not None:
                # Before the port is free: the program may be in `join`, and end as soon as it is.
                reply.hold_exit(EXIT_TIME)
            host.close(reply)
            atexit.unregister(self._end_with_interpreter)
        if delivery is not None:
            delivery.stop()
            delivery.observers.forget()

    def close(self) -> None:
        """Do as `release`; the name is that of version 1.0.0."""
        self.release()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the port is given up: by `release`, ``timeout`` or ``release_threshold``.

        Ctrl-C ends the wait, in the main thread.

        Args:
            timeout: seconds to wait at most; None: for ever.

        Returns:
            bool: False if the time was over first.
        """
        limit = -1.0 if timeout is None else float(_settings.seconds("timeout", timeout, for_ever=True))
        return self._host is None or _platform.wait_for(self._host.given_up.wait, limit)

    def _end_with_interpreter(self) -> None:
        """At exit: free the port, let observers have what is owned if they are quick, release."""
        assert self._host is not None
        self._host.close(leave_askers=True)
        self._delivery.drain(EXIT_TIME)
        self.release()

    @staticmethod
    def send(
        argv: Sequence[str],
        address: str = ADDRESS,
        port: int | str = PORT,
        secret: str | None = None,
        timeout: float | str = 2.0,
        *,
        name: str | None = None,
    ) -> None:
        """Hand ``argv`` to the running host, as a launch would; return when the host owns it.

        From any program and any thread. Never becomes the host, never ends the
        program.

        Args:
            argv (Sequence[str]): what the host's observers are called with.
            address (str), port (int), secret (str | None), name (str | None):
                those of the host.
            timeout (float): seconds for everything.

        Raises:
            ConnectionRefusedError: nobody listens there. Windows needs more than
                2 seconds to say so; within less this is a ``TimeoutError``.
            TimeoutError: no answer in time. The host may still come to own it.
            ConnectionError: somebody answered, but did not confirm: another
                program, or another application; a host that takes no more
                (``max_clients``), or has another secret; or a host of version
                2.0.0, which cannot confirm, though it has taken what it could read.
            TypeError, ValueError: an argument cannot be used.
            OSError: the address is not known; the key that goes with a name cannot be read.
        """
        words = _settings.words(argv)
        found = _Place(address, port, secret, name)
        deadline = time.monotonic() + _settings.seconds("timeout", timeout)
        _client.send(found.endpoint, found.talks(words, False), deadline)

    @staticmethod
    def ask(
        argv: Sequence[str],
        *,
        name: str,
        secret: str | None = None,
        timeout: float | str | None = None,
        address: str = ADDRESS,
        port: int | str = PORT,
    ) -> str | int | None:
        """Hand ``argv`` to the running host, and return what its observers answer.

        From any program and any thread. The hand-over has 2 seconds; the answer
        may take as long as it does.

        Args:
            argv (Sequence[str]): what the host's observers are called with.
            name (str), secret (str | None), address (str), port (int): those of the host.
            timeout (float | None): seconds for everything; None: no limit.

        Returns:
            str | int | None: what the first observer returned that did not return None.

        Raises:
            RuntimeError: the observer raised; the text is the error's.
            ConnectionRefusedError: the application does not run.
            TimeoutError: no answer in time. The host may still act upon it.
            ConnectionError: somebody else is there; or the host ended before it
                answered, and may have acted upon it: the text says so.
            TypeError, ValueError, OSError: as `send`.
        """
        from . import _answers

        words = _settings.words(argv)
        found = _Place(address, port, secret, _required(name))
        now = time.monotonic()
        patience = FOR_EVER if timeout is None else now + _settings.seconds("timeout", timeout, for_ever=True)
        deadline = min(now + _client.HAND_OVER_TIME, patience)
        talk = _client.send(found.endpoint, found.talks(words, True), deadline, patience)
        value, failure = _answers.read(talk.answer)
        if failure:
            raise RuntimeError(failure)
        return value

    @staticmethod
    def is_running(
        address: str = ADDRESS, port: int | str = PORT, *, name: str | None = None, secret: str | None = None
    ) -> bool:
        """Return whether somebody listens there; a host does not count it as a client.

        With ``name``: whether that application of this user runs, and has proved it.
        It takes 2 seconds at most, 3 on Windows. A host of version 2.0.0 does count it.

        Raises:
            TimeoutError: somebody seems to listen, but accepts no connection.
            OSError: the address is not known; the key that goes with a name cannot be read.
        """
        if name is not None:
            return Socket_Singleton.pid_of(name, secret=secret, address=address, port=port) is not None
        found = _Place(address, port, secret, None)
        return _look(found, None) == Answer.FOUND

    @staticmethod
    def pid_of(
        name: str, *, secret: str | None = None, address: str = ADDRESS, port: int | str = PORT
    ) -> int | None:
        """Return the process id of the running instance, which has proved itself; None if there is none.

        Raises:
            TimeoutError: somebody seems to listen there, but accepts no connection.
            OSError: the key of this user cannot be read.
        """
        found = _Place(address, port, secret, _required(name))
        identity = found.identity()
        if identity is None:
            return None
        asked: list[LaunchSide] = []

        def question() -> LaunchSide:
            asked.append(_questions(identity)())
            return asked[-1]

        return asked[-1].pid if _look(found, question) == Answer.FOUND else None

    def _append_args(self, args: tuple[str, ...]) -> object:
        """Notify the observers of one launch, in the calling thread, before it returns.

        With no observer registered the launch waits in `arguments`. Subclasses
        may override this: every launch then passes through here, on the
        observer thread or where ``dispatch`` takes it. What it returns is the answer
        to a launch that asked.
        """
        return self._delivery.notify(args)

    def _say_missed(self, seen: str) -> None:
        self._settings.say(f"Failed to connect to existing instance on {self.address}:{self.port} ({seen})")


class MultipleSingletonsError(Exception):
    """Raised, where ``strict`` is ``False``, by a launch that is not the host.

    The text of the error is for people; the attributes are for programs. All
    of them survive pickling.

    Attributes:
        address (str): the address that was asked for.
        port (int): the port that was asked for.
        delivered (bool | None): ``True`` when the host confirmed that it owns
            this launch's arguments; ``False`` when nobody has them (the text
            says why) or the host takes no more (``max_clients``); ``None`` when
            it is unknown (a host of version 2.0.0, which cannot confirm) or
            was not tried (``client=False``).
        pid (int | None): the process id of the host, where a name is asked for
            and it has proved itself; else ``None``.
        answer (str | int | None): with ``answer=True``, what the observers said.
    """

    # Only the text goes into ``args``: Exception then rebuilds the error from
    # ``args`` and the instance dictionary, which is all that pickle needs.
    def __init__(
        self,
        *args: object,
        address: str = "",
        port: int = 0,
        delivered: bool | None = None,
        pid: int | None = None,
        answer: str | int | None = None,
    ) -> None:
        super().__init__(*args)
        self.address = address
        self.port = port
        self.delivered = delivered
        self.pid = pid
        self.answer = answer


class _Place:
    """Where somebody who is no launch looks for a host."""

    def __init__(self, address: object, port: int | str, secret: object, name: str | None) -> None:
        self.name = name
        self.secret = _settings.encode_secret(_settings.secret_text(secret))
        text, number = _settings.address_text(address), _settings.port_number(port)
        if name is not None:
            from . import _identity

            _identity.check_name(name)
            text, number = _identity.place_unless_given(name, text, number)
        self.endpoint = Endpoint(text, number)
        self.endpoint.whom = _place(text, number, name)

    def identity(self) -> Identity | None:
        """Return who is looked for; None without a name, or where no host of this user can ever have been."""
        if self.name is None:
            return None
        from ._identity import identify

        try:
            return identify(self.name, self.secret, make_key=False)
        except FileNotFoundError:
            return None

    def talks(self, argv: Sequence[str], asks: bool) -> Callable[[], Talk]:
        """Return what makes the launch's side of a connection.

        Raises:
            ConnectionRefusedError: no host with this name and the key of this user can be there.
        """
        identity = self.identity()
        if identity is None and self.name is not None:
            raise ConnectionRefusedError(f"nobody listens at {self.endpoint.whom}: this user has no key yet")
        return _talks(argv, identity, self.secret, asks)


def _place(address: str, port: int, name: str | None) -> str:
    return f"{address} port {port}" + (f" ({name})" if name else "")


def _required(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    return name


def _look(found: _Place, question: Callable[[], Talk] | None) -> str:
    deadline = time.monotonic() + _platform.LOOK_TIME
    answer, seen = _client.look(found.endpoint, question, deadline)
    if answer == Answer.UNREACHED:
        raise TimeoutError(f"{found.endpoint.whom}: {seen}")
    return answer


def _talks(
    argv: Sequence[str], identity: Identity | None, secret: bytes | None, asks: bool
) -> Callable[[], Talk]:
    """Return what makes the launch's side of a connection that hands ``argv`` over."""
    if identity is None:
        packet = encode(argv, secret)
        return lambda: Parcel(packet)
    from ._proof import LaunchSide

    words = encode(argv)
    return lambda: LaunchSide(identity, words, asks)


def _questions(identity: Identity) -> Callable[[], LaunchSide]:
    """Return what makes the launch's side of a connection that only finds out who is there."""
    from ._proof import LaunchSide

    return lambda: LaunchSide(identity, None)
