"""For programs in which another thread goes on when the main thread has ended."""

import sys
import threading
import time

_main = threading.main_thread()


def wait_for_its_end():
    """Return when the main thread has ended; AssertionError if it has not within a minute.

    Not by `join` before Python 3.13: there it takes a lock of the main thread for a moment, and
    `threading._shutdown` asserts that nobody has it. The end then waits for no thread at all; on
    PyPy that is one end of eight.
    """
    if sys.version_info >= (3, 13):
        _main.join(60)
        assert not _main.is_alive()
        return
    deadline = time.monotonic() + 60
    while not getattr(_main, "_is_stopped", True):
        assert time.monotonic() < deadline
        time.sleep(0.001)
