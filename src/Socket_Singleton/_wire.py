"""What is said on the wire where there is no name, and when a packet is whole: bytes in, bytes out.

Second launch to host: ``[secret NUL] arg NUL arg NUL ...`` and the end of the
stream; no arguments and no secret is a single NUL. Text is UTF-8, and bytes of
a command line that are not travel as Python holds them (PEP 383).

Host to second launch: one :data:`ACK` once the host owns the whole packet; or
:data:`NAK` and a byte that says why it refuses. Readers ignore what follows.

`Packet` is the host's side of a connection, `Parcel` the launch's. A launch
with a name says more, in both directions: see `_proof`, whose two sides have the
same methods as these two.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself takes 3 ms to import
if TYPE_CHECKING:
    from typing import Sequence

ACK = b"\x06"
NAK = b"\x15"

# The byte behind NAK: why a host refuses. Letters, so that they can be read in a trace.
OTHER_SECRET = b"S"
ENOUGH_CLIENTS = b"C"
NEEDS_NO_NAME = b"U"  # an unnamed host, asked to prove a name
NEEDS_A_NAME = b"N"  # a named host, sent a packet without a proof
NO_PROOF = b"P"  # a named host, whose launch did not prove that it has the key
TOO_MANY_WAIT = b"W"  # a named host, with as many launches that wait for an answer as it takes

# How a launch with a name begins. A line, and an empty one: a server for web pages, mail or
# data answers that at once, and so is told apart at once.
HELLO = b"HELLO Socket_Singleton/1\r\n\r\n"

# Bytes, the secret included. Above what any system lets a command line hold:
# Linux stops at 6 MiB, the others far earlier.
MAX_PACKET = 8 * 1024 * 1024

_NUL = b"\0"
_LINE = b"\r\n"
_ENCODING = ("utf-8", "surrogateescape")

# STUN's magic cookie (RFC 8489, section 5), in bytes 4 to 7, or 6 to 9: over TCP two bytes of
# length may come before it (RFC 4571).
_STUN_COOKIE = b"\x21\x12\xa4\x42"

# Bytes of a stream with which `is_foreign` can judge all but a request line.
_FEW = 10

# Bytes of a method of HTTP, at most: the longest one that is registered has 17.
_LONGEST_METHOD = 32

# Bytes of a request line, at most, that are kept of a peer whose secret is already seen to be
# another: until then it may be a web page, which is no client. Common servers take no longer ones.
LONGEST_LINE = 8 * 1024

# What a method or any other token of HTTP consists of (RFC 9110, section 5.6.2).
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Answer:
    """What a launch found on a port that is taken. `_client` has the table of what follows from it."""

    # Not an Enum: to make one takes longer than to ask.
    OWNED = "owned"
    ENOUGH = "enough"  # the host takes no more launches
    CLOSED = "closed"  # an orderly end without a byte
    REFUSED = "refused"  # nobody listens
    RESET = "reset"
    UNREACHED = "unreached"  # it listens, but its backlog is full
    CUT = "cut"  # 2.0.0, and the packet was too long for it
    FOREIGN = "foreign"  # another program, or another application's host
    REJECTED = "rejected"  # a host that does not take this launch: another secret, no name
    SILENT = "silent"
    LATE = "late"  # it owns the packet, and did not answer in time
    LOST = "lost"  # it owned the packet, and ended before it answered
    FOUND = "found"  # somebody listens, and was not asked for more


class Foreign(Exception):
    """The stream is of another protocol (HTTP, TLS, STUN): a web page can make a browser send it."""


class Refused(Exception):
    """The packet is not taken; ``reason`` is the byte that the peer is told behind `NAK`."""

    def __init__(self, reason: bytes) -> None:
        super().__init__(reason)
        self.reason = reason


class PacketTooLong(Exception):
    """The packet is longer than :data:`MAX_PACKET`."""


def encode_text(name: str, text: str) -> bytes:
    """Return ``text`` as it travels; ``name`` is what an error calls it.

    Raises:
        TypeError: ``text`` is not a ``str``.
        ValueError: it holds a NUL, which the wire uses as its separator, or a
            lone surrogate that stands for no byte (``UnicodeEncodeError``).
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if "\0" in text:
        raise ValueError(f"{name} must not contain a NUL character")
    return text.encode(*_ENCODING)


