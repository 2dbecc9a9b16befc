"""The host's side of the port: one thread, one selector, and none of the application's code.

A connection ends in order only if its launch is owned or refused, or if it brought
none. Every other end is a reset, including the one that the system causes if this
process is killed. So only a reset means: ask again.

The port is given up before the thread ends: after that, the thread only serves launches
that may still be answered. `NEXT` is the table of the host's states.
"""

from __future__ import annotations

import errno
import os
import selectors
import sys
import threading
import time
from collections import deque

from .._packet import ACK, ENOUGH_CLIENTS, MAX_PACKET, NAK, OTHER_SECRET, TOO_MANY_WAIT
from .._settings import Settings
from .._system import NO_SIGNAL, close_resets, is_stdio, keep_alive, limit_buffer, raise_no_signal, sockets
from .._wakeup import socket_pair
from . import forks, points, replies, threads
from . import peers as _peers
from . import sockets as _sockets
from .delivery import Delivery
from .inbox import Entry
from .packet import Foreign, Packet, PacketTooLong, Refused
from .peers import Peer, Peers
from .replies import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


SERVING = "serving"  # it accepts connections
PAUSING = "pausing"  # it is out of descriptors or memory, and accepts nothing for `_PAUSE`
DRAINING = "draining"  # the port is free; some launches may still be answered
FAILED = "failed"  # after an error in the library: nobody is served, and the port is held until `close`
SHUT = "shut"  # everything is closed

# The events that are possible in each state, and the states that they lead to.
NEXT = {
    SERVING: {"pause": PAUSING, "free the port": DRAINING, "fail": FAILED},
    PAUSING: {"resume": SERVING, "free the port": DRAINING, "fail": FAILED},
    DRAINING: {"end": SHUT},
    FAILED: {"free the port": DRAINING},
    SHUT: {},
}

_HOLDING = (SERVING, PAUSING, FAILED)

_LOST = "another part of this program has closed the sockets of Socket_Singleton"

# Selectors whose descriptors somebody else has closed. They cannot have marks, because `fstat` does not
# distinguish them; once unreferenced, they would close whatever has their number now.
_lost_selectors: list[Any] = []

# The talk of a peer that has been answered: what it still sends is ignored.
_NO_TALK = Packet()

# Errors for want of a descriptor: PyPy needs one for random bytes, which are part of each proof.
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)

# Bytes per read, and reads per peer in a turn: enough for most packets and their end. What all
# peers can send before they wait for one another, 48 KiB each, does not fill `MAX_BUFFERED`.
_READ_SIZE = _peers.SHORT
_READS = 2

# Reads in a turn of the one peer that is read among those that have already sent `SHORT` bytes, and of each
# peer whose deadline has passed.
_MANY_READS = 16

# Connections accepted from the backlog in a turn, while there are peers: so a launch soon
# gets past many that send nothing. If that many follow a long packet in every turn, 4 MiB
# of it are read before its peer is the oldest.
_ACCEPTS = 16

# Seconds without accepting when the system has no descriptor or no memory for
# another peer. Launches wait in the backlog meanwhile; they have 2 s.
_PAUSE = 0.05

# Seconds that the I/O thread waits for a fork before it accepts a connection. If a signal handler that has
# interrupted the fork releases this host, it waits for that thread.
_FORK_TIME = 0.05

# Seconds that the observer thread is left asleep while the I/O thread has more to do.
# Awake, it would compete for the interpreter, and a burst of launches would take half
# as long again.
_HEAD_START = 0.002

# Sends per launch in a turn, so that others get their turn: 1 MiB of output.
_SENDS = 8

# A time on the monotonic clock.
_NEVER = float("inf")

# The longest time in seconds that a selector is asked to wait: epoll overflows at 24 days.
_LONGEST_WAIT = 24 * 60 * 60.0

# Seconds for the I/O thread to give up the port after `close` was called. Its work between two
# checks is bounded, so this is never reached; the limit only ensures that no wait is endless.
_CLOSE_TIME = 10.0

# Seconds after which `close` wakes the I/O thread again. Waking it takes well under a millisecond.
_WAKE_AGAIN_TIME = 0.5

# Seconds that a release gives peers that have been answered to end the connection, and that a launch waits
# if it gets no answer. A launch takes 1 ms to end, and Linux acknowledges what was sent within 40 ms.
_HURRY_TIME = 0.1

# Seconds for which a launch that reads nothing of its answer keeps its connection, after a release.
_TAKE_TIME = 10.0

# Seconds that `close` waits for the thread itself to end if no launch can be answered any more, so that
# nobody who counts threads after a release finds it.
_THREAD_END_TIME = 0.5

# Seconds before each attempt to wake the I/O thread, if the system has no memory for a byte.
_WAKE_PAUSES = (0.0, 0.0, 0.01, 0.1)


