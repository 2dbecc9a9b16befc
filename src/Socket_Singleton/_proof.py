"""A connection between a launch and a host that have a name: bytes in, bytes and events out.

Each side proves to the other that it has the same key before an argument is sent. Lengths
are fixed, numbers have their most significant byte first:

======================  ======================================================
launch: hello           `HELLO`, nonce (32)
host: hello             01, nonce (32), process id (4), proof of the host (32);
                        or ``NAK`` and a reason, if it is of another kind
launch: claim           flags (1; bit 0: it waits for an answer), length of the
                        packet (4), its digest (32), proof of the launch (32)
launch: packet          arguments, each with a NUL behind it
host                    ``ACK``; or ``NAK`` and a reason
host, if asked          one frame: see `_answers`
======================  ======================================================

A proof is the keyed BLAKE2b (RFC 7693), 32 bytes long, of a label, all that was said
before it, and what both must agree upon: the name, and the address and port at which
they are connected. So nobody can pass on what is said at another port, and what is
sent back, or sent again, proves nothing.

==========  ================================  ==================================
`HostSide`  and then comes                    is
==========  ================================  ==================================
greeting    another protocol, an old packet   over: it raises
greeting    a hello                           proving; it says its own hello
proving     a claim with a wrong proof        over: it raises
proving     a claim                           receiving
receiving   all of the packet                 whole: it has `words`
==========  ================================  ==================================

============  ==============================  ==================================
`LaunchSide`  and then comes                  is
============  ==============================  ==================================
greeting      anything but a proof            over: it has `found` somebody else
greeting      a proof                         waiting; it says claim and packet
waiting       ``NAK``; ``ACK``                over; over, or asking
asking        a frame                         over: it has its `answer`
============  ==============================  ==================================
"""

from __future__ import annotations

import os

from ._wire import (
    ACK,
    HELLO,
    LONGEST_LINE,
    MAX_PACKET,
    NAK,
    NEEDS_A_NAME,
    NEEDS_NO_NAME,
    NO_PROOF,
    Answer,
    Foreign,
    PacketTooLong,
    Refused,
    is_foreign,
    meaning_of,
)

try:
    # The C module under `hashlib`, which loads OpenSSL and takes 5 ms; this takes 0.3.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from _operator import _compare_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple

    Answered = Tuple[int, bytes]

NONCE_SIZE = 32
PROOF_SIZE = 32
_PID_SIZE = 4
_LENGTH_SIZE = 4

_HOST_HELLO = b"\x01"
_HOST_HELLO_SIZE = 1 + NONCE_SIZE + _PID_SIZE + PROOF_SIZE
_CLAIM_SIZE = 1 + _LENGTH_SIZE + PROOF_SIZE + PROOF_SIZE

# One for each direction: what comes back is no proof.
_HOST_LABEL = b"host\0"
_LAUNCH_LABEL = b"launch\0"

_ASKS = 1

# What a host may say in place of its hello: that it is none of this kind. Any other refusal is
# for a host that has proved itself, or a stranger could have launches end quietly: `ENOUGH_CLIENTS`.
_UNPROVED_REFUSALS = (NAK + NEEDS_NO_NAME, NAK + NEEDS_A_NAME)

# Bytes of a foreign answer that are shown.
_GLIMPSE = 32

GREETING = "greeting"
PROVING = "proving"
RECEIVING = "receiving"
WAITING = "waiting"
ASKING = "asking"
WHOLE = "whole"


class Identity:
    """Whose instance: the name, and the key that is its proof."""

    __slots__ = ("key", "name")

    def __init__(self, name: bytes, key: bytes) -> None:
        self.name = name
        self.key = key

    def prove(self, label: bytes, said: bytes, place: bytes) -> bytes:
        """Return the proof of who says ``said`` at ``place``."""
        parts = (said, self.name, place)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return blake2b(label + framed, digest_size=PROOF_SIZE, key=self.key).digest()


