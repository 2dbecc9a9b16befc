"""No test sleeps to wait for something: it waits for a condition, under a deadline."""

from __future__ import annotations

import threading
import time

# Seconds until a test gives up on something that happens in milliseconds. Not a
# measure of speed: long enough for a machine with all cores busy.
PATIENCE = 30.0


def wait_until(condition, what: str, timeout: float = PATIENCE):
    """Return the first true value of ``condition()``; fail if there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} seconds: {what}")
        time.sleep(0.002)


class Stopwatch:
    """Measures how long a block takes, without the time in which the machine kept this process from running.

    So a bound in seconds is on what the package does, on a busy machine too. It cannot be broken by others,
    and a wait of our own still counts: a thread that only sleeps runs on time beside it.
    """

    # Seconds between two looks. Later than that by as much again is a stall: less of it, many times,
    # is how several programs share a processor, and a thread that only waits is late once.
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
