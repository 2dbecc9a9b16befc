"""The launches between "owned" and "begun": the only place where they wait, and the only bound.

=========  ============================================  ===========================
a launch   and then                                      is
=========  ============================================  ===========================
(none)     `put`: the host owns it                       fresh, not told
fresh      `tell`: its sender has been answered          fresh
fresh      `withdraw`: its sender could not be answered  gone; it was never owned
fresh      `take`: it is its turn                        in hand
in hand    `begin`: its first call is about to be made   begun: it is no longer here
in hand    `put_back`: ``dispatch`` refused it           first of its row
in hand    `abandon`: ``dispatch`` threw it away         abandoned
(none)     `keep`: ``_append_args`` found no observer    heard
heard      `take`: there is an observer now              in hand
any        more than `MAX_WAITING`, nobody wants it      dropped
any        `close`                                       what it is, to be looked at
=========  ============================================  ===========================

Three rows: **waiting** (fresh), **in hand** (and abandoned), **heard**. Of what is
in hand when nobody is left to run it, nothing is lost while there is room:
`snapshot` has it.
"""

from __future__ import annotations

import threading
from collections import deque

from ._wire import MAX_PACKET, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Protocol, Tuple

    Arguments = Tuple[str, ...]

    class Reply(Protocol):
        """How a launch that asked hears of what became of it; `_answers.Reply`."""

        def answer(self, result: object) -> None: ...
        def close(self) -> None: ...


# Bytes of all launches that wait. The longest packet fits twice, the usual one many
# thousand times.
MAX_WAITING = 2 * MAX_PACKET

# Bytes that a launch takes beside its own, so that many short ones count too; and that each
# argument takes once it is a str, which a launch that was heard consists of.
_OVERHEAD = 256
_WORD_OVERHEAD = 64

FRESH = "fresh"
IN_HAND = "in hand"
ABANDONED = "abandoned"
BEGUN = "begun"
DROPPED = "dropped"


class Launch:
    """One launch that the host owns."""

    # Written under the inbox's lock, but for ABANDONED: see `Inbox.abandon`.
    __slots__ = ("_arguments", "_words", "number", "reply", "size", "state", "turn", "was_heard")

    def __init__(
        self, words: bytearray, reply: Reply | None = None, *, heard: Arguments | None = None
    ) -> None:
        self._words: bytearray | None = words
        self._arguments = heard
        self.size = len(words) + _OVERHEAD if heard is None else _size_of(heard)
        self.reply = reply
        self.state = FRESH
        self.number = 0  # of its arrival
        self.turn = 0  # how often it was taken
        self.was_heard = heard is not None  # passed the application's `_append_args`, and found no observer

    @property
    def arguments(self) -> Arguments:
        """What it was started with; decoded for each look. MemoryError is possible, and nothing else."""
        words = self._words
        return decode(words or b"") if self._arguments is None else self._arguments

    def clear(self) -> None:
        """Let go of what it holds: a function that ``dispatch`` has may live on."""
        self._words, self._arguments = None, ()


