"""The host's side of the port: one thread, one selector, and nothing of the caller's code.

A connection ends in order only if its launch is owned or refused, or if it brought
none. Each other end is a reset, also the one that the system makes when this process
is killed. So only a reset means: ask again.

=========  ============================================  ==========================
a host     and then                                      is
=========  ============================================  ==========================
(none)     `start`                                       serving
serving    no descriptor, no memory for one more peer    pausing, for `_PAUSE`
pausing    the pause is over                             serving
serving,   `close`, the timeout, the threshold           closing: the port is free at
pausing                                                  once, or as soon as it wakes
closing    all connections are ended, or left alone;     shut
           or an unexpected error
serving,   an unexpected error                           failed: nobody is served, and
pausing                                                  the port is held until `close`
failed     `close`                                       shut
=========  ============================================  ==========================
"""

from __future__ import annotations

import selectors
import threading
import time
from collections import deque

from . import _peers, _platform
from ._answers import Reply
from ._delivery import Delivery
from ._inbox import Launch
from ._peers import Peer, Peers
from ._platform import sockets
from ._settings import Settings
from ._wire import (
    ACK,
    ENOUGH_CLIENTS,
    MAX_PACKET,
    NAK,
    OTHER_SECRET,
    TOO_MANY_WAIT,
    Foreign,
    Packet,
    PacketTooLong,
    Refused,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


SERVING = "serving"
PAUSING = "pausing"
CLOSING = "closing"
FAILED = "failed"
SHUT = "shut"

# Bytes read at a time, and reads of one peer in a turn: most packets, and their end. What all
# peers can have said before they wait for one another does not fill `MAX_BUFFERED`: 48 KiB each.
_READ_SIZE = _peers.SHORT
_READS = 2

# Reads in a turn of the one whose turn it is, of all that have said more than `SHORT` already.
_READS_OF_LONG = 16

# Connections taken from the backlog in a turn, while there are peers: so a launch is
# soon past many that come to nothing. If as many come after one with a long packet, 4 MiB
# of it are read before they make it the oldest.
_ACCEPTS = 16

# Seconds without accepting when the system has no descriptor, or no memory, for
# one more peer. The launches wait in the backlog; they have 2 s.
_PAUSE = 0.05

# Seconds that the observer thread is left asleep while this one has more to do.
# Awake it would fight this one for the interpreter, and a burst of launches would
# take half as long again.
_HEAD_START = 0.002

# Seconds for answers that are there already to be sent when the host closes.
_LAST_WORDS_TIME = 0.2

# Seconds to send an answer after the host has ended: its launch waits for nothing else.
_ALONE_TIME = 2.0

# On the monotonic clock.
_NEVER = float("inf")

# Seconds, the longest that a selector is asked to wait: epoll overflows at 24 days.
_LONGEST_WAIT = 24 * 60 * 60.0

# Seconds for the I/O thread to shut everything once it was told to. It does bounded
# work between two looks, so this is not reached; it is there so that no wait is endless.
_CLOSE_TIME = 10.0

# Seconds that `close` waits for the thread itself, once all is shut: so who counts the threads
# after a release does not find it. What is left of it is Python's own, and nobody needs its end.
_THREAD_END_TIME = 0.5

# Seconds between two tries to wake the I/O thread, where the system has no memory for a byte.
_WAKE_PAUSES = (0.0, 0.01, 0.1)


class Latch:
    """What can be waited for, and comes once.

    Not an Event: a signal handler that calls `close` may have interrupted an
    Event's own wait, with a lock that the I/O thread then needs to set it. Here
    the one step of the thread that opens is the release of a lock.
    """

    def __init__(self) -> None:
        self.is_open = False  # written by who opens, and never unset
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Let all through who wait, and who will. Called by one thread at a time."""
        if not self.is_open:
            self.is_open = True
            self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait until it is open; False if that took longer than ``timeout`` seconds. -1: for ever."""
        if not self.is_open and self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            self._lock.release()  # for the next one
        return self.is_open


class Host(_platform.ForkAware):
    """Holds the port, and takes whole packets from whoever connects, until it is closed.

    Fields belong to the I/O thread once `start` has returned, but for those with a
    comment. What other threads write is one attribute each, read as a whole
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
        """Make a host of ``listener``, which is its own from then on.

        Args:
            timeout: seconds after which it closes by itself; until then the program
                cannot end. 0: never, and the program does not wait for it.
            new_talk: makes the host's side of a new connection.
        """
        self.listener = listener
        self._settings = settings
        self._delivery = delivery
        self._new_talk = new_talk
        self._end = time.monotonic() + timeout if timeout else _NEVER
        self._resume = _NEVER  # when to accept again, while it pauses
        # When to hand out the launches that were told that they are owned, at the latest.
        self._hand_out_by = _NEVER
        self._peers = Peers()
        # Read by any thread. After `start` the I/O thread writes it; once that has ended, `close`.
        self.state = SERVING
        # Read by any thread: whole packets, and wrong secrets; and the first alone.
        self.clients = 0
        self._launches = 0
        # Set by any thread, and never unset.
        self._closing = False
        # Set by `close`, before `_closing`: that nobody waits any more, and the reply whose connection
        # outlives that.
        self._told_to_close = False
        self._spared: Reply | None = None
        # Answers on their way: appended by whoever has one, taken by the I/O thread; one step each.
        self._answers: deque[tuple[Peer, bytes | None]] = deque()
        # Taken for good by the I/O thread as it begins; or by who closes before it has: then a
        # thread that comes to begin all the same has nothing to do.
        self._begun = threading.Lock()
        # Opened by the I/O thread when it has ended all; and when the port is free.
        self._ended = Latch()
        self.given_up = Latch()
        # Guards `_waker`, which several use and one closes, and the `join`: PyPy's cannot be called
        # by two threads at once. The I/O thread never waits for it, so it can be held while that
        # one ends. Reentrant, for signal handlers.
        self._lock = threading.RLock()
        self._port = listener.getsockname()[1]
        self._forked = False  # set once, in a forked child; read by its threads
        # Made by `start`, when somebody can close this: a signal handler may raise at any step, a
        # selector and a thread are held in circles, and would be there until a garbage collector comes.
        self._selector: Any = None
        self._waker: Any = None
        self._wakened: Any = None
        self._thread: threading.Thread | None = None
        self._is_daemon = not timeout

    def start(self) -> None:
        """Begin to serve. If this raises, `close` is called for."""
        self._make_selector()
        # A byte for "look", the end of the stream for "close": that needs no memory.
        self._waker, self._wakened = _platform.socket_pair()
        self.listener.setblocking(False)
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._delivery.inbox.on_room = self.wake
        _platform.follow_forks(self)
        name = "Socket_Singleton I/O"
        self._thread = threading.Thread(target=self._run, name=name, daemon=self._is_daemon)
        _platform.start_thread(self._thread)

    def _make_selector(self) -> None:
        """Make the selector, above 2 as all sockets are."""
        kind, low = selectors.DefaultSelector, []
        try:
            while True:
                # Known from its first moment on; so it can be closed, if it is made only in part.
                self._selector = kind.__new__(kind)
                self._selector.__init__()
                if not _platform.is_stdio(self._selector):
                    return
                low.append(self._selector)  # taken meanwhile
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
        """Whether the port is this host's, still."""
        return self.state in (SERVING, PAUSING, FAILED)

    def close(self, spared: Reply | None = None, leave_askers: bool = False) -> None:
        """Free the port and end the I/O thread; done when it returns.

        Any thread, any number of times, at the same time too.

        Args:
            spared: what answers the launch whose observer calls this, if it asked:
                its connection is kept for the answer.
            leave_askers: so are all others that wait for one, until the next call.

        Raises:
            RuntimeError: the I/O thread did not end in time.
        """
        if self._forked:
            # The port, the selector and the thread are the parent's: a child
            # gives up its copy of the listener and touches nothing else.
            self.listener.close()
            self.state = SHUT
            self.given_up.open()
            return
        if spared is not None:  # never unset, so that another call at the same time does not undo it
            self._spared = spared
        self._told_to_close = not leave_askers
        self._closing = True
        if threading.current_thread() is self._thread:
            # In a finalizer, which may run anywhere, also just before the wait.
            self._wake_to_close()
            return
        with self._lock:
            if self._begun.acquire(blocking=False):
                self._shut()  # the thread has not begun, and now it never will
            else:
                self._wake_to_close()
                if not self._ended.wait(_CLOSE_TIME):
                    raise RuntimeError("the I/O thread of Socket_Singleton did not end")
            if self.state == FAILED:
                _platform.forget_forks(self)
                self._free_port()
                self.state = SHUT
            self._end_those_alone()
            if self._waker is not None:
                self._waker.close()
            if self._thread is not None and self._thread.is_alive():
                self._thread.join(_THREAD_END_TIME)

    def _end_those_alone(self) -> None:
        for peer in self._peers.alone.copy():
            is_over = self._told_to_close and peer.reply is not self._spared
            if is_over and self._peers.take_alone(peer):
                peer.sock.close()

    def wake(self) -> None:
        """Have the I/O thread look for what is new: an answer, or room in the inbox."""
        if threading.current_thread() is self._thread:
            return  # it looks by itself, before it sleeps
        with self._lock:
            for pause in _WAKE_PAUSES:
                if pause:
                    time.sleep(pause)
                try:
                    self._waker.send(b"\0")
                    return
                except BlockingIOError:
                    return  # it has enough bytes to wake up by
                except OSError:
                    if self._ended.is_open:
                        return

    def _wake_to_close(self) -> None:
        try:
            self._waker.shutdown(sockets.SHUT_WR)
        except OSError:
            self.wake()  # it has ended, or that is another way

    def send(self, peer: Peer, answer: bytes | None) -> None:
        """Have ``answer`` sent to a peer that asks, which ends its connection; None: have that end."""
        self._answers.append((peer, answer))
        if self._ended.is_open:
            self._answer_alone()
        else:
            self.wake()

    def _answer_alone(self) -> None:
        """Send what came after the I/O thread has ended, or just before: in the thread that has it."""
        while True:
            try:
                peer, answer = self._answers.popleft()
            except IndexError:
                return
            if not self._peers.take_alone(peer):
                continue
            try:
                peer.sock.settimeout(_ALONE_TIME)
                peer.sock.sendall(answer or b"")
            except OSError:
                pass  # it has gone
            finally:
                peer.sock.close()

    def forked(self) -> None:
        # The parent's threads are not here, but a lock may be as one held it.
        self._lock = threading.RLock()
        self._forked = True
        self._delivery.forked()
        # A child may outlive the host: nobody may wait for an answer whose connection it holds
        # open. To close a copy ends nothing.
        for peer in self._peers:
            peer.sock.close()

    def in_worker(self) -> None:
        # A multiprocessing worker must not keep the port, either.
        self.state = SHUT
        self.listener.close()
        self.given_up.open()  # what waits here would wait for ever

    # -- the I/O thread: its turns --

    def _run(self) -> None:
        """Serve until it is told to close; hold on to the port if that fails."""
        if not self._begun.acquire(blocking=False):
            return
        try:
            while not self._closing:
                self._serve(self._next_events())
                self._send_answers()
                self._retry_held()
                self._mind_the_clock()
            self._shut()
        except BaseException:
            self._fail()
            raise  # to threading.excepthook

    def _next_events(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events. Before this thread sleeps, hand out the launches that it has answered.

        While events keep coming that is put off, for `_HEAD_START` at most.
        """
        events = self._selector.select(0) if self._hand_out_by != _NEVER else []
        if events and time.monotonic() < self._hand_out_by:
            return events
        wait = self._wait()
        # The last step before this thread sleeps: the other one needs the interpreter.
        self._hand_out()
        # Looked at last: what is answered on this thread itself, by a finalizer, wakes nobody.
        return events or self._selector.select(0.0 if self._answers else wait)

    def _wait(self) -> float | None:
        """Return the seconds until something is due; None when only an event can be."""
        due = min(self._end, self._resume, self._peers.next_deadline())
        return None if due == _NEVER else min(max(due - time.monotonic(), 0.0), _LONGEST_WAIT)

    def _serve(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take one turn: accept, read all that have said little, and one of those that have said much."""
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
                self._tend_asking(key.data, mask)
            elif key.data.state != _peers.GONE:  # pragma: no branch (that is a matter of timing)
                key.data.spoke = self._peers.turn
                if key.data.said < _peers.SHORT:
                    self._read(key.data)
                else:
                    long.append(key.data)
        long = [peer for peer in long if peer.state != _peers.GONE]
        if long and not self._closing:
            self._read(self._peers.next_long(long), _READS_OF_LONG)

    def _mind_the_clock(self) -> None:
        now = time.monotonic()
        if now >= self._end:
            self._closing = True
        if now >= self._resume and not self._closing:
            self._go_on_accepting(now)
        for peer in self._peers.too_late(now):
            if self._closing:
                return
            if peer.state == _peers.HELD:
                self._drop(peer)
            # What has come and was not read yet counts: this process may have been stopped.
            # It may also be too much, and then another peer is gone.
            elif peer.state != _peers.GONE and self._read(peer):
                try:
                    self._finish(peer, hung_up=False)
                except (OSError, MemoryError):
                    self._drop(peer)

    def _drain_wakened(self) -> None:
        """Take what woke this thread, so that it does not do so again; its end says to close."""
        try:
            while self._wakened.recv(_READ_SIZE):
                pass
            self._closing = True
        except BlockingIOError:
            pass

    # -- the I/O thread: who comes, and what they say --

    def _accept(self) -> None:
        """Take who waits in the backlog: one while there are no peers, since a turn is short then."""
        for taken in range(_ACCEPTS):
            try:
                sock = _platform.accept(self.listener)
            except (BlockingIOError, ConnectionError):
                return  # no more, or it hung up while it waited (so BSD and Windows)
            except (OSError, MemoryError):
                # No descriptor, no memory. An incomplete peer makes room for the
                # next try; where there is none, only time can help. If this was
                # not the first, perhaps nobody waits.
                if not taken and not self._drop_for_room(self._peers.oldest()):
                    self._pause_accepting()
                return
            self._admit(sock)
            if self._closing or not self._peers.reading:
                return

    def _pause_accepting(self) -> None:
        self._selector.unregister(self.listener)
        self.state = PAUSING
        self._resume = time.monotonic() + _PAUSE

    def _go_on_accepting(self, now: float) -> None:
        try:
            self._selector.register(self.listener, selectors.EVENT_READ)
        except (OSError, MemoryError):
            self._resume = now + _PAUSE
        else:
            self.state, self._resume = SERVING, _NEVER

    def _admit(self, sock: sockets.socket) -> None:
        peer: Peer | None = None
        try:
            sock.setblocking(False)
            if not _platform.ACCEPTED_RESETS:  # pragma: no cover (it is so on Linux)
                _platform.close_resets(sock)
            peer = Peer(sock, self._new_talk(sock), time.monotonic() + _peers.PEER_TIME)
            peer.spoke = self._peers.turn
            self._peers.add(peer)
            # Most launches are here whole by now, and are never watched.
            self._read(peer)
            if peer.state in (_peers.READING, _peers.REFUSED):
                self._watch(peer, selectors.EVENT_READ)
        except (OSError, MemoryError):  # pragma: no cover (macOS: it was reset already; Linux: no memory)
            if peer is None or peer.state == _peers.GONE:
                sock.close()
            else:
                self._drop(peer)
        self._drop_for_room(self._peers.surplus())

    def _read(self, peer: Peer, reads: int = _READS) -> bool:
        """Take what has come from a peer; return whether that was all, and it is still reading."""
        try:
            for _ in range(reads):
                data = peer.sock.recv(_READ_SIZE)
                if not data:
                    self._finish(peer, hung_up=True)
                    break
                self._take(peer, data)
                if peer.state not in (_peers.READING, _peers.REFUSED):
                    break
        except BlockingIOError:
            return True
        except (OSError, MemoryError):
            self._drop(peer)
        return False

    def _take(self, peer: Peer, data: bytes) -> None:
        """Have what a peer says be judged."""
        self._peers.count_said(peer, len(data))
        if peer.state == _peers.REFUSED:
            if peer.discarded > MAX_PACKET:
                self._drop(peer)
            return
        try:
            say = peer.talk.feed(data)
        except Refused as refusal:
            self._refuse(peer, refusal.reason)
        except Foreign:
            self._drop(peer)
        except PacketTooLong:
            self._say_undecodable(f"more than {MAX_PACKET} bytes")
            self._drop(peer)
        else:
            if say:
                peer.sock.send(say)  # so little that it fits
            if peer.talk.words is not None:
                self._own(peer)
            else:
                self._drop_for_room(self._peers.excess())

    def _finish(self, peer: Peer, hung_up: bool) -> None:
        """Judge what a peer said that has ended its stream, or has used up its time."""
        if peer.state == _peers.READING:
            try:
                if peer.talk.end(hung_up):
                    self._own(peer)
                    return
            except Refused as refusal:
                self._refuse(peer, refusal.reason)
                hung_up = True
            if not hung_up and peer.talk.started:
                self._say_undecodable(f"incomplete after {_peers.PEER_TIME:g} seconds")
        if hung_up and peer.state != _peers.GONE:
            self._end_in_order(peer)  # it only asked whether somebody listens, or was refused
        elif peer.state != _peers.GONE:
            self._drop(peer)

    # -- the I/O thread: owning, answering --

    def _own(self, peer: Peer) -> None:
        """Own the launch that a peer has brought whole, and tell it so: both, or neither.

        Past the `ACK`, which the peer may have seen, the launch is owned whatever
        fails. What fails before it takes the launch back out of the inbox, and is raised:
        then the peer has to be reset. Only what is answered is handed out, later: see
        `_next_events`, and `Inbox.tell` for the reason.
        """
        if self._closing or time.monotonic() >= self._end:
            self._closing = True
            self._drop(peer)
            return
        settings, words = self._settings, peer.talk.words
        assert words is not None
        if settings.max_clients and self._launches >= settings.max_clients:
            self._count_client(is_launch=True)
            self._refuse(peer, ENOUGH_CLIENTS)
            return
        if peer.talk.asks and len(self._peers.asking) >= _peers.MAX_ASKING:
            self._refuse(peer, TOO_MANY_WAIT)
            return
        launch = Launch(words, self._new_reply(peer) if peer.talk.asks else None)
        wanted = bool(words) or settings.notify_empty
        if wanted and not self._take_in(peer, launch):
            return
        try:
            self._count_client(is_launch=True)  # the port is free before its last launch is answered
            self._acknowledge(peer)
        except BaseException:
            self._disown(launch, wanted)
            raise
        if self._hand_out_by == _NEVER:
            self._hand_out_by = time.monotonic() + _HEAD_START
        if peer.talk.asks:
            self._end_stream(peer.sock, shutdown=False)
            self._keep_asking(peer, launch, wanted)
        else:
            self._end_in_order(peer)

    def _disown(self, launch: Launch, wanted: bool) -> None:
        """Undo what was done for a launch whose peer could not be told."""
        if self.holds_port:  # else this launch reached the threshold: its count is why the port is free
            self.clients -= 1
            self._launches -= 1
        if wanted:
            self._delivery.inbox.withdraw(launch)

    def _new_reply(self, peer: Peer) -> Reply:
        return Reply(lambda answer: self.send(peer, answer), self._settings)

    def _take_in(self, peer: Peer, launch: Launch) -> bool:
        """Put a launch in the inbox; or have its peer wait for room there, behind those that do."""
        is_its_turn = not self._peers.held or peer.state == _peers.HELD
        if is_its_turn and self._delivery.take_in(launch):
            return True
        self._unwatch(peer)
        self._peers.hold(peer, time.monotonic() + _peers.HOLD_TIME)
        return False

    def _retry_held(self) -> None:
        """Own those that wait for room, as far as there is some."""
        while self._peers.held and not self._closing:
            peer = self._peers.held[0]
            try:
                self._own(peer)
            except (OSError, MemoryError):
                self._drop(peer)
            if peer.state == _peers.HELD:
                return

    def _acknowledge(self, peer: Peer) -> None:
        """Tell a peer that its launch is owned; the byte may go with the end of the stream, which is next."""
        more = 0 if peer.talk.asks else _platform.MORE
        try:
            peer.sock.send(ACK, more)
        except ConnectionError:
            # The peer has gone. A launch with a name waits for this answer: if it lives, it says
            # that it was not taken. Any other peer may be a tool that sends and goes, and asks no
            # second time.
            if peer.talk.proved:
                raise

    def _refuse(self, peer: Peer, reason: bytes) -> None:
        """Tell a peer that its launch is not taken. What it still sends is thrown away.

        To close with bytes unread would be a reset, and the launch would ask again.
        """
        if reason == OTHER_SECRET:
            self._count_client(is_launch=False)
            self._delivery.say(f"Client verification failed on port {self._port}, ignoring connection")
        try:
            peer.sock.send(NAK + reason)
        except OSError:
            self._drop(peer)
            return
        if peer.talk.words is not None:
            self._end_in_order(peer)
        else:
            self._end_stream(peer.sock)
            self._peers.refuse(peer)
            peer.talk = Packet()

    def _end_in_order(self, peer: Peer) -> None:
        """End a connection in order: what it carried is dealt with."""
        self._forget(peer)
        self._end_stream(peer.sock)
        peer.sock.close()

    def _end_stream(self, sock: sockets.socket, shutdown: bool = True) -> None:
        """From now on the end of ``sock`` is an orderly one; and it is now, for our side."""
        # Not left to `close`, which resets what is not read yet, and does nothing
        # while a forked child has the connection too.
        try:
            _platform.close_ends(sock)
        except OSError:
            pass
        try:
            if shutdown:
                sock.shutdown(sockets.SHUT_WR)
        except OSError:
            pass  # it did not wait for an answer

    def _drop(self, peer: Peer) -> None:
        """Reset a connection: what it carried is not owned."""
        if peer.state != _peers.GONE:
            self._forget(peer)
            peer.sock.close()

    def _drop_for_room(self, peer: Peer | None) -> bool:
        """Reset who has to go for want of room; return whether there was somebody."""
        if peer is not None:
            self._drop(peer)
        return peer is not None

    def _forget(self, peer: Peer) -> None:
        self._peers.remove(peer)
        self._unwatch(peer)

    def _watch(self, peer: Peer, events: int) -> None:
        if peer.watched:
            self._selector.modify(peer.sock, events, peer)
        else:
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
            self._delivery.hand_out()

    # -- the I/O thread: launches that ask --

    def _keep_asking(self, peer: Peer, launch: Launch, wanted: bool) -> None:
        """Keep the connection of a launch that waits for what an observer says."""
        peer.reply = launch.reply
        self._peers.begin_to_ask(peer)
        self._watch(peer, selectors.EVENT_READ)  # if that fails, it is dropped: told that nobody will answer
        if not wanted:
            peer.reply.answer(None)

    def _send_answers(self) -> None:
        """Begin to send the answers that have come."""
        while self._answers:
            peer, answer = self._answers.popleft()
            if peer.state == _peers.ASKING:
                peer.outgoing = memoryview(answer or b"")
                self._push(peer)

    def _tend_asking(self, peer: Peer, mask: int) -> None:
        """Go on sending an answer; notice the end of a launch that waits for one."""
        if mask & selectors.EVENT_READ:
            # It has nothing to say any more, so whatever this is, it is the end.
            self._drop(peer)
        else:
            self._push(peer)

    def _push(self, peer: Peer) -> None:
        """Send what goes of an answer, and end the connection behind it."""
        try:
            while peer.outgoing:
                peer.outgoing = peer.outgoing[peer.sock.send(peer.outgoing) :]
            self._end_in_order(peer)
        except BlockingIOError:
            self._watch(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
        except (OSError, MemoryError):
            self._drop(peer)

    def _say_last_words(self) -> None:
        """Send the answers that are there already; nobody else is left to be served."""
        until = time.monotonic() + _LAST_WORDS_TIME
        self._send_answers()
        while any(peer.outgoing for peer in self._peers.asking):
            left = until - time.monotonic()
            if left <= 0:
                return
            for key, mask in self._selector.select(left):
                self._tend_asking(key.data, mask)

    # -- the I/O thread: its end --

    def _free_port(self) -> None:
        """Have the port be anybody's; no launch is owned from then on, but one that is being owned."""
        self._closing = True
        if self.holds_port:
            if self.state == SERVING:
                self._unregister(self.listener)  # a forked child may have it open, too
            self.listener.close()
            self.state = CLOSING
            self.given_up.open()

    def _shut(self) -> None:
        """Free the port, then reset who is not owned: their launches claim it themselves."""
        _platform.forget_forks(self)
        self._free_port()
        self._hand_out()
        for peer in (*self._peers.reading, *self._peers.held):
            self._drop(peer)
        self._unregister(self._wakened)  # its end would be news for ever
        self._say_last_words()
        for peer in list(self._peers.asking):
            if self._told_to_close and peer.reply is not self._spared:
                self._end_in_order(peer)
            else:  # its answer will find it, without this thread
                self._unwatch(peer)
                self._peers.leave_alone(peer)
        self._end_thread(SHUT)

    def _unregister(self, sock: sockets.socket) -> None:
        """Have the selector forget ``sock``; it may never have known it, if `start` was interrupted."""
        known = self._selector.get_map() if self._selector is not None else None
        if known and sock.fileno() >= 0 and sock in known:  # to ask for a closed one raises
            self._selector.unregister(sock)

    def _fail(self) -> None:
        """Serve nobody any more, after an error that nobody expected, but hold the port, if it is held.

        A host that was closing already frees it all the same.
        """
        self._hand_out_by = 0.0
        self._hand_out()
        for peer in self._peers:
            peer.sock.close()
        if self._closing:
            self._free_port()
        if self.holds_port:
            self._end_thread(FAILED)
        else:
            _platform.forget_forks(self)
            self._end_thread(SHUT)

    def _end_thread(self, state: str) -> None:
        if self._selector is not None:
            self._selector.close()
        if self._wakened is not None:
            try:
                self._wakened.shutdown(sockets.SHUT_RDWR)  # a forked child may have it open, too
            except OSError:  # pragma: no cover (macOS, as it tells of a peer that has ended)
                pass
            self._wakened.close()
        self.state = state
        self._ended.open()
        self._answer_alone()  # what came before that was open, and found this thread at its end
        if self._lock.acquire(blocking=False):
            if state == SHUT and self._waker is not None:
                self._waker.close()  # else `close` is under way, and does it
            self._lock.release()
