"""What a launch looks like on the wire. No sockets, no threads: bytes in, bytes out.

Second launch to host: ``[secret NUL] arg NUL arg NUL ...`` and the end of the
stream; no arguments and no secret is a single NUL. Text is UTF-8, and bytes of
a command line that are not travel as Python holds them (PEP 383).

Host to second launch: one :data:`ACK` once the host owns the whole packet.
Whatever follows the first byte is reserved; readers ignore it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself takes 3 ms to import
if TYPE_CHECKING:
    from typing import Sequence

ACK = b"\x06"

# Bytes, the secret included. Above what any system lets a command line hold:
# Linux stops at 6 MiB, the others far earlier.
MAX_PACKET = 8 * 1024 * 1024

_NUL = b"\0"
_ENCODING = ("utf-8", "surrogateescape")


class WrongSecret(Exception):
    """The packet does not begin with the secret that this host asks for."""


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
    """Return the packet of one launch.

    Raises:
        TypeError, ValueError: an argument cannot travel (see `encode_text`),
            or the packet would be longer than `MAX_PACKET`.
    """
    parts = [] if secret is None else [secret]
    parts += [encode_text(f"argument {n}", text) for n, text in enumerate(argv, 1)]
    packet = _NUL.join(parts or [b""]) + _NUL
    if len(packet) > MAX_PACKET:
        raise ValueError(f"the arguments take {len(packet)} bytes; a packet holds {MAX_PACKET}")
    return packet


def decode(payload: bytearray) -> tuple[str, ...]:
    """Return the arguments in what `Packet.end` returned. Any bytes at all decode."""
    return tuple(payload.decode(*_ENCODING).split("\0")) if payload else ()


class Packet:
    """One packet on its way in: fed as its bytes arrive, judged as early as can be."""

    __slots__ = ("_awaited", "_payload", "_received")

    def __init__(self, secret: bytes | None = None) -> None:
        self._payload = bytearray()
        self._received = 0  # bytes in all; the payload is without the secret
        # What the packet must begin with; None once it has been seen.
        self._awaited = None if secret is None else secret + _NUL

    @property
    def started(self) -> bool:
        """Whether a single byte of it has arrived."""
        return self._received > 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the packet.

        Raises:
            WrongSecret: as many bytes as the secret has, and its NUL, are
                there, and are others.
            PacketTooLong: with these bytes it is.
        """
        self._received += len(data)
        if self._received > MAX_PACKET:
            raise PacketTooLong
        self._payload += data
        if self._awaited is not None and len(self._payload) >= len(self._awaited):
            self._check_secret(self._payload[: len(self._awaited)])

    def end(self, hung_up: bool = True) -> bytearray | None:
        """Return the payload, or None if there is none.

        The payload is the packet without its secret and without its terminator,
        which is exactly one NUL at the end; it is empty for a launch without
        arguments.

        Args:
            hung_up: whether the peer ended its stream. One that only went
                silent may be in the middle of a word: what it sent counts if
                it ends in NUL.

        Raises:
            WrongSecret: the packet ended before it showed the secret.
        """
        whole = hung_up or not self._payload or self._payload.endswith(_NUL)
        if not (self.started and whole):
            return None
        if self._awaited is not None:
            self._check_secret(self._payload + _NUL)
        if self._payload.endswith(_NUL):
            del self._payload[-1]
        return self._payload

    def _check_secret(self, first: bytearray) -> None:
        from hmac import compare_digest  # 2 ms, so only for those who use a secret

        assert self._awaited is not None
        if not compare_digest(first, self._awaited):
            raise WrongSecret
        del self._payload[: len(first)]
        self._awaited = None