class Inbox:
    """Where launches wait.

    The I/O thread waits for no lock here. Who calls `release` waits for the I/O
    thread, and may be a signal handler that has interrupted who holds the lock.
    So what the I/O thread does is one step of a container or a field that only it
    writes: docs/design.md, "Threads share single steps". To drop something it tries
    the lock.
    """

    def __init__(self) -> None:
        # Guards the rows and `_went`, but for the steps of the I/O thread: `_waiting`
        # grows on the right, and its last one may be withdrawn. Held for a few steps, never
        # while a caller's code runs. Reentrant, for signal handlers and finalizers.
        self._lock = threading.RLock()
        self._waiting: deque[Launch] = deque()
        self._in_hand: dict[Launch, None] = {}
        # Launches that passed an overridden `_append_args`, or came by a call of it, and found
        # no observer. A live list that code for 2.0.0 knows as ``app._arguments``, and may change.
        self.heard: list[Arguments] = []
        self._heard_size = (0, 0)  # how many those were, and their bytes, when last counted
        # In hand, and never to begin; one step each: `abandon` appends, who holds the lock takes.
        self._abandoned: deque[Launch] = deque()
        # Written by the I/O thread alone: the number of the last launch that came; that of the last
        # one whose sender was told; the bytes of all that ever came. Who looks whether a launch
        # was told compares its own number, which no other launch can change under the look.
        self._number = 0
        self._told = 0
        self._came = 0
        self._went = 0  # bytes of all that went; guarded by the lock
        self._closed = False  # set by anyone, never unset
        # Set by the I/O thread when there was no room for a launch, unset by who makes room and
        # then calls `on_room`. The I/O thread looks once more when it has set it, so that one of
        # the two sees the other. Were both too late, it looks again when the peer's time is over.
        self._room_is_wanted = False
        self.on_room: Callable[[], object]  # set by the host before its thread starts

    @property
    def size(self) -> int:
        """Bytes of all that waits."""
        return self._came - self._went + self._size_of_heard()

    # -- the I/O thread --

    def put(self, launch: Launch, observed: bool, overridden: bool) -> bool:
        """Take a launch that the host is about to own; return whether there was room.

        It is in `snapshot` at once, but not to be taken until `tell`. What goes to make
        room: what was abandoned; what was heard, if there is no observer; what waits, if
        there is no override either.
        """
        wanted = observed or overridden
        if self._is_too_much(launch):
            self._make_room(launch, observed, wanted)
            if wanted and self._is_too_much(launch):
                self._room_is_wanted = True
                if self._is_too_much(launch):
                    return False
        self._number += 1
        launch.number = self._number
        self._came += launch.size
        try:
            self._waiting.append(launch)
        except MemoryError:
            self._number -= 1
            self._came -= launch.size
            raise
        return True

    def withdraw(self, launch: Launch) -> None:
        """Undo `put` for the last one: its sender could not be told, and asks again."""
        self._waiting.pop()  # nobody else takes one that was not told, or drops it before the next `put`
        self._number -= 1  # else the next `tell` would tell of this one
        self._came -= launch.size

    def tell(self) -> bool:
        """Have all launches be taken, now that their senders are answered; return whether there are any.

        No observer may have a launch before its sender is answered. If this process is
        killed between the two, the sender asks the next host, and the launch would be
        delivered twice. In this order it is lost, as any launch that a killed host owns.
        """
        self._told = self._number
        return bool(self._waiting)

    def _is_too_much(self, launch: Launch) -> bool:
        size = self._came - self._went
        if self.heard:
            size += self._size_of_heard()
        return size + launch.size > MAX_WAITING and size > 0

    def _make_room(self, launch: Launch, observed: bool, wanted: bool) -> None:
        if self._abandoned or (self.heard and not observed) or not wanted:
            if not self._lock.acquire(blocking=False):
                return  # who has it now has it for a moment only: the next launch sees to it
            try:
                self._drop(MAX_WAITING - launch.size, 0, observed, wanted)
            finally:
                self._lock.release()

    # -- the observer thread, and where ``dispatch`` has a launch run --

    def take(self, observed: bool, overridden: bool) -> Launch | None:
        """Return the oldest launch that somebody wants, which is in hand then; None if there is none."""
        if not self.has_for(observed, overridden):
            return None
        with self._lock:
            if observed and self.heard:
                launch = Launch(bytearray(), heard=self.heard.pop(0))
                self._count_heard(-1, launch.arguments)
                self._went -= launch.size
            elif self.has_for(observed, overridden):
                launch = self._waiting.popleft()
            else:
                return None
            launch.state = IN_HAND
            launch.turn += 1
            self._in_hand[launch] = None
            return launch

    def has_for(self, observed: bool, overridden: bool) -> bool:
        """Whether there is a launch that somebody wants."""
        if self._closed:
            return False
        if observed and self.heard:
            return True
        return (observed or overridden) and self._has_told()

    def _has_told(self) -> bool:
        try:
            return self._waiting[0].number <= self._told
        except IndexError:
            return False

    def begin(self, launch: Launch) -> bool:
        """Take a launch out, as its first call is about to be made; True once, and not after `close`."""
        with self._lock:
            if self._closed or launch.state != IN_HAND:
                return False
            self._remove(launch, BEGUN)
        self._tell_of_room()
        return True

    def put_back(self, launch: Launch) -> bool:
        """Have a launch that was refused be first again; return whether it had not begun."""
        with self._lock:
            if launch.state != IN_HAND:
                return False
            del self._in_hand[launch]
            launch.state = FRESH
            if launch.was_heard:
                self._went += launch.size
                self.heard.insert(0, launch.arguments)
                self._count_heard(1, launch.arguments)
            else:
                self._waiting.insert(self._place_of(launch), launch)
            return True

    def abandon(self, launch: Launch, turn: int) -> None:
        """Note that a launch in hand will never begin: what had it in this ``turn`` was thrown away.

        Without the lock, since a finalizer may run anywhere. Nobody else changes the
        state then: what could begin it is gone.
        """
        if launch.state == IN_HAND and launch.turn == turn:
            launch.state = ABANDONED
            self._abandoned.append(launch)
            if launch.reply is not None:
                launch.reply.close()
            self._tell_of_room()

    def keep(self, arguments: Arguments) -> None:
        """Have ``arguments`` wait for the first observer: they found none."""
        with self._lock:
            self.heard.append(arguments)
            self._count_heard(1, arguments)
            self._drop(MAX_WAITING, 1, observed=False, wanted=True)

    # -- any thread --

    def snapshot(self) -> tuple[Arguments, ...]:
        """Return the launches that wait, oldest first."""
        with self._lock:
            heard = tuple(self.heard)
            launches = [*self._in_hand, *self._copy_of_waiting()]
        return (*heard, *(launch.arguments for launch in launches))

    def _copy_of_waiting(self) -> Iterable[Launch]:
        """Return what waits, as the I/O thread goes on putting and withdrawing; the lock is held."""
        try:
            return self._waiting.copy()
        except RuntimeError:
            pass  # it has changed: without a GIL, before CPython 3.15, this is not one step (issue 144809)
        launches = []
        try:
            for place in range(len(self._waiting)):
                launches.append(self._waiting[place])  # noqa: PERF401 (what was there at the error counts)
        except IndexError:
            pass  # the last one was withdrawn
        return launches

    def close(self) -> None:
        """Have nothing begin any more; what waits can still be looked at."""
        self._closed = True

    def forked(self) -> None:
        """Be what is left in a forked child: the launches are the parent's."""
        self._lock = threading.RLock()
        self._closed = True
        self._waiting.clear()
        self._in_hand.clear()
        self.heard.clear()

    def _drop(self, most: int, least: int, observed: bool, wanted: bool) -> None:
        """Drop the oldest that may go, down to ``most`` bytes or ``least`` launches; the lock is held."""
        while self.size > most and len(self.heard) + len(self._in_hand) + len(self._waiting) > least:
            if self._abandoned:
                self._drop_launch(self._abandoned.popleft())
            elif self.heard and not observed:
                self._count_heard(-1, self.heard.pop(0))
            elif self._in_hand and not wanted:
                self._drop_launch(next(iter(self._in_hand)))
            elif self._waiting and not wanted:
                self._drop_launch(self._waiting[0])
            else:
                return

    def _drop_launch(self, launch: Launch) -> None:
        self._remove(launch, DROPPED)
        launch.clear()
        if launch.reply is not None:
            launch.reply.close()

    def _remove(self, launch: Launch, state: str) -> None:
        if launch.state == FRESH:
            self._waiting.popleft()
        elif launch in self._in_hand:
            del self._in_hand[launch]
        else:
            return  # it was dropped in the middle of `abandon`
        launch.state = state
        self._went += launch.size

    def _place_of(self, launch: Launch) -> int:
        """Return where in its row a launch goes back; before the first that came after it."""
        place = 0
        try:
            while self._waiting[place].number < launch.number:  # no iteration: the row may change meanwhile
                place += 1
        except IndexError:
            pass
        return place

    def _tell_of_room(self) -> None:
        if self._room_is_wanted:
            self._room_is_wanted = False
            self.on_room()

    def _size_of_heard(self) -> int:
        number, size = self._heard_size
        if number != len(self.heard):  # the application has changed its list
            heard = self.heard.copy()
            size = sum(map(_size_of, heard))
            self._heard_size = len(heard), size
        return size

    def _count_heard(self, change: int, arguments: Arguments) -> None:
        number, size = self._heard_size
        self._heard_size = number + change, size + change * _size_of(arguments)


def _size_of(arguments: object) -> int:
    """Return the bytes that a launch takes as a tuple of str, about. Runs no code of the application's."""
    words = arguments if type(arguments) is tuple else ()
    return _OVERHEAD + sum(_WORD_OVERHEAD + (len(word) if type(word) is str else 0) for word in words)
