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

MINORS = range(8, 20)  # of the versions 3.x that are looked for

INSTALL_TIME = 600  # seconds for one package


class Environment:
    """For each subject and each interpreter, a virtual environment in which only the subject is installed.

    They have neither pip nor setuptools, since those start code in every process.
    """

    def __init__(self, folder: str, pythons: Sequence[str], beside: str) -> None:
        self._folder = Path(folder).resolve()
        self._found = found(pythons)
        self._trees = {THIS: ROOT, NAMED: ROOT, BESIDE: Path(beside)}
        self.pythons = list(self._found)
        self.main = self.pythons[0]  # the version of the interpreter on which everything is measured
        self.versions = {"CPython": ", ".join(full for full, _ in self._found.values())}
        self._clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # For every process that is measured. A host with a name may keep a key in HOME.
        self.variables = {**self._clean, "HOME": str(self._folder)}

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
        python = self.python(subject, short)
        if not os.path.exists(python):
            _, path = self._found[short]
            self._call(path, "-m", "venv", "--without-pip", str(self._of(subject, short)))
        [site] = self._of(subject, short).glob("lib/python*/site-packages")
        if subject in self._trees:  # anew each time, since it may have changed
            package = self._trees[subject] / PACKAGE
            if not package.is_dir():
                raise Failure(f"{package} does not exist")
            shutil.rmtree(site / package.name, ignore_errors=True)
            shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif SUBJECTS[subject].package and not any(site.iterdir()):
            # Not with --python: the newest pip does not run on the oldest interpreter.
            where = ("--only-binary=:all:", f"--python-version={short}", f"--target={site}")
            tools = self._folder / "tools"
            if not tools.exists():
                venv.create(tools, with_pip=True)
            self._call(program(tools), "-m", "pip", "install", "--quiet", *where, SUBJECTS[subject].package)
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

    def _of(self, subject: str, short: str) -> Path:
        """Return the folder of an environment: another one for each path, even if the version is the same."""
        full, path = self._found[short]
        return self._folder / full / path.lstrip(os.sep) / subject

    def python(self, subject: str, short: str = "") -> str:
        """Return an interpreter that has this subject."""
        return program(self._of(subject, short or self.main))

    def _call(self, *command: str) -> str:
        """Run a command to its end, and return what it prints."""
        try:
            done = subprocess.run(
                command,
                env=self._clean,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=INSTALL_TIME,
                encoding="utf-8",
            )
        except subprocess.SubprocessError as error:
            raise Failure(f"{error}\n{getattr(error, 'stderr', '')}".strip()) from None
        return done.stdout.strip()


def program(folder: Path) -> str:
    """Return the interpreter of a virtual environment."""
    return str(folder / "bin" / "python")


def found(wanted: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the interpreters that are ``wanted``, versions or paths, or the newest and the oldest CPython.

    Each is one of these paths, this interpreter, or one from the PATH or pyenv. For its minor version, the
    result has its full version and its path.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    on_path = filter(None, (shutil.which(f"python3.{minor}") for minor in MINORS))
    code = "import platform\nprint(platform.python_implementation(), platform.python_version())"
    every: dict[str, tuple[str, str]] = {}
    minors: dict[str, str] = {}
    for path in [*wanted, sys.executable, *on_path, *map(str, pyenv.glob("3.*/bin/python"))]:
        with contextlib.suppress(OSError):
            done = subprocess.run([path, "-c", code], check=False, capture_output=True, text=True)
            kind, _, full = done.stdout.strip().partition(" ")
            minor = full.rpartition(".")[0]
            if kind == "CPython" and int(minor.partition(".")[2]) in MINORS:
                minors[path] = minor
                every.setdefault(minor, (full, os.path.abspath(shutil.which(path) or path)))
    ordered = sorted(every, key=lambda minor: int(minor.partition(".")[2]))
    chosen = [minors.get(each, each) for each in wanted] or [ordered[-1], ordered[0]]
    for minor in chosen:
        if minor not in every:
            raise Failure(f"there is no CPython {minor} that starts")
    return {minor: every[minor] for minor in chosen}
