"""The host's connections: what state each is in, whose turn it is, and who goes for want of room.

A peer is whatever is at the other end of a connection, friend or not.

=========  ========================================  =========================
a peer     and then                                  is
=========  ========================================  =========================
(none)     is accepted                               reading
reading    its packet is not taken                   refused: its answer is said,
                                                     what it still sends is thrown away
reading    its whole packet is not taken; or it      gone, in order
           ends its stream without a byte
refused    ends its stream                           gone, in order
reading    its packet is whole, the inbox is full    held, for `HOLD_TIME`
reading,   the host owns its launch                  gone, after the `ACK`; asking, if
held                                                 it waits for what an observer says
asking     has its answer, or has gone               gone
asking     its host ends by itself, or its own       alone: its answer is sent by
           observer ends it                          who has it, without the host
any        breaks a rule or a limit, or is too late  gone, by a reset
=========  ========================================  =========================
"""

from __future__ import annotations

from collections import deque

from ._platform import sockets
from ._wire import MAX_PACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Protocol

    class Talk(Protocol):
        """The host's side of one connection; `_wire.Packet` or `_proof.HostSide`."""

        asks: bool  # whether the launch waits for an answer
        proved: bool  # whether it has proved who it is
        words: bytearray | None

        @property
        def started(self) -> bool: ...
        def feed(self, data: bytes) -> bytes: ...
        def end(self, hung_up: bool = True) -> bool: ...


READING = "reading"
REFUSED = "refused"
HELD = "held"
ASKING = "asking"
ALONE = "alone"
GONE = "gone"

# Seconds from accept that a peer has for its whole packet. A launch has 2 s; the
# rest is for tools that never hang up, whose packet counts at the deadline.
PEER_TIME = 5.0

# Seconds that a whole packet waits for room in the inbox. That leaves its launch time to
# ask again, or to say that nobody took it.
HOLD_TIME = 1.0

# Peers at once, but for those that wait for an answer; beyond it the oldest goes. The
# application needs descriptors too, and the usual limit for both together is 1,024.
MAX_PEERS = 256

# Launches that wait for an answer at once; beyond it one is told so. They may wait for
# hours, so their descriptors are not to be had for anything else.
MAX_ASKING = 128

# Bytes of all packets that are not owned; beyond it the one goes that has been quiet for
# longest. Two of the longest, so that one alone always fits.
MAX_BUFFERED = 2 * MAX_PACKET

# Bytes that a peer may have said before it waits for others that have said more, too.
SHORT = 16 * 1024


_NOTHING = memoryview(b"")


class Peer:
    """One connection."""

    __slots__ = (
        "buffered",
        "deadline",
        "discarded",
        "number",
        "outgoing",
        "reply",
        "sock",
        "spoke",
        "state",
        "talk",
        "watched",
    )

    def __init__(self, sock: sockets.socket, talk: Talk, deadline: float) -> None:
        self.sock = sock
        self.talk = talk
        self.deadline = deadline
        self.state = READING
        self.number = 0  # of its arrival
        self.buffered = 0  # bytes of the packet that are in the sum of all
        self.discarded = 0  # bytes thrown away since it was refused
        self.spoke = 0  # the last turn in which it had something to say
        self.reply: Any = None  # what answers its launch, while it is asking
        self.outgoing = _NOTHING  # of an answer, what is not sent yet
        self.watched = 0  # the selector's events that it is watched for

    @property
    def said(self) -> int:
        """Bytes that it has said of its packet, or since it was refused."""
        return self.discarded if self.state == REFUSED else self.buffered


