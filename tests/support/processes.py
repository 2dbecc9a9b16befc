"""Programs as child processes."""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Iterator

from .silence import SLOW_STEP
from .systems import WINE
from .waiting import PATIENCE, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = ROOT / "tests" / "programs"
TEST_APP = ROOT / "test_app.py"

# If the suite runs in the background of a script (`&`), it was started to ignore SIGINT, and so would
# everything that it starts. With a handler here, child processes have the default.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The more memory this process has, the longer a fork takes, and before 3.10 `subprocess` forks. What large
# packets have needed would stay in glibc's heap, unless large blocks are kept out of it (mallopt(3)).
M_MMAP_THRESHOLD, LARGE = -3, 128 * 1024
if sys.platform == "linux" and sys.implementation.name == "cpython":  # PyPy manages its heap in other ways
    with contextlib.suppress(ImportError, AttributeError):  # no ctypes, or another C library
        import ctypes

        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)

# "Internal error". With it, wine 8 fails about once in ten thousand times to start a process, of which
# nothing has run then.
WINE_FAILED = 1359


def _start(command, **options) -> subprocess.Popen:
    try:
        return subprocess.Popen(command, **options)
    except OSError as error:
        if not (WINE and error.winerror == WINE_FAILED):
            raise
    return subprocess.Popen(command, **options)


