"""The settings of an application: checks of their values, and those that may change while the host runs.

An invalid value raises `TypeError` or `ValueError` where it is set, on the thread that sets
it, and not where it is used.
"""

from ._packet import encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Sequence, TypeVar

    Number = TypeVar("Number", int, float)
    Dispatch = Callable[[Callable[[], object]], object]

FOR_EVER = float("inf")

# The address and port if the application gives neither these nor a name.
ADDRESS = "127.0.0.1"
PORT = 1337


class Settings:
    """The settings that the host reads while it runs, each checked when it is set.

    Any thread may write an attribute, and the host's threads read it. Setting and reading an
    attribute are single steps, with and without a GIL (docs/design.md, "Threads share single
    steps"). A thread that reads two of them may see one before and one after a change; nothing
    here needs them to be consistent.
    """

    release_threshold: int
    max_clients: int
    verbose: bool
    secret: "str | None"
    notify_empty: bool
    dispatch: "Dispatch | None"

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, _CHECKS[name](name, value))

    @property
    def secret_bytes(self) -> "bytes | None":
        """The secret as it travels; None if there is none."""
        return encode_secret(self.secret)


def words(argv: "Iterable[str]", name: str = "argv", what: str = "str") -> "tuple[str, ...]":
    """Return ``argv`` as a tuple; a single string is a mistake."""
    if isinstance(argv, (str, bytes)) or not hasattr(argv, "__iter__"):
        raise TypeError(f"{name} must be a sequence of {what}, not {argv!r}")
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


def secret_text(name: str, secret: object) -> "str | None":
    """Return ``secret`` as text; a number becomes its digits, as in 2.0.0."""
    if _has_own_text(secret) or (isinstance(secret, (int, float)) and not isinstance(secret, bool)):
        secret = str(secret)
    if secret is None or isinstance(secret, str):
        encode_secret(secret)  # raises what would be raised for each connection
        return secret
    raise TypeError(f"{name} must be a str, not {type(secret).__name__}")


def encode_secret(secret: "str | None") -> "bytes | None":
    """Return ``secret`` as it travels; None if there is none."""
    return encode_text("secret", secret) if secret else None


def _has_own_text(value: object) -> bool:
    """Whether its class says how it looks as text, so that the text is meant to be used."""
    # Of these some have one, and some versions of Python give one to a number too.
    others = (str, int, float, complex, bytes, bytearray, BaseException, type(None))
    return type(value).__str__ is not object.__str__ and not isinstance(value, others)


def _number(kind: "Callable[[Any], Number]", name: str, value: object, what: str) -> "Number":
    """Return ``value`` as ``kind`` reads it; NaN is an error, and so is a fraction that gets lost."""
    wrong: type[Exception] = ValueError
    try:
        number = kind(value)
        if number == number and (isinstance(value, str) or number == value):
            return number
    except (TypeError, ValueError, OverflowError) as error:
        wrong = TypeError if isinstance(error, TypeError) else ValueError
    raise wrong(f"{name} must be {what}, not {value!r}")


def port_number(value: "int | str") -> int:
    """Return ``value`` as a port, 0 to 65535."""
    port = _number(int, "port", value, "a whole number")
    if not 0 <= port <= 65535:
        raise ValueError("port must be between 0 and 65535 (inclusive)")
    return port


def count(name: str, value: object) -> int:
    """Return ``value`` as a whole number that is not negative."""
    number = _number(int, name, value, "a whole number")
    if number < 0:
        raise ValueError(f"{name} must be greater than or equal to 0")
    return number


def seconds(name: str, value: object, for_ever: bool = False) -> float:
    """Return ``value`` as seconds: an int where it is whole, which is how 2.0.0 shows it."""
    number = _number(float, name, value, "a number of seconds")
    if for_ever and number == FOR_EVER:
        return FOR_EVER
    if not 0 <= number < FOR_EVER:
        also = "" if number < 0 else " and finite"
        raise ValueError(f"{name} must be greater than or equal to 0{also}")
    return int(number) if number.is_integer() else number


def limit(answer: object) -> "bool | float":
    """Return ``answer`` as it is kept: whether to wait for one, or for how many seconds at most."""
    if isinstance(answer, bool):
        return answer
    number = seconds("answer", answer, for_ever=True)
    if not number:
        raise ValueError("answer must be greater than 0 seconds, or False to wait for none")
    return number


def is_limit(answer: "bool | float") -> bool:
    """Whether ``answer`` is a number of seconds."""
    return not isinstance(answer, bool)


def variables(environ: "Sequence[str]") -> "tuple[str, ...]":
    """Return the names of variables as a tuple; a single string is a mistake."""
    names = words(environ, "environ", "variable names")
    for name in names:
        if not encode_text("a name in environ", name) or "=" in name:
            raise ValueError(f"environ must contain variable names, not {name!r}")
    return names


def _flag(_: str, value: object) -> bool:
    return bool(value)


def _callable(name: str, value: object) -> object:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")
    if getattr(getattr(value, "__code__", None), "co_flags", 0) & CO_COROUTINE:
        raise TypeError(f"{name} must not be a coroutine function, as {value!r} is")
    return value


# The flag of a coroutine function: inspect.CO_COROUTINE. To import inspect takes 6 ms.
CO_COROUTINE = 0x80

_CHECKS: "dict[str, Callable[[str, Any], object]]" = {
    "release_threshold": count,
    "max_clients": count,
    "verbose": _flag,
    "secret": secret_text,
    "notify_empty": _flag,
    "dispatch": _callable,
}
