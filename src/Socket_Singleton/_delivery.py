"""From the host to the observers: a queue, and the one thread that empties it.

The I/O thread puts in what the host owns, and verbose lines, since stdout may
block and may be an object of the application's own. The observer thread hands
out the launches one at a time, oldest first, as long as somebody wants them.
"""

from __future__ import annotations

import collections
import threading

from . import _platform
from ._wire import MAX_PACKET, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._singleton import Socket_Singleton

# Bytes of launches that wait for an observer; beyond it the oldest goes. The
# longest packet fits twice, the usual one many thousand times.
MAX_WAITING = 2 * MAX_PACKET

# Bytes that a packet takes beside its own, so that many small ones count too.
_OVERHEAD = 128

# Verbose lines that wait to be printed; beyond it the oldest goes. A peer can
# cause lines faster than a terminal takes them.
MAX_LINES = 1000


class Delivery:
    """What the host owns on its way to the observers of ``app``.

    The I/O thread waits for no lock here, but for Python's own when it starts the
    observer thread. Who calls `release` waits for the I/O thread, and may be a
    signal handler that has interrupted who holds the lock.
    """

    def __init__(self, app: Socket_Singleton) -> None:
        self._app = app
        # Launches, oldest first. The I/O thread appends to it, in one step; to
        # look at one and to remove one, `_lock` is held.
        self._packets: collections.deque[bytearray] = collections.deque()
        # Written by the I/O thread, in this order: an observer that comes in
        # between finds too few launches that it may have, and is woken again.
        self._kept = 0  # the last so many packets are not to be handed out yet
        self._came = 0  # bytes of all that it ever put in
        # Guards the next two. Taken by the observer thread and callers, and tried
        # by the I/O thread; held for a few steps, never while a caller's code
        # runs. Reentrant, for signal handlers.
        self._lock = threading.RLock()
        self._went = 0  # bytes of all that were ever taken out
        # Launches that `dispatch` took, while the function that it was given has
        # not run. They are owned and delivered to nobody, as those that wait.
        self._under_way: list[Any] = []
        # One step each: appended by the I/O thread, taken by the observer thread.
        self._lines: collections.deque[str] = collections.deque(maxlen=MAX_LINES)
        # Taken by the observer thread for good: if two were started, the other one ends.
        self._begun = threading.Lock()
        self._thread: threading.Thread | None = None  # set by that thread
        self._stopped = False  # set by `stop`, and never unset: one step
        self._idle: threading.Event | None = None  # set by the thread when it has no work
        # Locked while the observer thread has been told nothing new. It waits by
        # acquiring; anyone releases it. A Condition would wake it into the waker's
        # own lock, and twice the switches of thread are what a launch's time to its
        # observer consists of.
        self._news = threading.Lock()
        self._news.acquire()

    def put(self, packet: bytearray) -> None:
        """Take a launch that the host owns; it is in `waiting`, and stays there until `hand_out`."""
        self._kept += 1
        self._came += _size_of(packet)
        self._packets.append(packet)
        # Who has the lock now has it for a moment only: the next launch sees to it.
        if self._size() > MAX_WAITING and self._lock.acquire(blocking=False):
            try:
                self._drop_oldest()
            finally:
                self._lock.release()

    def hand_out(self) -> None:
        """Have all launches delivered, now that they were told that they are owned.

        No observer may have a launch before: if we were killed in between, it
        would go to the next host as well. The other way round we take launches
        with us that we owned, as we might a moment later.
        """
        self._kept = 0
        if self._packets:  # a launch without arguments is news to nobody
            self.wake()

    def say(self, line: str) -> None:
        """Take one line, if the app is verbose."""
        if self._app.verbose:
            self._lines.append(line)
            self.wake()

    def waiting(self) -> tuple[tuple[str, ...], ...]:
        """Return the launches that wait, oldest first."""
        with self._lock:
            launches = [*self._under_way, *self._packets.copy()]
        return tuple(map(_arguments_of, launches))

    def wake(self) -> None:
        """Have the observer thread look whether it has work; start it for its first."""
        if self._news.locked():
            try:
                self._news.release()
            except RuntimeError:
                pass  # somebody else was quicker
        if self._thread is None:
            self._start()  # last, so that its first look covers this news

    def stop(self) -> None:
        """End the thread, after the call that it is in; what still waits goes on waiting."""
        self._stopped = True
        self.wake()

    def drain(self, seconds: float) -> None:
        """Return when nothing wanted waits or is under way; after ``seconds`` at the latest."""
        if self._thread is not None or self._lines or self._wanted():
            self._idle = threading.Event()
            self.wake()
            self._idle.wait(seconds)

    def forked(self) -> None:
        """Be what is left in a forked child: no thread, and the launches are the parent's."""
        self._lock = threading.RLock()
        self._stopped = True
        self._thread = None
        self._packets.clear()
        self._under_way.clear()

    def _start(self) -> None:
        if self._stopped or (_platform.THREADS_START_LATE and not (self._lines or self._wanted())):
            return
        try:
            threading.Thread(target=self._run, name="Socket_Singleton observers", daemon=True).start()
        except RuntimeError:
            pass  # the system has no thread to give; the next launch tries again

    def _size(self) -> int:
        """Return the bytes of the launches that wait."""
        return self._came - self._went

    def _wanted(self) -> Any:
        """Return the queue that has the oldest launch that somebody wants, or None."""
        # What passed the app's `_append_args` and found no observer waits there
        # for one, and is older than what is here.
        app = self._app
        if app._arguments and app._observers:
            return app._arguments
        return self._packets if len(self._packets) > self._kept and app._wants_launches() else None

    def _run(self) -> None:
        # By who runs, and not by who starts it: a signal handler that raises may end a
        # start at any step, and then the next one has to go.
        if not self._begun.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        while True:
            self._news.acquire(blocking=False)  # what follows covers what was told until now
            idle, line = self._idle, self._lines.popleft() if self._lines else None
            if line is not None:
                self._app._say(line)
            with self._lock:
                queue = self._wanted()
                launch = queue[0] if queue else None
            if launch is not None and not self._stopped and self._deliver(launch, queue):
                continue
            # Here nothing is wanted, or it did not go: to try that again at once would be to spin.
            if line is not None:
                continue
            if self._stopped:
                return
            if launch is None and idle is not None:
                idle.set()
            self._news.acquire()

    def _deliver(self, launch: Any, queue: Any) -> bool:
        """Have the oldest launch delivered; return whether that went."""
        app, place = self._app, queue
        dispatch = app.dispatch
        if dispatch is not None:
            with self._lock:
                if not queue or queue[0] is not launch:
                    return True  # there were too many, and it was dropped
                del queue[0]
                self._under_way.append(launch)
            place = self._under_way
        # Whether it has passed `_append_args` before, and found no observer.
        again = queue is not self._packets

        def begin() -> bool:
            """Take it, since the first call is about to begin. Until then it waits; after `stop` for good."""
            with self._lock:
                return not self._stopped and self._take(launch, place)

        def run() -> None:
            if begin():
                app._append(_arguments_of(launch), again)

        if dispatch is None:
            return app._deliver(_arguments_of(launch), begin, again)
        try:
            dispatch(run)
        except BaseException as error:
            app._say_raised("Dispatch", dispatch, error)
            with self._lock:
                if self._take(launch, place):  # it has not run, and now it never will
                    queue.insert(0, launch)
                    self._went -= _size_of(launch)
                    return False
        return True

    def _take(self, launch: Any, place: Any) -> bool:
        """Remove ``launch`` from ``place``, and return whether it was there; the lock is held."""
        for index in range(len(place)):  # and not an iteration, during which nothing may be appended
            if place[index] is launch:
                del place[index]
                self._went += _size_of(launch)
                return True
        return False

    def _drop_oldest(self) -> None:
        """Drop launches until the others are few enough; the lock is held."""
        while self._size() > MAX_WAITING and len(self._under_way) + len(self._packets) > 1:
            place = self._under_way or self._packets
            self._take(place[0], place)


# A launch is a packet; or the arguments, if it has been among the app's.


def _arguments_of(launch: Any) -> tuple[str, ...]:
    return decode(launch) if isinstance(launch, bytearray) else launch


def _size_of(launch: Any) -> int:
    return len(launch) + _OVERHEAD if isinstance(launch, bytearray) else 0
