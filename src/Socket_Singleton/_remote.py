"""Calls to a running instance from any program, which need not be a launch of the application itself."""

from __future__ import annotations

import time

from . import _client, _outcome, _settings, _system
from ._client import Endpoint
from ._packet import Answer
from ._settings import ADDRESS, FOR_EVER, PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from ._answers import Output
    from ._client import Talk
    from ._proof import Identity, LaunchSide

# Seconds between two tries of `ask` to reach an application that is just starting. A connection that is
# refused takes 0.1 ms.
_WAIT_STEP = 0.04


class Place:
    """Where a host is looked for."""

    def __init__(self, address: object, port: int | str, secret: object, name: str | None) -> None:
        self.name = name
        self.secret = _settings.encode_secret(_settings.secret_text("secret", secret))
        text, number = _settings.address_text(address), _settings.port_number(port)
        is_derived = None
        if name is not None:
            from . import _identity

            _identity.check_name(name)
            is_derived = (text, number) == (ADDRESS, PORT)
            text, number = _identity.place_unless_given(name, text, number)
        self.endpoint = Endpoint(text, number)
        self.endpoint.is_derived = is_derived
        self.where = _outcome.place(text, number, None)
        self._keyless: Identity | None = None
        self.whom = _outcome.place(text, number, name)

    def identity(self) -> Identity | None:
        """Return who is looked for; None without a name."""
        if self.name is None:
            return None
        from . import _identity

        try:
            return _identity.identify(self.name, self.secret, make_key=False)
        except FileNotFoundError as error:
            self._keyless = _identity.identify_without_key(self.name, error)
            return self._keyless

    def finds_key(self) -> bool:
        """Whether `identity` found no key, and has one now.

        A host makes the key before it listens, so one that has just started may be recognized after all.
        """
        if self._keyless is None:
            return False
        from ._identity import identify

        assert self.name is not None
        try:
            found = identify(self.name, self.secret, make_key=False)
        except FileNotFoundError:
            return False
        self._keyless.key, self._keyless.doubt = found.key, found.doubt
        self._keyless = None
        return True

    def talks(self, argv: Sequence[str], output: Callable[[int, bytes], object] | None) -> Callable[[], Talk]:
        """Return what makes the launch's side of a connection."""
        return _client.talks(argv, self.identity(), self.secret, (), output)


class _Reset(TimeoutError):
    """Every connection was reset, for example by a host that is ending. Nobody has the arguments."""


def send(place: Place, argv: Sequence[str], timeout: float | str) -> None:
    """Implement `Socket_Singleton.send`."""
    words = _settings.words(argv)
    deadline = time.monotonic() + _settings.seconds("timeout", timeout)
    try:
        _hand_over(place, place.talks(words, None), deadline)
    except _Reset as error:
        raise TimeoutError(*error.args) from None


def ask(
    place: Place,
    argv: Sequence[str],
    timeout: float | str | None,
    wait: float | str,
    output: Output,
) -> str | int | None:
    """Implement `Socket_Singleton.ask`; but what the streams of ``output`` raise becomes an `OutputError`."""
    from ._answers import read

    words = _settings.words(argv)
    now = time.monotonic()
    patience = FOR_EVER if timeout is None else now + _settings.seconds("timeout", timeout, for_ever=True)
    until = min(now + _settings.seconds("wait", wait, for_ever=True), patience)
    while True:
        deadline = min(time.monotonic() + _client.HAND_OVER_TIME, patience)
        try:
            talk = _hand_over(place, place.talks(words, output.write), deadline, patience)
            break
        except (ConnectionRefusedError, _Reset) as error:
            if time.monotonic() + _WAIT_STEP >= until:
                raise (TimeoutError(*error.args) if isinstance(error, _Reset) else error) from None
        time.sleep(_WAIT_STEP)
    value, failure = read(talk.answer)
    if failure:
        raise RuntimeError(failure)
    return value


class Found:
    """The result of `look`."""

    def __init__(self, is_there: bool, pid: int | None = None, stranger: str = "") -> None:
        self.is_there = is_there
        self.pid = pid  # of the application, with a name
        self.stranger = stranger  # a description of who is there instead


def look(place: Place) -> Found:
    """Find out whether a program listens; with a name, whether that application does, and has proved it.

    Raises:
        TimeoutError: it is not certain, because nobody replied in time.
        ConnectionError: it is not certain for another reason.
    """
    found, seen, talk = _look(place)
    if found == Answer.FOUND:
        return Found(True, talk.pid if talk is not None else None)
    if found == Answer.REFUSED:
        return Found(False)
    if found in (Answer.FOREIGN, Answer.REJECTED):  # another program, or a host without a name
        return Found(False, stranger=seen)
    what = "a program is listening" if place.name is None else f"{_outcome.shown(place.name)} is running"
    kind = TimeoutError if found in (Answer.SILENT, Answer.UNREACHED) else ConnectionError
    silence = _outcome.silence(place.endpoint, found, talk)
    raise kind(f"cannot tell whether {what}: {place.where}: {seen}{silence}")


def _hand_over(place: Place, new_talk: Callable[[], Talk], deadline: float, patience: float = 0.0) -> Talk:
    """Return the talk in which a host took the arguments; the errors are those of `Socket_Singleton.send`."""
    where, last = place.whom, _client.last_try(deadline)
    for pause in _client.pauses():
        talk = new_talk()
        found, seen = place.endpoint.ask(talk, deadline, patience)
        if found == Answer.UNPROVEN and place.finds_key():
            continue
        if found == Answer.OWNED:
            return talk
        if found == Answer.REFUSED:
            raise ConnectionRefusedError(f"nothing is listening at {where} ({seen})")
        if found == Answer.LATE:
            raise TimeoutError(f"{where} has accepted this launch, but has not answered in time")
        if found in (Answer.LOST, Answer.SEVERED):
            what = _outcome.NOT_ANSWERED if found == Answer.LOST else "its output was cut off"
            raise ConnectionError(
                f"{where} has accepted this launch, but {what} ({seen}); it may have acted on this launch"
            )
        if found not in (Answer.RESET, Answer.SILENT, Answer.UNREACHED):
            raise ConnectionError(f"not confirmed by {where}: {seen}")
        if found != Answer.RESET or time.monotonic() + pause >= last:
            kind = _Reset if found == Answer.RESET else TimeoutError
            silence = _outcome.silence(place.endpoint, found, talk)
            raise kind(f"not confirmed in time by {where} ({seen}){silence}")
        time.sleep(pause)
    raise AssertionError("the pauses do not end")  # pragma: no cover (so type checkers know)


def _look(place: Place) -> tuple[str, str, LaunchSide | None]:
    """Return the `Answer` of whoever listens, a description of it and, with a name, the talk."""
    endpoint, deadline = place.endpoint, time.monotonic() + _system.LOOK_TIME
    identity, talk = place.identity(), None
    if identity is not None:
        from ._proof import LaunchSide
    for pause in _client.pauses():
        if identity is None:
            found, seen = endpoint.find(deadline)
        else:
            talk = LaunchSide(identity, None)
            found, seen = endpoint.ask(talk, deadline)
            if found == Answer.UNPROVEN and place.finds_key():
                continue
        if found != Answer.RESET or time.monotonic() + pause >= deadline:
            break
        time.sleep(pause)  # a host that ends; there may be another one
    return found, seen, talk