class Program:
    """A child process whose output is read as it arrives."""

    def __init__(self, command, env=None, cwd=None, stdout=None, **more):
        """Start it.

        Args:
            stdout: where that goes instead of into `lines`: a file, or ``subprocess.PIPE``; then the test
            can read it from ``process.stdout`` itself.
        """
        self.command = [word if isinstance(word, bytes) else str(word) for word in command]
        self.process = _start(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=environment(env),
            cwd=str(cwd or ROOT),
            **more,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._err: list[str] = []
        self.err_was_read = False  # by a test, which has then checked it
        self._news = threading.Condition()  # guards the next two, which readers change and `expect` reads
        self._printed: collections.Counter[str] = collections.Counter()  # how often each line of stdout came
        self._prints = stdout is None  # until the end of stdout
        reads = [(self._read_err, self.process.stderr)]
        if stdout is None:
            reads.append((self._read_out, self.process.stdout))
        self._readers = [threading.Thread(target=read, args=[stream], daemon=True) for read, stream in reads]
        for reader in self._readers:
            reader.start()

    def _read_err(self, stream) -> None:
        for line in self._lines_of(stream):
            self._err.append(line)

    def _read_out(self, stream) -> None:
        for line in self._lines_of(stream):
            self.lines.append(line)
            with self._news:
                self._printed[line] += 1
                self._news.notify_all()
        with self._news:
            self._prints = False
            self._news.notify_all()

    @staticmethod
    def _lines_of(stream) -> Iterator[str]:
        with stream:
            for line in stream:
                text = line.decode("utf-8", "surrogateescape")
                if not SLOW_STEP.fullmatch(text):
                    yield text.rstrip("\r\n")

    @property
    def out(self) -> str:
        return "\n".join(self.lines)

    @property
    def err(self) -> str:
        self.err_was_read = True
        return "\n".join(self._err)

    def describe(self) -> str:
        err = "\n".join(self._err)
        return (
            f"{str(self.command)[:500]}\n-- status: {self.process.poll()}"
            f"\n-- stdout: {self.out[-3000:]}\n-- stderr: {err[-3000:]}"
        )

    def expect(self, line: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until ``line`` has been printed ``count`` times."""
        with self._news:
            self._news.wait_for(lambda: self._printed[line] >= count or not self._prints, timeout)
            if self._printed[line] >= count:
                return
            ended = not self._prints
        self._join_readers(1.0 if ended else 0.0)  # for what is on stderr
        why = "ended without printing" if ended else f"has not printed within {timeout:g} seconds"
        raise AssertionError(f"{why}: {line!r} x {count}\n{self.describe()}")

    def write(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit status; if it does not end, show both streams."""
        deadline = time.monotonic() + timeout
        self._join_readers(timeout)  # first, since `Popen.wait` polls less and less often
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout:g} seconds: {self.describe()}") from None

    def _join_readers(self, timeout: float) -> None:
        """Wait until everything that it, or a child of its own, prints has been read."""
        deadline = time.monotonic() + timeout
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))

    def interrupt(self, how: int = signal.SIGINT) -> None:
        """Send a signal once its main thread is asleep.

        Python handles a signal between two steps. One that comes just before a step that waits for
        a lock or a socket does not end that wait, in any program.
        """
        wait_until(self._is_asleep, "its main thread is asleep")
        os.kill(self.pid, how)

    def _is_asleep(self) -> bool:
        if not os.path.exists("/proc/self/task"):
            return True  # this system does not show it
        before = activity_of_thread(self.pid, self.pid)
        time.sleep(0.02)  # for as long as that, it does not run
        return activity_of_thread(self.pid, self.pid) == before and "sleeping" in before[0]

    @contextlib.contextmanager
    def stopped(self):
        """Stop it meanwhile, as Ctrl-Z does. Only for systems with SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            # Wait until it really has stopped.
            if not os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1]):
                raise AssertionError(f"it ended instead: {self.describe()}")
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it, by its id, if it has not ended, and reap it."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        self.process.wait(PATIENCE)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self._join_readers(PATIENCE)
        # A reader may still wait, for a child that has the stream too; `close` would wait for the reader.
        if self.process.stdout and not any(reader.is_alive() for reader in self._readers):
            self.process.stdout.close()


class AnotherUser:
    """Runs programs as another user, from a copy of the package and programs: this tree may be private."""

    def __init__(self, folder: Path, user: int = 65534) -> None:
        """Make the copy in ``folder``; skip the test if this process cannot become another user."""
        if os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv"):
            raise unittest.SkipTest("only root can be another user, by setpriv")
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        self.folder, self.id = folder, user
        self.python = [*become, *self._find_python(become), "-B"]
        package = Path(sys.modules["Socket_Singleton"].__file__).parent
        for source in (package, PROGRAMS):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)

    @staticmethod
    def _find_python(become: list[str]) -> list[str]:
        # This interpreter may be in root's own folders.
        for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
            tried = subprocess.run([*become, str(python), "-c", ""], stderr=subprocess.DEVNULL, check=False)
            if not tried.returncode:
                return [str(python)]
        raise unittest.SkipTest("there is no Python that another user can start")

    def start(self, test, *command, ready: str | None = None, home: Path | str = "/nonexistent") -> Program:
        """Start a Python program, or one of tests/programs by its name; it ends with ``test``."""
        env = {"HOME": str(home), "PYTHONPATH": str(self.folder)}
        return test.start_program(self.command(*command), ready, env=env, cwd=self.folder)

    def command(self, *command) -> list:
        """Return the command, for callers that do not use `start`."""
        programs = self.folder / "programs"
        return [*self.python, *(programs / word if str(word).endswith(".py") else word for word in command)]


def activity_of_thread(pid, thread) -> list[str]:
    """Return a thread's state, and its voluntary and involuntary context switches. Linux only."""
    with open(f"/proc/{pid}/task/{thread}/status") as file:
        return [line for line in file if "ctxt_switches" in line or line.startswith("State")]


def environment(more=None) -> dict[str, str]:
    """Return the environment of a child: it finds the tested package, and does not buffer its output."""
    env = dict(os.environ)
    package_parent = str(Path(sys.modules["Socket_Singleton"].__file__).parent.parent)
    # Those in tests/programs also find the modules beside this one: inside.py, descriptors.py.
    path = (package_parent, str(HERE), env.get("PYTHONPATH"))
    env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    env["PYTHONUNBUFFERED"] = "1"
    if os.name == "nt":
        env["PYTHONIOENCODING"] = "utf-8"  # as it is read here; for a pipe it would be the code page
    # CPython 3.12 and later warn of any fork beside a thread, which is the subject of some tests.
    forks = "ignore:This process:DeprecationWarning"
    env["PYTHONWARNINGS"] = ",".join(filter(None, (env.get("PYTHONWARNINGS"), forks)))
    env.update(more or {})
    return env