def digest(data: bytes | bytearray) -> bytes:
    """Return the BLAKE2b of ``data``, 32 bytes."""
    return blake2b(data, digest_size=PROOF_SIZE).digest()


def place_bytes(name: Any) -> bytes:
    """Return an address and port, as the system names them, in the form that both sides have."""
    address = str(name[0]).partition("%")[0]  # a zone is each side's own word
    if address.startswith("::ffff:"):  # IPv4 on a socket of IPv6
        address = address[len("::ffff:") :]
    return f"{address} {name[1]}".encode()


class HostSide:
    """The host's side of one connection. It has the face of `_wire.Packet`."""

    __slots__ = (
        "_data",
        "_digest",
        "_identity",
        "_length",
        "_place",
        "_said",
        "_state",
        "asks",
        "proved",
        "words",
    )

    def __init__(self, identity: Identity, local: Any) -> None:
        """Make one for a connection that was accepted at ``local``, as the system names it."""
        self._identity = identity
        self._place = place_bytes(local)
        self._data = bytearray()
        self._said = b""  # both hellos
        self._length = 0
        self._digest = b""
        self._state = GREETING
        self.asks = False
        self.proved = False
        self.words: bytearray | None = None

    @property
    def started(self) -> bool:
        """Whether a single byte has arrived."""
        return self._state != GREETING or bool(self._data)

    def feed(self, data: bytes) -> bytes:
        """Take what the launch says next, and return what to say to it.

        Raises:
            Foreign: it is another protocol.
            Refused: it is a packet without a name, or it proves nothing.
            PacketTooLong: the packet is, or does not end where it should.
        """
        before = len(self._data)
        self._data += data
        say = b""
        if self._state == GREETING:
            say = self._greet(before)
        if self._state == PROVING and len(self._data) >= _CLAIM_SIZE:
            self._judge_claim(bytes(self._data[:_CLAIM_SIZE]))
        if self._state == RECEIVING:
            self._receive()
        return say

    def end(self, hung_up: bool = True) -> bool:
        """Take the end of the stream; the packet is not whole then.

        Raises:
            Refused: what came was no hello, and not more of anything.
        """
        del hung_up
        if self._state == GREETING and self._data:
            raise Refused(NEEDS_A_NAME)
        return False

    def _greet(self, before: int) -> bytes:
        data = self._data
        if not HELLO.startswith(data[: len(HELLO)]):
            foreign = is_foreign(data, before if before > len(HELLO) else 0)
            if foreign:
                raise Foreign
            if foreign is False or len(data) > LONGEST_LINE:
                raise Refused(NEEDS_A_NAME)
            return b""
        if len(data) < len(HELLO) + NONCE_SIZE:
            return b""
        hello = bytes(data[: len(HELLO) + NONCE_SIZE])
        del data[: len(hello)]
        mine = _HOST_HELLO + os.urandom(NONCE_SIZE) + os.getpid().to_bytes(_PID_SIZE, "big")
        self._said = hello + mine
        self._state = PROVING
        return mine + self._identity.prove(_HOST_LABEL, self._said, self._place)

    def _judge_claim(self, claim: bytes) -> None:
        said, proof = claim[:-PROOF_SIZE], claim[-PROOF_SIZE:]
        mine = self._identity.prove(_LAUNCH_LABEL, self._said + said, self._place)
        if not _compare_digest(proof, mine):
            raise Refused(NO_PROOF)
        self.asks = bool(said[0] & _ASKS)
        self._length = int.from_bytes(said[1 : 1 + _LENGTH_SIZE], "big")
        self._digest = said[1 + _LENGTH_SIZE :]
        if self._length > MAX_PACKET:
            raise PacketTooLong
        self.proved = True
        del self._data[:_CLAIM_SIZE]
        self._state = RECEIVING

    def _receive(self) -> None:
        if len(self._data) > self._length:
            raise PacketTooLong
        if len(self._data) == self._length:
            if digest(self._data) != self._digest:
                raise Refused(NO_PROOF)
            self._state, self.words = WHOLE, self._data
            if self._data and not self._data.endswith(b"\0"):
                self._data += b"\0"


