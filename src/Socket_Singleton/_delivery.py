"""From the inbox to the observers: the one thread that takes launches, oldest first, as somebody wants them.

The I/O thread puts in what the host owns, and verbose lines, since stdout may
block and may be an object of the application's own. Where there is a
``dispatch``, a launch runs where that takes it; else on the observer thread.
"""

from __future__ import annotations

import threading
from collections import deque

from . import _platform
from ._inbox import Inbox, Launch
from ._observers import Observers, Raised
from ._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ._settings import Dispatch

# Verbose lines that wait to be printed; beyond it the oldest goes. A peer can
# cause lines faster than a terminal takes them.
MAX_LINES = 1000


class Delivery:
    """What the host owns, on its way to the observers."""

    def __init__(self, settings: Settings, override: Callable[[tuple[str, ...]], object] | None) -> None:
        """Make one that has no thread yet.

        Args:
            override: where an application overrides ``_append_args``: each launch
                passes through it once, before it can come to an observer.
        """
        self.inbox = Inbox()
        self.observers = Observers(settings)
        self._settings = settings
        self._override = override
        # One step each: appended by the I/O thread, taken by the observer thread.
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        # What the launch that a thread is calling the observers for hears of it; by the thread's
        # identifier. Each thread writes and reads its own entry alone.
        self._replies: dict[int, Any] = {}
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

    # -- the I/O thread --

    def take_in(self, launch: Launch) -> bool:
        """Take a launch that the host is about to own; return whether there was room."""
        return self.inbox.put(launch, bool(self.observers.registered), self._override is not None)

    def hand_out(self) -> None:
        """Have all launches delivered, now that their senders are answered."""
        if self.inbox.tell():  # a launch without arguments is news to nobody
            self.wake()

    def say(self, line: str) -> None:
        """Have one line printed, if verbose."""
        if self._settings.verbose:
            self._lines.append(line)
            self.wake()

    # -- any thread --

    def wake(self) -> None:
        """Have the observer thread look whether it has work; start it for its first."""
        if self._news.locked():
            try:
                self._news.release()
            except RuntimeError:
                pass  # somebody else was quicker
        if self._thread is None:
            self._start()  # last, so that its first look covers this news

    def notify(self, arguments: tuple[str, ...]) -> object:
        """Call the observers in this thread; what comes while there is none is kept for the first."""
        chosen = self.observers.choose()
        if chosen is not None:
            return chosen.call(arguments, self.current_reply() is not None)
        self.inbox.keep(arguments)
        return None

    def current_reply(self) -> Any:
        """Return what the launch hears whose observers this thread is calling, if that one asked."""
        return self._replies.get(threading.get_ident())

    def stop(self) -> None:
        """End the thread, after the call that it is in; what still waits goes on waiting."""
        self._stopped = True
        self.inbox.close()
        self.wake()

    def drain(self, seconds: float) -> None:
        """Return when nothing wanted waits or is under way; after ``seconds`` at the latest."""
        if self._thread is not None or self._has_work():
            self._idle = threading.Event()
            self.wake()
            self._idle.wait(seconds)

    def forked(self) -> None:
        """Be what is left in a forked child: no thread, and no launches."""
        self.inbox.forked()
        self._stopped = True
        self._thread = None

    def _start(self) -> None:
        if self._stopped or (_platform.THREADS_START_LATE and not self._has_work()):
            return
        thread = threading.Thread(target=self._run, name="Socket_Singleton observers", daemon=True)
        try:
            _platform.start_thread(thread)
        except RuntimeError:
            pass  # the system has no thread to give; the next launch tries again

    def _has_work(self) -> bool:
        observed = bool(self.observers.registered)
        return bool(self._lines) or self.inbox.has_for(observed, self._override is not None)

    # -- the observer thread --

    def _run(self) -> None:
        """Print lines and deliver launches, until it is stopped; wait while there is nothing to do."""
        # By who runs, and not by who starts it: a signal handler that raises may end a
        # start at any step, and then the next one has to go.
        if not self._begun.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        while True:
            self._news.acquire(blocking=False)  # what follows covers what was told until now
            idle = self._idle
            try:
                worked = self._work()
            except BaseException as error:
                # No memory to decode a launch, or a fault of ours: it ends that delivery alone.
                self._settings.tell_raised("Delivery", self, error)
                continue
            if worked:
                continue
            if self._stopped:
                return
            if idle is not None and not self._has_work():
                idle.set()
            self._news.acquire()

    def _work(self) -> bool:
        """Print a line, deliver a launch; return False if there was neither, or it was refused."""
        line = self._lines.popleft() if self._lines else None
        if line is not None:
            self._settings.say(line)
        launch = self.inbox.take(bool(self.observers.registered), self._override is not None)
        if launch is None:
            return line is not None
        dispatch = self._settings.dispatch
        if dispatch is None:
            self._deliver(launch)
            return True
        # Refused: to try that again at once would be to spin.
        return self._dispatch(launch, dispatch) or line is not None

    def _dispatch(self, launch: Launch, dispatch: Dispatch) -> bool:
        """Give a launch to ``dispatch``; return whether that took it."""
        held = _Held(self.inbox, launch)
        deliver = self._deliver

        def run() -> None:
            deliver(held.launch)

        try:
            dispatch(run)
        except BaseException as error:
            self._settings.tell_raised("Dispatch", dispatch, error)
            # It has not run, and now it never will; if it has, that is all right too.
            return not self.inbox.put_back(launch)
        return True

    # -- the observer thread, or where ``dispatch`` has it run --

    def _deliver(self, launch: Launch) -> None:
        """Have the observers called for one launch; or have it wait on, if there is none any more."""
        override = None if launch.was_heard else self._override
        chosen = self.observers.choose() if override is None else None
        if override is None and chosen is None:
            self.inbox.put_back(launch)
            self.wake()  # somebody may have come meanwhile
            return
        if not self.inbox.begin(launch):
            return  # it was dropped, or comes too late
        reply = launch.reply
        try:
            arguments = launch.arguments
        except MemoryError as error:
            # Here, and not in a loop of the application's; whoever asked hears of it too.
            self._settings.tell_raised("Delivery", "of a launch", error)
            if reply is not None:
                reply.answer(Raised(error))
            return
        finally:
            launch.clear()
        call = chosen.call if chosen is not None else self._call
        if reply is None:
            call(arguments, False)
            return
        thread = threading.get_ident()
        before = self._replies.get(thread)
        self._replies[thread] = reply
        try:
            answer = call(arguments, True)
        finally:
            if before is None:
                del self._replies[thread]
            else:
                self._replies[thread] = before
        reply.answer(answer)

    def _call(self, arguments: tuple[str, ...], asked: bool) -> object:
        """Have the application hear of one launch."""
        override = self._override
        assert override is not None
        try:
            return override(arguments)
        except BaseException as error:
            if not (asked and isinstance(error, SystemExit)):
                self._settings.tell_raised("Observer", override, error)
            return Raised(error)


class _Held:
    """Holds a launch for the function that ``dispatch`` was given; when that is thrown away, so is this."""

    __slots__ = ("_inbox", "_turn", "launch")

    def __init__(self, inbox: Inbox, launch: Launch) -> None:
        self._inbox = inbox
        self._turn = launch.turn
        self.launch = launch

    def __del__(self) -> None:
        self._inbox.abandon(self.launch, self._turn)
