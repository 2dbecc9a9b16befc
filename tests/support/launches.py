"""Launches with a name that take their time; what they send is what the package has a launch send."""

from __future__ import annotations

import socket

from . import inside


class LaunchThatDoesNotRead:
    """A launch that asks, but reads no answer until the test does."""

    def __init__(self, name: str, argv, asks: bool = True, after_hello=lambda: None) -> None:
        self._side = side = inside.launch_side(name, argv, asks)
        self._sock = socket.create_connection(inside.place_of_name(name), 30)
        self.said = [side.open(self._sock.getpeername())]  # in each of its turns
        self._sock.sendall(self.said[0])
        after_hello()
        self.received, claim = b"", b""
        while not claim:
            self.received += self._sock.recv(1)
            claim = side.feed(self.received[-1:])
        self.say(claim)

    def say(self, claim: bytes) -> None:
        self.said.append(claim)
        self._sock.sendall(claim)

    def read_reply(self) -> bytes:
        """Return the host's reply: an ACK, or a NAK and the reason."""
        reply = self._receive(1)
        return reply + (self._receive(1) if reply == inside.NAK else b"")

    def read(self, size: int = 0) -> bytes:
        """Return what else the host sends: that many bytes of it, or all up to the end of the answer."""
        if size:
            return self._receive(size, socket.MSG_WAITALL)
        chunks = []
        while self._side.found is None:
            chunks.append(self._receive(1_000_000))
        return b"".join(chunks)

    def _receive(self, size: int, *flags: int) -> bytes:
        data = self._sock.recv(size, *flags)
        self._side.feed(data)
        return data

    def close(self) -> None:
        self._sock.close()


class LaunchThatStopsHalfway(LaunchThatDoesNotRead):
    """A launch that has proved itself, and sends the second half of its packet only at `go_on`."""

    def __init__(self, name: str, word: str) -> None:
        super().__init__(name, (word,))

    def say(self, claim: bytes) -> None:
        half = len(claim) // 2
        self.rest = claim[half:]
        super().say(claim[:half])

    def go_on(self) -> None:
        self._sock.sendall(self.rest)
