"""The tools that the tests measure with are right."""

from __future__ import annotations

import functools
import gc
import logging
import signal
import subprocess
import sys
import threading
import time
import unittest
import warnings
from unittest import mock

from .support import PATIENCE, SilentTestCase, SingletonTestCase, Stopwatch, silence, wait_until

# Measures until its parent writes a line.
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
            time.sleep(0.5)  # the time that is measured
        self.assertGreater(took.seconds, 0.25)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_stopwatch_does_not_count_while_the_process_cannot_run(self):
        program = self.start("-c", MEASURE, ready="begun")
        begun = time.monotonic()
        with program.stopped():
            time.sleep(1.0)  # the time that is not measured
        program.write("\n")
        self.finish(program)
        took = float(wait_until(lambda: program.lines[1:], "the result")[0].split()[1])
        self.assertLess(took, time.monotonic() - begun - 0.9)


def log(*messages: str) -> None:
    for message in messages:
        logging.getLogger("Socket_Singleton").error(message)


def end_thread(error: BaseException) -> None:
    thread = threading.Thread(target=mock.Mock(side_effect=error))
    thread.start()
    thread.join()


def raise_in_a_finalizer() -> None:
    class Odd:
        def __del__(self):
            raise ValueError("of a finalizer")

    Odd()
    gc.collect()  # for PyPy


def warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("of nothing", UserWarning, stacklevel=1)


def write_in_a_child(stream: str) -> None:
    subprocess.run([sys.executable, "-c", f"import sys; print('of a child', file=sys.{stream})"], check=True)


class TestSilence(SingletonTestCase):
    """A test fails if it prints something unexpected, or if something expected is not printed."""

    @unittest.skipUnless(sys.flags.dev_mode, "asyncio reports this only in development mode")
    def test_slow_step_of_asyncio(self):
        """The machine is to blame for that."""
        code = "import asyncio, time\nasync def main(): time.sleep(0.2)\nasyncio.run(main())"
        self.assertEqual(self.finish(self.start("-c", code)).err, "")

    def failures(self, body, kind=SilentTestCase) -> str:
        """Return the failures of a test that calls ``body(test)``, with a short wait for missing output."""
        result = unittest.TestResult()
        test = type("Noisy", (kind,), {"test": body})("test")
        with mock.patch.object(silence, "wait_until", functools.partial(wait_until, timeout=0.05)):
            test.run(result)
        self.assertEqual((result.testsRun, result.errors), (1, []))
        return "\n".join(text for _, text in result.failures)

    def test_every_class_is_silent(self):
        for value in vars(sys.modules[__package__]).values():
            if isinstance(value, type) and issubclass(value, unittest.TestCase):
                self.assertTrue(issubclass(value, SilentTestCase), value)

    def test_unexpected_output(self):
        for noise, where, text in (
            (lambda: log("of the host"), "stderr", "of the host"),
            (lambda: end_thread(ValueError("of a thread")), "stderr", "ValueError: of a thread"),
            (raise_in_a_finalizer, "stderr", "ValueError: of a finalizer"),
            (warn, "stderr", "UserWarning: of nothing"),
            (lambda: print("of a verbose host"), "stdout", "of a verbose host"),
            (lambda: write_in_a_child("stdout"), "stdout", "of a child"),
            (lambda: write_in_a_child("stderr"), "stderr", "of a child"),
        ):
            with self.subTest(text=text, where=where):
                found = self.failures(lambda _, noise=noise: noise())
                self.assertIn(f"unexpected on {where}:\n", found)
                self.assertIn(text, found)
        self.assertEqual(self.failures(lambda test: None), "")

    def test_programs(self):
        def start(test):
            test.finish(test.start("-c", "import sys; print('of a program', file=sys.stderr)"))

        def start_and_look(test):
            start(test)
            test.assertEqual(test.programs[0].err, "of a program")

        class Noisy(SingletonTestCase):
            def finish(self, program, status=0):
                self.programs = [super().finish(program, status)]
                return program

        self.assertIn("of a program", self.failures(start, Noisy))
        self.assertEqual(self.failures(start_and_look, Noisy), "")

    def test_expected_output(self):
        def say(*lines):
            for line in lines:
                print(line, file=sys.stderr)

        def end(error="expected"):
            end_thread(ValueError(error))

        for expect, right, wrong in (
            (lambda test: test.expect_log("a", "b"), lambda: log("a", "b"), lambda: log("a", "other")),
            (
                lambda test: test.expect_log("a", "b", repeated=True),
                lambda: log("b", "a", "b"),
                lambda: log("b", "a", "other"),
            ),
            (lambda test: test.expect_stderr("a\n"), lambda: say("a"), lambda: say("a", "other")),
            (lambda test: test.expect_end_of_thread("ValueError: expected"), end, lambda: end("other")),
        ):

            def provoke(test, what, expect=expect):
                with expect(test):
                    what()

            self.assertEqual(self.failures(lambda test, right=right: provoke(test, right)), "")
            self.assertIn("other", self.failures(lambda test, wrong=wrong: provoke(test, wrong)))
            self.assertNotEqual(self.failures(lambda test: provoke(test, int)), "", "nothing was printed")

    def test_the_suite_prints_one_dot_per_test(self):
        """Checked with classes that cause a lot of output."""
        classes = (
            "TestDeliveryEnduresErrors",
            "TestForks",
            "TestLog",
            "TestObservers",
            "TestUnexpectedError",
        )
        command = ["-m", "unittest", *(f"tests.{name}" for name in classes)]
        suite = self.start(*command, env={"PYTHONWARNINGS": ""})
        suite.wait(5 * PATIENCE)  # it is many tests
        self.finish(suite)
        self.assertEqual(suite.out, "")
        self.assertRegex(suite.err, r"\A[.s]+\n-+\nRan \d+ tests in [\d.]+s\n\nOK( \(skipped=\d+\))?\Z")
