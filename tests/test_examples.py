"""Each example, started as a person would start it: the first launch and a second one."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

import Socket_Singleton as package
from Socket_Singleton import Socket_Singleton

from .pages import HomeTestCase, check_deleted_folder, start_display, with_names_of_its_own
from .support import PATIENCE, PROGRAMS, ROOT, needs_resets, wait_until

EXAMPLES = ROOT / "examples"

# How to start the examples that Enter does not end so that they end at once.
AT_ONCE = {
    "asyncio_app.py": ["quit"],
    "queue_worker.py": ["quit"],
    "restart.py": ["--quit"],
    "service.py": ["stop"],
    "start_service.py": ["stop"],
}
# How to end the examples that act on launches, and how their line about a launch that came meanwhile begins.
LATE = {
    "asyncio_app.py": ("quit", "opening 7"),
    "context_manager.py": ("Enter", "Another launch had: 7"),
    "multiprocessing_pool.py": ("Enter", "7 squared is 49, says SpawnPoolWorker-"),
    "non_strict.py": ("Enter", "('7',)"),
    "observer.py": ("Enter", "a late launch asks for '7'"),
    "open_files.py": ("Enter", f"opening {ROOT / '7'}"),
    "port.py": ("Enter", "Another launch had: 7"),
    "queue_worker.py": ("quit", "working on 7"),
    "secret_from_environment.py": ("Enter", "Another launch had: 7"),
}
NEED_MORE = {"cluster.py", "qt_app.py", "tkinter_app.py"}


def has_cryptx() -> bool:
    if not shutil.which("perl"):
        return False
    found = subprocess.run(["perl", "-MCryptX", "-e", "1"], stderr=subprocess.DEVNULL, check=False)
    return found.returncode == 0


class ExampleTestCase(HomeTestCase):
    """Examples that only this test starts: copies, with names of their own."""

    def setUp(self):
        super().setUp()
        self.name = f"org.example.test-{self.port}.restart"  # of restart.py
        self.enter(mock.patch.dict(os.environ, APP_SECRET="a secret"))
        # Copies, with names that no other run of these tests uses, beside a source as in a clone.
        self.examples = self.folder / "clone" / "examples"
        shutil.copytree(str(EXAMPLES), str(self.examples))
        for path in self.examples.glob("*.*"):
            text = path.read_text(encoding="utf-8")
            path.write_text(with_names_of_its_own(text, self.port, [self.port]), encoding="utf-8")

    def example(self, name, *args, **options):
        return self.start(self.examples / name, *args, **options)

    def asking(self, name, *args, **options):
        """Start an example that asks, and return once the host owns the launch; see owned.py."""
        return self.start(PROGRAMS / "owned.py", self.examples / name, *args, ready="owned", **options)

    def in_loop(self, name, *args, env=None):
        """Start an example so that it reports each call of its observer; see in_loop.py."""
        return self.start(PROGRAMS / "in_loop.py", self.examples / name, *args, ready="traced", env=env)

    def send(self, *words, example=None):
        """Hand over words to an example, by default restart.py."""
        name = self.name
        if example:
            text = (self.examples / example).read_text(encoding="utf-8")
            name = re.search(r'"(org\.example\..*?)"', text)[1]
        Socket_Singleton.send(words, name=name, timeout=PATIENCE)

    def ends_quietly(self, program):
        self.finish(program)
        self.assertEqual((program.out, program.err), ("", ""))


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
class TestExamples(ExampleTestCase):
    def test_minimal(self):
        first = self.example("minimal.py", ready="Running. Press Enter to quit.")
        self.ends_quietly(self.example("minimal.py"))
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines, ["Running. Press Enter to quit."])

    def test_observer(self):
        first = self.example("observer.py", "a.txt", ready="Running. Press Enter to quit.")
        self.ends_quietly(self.example("observer.py", "b.txt", "c d.txt"))
        first.expect("another launch asks for 'c d.txt'")
        first.write("\n")
        self.finish(first)
        self.assertEqual(
            first.lines,
            [
                "this launch asks for 'a.txt'",
                "Running. Press Enter to quit.",
                "another launch asks for 'b.txt'",
                "another launch asks for 'c d.txt'",
            ],
        )

    def test_context_manager(self):
        locked, released = (
            "This is the only instance. Press Enter to release the name.",
            "Released. Press Enter to quit.",
        )
        first = self.example("context_manager.py", ready=locked)
        self.ends_quietly(self.example("context_manager.py", "x", "y z"))
        first.expect("Another launch had: x y z")
        first.write("\n")
        first.expect(released)
        second = self.example("context_manager.py", ready=locked)
        for program in (first, second):
            program.write("\n\n")
            self.finish(program)

    def test_port(self):
        first = self.example("port.py", ready="Running. Press Enter to quit.")
        self.ends_quietly(self.example("port.py", "x", "y z"))
        first.expect("Another launch had: x y z")
        first.write("\n")
        self.finish(first)

    def test_non_strict(self):
        first = self.example("non_strict.py", ready="Running. Press Enter to quit.")
        second = self.finish(self.example("non_strict.py", "x", "y z"))
        self.assertEqual(second.lines, ["Another instance is running, and has accepted these arguments."])
        first.expect("('x', 'y z')")
        first.write("\n")
        self.finish(first)

    def test_queue_worker(self):
        ready = "Running. The word quit ends it."
        first = self.example("queue_worker.py", "a.txt", ready=ready)
        first.expect("working on a.txt")
        self.ends_quietly(self.example("queue_worker.py", "b.txt", "c d.txt"))
        self.ends_quietly(self.example("queue_worker.py", "quit"))
        self.finish(first)
        works = [f"working on {name}" for name in ("a.txt", "b.txt", "c d.txt")]
        self.assertEqual(first.lines, [ready, *works])

    def test_open_files(self):
        here, there = self.make_folder(), self.make_folder()
        first = self.example("open_files.py", "a.txt", ready="Running. Press Enter to quit.", cwd=here)
        self.ends_quietly(self.example("open_files.py", "a.txt", os.path.join("..", "b c.txt"), cwd=there))
        first.expect(f"opening {there.parent / 'b c.txt'}")
        first.write("\n")
        self.finish(first)
        expected = [here / "a.txt", there / "a.txt", there.parent / "b c.txt"]
        self.assertEqual(
            [line for line in first.lines if "opening" in line], [f"opening {x}" for x in expected]
        )

    @unittest.skipIf(os.name == "nt", "a current folder cannot be deleted there")
    def test_open_files_in_a_folder_that_was_deleted(self):
        check_deleted_folder(self, self.examples / "open_files.py")

    def test_wait_until_closed(self):
        example, here, there = "wait_until_closed.py", self.make_folder(), self.make_folder()
        ready = "Running. Type a name to close that document, or just Enter to quit."
        first = self.example("wait_until_closed.py", "a.txt", ready=ready, cwd=here)
        both = self.asking(example, "b.txt", "c d.txt", cwd=there)
        first.expect(f"{there / 'c d.txt'} is open")
        one = self.asking(example, there / "b.txt", cwd=here)
        never = self.asking(example, "e.txt", cwd=here)
        first.expect(f"{there / 'b.txt'} is open", count=2)
        first.write(f"{there / 'b.txt'}\n")
        self.finish(one)
        self.assertIsNone(both.process.poll(), "it did not wait for its other document")
        first.write(f"{os.path.relpath(there, here)}{os.sep}c d.txt\n")
        self.finish(both)
        first.expect(f"{here / 'e.txt'} is open")
        self.assertIsNone(never.process.poll(), "it did not wait")
        first.write("\n")
        self.finish(first)
        self.assertIn("ended without an answer", self.finish(never, status=1).err)
        for launch in (both, one):
            self.assertEqual((launch.lines, launch.err), (["owned"], ""))
        self.assertEqual(first.err, "")

    def start_restarting(self, *args, **options):
        """Start a copy of restart.py that can be updated."""
        self.copy = self.make_folder() / "restart.py"
        shutil.copy(str(self.examples / "restart.py"), str(self.copy))
        program = self.start(self.copy, *args, **options)
        self.addCleanup(self.end_restarting)
        return program

    def end_restarting(self):
        with contextlib.suppress(ConnectionRefusedError):
            self.send("--quit")

    def wait_for(self, program, line, count=1):
        """Wait for output of the program, or of one that it started and that inherited its output."""
        wait_until(lambda: program.lines.count(line) == count, f"{line!r} x {count}")

    def update(self):
        text = self.copy.read_text(encoding="utf-8")
        self.copy.write_text(text.replace('VERSION = "1"', 'VERSION = "2"'), encoding="utf-8")

    def test_restart_loses_nothing_that_arrives_while_the_old_version_is_busy(self):
        """The old one is blocked by its output, which nobody reads, until everything is ready."""
        old = self.start_restarting(stdout=subprocess.PIPE)
        lines = (line.decode().strip() for line in old.process.stdout)
        self.assertEqual(next(lines), "version 1 is running")
        early = [str(number) * 8000 for number in range(9)] * 4  # several times what a pipe holds
        for name in early:
            self.send(name)
        self.update()
        self.ends_quietly(self.start(self.copy, "--restart"))
        late = [f"late {number}" for number in range(8)]
        for name in late:
            self.send(name)
        self.assertEqual(
            list(itertools.islice(lines, len(early))), [f"version 1 works on {name}" for name in early]
        )
        self.assertEqual(next(lines), "version 2 is running")
        works = [f"version 2 works on {name}" for name in late]
        self.assertEqual(sorted(itertools.islice(lines, len(late))), works)
        self.send("--quit")
        self.assertEqual(list(lines), [])
        self.finish(old)
        self.assertEqual(old.err, "")

    @needs_resets
    def test_restart_loses_nothing_whenever_it_arrives(self):
        """Even launches that ask are not lost, although they may fail without an answer."""
        program = self.start_restarting("first", ready="version 1 is running")
        halfway, errors = threading.Event(), []

        def keep_sending(hand_over, sender):
            try:
                for number in range(50):
                    self.hand_over_once_there_is_a_host(hand_over, f"{sender}-{number}")
                    if number == 5:
                        halfway.set()
            except BaseException as error:
                errors.append(error)

        senders = [
            threading.Thread(target=keep_sending, args=(self.send, "sent")),
            threading.Thread(target=keep_sending, args=(self.ask, "asked")),
        ]
        for sender in senders:
            sender.start()
        self.assertTrue(halfway.wait(PATIENCE))
        self.update()
        self.ends_quietly(self.start(self.copy, "--restart"))
        for sender in senders:
            sender.join()
        self.assertEqual(errors, [])
        self.wait_for(program, "version 2 is running")
        self.ends_quietly(self.start(self.copy, "last"))
        handed_over = [f"{sender}-{number}" for sender in ("sent", "asked") for number in range(50)]

        def names():
            return [line.split(" works on ")[1] for line in list(program.lines) if " works on " in line]

        # Not before all is done: restarted launches may be on their way to the new one.
        wait_until(lambda: len(names()) >= len(handed_over) + 2, "all is worked on")
        self.ends_quietly(self.start(self.copy, "--quit"))
        self.finish(program)
        self.assertEqual(program.err, "")
        self.assertEqual(sorted(names()), sorted(["first", *handed_over, "last"]))
        self.assertEqual(
            [line for line in program.lines if "is running" in line],
            ["version 1 is running", "version 2 is running"],
        )

    def ask(self, name):
        try:
            self.assertIsNone(Socket_Singleton.ask([name], name=self.name, timeout=PATIENCE))
        except ConnectionError as error:
            if "ended without an answer" not in str(error):
                raise

    def hand_over_once_there_is_a_host(self, hand_over, name):
        def is_handed_over():
            try:
                hand_over(name)
            except ConnectionRefusedError:
                return False
            return True

        wait_until(is_handed_over, f"a host takes {name}")

    def test_restart_where_nothing_runs(self):
        program = self.start_restarting("--restart", ready="version 1 is running")
        self.wait_for(program, "version 1 is running", count=2)
        self.ends_quietly(self.start(self.copy, "--quit"))
        self.finish(program)
        self.assertEqual((program.lines, program.err), (["version 1 is running"] * 2, ""))

    def test_secret_from_environment(self):
        def launch(*args, secret="a secret", ready=None):
            env = {"APP_SECRET": secret}
            return self.example("secret_from_environment.py", *args, ready=ready, env=env)

        first = launch(ready="Running. Press Enter to quit.")
        wrong = self.finish(launch("x", secret="another"), status=1)
        self.assertIn("is in use, but not by an instance that accepts this launch", wrong.err)
        self.assertEqual(self.finish(launch("y", secret=""), status=1).err, "APP_SECRET is not set.")
        self.ends_quietly(launch("z", "a b"))
        first.expect("Another launch had: z a b")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines, ["Running. Press Enter to quit.", "Another launch had: z a b"])

    def test_multiprocessing_pool(self):
        first = self.example("multiprocessing_pool.py", ready="Running. Press Enter to quit.")
        self.ends_quietly(self.example("multiprocessing_pool.py", "27", "28"))
        wait_until(lambda: len(first.lines) == 3, "the squares")
        first.write("\n")
        self.finish(first)
        self.assertRegex(
            "\n".join(first.lines[1:]),
            r"\A27 squared is 729, says SpawnPoolWorker-\d\n28 squared is 784, says SpawnPoolWorker-\d\Z",
        )

    @unittest.skipIf(os.name == "nt" or not shutil.which("sh"), "a script for sh")
    def test_cron_job(self):
        def launch(*job):
            command = ["sh", self.examples / "cron_job.sh", self.name, *job]
            return self.start_program(command, env={"PYTHON": sys.executable})

        job = [sys.executable, "-c", "print('the job runs', flush=True); input(); exit(3)"]
        first = launch(*job)
        first.expect("the job runs")
        self.ends_quietly(launch(*job))
        first.write("\n")
        self.assertEqual(self.finish(first, status=3).lines, ["the job runs"])
        self.assertEqual(self.finish(launch("echo", "next one")).out, "next one")

    def test_asyncio_app(self):
        first = self.in_loop("asyncio_app.py", "a.txt")
        first.expect("opening a.txt")
        self.ends_quietly(self.example("asyncio_app.py", "b.txt", "c d.txt"))
        first.expect("opening c d.txt")
        self.ends_quietly(self.example("asyncio_app.py", "quit"))
        self.finish(first)
        reported = [json.loads(line) for line in first.lines if line.startswith("[")]
        self.assertEqual(reported, [["MainThread", ["b.txt", "c d.txt"]], ["MainThread", ["quit"]]])
        self.assertEqual(first.err, "")

    def test_tkinter_app(self):
        if not (importlib.util.find_spec("tkinter") and importlib.util.find_spec("_tkinter")):
            self.skipTest("there is no tkinter")
        if not shutil.which("Xvfb"):
            self.skipTest("there is no Xvfb to show a window in")
        self.check_window("tkinter_app.py", {"DISPLAY": start_display(self)})

    def test_qt_app(self):
        if not importlib.util.find_spec("PySide6"):
            self.skipTest("there is no PySide6")
        self.check_window("qt_app.py", {"QT_QPA_PLATFORM": "offscreen"})

    def check_window(self, name, env):
        """Each call of the observer is on the loop's thread, and the window shows what it should."""
        first = self.in_loop(name, "a.txt", env={"IN_LOOP_WINDOW": "1", "IN_LOOP_LATE": "late", **env})
        rows = ["a.txt"]
        for launch in (["b.txt", "c d.txt"], ["cover"], [], ["cover"], ["e.txt"]):
            reported = len(first.lines)
            second = self.finish(self.example(name, *launch, env=env))
            wait_until(lambda reported=reported: len(first.lines) > reported, f"the observer of {launch}")
            rows += launch
            answer = f"The window lists {len(rows)} files."
            self.assertEqual((second.lines, second.err), ([answer], ""))
            is_in_front = launch != ["cover"]
            self.assertEqual(json.loads(first.lines[-1]), ["MainThread", launch, rows, is_in_front])
        self.finish(self.example(name, "close", env=env))
        # A new one, for the launch that came while the first one was closing; it has inherited the output.
        wait_until(lambda: first.lines.count("traced") == 2, "a new window")
        self.finish(self.example(name, "close", env=env))
        self.finish(first)
        self.assertEqual(json.loads(first.lines[-1]), ["MainThread", ["close"], ["late", "close"], True])
        self.assertNotIn("Traceback", first.err)  # Qt may report what an offscreen display cannot do

    def test_what_arrived_while_it_was_ending_is_done(self):
        for name, (end, line) in LATE.items():
            with self.subTest(name):
                program = self.in_loop(name, env={"IN_LOOP_LATE": "7"})
                if end == "Enter":
                    program.write("\n\n")
                else:
                    self.send(end, example=name)
                self.finish(program)
                said = [x for x in program.lines if x.startswith(line)]
                self.assertEqual(len(said), 1, program.describe())

    def test_quickstart(self):
        program = self.finish(self.start(EXAMPLES / "quickstart.py"))
        for line in (
            "  the first launch prints: opening report.txt",
            "  the second launch exits with status 0 and prints nothing",
            "  the first launch prints: opening letter.txt my notes.txt",
            "  the first launch exits with status 0 and prints nothing",
        ):
            self.assertIn(line, program.lines)

    @unittest.skipUnless(has_cryptx(), "there is no Perl with CryptX")
    def test_client(self):
        """A launch in Perl asks a host in Python, with the same proofs."""
        name, home = f"org.example.test {self.port}", self.make_folder()
        perl, env = ["perl", EXAMPLES / "client.pl"], {"HOME": str(home)}
        self.assertIn("is not running", self.finish(self.start_program([*perl, name], env=env), 1).err)
        host = self.start(PROGRAMS / "answering.py", name, ready="host", env=env)
        for words, status, out, err in (
            (("text", "two words \u00e9\udcff"), 0, "two words \u00e9\udcff", ""),
            (("number", "7"), 7, "", ""),
            (("exit-text", "not now"), 1, "", "not now"),
            ((), 0, "", ""),
            (("", "x" * 100_000), 0, "", ""),
        ):
            with self.subTest(words=words):
                client = self.finish(self.start_program([*perl, name, *words], env=env), status)
                self.assertEqual((client.out, client.err), (out, err))
        host.expect(f"got {('', 'x' * 100_000)}")
        other = self.start_program([*perl, f"{name} 2"], env=env)
        self.assertIn("is not running", self.finish(other, 1).err)
        host.kill()
        self.start(PROGRAMS / "answering.py", name, ready="host", env={**env, "KEY": "a long one"})
        self.assertIn("another key", self.finish(self.start_program([*perl, name], env=env), 1).err)
        client = self.start_program([*perl, name, "number", "5"], env={**env, "SECRET": "a long one"})
        self.finish(client, 5)

    def test_examples_run_in_a_clone_with_nothing_installed(self):
        source = Path(package.__file__).parent
        shutil.copytree(str(source), str(self.examples.parent / "src" / source.name))
        for path in sorted(self.examples.glob("*.py")):
            if path.name in NEED_MORE:
                continue
            # -I: no PYTHONPATH, no site-packages of the user; -S: none at all.
            program = self.start(
                "-ISc",
                "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')",
                path,
                *AT_ONCE.get(path.name, []),
            )
            with self.subTest(path.name):
                if path.name not in AT_ONCE and path.name != "quickstart.py":
                    program.write("\n\n")
                self.finish(program)

    def test_every_example_is_started_by_a_test(self):
        text = Path(__file__).read_text(encoding="utf-8")
        for more in ("test_cluster.py", "test_services.py"):
            text += (ROOT / "tests" / more).read_text(encoding="utf-8")
        started = set(
            re.findall(r"(?:self\.(?:example|in_loop|check_window)\(|(?i:examples) / )\"([\w.]+)\"", text)
        )
        there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
        self.assertEqual(there - started, set(), "no test starts these")
