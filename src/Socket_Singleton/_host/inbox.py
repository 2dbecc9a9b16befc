"""The launches between "owned" and "begun": the only place where launches wait, and the only limit.

`NEXT` is the table of their states. There are three rows: `_waiting`, `_in_hand`, and
`kept`, for those that passed the application's ``_append_args`` and found no observer.
If nobody is left to run a launch that is in hand, it is not lost as long as there is
room: it remains in `snapshot`.
"""

from __future__ import annotations

import threading
from collections import deque

from .._packet import MAX_PACKET
from . import points
from .launch import Launch, of_reply, wrapped
from .packet import decode
from .replies import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Tuple

    Arguments = Tuple[str, ...]

# The most bytes of all waiting launches. The longest packet fits twice, a usual one
# many thousands of times.
MAX_WAITING = 2 * MAX_PACKET

# Bytes that are counted for a launch in addition to its own, so that many short ones count too;
# and for each argument of a kept launch, where arguments are str.
_OVERHEAD = 256
_WORD_OVERHEAD = 64

FRESH = "fresh"  # it waits
IN_HAND = "in hand"  # the observer thread has it, or the function given to ``dispatch``
ABANDONED = "abandoned"  # the same, but that function was thrown away
BEGUN = "begun"  # its first call is about to be made; it is no longer here
DROPPED = "dropped"  # it was removed to make room

# The events that are possible in each state, and the states that they lead to.
NEXT = {
    FRESH: {"take": IN_HAND, "drop": DROPPED},
    IN_HAND: {
        "begin": BEGUN,
        "put back": FRESH,  # ``dispatch`` refused it, or there is no observer any more
        "abandon": ABANDONED,  # see `Inbox.abandon`
        "drop": DROPPED,
    },
    ABANDONED: {"drop": DROPPED},
}


class Entry:
    """One launch that the host owns."""

    # Written under the lock of the inbox, except for `acknowledged`, and by `clear` and `Inbox.abandon`.
    __slots__ = ("_decode", "acknowledged", "kept", "number", "reply", "size", "state", "turn", "words")

    def __init__(
        self,
        words: bytearray,
        reply: Reply | None = None,
        decode: Callable[[bytearray], tuple[Arguments, str | None, dict[str, str]]] | None = None,
        *,
        kept: Launch | None = None,
    ) -> None:
        """Make an entry of a packet, or of a launch that has already passed ``_append_args``.

        Args:
            decode: returns arguments, working directory and variables; None if the packet
                only holds arguments.
        """
        self.words: bytearray | None = words  # of the packet
        self._decode = decode
        self.kept = kept
        self.size = len(words) + _OVERHEAD if kept is None else _size_of(kept)
        self.reply = reply
        self.state = FRESH
        # Whether its sender has been acknowledged; set by the I/O thread, read by whoever takes it.
        self.acknowledged = kept is not None
        self.number = 0  # in the order of arrival
        self.turn = 0  # how often it has been taken

    @property
    def launch(self) -> Launch:
        """The launch as observers see it, decoded on each access. This can only raise MemoryError."""
        return self.launch_of(self.words)

    def launch_of(self, words: bytearray | None) -> Launch:
        """Return the launch whose `words` these were, which may have been cleared since."""
        if self.kept is not None:
            return self.kept
        words = words or bytearray()
        if self._decode is None:
            return of_reply(decode(words), None, {}, self.reply)
        return of_reply(*self._decode(words), self.reply)

    def clear(self) -> None:
        """Free the packet, since the function given to ``dispatch`` may keep this entry alive."""
        self.words = None


