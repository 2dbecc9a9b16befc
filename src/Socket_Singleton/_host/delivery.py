"""From the inbox to the observers: one thread that takes launches, oldest first, when somebody wants them.

The I/O thread adds the launches that the host owns, and also verbose lines, because
stdout may block and may be an object of the application's own. Observers run
wherever ``dispatch`` runs them, and without one on the observer thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from .._report import is_interrupt, log_error, say
from .._settings import Settings
from . import points, threads
from .inbox import Entry, Inbox
from .launch import Launch, wrapped
from .observers import Observers
from .replies import Raised, Reply, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .._settings import Dispatch

# How many verbose lines may wait to be printed; beyond that, the oldest is dropped.
# A peer can cause lines faster than a terminal prints them.
MAX_LINES = 1000

# Seconds until another attempt, if the observer thread could not be started, or ``dispatch`` has raised: soon
# enough for a person who is waiting, and no burden to a system that is out of threads. For ``dispatch`` the
# time doubles with each attempt, because its event loop may be closed for good.
RETRY_TIME = 0.5
_LONGEST_RETRY_TIME = 30.0

# A time on the monotonic clock.
_NEVER = float("inf")


class Delivery:
    """Takes the launches that the host owns to the observers."""

    def __init__(self, settings: Settings, override: Callable[[Launch], object] | None) -> None:
        """Make a delivery that has no thread yet.

        Args:
            override: the application's own ``_append_args``, if it has one: each launch
                passes through it once, before it can reach an observer.
        """
        self.inbox = Inbox()
        self.observers = Observers(settings)
        self._settings = settings
        self._override = override
        # Appended by the I/O thread, taken by the observer thread, in single steps.
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._errors: deque[BaseException] = deque(maxlen=MAX_LINES)
        self._last_error = ""  # that was reported; used only by the I/O thread
        # By thread identifier: the launch that the thread is calling the observers for, and the way back
        # to it. Each thread writes and reads only its own entry.
        self._current: dict[int, tuple[Launch, Reply | None]] = {}
        # What is being delivered, from before it begins until its observers have returned: for `drain` and
        # `forked`. Written by whoever delivers it, in single steps.
        self._delivering: dict[Entry, None] = {}
        # Acquired by the observer thread and never released: if two were started, the other one ends.
        self._begun = threading.Lock()
        self._thread: threading.Thread | None = None  # set by that thread
        # The threads that were started, appended by whoever started them. For `join`, where the lock
        # allows one caller at a time: PyPy needs that.
        self._started: list[threading.Thread] = []
        self._join_lock = threading.RLock()
        self._in_call = False  # whether it runs the application's code; written by the observer thread
        self._stopped = False  # set by `stop` and `forked` in a single step, and never unset
        self._idle: threading.Event | None = None  # made by `drain`, set by the thread when it has no work
        # Locked while there is no news for the observer thread, which waits by
        # acquiring it; any thread releases it. With a Condition, that thread would wake
        # up only to wait for its waker's lock. That would double the thread switches,
        # which make up the time that a launch takes to reach its observer.
        self._news = threading.Lock()
        self._news.acquire()
        # When the I/O thread should try again to start the thread, and why that failed. Written in single
        # steps by whoever tried, who then calls `on_retry`. The error is logged and unset by the started
        # thread or by `stop`: logging runs the application's code, which the I/O thread must not do.
        self.retry_at = _NEVER
        self._unstarted: BaseException | None = None
        self._forget_refusal()
        self.on_retry: Callable[[], object]  # set by the host before its I/O thread starts

    # -- the I/O thread --

    def take_in(self, entry: Entry) -> bool:
        """Take a launch that the host is about to own; return whether there was room."""
        return self.inbox.put(entry, bool(self.observers.registered), self._override is not None)

    def hand_out(self) -> None:
        """Have the launches delivered that have been acknowledged."""
        if self.inbox.has_acknowledged():  # a launch without arguments may not be in the inbox
            self.wake()

    def say(self, line: str) -> None:
        """Have a line printed, if verbose."""
        if self._settings.verbose:
            self._lines.append(line)
            self.wake()

    def report(self, error: BaseException) -> None:
        """Have the error that ended a connection logged; if the same one occurs repeatedly, only once."""
        if repr(error) != self._last_error:
            self._last_error = repr(error)
            self._errors.append(error)
            self.wake()

    def retry(self) -> None:
        """Try again to start the observer thread, since `retry_at` has passed."""
        self.retry_at = _NEVER
        self.wake()

    # -- any thread --

    def wake(self) -> None:
        """Make the observer thread look for work; start it if it is not running yet."""
        if self._news.locked():
            try:
                self._news.release()
            except RuntimeError:
                pass  # another thread was faster
        if self._thread is None:
            self._start()  # last, so that the first look of the thread covers this news

    def notify(self, arguments: tuple[str, ...]) -> object:
        """Call the observers in this thread; if there are none, keep the launch for the first one."""
        current, reply = self._current.get(threading.get_ident(), (None, None))
        launch = wrapped(arguments, current)
        chosen = self.observers.choose()
        if chosen is not None:
            return chosen.call(launch, reply)
        self.inbox.keep(launch)
        return None

    def stop(self) -> None:
        """End the thread after its current call; launches that are waiting remain in the inbox."""
        self._stopped = True
        self.inbox.close()
        self.wake()
        self._log_unstarted()

    @property
    def is_calling(self) -> bool:
        """Whether the observer thread is running an observer, or other code of the application."""
        return self._in_call

    @property
    def has_ended(self) -> bool:
        """Whether each observer thread that was started has ended."""
        return not any(thread.is_alive() for thread in self._started.copy())

    def join(self, seconds: float) -> None:
        """Wait for the observer thread, which was stopped, to end."""
        if threading.current_thread() is self._thread:
            return
        with self._join_lock:
            for thread in self._started.copy():
                if thread.is_alive():
                    thread.join(seconds)

    def drain(self, seconds: float) -> None:
        """Wait until there is nothing left to deliver or to print, for at most ``seconds``.

        What ``dispatch`` has accepted counts too, until its observers have returned.
        """
        if not self._stopped and (self._thread is not None or self._has_work()):
            self._idle = threading.Event()
            self.wake()
            self._idle.wait(seconds)

    def forked(self) -> None:
        """Become what is left in a forked child: no thread, and no launches."""
        self.inbox.forked()
        for entry in self._delivering.copy():  # an observer may have forked, and go on in both processes
            if entry.reply is not None:
                entry.reply.fork()
        self._stopped = True
        self._thread = self._unstarted = None
        self._started.clear()
        self._join_lock = threading.RLock()

    def _start(self) -> None:
        if self._stopped or (threads.THREADS_START_LATE and not self._has_work()):
            return
        try:
            name = "Socket_Singleton observers"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            threads.start_thread(thread)
            self._started.append(thread)
        except (RuntimeError, MemoryError) as error:
            # The system is out of threads; or `sys.excepthook` is None, as applications set it when
            # they exit, and then `threading` makes none.
            self._unstarted = error
            self.retry_at = time.monotonic() + RETRY_TIME
            self.on_retry()

    def _log_unstarted(self) -> None:
        error, self._unstarted = self._unstarted, None
        if error is not None:
            log_error(self._settings, "Start", "of the observer thread", error)

    def _has_work(self) -> bool:
        observed = bool(self.observers.registered)
        return bool(self._lines or self._errors) or self.inbox.has_for(observed, self._override is not None)

    # -- the observer thread --

    def _run(self) -> None:
        """Print lines and deliver launches until stopped; wait while there is nothing to do."""
        # Acquired by the running thread, not by the starting one: a signal handler that raises
        # may interrupt a start at any step, and the next start must work.
        if not self._begun.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        self.retry_at = _NEVER
        self._log_unstarted()
        while True:
            self._news.acquire(blocking=False)  # what follows covers all news so far
            idle = self._idle
            try:
                worked = self._work()
            except BaseException as error:
                # No memory, or an error in the library: only this delivery ends.
                log_error(self._settings, "Delivery", self, error)
                continue
            if worked:
                continue
            if self._stopped:
                return
            if idle is not None and not (self._has_work() or self.inbox.has_in_hand() or self._delivering):
                idle.set()
            self._wait_for_news()

    def _forget_refusal(self, by: Dispatch | None = None) -> None:
        """Begin anew with what ``dispatch`` refuses.

        These are the function that has refused a launch, what it has raised last, when to try again, and
        how long to wait after that. Used only by the observer thread, which also waits for that time: the
        I/O thread may have ended.
        """
        self._refused_by, self._refusal = by, ""
        self._redispatch_at: float = _NEVER
        self._pause: float = RETRY_TIME

    def _wait_for_news(self) -> None:
        """Wait for news, or until it is time to dispatch a launch again."""
        if self._redispatch_at == _NEVER:
            self._news.acquire()
        elif not self._news.acquire(timeout=max(self._redispatch_at - time.monotonic(), 0.0)):
            self._redispatch_at = _NEVER

    def _work(self) -> bool:
        """Log an error, or print a line and deliver a launch; return False if there was nothing to do."""
        if self._errors:
            self._call_out(log_error, self._settings, "Conversation", "with a launch", self._errors.popleft())
            return True
        line = self._lines.popleft() if self._lines else None
        if line is not None:
            self._call_out(say, self._settings, line)
        entry = self.inbox.take(bool(self.observers.registered), self._override is not None)
        if entry is None:
            return line is not None
        dispatch = self._settings.dispatch
        if dispatch is None:
            self._call_out(self._deliver, entry)
            return True
        # A refusal counts as nothing to do: trying again at once would be a busy loop.
        return self._call_out(self._dispatch, entry, dispatch) or line is not None

    def _call_out(self, call: Callable[..., Any], *arguments: object) -> Any:
        """Return ``call(*arguments)``, which runs code of the application."""
        self._in_call = True
        try:
            return call(*arguments)
        finally:
            self._in_call = False

    def _dispatch(self, entry: Entry, dispatch: Dispatch) -> bool:
        """Give a launch to ``dispatch``; return whether that accepted it."""
        ticket = _Ticket(self.inbox, entry)
        deliver = self._deliver

        def run() -> None:
            deliver(ticket.entry)

        try:
            dispatch(run)
        except BaseException as error:
            # If it has not run, it never will now. If it has, that is fine too.
            if self.inbox.put_back(entry):
                self._refused(dispatch, error)
                return False
            log_error(self._settings, "Dispatch", dispatch, error)
        self._forget_refusal()
        return True

    def _refused(self, dispatch: Dispatch, error: BaseException) -> None:
        """Log what ``dispatch`` has raised, once as long as it stays the same; decide when to try again."""
        if self._refused_by is not dispatch:
            self._forget_refusal(by=dispatch)
        refusal = text_of(error)
        if self._refusal != refusal:
            self._refusal = refusal
            log_error(self._settings, "Dispatch", dispatch, error)
        if self._redispatch_at == _NEVER:  # else this attempt was made because of other news
            self._redispatch_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_RETRY_TIME)

    # -- the observer thread, or wherever ``dispatch`` runs this --

    def _deliver(self, entry: Entry) -> None:
        """Call the observers for one launch; put it back if there are none any more.

        Ctrl-C may come at any step, if this is the main thread. Before the launch has begun, it is put
        back and comes again; after that, a launch that waits gets an answer. The loop gets the Ctrl-C.
        """
        reply = entry.reply
        self._delivering[entry] = None
        try:
            points.reach("chosen")
            override = None if entry.kept is not None else self._override
            chosen = self.observers.choose() if override is None else None
            if override is None and chosen is None:
                self.inbox.put_back(entry)
                self.wake()  # an observer may have been added meanwhile
                return
            launch = _decode(entry)  # before it begins, since it takes a while
            if not self.inbox.begin(entry):
                return  # it was dropped, or the host was released
            entry.clear()
            if reply is not None:
                reply.begin()
            points.reach("begun")
            if isinstance(launch, MemoryError):
                # Logged here, not raised in a loop of the application's; a launch that waits gets it too.
                log_error(self._settings, "Delivery", "of a launch", launch)
                answer: object = Raised(launch)
            else:
                answer = self._in_turn(launch, reply, chosen.call if chosen is not None else self._call)
            if reply is not None:
                reply.answer(answer)
        except BaseException as error:
            if is_interrupt(error) and self.inbox.put_back(entry):
                self.wake()
            elif reply is not None:
                reply.answer(Raised(error))  # else it would wait for ever
            raise
        finally:
            self._delivering.pop(entry, None)
            if self._idle is not None:
                self.wake()  # it may have been the last one

    def _in_turn(
        self, launch: Launch, reply: Reply | None, call: Callable[[Launch, Reply | None], object]
    ) -> object:
        """Return ``call(launch, reply)``, made with the launch as the current one of this thread."""
        thread = threading.get_ident()
        before = self._current.get(thread)
        self._current[thread] = launch, reply
        try:
            return call(launch, reply)
        finally:
            if before is None:
                del self._current[thread]
            else:
                self._current[thread] = before

    def _call(self, launch: Launch, reply: Reply | None) -> object:
        """Call the application's ``_append_args`` for one launch; return its result, or what it `Raised`."""
        override = self._override
        assert override is not None
        if reply is not None:
            reply.observer = override
        try:
            return override(launch)
        except BaseException as error:
            if is_interrupt(error):
                raise
            if reply is None or not reply.is_expected(error):
                log_error(self._settings, "Observer", override, error)
            return Raised(error)


def _decode(entry: Entry) -> Launch | MemoryError:
    """Return the launch in ``entry``, or the error if there is no memory for it."""
    try:
        points.reach("decode")
        return entry.launch
    except MemoryError as error:
        return error


class _Ticket:
    """Holds a launch for the function given to ``dispatch``, and abandons it when that is thrown away."""

    __slots__ = ("_inbox", "_turn", "entry")

    def __init__(self, inbox: Inbox, entry: Entry) -> None:
        self._inbox = inbox
        self._turn = entry.turn
        self.entry = entry

    def __del__(self) -> None:
        self._inbox.abandon(self.entry, self._turn)
