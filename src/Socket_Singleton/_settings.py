"""What an application is set to: checks of what it gives, and what may change while the host runs.

A value that cannot be used raises `TypeError` or `ValueError` where it is set, in the thread
that sets it, and not where it is used. Here are also the two ways in which the library speaks to
the application by itself: lines on stdout, if it is verbose, and errors in its log.
"""

from __future__ import annotations

import sys

from ._wire import encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence, TypeVar

    Number = TypeVar("Number", int, float)
    Dispatch = Callable[[Callable[[], object]], object]

FOR_EVER = float("inf")

# The address and port of who gave none.
ADDRESS = "127.0.0.1"
PORT = 1337


class Settings:
    """The settings that the host looks at as it runs.

    Anybody writes an attribute, the host's threads read it. To set an attribute and
    to read one is one step each, with a GIL and without (docs/design.md, "Threads share
    single steps"). Who reads two of them may
    see one before and one after a change; nothing here needs them to agree.
    """

    __slots__ = (
        "_dispatch",
        "_max_clients",
        "_notify_empty",
        "_release_threshold",
        "_secret",
        "_verbose",
        "secret_bytes",
    )

    def __init__(
        self,
        release_threshold: int | str,
        max_clients: int | str,
        verbose: bool,
        secret: str | None,
        notify_empty: bool,
        dispatch: Dispatch | None,
    ) -> None:
        self.release_threshold = release_threshold
        self.max_clients = max_clients
        self.verbose = verbose
        self.secret = secret
        self.notify_empty = notify_empty
        self.dispatch = dispatch

    @property
    def release_threshold(self) -> int:
        """The host gives the port up at this many clients; 0: never."""
        return self._release_threshold

    @release_threshold.setter
    def release_threshold(self, value: int | str) -> None:
        self._release_threshold = count("release_threshold", value)

    @property
    def max_clients(self) -> int:
        """The arguments of later clients than this many are ignored; 0: none are."""
        return self._max_clients

    @max_clients.setter
    def max_clients(self, value: int | str) -> None:
        self._max_clients = count("max_clients", value)

    @property
    def verbose(self) -> bool:
        """Whether lines that begin ``Socket_Singleton:`` are printed."""
        return self._verbose

    @verbose.setter
    def verbose(self, value: bool) -> None:
        self._verbose = bool(value)

    @property
    def secret(self) -> str | None:
        """What clients must show; a new one holds for those that connect from then on."""
        return self._secret

    @secret.setter
    def secret(self, value: object) -> None:
        value = secret_text(value)
        self.secret_bytes = encode_secret(value)  # for the wire
        self._secret = value

    @property
    def notify_empty(self) -> bool:
        """Whether observers hear of launches without arguments."""
        return self._notify_empty

    @notify_empty.setter
    def notify_empty(self, value: bool) -> None:
        self._notify_empty = bool(value)

    @property
    def dispatch(self) -> Dispatch | None:
        """What is given a function of no arguments for each launch, to run it where observers belong."""
        return self._dispatch

    @dispatch.setter
    def dispatch(self, value: Dispatch | None) -> None:
        if not (value is None or callable(value)):
            raise TypeError(f"dispatch must be callable, not {value!r}")
        self._dispatch = value

    def say(self, line: str) -> None:
        """Print one line, if verbose. Not on the I/O thread: stdout may block, and may be anything."""
        if self._verbose:
            try:
                # Held here: `print` alone crashes if another thread puts something else in its
                # place meanwhile (CPython before 3.14, issue 130163).
                stdout = sys.stdout
                print(f"Socket_Singleton: {line}", file=stdout, flush=True)
            except BaseException:
                pass  # stdout is the application's: closed, full, or an object of its own

    def tell_raised(self, role: str, culprit: object, error: BaseException) -> None:
        """Log what ``culprit`` raised, with its traceback, and say it in a line, if verbose.

        The logger is ``Socket_Singleton``, the level ERROR. Without a handler
        Python itself prints to stderr.
        """
        try:
            name = getattr(culprit, "__name__", culprit)
            text = f"{role} {name} raised exception: {type(error).__name__}: {error}"
        except BaseException:  # the culprit's or the error's own, as text
            text = f"{role} of {type(culprit)} raised exception: {type(error).__name__}"
        self.say(text)
        try:
            import logging  # 5 ms, so only for who needs it

            logging.getLogger("Socket_Singleton").error(text, exc_info=error)
        except BaseException:
            pass  # the handlers are the application's, and there may be no memory for an import


