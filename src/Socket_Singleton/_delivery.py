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
    """What the host owns on its way to the observers of ``app``."""

    def __init__(self, app: Socket_Singleton) -> None:
        self._app = app
        # Guards the fields below it. Taken by the I/O thread, the observer
        # thread and callers; held for a few steps, never while a caller's code
        # runs. Reentrant, for signal handlers.
        self._lock = threading.RLock()
        self._packets: collections.deque[bytearray] = collections.deque()
        self._kept = 0  # the last so many of them are not to be handed out yet
        # Launches that `dispatch` took, while the function that it was given has
        # not run. They are owned and delivered to nobody, as those that wait.
        self._under_way: list[Any] = []
        self._size = 0  # bytes that both take
        self._lines: collections.deque[str] = collections.deque(maxlen=MAX_LINES)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._idle: threading.Event | None = None  # set by the thread when it has no work
        # Locked while the observer thread has been told nothing new. It waits by
        # acquiring; others release it, with `_lock` held. A Condition would wake it
        # into the waker's own lock, and twice the switches of thread are what a
        # launch's time to its observer consists of.
        self._news = threading.Lock()
        self._news.acquire()

    def put(self, packet: bytearray) -> None:
        """Take a launch that the host owns; it is in `waiting`, and stays there until `hand_out`."""
        with self._lock:
            self._packets.append(packet)
            self._kept += 1
            self._size += _size_of(packet)
            while self._size > MAX_WAITING and len(self._under_way) + len(self._packets) > 1:
                self._take((self._under_way or self._packets)[0], self._under_way or self._packets)

    def hand_out(self) -> None:
        """Have all launches delivered, now that they were told that they are owned.

        No observer may have a launch before: if we were killed in between, it
        would go to the next host as well. The other way round we take launches
        with us that we owned, as we might a moment later.
        """
        with self._lock:
            self._kept = 0
            if self._packets:
                self.wake()

    def say(self, line: str) -> None:
        """Take one line, if the app is verbose."""
        if self._app.verbose:
            with self._lock:
                self._lines.append(line)
                self.wake()

    def waiting(self) -> tuple[tuple[str, ...], ...]:
        """Return the launches that wait, oldest first."""
        with self._lock:
            launches = [*self._under_way, *self._packets]
        return tuple(map(_arguments_of, launches))

    def wake(self) -> None:
        """Have the observer thread look whether it has work; start it for its first."""
        with self._lock:
            if self._thread is None:
                self._start()
            elif self._news.locked():
                try:
                    self._news.release()
                except RuntimeError:
                    pass  # a signal handler was here, and has done it

    def stop(self) -> None:
        """End the thread, after the call that it is in; what still waits goes on waiting."""
        with self._lock:
            self._stopped = True
            self.wake()

    def drain(self, seconds: float) -> None:
        """Return when nothing wanted waits or is under way; after ``seconds`` at the latest."""
        if self._thread is not None:
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
        thread = threading.Thread(target=self._run, name="Socket_Singleton observers", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the system has no thread to give; the next launch tries again
        self._thread = thread

    def _wanted(self) -> Any:
        """Return the queue that has the oldest launch that somebody wants, or None; the lock is held."""
        # What passed the app's `_append_args` and found no observer waits there
        # for one, and is older than what is here.
        app = self._app
        if app._arguments and app._observers:
            return app._arguments
        return self._packets if len(self._packets) > self._kept and app._wants_launches() else None

    def _run(self) -> None:
        while True:
            with self._lock:
                self._news.acquire(blocking=False)  # this look covers what was told until now
                line = self._lines.popleft() if self._lines else None
                queue = self._wanted()
                launch = queue[0] if queue else None
            if line is not None:
                self._app._say(line)
            elif self._stopped:
                return
            elif launch is None:
                if self._idle is not None:
                    self._idle.set()
                self._news.acquire()
            elif not self._deliver(launch, queue):
                self._news.acquire()  # to try the same again at once would be to spin

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
                    self._size += _size_of(launch)
                    return False
        return True

    def _take(self, launch: Any, place: Any) -> bool:
        """Remove ``launch`` from ``place``, and return whether it was there; the lock is held."""
        for index, other in enumerate(place):
            if other is launch:
                del place[index]
                self._size -= _size_of(launch)
                return True
        return False


# A launch is a packet; or the arguments, if it has been among the app's.


def _arguments_of(launch: Any) -> tuple[str, ...]:
    return decode(launch) if isinstance(launch, bytearray) else launch


def _size_of(launch: Any) -> int:
    return len(launch) + _OVERHEAD if isinstance(launch, bytearray) else 0