class Inbox:
    """Where launches wait.

    The I/O thread never waits for the lock here, because `release` waits for the I/O
    thread, and may be called by a signal handler that has interrupted the holder of the
    lock. So whatever the I/O thread does is a single step of a container, or uses a
    field that only it writes (docs/design.md, "Threads share single steps"). To drop
    something, it takes the lock, but only if that is free.
    """

    def __init__(self) -> None:
        # Guards the rows and `_bytes_out`, except that the I/O thread appends to `_waiting`
        # and may withdraw its last entry. Held for a few steps, never while the application's
        # code runs. Reentrant, for signal handlers and finalizers.
        self._lock = threading.RLock()
        self._waiting: deque[Entry] = deque()
        self._in_hand: dict[Entry, None] = {}
        # A live list, which code for 2.0.0 knows as ``app._arguments`` and may change.
        self.kept: list[Arguments] = []
        self._kept_size = (0, 0)  # their number and their bytes when last counted
        # Written only by the I/O thread: the number of the last launch, and the bytes of all launches
        # that were ever put in.
        self._number = 0
        self._bytes_in = 0
        self._bytes_out = 0  # of all launches that have left; guarded by the lock
        self._closed = False  # set by any thread, never unset
        self._left: dict[Entry, None] = {}  # what was in hand when this was closed; set before `_closed`
        # Set by a finalizer after it has abandoned a launch, unset by `_drop` before it looks for them.
        self._has_abandoned = False

    @property
    def size(self) -> int:
        """The number of bytes of all waiting launches."""
        return self._bytes_in - self._bytes_out + self._size_of_kept()

    # -- the I/O thread --

    def put(self, entry: Entry, observed: bool, overridden: bool) -> bool:
        """Take a launch that the host is about to own; return whether there was room.

        It is in `snapshot` at once, but cannot be taken until it is acknowledged. If an observer got
        it before that and this process were killed in between, the sender would ask the next host,
        and the launch would be delivered twice. In this order it is lost, as any launch that a
        killed host owns.

        To make room, abandoned launches are dropped; kept ones too, if there is no observer; and
        all others, if there is no override either.
        """
        wanted = observed or overridden
        if self._is_too_much(entry):
            self._make_room(entry, observed, wanted)
            if wanted and self._is_too_much(entry):
                return False
        self._number += 1
        entry.number = self._number
        self._bytes_in += entry.size
        try:
            points.reach("put")
            self._waiting.append(entry)
        except MemoryError:
            self._bytes_in -= entry.size
            raise
        return True

    def withdraw(self, entry: Entry) -> None:
        """Undo the last `put`: the sender could not be acknowledged, and will ask again."""
        # Nobody takes a launch that was not acknowledged, or drops it before the next `put`.
        self._waiting.pop()
        self._bytes_in -= entry.size

    def _is_too_much(self, entry: Entry) -> bool:
        size = self._bytes_in - self._bytes_out
        if self.kept:
            size += self._size_of_kept()
        return size + entry.size > MAX_WAITING and size > 0

    def _make_room(self, entry: Entry, observed: bool, wanted: bool) -> None:
        # Whoever holds the lock does so only for a moment: the next launch makes room.
        if self._lock.acquire(blocking=False):
            try:
                self._drop(MAX_WAITING - entry.size, 0, observed, wanted)
            finally:
                self._lock.release()

    # -- the observer thread, or wherever ``dispatch`` runs observers --

    def take(self, observed: bool, overridden: bool) -> Entry | None:
        """Take the oldest launch that somebody wants, so that it is in hand; return None if there is none."""
        if not self.has_for(observed, overridden):
            return None
        with self._lock:
            if observed and self.kept:
                entry = Entry(bytearray(), kept=wrapped(self.kept.pop(0)))
                self._count_kept(-1, entry.size)
                self._bytes_out -= entry.size
            elif self.has_for(observed, overridden):
                entry = self._waiting.popleft()
            else:
                return None
            self._move(entry, "take")
            entry.turn += 1
            self._in_hand[entry] = None
            return entry

    def has_for(self, observed: bool, overridden: bool) -> bool:
        """Return whether there is a launch that somebody wants."""
        if self._closed:
            return False
        if observed and self.kept:
            return True
        return (observed or overridden) and self.has_acknowledged()

    def has_acknowledged(self) -> bool:
        """Return whether an acknowledged launch is waiting."""
        try:
            return self._waiting[0].acknowledged
        except IndexError:
            return False

    def has_in_hand(self) -> bool:
        """Return whether a launch has been taken, and may still begin."""
        with self._lock:
            return not self._closed and any(entry.state == IN_HAND for entry in self._in_hand)

    def begin(self, entry: Entry) -> bool:
        """Remove a launch before its first call; return True only once, and never after `close`."""
        with self._lock:
            if self._closed or entry.state != IN_HAND:
                return False
            # If a signal handler closes this meanwhile, this step decides whether the launch has begun.
            del self._in_hand[entry]
            if entry in self._left:
                self._in_hand[entry] = None
                return False
            self._move(entry, "begin")
            self._bytes_out += entry.size
            return True

    def put_back(self, entry: Entry) -> bool:
        """Put a launch that was refused back in its place; return whether it had not begun."""
        with self._lock:
            if entry.state != IN_HAND:
                return False
            self._in_hand.pop(entry, None)  # Ctrl-C may have interrupted `begin` halfway
            self._move(entry, "put back")
            if entry.kept is not None:
                self._bytes_out += entry.size
                self.kept.insert(0, entry.kept)
                self._count_kept(1, entry.size)
            else:
                self._waiting.insert(self._place_of(entry), entry)
            return True

    def abandon(self, entry: Entry, turn: int) -> None:
        """Note that a launch in hand will never begin: whatever held it in this ``turn`` is gone.

        This does not take the lock, since a finalizer may run anywhere. Nobody else
        changes the state then, because nothing is left that could begin the launch.
        """
        if entry.state == IN_HAND and entry.turn == turn:
            # Not by `NEXT`: it may be dropped at this very moment, and then is in no row any more.
            entry.state = ABANDONED
            self._has_abandoned = True
            if entry.reply is not None:
                entry.reply.close()

    def keep(self, launch: Launch) -> None:
        """Let ``launch`` wait for the first observer, because there is none."""
        with self._lock:
            self.kept.append(launch)
            self._count_kept(1, _size_of(launch))
            self._drop(MAX_WAITING, 1, observed=False, wanted=True)

    # -- any thread --

    def snapshot(self) -> tuple[Launch, ...]:
        """Return the waiting launches, oldest first."""
        with self._lock:
            kept = tuple(map(wrapped, self.kept))
            # A launch that begins after this is cleared.
            found = [(entry, entry.words) for entry in (*self._in_hand, *self._copy_of_waiting())]
        return (*kept, *(entry.launch_of(words) for entry, words in found))

    def _copy_of_waiting(self) -> Iterable[Entry]:
        """Return what is waiting, while the I/O thread may put and withdraw launches. Needs the lock."""
        try:
            return self._waiting.copy()
        except RuntimeError:
            pass  # it has changed: without a GIL, this is no single step before CPython 3.15 (issue 144809)
        entries = []
        try:
            for place in range(len(self._waiting)):
                entries.append(self._waiting[place])  # noqa: PERF401 (what was copied before an error counts)
        except IndexError:
            pass  # the last one was withdrawn
        return entries

    def close(self) -> None:
        """Let nothing begin any more; what is waiting can still be looked at."""
        if not self._closed:
            self._left = self._in_hand.copy()
        self._closed = True

    def forked(self) -> None:
        """Become what is left in a forked child: the launches are the parent's."""
        self._lock = threading.RLock()
        self._closed = True
        self._waiting.clear()
        self._in_hand.clear()
        self.kept.clear()

    def _drop(self, most: int, least: int, observed: bool, wanted: bool) -> None:
        """Drop the oldest that may go, down to ``most`` bytes or ``least`` launches. Needs the lock."""
        abandoned: list[Entry] = []
        if self._has_abandoned:
            self._has_abandoned = False
            abandoned = [entry for entry in self._in_hand if entry.state == ABANDONED]
        while self.size > most and len(self.kept) + len(self._in_hand) + len(self._waiting) > least:
            if abandoned:
                self._drop_entry(abandoned.pop(0))
            elif self.kept and not observed:
                self._count_kept(-1, _size_of(self.kept.pop(0)))
            elif self._in_hand and not wanted:
                self._drop_entry(next(iter(self._in_hand)))
            elif self._waiting and not wanted:
                self._drop_entry(self._waiting[0])
            else:
                break
        self._has_abandoned = self._has_abandoned or bool(abandoned)

    def _drop_entry(self, entry: Entry) -> None:
        self._remove(entry, "drop")
        entry.clear()
        if entry.reply is not None:
            entry.reply.close()

    def _remove(self, entry: Entry, event: str) -> None:
        if entry.state == FRESH:
            self._waiting.popleft()
        else:
            del self._in_hand[entry]
        self._move(entry, event)
        self._bytes_out += entry.size

    def _move(self, entry: Entry, event: str) -> None:
        entry.state = NEXT[entry.state][event]

    def _place_of(self, entry: Entry) -> int:
        """Return where in its row a launch belongs: before the first one that arrived after it."""
        place = 0
        try:
            while self._waiting[place].number < entry.number:  # no iteration, as the row may change
                place += 1
        except IndexError:
            pass
        return place

    def _size_of_kept(self) -> int:
        number, size = self._kept_size
        if number != len(self.kept):  # the application has changed its list
            kept = self.kept.copy()
            size = sum(map(_size_of, kept))
            self._kept_size = len(kept), size
        return size

    def _count_kept(self, change: int, size: int) -> None:
        number, before = self._kept_size
        self._kept_size = number + change, before + change * size


def _size_of(arguments: object) -> int:
    """Return roughly how many bytes a launch takes. This runs no code of the application."""
    words = tuple.__iter__(arguments) if isinstance(arguments, tuple) else iter(())
    size = _OVERHEAD + sum(map(_size_of_text, words))
    if isinstance(arguments, Launch) and type(arguments.environ) is dict:
        size += _size_of_text(arguments.cwd)
        size += sum(_size_of_text(name) + _size_of_text(value) for name, value in arguments.environ.items())
    return size


def _size_of_text(text: object) -> int:
    return _WORD_OVERHEAD + (str.__len__(text) if isinstance(text, str) else 0)
