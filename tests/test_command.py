"""The command line, ``python -m Socket_Singleton``, as shells and cron start it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import Socket_Singleton as package
from Socket_Singleton import Socket_Singleton

from .support import (
    PATIENCE,
    PROGRAMS,
    Collector,
    Program,
    SingletonTestCase,
    free_port,
    inside,
    needs_errors_of_folders,
    read_to_end,
    wait_until,
)

POSIX = os.name == "posix"
SECRET = "SOCKET_SINGLETON_SECRET"
PYTHON_C = (sys.executable, "-c")

# Lives until it reads a line or its input ends, and exits with that status.
HOLD = (
    *PYTHON_C,
    "import sys; print('up', flush=True); sys.exit(int(sys.stdin.readline() or 0))",
)
# Prints the signals that it gets, and exits with status 7 after SIGTERM.
SAY_SIGNALS = (
    *PYTHON_C,
    """
import os, signal, sys
def say(number, frame):
    print("\\ngot", number, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
# Without pause: it would miss a signal that arrives just before it.
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
signal.signal(signal.SIGINT, say)
signal.signal(signal.SIGTERM, say)
print(os.getppid(), flush=True)
print("up", flush=True)
while True:
    os.read(read, 1)
""",
)
# As if each signal arrived just before the main thread waits: another thread gets it.
SIGNALS_JUST_BEFORE = """
import runpy, signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
runpy.run_module("Socket_Singleton", run_name="__main__")
"""
IN_A_TERMINAL = "import pty, os, sys; sys.exit(os.WEXITSTATUS(pty.spawn(sys.argv[1:])))"
SAY_WORDS = (*PYTHON_C, "import os, sys; print([os.fsencode(word) for word in sys.argv[1:]])")


def ignore(number):
    signal.signal(number, signal.SIG_IGN)


def end_group(leader):
    """End what a failed test has left of a session."""
    if POSIX:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


class TestCommand(SingletonTestCase):
    def setUp(self) -> None:
        super().setUp()
        # main() changes how this process handles signals, in the tests that call it here.
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def begin(self, subcommand, *words, ready=None, **options) -> Program:
        """Start a subcommand, detached from the terminal that the tests may run in."""
        place = ("--port", self.port)
        program = self.start(
            "-m", "Socket_Singleton", *place, subcommand, *words, start_new_session=True, **options
        )
        self.addCleanup(end_group, program.pid)
        if ready is not None:
            program.expect(ready)
        return program

    def call(self, subcommand, *words, status=0, **options) -> Program:
        return self.finish(self.begin(subcommand, *words, **options), status)

    def assert_fails_with(self, program, text=""):
        """Check that nothing is on stdout, and one line on stderr."""
        self.assertEqual(program.out, "")
        self.assertRegex(program.err, r"\ASocket_Singleton: (?!Socket_Singleton)[^\n]+\Z")
        self.assertIn(text, program.err)

    def is_running(self):
        return Socket_Singleton.is_running(port=self.port)

    # -- run: the command --

    def test_run_passes_on_the_status_and_frees_the_port(self):
        for code in (0, 1, 3, 255):
            self.call("run", "--", *PYTHON_C, f"raise SystemExit({code})", status=code)
            self.assert_free()

    @unittest.skipUnless(POSIX, "signals")
    def test_run_reports_death_by_signal(self):
        for number in (signal.SIGKILL, signal.SIGTERM):
            dies = f"import os; os.kill(os.getpid(), {int(number)})"
            program = self.call("run", "--", *PYTHON_C, dies, status=128 + number)
            self.assertEqual(program.err, "")

    def test_run_of_something_that_cannot_be_run(self):
        self.assert_fails_with(self.call("run", "--", "no-such-command", status=127), "no-such-command: ")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "plain.txt")
            path.write_text("text")
            self.assert_fails_with(self.call("run", "--", path, status=126), str(path))
        self.assert_free()

    @needs_errors_of_folders
    def test_run_of_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assert_fails_with(self.call("run", "--", folder, status=126), folder)
        self.assert_free()

    @unittest.skipUnless(POSIX, "bytes of a command line")
    def test_run_passes_on_words_and_streams(self):
        words = [b"", b"--", b"--port", b"a b\n", "é".encode(), b"\xff\xfe"]
        program = self.call("run", "--", *SAY_WORDS, *words)
        self.assertEqual(program.lines, [str(words)])
        program = self.begin("run", "--", *HOLD, ready="up")
        program.write("9\n")
        self.finish(program, 9)

    @unittest.skipUnless(sys.platform == "linux", "a listener that other processes share can be ended here")
    def test_run_frees_the_port_even_if_the_command_left_a_process(self):
        left = self.call("run", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
        self.addCleanup(os.kill, int(left.out), signal.SIGKILL)
        self.assert_free()

    # -- run: signals --

    @unittest.skipUnless(POSIX, "signals")
    def test_run_passes_on_signals(self):
        program = self.begin("run", "--", *SAY_SIGNALS, ready="up")
        self.assertEqual(program.lines[0], str(program.pid))
        for count in (1, 2):
            program.process.send_signal(signal.SIGINT)
            program.expect("got 2", count)
        program.process.send_signal(signal.SIGTERM)
        self.finish(program, 7)
        self.assertEqual((program.lines.count("got 2"), program.err), (2, ""))
        self.assert_free()

    @unittest.skipUnless(POSIX, "signals")
    def test_run_leaves_nothing_running(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.begin("run", "--", "sh", "-c", "echo $$; exec sleep 1000")
            pid = int(wait_until(lambda program=program: program.out, "the command runs"))
            program.process.send_signal(number)
            self.finish(program, 128 + number)
            self.assertEqual(program.err, "")
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)

    @unittest.skipUnless(POSIX, "terminals")
    def test_run_does_not_double_ctrl_c_of_a_terminal(self):
        run = (sys.executable, "-m", "Socket_Singleton", "--port", self.port, "run", "--", *SAY_SIGNALS)
        program = self.start("-c", IN_A_TERMINAL, *run, ready="up")
        program.write("\x03")
        program.expect("got 2")
        # A second SIGINT would arrive before this, which is passed on by the same process.
        os.kill(int(program.lines[0]), signal.SIGTERM)
        self.finish(program, 7)
        self.assertEqual(program.lines.count("got 2"), 1)

    @unittest.skipUnless(POSIX, "signals")
    def test_signals_that_arrive_just_before_a_wait(self):
        # The mask is inherited.
        unmask = "import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM]); "
        for words in (("run", "--", *PYTHON_C, unmask + HOLD[-1]), ("watch",)):
            program = self.start("-c", SIGNALS_JUST_BEFORE, "--port", self.port, *words)
            if words == ("watch",):
                wait_until(self.is_running, "it watches")
                Socket_Singleton.send(["x"], port=self.port)
            wait_until(lambda program=program: program.lines, "it runs, and waits")
            os.kill(program.pid, signal.SIGTERM)
            self.finish(program, 128 + signal.SIGTERM)

    @unittest.skipUnless(POSIX, "signals")
    @unittest.skipIf(sys.implementation.name == "pypy", "PyPy does not see which signals to ignore")
    def test_run_keeps_ignoring_what_it_was_started_to_ignore(self):
        says = "import signal; raise SystemExit(3 if signal.getsignal(2) is signal.SIG_IGN else 4)"
        self.call("run", "--", *PYTHON_C, says, status=3, preexec_fn=lambda: ignore(signal.SIGINT))

    @unittest.skipUnless(POSIX, "signals")
    def test_run_gets_the_status_although_children_were_ignored(self):
        self.call("run", "--", "false", status=1, preexec_fn=lambda: ignore(signal.SIGCHLD))

    @unittest.skipUnless(POSIX, "signals")
    def test_run_handles_signals_before_and_after_the_command(self):
        popen = subprocess.Popen

        def signalled_popen(*words, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            return popen(*words, **options)

        with mock.patch.object(subprocess, "Popen", signalled_popen):
            code = inside.command(["--port", str(self.port), "run", "--", "sleep", "30"])
        self.assertEqual(code, 128 + signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # the command has ended, and so will we
        self.assert_free()

    @unittest.skipUnless(POSIX, "signals")
    def test_run_ends_a_command_that_cannot_receive_a_signal(self):
        """As on Windows, where SIGINT cannot be sent to another process."""

        class Command(subprocess.Popen):
            def send_signal(self, number):
                raise ValueError(f"Unsupported signal: {number}")

            def terminate(self):
                os.kill(self.pid, signal.SIGTERM)

        def interrupted(*words, **options):
            os.kill(os.getpid(), signal.SIGINT)
            return Command(*words, **options)

        with mock.patch.object(subprocess, "Popen", interrupted):
            code = inside.command(["--port", str(self.port), "run", "--", "sleep", "30"])
        self.assertEqual(code, 128 + signal.SIGTERM)

    @unittest.skipUnless(POSIX, "signals")
    def test_signal_ends_run_while_it_waits(self):
        self.singleton()
        for number in (signal.SIGINT, signal.SIGTERM):

            def signalled(seconds, number=number):
                os.kill(os.getpid(), number)

            with mock.patch.object(time, "sleep", signalled), self.assertRaises(SystemExit) as end:
                inside.command(["--port", str(self.port), "run", "--wait", "inf", "--", "false"])
            self.assertEqual(end.exception.code, 128 + number)

    @unittest.skipUnless(POSIX, "descriptors to inherit")
    def test_run_that_is_killed_leaves_the_port_to_its_command(self):
        program = self.begin("run", "--", *HOLD, ready="up")
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        self.call("run", "--no-forward", "--", "false", status=1)
        self.call("status")
        self.assert_fails_with(self.call("run", "--", "false", status=1), str(self.port))
        waiter = self.begin("run", "--wait", "inf", "--", *PYTHON_C, "print('mine')")
        self.assertTrue(self.is_running())
        self.assertEqual(waiter.lines, [])
        program.write("0\n")
        self.assertEqual(self.finish(waiter).out, "mine")
        self.assert_free()

    # -- run: the port is taken --

    def test_second_run_hands_its_command_over(self):
        observer = Collector()
        self.singleton().trace(observer)
        program = self.call("run", "--", "ls", "-l", "", "a b")
        self.assertEqual((program.out, program.err), ("", ""))
        self.call("run", "--exit-code", "5", "--", "two", status=5)
        observer.wait_for(("ls", "-l", "", "a b"), ("two",))

    def test_second_run_hands_nothing_over(self):
        app = self.singleton()
        program = self.call("run", "--no-forward", "--", "echo", "no", status=1)
        self.assertEqual((program.out, program.err), ("", ""))
        self.call("run", "--no-forward", "--exit-code", "0", "--", "echo", "no")
        self.call("run", "--exit-code", "9", "--no-forward", "--", "echo", "no", status=9)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_second_run_after_a_first_run(self):
        first = self.begin("run", "--", *HOLD, ready="up")
        self.call("run", "--", "echo", "no")
        self.call("run", "--no-forward", "--", "echo", "no", status=1)
        first.write("4\n")
        self.assertEqual(self.finish(first, 4).lines, ["up"])

    def test_run_without_a_thread_to_wait_for_the_command(self):
        """Then the command is not started: nobody would be there when it ends."""
        started, start = [], threading.Thread.start

        def start_or_fail(thread):
            if not thread.name.startswith("Socket_Singleton"):
                raise RuntimeError("can't start new thread")
            start(thread)

        patches = (
            mock.patch.object(threading.Thread, "start", start_or_fail),
            mock.patch.object(subprocess, "Popen", lambda *_, **__: started.append(True)),
            contextlib.redirect_stderr(io.StringIO()),
        )
        with patches[0], patches[1], patches[2] as stderr:
            self.assertEqual(inside.command(["run", "--port", str(self.port), "--", "ls"]), 1)
        self.assertEqual(started, [])
        self.assertEqual(stderr.getvalue(), "Socket_Singleton: can't start new thread\n")
        self.assert_free()

    def test_first_run_discards_launches(self):
        popen, seen = subprocess.Popen, []

        def send_and_start(*words, **options):
            made = [thing for thing in gc.get_objects() if isinstance(thing, Socket_Singleton)]
            [app] = [app for app in made if app._listening]
            for _ in range(20):
                Socket_Singleton.send(["word"], port=self.port)
            wait_until(lambda: not app.arguments, "nothing piles up")
            seen.append(app.clients)
            return popen([sys.executable, "-c", "raise SystemExit(3)"], **options)

        with mock.patch.object(subprocess, "Popen", send_and_start):
            self.assertEqual(inside.command(["run", "--port", str(self.port), "--", "ls"]), 3)
        self.assertEqual(seen, [20])

    def test_run_beside_another_program(self):
        foreign = self.listener()

        def answer():
            peer, _ = foreign.accept()
            with peer:
                peer.sendall(b"220 hello\r\n")
                read_to_end(peer)

        self.in_background(answer)
        self.assert_fails_with(self.call("run", "--", "echo", "no", status=1), "220 hello")

    def test_run_beside_a_host_of_2_0_0(self):
        """It takes the arguments, but cannot acknowledge them."""
        self.serve(read_to_end)
        self.assert_fails_with(self.call("run", "--", "echo", "no", status=1), "not confirmed")

    def test_run_if_nobody_accepts_connections(self):
        self.bound()
        options = [], ["--no-forward", "--exit-code", "0"]
        for program in [self.begin("run", *each, "--", "echo", "no") for each in options]:
            self.assert_fails_with(self.finish(program, 1), str(self.port))

    def test_run_waits(self):
        first = self.begin("run", "--", *HOLD, ready="up")
        began = time.monotonic()
        self.call("run", "--wait", "0.3", "--", "echo", "no")
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        waiters = [self.begin("run", "--wait", "inf", "--", *HOLD) for _ in range(3)]
        while waiters:
            first.write("0\n")
            self.finish(first)
            wait_until(lambda: any(waiter.lines for waiter in waiters), "one has the port")
            running = [waiter for waiter in waiters if waiter.lines]
            self.assertEqual(len(running), 1)
            first = running[0]
            waiters.remove(first)
        first.write("6\n")
        self.finish(first, 6)

    @unittest.skipUnless(POSIX, "a terminal")
    def test_waiting_run_prints_a_message_in_a_terminal(self):
        home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, home)
        env, begun = {"HOME": home}, []
        for place, whom in (
            (("--port", self.port), f"127.0.0.1 port {self.port}"),
            (("--name", "org.example.waiting", "--port", free_port()), "org.example.waiting (process {})"),
        ):
            module = ("-m", "Socket_Singleton", *place, "run")
            first = self.start(*module, "--", *HOLD, ready="up", env=env)
            command = (sys.executable, *module, "--wait", "60", "--", "echo", "on")
            begun.append((first, self.start("-c", IN_A_TERMINAL, *command, env=env), whom))
        for first, second, whom in begun:
            with self.subTest(whom=whom):
                shown = whom.format(first.pid)
                second.expect(f"Socket_Singleton: waiting for {shown} to end, for 60 seconds at most")
                first.write("0\n")
                self.finish(first)
                self.finish(second)
                self.assertEqual(second.lines[-1], "on")

    # -- send, status, watch --

    @unittest.skipUnless(POSIX, "bytes of a command line")
    def test_send(self):
        observer = Collector()
        self.singleton(notify_empty=True).trace(observer)
        words = [b"--port", b"", b"--", b"\xff\xfe", "é\n".encode(), b"x"]
        for sent in (words, [], [b"last"]):
            program = self.call("send", "--", *sent)
            self.assertEqual((program.out, program.err), ("", ""))
        self.call("send")
        observer.wait_for(tuple(map(os.fsdecode, words)), (), ("last",), ())

    def test_send_to_nobody(self):
        self.assert_fails_with(
            self.call("send", "--", "x", status=1), f"nothing is listening at 127.0.0.1 port {self.port}"
        )

    def test_status(self):
        self.assertEqual(
            self.call("status", status=1).lines, [f"127.0.0.1 port {self.port}: nothing is listening"]
        )
        app = self.singleton()
        self.assertEqual(self.call("status").lines, [f"127.0.0.1 port {self.port}: a program is listening"])
        self.assertEqual(app.clients, 0)

    def test_version(self):
        program = self.finish(self.start("-m", "Socket_Singleton", "--version"))
        self.assertEqual((program.out, program.err), (f"Socket_Singleton {package.__version__}", ""))

    def test_user_without_a_key(self):
        """If the home cannot be written, the application has a secret; the message says what is missing."""
        name = f"org.example.test {self.port}"
        app = Socket_Singleton(name=name, secret="hush")
        self.addCleanup(app.release)
        place = ("--name", name, "--address", app.address, "--port", app.port)
        with tempfile.TemporaryDirectory() as folder:
            env = {"HOME": folder, "LOCALAPPDATA": folder}
            for subcommand, status in (("send", 1), ("ask", 1), ("status", 2)):
                program = self.call(subcommand, *place, status=status, env=env)
                self.assert_fails_with(program, os.path.join("Socket_Singleton", "key"))
                self.assertIn(f"if the application has a secret, give it ({SECRET})", program.err)

    def test_status_that_cannot_be_determined(self):
        self.listener(backlog=0)
        self.fill_backlog()
        program = self.call("status", status=2)
        self.assert_fails_with(
            program, f"cannot tell whether a program is listening: 127.0.0.1 port {self.port}: "
        )

    def test_home_that_cannot_be_used(self):
        """The message names the file, and what to do for somebody who has only a shell."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name in (".local", "Socket_Singleton"):  # the second one on Windows
            Path(folder.name, name).write_text("a file where a folder should be")
        env = {"HOME": folder.name, "LOCALAPPDATA": folder.name}
        name = ("--name", f"org.example.test {self.port}")
        hosts = [(("run", *name, "--", "x"), 1), (("watch", *name), 1)]
        # On Windows the key is simply missing, which is no error for a question.
        questions = [(("send", *name, "--", "x"), 1), (("ask", *name, "--", "x"), 1), (("status", *name), 2)]
        for subcommand, status in hosts + (questions if POSIX else []):
            with self.subTest(subcommand):
                program = self.call(*subcommand, status=status, env=env)
                self.assert_fails_with(program, os.path.join("Socket_Singleton", "key"))
                self.assertIn(SECRET, program.err)
                self.assertNotIn("secret=", program.err)
        env[SECRET] = "hush"
        self.call("run", *name, "--", *PYTHON_C, "", env=env)
        self.call("status", *name, status=1, env=env)

    def watch(self, stdout=subprocess.PIPE) -> Program:
        """Start it, without reading its output."""
        program = self.begin("watch", stdout=stdout)
        wait_until(self.is_running, "watch is the host")
        return program

    def assert_ended(self, program, status, err=""):
        self.finish(program, status)
        self.assertRegex(program.err, rf"\A{err}\Z")
        self.assert_free()

    @unittest.skipUnless(POSIX, "a shell")
    def test_watch_read_by_a_shell(self):
        loop = """
            "$0" -m Socket_Singleton watch --port "$1" | while IFS= read -r line; do
                printf 'got %s\\n' "$line"
                case $line in *stop*) exit 8;; esac
            done
        """
        shell = self.start_program(["sh", "-c", loop, sys.executable, self.port], start_new_session=True)
        self.addCleanup(end_group, shell.pid)
        wait_until(self.is_running, "watch is the host")
        launches = [("a", "b c"), (), ("é\n\udcff", "", '"\\')]
        for args in launches:
            Socket_Singleton.send(args, port=self.port)
            shell.expect(f"got {json.dumps(args)}")
        self.call("run", "--", "stop")
        # Its reader is gone, and it notices although no further launch comes.
        self.finish(shell, 8)
        self.assertEqual(shell.err, "")
        self.assert_free()

    @unittest.skipUnless(POSIX, "signals")
    def test_signals_end_watch(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.watch()
            # More than a pipe holds, and nobody reads on: it has to end all the same.
            Socket_Singleton.send(["x" * 1_000_000], port=self.port)
            self.assertEqual(program.process.stdout.read(1), b"[")
            program.process.send_signal(number)
            self.assert_ended(program, 128 + number)

    @unittest.skipUnless(POSIX, "signals")
    def test_watch_prints_what_has_arrived_before_the_signal(self):
        program = self.start_program(
            [sys.executable, PROGRAMS / "watching.py", self.port], stdout=subprocess.PIPE
        )
        wait_until(self.is_running, "watch is the host")
        # The first one is more than a pipe holds, so the others wait.
        words = ["x" * 200_000, *map(str, range(10))]
        for word in words:
            Socket_Singleton.send([word], port=self.port)
        program.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not self.is_running(), "it is ending")
        lines = program.process.stdout.read().splitlines()
        self.assert_ended(program, 128 + signal.SIGTERM)
        self.assertEqual([json.loads(line) for line in lines], [[word] for word in words])

    @unittest.skipUnless(POSIX and hasattr(signal, "raise_signal"), "signals, which 3.7 cannot raise so")
    def test_signal_leaves_no_socket_open_in_watch(self):
        """Not even if it comes as soon as the system has made one, while no name refers to it."""
        code = """
            import _socket, signal, sys
            from Socket_Singleton.__main__ import main

            def make(*args, real=_socket.socketpair):
                pair = real(*args)
                signal.raise_signal(signal.SIGTERM)
                return pair

            _socket.socketpair = make
            sys.exit(main(["watch", "--port", sys.argv[1]]))
        """
        strict = [sys.executable, "-X", "dev", "-W", "error", "-c"]
        program = self.start_program([*strict, textwrap.dedent(code), self.port])
        self.assert_ended(program, 128 + signal.SIGTERM)

    def test_watch_prints_long_launches(self):
        program = self.watch()
        word = "long" * 500_000
        Socket_Singleton.send([word], port=self.port)
        self.assertEqual(json.loads(program.process.stdout.readline()), [word])

    @unittest.skipUnless(hasattr(select, "poll"), "poll")
    def test_watch_ends_with_its_reader(self):
        program = self.watch()
        program.process.stdout.close()
        self.assert_ended(program, 141)

    def test_watch_ends_with_its_reader_even_if_only_writing_shows_it(self):
        for error, status in ((BrokenPipeError(), 141), (OSError("disk full"), 1)):
            with mock.patch.multiple(os, write=mock.Mock(side_effect=error), _exit=mock.DEFAULT) as mocks:
                with mock.patch.object(sys, "stderr"):
                    inside.print_launch(("x",), 1)
                mocks["_exit"].assert_called_once_with(status)

    @unittest.skipUnless(Path("/dev/full").exists(), "/dev/full")
    def test_watch_whose_output_fails(self):
        with open("/dev/full", "wb") as full:
            program = self.watch(stdout=full)
        Socket_Singleton.send(["x"], port=self.port)
        self.assert_ended(program, 1, r"Socket_Singleton: [^\n]+")

    @unittest.skipUnless(POSIX, "descriptors to close")
    def test_watch_without_output(self):
        program = self.start(
            "-c",
            "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
            *("-m", "Socket_Singleton", "watch", "--port", self.port),
        )
        self.assert_fails_with(self.finish(program, 1), "stdout")

    def test_watch_beside_a_host(self):
        self.singleton()
        self.assert_fails_with(self.call("watch", status=1), "already bound")

    # -- the command line itself --

    def test_secret_comes_from_the_environment(self):
        observer = Collector()
        self.singleton(secret="hush").trace(observer)
        for env in ({}, {SECRET: "wrong"}):
            self.assert_fails_with(self.call("send", "--", "x", status=1, env=env), "it has another secret")
            self.assert_fails_with(self.call("run", "--", "x", status=1, env=env), "it has another secret")
            self.call("status", env=env)
        self.call("send", "--", "sent", env={SECRET: "hush"})
        self.call("run", "--exit-code", "5", "--", "ran", status=5, env={SECRET: "hush"})
        observer.wait_for(("sent",), ("ran",))

    def test_secret_of_a_host(self):
        first = self.begin("run", "--", *HOLD, ready="up", env={SECRET: "hush"})
        self.assert_fails_with(self.call("send", "--", "x", status=1), "not confirmed")
        self.call("send", "--", "x", env={SECRET: "hush"})
        first.write("0\n")
        self.finish(first)

    def test_options_before_and_after_the_subcommand(self):
        self.singleton()
        port, other = str(self.port), "1"
        for words in (
            ("--port", port, "status"),
            ("status", "--port", port),
            ("--port", other, "status", "--port", port),
            ("--port", port, "status", "--address", "localhost"),
            ("--address", "127.0.0.1", "status", f"--port={port}"),
            ("--address", "127.0.0.1", "run", "--port", port, "--", "x", "--port", other),
        ):
            with self.subTest(words=words):
                self.finish(self.start("-m", "Socket_Singleton", *words))

    def test_usage_errors(self):
        for words, text in (
            ((), "SUBCOMMAND"),
            (("--", "run"), "SUBCOMMAND"),
            (("walk",), "walk"),
            (("run",), "command must follow"),
            (("run", "--"), "command must follow"),
            (("run", "ls"), "unrecognized arguments: ls; put words after --, as in: -- COMMAND"),
            (("status", "x"), "unrecognized arguments: x ("),
            (("status", "--", "x"), "nothing may follow"),
            (("watch", "--", "x"), "nothing may follow"),
            (("watch", "--wait", "1"), "--wait"),
            (("send", "--secret", "x", "--", "y"), "--secret"),
            (("run", "--wa", "1", "--", "ls"), "--wa"),
            (("run", "--wait", "soon", "--", "ls"), "soon"),
            (("run", "--wait", "-1", "--", "ls"), "wait must be"),
            (("run", "--wait", "nan", "--", "ls"), "wait must be"),
            (("run", "--exit-code", "256", "--", "ls"), "256"),
            (("run", "--exit-code", "-1", "--", "ls"), "-1"),
            (("run", "--exit-code", "x", "--", "ls"), "0 to 255"),
            (("--port", "x", "status"), "port must be a whole number"),
            (("send", "--port", "65536", "--", "ls"), "port must be between"),
            (("watch", "--port", "-1"), "port must be between"),
            (("run", "--port"), "--port"),
        ):
            with self.subTest(words=words):
                program = self.finish(self.start("-m", "Socket_Singleton", *words), 64)
                self.assert_fails_with(program, text)
                self.assertIn("python -m Socket_Singleton", program.err)

    def test_impossible_addresses(self):
        for subcommand in (("status",), ("watch",), ("send", "--", "x"), ("run", "--", "x")):
            status = 2 if subcommand == ("status",) else 1
            program = self.call("--address", "no.such.host.invalid", *subcommand, status=status)
            self.assert_fails_with(program, f": no.such.host.invalid port {self.port}")

    def test_help(self):
        place = {"--address A", "--port P"}
        for subcommand, mentioned in (
            ((), {*place, "run", "send", "status", "watch", SECRET, "usage: python -m Socket_Singleton "}),
            (("run",), {*place, "--wait S", "--exit-code N", "--no-forward", "-- COMMAND", "127", "discard"}),
            (("send",), {*place, "-- [ARG ...]", "2.0.0"}),
            (("status",), {*place, "status is 0"}),
            (("watch",), {*place, "JSON", "while read"}),
        ):
            program = self.finish(self.start("-m", "Socket_Singleton", *subcommand, "--help"))
            self.assertEqual(program.err, "")
            for text in (*mentioned, *(["example:\n  python -m Socket_Singleton "] if subcommand else [])):
                self.assertIn(text, program.out)
            self.assertLess(max(map(len, program.lines)), 100)

    def test_import_does_not_load_it(self):
        says = (
            "import sys; before = set(sys.modules); import Socket_Singleton;"
            "print({'argparse', 'subprocess', 'json'} & set(sys.modules) - before)"
        )
        self.assertEqual(self.finish(self.start("-c", says)).out, "set()")
