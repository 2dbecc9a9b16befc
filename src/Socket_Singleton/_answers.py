"""What an observer says to a launch that asked, and how a launch reads it. Loaded where one asks.

An answer is a frame: a byte for its kind, four for the length of what follows, most
significant first, and that.

============================  ============================================
the observer                  the frame
============================  ============================================
returns ``None``              `NOTHING`
returns an int, 0 to 255      `STATUS`, and that byte
returns a str                 `TEXT`, and that in UTF-8
raises ``SystemExit``         what the interpreter would make of its code
raises anything else          `ERROR`, and ``TypeName: text``
returns anything else         `ERROR`, and ``TypeName is no answer``
returns a future              what it holds when it is done
============================  ============================================
"""

from __future__ import annotations

import sys

from ._observers import Raised
from ._settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, Callable

    from ._platform import sockets

NOTHING = 0
STATUS = 1
TEXT = 2
ERROR = 3

# Bytes before what a frame holds: its kind and its length.
FRAME_HEAD = 5

# The highest exit status of a process.
_LAST_STATUS = 255

# Seconds to send an answer after the host has closed: its launch waits for nothing else.
_ALONE_TIME = 2.0


class Reply:
    """Where the answer to one launch goes, once it is there.

    `answer` is called by the thread that called the observers, and by the one on
    which a future is done; `close` by whoever has the launch dropped. Only the
    first of them has an effect at the host, which knows what it has sent.
    """

    def __init__(self, send: Callable[[bytes | None], None], settings: Settings) -> None:
        self._send = send
        self._settings = settings
        # The connection, after the host has closed; set by the I/O thread while `release`, which
        # the same observer called that will answer, waits for the end of that thread.
        self._sock: sockets.socket | None = None
        self._answered: threading.Event | None = None

    def answer(self, result: object) -> None:
        """Send what an observer returned, or what it `Raised`; or what the future that it returned holds."""
        try:
            if not isinstance(result, Raised) and hasattr(result, "add_done_callback"):
                self._follow(result)
            else:
                self._deliver(self._frame_of(result))
        except BaseException as error:  # no memory for a text
            self._settings.tell_raised("Answer", self, error)
            self.close()

    def close(self) -> None:
        """Say that no answer will come: the connection ends."""
        self._deliver(None)

    def hold_exit(self, seconds: float) -> None:
        """Have the end of the interpreter wait for the answer, but not longer than ``seconds``."""
        if self._answered is None:
            import atexit
            import threading

            self._answered = threading.Event()
            atexit.register(self._answered.wait, seconds)

    def go_on_alone(self, sock: sockets.socket) -> None:
        """Answer over ``sock`` from now on, without the host."""
        sock.settimeout(_ALONE_TIME)
        self._sock = sock

    def _follow(self, future: Any) -> None:
        def answer(done: Any) -> None:
            try:
                result = done.result()
            except BaseException as error:  # cancelled, too
                self._tell_unless_exit(future, error)
                result = Raised(error)
            self._deliver(self._frame_of(result, from_future=True))

        try:
            future.add_done_callback(answer)
        except BaseException as error:
            self._settings.tell_raised("Future", future, error)
            self._deliver(self._frame_of(Raised(error)))

    def _tell_unless_exit(self, future: object, error: BaseException) -> None:
        if not isinstance(error, SystemExit):
            self._settings.tell_raised("Future", future, error)

    def _frame_of(self, result: object, from_future: bool = False) -> bytes:
        """Return the frame for ``result``; what is no answer is logged as well."""
        if isinstance(result, Raised):
            error = result.error
            return _frame_of_exit(error) if isinstance(error, SystemExit) else _error(_shown(error))
        if result is None:
            return _frame(NOTHING, b"")
        if isinstance(result, str):
            return _frame(TEXT, encode_answer(result))
        if type(result) is int and 0 <= result <= _LAST_STATUS:
            return _frame(STATUS, bytes([result]))
        text = f"{type(result).__name__} is no answer"
        self._settings.tell_raised("Future" if from_future else "Observer", "answer", TypeError(text))
        return _error(text)

    def _deliver(self, frame: bytes | None) -> None:
        sock = self._sock
        if sock is None:
            self._send(frame)
        else:
            self._sock, self._send = None, _ignore
            try:
                if frame is not None:
                    sock.sendall(frame)
            except OSError:
                pass  # it has gone
            finally:
                sock.close()
        if self._answered is not None:
            self._answered.set()


def encode_answer(text: str) -> bytes:
    """Return ``text`` as it travels; what is not Unicode in it is escaped."""
    return text.encode("utf-8", "backslashreplace")


def read_frame(data: bytes | bytearray) -> tuple[int, bytes] | None:
    """Return the kind and the body of the frame that ``data`` begins with; None if it is not whole."""
    end = FRAME_HEAD + int.from_bytes(data[1:FRAME_HEAD], "big")
    if len(data) < FRAME_HEAD or len(data) < end:
        return None
    return data[0], bytes(data[FRAME_HEAD:end])


def read(answer: tuple[int, bytes]) -> tuple[str | int | None, str]:
    """Return what an observer answered, and the text of what it raised, in the frame that a launch got."""
    kind, body = answer
    if kind == STATUS and body:
        return body[0], ""
    if kind == TEXT:
        return body.decode("utf-8", "backslashreplace"), ""
    if kind == ERROR:
        return None, body.decode("utf-8", "backslashreplace") or "an error without a text"
    return None, "" if kind == NOTHING else f"an answer of an unknown kind ({kind})"


def show(answer: str | int | None) -> str | int | None:
    """Print a text on stdout; return the code for `SystemExit`.

    What the encoding of stdout has not is escaped, as Python does it for stderr. A
    program without a stdout shows nothing.
    """
    if not isinstance(answer, str):
        return answer
    try:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        if sys.stdout is not None:
            print(answer.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except (OSError, ValueError) as error:
        return f"Socket_Singleton: the answer could not be printed: {error}"
    return None


def _frame(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(FRAME_HEAD - 1, "big") + body


def _error(text: str) -> bytes:
    return _frame(ERROR, encode_answer(text))


def _frame_of_exit(error: SystemExit) -> bytes:
    """Return what the interpreter would make of ``error``: a status, or a text and the status 1."""
    code = error.code
    if code is None:
        return _frame(NOTHING, b"")
    if isinstance(code, int):
        return _frame(STATUS, bytes([code & _LAST_STATUS]))
    try:
        return _error(str(code))
    except BaseException as failure:  # of its own `__str__`
        return _error(_shown(failure))


def _shown(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:  # the error's own `__str__`
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _ignore(_: object) -> None:
    pass
