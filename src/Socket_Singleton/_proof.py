"""The launch's side of a connection between a launch and a host that have a name, and the proof of both.

Each side proves to the other that it has the same key before an argument is sent. Lengths
are fixed, numbers have their most significant byte first:

======================  ======================================================
launch: hello           `HELLO`, nonce (32)
host: hello             01, nonce (32), process id (4), proof of the host (32);
                        or ``NAK`` and a reason, if it is of another kind
launch: claim           flags (1; bit 0: it waits for an answer), length of the
                        packet (4), its digest (32), proof of the launch (32)
launch: packet          the working directory; variables, as ``NAME=value``; an empty
                        part; the arguments: each with a NUL behind it
host                    ``ACK``; or ``NAK`` and a reason
host, if asked          frames: see `_answers`
======================  ======================================================

A proof is the keyed BLAKE2b (RFC 7693), 32 bytes long, of a label, all that was said
before it, and what both must agree upon: the name, and the address and port at which
they are connected, with the network that a loopback address belongs to. So nobody can
pass on what is said at another port, or in another network, and what is sent back, or
sent again, proves nothing.

The host's side is `_host.proof.HostSide`.
"""

import os

try:
    # The C module under `hashlib`, which loads OpenSSL and takes 5 ms; this takes 0.3.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

from _operator import _compare_digest as compare_digest  # hmac, which has it too, takes 2 ms

from ._packet import (
    ACK,
    HELLO,
    MAX_PACKET,
    NAK,
    NEEDS_A_NAME,
    NEEDS_NO_NAME,
    NUL,
    Answer,
    encode,
    encode_text,
    meaning_of,
)

__all__ = ["compare_digest"]  # what is imported here for others

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence, Tuple

    Answered = Tuple[int, bytes]

NONCE_SIZE = 32
PROOF_SIZE = 32
PID_SIZE = 4
LENGTH_SIZE = 4

HOST_HELLO = b"\x01"
_HOST_HELLO_SIZE = 1 + NONCE_SIZE + PID_SIZE + PROOF_SIZE

# One for each direction: what comes back is no proof.
HOST_LABEL = b"host\0"
LAUNCH_LABEL = b"launch\0"

ASKS = 1  # bit 0 of the flags

# Bytes of a foreign answer that are shown.
_GLIMPSE = 32

_PROVED_NOTHING = "did not prove that it is this application"

# The states of `LaunchSide`, in their order; when it has `found` something, it is over.
GREETING = "greeting"  # its hello is said
WAITING = "waiting"  # the host has proved itself, and has been given claim and packet
ASKING = "asking"  # the host owns the launch, and will answer


class Identity:
    """Whose instance, and where: the name, the key that is its proof, and the network it is in."""

    __slots__ = ("doubt", "key", "name", "network")

    def __init__(self, name: bytes, key: bytes, network: bytes = b"", doubt: str = "") -> None:
        self.name = name
        self.key = key
        self.network = network  # `_key_file.network`
        self.doubt = doubt  # what this side lacks to recognize the other, for a message

    def prove(self, label: bytes, said: bytes, place: bytes) -> bytes:
        """Return the proof of this identity over ``said``, at ``place``."""
        parts = (said, self.name, place)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return blake2b(label + framed, digest_size=PROOF_SIZE, key=self.key).digest()


def digest(data: "bytes | bytearray") -> bytes:
    """Return the BLAKE2b of ``data``, 32 bytes."""
    return blake2b(data, digest_size=PROOF_SIZE).digest()


def encode_launch(argv: "Sequence[str]", environ: "Sequence[str]" = ()) -> bytes:
    """Return the packet of a launch: ``argv``, and where this process was started.

    Args:
        environ: the names of the variables that it brings, if they are set.

    Raises:
        TypeError, ValueError: an argument cannot travel; or all is more than `MAX_PACKET` bytes.
    """
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""  # it was deleted
    brought = [f"{name}={os.environ[name]}" for name in environ if name in os.environ]
    head = [encode_text("the environment", text) + NUL for text in (cwd, *brought, "")]
    packet = b"".join(head) + encode(argv)
    if len(packet) > MAX_PACKET:
        raise ValueError(f"arguments and environment take {len(packet)} bytes; the limit is {MAX_PACKET}")
    return packet


def place_bytes(name: "Any", network: bytes) -> bytes:
    """Return an address and port, as the system names them in ``network``, as both sides write it."""
    address = str(name[0]).partition("%")[0]  # a zone is each side's own word
    if address.startswith("::ffff:"):  # IPv4 on a socket of IPv6
        address = address[len("::ffff:") :]
    place = f"{address} {name[1]}".encode()
    is_loopback = address.startswith("127.") or address == "::1"  # another place in each network
    return place + b" " + network if network and is_loopback else place