class Latch:
    """An event that happens once, and that threads can wait for.

    Not a `threading.Event`: a signal handler that calls `close` may have interrupted an event's
    wait, which holds a lock that the I/O thread needs to set the event. Here each waiter
    has its own lock, so a handler that raises during one wait does not affect the others.
    """

    def __init__(self) -> None:
        self.is_open = False  # set by `open`, and never unset
        # Appended by `wait` before it reads `is_open`; taken by `open` after it has set that.
        self._waiters: deque[Any] = deque()

    def open(self) -> None:
        """Let everybody through who waits now or later."""
        self.is_open = True
        while self._waiters:
            try:
                self._waiters.popleft().release()
            except IndexError:
                pass  # another thread opens it too

    def wait(self, timeout: float) -> bool:
        """Wait until it is open; return False after ``timeout`` seconds (-1: no limit)."""
        lock = threading.Lock()
        lock.acquire()
        self._waiters.append(lock)
        if not self.is_open:
            lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        try:
            self._waiters.remove(lock)
        except (ValueError, IndexError):
            pass  # this waiter was let through, or another one is at this moment
        return self.is_open


def _try_each(*steps: Callable[[], object]) -> None:
    """Call each of ``steps``, even if others fail: the error that led here is the one to report."""
    for step in steps:
        try:
            step()
        except BaseException:  # noqa: BLE001 (nothing may prevent the next step)
            pass


