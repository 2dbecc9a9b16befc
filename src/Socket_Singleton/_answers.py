"""What a launch that waits reads from the running instance, and shows: output and the answer.

They arrive in frames: one byte for the kind, four for the length of the content (most
significant byte first), and the content.
"""

import codecs
import sys

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

# Bytes before what a frame holds: its kind and its length.
FRAME_HEAD = 5

# The status of a program whose stdout is a closed pipe, as shells show it: 128 and SIGPIPE.
READER_GONE = 141


class OutputError(Exception):
    """The output of an observer cannot be shown here; the cause says why."""


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
        self._output = output  # called with the kind and some bytes of output
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
        self._decoders: dict[int, Any] = {}  # for streams that take text alone, or another encoding

    def write(self, kind: int, data: bytes) -> None:
        """Show ``data`` at once. A program without that stream shows nothing.

        Raises:
            OutputError: it cannot be written.
        """
        stream = self._streams[kind]
        if stream is None or not data:
            return
        try:
            encoding = getattr(stream, "encoding", None)
            buffer = getattr(stream, "buffer", None)
            if buffer is not None and encoding and encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
                stream.flush()
                buffer.write(data)
                buffer.flush()
            else:
                stream.write(self._text(kind, data, encoding))
                stream.flush()
        except Exception as error:
            raise OutputError from error

    def _text(self, kind: int, data: bytes, encoding: "str | None") -> str:
        if kind not in self._decoders:
            self._decoders[kind] = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        text: str = self._decoders[kind].decode(data)
        # What another encoding cannot hold is escaped, as Python does it for stderr.
        return text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text

    def show(self, answer: "str | int | None") -> "str | int | None":
        """Show an answer that is a text, on a line of its own; return the code for `SystemExit`.

        Raises:
            OutputError: it cannot be written.
        """
        if not isinstance(answer, str):
            return answer
        if answer:
            self.write(STDOUT, encode_answer(answer if answer.endswith("\n") else answer + "\n"))
        return None


def end_of_output(error: OutputError) -> "str | int":
    """Return the code for `SystemExit` of a launch whose output cannot be shown."""
    cause = error.__cause__
    if isinstance(cause, BrokenPipeError):
        forget_stdout()
        return READER_GONE  # quietly, as any program in front of `head`
    return f"Socket_Singleton: the output of the running instance cannot be shown: {cause}"


def forget_stdout() -> None:
    """Have the interpreter not try again, as it ends, to write what cannot be written."""
    import os

    try:
        number, descriptor = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):
        pass  # it has no descriptor