class Peers:
    """All peers of a host. The I/O thread's alone."""

    def __init__(self) -> None:
        # Whose packet is not whole, or who is refused; in the order of accept, which is that of
        # their deadlines.
        self.reading: dict[Peer, None] = {}
        self.held: deque[Peer] = deque()  # in the order in which their packets became whole
        self.asking: dict[Peer, None] = {}
        # Written by the I/O thread as it ends. Who takes one out, in one step, has its socket: an
        # answer on its thread, or `Host.close`. Any other look at it is at a copy.
        self.alone: dict[Peer, None] = {}
        self.turn = 0
        self._came = 0  # how many, since the host began
        self._buffered = 0  # bytes of the packets of those that are reading or held

    def __iter__(self) -> Iterator[Peer]:
        return iter([*self.reading, *self.held, *self.asking, *self.alone])

    def add(self, peer: Peer) -> None:
        """Take one that was just accepted."""
        self._came += 1
        peer.number = self._came
        self.reading[peer] = None

    def remove(self, peer: Peer) -> None:
        """Forget one; it is gone."""
        self._leave(peer)
        peer.state = GONE

    def refuse(self, peer: Peer) -> None:
        """Have one be refused."""
        self._buffered -= peer.buffered
        peer.buffered, peer.state = 0, REFUSED

    def hold(self, peer: Peer, deadline: float) -> None:
        """Have one wait for room in the inbox."""
        if peer.state != HELD:
            del self.reading[peer]
            peer.state, peer.deadline = HELD, deadline
            self.held.append(peer)

    def begin_to_ask(self, peer: Peer) -> None:
        """Have one wait for its answer."""
        self._leave(peer)
        peer.state = ASKING
        self.asking[peer] = None

    def leave_alone(self, peer: Peer) -> None:
        """Have one wait for its answer without the host."""
        del self.asking[peer]
        peer.state = ALONE
        self.alone[peer] = None

    def take_alone(self, peer: Peer) -> bool:
        """Return whether ``peer`` was left alone, and its socket is now the caller's; True once."""
        return self.alone.pop(peer, False) is None

    def count_said(self, peer: Peer, size: int) -> None:
        """Count ``size`` bytes that one has said."""
        if peer.state == REFUSED:
            peer.discarded += size
        else:
            peer.buffered += size
            self._buffered += size

    def next_deadline(self) -> float:
        """Return when the first of them is too late; infinity if there is none."""
        firsts = (next(iter(self.reading), None), self.held[0] if self.held else None)
        return min((peer.deadline for peer in firsts if peer is not None), default=float("inf"))

    def too_late(self, now: float) -> list[Peer]:
        """Return those whose time is over."""
        late = []
        for row in (self.reading, self.held):
            for peer in row:
                if peer.deadline > now:
                    break
                late.append(peer)
        return late

    # -- who goes first --

    def next_long(self, peers: list[Peer]) -> Peer:
        """Return whose turn it is, of ``peers`` that have said much: the oldest, to its end.

        If all grew in step, they would together be more than `MAX_BUFFERED` before
        one is whole. Those that are refused come last. Not by the deadline: a clock that
        ticks each 16 ms gives the same one to many.
        """
        return min(peers, key=lambda peer: (peer.state == REFUSED, peer.number))

    def surplus(self) -> Peer | None:
        """Return who has to go, because there are too many; None if there are not."""
        return self.oldest() if len(self.reading) + len(self.held) > MAX_PEERS else None

    def oldest(self) -> Peer | None:
        """Return who goes first for want of descriptors: the oldest; None if there is no peer.

        First those that have not proved to be a launch of this application, then those
        that have, and last those whose packet is whole.
        """
        for peer in self.reading:
            if not peer.talk.proved:
                return peer
        return next(iter(self.reading), None) or (self.held[0] if self.held else None)

    def excess(self) -> Peer | None:
        """Return who has to go, because all packets are too much; None if they are not.

        It is who has been quiet for longest, of those that hold more than a little:
        somebody who sends at this moment will soon be whole. Of equals, the largest.
        Those whose packet is whole go last.
        """
        if self._buffered <= MAX_BUFFERED:
            return None
        everybody = (*self.reading, *self.held)
        candidates = [peer for peer in everybody if peer.buffered >= SHORT]
        return min(candidates or everybody, key=lambda peer: (peer.state == HELD, peer.spoke, -peer.buffered))

    def _leave(self, peer: Peer) -> None:
        self._buffered -= peer.buffered
        peer.buffered = 0
        if peer in self.reading:
            del self.reading[peer]
        elif peer.state == HELD:
            self.held.remove(peer)
        else:
            del self.asking[peer]
