"""What a launch that waits reads from the running instance, and shows: output and the answer.

They arrive in frames: one byte for the kind, four for the length of the content (most
significant byte first), and the content.
"""

import codecs
import io
import os
import sys

from ._system import TERMINALS_TAKE_TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# The kinds of frames. The answer is the last frame, and has one of the first four kinds.
NOTHING = 0
STATUS = 1  # a byte
TEXT = 2  # in UTF-8
ERROR = 3  # its text, in UTF-8
STDOUT = 4  # bytes that an observer has written
STDERR = 5
CUT = 6  # the last frame of a launch that was cut off, because it did not read

# Bytes before what a frame holds: its kind and its length. And the most that it can hold.
FRAME_HEAD = 5
MAX_BODY = 2 ** (8 * (FRAME_HEAD - 1)) - 1

# The status of a program whose stdout is a closed pipe, as shells show it: 128 and SIGPIPE.
READER_GONE = 141


class OutputError(Exception):
    """The output of an observer cannot be shown here; the cause says why."""

    talk: "Any" = None  # in which the output came, and which knows the host
    stream: "Any" = None  # that cannot be written


def encode_answer(text: str) -> bytes:
    """Return ``text`` as it travels: a file name that came in bytes goes as the same bytes."""
    try:
        return str.encode(text, "utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte, perhaps beside others that do
        return b"".join(
            str.encode(
                char, "utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "backslashreplace"
            )
            for char in str.__str__(text)
        )


def frame(kind: int, bodies: "list[bytes]") -> "list[bytes]":
    """Return the pieces of one frame that holds ``bodies``."""
    return [bytes([kind]) + sum(map(len, bodies)).to_bytes(FRAME_HEAD - 1, "big"), *bodies]


class Frames:
    """Reads frames as they arrive. Output is passed on at once, the answer when it is whole."""

    def __init__(self, output: "Callable[[int, bytes], object]") -> None:
        self._output = output  # called with the kind and some bytes of output; with none at its end
        self._head = bytearray()  # of a frame, until it is whole
        self._kind = NOTHING
        self._left = 0  # bytes of that frame that have not arrived yet
        self._body = bytearray()  # of the answer

    def feed(self, data: bytes) -> "tuple[int, bytes] | None":
        """Take what comes next; return the kind and the body of the last frame, once it is whole."""
        rest = memoryview(data)
        while rest:
            if not self._left:
                missing = FRAME_HEAD - len(self._head)
                self._head += rest[:missing]
                rest = rest[missing:]
                if len(self._head) < FRAME_HEAD:
                    break
                self._kind, self._left = self._head[0], int.from_bytes(self._head[1:], "big")
                self._head.clear()
            part = bytes(rest[: self._left])
            rest = rest[len(part) :]
            self._left -= len(part)
            if self._kind not in (STDOUT, STDERR):
                self._body += part
                if not self._left:
                    for kind in (STDOUT, STDERR):
                        self._output(kind, b"")
                    return self._kind, bytes(self._body)
            elif part:
                self._output(self._kind, part)
        return None


def read(answer: "tuple[int, bytes]") -> "tuple[str | int | None, str]":
    """Return the answer, and the text of the error, in the frame that a launch received."""
    kind, body = answer
    if kind == STATUS and body:
        return body[0], ""
    if kind == TEXT:
        return body.decode("utf-8", "surrogateescape"), ""
    if kind == ERROR:
        return None, body.decode("utf-8", "surrogateescape") or "an error without a message"
    return None, "" if kind == NOTHING else f"an answer of an unknown kind ({kind})"


class Output:
    """Where a launch shows what observers write: two text streams, by default those of this process."""

    def __init__(self, stdout: "Any" = None, stderr: "Any" = None) -> None:
        self._streams = {
            STDOUT: sys.stdout if stdout is None else stdout,
            STDERR: sys.stderr if stderr is None else stderr,
        }
        # For streams that take only text, or have another encoding.
        self._decoders: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}

    def write(self, kind: int, data: bytes) -> None:
        """Show ``data`` at once, if this program has that stream; without any, show what was incomplete.

        Raises:
            OutputError: it cannot be written.
        """
        stream = self._streams[kind]
        if stream is None:
            return
        try:
            encoding = getattr(stream, "encoding", None) or ""
            buffer = getattr(stream, "buffer", None)
            takes_bytes = buffer is not None and not (
                TERMINALS_TAKE_TEXT and getattr(stream, "isatty", bool)()
            )
            if not takes_bytes or encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
                text = self._text(kind, data)
                if text:
                    self._write_text(kind, stream, buffer, encoding, text)
            elif data:
                _write_all(stream, buffer, data)
        except Exception as error:
            failed = OutputError()
            failed.stream = stream
            raise failed from error

    def _text(self, kind: int, data: bytes) -> str:
        if data and kind not in self._decoders:
            self._decoders[kind] = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        decoder = self._decoders.get(kind)
        return "" if decoder is None else str(decoder.decode(data, final=not data))

    def _write_text(self, kind: int, stream: "Any", buffer: "Any", encoding: str, text: str) -> None:
        # What another encoding cannot hold is escaped, as Python does it for stderr.
        if encoding and _may_be_full(buffer):
            if kind not in self._encoders:
                self._encoders[kind] = codecs.getincrementalencoder(encoding)("backslashreplace")
            _write_all(stream, buffer, self._encoders[kind].encode(text))
            return
        if encoding:
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        stream.write(text)
        stream.flush()

    def show(self, answer: "str | int | None") -> "str | int | None":
        """Show an answer that is a text, on a line of its own; return the code for `SystemExit`.

        Raises:
            OutputError: it cannot be written.
        """
        if not isinstance(answer, str):
            return answer
        if answer:
            self.write(STDOUT, encode_answer(answer if answer.endswith("\n") else answer + "\n"))
            self.write(STDOUT, b"")
        return None


