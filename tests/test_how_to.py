"""The programs on the pages in docs/how-to: each does what its page says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .pages import PageTestCase, blocks, sections
from .support import PATIENCE, ROOT, AnotherUser, environment, wait_until

PAGES = ROOT / "docs" / "how-to"
RUNNING = "Running. Press Enter to quit."

WAITS_IN_FROZEN_TIME = """
from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
with Socket_Singleton(port=0) as app, freezegun.freeze_time("2026-01-01"):
    try:
        Socket_Singleton(port=app.port, wait=0.2, strict=False)
    except MultipleSingletonsError:
        print("the time is over")
"""


@unittest.skipUnless(PAGES.is_dir(), "no docs here")
class TestHowTo(PageTestCase):
    page = PAGES / "options.md"

    def app(self, page, section, number=0, name="app.py"):
        """Save a program of this page, and return its path."""
        self.sections = sections(PAGES / page)
        return self.program(section, name, number)

    def ends(self, *command, status=0, **options):
        """Run it to its end, and return what it printed on both streams."""
        program = self.finish(self.start(*command, **options), status)
        return program.out, program.err

    def end(self, program):
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.err, "")

    # -- options.md --

    def test_options_come_first(self):
        app = self.app("options.md", "Options first")
        here, there = self.make_folder(), self.make_folder()
        first = self.start(app, "a.txt", ready=RUNNING, cwd=here)
        self.assertIn("--new-instance", self.ends(app, "--help")[0])
        self.assertIn("unrecognized arguments: --colour", self.ends(app, "--colour", status=2)[1])
        self.assertEqual(self.ends(app, "b.txt", cwd=there), ("", ""))
        first.expect(f"opening {there / 'b.txt'}")
        for option in (["--new-instance"], ["--profile", "other"]):
            other = self.start(app, *option, "c.txt", ready=RUNNING, cwd=there)
            self.assertEqual(other.lines, [f"opening {there / 'c.txt'}", RUNNING])
            self.end(other)
        self.end(first)
        self.assertEqual(first.lines, [f"opening {here / 'a.txt'}", RUNNING, f"opening {there / 'b.txt'}"])

    def test_slots(self):
        app = self.app("options.md", "Several slots")
        first, second = [
            self.start(app, ready=f"Running in slot {slot}. Press Enter to quit.") for slot in (1, 2)
        ]
        self.assertEqual(self.ends(app, status=1), ("", "All 2 slots are taken."))
        self.end(first)
        self.end(self.start(app, ready="Running in slot 1. Press Enter to quit."))
        self.end(second)

    def test_versions(self):
        app = self.app("options.md", "When versions differ")
        newer = self.folder / "newer.py"
        newer.write_text(app.read_text(encoding="utf-8").replace('"2"', '"3"'), encoding="utf-8")
        first = self.start(app, ready=RUNNING)
        self.assertEqual(self.ends(app, "a.txt"), ("", ""))
        first.expect("opening a.txt")
        said = ("", "Another version of the editor is running. Quit it first.")
        self.assertEqual(self.ends(newer, "b.txt", status=1), said)
        self.end(first)

    # -- batches.md --

    def test_batches(self):
        app = self.app("batches.md", "Thirty files at once")
        text = app.read_text(encoding="utf-8")
        self.assertIn("SILENCE = 0.05", text)
        # On a busy machine, two launches may be farther apart than that.
        app.write_text(text.replace("SILENCE = 0.05", "SILENCE = 1.0"), encoding="utf-8")
        first = self.start(app, "first.txt", ready="opening 1 files together")
        for number in range(30):
            self.send(f"{number}.txt")
        self.send("quit")
        self.send("late.txt")
        first.expect("opening 31 files together")
        self.finish(first)
        self.assertEqual(first.err, "")

    def test_standard_input(self):
        app = self.app("batches.md", "Standard input")
        first = self.start(app, "a.txt", ready="opening a.txt")
        second = self.start(app, "-")
        second.write("two\nlines\n")
        second.process.stdin.close()
        self.finish(second)
        first.expect("showing 'two\\nlines\\n'")

    # -- commands.md --

    def test_a_command_that_asks(self):
        command = self.app("commands.md", "A command that asks")
        self.assertEqual(self.ends(command, status=1), ("", "The service is not running."))

        def obey(launch):
            print("printed", file=launch.stdout)
            return {"text": "answered", "number": 3}[launch[0]]

        with Socket_Singleton(name=self.name) as app:
            app.trace(obey)
            self.assertEqual(self.ends(command, "text"), ("printed\nanswered", ""))
            self.assertEqual(self.ends(command, "number", status=3), ("printed", ""))
            with self.assertLogs("Socket_Singleton"):
                self.assertEqual(self.ends(command, "what", status=1), ("printed", "KeyError: 'what'"))

    @unittest.skipIf(os.name == "nt", "Windows has no SIGINT to send")
    def test_a_command_that_asks_ends_by_ctrl_c(self):
        command = self.app("commands.md", "A command that asks")
        with Socket_Singleton(name=self.name) as app:
            asking = self.start(command, "word")
            wait_until(lambda: app.arguments, "it waits for its answer")
            asking.interrupt()
            self.finish(asking, 130)
        self.assertEqual((asking.out, asking.err), ("", ""))

    def check_notes(self, app, usage, *mistakes):
        # As in a terminal: what is printed to a launch must not have colours for it.
        service = self.start(app, ready="The service is running.", env={"FORCE_COLOR": "1"})
        self.assertEqual(self.ends(app, "add", "milk"), ("", ""))
        self.assertEqual(self.ends(app, "add", "two eggs"), ("", ""))
        self.assertEqual(self.ends(app, "list"), ("milk\ntwo eggs", ""))
        for words in (["--help"], ["add", "--help"]):
            out, err = self.ends(app, *words)
            self.assertRegex(out, rf"\A{usage}")
            self.assertEqual(err, "")
        for *words, text in mistakes:
            out, err = self.ends(app, *words, status=2)
            self.assertEqual(out, "")
            self.assertRegex(err, rf"(?s)\A{usage}.*{text}")
        self.assertEqual(self.ends(app, "stop"), ("", ""))
        self.finish(service)
        self.assertEqual((service.lines, service.err), (["The service is running."], ""))

    def test_argparse(self):
        mistakes = ("paint", "invalid choice: '?paint"), ("arguments are required: command",)
        self.check_notes(self.app("commands.md", "argparse"), "usage: notes", *mistakes)

    def test_click(self):
        self.need("click")
        self.check_notes(
            self.app("commands.md", "click"), "Usage: notes", ("paint", "No such command 'paint'")
        )

    # -- services.md --

    @unittest.skipIf(os.name == "nt", "Windows has no SIGTERM to handle")
    def test_a_service_ends_in_order(self):
        for page, section, ready in (
            ("services.md", "Wait in the main thread", "The service is running."),
            ("closing.md", "Ctrl-C and SIGTERM", "working on"),
        ):
            with self.subTest(page):
                app = self.app(page, section)
                service = self.start(app, ready=ready)
                self.send("a")
                service.expect("working on a")
                service.interrupt(signal.SIGTERM)
                self.finish(service)
                self.assertEqual(service.err, "")

    def test_a_service_is_stopped_by_a_command(self):
        app = self.app("services.md", "Wait in the main thread")
        service = self.start(app, ready="The service is running.")
        self.assertEqual(self.ends(app, "stop"), ("", ""))
        self.finish(service)
        said = "The service is running.\nworking on stop"
        self.assertEqual(self.ends(app, "stop"), (said, ""), "it does what it was started with, too")

    def run_daemon(self, app, *words):
        """Run it until the shell continues; return the file that the daemon prints to."""
        path = self.folder / "output"
        with open(path, "ab") as output:  # a pipe would stay open as long as the daemon lives
            command = [sys.executable, str(app), *words]
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            subprocess.run(
                command, check=True, env=environment(), cwd=self.folder, timeout=PATIENCE, **streams
            )
        return path

    def end_daemon(self, name):
        pid = Socket_Singleton.pid_of(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def check_daemon(self, app, log):
        self.addCleanup(self.end_daemon, self.name)

        def lines():
            return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

        output = self.run_daemon(app, "first")
        wait_until(lambda: lines() == ["working on first"], "the daemon has the first launch")
        pid = Socket_Singleton.pid_of(self.name)
        self.run_daemon(app, "second")
        wait_until(lambda: lines()[1:] == ["working on second"], "the daemon has the second launch")
        self.assertEqual(Socket_Singleton.pid_of(self.name), pid)
        self.run_daemon(app, "stop")
        wait_until(lambda: not Socket_Singleton.is_running(name=self.name), "the daemon ends")
        self.assertNotIn("Traceback", output.read_text(encoding="utf-8"))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_a_daemon(self):
        self.check_daemon(self.app("services.md", "Daemons"), self.folder / "output")

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_python_daemon(self):
        self.need("daemon")
        self.check_daemon(self.app("services.md", "Daemons", number=1), self.folder / "work.log")

    # -- jobs.md --

    def test_a_plain_lock(self):
        job = self.app("jobs.md", "A plain lock")
        self.assertEqual(self.ends(job, "x"), ("making the backup", ""))
        with Socket_Singleton(name=self.name) as app:
            said = f"The backup is already running, as process {os.getpid()}."
            self.assertEqual(self.ends(job, "x"), (said, ""))
            self.assertEqual((app.arguments, app.clients), ((), 0))
        with Socket_Singleton(name=self.name, secret="another"):
            out, err = self.ends(job, status=1)
            self.assertEqual(out, "")
            self.assertIn(self.name, err)

    @unittest.skipUnless(shutil.which("sh") and os.name != "nt", "there is no sh")
    def test_a_job_of_a_shell(self):
        [block] = blocks(PAGES / "jobs.md", "sh")
        command = block.replace("nightly-import", f"nightly-import-{self.port}")
        command = command.replace("python", f"'{sys.executable}'")
        (self.folder / "import.py").write_text("print('imports', flush=True); input()", encoding="utf-8")
        first = self.start_program(["sh", "-c", command], "imports", cwd=self.folder)
        second = self.finish(self.start_program(["sh", "-c", command], cwd=self.folder))
        self.assertEqual((second.out, second.err), ("", ""))
        self.end(first)

    def test_a_django_command(self):
        self.need("django")
        commands = self.folder / "shop" / "management" / "commands"
        commands.mkdir(parents=True)
        for folder in (commands, commands.parent, commands.parent.parent):
            (folder / "__init__.py").touch()
        (self.folder / "settings.py").write_text("INSTALLED_APPS = ['shop']", encoding="utf-8")
        self.app("jobs.md", "A Django management command").rename(commands / "import_orders.py")
        command = ["-m", "django", "import_orders", "--settings", "settings"]
        env = {"PYTHONPATH": os.pathsep.join([str(self.folder), environment()["PYTHONPATH"]])}
        self.assertEqual(self.ends(*command, env=env), ("importing", ""))
        with Socket_Singleton(name=self.name):
            _, err = self.ends(*command, env=env, status=1)
            self.assertRegex(err, r"\ACommandError: .*already bound")

    def test_a_scheduler(self):
        self.need("apscheduler")
        app = self.app("jobs.md", "A scheduler in a web application")
        with open(app, "a", encoding="utf-8") as file:
            file.write("print(lock is not None, flush=True)\ninput()\n")
        first = self.start(app, ready="tick")
        second = self.start(app, ready="False")
        self.assertRegex(second.lines[0], r"\AThe scheduler is running in another process: ")
        self.end(first)
        self.end(second)
        self.assertNotIn("tick", second.lines)

    # -- testing.md --

    def test_tests_with_pytest(self):
        self.need("pytest")
        self.app("testing.md", "Names that do not collide")
        self.app("testing.md", "Names that do not collide", number=1, name="test_app.py")
        program = self.finish(self.start("-m", "pytest", "test_app.py", cwd=self.folder))
        self.assertIn("2 passed", program.out)

    def test_tests_within_one_process(self):
        self.app("testing.md", "Within one process", name="test_app.py")
        program = self.finish(self.start("-m", "unittest", "test_app.py", cwd=self.folder))
        self.assertIn("Ran 1 test", program.err)

    def test_observers_alone(self):
        app = self.app("testing.md", "Observers alone")
        self.assertEqual(self.ends(app), ("", ""))

    def test_frozen_clocks(self):
        self.need("freezegun")
        app = self.app("testing.md", "Frozen clocks")
        with open(app, "a", encoding="utf-8") as file:
            file.write(WAITS_IN_FROZEN_TIME)
        self.assertEqual(self.ends(app), ("the time is over", ""))

    # -- existing.md --

    def test_both_kinds_of_failure(self):
        app = self.app("existing.md", "Step by step")
        self.assertEqual(self.ends(app), ("the only instance", ""))
        with Socket_Singleton(name=self.name):
            self.assertEqual(self.ends(app, "a.txt"), ("", ""))
        with Socket_Singleton(name=self.name, secret="another"):
            self.assertIn(self.name, self.ends(app)[0])
        home = self.folder / "no home"
        home.touch()
        with mock.patch.dict(os.environ, HOME=str(home), LOCALAPPDATA=str(home)):
            out, err = self.ends(app)
        self.assertNotIn("the only instance", out)
        self.assertEqual(err, "")


@unittest.skipUnless(PAGES.is_dir(), "no docs here")
class TestAccountWithoutAHome(PageTestCase):
    """services.md, as such a user, with a key that only root can read, and of which systemd makes a copy."""

    page = PAGES / "services.md"

    def test_a_service_and_a_launch(self):
        user = AnotherUser(self.make_folder())
        [unit] = blocks(self.page, "ini")
        self.assertIn("LoadCredential=key:/etc/example/key", unit)
        app, key = self.program("An account without a home"), self.folder / "key"
        key.write_text("f" * 64 + "\n", encoding="utf-8")
        key.chmod(0o600)
        credentials = self.make_folder()
        os.chown(shutil.copy(key, credentials), user.id, user.id)
        for path in (self.folder, credentials):
            path.chmod(0o755)
        env = {"HOME": "/nonexistent", "PYTHONPATH": str(user.folder)}
        env["CREDENTIALS_DIRECTORY"] = str(credentials)
        service = self.start_program([*user.python, app], "The service is running.", env=env)
        del env["CREDENTIALS_DIRECTORY"]
        [block] = blocks(self.page, "sh")
        for text, here in (
            ("/etc/example/key", key),
            ("www-data", user.id),
            (" python ", ' "$@" '),
            ("org.example.credential", self.name),
        ):
            self.assertIn(text, block)
            block = block.replace(text, str(here))
        launch = self.start_program(["sh", "-ec", block, "sh", *user.python[-2:]], env=env)
        self.finish(launch)
        service.expect("working on words")
        without = f"from Socket_Singleton import Socket_Singleton; Socket_Singleton(name={self.name!r})"
        refused = self.finish(self.start_program([*user.python, "-c", without], env=env), status=1)
        self.assertRegex(refused.err, r"(?m)^\w*Error: .*secret")
        service.interrupt(signal.SIGTERM)
        self.finish(service)
