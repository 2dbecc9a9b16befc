"""The host's connections: their states, whose turn it is, and who is dropped if there is no room.

A peer is whatever is at the other end of a connection, a launch or not. `NEXT` is the
table of its states.
"""

from __future__ import annotations

from itertools import islice, takewhile

from .._packet import MAX_PACKET
from .._system import sockets
from .sockets import close_own, mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Protocol

    from .replies import Reply

    class Talk(Protocol):
        """The host's side of one connection; `.packet.Packet` or `.proof.HostSide`."""

        asks: bool  # whether the launch waits for an answer
        proved: bool  # whether it has proved who it is
        words: bytearray | None
        decode: Callable[[bytearray], Any] | None  # for `.inbox.Entry`

        @property
        def has_arguments(self) -> bool: ...
        @property
        def started(self) -> bool: ...
        def feed(self, data: bytes) -> bytes: ...
        def end(self, hung_up: bool = True) -> bool: ...


READING = "reading"  # its packet is not whole yet
ASKING = "asking"  # the host owns its launch, which waits for an answer
LEAVING = "leaving"  # it has been answered, and should end the connection; what it still sends is thrown away
GONE = "gone"  # its connection is closed

# The events that are possible in each state, and the states that they lead to.
NEXT = {
    READING: {
        "ask": ASKING,  # the host owns its launch, which waits for an answer
        "leave": LEAVING,  # owned or refused, but it has not ended its stream
        "end": GONE,  # owned or refused, and it has; or it broke a rule or a limit, or is too late
    },
    ASKING: {
        "leave": LEAVING,  # it has its answer, or none will come
        "end": GONE,  # it has gone, or is too late, or no answer will come: see `Host._hang_up`
    },
    LEAVING: {"end": GONE},  # it has ended its stream, or takes too long, or sends too much
}

# Seconds after accept in which a peer has to send its whole packet. A launch has 2 s;
# the rest is for tools that never hang up, whose packet counts at the deadline.
PEER_TIME = 5.0

# Seconds in which a peer that has been answered has to end its connection. Whoever ends it first keeps its
# port in TIME_WAIT for a minute, in which nobody can bind it without SO_REUSEADDR, so the host leaves
# that to the peer. A launch does it as soon as it has read the answer.
LEAVE_TIME = 1.0

# The most peers at once, not counting those that wait for an answer; beyond that, the oldest is dropped. The
# application needs descriptors too, and the usual limit for both together is 1,024. If another peer
# would take one of the last ones, the oldest is dropped sooner: `.sockets.is_among_last`.
MAX_PEERS = 256

# The most launches that wait for an answer at once; another one is refused. They may
# wait for hours, and their descriptors are not available for anything else.
MAX_ASKING = 128

# The most bytes of all packets that are not owned; beyond that, the peer that has been quiet for longest
# is dropped. Twice the longest packet, so that a single packet always fits.
MAX_BUFFERED = 2 * MAX_PACKET

# Bytes that a peer may send before it has to wait for others that have sent as much.
SHORT = 16 * 1024

_NOTHING = memoryview(b"")


class Peer:
    """One connection."""

    __slots__ = (
        "buffered",
        "deadline",
        "discarded",
        "ends",
        "hung_up",
        "last_turn",
        "mark",
        "number",
        "outgoing",
        "reply",
        "sock",
        "state",
        "talk",
        "watched",
    )

    def __init__(self, sock: sockets.socket, talk: Talk, deadline: float) -> None:
        self.sock = sock
        self.mark = mark_of(sock)
        self.talk = talk
        # In READING, for its packet; in ASKING, for taking what is sent, once the port is free; in LEAVING,
        # for being gone.
        self.deadline = deadline
        self.hung_up = False  # whether it has ended its stream
        self.state = READING
        self.number = 0  # in the order of arrival
        self.buffered = 0  # bytes of its packet that are in the sum of all peers
        self.discarded = 0  # bytes thrown away since it was answered
        self.last_turn = 0  # the last turn in which it sent something
        self.reply: Reply | None = None  # the way back to its launch, while it is asking
        self.outgoing = _NOTHING  # the part of that which is being sent
        self.ends = False  # whether the connection ends after that
        self.watched = 0  # the selector's events that it is registered for

    def close(self) -> None:
        """End the connection in the way that was set last: in order, or with a reset."""
        close_own(self.sock, self.mark)

    @property
    def received(self) -> int:
        """How many bytes it has sent of its packet, or since it was answered."""
        return self.discarded if self.state == LEAVING else self.buffered


