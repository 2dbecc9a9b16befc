"""What is measured, and with what: interpreters and packages in a folder of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .figures import say
from .plan import Failure
from .subjects import BESIDE, NAMED, OLD, SUBJECTS, THIS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src", "Socket_Singleton")

# What is compared. Where two major versions are allowed, the newer one no longer runs on the
# oldest Python that this program does. PySide6 6.12.0 loses a reference to None with each
# call of a slot: before Python 3.12 that ends the process after some thousand launches.
PEERS = {
    "filelock": "filelock >= 3.12, < 5",
    "portalocker": "portalocker >= 2.8, < 5",
    "tendo": "tendo ~= 0.3",
    "PySide6-Essentials": "PySide6-Essentials >= 6.5, != 6.12.0, < 7",
}
# What draws is a group in pyproject.toml, and in an environment of its own: what it brings along
# must not start with the peers.
PROJECT, TOOLS = ROOT / "pyproject.toml", "benchmarks"
PIP = "pip >= 25.1, < 27"  # the first with groups
RELEASED = "Socket_Singleton == 2.0.0"  # in a folder of its own, since the name is ours

# Which subject needs which package; the others need none.
NEEDED = {
    "filelock": "filelock",
    "portalocker": "portalocker",
    "tendo": "tendo",
    "QLocalServer": "PySide6-Essentials",
    OLD: "Socket_Singleton",
}

# Interpreters on which a second launch is measured as well, where they are found.
OTHERS = ("3.8", "3.13")

INSTALL_TIME = 600  # seconds for one package

# What an interpreter runs by itself at its start, before any program: it would be in every
# figure. Prints the lines of .pth files that are code, and the modules that sites customize.
LIST_STARTED = """\
import sys
started = [name for name in ("sitecustomize", "usercustomize") if name in sys.modules]
import glob, os, site
for folder in site.getsitepackages():
    for path in glob.glob(os.path.join(glob.escape(folder), "*.pth")):
        with open(path, encoding="utf-8") as file:
            started += [os.path.basename(path) for line in file if line.startswith(("import ", "import\t"))]
