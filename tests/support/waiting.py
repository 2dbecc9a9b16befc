"""Tests do not sleep in order to wait for something: they wait for a condition, with a deadline."""

from __future__ import annotations

import sys
import threading
import time

# Seconds until a test gives up on something that takes milliseconds. This does not
# measure speed: it is long enough for a machine with all cores busy. Under wine, a
# process needs seconds to start then.
PATIENCE = 90.0 if sys.platform == "win32" else 30.0
# Seconds after which a launch gives up in a test although the application has accepted it: enough for
# that on a busy machine, and short, because the test waits for all of it.
LAUNCH_LIMIT = PATIENCE / 30


def wait_until(condition, what: str, timeout: float = PATIENCE):
    """Return the first true value of ``condition()``; fail if there is none in time."""
    deadline, pause = time.monotonic() + timeout, 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} seconds: {what}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.02)  # whatever takes long is checked less often: other tests run meanwhile


class Stopwatch:
    """Measures how long a block takes, without the time in which the machine did not let this process run.

    So a limit in seconds applies to what the package does, even on a busy machine. Other programs cannot
    break it, but a wait of our own counts: a thread that only sleeps still runs on time.
    """

    # Seconds between two checks. If a check is late by that much again, it was a stall. Shorter delays are
    # ignored: they happen whenever programs share a processor, or once if a thread only waits.
    _STEP = 0.03

    def __enter__(self):
        self._stalled, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._begun = time.monotonic()
        return self

    def _watch(self) -> None:
        before, ended = time.monotonic(), False
        while not ended:
            ended = self._ended.wait(self._STEP)
            now = time.monotonic()
            late = now - before - self._STEP
            if late > self._STEP:
                self._stalled += late
            before = now

    def __exit__(self, *_) -> None:
        took = time.monotonic() - self._begun
        self._ended.set()
        self._thread.join(PATIENCE)
        self.seconds = took - self._stalled
