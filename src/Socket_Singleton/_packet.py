"""The bytes of a second launch, and what a host's reply to them means.

Second launch to host: ``[secret NUL] arg NUL arg NUL ...`` and the end of the
stream; no arguments and no secret is a single NUL. Text is UTF-8, and bytes of
a command line that are not travel as Python holds them (PEP 383).

Host to second launch: one :data:`ACK` once the host owns the whole packet; or
:data:`NAK` and a byte that says why it refuses. Readers ignore what follows.

`Parcel` is the launch's side of a connection, `_host.packet.Packet` the host's.
A launch with a name says more, in both directions: see `_proof`.
"""

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
# data answers that at once, and so is recognized at once.
HELLO = b"HELLO Socket_Singleton/1\r\n\r\n"

# Bytes, the secret included. Above what any system lets a command line hold:
# Linux stops at 6 MiB, the others far earlier.
MAX_PACKET = 8 * 1024 * 1024

NUL = b"\0"
ENCODING = ("utf-8", "surrogateescape")


class Answer:
    """What a launch found on a port that is taken; `_client` has the table of what follows from it.

    The same words are `MultipleSingletonsError.outcome`; `_outcome` says what they mean.
    """

    # Not an Enum: to make one takes longer than to ask.
    OWNED = "delivered"
    ENOUGH = "ignored"  # the host takes no more launches
    FULL = "full"  # as many launches wait for an answer as the host lets wait
    CLOSED = "unknown"  # an orderly end without a byte
    REFUSED = "nobody"  # nothing listens
    RESET = "reset"
    UNREACHED = "unreachable"  # it listens, but its backlog is full
    CUT = "truncated"  # 2.0.0, and the packet was too long for it
    FOREIGN = "stranger"  # another program
    UNPROVEN = "unproven"  # a host that has another name or key, or is in another network
    REJECTED = "rejected"  # a host that does not take this launch: another secret, no name
    SILENT = "silent"
    LATE = "late"  # it owns the packet, and did not answer in time
    LOST = "lost"  # it owned the packet, and ended before it answered
    SEVERED = "cut off"  # it owns the packet, and gave up on a launch that did not read its output
    FOUND = "not sent"  # a program listens, and was not asked for more


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
    return text.encode(*ENCODING)


def encode(argv: "Sequence[str]", secret: "bytes | None" = None) -> bytes:
    """Return ``argv``, behind ``secret`` if there is one: each part and a NUL. No parts are no bytes.

    Raises:
        TypeError, ValueError: an argument cannot travel (see `encode_text`),
            or all of them are more than `MAX_PACKET` bytes.
    """
    parts = [] if secret is None else [secret]
    parts += [encode_text(f"argv[{n}]", text) for n, text in enumerate(argv)]
    words = NUL.join([*parts, b""])
    if len(words) > MAX_PACKET:
        raise ValueError(f"the arguments take {len(words)} bytes; the limit is {MAX_PACKET}")
    return words


class Parcel:
    """The launch's side of one connection: what to send, and what the answer means."""

    __slots__ = ("_reply", "found", "packet", "seen")

    # See `_client.Talk`.
    ends_stream = True
    committed = True
    asks = False
    owned = False
    answer = None

    def __init__(self, packet: bytes) -> None:
        self.packet = packet or NUL
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


def meaning_of(reply: bytes) -> "tuple[str, str]":
    """Return the `Answer` in what a host said, and words for it."""
    if not reply:
        return Answer.CLOSED, "it is of version 2.0.0, or has just ended"
    if reply.startswith(ACK):
        return Answer.OWNED, ""
    if reply.startswith(NAK):
        return _REFUSALS.get(reply[1:2], (Answer.REJECTED, "it refuses this launch"))
    return Answer.FOREIGN, f"it answers {reply[:32]!r} and is not a Socket_Singleton"


_REFUSALS = {
    ENOUGH_CLIENTS: (Answer.ENOUGH, "it accepts no more launches (max_clients)"),
    TOO_MANY_WAIT: (Answer.FULL, "too many launches are already waiting there for an answer"),
    OTHER_SECRET: (Answer.REJECTED, "it has another secret"),
    NEEDS_NO_NAME: (Answer.REJECTED, "it is a Socket_Singleton without a name"),
    NEEDS_A_NAME: (
        Answer.REJECTED,
        "it is a Socket_Singleton with a name, and accepts only launches with that name",
    ),
    NO_PROOF: (Answer.REJECTED, "it did not accept the proof of this launch"),
}
