"""What the tests measure with tells the truth."""

from __future__ import annotations

import signal
import time
import unittest

from .support import SingletonTestCase, Stopwatch, wait_until

# Measures until its parent says a word.
MEASURE = """
import sys, time
from waiting import Stopwatch
with Stopwatch() as took:
    print("begun", flush=True)
    sys.stdin.readline()
print("took", took.seconds, flush=True)
"""


class TestSupport(SingletonTestCase):
    def test_stopwatch_counts_a_wait(self):
        with Stopwatch() as took:
            time.sleep(0.5)  # what is measured
        self.assertGreater(took.seconds, 0.25)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_stopwatch_does_not_count_while_the_process_cannot_run(self):
        program = self.start("-c", MEASURE, ready="begun")
        begun = time.monotonic()
        with program.stopped():
            time.sleep(1.0)  # what is not measured
        program.write("\n")
        self.finish(program)
        took = float(wait_until(lambda: program.lines[1:], "the figure")[0].split()[1])
        self.assertLess(took, time.monotonic() - begun - 0.9)
