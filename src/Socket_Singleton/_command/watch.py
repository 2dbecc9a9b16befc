"""``python -m Socket_Singleton watch``: a host that prints its launches."""

from __future__ import annotations

import json
import os
import sys

from .. import MultipleSingletonsError, Socket_Singleton
from .._wakeup import WokenBySignals, wait_until_writable
from .shell import READER_GONE, SIGNALLED, fail
from .signals import handle_signals, wait_for_signal_or_end_of_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def watch(**place: Any) -> int:
    """Be the host until a signal arrives, or nobody reads any more; return the exit status."""
    received: list[int] = []
    # This handler does not raise, since an exception at the wrong moment would leave a socket open.
    handle_signals(lambda number, _: received.append(number))
    if sys.stdout is None:
        return fail("stdout is closed")
    try:
        app = Socket_Singleton(**place, client=False, notify_empty=True, strict=False)
    except MultipleSingletonsError as error:
        return fail(str(error))
    output = sys.stdout.fileno()
    app.trace(_print_json, output)
    with WokenBySignals() as (wakened, _):
        wait_for_signal_or_end_of_reader(received, output, wakened)
    # Nothing is released here: as the program ends, it prints what has arrived.
    return SIGNALLED + received[0] if received else READER_GONE


def _print_json(args: tuple[str, ...], output: int) -> None:
    """Write one line, past the buffer of stdout: the exit must not wait for it."""
    line = memoryview(json.dumps(args).encode() + b"\n")
    try:
        while line:
            try:
                line = line[os.write(output, line) :]
            except BlockingIOError:  # a pipe of Node.js, say, whose reader is slow
                if not wait_until_writable(output):
                    raise
    except OSError as error:
        # The main thread waits where nothing that this thread raises can reach it.
        os._exit(READER_GONE if isinstance(error, BrokenPipeError) else fail(str(error)))
