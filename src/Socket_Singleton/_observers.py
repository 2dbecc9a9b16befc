"""Who observes, and one round of calls: each launch goes through all observers, in their order."""

from __future__ import annotations

import sys

from ._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    Observer = Callable[..., object]
    Registered = Dict[Observer, Tuple[Tuple[Any, ...], Dict[str, Any]]]


# What the interpreter marks the code of ``async def`` with (inspect.CO_COROUTINE; inspect itself
# takes 6 ms to import).
_CO_COROUTINE = 0x80


def check(observer: object) -> None:
    """Raise TypeError if ``observer`` cannot be called with a launch."""
    if not callable(observer):
        raise TypeError(f"observer must be callable, not {observer!r}")
    inner: Any = observer
    # Who has one has imported functools, which takes a while.
    partial = getattr(sys.modules.get("functools"), "partial", ())
    while isinstance(inner, partial):
        inner = inner.func
    for candidate in (inner, getattr(type(inner), "__call__", None)):  # noqa: B004
        code = getattr(getattr(candidate, "__func__", candidate), "__code__", None)
        if getattr(code, "co_flags", 0) & _CO_COROUTINE:
            raise TypeError(
                f"observer must not be a coroutine function, as {observer!r} is; let an observer call"
                " asyncio.run_coroutine_threadsafe, and return what that returns if it is to answer"
            )


class Raised:
    """What an observer raised, where another one's return value would be."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Observers:
    """Who observes, in the order in which they came."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Observer to the args and kwargs that it is called with. Written by anybody who
        # traces or untraces, read by whoever calls. No lock: a look-up runs an observer's
        # own __hash__ and __eq__, and no lock may cover a user's code. Each access is one
        # call of the dictionary's, which leaves it whole for others (docs/design.md, "Threads
        # share single steps"). Code written for 2.0.0 knows it as ``app._observers``.
        self.registered: Registered = {}

    def add(self, observer: Observer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Register ``observer``, or change what it is called with."""
        self.registered[observer] = (args, kwargs)

    def remove(self, observer: Observer) -> None:
        """Forget ``observer``, if it is there."""
        self.registered.pop(observer, None)

    def forget(self) -> None:
        """Forget all; a round that is under way ends after the call that it is in."""
        self.registered = {}

    def choose(self) -> Round | None:
        """Return the calls for one launch, with the first of them decided; None if nobody observes."""
        registered = self.registered
        chosen = list(registered.copy().items())
        return Round(self, self._settings, registered, chosen) if chosen else None


class Round:
    """The calls of all observers for one launch.

    The first call is decided when the round is made: so a launch that begins is
    delivered to somebody, whoever is untraced meanwhile. Each later one is looked
    up again, since an observer before it may have untraced it, or released.
    """

    def __init__(
        self,
        observers: Observers,
        settings: Settings,
        registered: Registered,
        chosen: list[tuple[Observer, tuple[tuple[Any, ...], dict[str, Any]]]],
    ) -> None:
        self._observers = observers
        self._settings = settings
        self._registered = registered
        self._chosen = chosen

    def call(self, arguments: tuple[str, ...], asked: bool = False) -> object:
        """Call the observers, and return the first result that is not None, or what was `Raised`.

        When one raises, only that call ends, and the error is logged; but not a
        ``SystemExit`` that is the answer to a launch that asked.
        """
        answer: object = None
        for number, (observer, first) in enumerate(self._chosen):
            given: tuple[tuple[Any, ...], dict[str, Any]] | None = first
            try:
                if number:
                    if self._observers.registered is not self._registered:
                        break
                    given = self._registered.get(observer)
                if given is None:
                    continue
                result: object = observer(arguments, *given[0], **given[1])
            except BaseException as error:
                result = Raised(error)
                if not (asked and answer is None and isinstance(error, SystemExit)):
                    self._settings.tell_raised("Observer", observer, error)
            if answer is None:
                answer = result
        return answer
