"""What the tests of documentation and windows share: the programs of a page, and a screen for windows."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import select
import signal
import tempfile
from pathlib import Path

from .support import PATIENCE, Program, SingletonTestCase, free_port


class PageTestCase(SingletonTestCase):
    """Runs the programs of a page of the documentation: ``page``."""

    page: Path

    def setUp(self) -> None:
        super().setUp()
        text = self.page.read_text(encoding="utf-8")
        self.sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(os.path.realpath(folder.name))
        self.web_port = free_port()

    def start(self, *command, ready: str | None = None, **options) -> Program:
        """Start it with a group of its own: some start others, which end with the test, too."""
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
        """Skip the test where one of these is missing."""
        for module in modules:
            try:
                spec = importlib.util.find_spec(module)
            except ImportError:  # of the package that it is in
                spec = None
            if not spec:
                self.skipTest(f"there is no {module}")

    def program(self, section: str, name: str = "app.py") -> Path:
        """Save the first program of ``section``, with this test's ports, and return its path."""
        text = re.search(r"^```python\n(.*?)^```$", self.sections[section], re.DOTALL | re.MULTILINE).group(1)
        ports = iter([self.port, self.web_port])
        path = self.folder / name
        path.write_text(re.sub(r"\b14[23]\d\d\b", lambda _: str(next(ports)), text), encoding="utf-8")
        return path


def start_display(test) -> str:
    """Start an X server without a screen, for as long as ``test`` runs, and return its name."""
    reader, writer = os.pipe()
    # Without -noreset it starts anew, and refuses whoever comes then, each time that its last client goes.
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