class Host(forks.ForkAware):
    """Holds the port, and takes whole packets from whoever connects, until it is closed.

    Once `start` has returned, fields belong to the I/O thread, unless a comment says otherwise.
    What other threads write is always a single attribute that is read as a whole
    (docs/design.md, "Threads share single steps").
    """

    def __init__(
        self,
        listener: sockets.socket,
        settings: Settings,
        delivery: Delivery,
        timeout: float,
        new_talk: Callable[[sockets.socket], _peers.Talk],
    ) -> None:
        """Make a host of ``listener``, which belongs to it from then on.

        Args:
            timeout: seconds after which it closes by itself; until then the program
                cannot end. With 0 it never does, and the program does not wait for it.
            new_talk: makes the host's side of a new connection.
        """
        self.listener = listener
        self._settings = settings
        self._delivery = delivery
        self._new_talk = new_talk
        self._deadline = time.monotonic() + timeout if timeout else _NEVER  # when it closes by itself
        self._resume = _NEVER  # when to accept again, while pausing
        # The latest time to hand out the launches that have been acknowledged.
        self._hand_out_by = _NEVER
        self._peers = Peers()
        # Read by any thread. Written by the I/O thread after `start`, or by whoever closes the host if
        # that thread has ended, never began, is not in this process, or cannot be woken.
        self.state = SERVING
        # Read by any thread: the number of whole packets and wrong secrets, and that of whole packets.
        self.clients = 0
        self._launches = 0
        # Set by any thread, and never unset: that the port is to be given up; and that only launches whose
        # observer is running at that moment may still be answered.
        self._closing = False
        self._released = False
        # Set by `finish`, never unset: the interpreter is exiting; nobody waits for the I/O thread any more.
        self._finishing = False
        # Replies with something to send: appended by any thread, taken by the I/O thread, in single steps.
        self._news: deque[Reply] = deque()
        self.claims: dict[object, int] = {}  # see `.replies.Sender`
        # Acquired and never released: by the I/O thread when it begins, or by whoever closes the host
        # before that; a thread that begins later then has nothing to do.
        self._begun = threading.Lock()
        # Opened by the I/O thread, or in its place by whoever closes the host: when the port is free; when,
        # after a release, it is also certain which launches may still be answered; when all is closed.
        self.given_up = Latch()
        self._settled = Latch()
        self._ended = Latch()
        # Opened when the port is free and all launches are handed out, or after an error in the library:
        # nobody is served any more. The thread that keeps the program alive for ``timeout`` waits for this.
        self._stopped = Latch()
        # Guards `_waker`, which several threads use and one closes; joining the threads, which on PyPy
        # only one thread at a time can do; and the end of a host that has failed. The I/O thread never
        # waits for it, so it can be held while that thread ends. Reentrant, for signal handlers.
        self._lock = threading.RLock()
        self._port = listener.getsockname()[1]
        # The marks of the listener and of the sockets that wake the I/O thread: see `_sockets.mark_of`.
        # Written before that thread begins, read by any thread.
        self._listener_mark = _sockets.mark_of(listener)
        self._lost = False  # set by any thread that finds that nothing can wake the I/O thread; never unset
        self._waker_mark: _sockets.Mark = None
        self._wakened_mark: _sockets.Mark = None
        # The process that this host belongs to. A fork in C code calls none of Python's hooks.
        self._process = os.getpid()
        self._forked = False  # set once, in a forked child; read by its threads
        # Made by `start`, when somebody can close this host: a signal handler may raise at any step, and
        # selectors and threads are in reference cycles, which only the garbage collector would clear.
        self._selector: Any = None
        self._waker: Any = None
        self._wakened: Any = None
        self._thread: threading.Thread | None = None
        self._holds_program = bool(timeout)
        self._holder: threading.Thread | None = None
        # Used only by the I/O thread, for draining: whether nothing can wake it any more; until when it
        # serves, and until when `close` waits for peers to leave.
        self._deaf = False
        self._drain_until = self._hurry_until = _NEVER

    def start(self) -> None:
        """Begin to serve. If this raises, `close` has to be called."""
        self._make_selector()
        self._waker, self._wakened = socket_pair()
        self._waker_mark = _sockets.mark_of(self._waker)
        self._wakened_mark = _sockets.mark_of(self._wakened)
        self.listener.setblocking(False)
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._delivery.on_retry = self.wake
        forks.follow_forks(self)
        self._thread = threading.Thread(target=self._run, name="Socket_Singleton I/O", daemon=True)
        threads.start_thread(self._thread)
        if self._holds_program:
            # It only waits for the port: the I/O thread may send answers for a long time after that.
            name = "Socket_Singleton timeout"
            self._holder = threading.Thread(target=self._stopped.wait, args=(-1.0,), name=name, daemon=False)
            threads.start_thread(self._holder)

    def _make_selector(self) -> None:
        """Make the selector, with a descriptor above 2, as all sockets have."""
        kind, low = selectors.DefaultSelector, []
        try:
            while True:
                # Stored before it is initialized, so that it can be closed if that fails halfway.
                self._selector = kind.__new__(kind)
                self._selector.__init__()
                if not is_stdio(self._selector):
                    return
                low.append(self._selector)  # its number stays taken meanwhile
        except BaseException:
            low.append(self._selector)
            self._selector = None
            raise
        finally:
            for selector in low:
                try:
                    selector.close()
                except AttributeError:
                    pass  # it had no descriptor yet

    # -- any thread --

    @property
    def holds_port(self) -> bool:
        """Whether this host still has the port; it does not if somebody else has closed the listener."""
        return self.state in _HOLDING and not _sockets.is_lost(self.listener, self._listener_mark)

    def stop_accepting(self) -> None:
        """Free the port before returning. Launches that are waiting may still be answered.

        Raises:
            RuntimeError: the I/O thread did not do so in time.
        """
        self._close(self._stopped)

    def close(self) -> None:
        """Free the port before returning. Launches whose observer is running may still be answered.

        Can be called on any thread, any number of times, even at once. If there is no such launch,
        the I/O thread has ended afterwards.

        Raises:
            RuntimeError: the I/O thread did not do so in time.
        """
        self._released = True
        self._close(self._settled)
        alone = self._forked or self._lost or threading.current_thread() is self._thread
        if not (alone or self._peers.asking):
            self._join()

    @property
    def has_ended(self) -> bool:
        """Whether the I/O thread has closed everything."""
        return self._ended.is_open

    def finish(self, seconds: float) -> None:
        """Wait until everything is sent, for at most ``seconds``: the interpreter is exiting."""
        self._finishing = True
        if not (self._forked or self._lost) and self._ended.wait(seconds):
            self._join()

    def _close(self, latch: Latch) -> None:
        self._closing = True
        if self._process != os.getpid():
            self._forked = True
        if self._forked or self._is_lost():
            self._retire()
            return
        if self._begun.acquire(blocking=False):
            self._give_up()  # the thread has not begun, and now it never will
            self._end_thread()
        else:
            self.wake()
            if threading.current_thread() is self._thread:
                return  # in a finalizer, which may run anywhere; the byte makes this thread look
            if not latch.wait(_WAKE_AGAIN_TIME):
                self.wake()  # the system may have refused the first byte
            if not latch.wait(_CLOSE_TIME):
                raise RuntimeError("the I/O thread of Socket_Singleton did not give up the port")
        with self._lock:
            if self.state == FAILED:
                forks.forget_forks(self)
                self._free_port()
                self._move("end")

    def _join(self) -> None:
        self._ended.wait(_THREAD_END_TIME)
        with self._lock:
            for thread in (self._thread, self._holder):
                if thread is not None and thread.is_alive():
                    thread.join(_THREAD_END_TIME)
        self._close_waker()

    def _is_lost(self) -> bool:
        """Return whether a daemonizer or the like has closed descriptors of this process."""
        if self._waker is not None and _sockets.is_lost(self._waker, self._waker_mark):
            # `_ended` is read second: once the I/O thread has ended, one of our own threads may just be
            # closing the waker (`_close_waker`); before that, none of them does.
            self._lost = self._lost or not self._ended.is_open
        return self._lost

    def _retire(self) -> None:
        """Stop being a host if the I/O thread cannot end it: in a child, or if nothing can wake that thread.

        In a child, the port, the selector and the thread belong to the parent. The child closes its
        copy of the listener, and touches nothing else.
        """
        forks.forget_forks(self)
        self._is_lost()  # remembered, while it can still be seen
        self.state = SHUT
        _sockets.close_own(self.listener, self._listener_mark)
        for sock, mark in ((self._waker, self._waker_mark), (self._wakened, self._wakened_mark)):
            if sock is not None and _sockets.is_lost(sock, mark):  # pragma: no cover (its data is lost too)
                sock.detach()
        if self._lost:  # pragma: no cover (its data is lost too)
            for peer in self._peers.asking.copy():
                if peer.reply is not None:
                    peer.reply.end()
        for latch in (self.given_up, self._settled, self._ended, self._stopped):
            latch.open()  # else their waiters would wait for ever

    def wake(self) -> None:
        """Make the I/O thread look for news.

        Also in a finalizer on that thread itself, which may be just about to sleep.
        """
        if threading.current_thread() is self._thread:
            try:
                # Without the lock: nobody closes the socket before this thread has ended.
                self._waker.send(b"\0", NO_SIGNAL)
            except OSError:
                pass
            return
        self._send_byte()
        self._close_waker()

    def _send_byte(self) -> None:
        with self._lock:
            if self._is_lost():  # pragma: no cover (its data is lost too)
                return
            for attempt, pause in enumerate(_WAKE_PAUSES):
                if pause:
                    time.sleep(pause)
                if self._try_to_send_byte(attempt):
                    return
            # There is no memory for a byte. The I/O thread will look when the next launch arrives. If it has
            # to close, it gets the end of the stream instead: that needs no memory, and nothing can follow.
            if self._closing:
                try:
                    self._waker.shutdown(sockets.SHUT_WR)
                except OSError:
                    pass  # it has ended

    def _try_to_send_byte(self, attempt: int) -> bool:
        """Send a byte to the I/O thread; return whether that succeeded, or is no longer necessary."""
        try:
            self._waker.send(b"\0", NO_SIGNAL)
        except BlockingIOError:
            return attempt > 0  # still no room: it already has enough bytes to wake up
        except ConnectionError:
            return True  # it has closed its end, because it is ending
        except OSError:
            return self._ended.is_open
        return True

    def _close_waker(self) -> None:
        """Close the waker if the I/O thread has ended; a holder of the lock calls this after releasing it."""
        if self._ended.is_open and self._waker is not None and self._lock.acquire(blocking=False):
            _sockets.close_own(self._waker, self._waker_mark)
            self._lock.release()

    def send(self, reply: Reply) -> None:
        """Make the I/O thread look at ``reply``."""
        self._news.append(reply)
        if not self._ended.is_open:
            self.wake()

    def unsent(self) -> int:
        """Return how many bytes of output are waiting, for all launches together."""
        found = [peer.reply for peer in self._peers.asking.copy()]  # each may become None at any moment
        return sum(reply.unsent for reply in found if reply is not None)

    def may_wait(self) -> bool:
        """Return whether the calling thread may wait for the I/O thread."""
        return threading.current_thread() is not self._thread and not (self._finishing or sys.is_finalizing())

    def forked(self) -> None:
        # The parent's threads do not exist here, but one of them may have held the lock.
        self._lock = threading.RLock()
        self._forked = True
        self._delivery.forked()
        # A child may outlive the host, so it must not keep connections open on which launches wait
        # for an answer. Closing a copy does not end a connection.
        for peer in self._peers:
            peer.close()
            if peer.reply is not None:
                peer.reply.fork()

    def in_worker(self) -> None:
        # A multiprocessing worker must not keep the port either.
        self._retire()

    # -- the I/O thread: its turns --

    def _run(self) -> None:
        """Serve until the port is to be given up, then serve the launches that may still be answered."""
        if not self._begun.acquire(blocking=False):
            return
        try:
            while not self._closing:
                self._serve(self._next_events())
                self._send_news()
                self._check_deadlines()
            self._give_up()
            self._drain()
            self._end_thread()
        except BaseException:
            was_closing = self._closing
            self._fail()
            if not self._is_lost():
                raise  # to threading.excepthook
            if not was_closing:  # pragma: no cover (its data is lost too)
                raise OSError(errno.EBADF, _LOST) from None

    def _next_events(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events. Before this thread sleeps, hand out the launches that it has acknowledged.

        As long as events keep coming, that is put off, but for no more than `_HEAD_START`.
        """
        points.reach("turn")
        events = self._select(0.0) if self._hand_out_by != _NEVER else []
        if events and time.monotonic() < self._hand_out_by:
            return events
        wait = self._wait()
        # The last step before this thread sleeps: the observer thread needs the interpreter.
        self._hand_out()
        if self._delivery.retry_at != _NEVER:
            wait = self._wait()  # the observer thread could not be started
        # `_news` is read last: a finalizer on this thread may have just answered a launch.
        return events or self._select(0.0 if self._news else wait)

    def _select(self, wait: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = self._selector.select(wait)
        if self._is_lost():  # pragma: no cover (its data is lost too)
            raise OSError(errno.EBADF, _LOST)  # by now the selector's number may belong to anything
        return events

    def _wait(self) -> float | None:
        """Return the seconds until something is due; None if nothing is."""
        return _until(min(self._deadline, self._resume, self._peers.next_deadline(), self._delivery.retry_at))

    def _serve(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take one turn: accept, then read all peers that have sent little, and one that has sent much."""
        self._peers.turn += 1
        long: list[Peer] = []
        for key, mask in events:
            # An earlier event of this turn may have ended the host, or this peer.
            if self._closing:
                return
            if key.fileobj is self.listener:
                self._accept()
            elif key.fileobj is self._wakened:
                self._drain_wakened()
            elif key.data.state == _peers.ASKING:
                self._tend(key.data, mask)
            elif key.data.state != _peers.GONE:  # pragma: no branch (that is a matter of timing)
                key.data.last_turn = self._peers.turn
                if key.data.received < _peers.SHORT:
                    self._read(key.data)
                else:
                    long.append(key.data)
        long = [peer for peer in long if peer.state != _peers.GONE]
        if long and not self._closing:
            self._read(self._peers.next_long(long), _MANY_READS)

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            self._closing = True
        if now >= self._delivery.retry_at:
            self._delivery.retry()
        if now >= self._resume and not self._closing:
            self._resume_accepting(now)
        for peer in self._peers.too_late(now):
            if self._closing:
                return
            # What has arrived but was not read yet counts: this process may have been stopped.
            # It may also be too much, and then another peer is dropped. With few reads, a peer that keeps
            # sending could have something left in every turn of a busy host, and stay.
            if peer.state != _peers.GONE and self._read(peer, _MANY_READS):
                try:
                    self._finish(peer, hung_up=False)
                except (OSError, MemoryError):
                    self._drop(peer)

    def _drain_wakened(self) -> None:
        """Read the bytes that woke this thread, so that they do not wake it again."""
        try:
            while self._wakened.recv(_READ_SIZE):
                pass
        except (OSError, MemoryError):
            return  # no more, or the system has no memory for it, and then the selector reports it again
        # The end of the stream: there was no memory for a byte. Nothing can wake this thread, so it must end.
        self._unregister(self._wakened)
        self._closing = self._released = self._deaf = True

    # -- the I/O thread: peers, and what they send --

    def _accept(self) -> None:
        """Accept from the backlog: a single connection if there are no peers, since turns are short then."""
        for taken in range(_ACCEPTS):
            lock = forks.lock
            if not lock.acquire(timeout=_FORK_TIME):
                return  # the selector reports this again
            try:
                peer = self._admit(_sockets.accept(self.listener))
            except (BlockingIOError, ConnectionError):
                return  # no more, or it hung up while waiting (on BSD and Windows)
            except (OSError, MemoryError):
                # No descriptor or no memory. Dropping a peer makes room for the
                # next attempt; without one, only waiting can help. If this was
                # not the first attempt, perhaps nobody is waiting.
                if not taken and not self._drop_for_room(self._peers.oldest()):
                    self._pause_accepting()
                return
            finally:
                lock.release()
            if peer is not None:
                self._greet(peer)
            points.reach("admitted")
            if self._closing or not self._peers.reading:
                return

    def _pause_accepting(self) -> None:
        self._selector.unregister(self.listener)
        self._move("pause")
        self._resume = time.monotonic() + _PAUSE

    def _resume_accepting(self, now: float) -> None:
        try:
            self._selector.register(self.listener, selectors.EVENT_READ)
        except (OSError, MemoryError):
            self._resume = now + _PAUSE
        else:
            self._move("resume")
            self._resume = _NEVER

    def _admit(self, sock: sockets.socket) -> Peer | None:
        """Add a connection to the peers; if that is impossible, reset it and return None."""
        try:
            if _sockets.is_among_last(sock) and self._drop_for_room(self._peers.oldest()):
                sock = _sockets.moved(sock)
            sock.setblocking(False)
            if not _sockets.ACCEPTED_RESETS:  # pragma: no cover (it is so on Linux)
                close_resets(sock)
                raise_no_signal(sock)
            peer = Peer(sock, self._new_talk(sock), time.monotonic() + _peers.PEER_TIME)
            self._peers.add(peer)
            return peer
        except (OSError, MemoryError):  # pragma: no cover (macOS: it was reset already; Linux: no memory)
            sock.close()
            return None

    def _greet(self, peer: Peer) -> None:
        """Read what a new peer has sent, and watch it if that is not all."""
        try:
            # Most packets have fully arrived by now, and their peers are never watched.
            self._read(peer)
            if peer.state == _peers.READING:
                self._watch(peer, selectors.EVENT_READ)
        except (OSError, MemoryError):  # pragma: no cover (no memory)
            self._drop(peer)
        self._drop_for_room(self._peers.surplus())

    def _read(self, peer: Peer, reads: int = _READS) -> bool:
        """Read from a peer; return whether everything was read and its state is unchanged."""
        try:
            before = peer.state
            for _ in range(reads):
                try:
                    data = peer.sock.recv(_READ_SIZE)
                except BlockingIOError:
                    return True
                if not data:
                    self._finish(peer, hung_up=True)
                    break
                self._take(peer, data)
                points.reach("read", data)
                if peer.state != before:
                    break
        except (OSError, MemoryError):  # also a send without room, whose bytes would be missing
            self._drop(peer)
        return False

    def _take(self, peer: Peer, data: bytes) -> None:
        """Process ``data`` from a peer."""
        self._peers.count_received(peer, len(data))
        if peer.state == _peers.LEAVING:
            if peer.discarded > MAX_PACKET:
                self._drop(peer)
            return
        try:
            say = self._call_talk(peer.talk.feed, data)
        except Refused as refusal:
            self._refuse(peer, refusal.reason)
        except Foreign:
            self._drop(peer)
        except PacketTooLong:
            self._say_undecodable(f"more than {MAX_PACKET} bytes")
            self._drop(peer)
        else:
            if say:
                peer.sock.send(say, NO_SIGNAL)  # always short enough to fit
            if peer.talk.words is not None:
                self._own(peer)
            else:
                self._drop_for_room(self._peers.excess())

    def _call_talk(self, method: Callable[[Any], Any], argument: object) -> Any:
        """Return ``method(argument)``, a call of a peer's talk.

        Raises:
            Refused, Foreign, PacketTooLong, MemoryError: as ``method`` does.
            OSError: it raised an unexpected error. A talk knows nothing but its own connection, so only
                that connection has to end. For want of a descriptor, nothing is reported: the launch
                tries again.
        """
        try:
            return method(argument)
        except (Refused, Foreign, PacketTooLong, MemoryError):
            raise
        except Exception as error:
            if getattr(error, "errno", None) not in _NO_DESCRIPTOR:
                self._delivery.report(error)
            raise OSError from error

    def _finish(self, peer: Peer, hung_up: bool) -> None:
        """Process the end of a peer's stream, or of its time."""
        peer.hung_up = hung_up
        if peer.state == _peers.READING:
            try:
                if self._call_talk(peer.talk.end, hung_up):
                    self._own(peer)
                    return
            except Refused as refusal:
                self._refuse(peer, refusal.reason)
                return
            if not hung_up and peer.talk.started:
                self._say_undecodable(f"incomplete after {_peers.PEER_TIME:g} seconds")
        if hung_up or peer.state == _peers.LEAVING:
            self._end(peer)  # it only checked whether a program listens, or has been answered
        else:
            self._drop(peer)

    # -- the I/O thread: owning, answering --

    def _own(self, peer: Peer) -> None:
        """Own a launch whose packet is whole, and acknowledge it: either both happen, or neither.

        After the `ACK`, which the peer may have seen, the launch is owned whatever fails.
        An error before that takes the launch back out of the inbox and is raised, and then
        the peer must be reset. Only acknowledged launches are handed out, later: see
        `_next_events`, and `Inbox.put` for the reason.
        """
        if self._closing or time.monotonic() >= self._deadline:
            self._closing = True
            self._drop(peer)
            return
        settings, words = self._settings, peer.talk.words
        assert words is not None
        if settings.max_clients and self._launches >= settings.max_clients:
            self._count_client(is_launch=True)
            self._refuse(peer, ENOUGH_CLIENTS)
            return
        if peer.talk.asks and (
            len(self._peers.asking) >= _peers.MAX_ASKING or _sockets.is_among_last(peer.sock)
        ):
            self._refuse(peer, TOO_MANY_WAIT)
            return
        reply = Reply(settings, self) if peer.talk.asks else None
        entry = Entry(words, reply, peer.talk.decode)
        wanted = settings.notify_empty or peer.talk.has_arguments
        if wanted and not self._delivery.take_in(entry):
            self._drop(peer)  # there is no room: it asks again
            return
        try:
            self._count_client(is_launch=True)  # the port is freed before the last launch is answered
            self._acknowledge(peer)
        except BaseException:
            self._disown(entry, wanted)
            raise
        entry.acknowledged = True
        if self._hand_out_by == _NEVER:
            self._hand_out_by = time.monotonic() + _HEAD_START
        if reply is not None:
            self._await_answer(peer, reply, wanted)
        else:
            self._leave(peer)

    def _disown(self, entry: Entry, wanted: bool) -> None:
        """Undo what was done for a launch that could not be acknowledged."""
        if self.holds_port:  # else this launch reached the threshold, and its count is why the port is free
            self.clients -= 1
            self._launches -= 1
        if wanted:
            self._delivery.inbox.withdraw(entry)

    def _acknowledge(self, peer: Peer) -> None:
        """Tell a peer that its launch is owned, if possible in one segment with the end of the stream."""
        points.reach("answer")
        more = _sockets.MORE if peer.hung_up else 0
        try:
            peer.sock.send(ACK, more | NO_SIGNAL)
        except ConnectionError:
            # The peer has gone. A launch with a name waits for this byte, and if it is still
            # alive, it says that it was not taken. Any other peer may be a tool that sends
            # something and leaves, and does not ask again.
            if peer.talk.proved:
                raise
        # Before the launch can be handed out: a reset may lose the byte, and then the launch would ask again.
        self._ends_in_order(peer)

    def _refuse(self, peer: Peer, reason: bytes) -> None:
        """Tell a peer that its launch is refused."""
        points.reach("answer")
        if reason == OTHER_SECRET:
            self._count_client(is_launch=False)
            self._delivery.say(f"Client verification failed on port {self._port}, ignoring connection")
        try:
            peer.sock.send(NAK + reason, NO_SIGNAL)
        except OSError:
            self._drop(peer)
            return
        self._ends_in_order(peer)
        self._leave(peer)

    def _leave(self, peer: Peer, seconds: float = _NEVER) -> None:
        """Let a peer that has been answered end the connection, within `LEAVE_TIME` and ``seconds``.

        What it still sends is read and thrown away: closing with unread bytes would be a reset, and
        its launch would ask again.
        """
        if peer.hung_up:
            self._end(peer)
            return
        if peer.reply is not None:
            peer.reply.end()
            peer.reply = None
        self._peers.move(peer, "leave")
        peer.deadline = time.monotonic() + min(seconds, _peers.LEAVE_TIME)
        peer.talk = _NO_TALK
        try:
            self._watch(peer, selectors.EVENT_READ)
        except (OSError, MemoryError):
            self._end(peer)

    def _hang_up(self, peer: Peer) -> None:
        """End the connection of a launch that waits for just that, because there is no answer."""
        if _sockets.has_all(peer.sock):
            self._end(peer)
        else:
            self._leave(peer, _HURRY_TIME)  # by then it has everything, and waits for the end

    def _ends_in_order(self, peer: Peer) -> None:
        """Make this connection end in order from now on, because its launch is dealt with."""
        try:
            _sockets.close_ends(peer.sock)
        except OSError:
            pass

    def _end(self, peer: Peer) -> None:
        """End a connection in order."""
        self._forget(peer)
        # Not left to `close`, which would be a reset if bytes are unread, and does
        # nothing while a forked child has the connection too.
        try:
            if peer.hung_up:
                peer.sock.shutdown(sockets.SHUT_WR)
            else:
                _sockets.end_first(peer.sock)
        except OSError:
            pass  # the peer did not wait for an answer
        peer.close()

    def _drop(self, peer: Peer) -> None:
        """Reset a connection, because its launch is not owned."""
        if peer.state != _peers.GONE:
            self._unwatch(peer)
            try:
                # While it is still known: a child that is forked just now closes its copy too, or there would
                # be no reset until the child ends.
                peer.close()
            finally:
                self._forget(peer)

    def _drop_for_room(self, peer: Peer | None) -> bool:
        """End the connection of ``peer`` to make room; return False if it is None."""
        if peer is not None:
            if peer.state == _peers.LEAVING:
                self._end(peer)
            else:
                self._drop(peer)
        return peer is not None

    def _forget(self, peer: Peer) -> None:
        self._peers.move(peer, "end")
        self._unwatch(peer)
        if peer.reply is not None:
            peer.reply.end()

    def _watch(self, peer: Peer, events: int) -> None:
        if peer.watched == events:
            return
        change = self._selector.modify if peer.watched else self._selector.register
        peer.watched = 0  # if that fails, the selector has forgotten it
        try:
            change(peer.sock, events, peer)
        except KeyError:
            # The application has closed the descriptor of another connection, whose number this one has got.
            lost = self._selector.get_key(peer.sock).data
            if lost is not None:
                self._drop(lost)
            self._selector.register(peer.sock, events, peer)
        peer.watched = events

    def _unwatch(self, peer: Peer) -> None:
        if peer.watched:
            peer.watched = 0
            self._selector.unregister(peer.sock)

    def _count_client(self, is_launch: bool) -> None:
        self.clients += 1
        if is_launch:
            self._launches += 1
            threshold = self._settings.release_threshold
            if threshold and self._launches >= threshold:
                self._free_port()

    def _say_undecodable(self, why: str) -> None:
        self._delivery.say(f"Failed to decode data from client on port {self._port} ({why})")

    def _hand_out(self) -> None:
        if self._hand_out_by != _NEVER:
            self._hand_out_by = _NEVER
            points.reach("hand out")
            self._delivery.hand_out()

    # -- the I/O thread: launches that wait for an answer --

    def _await_answer(self, peer: Peer, reply: Reply, wanted: bool) -> None:
        """Keep the connection of a launch that waits for an observer's answer."""
        peer.reply, reply.peer = reply, peer
        keep_alive(peer.sock)
        limit_buffer(peer.sock, sockets.SO_SNDBUF)
        _sockets.send_at_once(peer.sock)
        self._peers.move(peer, "ask")
        self._watch(peer, selectors.EVENT_READ)  # on failure it is dropped, and reports a lost answer
        if not wanted:
            reply.answer(None)

    def _send_news(self) -> None:
        """Begin to send what is new for waiting launches."""
        if not self._news:
            return
        for _ in range(len(self._news)):  # what is added meanwhile is for the next turn
            reply = self._news.popleft()
            peer = reply.peer
            if peer is not None and peer.state == _peers.ASKING:
                if reply.is_cut:
                    reply.cut()
                self._push(peer, reply)
                if reply.stalls and peer.state == _peers.ASKING:
                    reply.cut()
                    self._push(peer, reply)
        while self.unsent() > replies.MAX_UNSENT_IN_ALL and self._cut_slowest():
            pass

    def _tend(self, peer: Peer, mask: int) -> None:
        """Continue sending, or notice the end of a waiting launch."""
        assert peer.reply is not None
        if mask & selectors.EVENT_READ:
            # It has nothing more to send, so whatever this is, it is the end.
            self._drop(peer)
        else:
            self._push(peer, peer.reply)

    def _push(self, peer: Peer, reply: Reply) -> None:
        """Send as much as the launch takes, and end the connection after the answer."""
        try:
            for _ in range(_SENDS):
                if not peer.outgoing:
                    reply.make_room()
                    if not peer.ends:
                        data, peer.ends = reply.take()
                        peer.outgoing = memoryview(data)
                    if not peer.outgoing:
                        break
                sent = peer.sock.send(peer.outgoing, NO_SIGNAL)
                peer.outgoing = peer.outgoing[sent:]
                reply.count_sent(sent)
            else:
                peer.deadline = time.monotonic() + _TAKE_TIME
                self._news.append(reply)  # it is the turn of others now
                return
            if peer.ends and reply.was_silent:
                self._hang_up(peer)
            elif peer.ends:
                self._leave(peer)
            else:
                self._watch(peer, selectors.EVENT_READ)
        except BlockingIOError:
            self._wait_until_it_reads(peer)
        except (OSError, MemoryError):
            self._drop(peer)

    def _wait_until_it_reads(self, peer: Peer) -> None:
        peer.deadline = time.monotonic() + _TAKE_TIME
        try:
            self._watch(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
        except (OSError, MemoryError):
            self._drop(peer)

    def _cut_slowest(self) -> bool:
        """Cut off the launch that has gone longest without reading; return False if nothing is unsent."""
        waiting = [peer for peer in self._peers.asking if not peer.ends and peer.reply and peer.reply.unsent]
        if waiting:
            slowest = min(waiting, key=lambda peer: peer.reply.progress if peer.reply else 0.0)
            assert slowest.reply is not None
            slowest.reply.cut()
            self._push(slowest, slowest.reply)
        return bool(waiting)

    # -- the I/O thread: its end --

    def _free_port(self) -> None:
        """Give up the port; from then on no launch is owned, except for one that is just being owned."""
        self._closing = True
        if self.state in _HOLDING:
            if self.state == SERVING:
                self._unregister(self.listener)  # a forked child may have it open too
            _sockets.close_own(self.listener, self._listener_mark)
            self._move("free the port")
            self.given_up.open()

    def _give_up(self) -> None:
        """Free the port, then reset the peers whose launches are not owned: they will claim it themselves."""
        self._free_port()
        self._hand_out()
        self._stopped.open()
        for peer in list(self._peers.reading):
            self._drop(peer)

    def _drain(self) -> None:
        """Serve the launches that may still be answered, until the last of them has gone."""
        while True:
            if self._released:
                self._let_go()
            self._end_overdue(time.monotonic())
            waits = self._delivery.retry_at != _NEVER and not self._released
            if not (self._peers.asking or self._peers.leaving or waits):
                return
            sending = [peer.deadline for peer in self._peers.asking if peer.outgoing and self._released]
            due = min(self._drain_until, self._delivery.retry_at, self._peers.next_deadline(), *sending)
            if not self._settled.is_open:
                due = min(due, self._hurry_until)
            for key, mask in self._select(0.0 if self._news else _until(due)):
                if key.fileobj is self._wakened:
                    self._drain_wakened()
                elif key.data.state == _peers.ASKING:
                    self._tend(key.data, mask)
                elif key.data.state == _peers.LEAVING:
                    self._read(key.data)
            self._send_news()

    def _end_overdue(self, now: float) -> None:
        """End connections that are overdue; try again to start the observer thread if that is due."""
        for peer in list(self._peers.asking):
            if self._deaf or now >= self._drain_until:
                self._end(peer)
            elif self._released and peer.outgoing and now >= peer.deadline:
                _sockets.abandon(peer.sock)
                self._drop(peer)
        for peer in self._peers.too_late(now):
            self._end(peer)
        if now >= self._delivery.retry_at:
            self._delivery.retry()

    def _let_go(self) -> None:
        """End the connections of launches that have no answer yet, and whose observer is not running.

        Some of these may still have to be sent output, so this is called until the last one has gone.
        """
        if self._hurry_until == _NEVER:
            now = time.monotonic()
            self._hurry_until, self._drain_until = now + _HURRY_TIME, now + _sockets.KEEPS_PORT_TIME
            for peer in self._peers.asking:
                peer.deadline = now + _TAKE_TIME
        for peer in list(self._peers.asking):
            assert peer.reply is not None
            peer.reply.released = True  # before its state is read: see `Reply.answer`
            if not (peer.reply.may_be_answered or peer.outgoing or peer.ends):
                self._hang_up(peer)
        if self._settled.is_open:
            return
        if time.monotonic() >= self._hurry_until:
            for peer in list(self._peers.leaving):
                self._end(peer)
        if not self._peers.leaving:
            self._settled.open()

    def _unregister(self, sock: sockets.socket) -> None:
        """Unregister ``sock``, which may never have been registered, if `start` was interrupted."""
        known = self._selector.get_map() if self._selector is not None and not self._is_lost() else None
        if known and sock.fileno() >= 0 and sock in known:  # asking for a closed one raises
            self._selector.unregister(sock)

    def _fail(self) -> None:
        """Stop serving after an unexpected error, but keep the port, if this host still has it.

        A host that was already closing frees the port all the same. Further errors do not keep
        this thread from ending, because somebody waits for that.
        """
        self._hand_out_by = 0.0
        _try_each(self._hand_out, *(peer.close for peer in self._peers))
        _try_each(*(peer.reply.end for peer in self._peers if peer.reply is not None))
        if self._closing or not self.holds_port:
            _try_each(self._free_port)
        self._end_thread()

    def _end_thread(self) -> None:
        """Close everything that is left, and wake whoever waits for that."""
        if self._is_lost():  # pragma: no cover (its data is lost too)
            _lost_selectors.append(self._selector)
        elif self._selector is not None:
            _try_each(self._selector.close)
        if self._wakened is not None:
            if not _sockets.is_lost(self._wakened, self._wakened_mark):
                # A forked child may have it open too.
                _try_each(lambda: self._wakened.shutdown(sockets.SHUT_RDWR))
            _try_each(lambda: _sockets.close_own(self._wakened, self._wakened_mark))
        if self.holds_port:
            self._move("fail")
        elif self.state != SHUT:  # which it is if nothing could wake this thread
            forks.forget_forks(self)
            self._move("end")
        for latch in (self._ended, self._settled, self._stopped):
            latch.open()
        self._close_waker()

    def _move(self, event: str) -> None:
        self.state = NEXT[self.state][event]


def _until(due: float) -> float | None:
    """Return the seconds until ``due``, as a selector expects them; None if that is never."""
    return None if due == _NEVER else min(max(due - time.monotonic(), 0.0), _LONGEST_WAIT)