class LaunchSide:
    """The launch's side of one connection. It has the methods of `_packet.Parcel`."""

    __slots__ = (
        "_data", "_frames", "_identity", "_output", "_packet", "_place", "_said", "_state",
        "answer", "asks", "committed", "found", "owned", "pid", "seen",
    )  # fmt: skip

    ends_stream = False  # its end means that the launch is gone

    def __init__(
        self,
        identity: Identity,
        packet: "bytes | None",
        output: "Callable[[int, bytes], object] | None" = None,
    ) -> None:
        """Make one that hands ``packet`` over; with None it only finds out who is there.

        Args:
            output: called with the kind and the bytes of what observers write; None: the launch
                does not wait for an answer.
        """
        self._identity = identity
        self._packet = packet
        self._place = b""
        self._data = bytearray()
        self._said = b""
        self._state = GREETING
        self._output = output
        self._frames: Any = None  # an `_answers.Frames`, once the answer begins
        self.asks = output is not None
        self.committed = False
        self.owned = False
        self.found: str | None = None
        self.seen = ""
        self.pid: int | None = None  # of the host, which has proved itself
        self.answer: Answered | None = None

    def open(self, remote: "Any") -> bytes:
        """Return what to say first to a host at ``remote``, as the system names it."""
        self._place = place_bytes(remote, self._identity.network)
        self._said = HELLO + os.urandom(NONCE_SIZE)
        return self._said

    def feed(self, data: bytes) -> bytes:
        """Take what the host says (nothing: its end), and return what to say to it."""
        over = not data
        if self._state != ASKING:
            self._data += data
        if self._state == GREETING:
            return self._judge_hello(over)
        if self._state == WAITING:
            data = self._judge_reply(over)
        if self._state == ASKING:
            self._read_answer(data, over)
        return b""

    def _judge_hello(self, over: bool) -> bytes:
        data = bytes(self._data)
        is_hello = data[:1] == HOST_HELLO
        if is_hello and len(data) == _HOST_HELLO_SIZE:
            return self._judge_proof(data[:-PROOF_SIZE], data[-PROOF_SIZE:])
        if is_hello and len(data) > _HOST_HELLO_SIZE:
            self._find_unproven(f"it answers {data[:_GLIMPSE]!r}, and {_PROVED_NOTHING}")
        elif is_hello and over:
            self._find_unproven(f"it ended the connection in the middle of its hello, and {_PROVED_NOTHING}")
        elif not data:
            self._find_unproven(f"it ended the connection without sending anything, and {_PROVED_NOTHING}")
        elif data[:2] == NAK + NEEDS_A_NAME:  # it may be of another version
            self._find_unproven(meaning_of(data)[1])
        elif data[:2] == NAK + NEEDS_NO_NAME:
            self.found, self.seen = meaning_of(data)
        elif not is_hello and (data != NAK or over):
            # Any other refusal is for a host that has proved itself, or a stranger could have launches end
            # quietly: `ENOUGH_CLIENTS`.
            self.found = Answer.FOREIGN
            self.seen = f"it answers {data[:_GLIMPSE]!r}, and {_PROVED_NOTHING}"
        return b""

    def _judge_proof(self, hello: bytes, proof: bytes) -> bytes:
        self._said += hello
        if not compare_digest(proof, self._identity.prove(HOST_LABEL, self._said, self._place)):
            may = "have another name or another secret, belong to another user, "
            if self._identity.network:
                may += "use another home directory, or run in another container or on another machine"
            else:
                may += "or use another home directory"
            self._find_unproven(f"it {_PROVED_NOTHING}; it may {may}")
            return b""
        self.pid = int.from_bytes(hello[1 + NONCE_SIZE :], "big")
        if self._packet is None:
            self.found = Answer.FOUND
            return b""
        self._data.clear()
        self._state, self.committed = WAITING, True
        claim = bytes([ASKS if self.asks else 0]) + len(self._packet).to_bytes(LENGTH_SIZE, "big")
        claim += digest(self._packet)
        proof = self._identity.prove(LAUNCH_LABEL, self._said + claim, self._place)
        return claim + proof + self._packet

    def _judge_reply(self, over: bool) -> bytes:
        """Judge how the host takes the packet, and return what came behind that."""
        if not self._data:
            self.found, self.seen = Answer.SILENT, "it ended the connection without an answer"
        elif self.asks and self._data.startswith(ACK):
            self._state, self.owned = ASKING, True
        elif self._data != NAK or over:
            self.found, self.seen = meaning_of(bytes(self._data))
        return bytes(self._data[1:])

    def _read_answer(self, data: bytes, over: bool) -> None:
        from ._answers import CUT, Frames, OutputError

        assert self._output is not None
        if self._frames is None:
            self._frames = Frames(self._output)
        try:
            last = self._frames.feed(data)
        except OutputError as error:
            error.talk = self
            raise
        if last is None:
            if over:
                self.found, self.seen = Answer.LOST, "the application ended, or discarded the launch"
        elif last[0] == CUT:
            self.found, self.seen = Answer.SEVERED, "this launch did not read it"
        else:
            self.found, self.answer = Answer.OWNED, last

    def _find_unproven(self, seen: str) -> None:
        """End with a host that may be the right one: nothing is certain without its proof."""
        doubt = f"; {self._identity.doubt}" if self._identity.doubt else ""
        self.found = Answer.UNPROVEN
        self.seen = seen + doubt
