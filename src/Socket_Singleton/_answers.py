"""What an observer says to a launch that asked, and how a launch reads it.

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
    from typing import Any, Callable

NOTHING = 0
STATUS = 1
TEXT = 2
ERROR = 3

# Bytes before what a frame holds: its kind and its length.
FRAME_HEAD = 5

# The highest exit status of a process.
_LAST_STATUS = 255


class Reply:
    """Where the answer to one launch goes, once it is there.

    `answer` is called by the thread that called the observers, and by the one on
    which a future is done; `close` by whoever has the launch dropped. Only the
    first of them has an effect at the host, which knows what it has sent.
    """

    def __init__(self, send: Callable[[bytes | None], None], settings: Settings) -> None:
        self._send = send
        self._settings = settings

    def answer(self, result: object) -> None:
        """Send what an observer returned, or what it `Raised`; or what the future that it returned holds."""
        try:
            if isinstance(result, Raised) or not hasattr(result, "add_done_callback"):
                frame = self._frame_of(result)
            else:
                self._follow(result)
                return
        except BaseException as error:  # the result's own; or there is no memory for it
            self._settings.tell_raised("Observer", "answer", error)
            frame = self._frame_of(Raised(error))
        self._send(frame)

    def close(self) -> None:
        """Say that no answer will come: the connection ends."""
        self._send(None)

    def hold_exit(self, seconds: float) -> None:
        """Have the end of the interpreter wait until this is sent, but not longer than ``seconds``."""
        import atexit
        import threading

        send, is_sent = self._send, threading.Event()

        def send_and_let_go(frame: bytes | None) -> None:
            send(frame)
            is_sent.set()

        self._send = send_and_let_go
        atexit.register(is_sent.wait, seconds)

    def _follow(self, future: Any) -> None:
        def answer(done: Any) -> None:
            try:
                frame = self._frame_of(done.result())
            except BaseException as error:  # cancelled, too
                if not isinstance(error, SystemExit):
                    self._settings.tell_raised("Future", future, error)
                frame = self._frame_of(Raised(error))
            self._send(frame)

        future.add_done_callback(answer)

    def _frame_of(self, result: object) -> bytes:
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
        self._settings.tell_raised("Observer", "answer", TypeError(text))
        return _error(text)


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
