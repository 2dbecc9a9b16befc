"""For programs in which another thread continues after the main thread has ended."""

import sys
import threading
import time

_main = threading.main_thread()


def wait_for_its_end():
    """Return once the main thread has ended; AssertionError if it does not within a minute.

    Without `join` before Python 3.13: it takes a lock of the main thread for a moment, and
    `threading._shutdown` asserts that nobody holds that. The interpreter then waits for no thread at
    all when it ends; with PyPy that happens once in eight times.
    """
    if sys.version_info >= (3, 13):
        _main.join(60)
        assert not _main.is_alive()
        return
    deadline = time.monotonic() + 60
    while not getattr(_main, "_is_stopped", True):
        assert time.monotonic() < deadline
        time.sleep(0.001)
