"""The class and its exception. Read this file first: what a launch does, and what an application can ask."""

import sys
import time

from . import _client, _settings, _system
from ._client import Endpoint
from ._packet import Answer, encode
from ._settings import ADDRESS, FOR_EVER, PORT, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from types import TracebackType
    from typing import Any, Callable, NoReturn, Sequence, TextIO, TypeVar

    from typing_extensions import Concatenate, ParamSpec

    from ._answers import Output
    from ._client import Outcome
    from ._host.delivery import Delivery
    from ._host.host import Host
    from ._host.launch import Launch
    from ._proof import Identity, LaunchSide

    Self = TypeVar("Self", bound="Socket_Singleton")
    P = ParamSpec("P")

# Seconds that the interpreter's exit waits for observers to take the launches that the host
# still owns, and for an observer that has called `release` to answer. A person does not notice
# it, and it is plenty for an observer that only adds to a queue, or returns.
EXIT_TIME = 0.2

# Seconds that `release` waits for the observer thread to end, if no observer is running. If one is, the
# end of the interpreter waits instead: a subinterpreter that ends while one of its threads is in its last
# steps aborts the process.
THREAD_END_TIME = 0.5


def _view(room: "Callable[[Any], object]", name: str, doc: str, then: "Any" = None) -> "Any":
    """Return a property that reads and writes the attribute ``name`` of ``room(app)``; then ``then(app)``."""

    def write(app: "Any", value: object) -> None:
        setattr(room(app), name, value)
        if then is not None:
            then(app)

    return property(lambda app: getattr(room(app), name), write, doc=doc)


