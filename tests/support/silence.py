"""A test that passes prints nothing, except for the output on stdout or stderr that it expects.

Errors in the log of the package, exceptions that end a thread, exceptions that nobody can catch,
warnings, and the output of forked children all go to stderr by default. So checking both streams
at the end of each test finds everything that it did not expect.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import sys
import tempfile
import unittest
import warnings
from unittest import mock

from .waiting import wait_until

# In development mode, asyncio reports on stderr the steps that took longer than 0.1 s. On a busy machine,
# that can happen to any program.
SLOW_STEP = re.compile(r"Executing <.*> took \d+\.\d+ seconds\n" if sys.flags.dev_mode else r"(?!)")


class _Capture:
    """What this process and its children write to one of the standard streams while a test runs."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self._number = name, number
        # One file for all tests: it also gets what something that a test left running writes later.
        with tempfile.TemporaryFile(buffering=0) as file:
            self._file = os.dup(file.fileno())
        self._taken = 0
        self._stream = _text_stream(name, number)

    @contextlib.contextmanager
    def active(self):
        """Redirect the descriptor and the stream to the file meanwhile."""
        before = os.dup(self._number)
        os.dup2(self._file, self._number)
        try:
            with mock.patch.object(sys, self.name, self._stream):
                yield
                self._stream.flush()
        finally:
            os.dup2(before, self._number)
            os.close(before)

    def text(self) -> str:
        """Return what was written and has not been taken yet."""
        self._stream.flush()
        size = os.fstat(self._file).st_size - self._taken
        if hasattr(os, "pread"):
            found = os.pread(self._file, size, self._taken)
        else:  # on Windows, where all writers share this position
            os.lseek(self._file, self._taken, os.SEEK_SET)
            found = os.read(self._file, size)
            os.lseek(self._file, 0, os.SEEK_END)
        return found.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def take(self) -> str:
        """Return what was written, and forget it."""
        text = self.text()
        self._taken = os.fstat(self._file).st_size
        return text


def _text_stream(name: str, number: int):
    encoding = getattr(sys, name).encoding
    return open(number, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)


_STDOUT, _STDERR = _Capture("stdout", 1), _Capture("stderr", 2)

_FORKS_WARN = sys.version_info >= (3, 12) and not hasattr(sys, "pypy_version_info")

# The test runner is created after this is imported, so its output goes where stderr leads now, even while
# a test's stderr is captured; so does the report of a crash.
_terminal = os.dup(2)
sys.stderr = _text_stream("stderr", _terminal)
faulthandler.enable(_terminal)


class SilentTestCase(unittest.TestCase):
    """A test that fails if something unexpected was printed."""

    def run(self, result=None):
        self.unexpected: list[str] = []
        self.addCleanup(self._check_silence)  # registered first, so it is called last
        with _STDOUT.active(), _STDERR.active():
            return super().run(result)

    def _check_silence(self) -> None:
        for stream in (_STDOUT, _STDERR):
            text = SLOW_STEP.sub("", stream.take())
            if text:
                self.unexpected.append(f"on {stream.name}:\n{text}")
        if self.unexpected:
            self.fail("unexpected " + "\nand ".join(self.unexpected))

    @contextlib.contextmanager
    def expect_log(self, *messages: str, repeated: bool = False):
        """Check what the package logs meanwhile: these errors, soon, in this order, and nothing else.

        Args:
            repeated: each of them may occur more than once, in any order.
        """
        with self.assertLogs("Socket_Singleton", "DEBUG") as logs:
            yield logs
            wait_until(lambda: len(logs.records) >= len(messages), f"{len(messages)} errors in the log")
        found = [(record.levelname, record.getMessage()) for record in logs.records]
        self.assertEqual(
            sorted(set(found)) if repeated else found, [("ERROR", message) for message in messages]
        )

    @contextlib.contextmanager
    def expect_stderr(self, pattern: str):
        """Check that everything written to stderr meanwhile matches ``pattern``, soon."""
        before = _STDERR.text()
        self.assertEqual(before, "", "unexpected on stderr")
        yield
        try:
            wait_until(lambda: re.fullmatch(pattern, _STDERR.text(), re.DOTALL), f"{pattern!r} on stderr")
        except AssertionError as error:
            raise AssertionError(f"{error}; there is: {_STDERR.take()}") from None
        _STDERR.take()

    def expect_end_of_thread(self, error: str):
        """Check that a thread of this process ends with ``error`` meanwhile: a pattern of type and text."""
        return self.expect_stderr(rf"Exception in thread .*Traceback .*\n{error}\n+")

    @contextlib.contextmanager
    def expect_warning_of_forks(self):
        """Check that this process gets one warning meanwhile, about a fork beside its threads.

        Only CPython 3.12 and later warn.
        """
        parent = os.getpid()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        if os.getpid() == parent:  # the child gets no warning, but leaves this block too
            found = [(warning.category, str(warning.message).partition(" multi-")[2]) for warning in caught]
            warned = (DeprecationWarning, "threaded, use of fork() may lead to deadlocks in the child.")
            self.assertEqual(found, [warned] if _FORKS_WARN else [])
