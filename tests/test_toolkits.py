"""The programs of docs/toolkits.md in their toolkits: many launches, in order, on the right thread."""

from __future__ import annotations

import json
import re
import shutil
import unittest

from Socket_Singleton import Socket_Singleton

from .support import PROGRAMS, ROOT, PageTestCase, start_display, wait_until

PAGE = ROOT / "docs" / "toolkits.md"
LAUNCHES = 200


@unittest.skipUnless(PAGE.is_file(), "no docs here")
class TestToolkits(PageTestCase):
    page = PAGE

    def display(self):
        if not shutil.which("Xvfb"):
            self.skipTest("there is no Xvfb to show a window in")
        return {"DISPLAY": start_display(self), "GDK_BACKEND": "x11"}

    def told(self):
        whole, _, _ = self.file.read_text(encoding="utf-8").rpartition("\n")  # a line may be half written
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line != "traced"]

    def start_in_loop(self, path, env=None):
        self.file = self.folder / "told"
        self.file.touch()
        env = {"IN_LOOP_TOLD": str(self.file), "IN_LOOP_LATE": "late", **(env or {})}
        program = self.start(PROGRAMS / "in_loop.py", path, env=env)

        def is_ready():
            self.assertIsNone(program.process.poll(), program.describe())
            return "traced" in self.file.read_text(encoding="utf-8")

        wait_until(is_ready, f"{path.name} observes")
        return program

    def check(self, section, env=None, thread="MainThread", opens_a_new_one=False):
        program = self.start_in_loop(self.program(section), env)
        launches = [[str(number), "two words"] for number in range(LAUNCHES)]
        for launch in launches:
            Socket_Singleton.send(launch, port=self.port)
        wait_until(lambda: len(self.told()) >= LAUNCHES, f"{LAUNCHES} calls of the observer")
        self.assertEqual(self.told(), [[thread, launch] for launch in launches])
        Socket_Singleton.send(["quit"], port=self.port)
        if opens_a_new_one:
            text = self.file.read_text
            wait_until(lambda: text(encoding="utf-8").count("traced") == 2, "a new launch, for the late one")
            Socket_Singleton.send(["quit"], port=self.port)
        self.finish(program)
        if not opens_a_new_one:
            self.assertIn("opening late", program.out)
        self.assertNotIn("Traceback", program.err)

    def test_asyncio(self):
        self.check("asyncio")

    def test_trio(self):
        self.need("trio")
        self.check("Trio")

    def test_qt(self):
        self.need("PySide6")
        self.check("Qt", {"QT_QPA_PLATFORM": "offscreen"}, opens_a_new_one=True)

    def test_gtk(self):
        self.need("gi")
        self.check("GTK", self.display(), opens_a_new_one=True)

    def test_wx(self):
        self.need("wx")
        self.check("wxPython", self.display(), opens_a_new_one=True)

    def test_tk(self):
        self.need("tkinter", "_tkinter")
        self.check("Tk", self.display(), opens_a_new_one=True)

    def test_textual(self):
        self.need("textual")
        self.check("Textual", {"TEXTUAL_DRIVER": "textual.drivers.headless_driver:HeadlessDriver"})

    def test_prompt_toolkit(self):
        self.need("prompt_toolkit")
        self.check("prompt_toolkit")

    def test_executor(self):
        self.check("Executors", thread="ThreadPoolExecutor-0_0")

    # -- what is said beside the programs --

    def test_each_row_of_the_table_is_what_the_program_of_its_section_does(self):
        rows = re.findall(
            r"^\| \[.*?\]\(#(.*?)\) \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
        self.assertEqual(len(rows), 9)
        names = {name.lower(): name for name in self.sections}
        for anchor, dispatch in rows:
            lines = self.program(names[anchor]).read_text(encoding="utf-8").splitlines()
            self.assertIn(f"app.dispatch = {dispatch}", [line.strip() for line in lines])
