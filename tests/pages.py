"""What the tests of documentation and windows share: the programs of a page, and a screen for windows."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import select
import signal
import site
import sys
import tempfile
from pathlib import Path
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import PATIENCE, Program, SingletonTestCase, environment, free_port

PORT = re.compile(r"\b14\d\d\d\b")  # as in pages and examples


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in this language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))


def with_names_of_its_own(text: str, mark: object, ports: list[int]) -> str:
    """Return a program with unique names and ports: two runs of the tests may be here at once.

    The default port, in a program that chooses none, is replaced too.
    """
    numbers = {number: str(port) for number, port in zip(dict.fromkeys(PORT.findall(text)), ports)}
    text = PORT.sub(lambda found: numbers[found.group()], text)
    text = text.replace("Socket_Singleton()\n", f"Socket_Singleton(port={ports[0]})\n")
    return text.replace("org.example.", f"org.example.test-{mark}.")


def check_deleted_folder(test, path) -> None:
    """Check that a program opens a file with an absolute path although its own folder was deleted."""
    gone = Path(test.make_folder(), "gone")
    script = f'mkdir "{gone}" && cd "{gone}" && rmdir "{gone}" && exec "$@"'
    command = ["sh", "-c", script, "sh", sys.executable, path, "/a.txt"]
    first = test.start_program(command, "opening /a.txt", env=environment())
    first.expect("Running. Press Enter to quit.")
    test.finish(test.start_program(command, env=environment()))
    first.expect("opening /a.txt", count=2)
    first.write("\n")
    test.finish(first)
    test.assertEqual(first.err, "")


class HomeTestCase(SingletonTestCase):
    """Has a home without a key, which is deleted with the test."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(os.path.realpath(folder.name))
        home = {"HOME": str(self.folder), "LOCALAPPDATA": str(self.folder)}
        self.enter(mock.patch.dict(os.environ, home, PYTHONUSERBASE=site.getuserbase()))


class PageTestCase(HomeTestCase):
    """Runs the programs of a page of the documentation: ``page``."""

    page: Path
    programs_may_warn = True  # servers and toolkits print whatever they like

    def setUp(self) -> None:
        super().setUp()
        self.sections = sections(self.page)
        self.web_port = free_port()
        self.name = None  # of the program saved last

    def start(self, *command, ready: str | None = None, **options) -> Program:
        """Start it in a group of its own: what some programs start ends with the test, too."""
        program = super().start(*command, start_new_session=True, **options)
        self.addCleanup(self.end_group, program.pid)
        if ready is not None:
            program.expect(ready)
        return program

    @staticmethod
    def end_group(number: int) -> None:
        if os.name != "nt":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(number, signal.SIGKILL)

    def need(self, *modules: str) -> None:
        """Skip the test if one of these is missing."""
        for module in modules:
            try:
                spec = importlib.util.find_spec(module)
            except ImportError:  # for its package
                spec = None
            if not spec:
                self.skipTest(f"there is no {module}")

    def text(self, section: str, number: int = 0) -> str:
        """Return a program of ``section``, with names and ports for this test."""
        found = re.findall(r"^```python\n(.*?)^```$", self.sections[section], re.DOTALL | re.MULTILINE)[
            number
        ]
        return with_names_of_its_own(found, self.port, [self.web_port])

    def program(self, section: str, name: str = "app.py", number: int = 0) -> Path:
        """Save a program of ``section``, and return its path."""
        text = self.text(section, number)
        named = re.search(r'"(org\.example\.[^"{}]+?)[ "{]', text)
        self.name = named and named[1]
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def send(self, *words: str, name: str | None = None, timeout: float = PATIENCE) -> None:
        """Hand over words to the program saved last, as a launch would."""
        Socket_Singleton.send(words, name=name or self.name, timeout=timeout)


def start_display(test) -> str:
    """Start an X server without a screen, for as long as ``test`` runs, and return its name."""
    reader, writer = os.pipe()
    # Without -noreset it resets each time that its last client leaves, and refuses clients meanwhile.
    command = [
        "Xvfb",
        "-displayfd",
        str(writer),
        "-screen",
        "0",
        "800x600x24",
        "-noreset",
        "-nolisten",
        "tcp",
    ]
    server = Program(command, pass_fds=[writer])
    test.addCleanup(server.kill)
    os.close(writer)
    with open(reader, "rb") as number:
        select.select([number], [], [], PATIENCE)
        return f":{number.readline().decode().strip()}"
