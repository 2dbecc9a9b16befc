"""The observers, and one round of calls: each launch goes through all observers, in their order."""

from __future__ import annotations

import sys

from .._report import is_interrupt, log_error
from .._settings import CO_COROUTINE, Settings
from .replies import Raised, follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    from .launch import Launch
    from .replies import Reply

    Observer = Callable[..., object]
    Registered = Dict[Observer, Tuple[Tuple[Any, ...], Dict[str, Any]]]


# The flags in the code of a function whose call does not run its body, and what such a function is called
# (inspect.CO_ASYNC_GENERATOR and so on).
_NOT_CALLED = {
    CO_COROUTINE: "a coroutine function",
    0x200: "an async generator function",
    0x20: "a generator function",
}
_HINT = "; use a function that calls asyncio.run_coroutine_threadsafe and, to answer, returns the future"


def check(observer: object) -> None:
    """Raise TypeError if ``observer`` cannot be called with a launch."""
    if not callable(observer):
        raise TypeError(f"observer must be callable, not {observer!r}")
    inner: Any = observer
    # Importing functools takes a while, and whoever has a partial has done so.
    partial = getattr(sys.modules.get("functools"), "partial", ())
    while isinstance(inner, partial):
        inner = inner.func
    for candidate in (inner, getattr(type(inner), "__call__", None)):  # noqa: B004
        code = getattr(getattr(candidate, "__func__", candidate), "__code__", None)
        for flag, kind in _NOT_CALLED.items():
            if getattr(code, "co_flags", 0) & flag:
                raise TypeError(
                    f"observer must not be {kind}, as {observer!r} is: a call would not run its body"
                    f"{_HINT if flag == CO_COROUTINE else ''}"
                )


class Observers:
    """The registered observers, in the order of registration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Maps observers to the args and kwargs that they are called with. Written by whoever
        # traces or untraces, read by whoever calls. No lock: a lookup runs an observer's own
        # __hash__ and __eq__, and no lock may be held while the application's code runs. Each
        # access is a single call of a dict method, which leaves the dict intact for others
        # (docs/design.md, "Threads share single steps"). Code for 2.0.0 knows it as ``app._observers``.
        self.registered: Registered = {}

    def add(self, observer: Observer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Register ``observer``, or change what it is called with."""
        self.registered[observer] = (args, kwargs)

    def remove(self, observer: Observer) -> None:
        """Remove ``observer``, if it is registered."""
        self.registered.pop(observer, None)

    def forget(self) -> None:
        """Remove all observers; a round that is under way ends after its current call."""
        self.registered = {}

    def choose(self) -> Round | None:
        """Return the calls for one launch, of which the first is decided; None if there are no observers."""
        registered = self.registered
        chosen = list(registered.copy().items())
        return Round(self, self._settings, registered, chosen) if chosen else None


class Round:
    """The calls of all observers for one launch.

    The first call is decided when the round is made, so a launch that begins is
    delivered to somebody, whoever is untraced meanwhile. Later observers are looked
    up again, since an earlier one may have untraced them, or released the port.
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

    def call(self, launch: Launch, reply: Reply | None) -> object:
        """Call the observers, and return the first result that is not None, or what was `Raised`.

        If an observer raises, only that call ends. The error is logged, unless it is a
        ``SystemExit`` that answers a waiting launch, or means that such a launch has gone.
        Ctrl-C in the main thread is not an observer's error, and propagates.
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
                result: object = observer(launch, *given[0], **given[1])
            except BaseException as error:
                if is_interrupt(error):
                    raise
                result = Raised(error)
                if answer is not None or reply is None or not reply.is_expected(error):
                    log_error(self._settings, "Observer", observer, error)
            if answer is None and reply is not None:
                reply.observer = observer
            else:
                self._hold(result, observer)
            if answer is None:
                answer = result
        return answer

    def _hold(self, result: object, observer: Observer) -> None:
        """If ``result`` is a future, keep it until it is done, and log its error: nobody waits for it."""
        try:
            if hasattr(result, "add_done_callback"):
                follow(result, self._settings, observer)
        except BaseException as error:
            if is_interrupt(error):
                raise
            # Else it only looks like a future.
