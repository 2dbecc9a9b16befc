"""No test sleeps to wait for something: it waits for a condition, under a deadline."""

from __future__ import annotations

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
