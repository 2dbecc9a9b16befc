"""The host's side of a connection without a name: when a packet is complete, and what is not a packet.

The bytes are described in `_packet`, which has the launch's side.
"""

from __future__ import annotations

from .._packet import ENCODING, HELLO, MAX_PACKET, NEEDS_NO_NAME, NUL, OTHER_SECRET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LINE = b"\r\n"

# STUN's magic cookie (RFC 8489, section 5), in bytes 4 to 7; or in bytes 6 to 9, since over TCP
# the length may come first, in two bytes (RFC 4571).
_STUN_COOKIE = b"\x21\x12\xa4\x42"

# What begins below this byte may be TLS or STUN: a STUN message begins with two zero bits, and so does the
# length before it, if that is less than 16 KiB. Letters, with which most lines of text begin, are above it.
_TEXT = b"\x40"

# The bytes after which TLS and STUN are certain.
_HEAD = 10

# The most bytes of an HTTP method; the longest registered one has 17.
_LONGEST_METHOD = 32

# The most bytes kept of what may be a request line, although it lacks the expected secret or hello:
# it may come from a web page, which does not count as a client. Common servers accept no longer lines.
LONGEST_LINE = 8 * 1024

# The characters of a method, or any other HTTP token (RFC 9110, section 5.6.2).
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Foreign(Exception):
    """The stream has another protocol (HTTP, TLS, STUN), which a web page can make a browser send."""


class Refused(Exception):
    """The packet is rejected; ``reason`` is the byte that follows `NAK`."""

    def __init__(self, reason: bytes) -> None:
        super().__init__(reason)
        self.reason = reason


class PacketTooLong(Exception):
    """The packet is longer than :data:`MAX_PACKET`."""


def decode(words: bytes | bytearray) -> tuple[str, ...]:
    """Return the arguments in what `encode` returned, or `Packet` received. Any bytes can be decoded."""
    return tuple(words.decode(*ENCODING).split("\0")[:-1])


def is_foreign(stream: bytearray, since: int) -> bool | None:
    """Return whether a stream with this beginning has another protocol; None if that is still open.

    Args:
        since: how many of the bytes were judged before, and left it open.
    """
    if stream[:1] < _TEXT:
        if _is_stun(stream) or _is_tls(stream):
            return True
        if len(stream) < _HEAD:
            return None
        if since < _HEAD:
            since = 0  # a line that has ended in them was not judged yet
    # An argument may contain a whole request line, but it ends at a NUL.
    nul = stream.find(NUL, since)
    end = stream.find(_LINE, max(since - 1, 0), nul if nul >= 0 else len(stream))
    if end >= 0:
        return _is_request_line(stream[:end])
    return None if nul < 0 and _may_be_request_line(stream) else False


def _is_stun(stream: bytearray) -> bool:
    return _STUN_COOKIE in (stream[4:8], stream[6:10])


def _is_tls(stream: bytearray) -> bool:
    """Return whether it is a TLS record with a ClientHello (RFC 8446, section 5.1)."""
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
    """The host's side of one connection: fed as bytes arrive, and judged as early as possible.

    ========  ====================================  =============================
    state     input                                 new state
    ========  ====================================  =============================
    unjudged  the secret; if none, the first bytes  judged, or it raises
    unjudged  HTTP, TLS, STUN, a hello              over: it raises
    judged    more                                  judged
    either    the end                               over: it has words, or raises
    ========  ====================================  =============================
    """

    __slots__ = ("_awaited", "_open", "_received", "_words", "words")

    # Attributes of `.proof.HostSide`, which takes the place of this class if the host has a name.
    asks = False
    proved = False
    decode: Callable[[bytearray], Any] | None = None

    def __init__(self, secret: bytes | None = None) -> None:
        self._words = bytearray()
        self._received = 0  # in bytes; unlike `_words`, with the secret
        self._open = True  # whether it may still be another protocol
        # What the packet must begin with; None once it has been seen.
        self._awaited = None if secret is None else secret + NUL
        # The arguments, as `encode` makes them, once the packet is whole.
        self.words: bytearray | None = None

    @property
    def has_arguments(self) -> bool:
        """Whether the packet is whole, and holds arguments."""
        return bool(self.words)

    @property
    def started(self) -> bool:
        """Whether any byte of it has arrived."""
        return self._received > 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the packet, and return what to send to the peer: nothing.

        Raises:
            Foreign: it is another protocol.
            Refused: it has another secret, or asks for a host with a name.
            PacketTooLong: it is too long with these bytes.
        """
        self._received += len(data)
        if self._received > MAX_PACKET:
            raise PacketTooLong
        self._words += data
        awaited = self._awaited
        is_due = awaited is not None and len(self._words) >= len(awaited)
        if is_due and self._shows_secret(self._words[: len(awaited or b"")]):
            return b""  # whoever knows it speaks this protocol, whatever its arguments look like
        if self._open:
            self._judge_protocol(len(self._words) - len(data))
        # A web page does not count as a client, so wait for the end of what may be a request line.
        if is_due and not (self._open and len(self._words) < LONGEST_LINE):
            raise Refused(OTHER_SECRET)
        return b""

    def end(self, hung_up: bool = True) -> bool:
        """Take the end of the stream; return whether the packet is whole, so that `words` is set.

        It is without the secret, and ends in a NUL even if the peer left that out.
        A single NUL means no arguments.

        Args:
            hung_up: whether the peer ended its stream. If it only fell silent,
                it may be in the middle of an argument, so what it sent only
                counts if it ends in a NUL.

        Raises:
            Refused: the packet does not begin with the secret.
        """
        whole = hung_up or not self._words or self._words.endswith(NUL)
        if not (self.started and whole):
            return False
        self._open = False
        if self._awaited is not None and not self._shows_secret(self._words + NUL):
            raise Refused(OTHER_SECRET)
        if not self._words.endswith(NUL):
            self._words += NUL
        self.words = self._words if len(self._words) > 1 else bytearray()
        return True

    def _judge_protocol(self, since: int) -> None:
        if self._words[:1] == HELLO[:1] and HELLO.startswith(self._words[: len(HELLO)]):
            if len(self._words) >= len(HELLO):
                raise Refused(NEEDS_NO_NAME)
            return
        # As long as it began like a hello, it was not judged.
        foreign = is_foreign(self._words, since if since > len(HELLO) else 0)
        if foreign:
            raise Foreign
        self._open = foreign is None

    def _shows_secret(self, first: bytearray) -> bool:
        """Return whether ``first``, the beginning of the packet, is the secret; if so, remove it."""
        from _operator import _compare_digest  # hmac, which has it too, takes 2 ms to import

        assert self._awaited is not None
        if not _compare_digest(first, self._awaited):
            return False
        del self._words[: len(first)]
        self._awaited, self._open = None, False
        return True
