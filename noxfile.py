"""The checks of this project: ``nox --list`` shows them, ``nox -s lint`` runs one.

`.ci/run` runs them all, several at a time and in this order, which leaves short ones for the end. The last
one runs alone, since it uses all cores. `.ci/debian-packages` lists the Debian packages that they need.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import nox

PROJECT = nox.project.load_toml("pyproject.toml")

# The Python that can use Debian's packages.
DEBIAN_PYTHON = "/usr/bin/python3"

# The interpreter that nox runs on, but without nox.
PYTHON = getattr(sys, "_base_executable", sys.executable)

THIS_VERSION = "{}.{}".format(*sys.version_info)

IS_ROOT = os.name == "posix" and os.geteuid() == 0

# Development mode, with all warnings as errors except two: since 3.12, CPython warns of each fork beside a
# thread, in any code; and it warns if a program ends before one that it has started, as it does when it
# restarts itself.
STRICT = {
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "error,ignore:This process:DeprecationWarning,ignore:subprocess:ResourceWarning",
}

# Run `tests.in_between`, whose docstring says why that is enough. The workflow runs all tests on these too.
IN_BETWEEN = ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14")

# Run all tests in an awkward place, as this user.
AWKWARD = {"pypy3": "root", "3.7": "nobody"}

# The more memory a process has, the longer it takes to fork, and on PyPy the process of the tests would keep
# half a gigabyte. With a fixed threshold (bytes), glibc gives back to the system what is longer: mallopt(3).
LESS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1024 * 1024)}

# Skipped while coverage is measured.
NOT_WITH_COVERAGE = ("TestInterrupted.test_at_any_step", "TestInterpretersBesideTheMainOne")

# Seconds for tests that run together. On two cores, none of them needs a third of that.
LIMIT = 2400

nox.needs_version = ">= 2026.10"  # for `allow_parallel`
nox.options.allow_parallel = True


def each(name: str, *values: str) -> Callable:
    """Make a session for each value, which is called ``session(value)``."""
    return nox.parametrize(name, [nox.param(value, id=value.strip("-") or "plain") for value in values])


def find_python(version: str) -> list[str] | None:
    """Return the command that starts this Python: on the PATH, in pyenv, or in Debian unstable."""
    name = version if version.startswith("pypy") else f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    commands = [[shutil.which(name)], *([str(path)] for path in pyenv.glob(f"{version}.*/bin/python"))]
    if version in ("3.14", "3.15"):
        commands.append([".ci/unstable", name])
    # pyenv puts a python3.7 on the PATH that starts only if its user has chosen that version.
    return next((command for command in commands if command[0] and starts(command)), None)


def starts(python: list[str], code: str = "") -> bool:
    return not subprocess.run([*python, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode


def install(session: nox.Session, *groups: str) -> None:
    session.install(*nox.project.dependency_groups(PROJECT, *groups))


@contextlib.contextmanager
def with_nothing_installed(python: list[str]) -> Iterator[list[str]]:
    """Make an environment that is empty: packages can start code in every process.

    Debian unstable has a folder of its own, where nothing else is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        if len(python) == 1:
            Path(folder).chmod(0o755)  # another user may run the tests
            subprocess.run([*python, "-m", "venv", "--without-pip", folder], check=True)
            python = [f"{folder}/bin/python"]
        yield python


def run_tests(
    session: nox.Session, python: list[str], *names: str, complete: bool = False, **env: str
) -> None:
    """Run tests, or all of them. If they have to be ``complete``, none may be skipped."""
    limit = ["timeout", "--kill-after=10", str(LIMIT)] if shutil.which("timeout") else []
    runner = [".ci/complete.py"] if complete else ["-m", "unittest"]
    words = [f"tests.{name}" for name in names] or ["tests"]
    # Bytecode outside this tree: it saves thousands of processes from compiling the package.
    with tempfile.TemporaryDirectory() as folder:
        env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder, **env}
        session.run(*limit, *python, *runner, *words, env=env, external=True)


def run_or_skip(session: nox.Session, status: int, reason: str, *command: str) -> None:
    """Run a program that exits with this status if the machine lacks something that it needs."""
    try:
        session.run(*command, external=True)
    except nox.command.CommandFailed as failed:
        if failed.return_code != status:
            raise
        session.skip(reason)


# -- the files --


@nox.session
def lint(session: nox.Session) -> None:
    """Lint and format."""
    install(session, "lint")
    session.run("ruff", "check", "--no-cache")
    session.run("ruff", "format", "--no-cache", "--check")
    session.run("check-jsonschema", "--builtin-schema=vendor.github-workflows", ".github/workflows/ci.yml")


