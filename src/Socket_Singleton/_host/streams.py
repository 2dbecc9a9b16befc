"""The stdout and stderr of a launch, as observers write to them."""

from __future__ import annotations

import io
import threading

from .._answers import encode_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .replies import Reply

# How many characters of an unfinished line are kept until more come; beyond that, they are sent.
# And in how many pieces they are kept; beyond that, these are joined.
_MAX_PARTIAL = 64 * 1024
_MAX_PIECES = 64


class Stream(io.TextIOBase):
    """A text stream to one launch; if no launch is waiting, what is written is thrown away.

    It extends `io.TextIOBase`, because `io.TextIOWrapper` loses bytes if several threads write.
    """

    encoding = "utf-8"
    errors = "surrogateescape"
    line_buffering = True

    def __init__(self, reply: Reply | None, kind: int) -> None:
        self._reply = reply
        self._kind = kind  # of its frames: which stream of the launch this is
        # By thread, the beginning of the line that it is writing: so `print(a, b)`, which writes in
        # four steps, arrives in one piece even if other threads write too. Each thread writes only
        # its own entry, and `send_all` takes those of others, in single steps.
        self._partial: dict[int, list[str]] = {}
        self._is_known = False  # to the reply, which sends what is kept here before the answer

    def write(self, text: str) -> int:
        """Send ``text`` if it ends a line; otherwise keep it until more does, or until ``flush``."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        reply = self._reply
        if reply is None or reply.discards():
            return len(text)
        reply.check()  # also if the line goes on, so that a program that prints dots learns it
        thread = threading.get_ident()
        begun = self._partial.get(thread)
        # A text that ends in the middle of a line is kept as a whole: `print` is about to write its end.
        # That is not so for a progress bar, which has a carriage return.
        ends = text.endswith("\n") or ("\r" in text and "\n" not in text)
        if begun is None and ends:
            reply.write(self._kind, encode_answer(text))
            return len(text)
        if begun is None:
            if not self._is_known:
                self._is_known = True
                reply.streams.append(self)
            begun = self._partial[thread] = []
        begun.append(text)
        if len(begun) > _MAX_PIECES:
            begun[:] = ["".join(begun)]
        if ends or sum(map(len, begun)) > _MAX_PARTIAL:
            reply.write(self._kind, self._take_begun(thread))
        return len(text)

    def flush(self) -> None:
        """Send what this thread has written of an unfinished line."""
        if self._reply is not None and not self._reply.discards():
            self._send(threading.get_ident(), wait=True)

    def send_all(self) -> None:
        """Send what all threads have written of unfinished lines, without waiting."""
        for thread in self._partial.copy():
            self._send(thread, wait=False)

    def _send(self, thread: int, wait: bool) -> None:
        begun = self._take_begun(thread)
        if begun and self._reply is not None:
            self._reply.write(self._kind, begun, wait)

    def _take_begun(self, thread: int) -> bytes:
        begun = self._partial.pop(thread, None)
        return encode_answer("".join(begun)) if begun is not None else b""

    @property
    def buffer(self) -> Any:
        """A binary stream to the same place."""
        return Bytes(self)

    def write_bytes(self, data: bytes) -> None:
        """Send ``data`` after what this thread has written of an unfinished line."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        reply = self._reply
        if reply is not None and not reply.discards():
            begun = self._take_begun(threading.get_ident())
            reply.write(self._kind, begun + data if begun else data)

    def close(self) -> None:
        """Close only this stream; the answer can still be given. Unfinished lines are sent."""
        if not self.closed:
            self.send_all()
            super().close()

    def __del__(self) -> None:
        pass  # that of `io.IOBase` closes the stream; but a finalizer may run on any thread, at any point

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False."""
        return False


class Bytes(io.BufferedIOBase):
    """The binary stream under a `Stream`: each write is sent at once."""

    def __init__(self, text: Stream) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        """Send ``data``; return its number of bytes."""
        sent = bytes(memoryview(data))
        self._text.write_bytes(sent)
        return len(sent)

    def flush(self) -> None:
        """Send what this thread has written to the text stream of an unfinished line."""
        self._text.flush()

    def __del__(self) -> None:
        pass

    def writable(self) -> bool:
        """Return True."""
        return True
