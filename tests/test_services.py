"""The examples of services: their commands, how a tool starts them, and long jobs."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Socket_Singleton import Socket_Singleton

from .support import PATIENCE, environment, needs_resets, wait_until
from .test_examples import EXAMPLES, ExampleTestCase

READY = "The service is running. The command stop ends it."
USAGE = r"usage: service\.py \[-h\] command \.\.\.\n"
NO_COLOUR = "There is no colour."


class ServiceTestCase(ExampleTestCase):
    def setUp(self):
        super().setUp()
        (name,) = re.findall('"(org.example.*?)"', (self.examples / "service.py").read_text(encoding="utf-8"))
        self.name = name

    def command(self, *words, status=0, example="service.py"):
        return self.finish(self.example(example, *words), status)

    def assert_said(self, program, out, err):
        self.assertEqual((program.out, program.err), (out, err))

    def stop(self, service):
        self.assert_said(self.command("stop"), "The service has stopped.", "")
        self.finish(service)


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
class TestService(ServiceTestCase):
    def test_commands(self):
        service = self.example("service.py", "set", "size", "42", ready=READY)
        for words, status, out, err in (
            (("get", "size"), 0, "42", ""),
            (("get", "colour"), 1, "", NO_COLOUR),
            (("has", "colour"), 1, "", ""),
            (("set", "colour", "dark blue"), 0, "", ""),
            (("has", "colour"), 0, "", ""),
            (("get", "colour"), 0, "dark blue", ""),
            ((), 0, "", ""),
        ):
            with self.subTest(words=words):
                self.assert_said(self.command(*words, status=status), out, err)
        self.stop(service)
        self.assert_said(service, READY, "")  # and nothing that was printed to the launches

    def test_help_and_errors_are_those_of_argparse(self):
        service = self.example("service.py", ready=READY)
        for words in (("help",), ("--help",), ("get", "-h")):
            with self.subTest(words=words):
                launch = self.command(*words)
                usage = r"usage: service\.py get \[-h\] key\n" if "get" in words else USAGE
                self.assertRegex(launch.out, rf"\A{usage}")
                self.assertEqual(launch.err, "")
        self.assert_said(
            self.command("get", status=2),
            "",
            "usage: service.py get [-h] key\n"
            "service.py get: error: the following arguments are required: key",
        )
        launch = self.command("paint", "it", status=2)
        self.assertRegex(launch.err, rf"\A{USAGE}service\.py: error: .*invalid choice: '?paint")
        self.assertEqual(launch.out, "")
        self.stop(service)
        self.assert_said(service, READY, "")

    def test_first_launch_is_answered_like_later_ones(self):
        for words, status, out, err in (
            (("stop",), 0, r"The service has stopped\.", ""),
            (("help",), 0, rf"{USAGE}[^§]*", ""),
            (("--help",), 0, rf"{USAGE}[^§]*", ""),
            (("paint",), 2, "", rf"{USAGE}service\.py: error: .*"),
        ):
            with self.subTest(words=words):
                launch = self.command(*words, status=status)
                self.assertRegex(launch.out, rf"\A{out}\Z")
                self.assertRegex(launch.err, rf"\A{err}\Z")
                self.assertNotIn(READY, launch.lines)

    def test_service_starts_although_its_first_command_fails(self):
        service = self.example("service.py", "get", "colour", ready=READY)
        self.command("has", "colour", status=1)
        self.stop(service)
        self.assert_said(service, READY, NO_COLOUR)


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
class TestStartService(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.end_service)

    def end_service(self):
        """End the service that a tool has started; it is not a child of the test."""

        def has_ended():
            # A service that another tool has started may appear after the first one was stopped.
            try:
                Socket_Singleton.ask(["stop"], name=self.name, timeout=PATIENCE, stdout=io.StringIO())
            except ConnectionError:
                pass  # it is not running, or was just ending
            return not self.is_running() and not list(self.starting())

        wait_until(has_ended, "the service has ended")

    def starting(self):
        """Yield the services that tools have started and that have not ended, as far as /proc tells."""
        home = b"HOME=" + os.fsencode(self.folder)
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if path.parent.name != str(os.getpid()) and home in path.read_bytes().split(b"\0"):
                    yield path.parent.name

    def is_running(self):
        return Socket_Singleton.is_running(name=self.name)

    def tool(self, *words, status=0):
        return self.command(*words, status=status, example="start_service.py")

    def test_it_starts_the_service_and_asks_it(self):
        self.assertFalse(self.is_running())
        self.assert_said(self.tool("get", "colour", status=1), "", NO_COLOUR)
        service = Socket_Singleton.pid_of(self.name)
        self.assert_said(self.tool("set", "colour", "blue"), "", "")
        self.assert_said(self.tool("get", "colour"), "blue", "")
        self.assertRegex(self.tool("paint", status=2).err, rf"\A{USAGE}")
        self.assertEqual(Socket_Singleton.pid_of(self.name), service)
        self.assert_said(self.tool("stop"), "The service has stopped.", "")
        wait_until(lambda: not self.is_running(), "the service has ended")

    @unittest.skipUnless(hasattr(os, "getsid"), "only POSIX has sessions")
    def test_service_has_a_session_of_its_own_and_no_terminal(self):
        self.tool("set", "colour", "blue")
        service = Socket_Singleton.pid_of(self.name)
        self.assertEqual(os.getsid(service), service)
        self.assertNotEqual(os.getsid(service), os.getsid(0))

    # Wine shows the /proc of the system that it runs on.
    @unittest.skipUnless(os.name == "posix" and os.path.isdir("/proc/self/fd"), "no /proc")
    def test_service_keeps_no_stream_of_the_tool_open(self):
        """So a reader of the tool's output sees its end."""
        self.tool("set", "colour", "blue")  # `finish` has read both of its streams to their ends
        service = Socket_Singleton.pid_of(self.name)
        streams = {os.readlink(f"/proc/{service}/fd/{number}") for number in range(3)}
        self.assertEqual(streams, {os.devnull})

    @needs_resets  # some of the simultaneous tools meet a service that is just ending
    def test_thirty_simultaneous_tools_have_one_service_and_thirty_answers(self):
        def run(number):
            return subprocess.run(
                [
                    sys.executable,
                    str(self.examples / "start_service.py"),
                    "set",
                    f"key {number}",
                    str(number),
                ],
                capture_output=True,
                timeout=4 * PATIENCE,
                check=False,
                env=environment(),
            )

        with ThreadPoolExecutor(30) as executor:
            ends = list(executor.map(run, range(30)))
        self.assertEqual([(end.returncode, end.stdout, end.stderr) for end in ends], [(0, b"", b"")] * 30)
        # One service has all of it.
        for number in range(30):
            out = io.StringIO()
            Socket_Singleton.ask(["get", f"key {number}"], name=self.name, stdout=out)
            self.assertEqual(out.getvalue(), f"{number}\n")

    def test_service_that_does_not_start(self):
        folder = self.make_folder()
        text = (self.examples / "start_service.py").read_text(encoding="utf-8")
        (folder / "start_service.py").write_text(
            re.sub(r"START_TIME = \d+", "START_TIME = 0.2", text), encoding="utf-8"
        )
        (folder / "service.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
        tool = self.finish(self.start(folder / "start_service.py", "get", "colour"), 1)
        self.assert_said(tool, "", "The service did not start within 0.2 seconds.")


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
class TestProgress(ExampleTestCase):
    def setUp(self):
        super().setUp()
        self.program = self.example("progress.py", ready="Running. Press Enter to quit.")

    def end(self):
        self.program.write("\n")
        self.finish(self.program)
        self.assertEqual(self.program.err, "")

    def test_lines_appear_while_the_job_is_done(self):
        long_one = self.example("progress.py", "100000", ready="step 1 of 100000")
        short_one = self.finish(self.example("progress.py", "2", "1"))
        self.assertEqual(short_one.lines, ["step 1 of 2", "step 2 of 2", "step 1 of 1"])
        self.assertIsNone(long_one.process.poll())
        long_one.kill()
        self.end()

    def test_job_stops_when_its_launch_has_gone(self):
        launch = self.example("progress.py", "100000", ready="step 2 of 100000")
        launch.kill()
        self.stopped()
        self.end()

    @unittest.skipIf(os.name == "nt", "Ctrl-C is a signal on POSIX")
    def test_job_stops_at_control_c(self):
        launch = self.example("progress.py", "100000", ready="step 1 of 100000")
        launch.interrupt()
        self.finish(launch, 130)
        self.assertEqual(launch.err, "")
        self.stopped()
        self.end()

    def stopped(self):
        line = re.compile(r"stopped after step \d+ of 100000")
        stopped = wait_until(lambda: list(filter(line.fullmatch, self.program.lines)), "the job has stopped")
        self.assertEqual(len(stopped), 1)

    def test_job_that_has_begun_is_finished_although_the_program_ends(self):
        launch = self.example("progress.py", "5", ready="step 1 of 5")
        self.end()
        self.finish(launch)
        self.assertEqual(launch.lines, [f"step {step} of 5" for step in range(1, 6)])

    def test_first_launch_may_have_a_job(self):
        self.end()
        program = self.example("progress.py", "2", ready="Running. Press Enter to quit.")
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.lines, ["step 1 of 2", "step 2 of 2", "Running. Press Enter to quit."])