# Its installation fetches a program from GitHub, which not every network allows.
@nox.session(default="GITHUB_ACTIONS" in os.environ)
def workflow(session: nox.Session) -> None:
    """The scripts and expressions in the workflow."""
    install(session, "workflow")
    session.run("actionlint", ".github/workflows/ci.yml")


@nox.session
def types(session: nox.Session) -> None:
    """Types, on each platform and with two checkers."""
    install(session, "types")
    for platform in ("linux", "win32", "darwin"):
        session.run("mypy", f"--cache-dir={session.create_tmp()}", f"--platform={platform}")
    session.run("pyright")


@nox.session
def pages(session: nox.Session) -> None:
    """The quick start in the README, and its picture."""
    install(session, "pages")
    session.run("python", "examples/quickstart.py")
    session.run("python", "docs/make_picture.py", str(Path(session.create_tmp(), "quickstart.svg")))


@nox.session
def site(session: nox.Session) -> None:
    """The documentation as a site; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-q", "-W", "-n", "docs", str(Path(session.create_tmp(), "site")))


@nox.session
def package(session: nox.Session) -> None:
    """The wheel and the source archive, and the wheel in an environment without anything else."""
    install(session, "package")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", f"--outdir={folder}", ".", silent=True)
        session.run("python", ".ci/check_archives.py", folder)
        [wheel] = Path(folder).glob("*.whl")
        empty = Path(folder, "empty")
        session.run(PYTHON, "-m", "venv", str(empty), external=True)
        python = str(empty / ("Scripts" if os.name == "nt" else "bin") / "python")
        session.run(python, "-m", "pip", "install", "--quiet", "--no-index", str(wheel), external=True)
        smoke = shutil.copy(".ci/smoke.py", folder)
        with session.chdir(folder):
            session.run(python, "-I", smoke, external=True)


# -- the whole suite --


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines and branches of the package are reached by the tests of its parts."""
    install(session, "coverage")
    with tempfile.TemporaryDirectory() as folder:
        env = {"COVERAGE_FILE": str(Path(folder, "data"))}
        # Coverage slows programs down. The other tests, such as those of the examples, reach hardly more.
        parts = ("command", "identity", "named", "networks", "relaunch")
        # Of those with closed streams, the two that reach lines which no other test here reaches.
        closed = ("status", "run_of_something_that_cannot_be_run")
        names = ["in_between", *(f"test_{part}" for part in parts)]
        names += [f"TestClosedStreams.test_{name}" for name in closed]
        run_tests(session, ["coverage", "run"], *names, **env)
        # It warns about the data of a process that was killed while writing them, and ignores them.
        session.run("coverage", "combine", "--quiet", env=env)
        session.run("coverage", "report", env=env)
    run_tests(session, ["python"], *NOT_WITH_COVERAGE)


@nox.session(venv_backend="none")
def windows(session: nox.Session) -> None:
    """The tests of the package on CPython for Windows, under wine, as far as wine behaves like Windows."""
    run_or_skip(session, 3, "there is no wine on this machine", ".ci/windows")