def _may_be_full(buffer: "Any") -> bool:
    """Whether ``buffer`` belongs to a descriptor that does not block, such as a pipe of Node.js."""
    try:
        return not os.get_blocking(buffer.fileno())
    except (OSError, ValueError, AttributeError):
        return False  # there is none, or this system cannot tell


def _write_all(stream: "Any", buffer: "Any", data: bytes) -> None:
    """Write ``data`` to the ``buffer`` of ``stream``, after what was written to that; wait while it is full.

    Only one that does not block can be full; then it takes a part at a time.
    """
    _flush(stream, buffer)
    rest: Any = data
    while rest:
        try:
            written = buffer.write(rest)
        except BlockingIOError as error:
            written = getattr(error, "characters_written", 0)
        if written is None and not isinstance(buffer, io.RawIOBase):
            break  # an object that is like a buffer, and takes everything
        if not written:
            _wait_for_room(buffer)
        rest = memoryview(rest)[written or 0 :]
    _flush(buffer, buffer)


def _flush(stream: "Any", buffer: "Any") -> None:
    while True:
        try:
            stream.flush()
            return
        except BlockingIOError:
            _wait_for_room(buffer)


def _wait_for_room(buffer: "Any") -> None:
    from ._wakeup import wait_until_writable

    if not wait_until_writable(buffer.fileno()):  # pragma: no cover (Windows)
        raise BlockingIOError("the stream is full, and does not block")


def end_of_output(error: OutputError) -> "str | int":
    """Return the code for `SystemExit` of a launch whose output cannot be shown."""
    cause = error.__cause__
    if isinstance(cause, BrokenPipeError):
        forget(error.stream)
        return READER_GONE  # quietly, as any program in front of `head`
    return f"Socket_Singleton: the output of the running instance cannot be shown: {cause}"


def forget(stream: "Any") -> None:
    """Have the interpreter not try again, as it ends, to write what ``stream`` cannot write."""
    try:
        number, descriptor = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        pass  # it has no descriptor