class LaunchSide:
    """The launch's side of one connection. It has the face of `_wire.Parcel`."""

    __slots__ = (
        "_data", "_identity", "_packet", "_place", "_said", "_state",
        "answer", "asks", "committed", "found", "owned", "pid", "seen",
    )  # fmt: skip

    ends_stream = False  # its end means that the launch is gone

    def __init__(self, identity: Identity, packet: bytes | None, asks: bool = False) -> None:
        """Make one that hands ``packet`` over; with None it only finds out who is there."""
        self._identity = identity
        self._packet = packet
        self._place = b""
        self._data = bytearray()
        self._said = b""
        self._state = GREETING
        self.asks = asks
        self.committed = False
        self.owned = False
        self.found: str | None = None
        self.seen = ""
        self.pid: int | None = None  # of the host, which has proved itself
        self.answer: Answered | None = None

    def open(self, remote: Any) -> bytes:
        """Return what to say first to a host at ``remote``, as the system names it."""
        self._place = place_bytes(remote)
        self._said = HELLO + os.urandom(NONCE_SIZE)
        return self._said

    def feed(self, data: bytes) -> bytes:
        """Take what the host says (nothing: its end), and return what to say to it."""
        self._data += data
        over = not data
        if self._state == GREETING:
            return self._judge_hello(over)
        if self._state == WAITING:
            self._judge_reply(over)
        if self._state == ASKING:
            self._read_answer(over)
        return b""

    def _judge_hello(self, over: bool) -> bytes:
        data = bytes(self._data)
        if data[:2] in _UNPROVED_REFUSALS:
            self.found, self.seen = meaning_of(data)
        elif not data:
            self._find_stranger("it ended the connection without a word")
        elif data != NAK and (data[:1] != _HOST_HELLO or len(data) > _HOST_HELLO_SIZE):
            self._find_stranger(f"it answers {data[:_GLIMPSE]!r}")
        elif over:
            self._find_stranger("it ended the connection before it had proved itself")
        elif len(data) == _HOST_HELLO_SIZE:
            return self._judge_proof(data[:-PROOF_SIZE], data[-PROOF_SIZE:])
        return b""

    def _judge_proof(self, hello: bytes, proof: bytes) -> bytes:
        self._said += hello
        if not _compare_digest(proof, self._identity.prove(_HOST_LABEL, self._said, self._place)):
            self._find_stranger(
                "it has another name, or another key: another user's, another secret's or another home's"
            )
            return b""
        self.pid = int.from_bytes(hello[1 + NONCE_SIZE :], "big")
        if self._packet is None:
            self.found = Answer.FOUND
            return b""
        self._data.clear()
        self._state, self.committed = WAITING, True
        claim = bytes([_ASKS if self.asks else 0]) + len(self._packet).to_bytes(_LENGTH_SIZE, "big")
        claim += digest(self._packet)
        proof = self._identity.prove(_LAUNCH_LABEL, self._said + claim, self._place)
        return claim + proof + self._packet

    def _judge_reply(self, over: bool) -> None:
        if not self._data:
            self.found, self.seen = Answer.SILENT, "it ended the connection without an answer"
        elif self.asks and self._data.startswith(ACK):
            del self._data[:1]
            self._state, self.owned = ASKING, True
        elif self._data != NAK or over:
            self.found, self.seen = meaning_of(bytes(self._data))

    def _read_answer(self, over: bool) -> None:
        from ._answers import read_frame

        self.answer = read_frame(self._data)
        if self.answer is not None:
            self.found = Answer.OWNED
        elif over:
            self.found, self.seen = Answer.LOST, "it ended the connection"

    def _find_stranger(self, seen: str) -> None:
        self.found = Answer.FOREIGN
        self.seen = f"{seen}, and did not prove to be this application"