class Peers:
    """All peers of a host. Used only by the I/O thread, except that any thread may copy `asking`."""

    def __init__(self) -> None:
        # In the order in which they entered the state. For `reading`, that is the order of their deadlines.
        self.reading: dict[Peer, None] = {}
        self.asking: dict[Peer, None] = {}
        self.leaving: dict[Peer, None] = {}
        self._rows = {READING: self.reading, ASKING: self.asking, LEAVING: self.leaving}
        self.turn = 0
        self._accepted = 0  # how many were accepted since the host began
        self._buffered = 0  # bytes of the packets of all in `reading`

    def __iter__(self) -> Iterator[Peer]:
        return iter([*self.reading, *self.asking, *self.leaving])

    def add(self, peer: Peer) -> None:
        """Add a peer that was just accepted."""
        self._accepted += 1
        peer.number, peer.last_turn = self._accepted, self.turn
        self.reading[peer] = None

    def move(self, peer: Peer, event: str) -> None:
        """Move a peer to the state that `NEXT` gives for ``event``."""
        before, peer.state = peer.state, NEXT[peer.state][event]
        if peer.state != GONE:
            self._rows[peer.state][peer] = None
        del self._rows[before][peer]  # only now: a child that is forked in between closes what is in a row
        self._buffered -= peer.buffered
        peer.buffered = 0

    def count_received(self, peer: Peer, size: int) -> None:
        """Count ``size`` bytes that a peer has sent."""
        if peer.state == LEAVING:
            peer.discarded += size
        else:
            peer.buffered += size
            self._buffered += size

    def next_deadline(self) -> float:
        """Return the earliest deadline for a packet or for leaving; infinity if there is none."""
        peers = (*islice(self.reading, 1), *self.leaving)
        return min((peer.deadline for peer in peers), default=float("inf"))

    def too_late(self, now: float) -> list[Peer]:
        """Return the peers whose deadline for a packet or for leaving has passed."""
        late = list(takewhile(lambda peer: peer.deadline <= now, self.reading))
        return late + [peer for peer in self.leaving if peer.deadline <= now]

    # -- who is read first, who is dropped first --

    def next_long(self, peers: list[Peer]) -> Peer:
        """Return whose turn it is among ``peers``, which have all sent much: the oldest, until it is done.

        If all packets grew at the same pace, they would exceed `MAX_BUFFERED` together before
        one of them is whole. Peers that are leaving come last. The deadline does not tell the
        oldest, since on a clock that ticks every 16 ms many have the same one.
        """
        return min(peers, key=lambda peer: (peer.state == LEAVING, peer.number))

    def surplus(self) -> Peer | None:
        """Return the peer to drop if there are too many; None if there are not."""
        return self.oldest() if len(self.reading) + len(self.leaving) > MAX_PEERS else None

    def oldest(self) -> Peer | None:
        """Return the peer to drop if there are not enough descriptors: the oldest; None if there is none.

        Peers that have been answered go first, then those that have not proved to be a launch of this
        application, and then those that have.
        """
        for peer in self.leaving:
            return peer
        for peer in self.reading:
            if not peer.talk.proved:
                return peer
        return next(iter(self.reading), None)

    def excess(self) -> Peer | None:
        """Return the peer to drop if all packets together are too large; None if they are not.

        Among those that have sent `SHORT` or more, it is the one that has been quiet for longest,
        because one that is sending now will soon be whole. Among equals, it is the largest.
        """
        if self._buffered <= MAX_BUFFERED:
            return None
        candidates = [peer for peer in self.reading if peer.buffered >= SHORT]
        return min(candidates or self.reading, key=lambda peer: (peer.last_turn, -peer.buffered))