def encode(argv: Sequence[str], secret: bytes | None = None) -> bytes:
    """Return ``argv``, behind ``secret`` if there is one: each part and a NUL. No parts are no bytes.

    Raises:
        TypeError, ValueError: an argument cannot travel (see `encode_text`),
            or all of them are more than `MAX_PACKET` bytes.
    """
    parts = [] if secret is None else [secret]
    parts += [encode_text(f"argument {n}", text) for n, text in enumerate(argv, 1)]
    words = _NUL.join([*parts, b""])
    if len(words) > MAX_PACKET:
        raise ValueError(f"the arguments take {len(words)} bytes; a packet holds {MAX_PACKET}")
    return words


def decode(words: bytes | bytearray) -> tuple[str, ...]:
    """Return the arguments in what `encode` returned, or `Packet` received. Any bytes at all decode."""
    return tuple(words.decode(*_ENCODING).split("\0")[:-1])


def is_foreign(stream: bytearray, since: int) -> bool | None:
    """Tell whether a stream that begins so is of another protocol; None while that is open.

    Args:
        since: so many bytes were judged before, and left it open.
    """
    if _is_stun(stream) or _is_tls(stream):
        return True
    # An argument may hold all of a request line, but no argument goes on behind a NUL.
    nul = stream.find(_NUL, since)
    end = stream.find(_LINE, max(since - 1, 0), nul if nul >= 0 else len(stream))
    if end >= 0:
        return _is_request_line(stream[:end])
    if len(stream) < _FEW or (nul < 0 and _may_be_request_line(stream)):
        return None
    return False


def _is_stun(stream: bytearray) -> bool:
    return _STUN_COOKIE in (stream[4:8], stream[6:10])


def _is_tls(stream: bytearray) -> bool:
    """Whether it is a TLS record with a ClientHello (RFC 8446, section 5.1)."""
    return stream[:2] == b"\x16\x03" and stream[5:6] == b"\x01"


def _is_request_line(line: bytearray) -> bool:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    return _is_token(method) and bool(target) and b" " not in target and _is_version(version)


def _may_be_request_line(stream: bytearray) -> bool:
    method, _, _ = stream[: _LONGEST_METHOD + 1].partition(b" ")
    return _is_token(method)


def _is_token(word: bytes | bytearray) -> bool:
    return 0 < len(word) <= _LONGEST_METHOD and _TOKEN.issuperset(word)


def _is_version(word: bytes | bytearray) -> bool:
    return word[:5] == b"HTTP/" and word[5:6].isdigit() and word[6:7] == b"." and word[7:].isdigit()


