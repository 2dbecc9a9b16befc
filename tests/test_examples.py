"""Each of the examples, started as a person would, the first launch and a second one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import site
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .pages import start_display
from .support import PATIENCE, PROGRAMS, ROOT, SingletonTestCase, needs_resets, wait_until

EXAMPLES = ROOT / "examples"

# How the examples that are not ended by Enter are started so that they end at once.
AT_ONCE = {
    "asyncio_app.py": ["quit"],
    "queue_worker.py": ["quit"],
    "restart.py": ["--quit"],
    "service.py": ["stop"],
}
# How the examples that act on launches are ended, and how their line about one that came meanwhile begins.
LATE = {
    "asyncio_app.py": ("quit", "opening 7"),
    "context_manager.py": ("Enter", "Another launch had: 7"),
    "multiprocessing_pool.py": ("Enter", "7 squared is 49, says SpawnPoolWorker-"),
    "non_strict.py": ("Enter", "('7',)"),
    "observer.py": ("Enter", "a late launch asks for '7'"),
    "open_files.py": ("Enter", "opening 7"),
    "queue_worker.py": ("quit", "working on 7"),
    "secret_from_environment.py": ("Enter", "Another launch had: 7"),
}
NEED_MORE = {"cluster.py", "qt_app.py", "tkinter_app.py"}


def has_cryptx() -> bool:
    if not shutil.which("perl"):
        return False
    found = subprocess.run(["perl", "-MCryptX", "-e", "1"], stderr=subprocess.DEVNULL, check=False)
    return found.returncode == 0


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
class TestExamples(SingletonTestCase):
    def setUp(self):
        super().setUp()
        self.name = f"org.example.test {self.port}"  # two runs of these tests may be here at once
        home = str(self.make_folder())  # for a key of its own
        own = {"HOME": home, "LOCALAPPDATA": home, "PYTHONUSERBASE": site.getuserbase()}
        own.update(EXAMPLE_NAME=self.name, EXAMPLE_PORT=str(self.port), EXAMPLE_SECRET="a secret")
        self.enter(mock.patch.dict(os.environ, own))

    def example(self, name, *args, **options):
        return self.start(EXAMPLES / name, *args, **options)

    def asking(self, name, *args, **options):
        """Start an example that asks, and go on when the host owns what it asks; see owned.py."""
        return self.start(PROGRAMS / "owned.py", EXAMPLES / name, *args, ready="owned", **options)

    def in_loop(self, name, *args, env=None):
        """Start an example so that it tells of each call of its observer; see in_loop.py."""
        return self.start(PROGRAMS / "in_loop.py", EXAMPLES / name, *args, ready="traced", env=env)

    def send(self, *words):
        Socket_Singleton.send(words, name=self.name, timeout=PATIENCE)

    def ends_quietly(self, program):
        self.finish(program)
        self.assertEqual((program.out, program.err), ("", ""))

    def test_minimal(self):
        first = self.example("minimal.py", ready="Running. Press Enter to end.")
        self.ends_quietly(self.example("minimal.py"))
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines, ["Running. Press Enter to end."])

    def test_observer(self):
        first = self.example("observer.py", "a.txt", ready="Running. Press Enter to end.")
        self.ends_quietly(self.example("observer.py", "b.txt", "c d.txt"))
        first.expect("another launch asks for 'c d.txt'")
        first.write("\n")
        self.finish(first)
        self.assertEqual(
            first.lines,
            [
                "this launch asks for 'a.txt'",
                "Running. Press Enter to end.",
                "another launch asks for 'b.txt'",
                "another launch asks for 'c d.txt'",
            ],
        )

    def test_context_manager(self):
        locked, released = "The only one. Press Enter to release the port.", "Released. Press Enter to end."
        first = self.example("context_manager.py", ready=locked)
        self.ends_quietly(self.example("context_manager.py", "x", "y z"))
        first.expect("Another launch had: x y z")
        first.write("\n")
        first.expect(released)
        second = self.example("context_manager.py", ready=locked)
        for program in (first, second):
            program.write("\n\n")
            self.finish(program)

    def test_non_strict(self):
        first = self.example("non_strict.py", ready="Running. Press Enter to end.")
        second = self.finish(self.example("non_strict.py", "x", "y z"))
        self.assertEqual(second.lines, ["Another instance runs, and has taken these arguments over."])
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
        first = self.example("open_files.py", "a.txt", ready="Running. Press Enter to end.", cwd=here)
        self.ends_quietly(self.example("open_files.py", "a.txt", os.path.join("..", "b c.txt"), cwd=there))
        first.expect(f"opening {there.parent / 'b c.txt'}")
        first.write("\n")
        self.finish(first)
        expected = [here / "a.txt", there / "a.txt", there.parent / "b c.txt"]
        self.assertEqual(
            [line for line in first.lines if "opening" in line], [f"opening {x}" for x in expected]
        )

    def test_wait_until_closed(self):
        example, here, there = "wait_until_closed.py", self.make_folder(), self.make_folder()
        ready = "Running. A name closes that document, Enter alone ends all."
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
        self.assertIn("ended before it answered", self.finish(never, status=1).err)
        for launch in (both, one):
            self.assertEqual((launch.lines, launch.err), (["owned"], ""))
        self.assertEqual(first.err, "")

    def test_service(self):
        ready = "The service runs. The word stop ends it."
        first = self.example("service.py", "set", "size", "42", ready=ready)

        def command(*words, status=0):
            return self.finish(self.example("service.py", *words), status)

        for words, status, out, err in (
            (("get", "size"), 0, "42", ""),
            (("get", "colour"), 1, "", "There is no colour."),
            (("has", "colour"), 1, "", ""),
            (("set", "colour", "dark blue"), 0, "", ""),
            (("has", "colour"), 0, "", ""),
            (("get", "colour"), 0, "dark blue", ""),
            ((), 0, "", ""),
        ):
            with self.subTest(words=words):
                launch = command(*words, status=status)
                self.assertEqual((launch.out, launch.err), (out, err))
        self.assertRegex(command("help").out, r"\Ausage: service\.py command \.\.\.\n")
        missing = (
            "usage: service.py get key\nservice.py get: error: the following arguments are required: key"
        )
        self.assertEqual(command("get", status=1).err, missing)
        self.assertRegex(
            command("paint", "it", status=1).err,
            r"\Ausage: service\.py command \.\.\.\nservice\.py: error: .*invalid choice: '?paint",
        )
        self.assertEqual(command("stop").out, "The service has stopped.")
        self.finish(first)
        self.assertEqual((first.lines, first.err), ([ready], ""))  # nothing of what the launches were told

    def test_restart_loses_nothing_that_comes_while_the_old_version_is_busy(self):
        """The old one is held up by its output, which nobody reads, until all is in place."""
        old = self.example("restart.py", stdout=subprocess.PIPE)
        output = old.process.stdout
        self.assertEqual(output.readline().split(), b"version 1 runs".split())
        early = [str(number) * 8000 for number in range(9)] * 4  # several times what a pipe holds
        for name in early:
            self.send(name)
        new = self.asking("restart.py", "--take-over", env={"EXAMPLE_VERSION": "2"})
        late = [f"late {number}" for number in range(20)]
        for name in late:
            self.send(name)
        self.assertEqual(new.lines, ["owned"])  # the old one is at work
        done = output.read().decode().split("\n")
        self.assertEqual(
            [line.strip() for line in done[:-1]], [f"version 1 works on {name}" for name in early]
        )
        self.finish(old)
        new.expect(f"version 2 works on {late[-1]}")
        self.send("--quit")
        self.finish(new)
        works = [f"version 2 works on {name}" for name in late]
        self.assertEqual(new.lines, ["owned", "version 2 runs", *works])

    @needs_resets
    def test_restart_loses_nothing_that_comes_at_any_time(self):
        old = self.example("restart.py", "first", ready="version 1 runs")
        halfway, errors = threading.Event(), []

        def keep_sending(sender):
            try:
                for number in range(50):
                    self.send_when_somebody_is_there(f"{sender}-{number}")
                    if number == 5:
                        halfway.set()
            except BaseException as error:
                errors.append(error)

        senders = [threading.Thread(target=keep_sending, args=(sender,)) for sender in range(2)]
        for sender in senders:
            sender.start()
        self.assertTrue(halfway.wait(PATIENCE))
        new = self.example("restart.py", "--take-over", env={"EXAMPLE_VERSION": "2"})
        self.finish(old)
        new.expect("version 2 runs")
        for sender in senders:
            sender.join()
        self.assertEqual(errors, [])
        self.ends_quietly(self.example("restart.py", "last"))
        new.expect("version 2 works on last")
        self.assertEqual(self.finish(self.example("restart.py", "--quit")).lines, ["[]"])
        self.finish(new)
        names = [line.split(" works on ")[1] for line in old.lines + new.lines if " works on " in line]
        sent = [f"{sender}-{number}" for sender in range(2) for number in range(50)]
        self.assertEqual(sorted(names), sorted(["first", *sent, "last"]))

    def send_when_somebody_is_there(self, name):
        def is_sent():
            try:
                self.send(name)
            except ConnectionRefusedError:
                return False
            return True

        wait_until(is_sent, f"somebody takes {name}")

    def test_restart_where_nothing_runs(self):
        new = self.example("restart.py", "--take-over", ready="version 1 runs")
        self.assertEqual(self.finish(self.example("restart.py", "--quit")).lines, ["[]"])
        self.finish(new)
        self.assertEqual(new.lines, ["version 1 runs"])

    def test_secret_from_environment(self):
        def launch(*args, secret="a secret", ready=None):
            env = {"EXAMPLE_SECRET": secret}
            return self.example("secret_from_environment.py", *args, ready=ready, env=env)

        first = launch(ready="Running. Press Enter to end.")
        wrong = self.finish(launch("x", secret="another"), status=1)
        self.assertEqual(wrong.err, "Another instance runs, and has not taken this launch.")
        self.assertEqual(self.finish(launch("y", secret=""), status=1).err, "EXAMPLE_SECRET is not set.")
        self.ends_quietly(launch("z", "a b"))
        first.expect("Another launch had: z a b")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines, ["Running. Press Enter to end.", "Another launch had: z a b"])

    def test_multiprocessing_pool(self):
        first = self.example("multiprocessing_pool.py", ready="Running. Press Enter to end.")
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
            return self.start_program(["sh", EXAMPLES / "cron_job.sh", *job], env={"PYTHON": sys.executable})

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
        told = [json.loads(line) for line in first.lines if line.startswith("[")]
        self.assertEqual(told, [["MainThread", ["b.txt", "c d.txt"]], ["MainThread", ["quit"]]])
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
        """Each call of the observer was on the thread of the loop, and the window shows what it is to."""
        first = self.in_loop(name, "a.txt", env={"IN_LOOP_WINDOW": "1", "IN_LOOP_LATE": "late", **env})
        rows = ["a.txt"]
        for launch in (["b.txt", "c d.txt"], ["cover"], [], ["cover"], ["e.txt"]):
            told = len(first.lines)
            second = self.finish(self.example(name, *launch, env=env))
            wait_until(lambda told=told: len(first.lines) > told, f"the observer of {launch}")
            rows += launch
            answer = f"The window lists {len(rows)} files."
            self.assertEqual((second.lines, second.err), ([answer], ""))
            is_in_front = launch != ["cover"]
            self.assertEqual(json.loads(first.lines[-1]), ["MainThread", launch, rows, is_in_front])
        self.finish(self.example(name, "close", env=env))
        # A new one, for what came while the first one was closing; it has inherited the output.
        wait_until(lambda: first.lines.count("traced") == 2, "a new window")
        self.finish(self.example(name, "close", env=env))
        self.finish(first)
        self.assertEqual(json.loads(first.lines[-1]), ["MainThread", ["close"], ["late", "close"], True])
        self.assertNotIn("Traceback", first.err)  # Qt may say what a screen that is none cannot do

    def test_what_came_while_it_was_ending_is_done(self):
        for name, (end, line) in LATE.items():
            with self.subTest(name):
                program = self.in_loop(name, env={"IN_LOOP_LATE": "7"})
                if end == "Enter":
                    program.write("\n\n")
                else:
                    Socket_Singleton.send([end], port=self.port)
                self.finish(program)
                said = [x for x in program.lines if x.startswith(line)]
                self.assertEqual(len(said), 1, program.describe())

    def test_quickstart(self):
        program = self.finish(self.start(EXAMPLES / "quickstart.py", self.port))
        for line in (
            "  the first launch prints: running, as the only one",
            "  the second launch ends with status 0 and prints nothing",
            "  the first launch prints: a second launch was started with ('report.txt', 'my notes.txt')",
            "  the first launch ends with status 0 and prints nothing",
        ):
            self.assertIn(line, program.lines)

    @unittest.skipUnless(has_cryptx(), "there is no Perl with CryptX")
    def test_client(self):
        """A launch in Perl asks a host in Python, and is asked for the same proof."""
        name, home = f"org.example.test {self.port}", self.make_folder()
        perl, env = ["perl", EXAMPLES / "client.pl"], {"HOME": str(home)}
        self.assertIn("does not run", self.finish(self.start_program([*perl, name], env=env), 1).err)
        host = self.start(PROGRAMS / "answering.py", name, ready="host", env=env)
        for words, status, out, err in (
            (("text", "two words \u00e9\udcff"), 0, "two words \u00e9\\udcff", ""),
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
        self.assertIn("does not run", self.finish(other, 1).err)
        host.kill()
        self.start(PROGRAMS / "answering.py", name, ready="host", env={**env, "KEY": "a long one"})
        self.assertIn("another key", self.finish(self.start_program([*perl, name], env=env), 1).err)
        client = self.start_program([*perl, name, "number", "5"], env={**env, "SECRET": "a long one"})
        self.finish(client, 5)

    def test_quickstart_says_that_its_port_is_taken(self):
        self.singleton()
        program = self.finish(self.start(EXAMPLES / "quickstart.py", self.port), status=1)
        self.assertIn(f"Port {self.port} is taken", program.err)
        self.assertEqual(program.out, "")

    def test_examples_run_in_a_clone_with_nothing_installed(self):
        for path in sorted(EXAMPLES.glob("*.py")):
            if path.name in NEED_MORE:
                continue
            # -I: no PYTHONPATH, no site-packages of the user; -S: none at all.
            program = self.start(
                "-ISc",
                "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')",
                path,
                *([self.port] if path.name == "quickstart.py" else AT_ONCE.get(path.name, [])),
            )
            with self.subTest(path.name):
                if path.name not in AT_ONCE and path.name != "quickstart.py":
                    program.write("\n\n")
                self.finish(program)

    def test_every_example_is_started_by_a_test(self):
        text = Path(__file__).read_text(encoding="utf-8")
        text += (ROOT / "tests" / "test_cluster.py").read_text(encoding="utf-8")
        started = set(
            re.findall(r"(?:self\.(?:example|in_loop|check_window)\(|EXAMPLES / )\"([\w.]+)\"", text)
        )
        there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
        self.assertEqual(there - started, set(), "no test starts these")