class Socket_Singleton:
    """Lets one instance of an application run at a time.

    The first launch binds the port and becomes the *host*. Every later launch finds
    the port taken, hands its ``sys.argv[1:]`` to the host and exits, inside this
    constructor. The host calls the observers that were registered with `trace`.

    A launch that cannot become the host, and whose arguments the host does not accept, fails
    with a message: on stderr with exit status 1, or as the text of the exception. It tries
    for 2 seconds at most.

    In a ``multiprocessing`` worker that is importing a module, the constructor does
    nothing: workers are not launches.

    Methods and properties may be used from any thread, from observers and from signal
    handlers. The instance is a context manager that calls `release` on exit.

    Args:
        address (str): the IPv4 or IPv6 address or host name to bind, at which launches
            reach the host. A wildcard (``"0.0.0.0"``, ``"::"``, ``""``) binds all addresses
            of the machine; launches then reach the host over loopback.
        port (int): a number from 0 to 65535, also as a string. Choose a fixed one from 1024 to
            32767. With 0 the system chooses a free port, which the attribute ``port`` shows.
        timeout (float): the number of seconds after which the host gives up the port. Until
            then the program does not exit, unless `release` is called. 0 means no timeout, and
            the program may exit at any time.
        client (bool): whether a second launch hands over its arguments. If ``False``, it just
            exits.
        strict (bool): whether a second launch raises ``SystemExit``; if ``False``, it raises
            `MultipleSingletonsError`.
        release_threshold (int): the host gives up the port after this many launches; the last
            of them is still delivered. 0 means no threshold.
        max_clients (int): the arguments of any launches beyond this many are ignored. 0 means
            no limit.
        verbose (bool): print a line that begins with ``Socket_Singleton:`` to stdout when an
            observer raises, when a client has the wrong secret or sends something that is not
            a packet, and when a host cannot be reached.
        secret (str | None): a secret that the host and its launches share. The host accepts no
            launch that does not have it. ``None`` and ``""`` mean no secret. With a name, the
            secret is the key of the proof, and is never sent.
        argv (Sequence[str] | None): what a second launch hands over, 8 MiB at most. ``None``
            means ``sys.argv[1:]``.
        notify_empty (bool): call the observers for launches without arguments too, with an
            empty `Launch`.
        dispatch (Callable | None): a function that takes a function without arguments and
            arranges for it to be called on the thread where observers should run
            (``queue.put``, ``loop.call_soon_threadsafe``, ``executor.submit`` ...). It is
            called on the observer thread, once per launch. If it raises, the launch stays first
            in `arguments` and is tried again: when the next one arrives, and by itself after half a
            second, then at longer intervals. With ``None``, observers run on the observer thread.
        wait (float): how many seconds to wait for the port to become free before handing over;
            ``float("inf")`` waits for ever.
        name (str | None): the name of the application, of which each user can run one instance.
            Address and port are computed from it unless they are given; giving the default
            value (``port=1337``) is the same as leaving it out. Before any argument is sent, host
            and launch prove to each other that they belong to this name and user, so any other
            program on the port is recognized.
        answer (bool | float): a second launch waits until the observers have answered, shows
            what they print meanwhile, and exits with their answer. With a number, it waits
            for that many seconds at most and then fails with a message, although the host may
            still act on the launch. Time spent waiting for its own stdout (a pager, for example) does not
            count. Has no effect on the host. Needs a name.
        environ (Sequence[str]): the names of the environment variables that a second launch hands
            over if they are set, such as ``("XDG_ACTIVATION_TOKEN",)``. Needs a name.

    Raises:
        SystemExit: another instance is the host, and ``strict`` is true. The code is ``None`` if the
            host accepted the launch, has had ``max_clients`` launches or is of version 2.0.0, and with
            ``client=False``; the status, if it answered with one; otherwise a message that says what
            went wrong.
        MultipleSingletonsError: another instance is the host, and ``strict`` is false.
        TypeError, ValueError: a parameter is invalid. No socket was opened.
        OSError: the address cannot be bound for a reason other than being in use; it cannot be
            resolved (``socket.gaierror``); the system is out of descriptors; or the key
            for the name cannot be created or read. Nothing is left open.
        RuntimeError: the system is out of threads or does not allow one here (in an isolated
            subinterpreter), or this object has already been constructed. Nothing is left open.

    Each parameter is available as an attribute of the same name. Numbers that were given as strings
    are numbers there, and with a name, ``address`` and ``port`` are the computed ones. Setting
    ``release_threshold``, ``max_clients``, ``verbose``, ``secret``, ``notify_empty`` or ``dispatch``
    takes effect while the host is running; the value is checked when it is set. Setting any of the
    others has no effect.
    """

    # Private names begin with two underscores, so a subclass may use any name with one, except for the few
    # that code for 2.0.0 uses.

    release_threshold: int = _view(
        lambda self: self.__settings,
        "release_threshold",
        "The number of launches after which the host gives up the port.",
    )
    max_clients: int = _view(
        lambda self: self.__settings,
        "max_clients",
        "The number of launches after which further ones are ignored.",
    )
    verbose: bool = _view(
        lambda self: self.__settings, "verbose", "Whether to print a line when something goes wrong."
    )
    secret: "str | None" = _view(
        lambda self: self.__settings, "secret", "The secret that clients must send from now on."
    )
    notify_empty: bool = _view(
        lambda self: self.__settings,
        "notify_empty",
        "Whether observers are called for launches without arguments.",
    )
    dispatch: "Callable[[Callable[[], object]], object] | None" = _view(
        lambda self: self.__settings,
        "dispatch",
        "The function that takes observers to the thread where they should run.",
        then=lambda self: self.__wake_delivery(),
    )

    # For code that was written for 2.0.0.
    _observers: "dict[Any, Any]" = _view(
        lambda self: self.__delivery.observers, "registered", "The observers, with args and kwargs."
    )
    _arguments: "list[tuple[str, ...]]" = _view(
        lambda self: self.__delivery.inbox,
        "kept",
        "A live list of the launches for which there was no observer.",
    )

    __is_derived: "bool | None" = None  # see `Endpoint`

    # None until this launch is the host.
    __host: "Host | None" = None
    __made_delivery: "Delivery | None" = None
    # Whether `release` was called. Set by any thread, never unset.
    __released = False

    def __init__(
        self,
        address: str = ADDRESS,
        port: "int | str" = PORT,
        timeout: "float | str" = 0,
        client: bool = True,
        strict: bool = True,
        release_threshold: "int | str" = 0,
        max_clients: "int | str" = 0,
        verbose: bool = False,
        secret: "str | None" = None,
        *,
        argv: "Sequence[str] | None" = None,
        notify_empty: bool = False,
        dispatch: "Callable[[Callable[[], object]], object] | None" = None,
        wait: "float | str" = 0,
        name: "str | None" = None,
        answer: "bool | float" = False,
        environ: "Sequence[str]" = (),
    ) -> None:
        if self.__host is not None or self.__made_delivery is not None:
            raise RuntimeError(f"this {type(self).__name__} is already constructed: make a new one")
        self.address = _settings.address_text(address)
        self.port: int = _settings.port_number(port)
        self.timeout = _settings.seconds("timeout", timeout)
        self.client = bool(client)
        self.strict = bool(strict)
        self.__settings = Settings(
            release_threshold=release_threshold,
            max_clients=max_clients,
            verbose=verbose,
            secret=secret,
            notify_empty=notify_empty,
            dispatch=dispatch,
        )
        self.name = name
        self.answer = _settings.limit(answer)
        self.environ = _settings.variables(environ)
        self.argv = None if argv is None else _settings.words(argv)
        if self.argv is not None:
            encode(self.argv, self.__settings.secret_bytes)  # what it raises would come too late otherwise
        self.wait = _settings.seconds("wait", wait, for_ever=True)
        if name is None and self.answer is not False:
            raise ValueError("answer needs a name: without one, nobody can tell who answers")
        if name is None and self.environ:
            raise ValueError("environ needs a name: without one, only the arguments are handed over")
        if name is not None:
            from . import _identity

            _identity.check_name(name)
            self.__is_derived = (self.address, self.port) == (ADDRESS, PORT)
            self.address, self.port = _identity.place_unless_given(name, self.address, self.port)
        if not _system.is_worker_importing():
            try:
                self.__launch()
            except BaseException:
                # Whatever is raised, even by a signal handler, nothing may be left behind. This does not
                # call the `release` of a subclass, which may need what its constructor has yet to create.
                Socket_Singleton.release(self)
                raise

    def __launch(self) -> None:
        """Become the host, or hand over and end."""
        identity = self.__identify()
        endpoint = Endpoint(self.address, self.port)
        endpoint.is_derived = self.__is_derived
        try:
            if not endpoint.claim(self.wait):
                outcome = self.__hand_over(endpoint, identity)
                if not outcome.claimed:
                    self.__end(endpoint, outcome)
            self.__serve(endpoint, identity)
        except BaseException:
            endpoint.drop_listener()
            raise

    def __identify(self) -> "Identity | None":
        if self.name is None:
            return None
        from ._identity import identify

        return identify(self.name, self.__settings.secret_bytes, make_key=True)

    def __hand_over(self, endpoint: Endpoint, identity: "Identity | None") -> "Outcome":
        """Hand the arguments to whoever has the port, or claim the port if it becomes free."""
        now = time.monotonic()
        patience = now + self.answer if _settings.is_limit(self.answer) else FOR_EVER
        new_talk = None
        if self.client:
            _system.let_come_to_front()
            argv = getattr(sys, "argv", [])[1:] if self.argv is None else self.argv
            output = self.__output().write if self.answer is not False else None
            new_talk = _client.talks(argv, identity, self.__settings.secret_bytes, self.environ, output)
        elif identity is not None:
            new_talk = _questions(identity)
        deadline = min(now + _client.HAND_OVER_TIME, patience)
        if self.answer is False:
            return _client.hand_over(endpoint, new_talk, deadline, patience, self.__say_missed)
        from ._answers import OutputError, end_of_output

        try:
            return _client.hand_over(endpoint, new_talk, deadline, patience, self.__say_missed)
        except OutputError as error:
            if self.strict:
                raise SystemExit(end_of_output(error)) from None
            seen = f"its output cannot be shown: {error.__cause__}"
            return _client.Outcome(False, Answer.SEVERED, seen, error.talk)

    def __output(self) -> "Output":
        from ._answers import Output

        return Output()

    def __end(self, endpoint: Endpoint, outcome: "Outcome") -> "NoReturn":
        """End this launch, which is not the host, as the outcome says."""
        if self.strict and outcome.found == Answer.OWNED and not self.answer:
            raise SystemExit  # the usual end, without an import
        answer: str | int | None = None
        failure: str | int | None = None
        is_answered = bool(self.answer) and outcome.found == Answer.OWNED and outcome.talk is not None
        if is_answered:
            from . import _answers

            assert outcome.talk is not None
            answer, failure = _answers.read(outcome.talk.answer)
            if self.strict and not failure:
                try:
                    raise SystemExit(self.__output().show(answer))
                except _answers.OutputError as error:
                    raise SystemExit(_answers.end_of_output(error)) from None
        from . import _outcome

        if not is_answered:
            failure = _outcome.failure(endpoint, self.name, outcome, bool(self.answer))
        if self.strict:
            raise SystemExit(failure)
        word = outcome.found
        if is_answered:
            word = _outcome.REFUSED if failure else _outcome.ANSWERED
        pid = getattr(outcome.talk, "pid", None)
        raise MultipleSingletonsError(
            failure or _outcome.other_instance(self.address, self.port, self.name, pid),
            address=self.address,
            port=self.port,
            delivered=_outcome.DELIVERED.get(outcome.found, False),
            pid=pid,
            answer=answer,
            outcome=word,
        )

    def __serve(self, endpoint: Endpoint, identity: "Identity | None") -> None:
        """Become the host."""
        # Imported here because most launches never become the host.
        from ._host import exits
        from ._host.host import Host
        from ._host.threads import THREADS_START_LATE

        listener = endpoint.listener
        assert listener is not None
        self.port = listener.getsockname()[1]
        new_talk = self.__host_talks(identity)
        self.__host = Host(listener, self.__settings, self.__delivery, self.timeout, new_talk)
        endpoint.listener = None
        exits.add(self, self.__host, self.__end_with_interpreter, self.__is_over)
        self.__host.start()
        if not THREADS_START_LATE:
            self.__delivery.wake()

    def __host_talks(self, identity: "Identity | None") -> "Callable[[Any], Any]":
        """Return what makes the host's side of a new connection."""
        settings = self.__settings
        if identity is None:
            from ._host.packet import Packet

            return lambda _: Packet(settings.secret_bytes)
        from ._host.proof import HostSide
        from ._identity import key_for
        from ._proof import Identity

        first, first_secret = identity, settings.secret_bytes

        def new_talk(sock: "Any") -> "HostSide":
            secret, known = settings.secret_bytes, first
            if secret != first_secret:
                # The network of the first identity, because by now (after a chroot) it may not be readable.
                known = Identity(first.name, key_for(secret, make_key=True), first.network)
            return HostSide(known, sock.getsockname())

        return new_talk

    @property
    def __delivery(self) -> "Delivery":
        """The way from the host to the observers, created when it is first needed, not only by a host."""
        if self.__made_delivery is None:
            from ._host.delivery import Delivery

            overridden = type(self)._append_args is not Socket_Singleton._append_args  # noqa: SLF001
            made = Delivery(self.__settings, self._append_args if overridden else None)
            # A single step: if two threads arrive here at the same time, both get the same object.
            delivery: Delivery = self.__dict__.setdefault("_Socket_Singleton__made_delivery", made)
            return delivery
        return self.__made_delivery

    @property
    def _listening(self) -> bool:
        return self.__host is not None and self.__host.holds_port

    @property
    def _clients(self) -> int:
        return self.__host.clients if self.__host is not None else 0

    def __str__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"{type(self).__name__}(address={self.address!r}, port={self.port}{name})"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(address={self.address!r}, port={self.port}, timeout={self.timeout},"
            f" client={self.client}, strict={self.strict}, release_threshold={self.release_threshold},"
            f" max_clients={self.max_clients}, verbose={self.verbose},"
            f" secret={'***' if self.secret else None},"
            f" observers={len(self._observers)}, clients={self._clients}, listening={self._listening},"
            f" argv={self.argv}, notify_empty={self.notify_empty}, dispatch={self.dispatch},"
            f" wait={self.wait}, name={self.name!r}, answer={self.answer}, environ={self.environ})"
        )

    def __enter__(self: "Self") -> "Self":
        if self.__released:
            raise RuntimeError("the port has been released; construct a new instance to guard this block")
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self.release()

    @property
    def arguments(self) -> "tuple[Launch, ...]":
        """The launches that the host has accepted and that no observer has received yet, oldest first.

        They wait here for the first `trace`, and remain after `release`. While no observer is
        registered, at most 16 MiB are kept; beyond that, the oldest are dropped. Each access
        returns a new tuple and decodes all waiting launches.
        """
        return self.__made_delivery.inbox.snapshot() if self.__made_delivery is not None else ()

    @property
    def clients(self) -> int:
        """The number of clients that this host has had so far.

        A client is a connection that has sent a complete packet or the wrong secret.
        """
        return self._clients

    def trace(
        self,
        observer: "Callable[Concatenate[Launch, P], object]",
        *args: "P.args",
        **kwargs: "P.kwargs",
    ) -> None:
        """Call ``observer(launch, *args, **kwargs)`` for every launch from now on.

        ``launch`` is a `Launch`: a tuple of the strings in ``sys.argv[1:]`` of the second launch, which
        also has that launch's working directory and streams to its terminal. Observers are not called
        for launches without arguments, unless ``notify_empty`` is set. Launches that arrived
        before the first observer was registered are delivered first.

        Observers run where ``dispatch`` takes them, or else on a daemon thread of their own. They
        receive one launch at a time in order of arrival, and are called in order of registration.
        Neither the host nor second launches wait for them. If an observer raises an exception,
        even ``SystemExit``, only that call ends. The error is logged (logger
        ``Socket_Singleton``, level ERROR), and a line is printed to stdout if ``verbose`` is
        set. Observers may call any method, including `release`.

        If the launch waits for an answer (``answer=True``, `ask`), the first observer that raises
        or does not return ``None`` provides it: a ``str`` is printed, an ``int`` from 0 to 255 is
        the exit status, and a future (any object with ``add_done_callback``) is waited for. A
        future that an observer returns is kept until it is done, and its exception is logged.

        Registering an observer again replaces its ``args`` and ``kwargs``.

        Raises:
            TypeError: ``observer`` is not callable or not hashable, or it is a coroutine
                function, a generator function or an async generator function.
        """
        from ._host.observers import check

        check(observer)
        self.__delivery.observers.add(observer, args, kwargs)
        if self.__host is not None:
            self.__delivery.wake()

    def untrace(self, observer: "Callable[..., object]") -> None:
        """Stop calling ``observer``; do nothing if it is not registered.

        A call that is already running on another thread continues.
        """
        self.__delivery.observers.remove(observer)

    def release(self) -> None:
        """Give up the port. When this method returns, anyone can bind it.

        Launches that are connecting but have not been accepted yet claim the port themselves.
        Launches whose observer is running at this moment still get its answer. Others that wait
        for an answer get it if it already exists, and otherwise fail with a message. As long as
        an answer is outstanding, only programs that set ``SO_REUSEADDR``, as launches do, can bind
        the port; on Windows it remains taken for up to a second.

        No observer is called any more, although a call that is already running continues. Launches
        that were not delivered remain in `arguments`. Calling this method again does nothing.

        Raises:
            RuntimeError: the host's thread did not end within 10 seconds.
        """
        host, delivery = self.__host, self.__made_delivery
        if host is not None:
            self.__released = True
            host.close()
        if delivery is not None:
            delivery.stop()
            delivery.observers.forget()
            delivery.join(0.0 if delivery.is_calling else THREAD_END_TIME)
        if host is not None:
            from ._host import exits

            exits.forget_those_over()

    def close(self) -> None:
        """Do the same as `release`, under its name in version 1.0.0."""
        self.release()

    def join(self, timeout: "float | None" = None) -> bool:
        """Wait until the port is given up by `release`, ``timeout`` or ``release_threshold``.

        In the main thread, Ctrl-C ends the wait.

        Args:
            timeout (float | None): the maximum number of seconds to wait. ``None`` means no limit.

        Returns:
            bool: ``False`` if the time ran out first, otherwise ``True``.
        """
        limit = -1.0 if timeout is None else float(_settings.seconds("timeout", timeout, for_ever=True))
        if self.__host is None:
            return True
        from ._wakeup import wait_for

        return wait_for(self.__host.given_up.wait, limit)

    def __wake_delivery(self) -> None:
        """Have launches that `dispatch` has refused tried again."""
        if self.__host is not None:
            self.__delivery.wake()

    def __is_over(self) -> bool:
        """Return whether this was released, and both threads have ended."""
        assert self.__host is not None
        return self.__released and self.__host.has_ended and self.__delivery.has_ended

    def __end_with_interpreter(self) -> None:
        """At exit: free the port, give observers a moment to take what the host still owns, and release."""
        assert self.__host is not None
        until = time.monotonic() + EXIT_TIME
        self.__host.stop_accepting()
        self.__delivery.drain(EXIT_TIME)
        self.release()
        self.__host.finish(max(until - time.monotonic(), 0.0))
        self.__delivery.join(max(until - time.monotonic(), 0.0))

    @staticmethod
    def send(
        argv: "Sequence[str]",
        address: str = ADDRESS,
        port: "int | str" = PORT,
        secret: "str | None" = None,
        timeout: "float | str" = 2.0,
        *,
        name: "str | None" = None,
    ) -> None:
        """Hand ``argv`` to the running host, as a launch would, and return when the host has accepted it.

        Any program may call this, on any thread. It never becomes the host, and never exits.

        Args:
            argv (Sequence[str]): the arguments that the host's observers receive.
            address (str): the address of the host.
            port (int): the port of the host.
            secret (str | None): the secret of the host.
            timeout (float): the maximum number of seconds for the whole call.
            name (str | None): the name of the host. Address and port are computed from it unless they
                are given; giving the default value is the same as leaving it out.

        Raises:
            ConnectionRefusedError: nothing listens there. Windows takes more than 2 seconds to find
                that out, so a shorter ``timeout`` raises ``TimeoutError`` instead.
            TimeoutError: there was no reply in time. The host may still accept the arguments.
            ConnectionError: there was a reply, but the arguments were not accepted: another program or
                another application is there; a host that accepts no more launches (``max_clients``) or
                has another secret; or a host of version 2.0.0, which cannot confirm it, although it
                has taken what it could read.
            TypeError, ValueError: an argument is invalid.
            OSError: the address cannot be resolved, or the key for the name cannot be read.
        """
        from . import _remote

        _remote.send(_remote.Place(address, port, secret, name), argv, timeout)

    @staticmethod
    def ask(
        argv: "Sequence[str]",
        *,
        name: str,
        secret: "str | None" = None,
        timeout: "float | str | None" = None,
        address: str = ADDRESS,
        port: "int | str" = PORT,
        wait: "float | str" = 0,
        stdout: "TextIO | None" = None,
        stderr: "TextIO | None" = None,
    ) -> "str | int | None":
        """Hand ``argv`` to the running host, and return the answer of its observers.

        Any program may call this, on any thread. It never becomes the host. The host has 2 seconds
        to accept the arguments, while the answer may take as long as ``timeout`` allows.

        Args:
            argv (Sequence[str]): the arguments that the host's observers receive.
            name (str): the name of the host.
            secret (str | None): the secret of the host.
            timeout (float | None): the maximum number of seconds for the whole call, not counting the
                time that ``stdout`` and ``stderr`` take. ``None`` means no limit.
            address (str): the address of the host, if it is not the one computed from the name. Giving
                the default value is the same as leaving it out.
            port (int): the same for the port.
            wait (float): how many seconds to wait for the application if it is not running, for
                example because it is just starting. They count towards ``timeout``.
                ``float("inf")`` waits for ever.
            stdout (TextIO | None): the stream on which everything that observers write to
                ``launch.stdout`` appears at once. ``None`` means ``sys.stdout``. An exception that
                the stream raises is raised here.
            stderr (TextIO | None): the same for ``launch.stderr``. ``None`` means ``sys.stderr``.

        Returns:
            str | int | None: the return value of the first observer that did not return ``None``.

        Raises:
            RuntimeError: the observer raised an exception, whose text this one has, or did not return
                a valid answer.
            ConnectionRefusedError: the application is not running.
            TimeoutError: there was no answer in time. The host may still act on the arguments.
            ConnectionError: another program or another application replied, or the host ended before
                it answered and may have acted on the arguments. The message says which.
            TypeError, ValueError, OSError: as for `send`.
        """
        from . import _remote
        from ._answers import Output, OutputError

        place = _remote.Place(address, port, secret, _required(name))
        try:
            return _remote.ask(place, argv, timeout, wait, Output(stdout, stderr))
        except OutputError as error:
            raise error.__cause__ or error from None

    @staticmethod
    def is_running(
        address: str = ADDRESS,
        port: "int | str" = PORT,
        *,
        name: "str | None" = None,
        secret: "str | None" = None,
    ) -> bool:
        """Return whether a program listens at an address and port, or whether an application is running.

        With ``name``, the application has to prove its identity, which includes the user. The call
        takes 2 seconds at most, 3 on Windows. The host does not count it as a client, unless it is
        of version 2.0.0.

        Args:
            address (str): the address of the host.
            port (int): the port of the host.
            name (str | None): the name of the application. Address and port are computed from it unless
                they are given; giving the default value is the same as leaving it out.
            secret (str | None): the secret of the host; only used with a name.

        Returns:
            bool: ``False`` only if nothing listens there or, with ``name``, if whatever listens is
                certainly not this application.

        Raises:
            TimeoutError: it is not certain, because there was no reply in time; with ``name``,
                the application probably does not respond.
            ConnectionError: it is not certain for another reason: the host has another name or
                key, the network is unreachable, or the connection is not permitted.
            OSError: the address cannot be resolved, or the key for the name cannot be read.
        """
        from . import _remote

        return _remote.look(_remote.Place(address, port, secret, name)).is_there

    @staticmethod
    def pid_of(
        name: str, *, secret: "str | None" = None, address: str = ADDRESS, port: "int | str" = PORT
    ) -> "int | None":
        """Return the process id of the running instance, which has to prove its identity.

        Args:
            name (str): the name of the application.
            secret (str | None): the secret of the host.
            address (str): the address of the host, if it is not the one computed from the name. Giving
                the default value is the same as leaving it out.
            port (int): the same for the port.

        Returns:
            int | None: the process id; ``None`` only if nothing listens there, or if whatever
                listens is certainly not this application.

        Raises:
            TimeoutError, ConnectionError, OSError: it is not certain; see `is_running`.
        """
        from . import _remote

        return _remote.look(_remote.Place(address, port, secret, _required(name))).pid

    @staticmethod
    def relaunch(argv: "Sequence[str]", **popen: "Any") -> "subprocess.Popen[Any]":
        """Start this program again with ``argv``, in the same way as it was started. Call `release` first.

        It may have been started as a script, with ``-m``, by a console script, as a zipapp or as a
        frozen application. The new process has the same interpreter with the same options, even in
        a virtual environment. It starts in the directory where this process was started. ``argv``
        holds all of its arguments; ``sys.argv`` is not used. A
        program that runs under another one (a profiler, a debugger, `runpy`) is started directly.

        If ``argv`` is a `Launch`, the new process starts in the directory of that launch (in the root
        directory if that was deleted) and with its environment variables.

        Args:
            argv (Sequence[str]): the ``sys.argv[1:]`` of the new process.
            **popen: further arguments for `subprocess.Popen`. ``cwd`` and ``env`` take precedence over
                what is described above.

        Returns:
            subprocess.Popen: the new process.

        Raises:
            RuntimeError: an instance in this process still holds its port, so the new process would
                hand ``argv`` over to it; or the program cannot be started again, because it was
                started with ``python -c`` or at the prompt.
            TypeError, ValueError, OSError: as for `subprocess.Popen`.
        """
        from . import _relaunch
        from ._host import exits

        if any(host.holds_port for host in exits.hosts()):
            raise RuntimeError("an instance in this process still holds its port; call release() first")
        return _relaunch.relaunch(argv, popen)

    def _append_args(self, args: "tuple[str, ...]") -> object:
        """Notify the observers of one launch, on the calling thread, before returning.

        If no observer is registered, the launch waits in `arguments`. Subclasses may override
        this method: every launch then passes through it, on the observer thread or where
        ``dispatch`` takes it, and its return value is the answer to a launch that waits for one.
        """
        return self.__delivery.notify(args)

    def __say_missed(self, seen: str) -> None:
        if self.verbose:
            from ._report import say

            say(
                self.__settings,
                f"Failed to connect to existing instance on {self.address}:{self.port} ({seen})",
            )


