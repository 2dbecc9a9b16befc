"""What README.md says: its programs run, its figures are those of the code, its names exist."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import shlex
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import Socket_Singleton as package
import tests

from .support import ROOT, Collector, Program, SingletonTestCase, free_port, wait_until

README = ROOT / "README.md"
UNITS = {"": 1, "s": 1, "MiB": 1024 * 1024}


@unittest.skipUnless(README.is_file(), "no README.md here")
class TestReadme(SingletonTestCase):
    def setUp(self):
        super().setUp()
        self.text = README.read_text(encoding="utf-8")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def programs(self):
        """Return its Python blocks, each saved as a program, with a free port for its own."""
        paths = []
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        ):
            port = re.search(r"port=(\d+)", block).group(1)
            paths.append(self.folder / f"app{number}.py")
            paths[-1].write_text(block.replace(port, str(free_port())), encoding="utf-8")
        return paths

    def test_each_python_block_is_a_program_that_runs(self):
        outputs = []
        for path in self.programs():
            with self.subTest(path.name, text=path.read_text(encoding="utf-8")):
                program = self.start(path)
                with contextlib.suppress(BrokenPipeError):  # not all of them read it
                    program.write("\n")
                self.finish(program)
                self.assertEqual(program.err, "")
                outputs.append(program.out)
        self.assertIn("b'\\x06' (('hello', 'two words'),)", outputs)
        self.assertIn("on the main thread: ('report.txt',)", outputs)

    def test_the_first_lines_do_what_is_said_of_them(self):
        app = self.programs()[0]
        first = self.start(app, "a.txt", ready="Press Enter to end.")
        second = self.finish(self.start(app, "b.txt", "c d.txt"))
        self.assertEqual((second.out, second.err), ("", ""))
        first.expect("opening b.txt c d.txt")
        first.write("\n")
        self.finish(first)
        self.assertEqual(first.lines[0], "opening a.txt")

    def test_the_shell_commands_work_together(self):
        block = re.search(r"^```sh\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE).group(1)
        block = block.replace("14180", str(self.port)).replace("14181", str(free_port()))
        watch, status, send, run = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
        watching = self.start(*watch)
        wait_until(lambda: package.Socket_Singleton.is_running(port=self.port), "watch is the host")
        said = self.finish(self.start(*status)).out
        self.assertEqual(said, f"127.0.0.1 port {self.port}: somebody listens")
        self.assertEqual(self.finish(self.start(*send)).out, "")
        watching.expect('["open", "my file.txt"]')
        run[run.index("python")] = sys.executable
        self.assertEqual(self.finish(self.start(*run)).out, "one at a time")

    @unittest.skipUnless(shutil.which("bash") and os.name != "nt", "there is no bash")
    def test_the_client_in_bash(self):
        """It waits the 5 seconds that a peer has; cut short, it does not wait, and is not told."""
        block = re.search(r"^```bash\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE).group(1)
        block = block.replace("14172", str(self.port))
        client, short = self.folder / "client.sh", self.folder / "short.sh"
        client.write_text(block, encoding="utf-8")
        short.write_text("".join(block.splitlines(True)[:2]), encoding="utf-8")
        nobody = self.bash(client, "x")
        self.assertEqual(nobody.wait(), 1, nobody.describe())
        app = self.singleton(notify_empty=True)
        launches = Collector()
        app.trace(launches)
        told = [self.bash(client, "first", "two words", "", "\u00fc"), self.bash(client)]
        self.finish(self.bash(short, "at once"))
        launches.wait_for(("at once",))
        for program in told:
            self.finish(program)
            self.assertEqual((program.out, program.err), ("", ""))
        wait_until(lambda: len(launches.calls) == 3, "three launches")
        self.assertEqual(set(launches.calls[1:]), {(), ("first", "two words", "", "\u00fc")})

    def bash(self, *command):
        program = Program(["bash", *command])
        self.addCleanup(program.kill)
        return program

    def test_limits_are_those_of_the_code(self):
        rows = re.findall(r"^\|[^|]*\| ([\d.]+) ?(\w*) \| `(\w+)\.(\w+)` \|$", self.text, re.MULTILINE)
        self.assertGreater(len(rows), 4)
        for number, unit, module, name in rows:
            with self.subTest(name):
                constant = getattr(importlib.import_module(f"Socket_Singleton.{module}"), name)
                self.assertEqual(float(number) * UNITS[unit], constant)

    def test_parameters_and_defaults_are_those_of_the_class(self):
        signature = inspect.signature(package.Socket_Singleton)
        parameters = {name: parameter.default for name, parameter in signature.parameters.items()}
        heading = re.search(
            r"^```\nSocket_Singleton\((.*?)\)\n```$", self.text, re.DOTALL | re.MULTILINE
        ).group(1)
        self.assertEqual(eval(f"dict({heading.replace('*, ', '')})"), parameters)
        rows = re.findall(r"^\| `(\w+)` \|[^|]*\| `([^`]*)` \|", self.text, re.MULTILINE)
        self.assertEqual({name: eval(default) for name, default in rows}, parameters)

    def test_public_names_are_all_described(self):
        for name in dir(package.Socket_Singleton):
            if not name.startswith("_"):
                self.assertTrue(re.search(rf"`(Socket_Singleton\.)?{name}\b", self.text), name)

    def test_the_version_is_that_of_the_changelog(self):
        changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        latest = re.search(r"^## \[([\d.]+)\]", changes, re.MULTILINE).group(1)
        self.assertEqual(latest, package.__version__)

    def test_what_it_names_exists(self):
        for name in re.findall(r"`(Test\w+)`", self.text):
            self.assertTrue(hasattr(tests, name), name)
        for page in (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
            text = page.read_text(encoding="utf-8")
            for path, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", text):
                target = page.parent / path if path else page
                self.assertTrue(target.exists(), f"{page.name}: {path}")
                if anchor:
                    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
                    anchors = [
                        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
                        for heading in headings
                    ]
                    self.assertIn(anchor, anchors, f"{page.name}: {path}")