class Packet:
    """The host's side of one connection: fed as bytes arrive, judged as early as can be.

    =============  ==============================  ==========================
    it is          and then comes                  and is
    =============  ==============================  ==========================
    unjudged       the secret, or its first bytes  judged, or it raises
    unjudged       HTTP, TLS, STUN, a hello        over: it raises
    judged         more                            judged
    either         the end                         over: it has words, or raises
    =============  ==============================  ==========================
    """

    __slots__ = ("_awaited", "_open", "_received", "_words", "words")

    # Of `_proof.HostSide`, which takes the place of this where hosts have names.
    asks = False
    proved = False

    def __init__(self, secret: bytes | None = None) -> None:
        self._words = bytearray()
        self._received = 0  # bytes in all; the words are without the secret
        self._open = True  # whether it may still be another protocol
        # What the packet must begin with; None once it has been seen.
        self._awaited = None if secret is None else secret + _NUL
        # The arguments, as `encode` makes them, once the packet is whole.
        self.words: bytearray | None = None

    @property
    def started(self) -> bool:
        """Whether a single byte of it has arrived."""
        return self._received > 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the packet, and return what to tell the peer: nothing.

        Raises:
            Foreign: it is another protocol.
            Refused: it has another secret, or asks for a host with a name.
            PacketTooLong: with these bytes it is.
        """
        self._received += len(data)
        if self._received > MAX_PACKET:
            raise PacketTooLong
        self._words += data
        if self._open:
            self._judge_protocol(len(self._words) - len(data))
        if self._awaited is not None and len(self._words) >= len(self._awaited):
            self._judge_secret(self._words[: len(self._awaited)])
        return b""

    def end(self, hung_up: bool = True) -> bool:
        """Take the end of the stream; return whether the packet is whole, and `words` are there.

        They are without the secret, and end in a NUL, which the peer may have
        left out. A single NUL is no arguments.

        Args:
            hung_up: whether the peer ended its stream. One that only went
                silent may be in the middle of a word: what it sent counts if
                it ends in NUL.

        Raises:
            Refused: the packet ended before it showed the secret.
        """
        whole = hung_up or not self._words or self._words.endswith(_NUL)
        if not (self.started and whole):
            return False
        self._open = False
        if self._awaited is not None:
            self._judge_secret(self._words + _NUL)
        if not self._words.endswith(_NUL):
            self._words += _NUL
        self.words = self._words if len(self._words) > 1 else bytearray()
        return True

    def _judge_protocol(self, since: int) -> None:
        if self._words[:1] == HELLO[:1] and HELLO.startswith(self._words[: len(HELLO)]):
            if len(self._words) >= len(HELLO):
                raise Refused(NEEDS_NO_NAME)
            return
        # While it began like a hello it was not judged.
        foreign = is_foreign(self._words, since if since > len(HELLO) else 0)
        if foreign:
            raise Foreign
        self._open = foreign is None

    def _judge_secret(self, first: bytearray) -> None:
        from _operator import _compare_digest  # hmac, which has it too, takes 2 ms to import

        assert self._awaited is not None
        if not _compare_digest(first, self._awaited):
            # A web page is no client, so wait for the end of what may be its request line.
            if self._open and len(self._words) < LONGEST_LINE:
                return
            raise Refused(OTHER_SECRET)
        del self._words[: len(first)]
        self._awaited, self._open = None, False


class Parcel:
    """The launch's side of one connection: what to send, and what the answer means."""

    __slots__ = ("_reply", "found", "packet", "seen")

    # See `_client.Talk`.
    ends_stream = True
    committed = True
    owned = False
    answer = None

    def __init__(self, packet: bytes) -> None:
        self.packet = packet or _NUL
        self._reply = b""
        self.found: str | None = None
        self.seen = ""

    def open(self, remote: object) -> bytes:
        """Return all that there is to say, whoever is at ``remote``."""
        del remote
        return self.packet

    def feed(self, data: bytes) -> bytes:
        """Take what the other side says (nothing: its end), and return what to say: nothing."""
        self._reply += data
        if self._reply != NAK or not data:
            self.found, self.seen = meaning_of(self._reply)
        return b""


def meaning_of(reply: bytes) -> tuple[str, str]:
    """Return the `Answer` in what a host said, and words for it."""
    if not reply:
        return Answer.CLOSED, "it is of version 2.0.0, or has just ended"
    if reply.startswith(ACK):
        return Answer.OWNED, ""
    if reply.startswith(NAK + ENOUGH_CLIENTS):
        return Answer.ENOUGH, "it takes no more launches (max_clients)"
    if reply.startswith(NAK):
        return Answer.REJECTED, _REFUSALS.get(reply[1:2], "it refuses this launch")
    return Answer.FOREIGN, f"it answers {reply[:32]!r} and is not a Socket_Singleton"


_REFUSALS = {
    OTHER_SECRET: "it has another secret",
    NEEDS_NO_NAME: "it is a Socket_Singleton without a name",
    NEEDS_A_NAME: "it is a Socket_Singleton with a name, and takes only launches that have it",
    NO_PROOF: "it did not accept the proof of this launch",
    TOO_MANY_WAIT: "too many launches wait there for an answer",
}