class MultipleSingletonsError(Exception):
    """Raised by a launch that is not the host, if ``strict`` is ``False``.

    The text of the exception is for people, and its attributes are for programs. Pickling
    keeps all of them.

    Attributes:
        address (str): the address at which this launch looked for the host.
        port (int): the port at which it did.
        delivered (bool | None): ``True`` if the host confirmed that it has this launch's
            arguments. ``False`` if nobody has them, as the text explains, or if the host
            accepts no more (``max_clients``). ``None`` if that is unknown (a host of version
            2.0.0 cannot confirm) or was not tried (``client=False``).
        pid (int | None): the process id of the host, if the launch has a name and the host has
            proved its identity; otherwise ``None``.
        answer (str | int | None): the answer of the observers, if ``answer`` was set.
        outcome (str): how the launch ended: ``"delivered"``, ``"answered"``,
            ``"refused"``, ``"late"``, ``"lost"``, ``"cut off"``, ``"ignored"``, ``"full"``,
            ``"not sent"``, ``"unknown"``, ``"truncated"``, ``"rejected"``, ``"stranger"``,
            ``"unproven"``, ``"silent"``, ``"unreachable"``, ``"reset"`` or ``"nobody"``. The API
            reference explains each of them.
    """

    # Only the text goes into ``args``: Exception then rebuilds the error from
    # ``args`` and the instance dictionary, which is all that pickle needs.
    def __init__(
        self,
        *args: object,
        address: str = "",
        port: int = 0,
        delivered: "bool | None" = None,
        pid: "int | None" = None,
        answer: "str | int | None" = None,
        outcome: str = "",
    ) -> None:
        super().__init__(*args)
        self.address = address
        self.port = port
        self.delivered = delivered
        self.pid = pid
        self.answer = answer
        self.outcome = outcome


def _required(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    return name


def _questions(identity: "Identity") -> "Callable[[], LaunchSide]":
    """Return a function that makes the launch's side of a connection that only finds out who is there."""
    from ._proof import LaunchSide

    return lambda: LaunchSide(identity, None)
