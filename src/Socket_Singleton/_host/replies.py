"""The way back to a waiting launch: the output of its observers, and the answer that ends it.

The answer depends on what the observer does; `_answers` describes the frames:

============================  ============================================
the observer                  the frame
============================  ============================================
returns ``None``              `NOTHING`
returns an int, 0 to 255      `STATUS`, with that byte
returns a str                 `TEXT`, with that in UTF-8
raises ``SystemExit``         what the interpreter would make of its code
raises anything else          `ERROR`, with ``TypeName: text``
returns anything else         `ERROR`, with a message
returns a future              that of its result, once it is done
============================  ============================================
"""

from __future__ import annotations

import threading
import time
from collections import deque

from .._answers import CUT, ERROR, MAX_BODY, NOTHING, STATUS, STDERR, STDOUT, TEXT, encode_answer, frame
from .._report import is_interrupt, log_error
from .._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol

    class Stream(Protocol):
        """What observers write to; `.streams.Stream`."""

        def send_all(self) -> None:
            """Send the unfinished lines that were kept."""

    class Sender(Protocol):
        """The owner of the I/O thread, which sends; `.host.Host`."""

        # The bytes that writers are about to add, each under a key of its own. Set and deleted by any thread,
        # in single steps. If a signal handler that raises leaves one behind, writers wait a little sooner.
        claims: dict[object, int]

        def send(self, reply: Reply) -> None:
            """Make the I/O thread look at ``reply``. For any thread."""

        def unsent(self) -> int:
            """Return how many bytes are waiting, for all launches together. For any thread."""

        def may_wait(self) -> bool:
            """Return whether the caller may wait for the I/O thread: it is another thread, and continues."""


# The states of a `Reply`. Written by the thread that delivers the launch or has its answer; read by the
# I/O thread when the port is released.
WAITING = "waiting"  # the launch is in the inbox
RUNNING = "running"  # its observers are being called
PENDING = "pending"  # an observer has returned a future
OVER = "over"  # the answer is on its way, or none will come

NEXT = {
    WAITING: {"begin": RUNNING, "answer": OVER},
    RUNNING: {"begin": RUNNING, "defer": PENDING, "answer": OVER},
    PENDING: {"defer": PENDING, "answer": OVER},
    OVER: {"begin": OVER, "defer": OVER, "answer": OVER},
}

# The most bytes of output that wait for one launch to read them; beyond that, its writers wait.
MAX_UNSENT = 1024 * 1024

# How many of these may be left when its writers continue: so they can write much before they wait again.
_LOW_WATER = MAX_UNSENT // 2

# The most bytes that wait for all launches of a host; beyond that, the launch is cut off that has
# gone longest without reading.
MAX_UNSENT_IN_ALL = 16 * MAX_UNSENT

# The same for one launch, while more than a quarter of that waits for all of them: so even 128 launches do
# not reach the limit, and none is cut off that reads.
SHARE = MAX_UNSENT_IN_ALL // 2 // 128

# Seconds in which the system has to take `PROGRESS` bytes for a launch while a writer waits; otherwise the
# launch is cut off, and all its writers continue. Since the system may take 100 KiB at a time, a launch has
# to read up to 128 KiB (measured with 64 KiB in `_system._OUTPUT_BUFFER`). Even a slow terminal reads more.
STALL_TIME = 10.0
PROGRESS = 32 * 1024

# The least that a piece of output counts, however short it is: about the memory that it takes besides its
# content. Otherwise, short pieces could take a hundred times as much memory as the limits allow.
_LEAST = 100

# Bytes of output per send. That much stays in memory for a launch that is cut off, until its connection ends.
_BATCH = 128 * 1024

# The highest exit status of a process.
_LAST_STATUS = 255


