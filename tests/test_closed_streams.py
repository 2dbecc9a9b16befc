"""The command line with closed or full standard streams: each status is the same as otherwise."""

from __future__ import annotations

import os
import signal
import sys
import unittest
from pathlib import Path

from Socket_Singleton import Socket_Singleton

from .support import Collector, Program, SingletonTestCase, wait_until

CLOSED = ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-")

# Exits with 5, or with 6 if one of its standard streams is a socket, which can only be ours.
FIVE = """
import os, stat, sys
status = 5
for stream in range(3):
    try:
        if stat.S_ISSOCK(os.fstat(stream).st_mode):
            status = 6
    except OSError:
        pass
os._exit(status)
"""


@unittest.skipUnless(os.name == "posix", "a shell that closes streams")
class TestClosedStreams(SingletonTestCase):
    def begin(self, streams: str, *words, **options) -> Program:
        """Start a subcommand with the streams that a shell gives it after ``streams``."""
        command = (sys.executable, "-m", "Socket_Singleton", "--port", self.port, *words)
        program = Program(["/bin/sh", "-c", f'exec "$@" {streams}', "sh", *command], **options)
        self.addCleanup(program.kill)
        return program

    def check(self, expected: int, *words, closed=CLOSED) -> None:
        for streams in closed:
            with self.subTest(words=words[:3], streams=streams):
                program = self.finish(self.begin(streams, *words), expected)
                self.assertNotIn("Traceback", program.err)

    def assert_free(self) -> None:
        Socket_Singleton(port=self.port, strict=False, client=False).release()

    # -- run --

    def test_run_passes_on_the_status(self):
        self.check(5, "run", "--", sys.executable, "-c", FIVE)
        self.check(0, "run", "--", "true")
        self.assert_free()

    def test_run_passes_on_the_streams_that_are_open(self):
        says = "echo out; echo err >&2"  # in a shell: PyPy reports on stdout that it cannot write to stderr
        for streams, out, err in (("<&-", "out", "err"), ("2>&-", "out", ""), (">/dev/null", "", "err")):
            with self.subTest(streams=streams):
                program = self.begin(streams, "run", "--", "/bin/sh", "-c", says)
                program.wait()
                self.assertEqual((program.out, program.err), (out, err))

    def test_run_reports_death_by_signal(self):
        dies = "import os; os.kill(os.getpid(), 9)"
        self.check(128 + signal.SIGKILL, "run", "--", sys.executable, "-c", dies)

    def test_run_of_something_that_cannot_be_run(self):
        self.check(127, "run", "--", "no-such-command")
        self.check(126, "run", "--", "/etc/passwd")
        self.assert_free()

    def test_run_holds_the_port_meanwhile(self):
        for streams in ("<&-", "2>&-", "<&- 2>&-"):
            with self.subTest(streams=streams):
                program = self.begin(streams, "run", "--", "sh", "-c", "echo up; exec sleep 1000")
                program.expect("up")
                self.assertTrue(Socket_Singleton.is_running(port=self.port))
                os.kill(program.pid, signal.SIGTERM)
                self.finish(program, 128 + signal.SIGTERM)

    def test_second_run(self):
        observer = Collector()
        self.singleton().trace(observer)
        self.check(0, "run", "--", "echo", "no")
        observer.wait_for(*[("echo", "no")] * len(CLOSED))
        self.check(1, "run", "--no-forward", "--", "echo", "no")
        self.check(9, "run", "--exit-code", "9", "--", "echo", "no")

    # -- send, status, watch, usage --

    def test_send(self):
        self.check(1, "send", "--", "to nobody")
        observer = Collector()
        self.singleton().trace(observer)
        self.check(0, "send", "--", "word")
        observer.wait_for(*[("word",)] * len(CLOSED))

    def test_status(self):
        full = (*CLOSED, ">/dev/full", ">/dev/full 2>&1") if Path("/dev/full").exists() else CLOSED
        self.check(1, "status", closed=full)
        self.singleton()
        self.check(0, "status", closed=full)

    def test_watch(self):
        for streams in ("<&-", "2>&-", "<&- 2>&-"):
            with self.subTest(streams=streams):
                program = self.begin(streams, "watch")
                wait_until(lambda: Socket_Singleton.is_running(port=self.port), "it watches")
                Socket_Singleton.send(["word"], port=self.port)
                program.expect('["word"]')
                os.kill(program.pid, signal.SIGTERM)
                self.finish(program, 128 + signal.SIGTERM)
        # Nobody would read what it prints.
        self.check(1, "watch", closed=[streams for streams in CLOSED if ">&-" in streams.split()])
        self.singleton()
        self.check(1, "watch")

    def test_wrong_usage(self):
        self.check(64, "run")
        self.check(64, "status", "--nonsense")