def words(argv: Sequence[str]) -> tuple[str, ...]:
    """Return ``argv`` as a tuple; a single string is a mistake."""
    if isinstance(argv, (str, bytes)) or not hasattr(argv, "__iter__"):
        raise TypeError(f"argv must be a sequence of str, not {argv!r}")
    return tuple(argv)


def address_text(address: object) -> str:
    """Return ``address`` as text: a ``str``, or what shows itself as one (`ipaddress.IPv4Address`).

    Raises:
        TypeError: it is something else. A number is taken for a port in the wrong place.
    """
    if isinstance(address, str):
        return address
    if _has_own_text(address):
        return str(address)
    hint = f": did you mean port={address}?" if isinstance(address, int) and address is not True else ""
    raise TypeError(f"address must be a str, not {type(address).__name__}{hint}")


def secret_text(secret: object) -> str | None:
    """Return ``secret`` as text; a number becomes its digits, as in 2.0.0."""
    if secret is None or isinstance(secret, str):
        return secret
    if _has_own_text(secret) or (isinstance(secret, (int, float)) and not isinstance(secret, bool)):
        return str(secret)
    raise TypeError(f"secret must be a str, not {type(secret).__name__}")


def encode_secret(secret: str | None) -> bytes | None:
    """Return ``secret`` as it travels; None if there is none."""
    return encode_text("secret", secret) if secret else None


def _has_own_text(value: object) -> bool:
    """Whether its class says how it looks as text, so that the text is meant to be used."""
    # Of these some have one, and some versions of Python give one to a number too.
    others = (int, float, complex, bytes, bytearray, BaseException, type(None))
    return type(value).__str__ is not object.__str__ and not isinstance(value, others)


def _number(kind: Callable[[Any], Number], name: str, value: object, what: str) -> Number:
    """Return ``value`` as ``kind`` reads it; NaN is an error, and so is a fraction that gets lost."""
    wrong: type[Exception] = ValueError
    try:
        number = kind(value)
        if number == number and (isinstance(value, str) or number == value):
            return number
    except (TypeError, ValueError, OverflowError) as error:
        wrong = TypeError if isinstance(error, TypeError) else ValueError
    raise wrong(f"{name} must be {what}, not {value!r}")


def port_number(value: int | str) -> int:
    """Return ``value`` as a port, 0 to 65535."""
    port = _number(int, "port", value, "a whole number")
    if not 0 <= port <= 65535:
        raise ValueError("port must be between 0 and 65535 (inclusive)")
    return port


def count(name: str, value: int | str) -> int:
    """Return ``value`` as a whole number that is not negative."""
    number = _number(int, name, value, "a whole number")
    if number < 0:
        raise ValueError(f"{name} must be greater than or equal to 0")
    return number


def seconds(name: str, value: float | str, for_ever: bool = False) -> float:
    """Return ``value`` as seconds: an int where it is whole, which is how 2.0.0 shows it."""
    number = _number(float, name, value, "a number of seconds")
    if for_ever and number == FOR_EVER:
        return FOR_EVER
    if not 0 <= number < FOR_EVER:
        also = "" if number < 0 else " and finite"
        raise ValueError(f"{name} must be greater than or equal to 0{also}")
    return int(number) if number.is_integer() else number