class Raised:
    """What an observer raised, in the place of a return value."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Reply:
    """The way back to one launch: any thread writes, the I/O thread sends.

    While it sends, the I/O thread waits for no lock: whatever it does is a single step of the queue, or
    uses a field that only it writes (docs/design.md, "Threads share single steps"). It takes the lock to
    end a launch that no observer has been called for, so nobody can be writing.
    """

    def __init__(self, settings: Settings, sender: Sender) -> None:
        """Make the way back to a launch that the host is about to own."""
        self._settings = settings
        self._sender = sender
        self.peer: Any = None  # its connection, a `.peers.Peer`; used only by the I/O thread
        self.state = WAITING
        # Whose result is the answer, for the log. Written by the thread that delivers the launch, before it
        # calls `answer`; read from then on, by that thread or by the one in which a future is done.
        self.observer: object = None
        self.streams: list[Stream] = []  # appended by any thread that looks at the launch
        # Set by the I/O thread when the connection ends without the answer or the launch is cut off, or in a
        # forked child; never unset.
        self.gone = False
        self.forked = False
        # Set by the I/O thread after a release: a future is no longer waited for.
        self.released = False
        # Whether the launch is cut off, because it does not read. Set by the I/O thread before it throws away
        # what is waiting, or by a thread that has no memory for output; never unset. An answer that comes
        # later is not sent, because it would look as if all output before it had arrived.
        self.is_cut = False
        # Guards `_put`, the check whether there is room together with adding what has room, and the order of
        # the answer after all output. Held for a few steps, never while the application's code runs.
        # Reentrant, for signal handlers: if one writes in the middle of a step, `_put` may become too small
        # by what it wrote, and nothing else goes wrong.
        self._lock = threading.RLock()
        # Appended under the lock, taken by the I/O thread, in single steps.
        self._queue: deque[tuple[int, bytes]] = deque()
        self._put = 0  # bytes of output ever written, each piece at least `_LEAST`; guarded by the lock
        self._sent = 0  # how many of those were sent; written only by the I/O thread
        self._marked = 0  # bytes sent since the last progress; used only by the I/O thread
        self.progress = time.monotonic()  # when that was; written only by the I/O thread
        # The `progress` that was too long ago for a writer. Written by writers, read by the I/O thread.
        self.stalled_at = -1.0
        # Whether the I/O thread knows that there is something to send. Set by writers after they have
        # appended, unset by the I/O thread before it looks: so one of the two notices the other.
        self._noticed = False
        # A lock for each writer that waits for room, acquired by the writer and released by the I/O
        # thread; appended and taken in single steps.
        self._waiters: deque[Any] = deque()

    # -- any thread: output --

    def discards(self) -> bool:
        """Return whether output is thrown away: nobody is there to read it, and that is not an error."""
        return self.forked or self.state == OVER

    @property
    def unsent(self) -> int:
        """Roughly how many bytes of output are waiting."""
        return 0 if self.is_cut else self._put - self._sent

    def write(self, kind: int, data: bytes, wait: bool = True) -> None:
        """Send output, in one piece if it is at most as long as what may wait.

        Raises:
            BrokenPipeError: the launch has gone.
        """
        size, begun = len(data), 0.0
        while True:
            most = self._add(kind, data, wait) if size <= MAX_UNSENT else MAX_UNSENT
            if not most:
                return
            if size > most:
                for start in range(0, size, most):
                    self.write(kind, data[start : start + most], wait)
                return
            wait = self._sender.may_wait()
            if wait:
                begun = begun or time.monotonic()
                self._wait_for_room(size, begun)

    def _add(self, kind: int, data: bytes, wait: bool) -> int:
        """Add output and return 0; if it has no room, return how many bytes may wait for this launch."""
        size, claim = len(data), None
        try:
            with self._lock:
                if self.discards():
                    return 0
                self.check()
                unsent, in_all = self.unsent, 0
                if unsent + size > SHARE:
                    claim = object()
                    self._sender.claims[claim] = size
                    in_all = self._in_all(claim)
                most = _most(in_all)
                if size > most or (wait and 0 < unsent > most - size):
                    return most
                for piece in (data,) if size <= _BATCH else _pieces(data):
                    self._queue.append((kind, piece))
                    self._put += max(len(piece), _LEAST)
        finally:
            if claim is not None:
                self._sender.claims.pop(claim, None)
        if not self._noticed:
            self._noticed = True
            self._sender.send(self)
        if in_all + size > MAX_UNSENT_IN_ALL:
            self._sender.send(self)
        return 0

    def _in_all(self, claim: object = None) -> int:
        """Return how many bytes wait for all launches or are about to, without those of ``claim``.

        Many writers at once must not all find the same room. So each claims what it adds until it has done
        so, and claims are counted first: of two writers at once, at least one counts the other.
        """
        claims = self._sender.claims.copy()
        claims.pop(claim, None)
        return sum(claims.values()) + self._sender.unsent()

    def _is_full(self, size: int) -> bool:
        """Return whether ``size`` more bytes have to wait until the launch has read some."""
        unsent = self.unsent
        in_all = self._in_all() if unsent + size > SHARE else 0
        return 0 < unsent > _most(in_all) - size

    def _wait_for_room(self, size: int, begun: float) -> None:
        """Wait until ``size`` bytes have room or the launch has gone; cut it off if it does not read."""
        while not (self.gone or self.discards()) and self._is_full(size):
            waiter = threading.Lock()
            waiter.acquire()
            self._waiters.append(waiter)
            left = max(begun, self.progress) + STALL_TIME - time.monotonic()
            if left <= 0:
                # The I/O thread tries to send first: this whole process may have been stopped for so long.
                self.stalled_at, left = self.progress, STALL_TIME
                self._sender.send(self)
            if self._is_full(size) and not self.gone:
                waiter.acquire(timeout=left)

    # -- any thread: the answer --

    def begin(self) -> None:
        """Note that the observers are about to be called."""
        self._move("begin")

    def answer(self, result: object) -> None:
        """Send what an observer returned or `Raised`; if that is a future, its result, once it is done.

        Raises:
            KeyboardInterrupt: Ctrl-C in the main thread, which is the error of nobody here; it is answered.
        """
        try:
            if not isinstance(result, Raised) and hasattr(result, "add_done_callback"):
                # Before `released` is read; the I/O thread sets that before it reads the state.
                self._move("defer")
                follow(result, self._settings, self.observer, self._answer_by, self.is_expected)
                if self.released:
                    self.close()
                return
        except BaseException as error:  # raised by the result itself
            self._fail(error)
        else:
            self._answer(result)

    def close(self) -> None:
        """Note that no answer will come, so that the connection ends."""
        self._end((NOTHING, None))

    def is_expected(self, error: BaseException) -> bool:
        """Return whether an observer's exception is no fault: it is an answer, or the launch has gone."""
        if isinstance(error, SystemExit):
            return True
        return self._is_lost and (isinstance(error, BrokenPipeError) or is_cancelled(error))

    @property
    def _is_lost(self) -> bool:
        """Whether the launch has gone, or is about to go: after a release, no future can answer it."""
        return self.gone or (self.released and self.state == PENDING)

    def check(self) -> None:
        """Raise BrokenPipeError if the launch no longer waits for an answer, or was cut off."""
        if self._is_lost:
            why = "does not read its output" if self.is_cut else "no longer waits for an answer"
            raise BrokenPipeError(_EPIPE, f"the launch {why}")

    def _answer_by(self, future: Any) -> None:
        try:
            result = future.result()
        except BaseException as error:  # also if it was cancelled
            result = Raised(error)
        self._answer(result)

    def _answer(self, result: object) -> None:
        try:
            answer = self._frame_of(result)
            if len(answer[1]) > MAX_BODY:
                raise OverflowError("the answer is longer than 4 GiB")
        except BaseException as error:  # raised by the result itself, or there is no memory for it
            self._fail(error)
        else:
            self._end(answer)

    def _fail(self, error: BaseException) -> None:
        """Answer with what happened while the answer was made, and log it; raise it again if it is Ctrl-C."""
        interrupts = is_interrupt(error)
        if not interrupts:
            log_error(self._settings, "Observer", self.observer, error)
        self._end(self._frame_of(Raised(error)))
        if interrupts:
            raise error

    def _end(self, answer: tuple[int, bytes | None]) -> None:
        """Queue the answer after all output, once."""
        for stream in self.streams:
            try:
                stream.send_all()
            except OSError:
                pass  # it has gone
            except MemoryError:
                self.is_cut = True  # the output is not complete, and the answer must not look as if it were
        with self._lock:
            if self.state != OVER:
                self._queue.append(answer)  # type: ignore[arg-type]
                self._move("answer")
        # In any case, since Ctrl-C may have interrupted an earlier call at any step.
        self._noticed = True
        self._sender.send(self)

    def _move(self, event: str) -> None:
        self.state = NEXT[self.state][event]

    # -- the I/O thread --

    @property
    def may_be_answered(self) -> bool:
        """Whether there is something to send or an observer is running, so `release` keeps the connection."""
        return self.state == RUNNING or bool(self._queue) or self.is_cut

    def take(self) -> tuple[bytes, bool]:
        """Return what to send next, and whether the connection ends after it."""
        data, over = self._take()
        if self.is_cut:  # read after the queue, since an answer in there may be later than the cut
            self._queue.clear()
            return b"".join(frame(CUT, [])), True
        return data, over

    def _take(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []  # of frames
        bodies: list[bytes] = []  # output of one kind, which goes into one frame
        last, size, over = STDOUT, 0, False
        while size < _BATCH and not over:
            try:
                kind, data = self._queue.popleft()
            except IndexError:
                self._noticed = False
                if not self._queue:
                    break
                self._noticed = True  # something was added in between
                continue
            if kind != last and bodies:
                pieces += frame(last, bodies)
                bodies = []
            last, over = kind, kind not in (STDOUT, STDERR)
            if data is not None:
                bodies.append(data)
                size += 0 if over else max(len(data), _LEAST)
            else:
                self.was_silent = True
        if bodies:
            pieces += frame(last, bodies)
        self._taken = size
        return b"".join(pieces), over

    _taken = 0  # what the output that was last taken counts
    was_silent = False  # whether only the end of the connection tells the launch that there is no answer

    def count_sent(self, size: int) -> None:
        """Note that the launch took ``size`` bytes."""
        self._marked += size
        if self._marked >= PROGRESS:
            self._marked = 0
            self.progress = time.monotonic()

    @property
    def stalls(self) -> bool:
        """Whether a writer has waited for too long, and the launch has not read enough since."""
        return self.stalled_at == self.progress

    def make_room(self) -> None:
        """Note that everything taken has been sent, and let writers continue if there is room."""
        self._sent += self._taken
        self._taken = 0
        if self.unsent <= _LOW_WATER:
            self._wake_writers()

    def end(self) -> None:
        """Note that the connection has ended; if there was no answer, the launch has gone."""
        if self.state != OVER:
            self.gone = True
        self._wake_writers()

    def cut(self) -> None:
        """Cut the launch off: throw away what is waiting, and have `take` tell the launch."""
        self.is_cut = True
        self._queue.clear()
        self.end()

    def _wake_writers(self) -> None:
        while self._waiters:
            try:
                self._waiters.popleft().release()
            except IndexError:
                pass  # another thread wakes them too

    # -- a forked child --

    def fork(self) -> None:
        """Become what is left in a forked child: the launch is the parent's."""
        self.forked = self.gone = True
        self._lock = threading.RLock()  # another thread of the parent may have held it

    # -- frames --

    def _frame_of(self, result: object) -> tuple[int, bytes]:
        """Return the frame for ``result``; if that is not a possible answer, also log this."""
        if isinstance(result, Raised):
            error = result.error
            return _frame_of_exit(error) if isinstance(error, SystemExit) else _error(text_of(error))
        if result is None:
            return NOTHING, b""
        if isinstance(result, str):
            return TEXT, encode_answer(result)
        is_number = isinstance(result, int) and not isinstance(result, bool)
        if is_number and 0 <= result <= _LAST_STATUS:  # type: ignore[operator]
            return STATUS, bytes([int(result)])  # type: ignore[call-overload]
        text = f"{type(result).__name__} is not an answer; return None, a str, an int or a future"
        if is_number:
            text = f"{int(result)} is not an answer: an exit status is from 0 to {_LAST_STATUS}"  # type: ignore[call-overload]
        log_error(self._settings, "Observer", self.observer, TypeError(text))
        return _error(text)


_EPIPE = 32  # errno.EPIPE, the same on each system that Python runs on


def is_cancelled(error: BaseException) -> bool:
    """Return whether ``error`` is a CancelledError; asyncio and concurrent.futures each have their own."""
    return type(error).__name__ == "CancelledError"


# Futures that observers have returned, until they are done, by the identifier of their list: an event loop
# may only hold weak references to tasks. Written by any thread, in single steps.
_followed: dict[int, list[Any]] = {}


def follow(
    future: Any,
    settings: Settings,
    observer: object,
    then: Callable[[Any], object] | None = None,
    is_expected: Callable[[BaseException], bool] = is_cancelled,
) -> None:
    """Keep ``future`` until it is done; then log its error, unless expected, and call ``then`` once.

    The error is logged as one of ``observer``, which has returned the future.
    """
    held = [future]

    def done(_: Any) -> None:
        if _followed.pop(id(held), None) is None:
            return  # it calls back twice
        try:
            future.result()
        except BaseException as error:  # also if it was cancelled
            if not is_expected(error):
                log_error(settings, "Observer", observer, error)
        finally:
            if then is not None:
                then(future)

    _followed[id(held)] = held
    try:
        future.add_done_callback(done)
    except BaseException:
        _followed.pop(id(held), None)
        raise


def _most(in_all: int) -> int:
    """Return how many bytes may wait for one launch while ``in_all`` wait for all of them."""
    return SHARE if in_all > MAX_UNSENT_IN_ALL // 4 else MAX_UNSENT


def _pieces(data: bytes) -> list[bytes]:
    return [data[start : start + _BATCH] for start in range(0, len(data), _BATCH)]


def _error(text: str) -> tuple[int, bytes]:
    return ERROR, encode_answer(text)


def _frame_of_exit(error: SystemExit) -> tuple[int, bytes]:
    """Return what the interpreter would make of ``error``: a status, or a text and the status 1."""
    code = error.code
    if code is None:
        return NOTHING, b""
    if isinstance(code, int):
        return STATUS, bytes([code & _LAST_STATUS])
    try:
        return _error(str(code))
    except BaseException as failure:  # raised by its own `__str__`
        if is_interrupt(failure):
            raise
        return _error(text_of(failure))


def text_of(error: BaseException) -> str:
    """Return the name of the exception and its text, whatever its own code does."""
    name = type(error).__name__
    try:
        text = str.__str__(str(error))  # which may be of a class of its own
    except BaseException as failure:  # raised by its own `__str__`
        if is_interrupt(failure):
            raise
        text = ""
    return f"{name}: {text}" if text else name
