"""The host's side of the port: one thread, one selector, and nothing of the caller's code.

A peer is whatever is at the other end of a connection, friend or not. Until its
packet is whole and owned, every end of its connection is a reset, also one that
the system makes because this process was killed: so a launch that sees anything
but a reset knows that it need not ask again.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time

from . import _platform
from ._wire import ACK, MAX_PACKET, Packet, PacketTooLong, WrongSecret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._delivery import Delivery
    from ._singleton import Socket_Singleton

# Seconds from accept that a peer has for its whole packet. A launch has 2 s; the
# rest is for tools that never hang up, whose packet counts at the deadline.
PEER_TIME = 5.0

# Peers at once; beyond it the oldest goes. The application needs descriptors
# too, and the usual limit for both together is 1,024.
MAX_PEERS = 256

# Bytes of all incomplete packets together; beyond it the largest goes. Two of
# the longest, so that one alone always fits.
MAX_BUFFERED = 2 * MAX_PACKET

# Bytes read at a time, and reads of one peer in a turn: most packets, and their end.
# What all peers can have said before they wait for one another does not fill
# `MAX_BUFFERED`: 48 KiB each.
_READ_SIZE = 16 * 1024
_READS_PER_TURN = 2

# Reads in a turn of one peer alone, of all that have said a read or more already.
_READS_OF_LARGE = 16

# Connections taken from the backlog in a turn, while there are peers. So a launch is
# soon past many that come to nothing; and if many come after it, 4 MiB of it are read
# before they make it the oldest.
_ACCEPTS_PER_TURN = 16

# Seconds without accepting when the system has no descriptor, or no memory, for
# one more peer. The launches wait in the backlog; they have 2 s.
_PAUSE = 0.05

# Seconds that the observer thread is left asleep while this one has more to do.
# Awake it would fight this one for the interpreter, and a burst of launches would
# take half as long again.
_HEAD_START = 0.002

# On the monotonic clock.
_NEVER = float("inf")

# Seconds, the longest that a selector is asked to wait: epoll overflows at 24 days.
_LONGEST_WAIT = 24 * 60 * 60.0

# Seconds for the I/O thread to shut everything once it was told to. It does bounded
# work between two looks, so this is not reached; it is there so that no wait is endless.
_CLOSE_TIME = 10.0

# Seconds for that thread to be gone, too. What is left of it then is Python's own
# part, and nobody needs its end; but who counts threads after a release finds none.
_GONE_TIME = 0.5


class _Peer:
    """One connection whose packet is not whole."""

    __slots__ = ("counted", "deadline", "ignored", "packet", "sock", "watched")

    def __init__(self, sock: socket.socket, deadline: float, secret: bytes | None) -> None:
        self.sock = sock
        self.deadline = deadline
        self.packet = Packet(secret)
        self.counted = 0  # bytes of the packet that are in the host's sum
        # Bytes thrown away since the peer was ignored; None while it is not.
        self.ignored: int | None = None
        self.watched = False  # by the selector

    def rank(self) -> tuple[bool, float]:
        """Return what is least for the one whose turn it is, of those that have said much.

        The oldest, so that they become whole one after the other: if all grew in step,
        they would be too much together before one is whole. Those that are ignored last.
        """
        return self.ignored is not None, self.deadline


class Host(_platform.ForkAware):
    """Holds the port, and takes whole packets from whoever connects, until it is closed.

    All fields are the I/O thread's alone once `start` has returned, but for
    those with a comment.
    """

    def __init__(self, listener: socket.socket, app: Socket_Singleton, delivery: Delivery) -> None:
        """Make a host of ``listener``, which is its own once `start` is called.

        It asks for the secret of ``app``, counts its clients, minds its
        thresholds, and closes by itself after its ``timeout``; until then the
        program cannot end.
        """
        self._listener = listener
        self._app = app
        self._delivery = delivery
        self._end = time.monotonic() + app.timeout if app.timeout else _NEVER
        self._resume = _NEVER  # when to accept again, while that is paused
        # In the order of accept, which is the order of their deadlines.
        self._peers: dict[socket.socket, _Peer] = {}
        self._buffered = 0  # bytes, of their packets
        # When to hand out the launches that were told that they are owned, at the latest.
        self._hand_out_by = _NEVER
        # Set by any thread, and never unset: one step.
        self._closing = False
        # Guards `_waker`, which `close` uses and then closes, and the `join`:
        # PyPy's cannot be called by two threads at once. The I/O thread never
        # waits for it, so it can be held while that one ends. Reentrant, for
        # signal handlers.
        self._lock = threading.RLock()
        self._forked = False  # set once, in a forked child; read by its threads
        self._selector = selectors.DefaultSelector()
        try:
            self._waker, self._wakened = socket.socketpair()
            self._waker.settimeout(_CLOSE_TIME)
        except BaseException:
            self._selector.close()
            raise
        self._thread = threading.Thread(target=self._run, name="Socket_Singleton I/O", daemon=not app.timeout)

    def start(self) -> None:
        """Begin to serve; if this raises, the host is closed."""
        try:
            self._listener.setblocking(False)
            self._selector.register(self._wakened, selectors.EVENT_READ)
            self._selector.register(self._listener, selectors.EVENT_READ)
            _platform.follow_forks(self)
            self._thread.start()
        except BaseException:
            self._shut()
            raise

    # -- any thread --

    def close(self) -> None:
        """Free the port and end the I/O thread; done when it returns.

        Any thread, any number of times, at the same time too.

        Raises:
            RuntimeError: the I/O thread did not end in time.
        """
        if self._forked:
            # The port, the selector and the thread are the parent's: a child
            # gives up its copy of the listener and touches nothing else.
            self._listener.close()
            return
        self._closing = True
        if threading.current_thread() is self._thread:
            # In a finalizer, which may run anywhere, also just before the wait.
            self._wake()
            return
        with self._lock:
            self._wake()
            if not self._is_shut():
                raise RuntimeError("the I/O thread of Socket_Singleton did not end")
            self._waker.close()
            self._thread.join(_GONE_TIME)

    def _is_shut(self) -> bool:
        """Wait until the I/O thread has shut everything; return whether it did in time."""
        # Not by `join`: a thread that ends takes a lock of Python's own, which a
        # signal handler may have interrupted, and then waits here for that thread.
        try:
            # The byte stays: if this is interrupted, the next call needs it as well.
            self._waker.recv(1, socket.MSG_PEEK)
        except socket.timeout:
            return False
        except OSError:
            pass  # it has, some time ago
        return True

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # the thread has ended

    def forked(self) -> None:
        # The parent's threads are not here, but a lock may be as one held it.
        self._lock = threading.RLock()
        self._forked = True
        self._delivery.forked()

    def in_worker(self) -> None:
        # A multiprocessing worker may outlive the host; it must not keep the
        # port, nor hold a peer's connection open that the host has closed.
        self._app._listening = False
        self._listener.close()
        for sock in self._peers:
            sock.close()

    # -- the I/O thread --

    def _run(self) -> None:
        try:
            while not self._closing:
                self._serve(self._next_events())
                self._mind_the_clock()
        finally:
            self._shut()

    def _serve(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take one turn: with who is new, with who has said little, and with one of those that said much."""
        large: list[_Peer] = []
        for key, _ in events:
            # An earlier event of this turn may have ended the host, or this peer.
            if self._closing:
                return
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj in self._peers:  # pragma: no branch (that is a matter of timing)
                if (key.data.ignored or key.data.counted) < _READ_SIZE:
                    self._read(key.data)
                else:
                    large.append(key.data)
        large = [peer for peer in large if peer.sock in self._peers]
        if large and not self._closing:
            self._read(min(large, key=_Peer.rank), _READS_OF_LARGE)

    def _next_events(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for what is next; have what was told delivered, unless there is more to do first."""
        events = self._selector.select(0) if self._hand_out_by != _NEVER else []
        if events and time.monotonic() < self._hand_out_by:
            return events
        wait = self._wait()
        # The last step before this thread sleeps: the other one needs the interpreter.
        self._hand_out()
        return events or self._selector.select(wait)

    def _wait(self) -> float | None:
        """Return the seconds until something is due; None when only an event can be."""
        oldest = next(iter(self._peers.values()), None)
        due = min(self._end, self._resume, oldest.deadline if oldest else _NEVER)
        return None if due == _NEVER else min(max(due - time.monotonic(), 0.0), _LONGEST_WAIT)

    def _mind_the_clock(self) -> None:
        now = time.monotonic()
        if now >= self._end:
            self._closing = True
        if now >= self._resume and not self._closing:
            self._resume = _NEVER
            try:
                self._selector.register(self._listener, selectors.EVENT_READ)
            except OSError:
                self._resume = now + _PAUSE
        for peer in list(self._peers.values()):
            if self._closing or peer.deadline > now:
                return
            # What has come and was not read yet counts: this process may have been stopped.
            # It may also be too much, and then another peer is gone.
            if peer.sock in self._peers and self._read(peer):
                self._finish(peer, hung_up=False)

    def _accept(self) -> None:
        """Take who waits in the backlog: one while there are no peers, since a turn is short then."""
        for taken in range(_ACCEPTS_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return  # no more, or it hung up while it waited (so BSD and Windows)
            except (OSError, MemoryError):
                # No descriptor, no memory. An incomplete peer makes room for the
                # next try; where there is none, only time can help. If this was
                # not the first, perhaps nobody waits.
                if not taken and not self._drop_oldest():
                    self._selector.unregister(self._listener)
                    self._resume = time.monotonic() + _PAUSE
                return
            self._admit(sock)
            if self._closing or not self._peers:
                return

    def _admit(self, sock: socket.socket) -> None:
        peer = _Peer(sock, time.monotonic() + PEER_TIME, self._app._secret)
        self._peers[sock] = peer
        try:
            sock.setblocking(False)
            _platform.close_resets(sock)  # Linux inherits it, others may not
            # Most launches are here whole by now, and are never watched.
            self._read(peer)
            if sock not in self._peers:
                return
            self._selector.register(sock, selectors.EVENT_READ, peer)
            peer.watched = True
        except (OSError, MemoryError):  # pragma: no cover (macOS: it was reset already; Linux: no memory)
            self._drop(peer)
        if len(self._peers) > MAX_PEERS:
            self._drop_oldest()

    def _read(self, peer: _Peer, reads: int = _READS_PER_TURN) -> bool:
        """Take what has come from a peer; return whether that was all, and it is still a peer."""
        try:
            for _ in range(reads):
                data = peer.sock.recv(_READ_SIZE)
                if not data:
                    self._finish(peer, hung_up=True)
                    break
                self._take(peer, data)
                if peer.sock not in self._peers:
                    break
        except BlockingIOError:
            return True
        except (OSError, MemoryError):
            self._drop(peer)
        return False

    def _take(self, peer: _Peer, data: bytes) -> None:
        if peer.ignored is not None:
            peer.ignored += len(data)
            if peer.ignored > MAX_PACKET:
                self._drop(peer)
            return
        try:
            peer.packet.feed(data)
        except WrongSecret:
            self._ignore(peer)
        except PacketTooLong:
            self._undecodable(f"more than {MAX_PACKET} bytes")
            self._drop(peer)
        else:
            peer.counted += len(data)
            self._buffered += len(data)
            if self._buffered > MAX_BUFFERED:
                self._drop(max(self._peers.values(), key=lambda peer: peer.counted))

    def _finish(self, peer: _Peer, hung_up: bool) -> None:
        """Judge what a peer sent that has ended its stream, or has used up its time."""
        try:
            payload = peer.packet.end(hung_up)
        except WrongSecret:
            self._ignore(peer)
            payload = None
        if payload is not None:
            self._own(peer, payload)
        elif hung_up:
            self._close(peer)  # it only asked whether somebody listens, or is ignored
        else:
            if peer.packet.started:
                self._undecodable(f"incomplete after {PEER_TIME:g} seconds")
            self._drop(peer)

    def _own(self, peer: _Peer, payload: bytearray) -> None:
        self._count_client()
        app = self._app
        if app.max_clients and app._clients > app.max_clients:
            self._close(peer)
        else:
            if payload or app.notify_empty:
                # In `arguments` first, so that whoever was told finds itself there.
                self._delivery.put(payload)
            self._close(peer, ACK)
            if self._hand_out_by == _NEVER:
                self._hand_out_by = time.monotonic() + _HEAD_START

    def _hand_out(self) -> None:
        if self._hand_out_by != _NEVER:
            self._hand_out_by = _NEVER
            self._delivery.hand_out()

    def _ignore(self, peer: _Peer) -> None:
        """Answer a wrong secret: an orderly end, and whatever still comes is thrown away.

        To close with bytes unread would be a reset, and the launch would ask again.
        """
        self._count_client()
        self._delivery.say(f"Client verification failed on port {self._app.port}, ignoring connection")
        peer.packet = Packet()
        peer.ignored = 0
        self._buffered -= peer.counted
        peer.counted = 0
        _answer(peer.sock)

    def _count_client(self) -> None:
        app = self._app
        app._clients += 1
        if app.release_threshold and app._clients >= app.release_threshold:
            self._free_port()

    def _undecodable(self, why: str) -> None:
        self._delivery.say(f"Failed to decode data from client on port {self._app.port} ({why})")

    def _close(self, peer: _Peer, answer: bytes = b"") -> None:
        """End a connection in order: what it carried is dealt with."""
        self._forget(peer)
        _answer(peer.sock, answer)
        peer.sock.close()

    def _drop(self, peer: _Peer) -> None:
        """Reset a connection: what it carried is not owned."""
        self._forget(peer)
        peer.sock.close()

    def _drop_oldest(self) -> bool:
        oldest = next(iter(self._peers.values()), None)
        if oldest is None:
            return False
        self._drop(oldest)
        return True

    def _forget(self, peer: _Peer) -> None:
        del self._peers[peer.sock]
        self._buffered -= peer.counted
        if peer.watched:
            self._selector.unregister(peer.sock)

    def _free_port(self) -> None:
        self._closing = True
        self._listener.close()
        self._app._listening = False

    def _shut(self) -> None:
        """Free the port, then reset who is not owned: their launches claim it themselves."""
        _platform.forget_forks(self)
        self._free_port()
        self._hand_out()
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._selector.close()
        self._wakened.send(b"\0")  # `close` may wait for it
        self._wakened.close()
        if self._lock.acquire(blocking=False):
            self._waker.close()  # else `close` is under way, and does it
            self._lock.release()


def _answer(sock: socket.socket, answer: bytes = b"") -> None:
    """End our side of the connection in order, with ``answer`` as the last thing that it carries."""
    # In this order: if we are killed halfway, it is a reset until the answer is on its
    # way. Not left to `close`, which resets what is not read yet, and does nothing
    # while a forked child has the connection too.
    try:
        if answer:
            sock.send(answer, _platform.MORE)
        _platform.close_ends(sock)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it did not wait for an answer, so it will not ask again