@nox.session(venv_backend="none")
@each("python", "pypy3", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
def tests(session: nox.Session, python: str) -> None:
    """All tests on one interpreter, or those that are most likely to differ there.

    PyPy and CPython 3.7 run them in awkward places for a clone, one as root and one as a user without rights
    and without a home; 3.15 with -X dev and -W error. The others run them as users do.
    """
    command = find_python(python)
    if command is None:
        session.skip(f"there is no {python} on this machine")
    is_awkward = python in AWKWARD and IS_ROOT  # who alone can be another user
    env = {"3.15": STRICT, "pypy3": LESS_MEMORY}.get(python, {})
    if python == os.environ.get("SOCKET_SINGLETON_TESTED") and not (env or is_awkward):
        session.skip("the command in README has run all tests on this version, in the same way")
    if python == THIS_VERSION and python in IN_BETWEEN:
        session.skip("the session coverage runs the same tests")
    if python == "3.7" and not is_awkward:
        env = {"PYTHONDONTWRITEBYTECODE": "1"}  # it would write bytecode into this tree
    names = ["in_between"] if python in IN_BETWEEN else []
    with with_nothing_installed(command) as command:
        place = [".ci/anywhere", AWKWARD[python]] if is_awkward else []
        run_tests(session, [*place, *command], *names, **env)


# -- what needs more than Python --


@nox.session
def toolkits(session: nox.Session) -> None:
    """Examples and documentation in real toolkits and tools, and as a frozen application."""
    install(session, "toolkits")
    # One folder for the bytecode of these tools, which takes long to compile.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": session.create_tmp()}
    toolkit = "TestToolkits.test_{}".format
    tk = [PYTHON if starts([PYTHON], "import tkinter") else DEBIAN_PYTHON]
    run_tests(session, tk, "TestDesktopApp", complete=True, SOCKET_SINGLETON_RACES="20", **bytecode)
    for python, *names in (
        (tk, "TestExamples.test_tkinter_app", *map(toolkit, ("closing", "tk", "tk_has_the_keyboard"))),
        (
            [DEBIAN_PYTHON],
            *map(toolkit, ("gtk", "a_token_with_gtk_on_wayland", "a_token_with_gtk_on_x11", "wx")),
        ),
        (
            ["python"],
            "TestExamples.test_qt_app",
            *map(toolkit, ("pyside6", "pyqt6", "tray_icon", "the_window_in_the_readme")),
            *map(toolkit, ("a_failure_is_shown_in_a_window", "a_token_with_qt_on_wayland")),
        ),
        (
            ["python"],
            *map(toolkit, ("asyncio", "executor", "gevent", "gevent_that_asks", "gevent_with_patches")),
            *map(toolkit, ("prompt_toolkit", "pygame", "textual", "trio")),
        ),
        (["python"], "TestHowTo"),
        (["python"], "TestTools"),
        (["python"], "TestRelaunchFrozen"),
        ([PYTHON], "TestExamples.test_client"),
    ):
        run_tests(session, python, *names, complete=True, **bytecode)
    with tempfile.TemporaryDirectory() as folder:
        folders = (f"--distpath={folder}", f"--workpath={folder}/work", f"--specpath={folder}/work")
        options = ["--log-level=WARN", "--onefile", f"--paths={Path('src').resolve()}"]
        if sys.platform == "linux" and shutil.which("strip"):
            options.append("--strip")  # Python's library may have symbols that take long to compress
        session.run("pyinstaller", *options, *folders, "examples/observer.py", env=bytecode)
        session.run(PYTHON, ".ci/frozen.py", f"{folder}/observer", external=True)


@nox.session(venv_backend="none")
def benchmarks(session: nox.Session) -> None:
    """The comparison in short: whether it works, not its results."""
    session.run(PYTHON, "benchmarks/compare.py", "--quick", external=True)


@nox.session(venv_backend="none")
def mutations(session: nox.Session) -> None:
    """The soak, or a test, finds two mistakes, chosen at random, that are made in copies of the package."""
    options = "--seconds", "400", "--sample", "2"
    session.run(PYTHON, "-m", "verification.mutations", *options, external=True)


@nox.session(venv_backend="none")
def networks(session: nox.Session) -> None:
    """Names in several networks of a machine, beside other users, and behind tools with a proxy."""
    python = [PYTHON]
    if not IS_ROOT and shutil.which("sudo"):  # GitHub's runners allow it without a password
        python = ["sudo", "--non-interactive", "--preserve-env=PYTHONPYCACHEPREFIX", PYTHON]
    if not starts(python, "import os, sys; sys.exit(os.geteuid())"):
        session.skip("root rights are not available on this machine")
    names = "TestNetworks", "TestIdentity", "TestProxies", "TestAccountWithoutAHome"
    run_tests(session, python, *names, complete=True)


@nox.session
def cluster(session: nox.Session) -> None:
    """One instance in a cluster, on PostgreSQL."""
    install(session, "cluster")
    run_tests(session, ["python"], "TestCluster", complete=True)
    session.run("python", "benchmarks/cluster.py", "--quick")


@nox.session(venv_backend="none")
@each("option", "", "--name")
def system_calls(session: nox.Session, option: str) -> None:
    """Each system call fails once, and is the last one once."""
    command = [PYTHON, "verification/system_calls.py", *option.split()]
    run_or_skip(session, 77, "no process may be traced on this machine", *command)


@nox.session(venv_backend="none")
def model(session: nox.Session) -> None:
    """The hand-over as a model, and mistakes in it that have to be found."""
    session.run(PYTHON, "verification/handover.py", external=True)


@nox.session(venv_backend="none")
def stress(session: nox.Session) -> None:
    """Many threads that use one host and switch every microsecond."""
    session.run(PYTHON, "-m", "verification.stress", "--seconds", "15", external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Any bytes, cut anywhere and in any order, for both sides of the wire, the proof and the answers."""
    install(session, "fuzz")
    session.run("python", "-m", "verification.fuzz")


@nox.session(venv_backend="none")
def browser(session: nox.Session) -> None:
    """A web page is not a launch, in a real Chromium."""
    run_tests(session, [PYTHON], "TestWebPage", complete=True)


# -- alone --


@nox.session(venv_backend="none", allow_parallel=False)
def soak(session: nox.Session) -> None:
    """Half a minute of everything at once, from a random seed that it prints; and ten thousand launches."""
    session.run(PYTHON, "-m", "verification.soak", "--seconds", "30", external=True)
    session.run(PYTHON, "-m", "verification.soak", "--launches", "10000", external=True)