print(*sorted(set(started)))
"""


class Environment:
    """An interpreter with the peers, others without, one that draws, and the versions of Socket_Singleton."""

    def __init__(self, folder: str, beside: str | None) -> None:
        self._folder = Path(folder)
        self._tools = program(self._folder / "tools")
        self.python = program(self._folder / "peers")
        self.others: dict[str, str] = {}  # interpreters, by version
        self._trees = {THIS: ROOT, **({BESIDE: Path(beside)} if beside else {})}
        self.missing: dict[str, str] = {}  # packages, and why
        self.notes: list[str] = []

    def make(self) -> None:
        marker = self._folder / "made-by-compare.json"
        content = json.dumps([sys.version, PEERS, PROJECT.read_text(encoding="utf-8"), RELEASED])
        kept = marker.exists()
        if self._folder.is_dir() and any(self._folder.iterdir()) and not kept:
            raise Failure(f"{self._folder} is not empty, and not an environment that compare.py has made")
        if not kept or marker.read_text(encoding="utf-8") != content:
            say("making the environment")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            marker.write_text("incomplete", encoding="utf-8")  # ours all the same: made anew the next time
            self._install()
            if not self.missing:
                marker.write_text(content, encoding="utf-8")
        self._find_others()
        self._copy_trees()
        for python in (self.python, *self.others.values()):
            self._check_clean(python)

    def _install(self) -> None:
        venv.create(self._folder / "tools", with_pip=True)
        # Without pip, and the setuptools that may come with it: those have a .pth file.
        venv.create(self._folder / "peers", with_pip=False)
        self._pip("install", PIP)
        self._pip("install", "--group", f"{PROJECT}:{TOOLS}")
        for package, wanted in PEERS.items():
            self._try(package, "--python", self.python, "install", wanted)
        folder = str(self._folder / OLD)
        self._try("Socket_Singleton", "install", "--no-deps", "--target", folder, RELEASED)

    def _try(self, package: str, *arguments: str) -> None:
        try:
            self._pip(*arguments)
        except Failure as error:
            self.missing[package] = "could not be installed"
            say(f"{package} could not be installed:\n{error}")

    def _pip(self, *arguments: str) -> None:
        self.call(self._tools, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)

    def _find_others(self) -> None:
        for version in OTHERS:
            found = find_python(version)
            if not found:
                continue
            folder = self._folder / f"python{version}"
            if not folder.exists():
                self.call(found, "-m", "venv", "--without-pip", str(folder))
            self.others[version] = program(folder)

    def _copy_trees(self) -> None:
        """Copy the packages: compiled, as installed ones are, and nobody changes them meanwhile."""
        for subject, tree in self._trees.items():
            if not (tree / PACKAGE).is_dir():
                raise Failure(f"{tree / PACKAGE} is not there")
            copy = self._folder / subject / "Socket_Singleton"
            shutil.rmtree(copy.parent, ignore_errors=True)
            shutil.copytree(tree / PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for python in (self.python, *self.others.values()):
            for subject in (*self._trees, OLD):
                if (self._folder / subject).is_dir():
                    self.call(python, "-m", "compileall", "-q", str(self._folder / subject))

    def _check_clean(self, python: str) -> None:
        """See that ``python`` starts nothing by itself that the figures would then measure."""
        started = self.call(python, "-c", LIST_STARTED).split()
        if any(name.endswith(".pth") for name in started):
            raise Failure(f"{python} starts with {', '.join(started)}, and every figure would hold that")
        if started:
            self.notes.append(f"{python} starts with {', '.join(started)}, and so does everything measured")

    def variables(self, subject: str = "") -> dict[str, str]:
        """Return the environment variables of a process that has ``subject``."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subject = THIS if subject == NAMED else subject
        if subject in (*self._trees, OLD):
            variables["PYTHONPATH"] = str(self._folder / subject)
            variables["HOME"] = str(self._folder)  # where a host with a name may keep a key
        return variables

    def run(self, *arguments: str, subject: str = "") -> str:
        """Run the interpreter with the peers to its end, and return what it prints."""
        return self.call(self.python, *arguments, subject=subject)

    def draw(self, *arguments: str) -> None:
        """Run a program of this folder with the interpreter that draws; it prints where this one does."""
        subprocess.run(
            [self._tools, "-m", *arguments], env=self.variables(), cwd=ROOT, check=True, timeout=INSTALL_TIME
        )

    def call(self, python: str, *arguments: str, subject: str = "") -> str:
        """Run any interpreter to its end, and return what it prints."""
        try:
            done = subprocess.run(
                [python, *arguments],
                env=self.variables(subject),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=INSTALL_TIME,
                encoding="utf-8",
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"not done within {INSTALL_TIME} s: {arguments}") from None
        if done.returncode:
            raise Failure(f"status {done.returncode}: {arguments}\n{done.stderr.strip()}")
        return done.stdout

    def versions(self) -> dict[str, str]:
        code = "import json, sys\nfrom importlib.metadata import version\n"
        code += "print(json.dumps({package: version(package) for package in sys.argv[1:]}))"
        present = [package for package in PEERS if package not in self.missing]
        ours = self.run("-c", "import Socket_Singleton\nprint(Socket_Singleton.__version__)", subject=THIS)
        others = {f"CPython {version}": self._version(python) for version, python in self.others.items()}
        return {"Socket_Singleton": ours.strip(), **json.loads(self.run("-c", code, *present)), **others}

    def _version(self, python: str) -> str:
        return self.call(python, "-c", "import platform; print(platform.python_version())").strip()

    def absent_subjects(self) -> dict[str, str]:
        """Return the subjects that cannot be imported, and why."""
        absent = {}
        for name, subject in SUBJECTS.items():
            why = self.missing.get(NEEDED.get(name, ""))
            if name == BESIDE and name not in self._trees:
                why = "--beside names no other tree"
            if why is None:
                try:
                    self.run("-c", f"{subject.IMPORT}\n{subject.CHECK}", subject=name)
                    continue
                except Failure as error:
                    if name == THIS:
                        raise
                    why = f"cannot be had: {str(error).splitlines()[-1]}"
            absent[name] = why
        return absent


def program(folder: Path) -> str:
    """Return the interpreter of a virtual environment."""
    return str(folder.joinpath(*(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python"))))


def find_python(version: str) -> str | None:
    """Return a CPython of that version that starts: from the PATH, or pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [shutil.which(f"python{version}"), *map(str, versions.glob(f"{version}.*/bin/python"))]
    code = "import platform, sys\nprint(platform.python_implementation(), *sys.version_info[:2])"
    wanted = " ".join(["CPython", *version.split(".")])
    for candidate in filter(None, candidates):
        try:
            done = subprocess.run(
                [candidate, "-c", code], check=False, capture_output=True, text=True, timeout=INSTALL_TIME
            )
        except OSError:
            continue
        if done.stdout.strip() == wanted:
            return candidate
    return None
