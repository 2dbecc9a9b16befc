"""The host's side of a connection between a launch and a host that have a name; see `_proof`.

==========  =======================================  ================================
state       input                                    new state
==========  =======================================  ================================
greeting    another protocol, a packet without name  over: it raises
greeting    a hello                                  proving; it sends its own hello
proving     a claim with a wrong proof               over: it raises
proving     a claim with the right proof             receiving
receiving   the whole packet                         whole: it has `words`
==========  =======================================  ================================
"""

from __future__ import annotations

import os

from .._packet import HELLO, MAX_PACKET, NEEDS_A_NAME, NO_PROOF
from .._proof import (
    ASKS,
    HOST_HELLO,
    HOST_LABEL,
    LAUNCH_LABEL,
    LENGTH_SIZE,
    NONCE_SIZE,
    PID_SIZE,
    PROOF_SIZE,
    Identity,
    compare_digest,
    digest,
    place_bytes,
)
from .packet import LONGEST_LINE, Foreign, PacketTooLong, Refused, decode, is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLAIM_SIZE = 1 + LENGTH_SIZE + PROOF_SIZE + PROOF_SIZE

GREETING = "greeting"
PROVING = "proving"
RECEIVING = "receiving"
WHOLE = "whole"


class HostSide:
    """The host's side of one connection. It has the methods of `.packet.Packet`."""

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
        """Make the side of a connection that was accepted at ``local``, as the system names it."""
        self._identity = identity
        self._place = place_bytes(local, identity.network)
        self._data = bytearray()
        self._said = b""  # both hellos
        self._length = 0
        self._digest = b""
        self._state = GREETING
        self.asks = False
        self.proved = False
        self.words: bytearray | None = None

    @property
    def has_arguments(self) -> bool:
        """Whether the packet is whole, and holds arguments."""
        packet = self.words or b""
        start = packet.find(b"\0") + 1  # after the working directory
        while start < len(packet) and packet[start]:  # a variable
            start = packet.find(b"\0", start) + 1
        return len(packet) > start + 1

    @staticmethod
    def decode(packet: bytearray) -> tuple[tuple[str, ...], str | None, dict[str, str]]:
        """Do the same as `decode_launch`."""
        return decode_launch(packet)

    @property
    def started(self) -> bool:
        """Whether any byte has arrived."""
        return self._state != GREETING or bool(self._data)

    def feed(self, data: bytes) -> bytes:
        """Take what the launch sends next, and return what to send to it.

        Raises:
            Foreign: it is another protocol.
            Refused: it is a packet without a name, or the proof is wrong.
            PacketTooLong: the packet is too long, or does not end where it should.
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
        """Take the end of the stream; return False, because the packet is not whole.

        Raises:
            Refused: something arrived, but not a whole hello.
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
        mine = HOST_HELLO + os.urandom(NONCE_SIZE) + os.getpid().to_bytes(PID_SIZE, "big")
        self._said = hello + mine
        self._state = PROVING
        return mine + self._identity.prove(HOST_LABEL, self._said, self._place)

    def _judge_claim(self, claim: bytes) -> None:
        said, proof = claim[:-PROOF_SIZE], claim[-PROOF_SIZE:]
        mine = self._identity.prove(LAUNCH_LABEL, self._said + said, self._place)
        if not compare_digest(proof, mine):
            raise Refused(NO_PROOF)
        self.asks = bool(said[0] & ASKS)
        self._length = int.from_bytes(said[1 : 1 + LENGTH_SIZE], "big")
        self._digest = said[1 + LENGTH_SIZE :]
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
            if not self._data.endswith(b"\0"):
                self._data += b"\0"


def decode_launch(packet: bytes | bytearray) -> tuple[tuple[str, ...], str | None, dict[str, str]]:
    """Return the arguments, the working directory and the variables in what `HostSide` received."""
    cwd, *parts = decode(packet) or ("",)
    end = parts.index("") if "" in parts else len(parts)
    pairs = (part.partition("=") for part in parts[:end])
    return tuple(parts[end + 1 :]), cwd or None, {name: value for name, _, value in pairs}
