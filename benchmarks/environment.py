"""The interpreters and packages that are measured, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Sequence

from .plan import Failure, say
from .subjects import BESIDE, NAMED, SUBJECTS, THIS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src", "Socket_Singleton")
PYTHON = Path("bin", "python")  # in a virtual environment
MINORS = range(8, 20)  # of the versions 3.x that are looked for
INSTALL_TIME = 600  # seconds for one package


class Environment:
    """For each subject and each interpreter, a virtual environment in which only the subject is installed.

    They have neither pip nor setuptools, since those start code in every process.
    """

    def __init__(self, folder: Path, pythons: Sequence[str], beside: str) -> None:
        self._folder = folder
        self._found = found(pythons)
        self._trees = {THIS: ROOT, NAMED: ROOT, BESIDE: Path(beside)}
        self.pythons = list(self._found)
        self.main = self.pythons[0]  # the version of the interpreter on which everything is measured
        self.versions = {"CPython": ", ".join(full for full, _ in self._found.values())}
        self._clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # For every process that is measured. A host with a name may keep a key in HOME.
        self.variables = {**self._clean, "HOME": str(folder)}

    def install(self, subjects: Sequence[str]) -> dict[str, str]:
        """Install the subjects; return why some of them are not available."""
        missing = {}
        for subject in subjects:
            say(f"installing {subject}")
            try:
                for short in self.pythons if SUBJECTS[subject].every_python else [self.main]:
                    self._install(subject, short)
                self._call(self.python(subject), "-c", SUBJECTS[subject].IMPORT)
                self._note_version(subject)
            except Failure as error:
                if subject in (THIS, BESIDE):
                    raise
                missing[subject] = str(error).splitlines()[-1]
        return missing

    def _install(self, subject: str, short: str) -> None:
        folder, python = self._folder / short / subject, self.python(subject, short)
        _, path = self._found[short]
        self._call(path, "-m", "venv", "--without-pip", str(folder))
        [site] = folder.glob("lib/python*/site-packages")
        if subject in self._trees:
            package = self._trees[subject] / PACKAGE
            shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif SUBJECTS[subject].package:
            # Not with --python: the newest pip does not run on the oldest interpreter.
            where = ("--only-binary=:all:", f"--python-version={short}", f"--target={site}")
            tools = self._folder / "tools"
            if not tools.exists():
                venv.create(tools, with_pip=True)
            pip = (str(tools / PYTHON), "-m", "pip", "install", "--quiet")
            self._call(*pip, *where, SUBJECTS[subject].package)
        code = "import compileall, sys\ncompileall.compile_dir(sys.argv[1], quiet=2)"  # PySide6 has templates
        self._call(python, "-c", code, str(site))
        for file in site.glob("*.pth"):
            if any(line.startswith(("import ", "import\t")) for line in file.read_text().splitlines()):
                raise Failure(f"{file} contains code, which would be part of every figure")

    def _note_version(self, subject: str) -> None:
        name = "Socket_Singleton" if subject == THIS else SUBJECTS[subject].package.partition(" ")[0]
        code = f"import importlib.metadata\nprint(importlib.metadata.version({name!r}))"
        if subject == THIS:  # it was copied, so it has no metadata
            code = "import Socket_Singleton\nprint(Socket_Singleton.__version__)"
        if name and name not in self.versions:
            self.versions[name] = self._call(self.python(subject), "-c", code)

    def python(self, subject: str, short: str = "") -> str:
        """Return an interpreter that has this subject."""
        return str(self._folder / (short or self.main) / subject / PYTHON)

    def _call(self, *command: str) -> str:
        """Run a command to its end, and return what it prints."""
        options = {"capture_output": True, "encoding": "utf-8", "timeout": INSTALL_TIME, "env": self._clean}
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, check=True, **options)
        except subprocess.SubprocessError as error:
            raise Failure(f"{error}\n{getattr(error, 'stderr', '')}".strip()) from None
        return done.stdout.strip()


def found(wanted: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the interpreters that are ``wanted``, versions or paths, or the newest and the oldest CPython.

    Also looks on the PATH and in pyenv. For a minor version, the result has the full one and the path.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    code = "import platform as p, sys\nprint(p.python_implementation(), p.python_version(), sys.executable)"
    every: dict[str, tuple[int, str, str]] = {}  # for each path and version: both versions, and the path
    on_path = [f"python3.{minor}" for minor in MINORS]
    for name in (*wanted, sys.executable, *on_path, *map(str, pyenv.glob("3.*/bin/python"))):
        with contextlib.suppress(OSError, ValueError):  # it does not start
            done = subprocess.run([name, "-c", code], check=False, capture_output=True, text=True)
            kind, full, path = done.stdout.strip().split(" ", 2)
            major, minor, _ = full.split(".")
            if kind == "CPython" and int(minor) in MINORS:
                every[name] = every.setdefault(f"{major}.{minor}", (int(minor), full, path))
    for name in wanted:
        if name not in every:
            raise Failure(f"there is no CPython {name} that starts")
    chosen = [every[name] for name in wanted] or [max(every.values()), min(every.values())]
    return {f"3.{minor}": (full, path) for minor, full, path in chosen}
