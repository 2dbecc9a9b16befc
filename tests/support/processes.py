"""Programs as child processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from .waiting import PATIENCE, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = ROOT / "tests" / "programs"
TEST_APP = ROOT / "test_app.py"

# Where the suite runs in the background of a script (`&`), it was started to ignore SIGINT, and so
# would be all that it starts. What has a handler here has the default there.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Program:
    """A child process whose output is read as it comes."""

    def __init__(self, command, env=None, cwd=None, stdout=None, **more):
        """Start it.

        Args:
            stdout: where that goes instead of into `lines`: a file; or ``subprocess.PIPE``, and
                then the test reads it from ``process.stdout`` itself, or does not.
        """
        self.command = [word if isinstance(word, bytes) else str(word) for word in command]
        self.process = subprocess.Popen(
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
        reads = [(self.process.stderr, self._err)]
        if stdout is None:
            reads.append((self.process.stdout, self.lines))
        self._readers = [threading.Thread(target=self._read, args=read, daemon=True) for read in reads]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, into):
        with stream:
            for line in stream:
                into.append(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))

    @property
    def out(self) -> str:
        return "\n".join(self.lines)

    @property
    def err(self) -> str:
        return "\n".join(self._err)

    def describe(self) -> str:
        return (
            f"{str(self.command)[:500]}\n-- status: {self.process.poll()}"
            f"\n-- stdout: {self.out[-3000:]}\n-- stderr: {self.err[-3000:]}"
        )

    def expect(self, line: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until ``line`` was printed ``count`` times."""

        def seen():
            if self.lines.count(line) >= count:
                return True
            if self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(PATIENCE)
                if self.lines.count(line) < count:
                    raise AssertionError(f"ended without printing {line!r}: {self.describe()}")
            return False

        try:
            wait_until(seen, f"{line!r} x {count}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def write(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit status; show both streams if it does not come."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout:g} seconds: {self.describe()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    @contextlib.contextmanager
    def stopped(self):
        """Have it stand still meanwhile, as by Ctrl-Z. Only where there is SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            # Stopped by the time this goes on, not soon.
            if not os.WIFSTOPPED(os.waitpid(self.pid, os.WUNTRACED)[1]):
                raise AssertionError(f"it ended instead: {self.describe()}")
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it, by its id, if it has not ended; and reap it."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        self.process.wait(PATIENCE)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for reader in self._readers:
            reader.join(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()


def python_of_another_user(user: int = 65534) -> list[str]:
    """Return how to start Python as another user; skip the test where that cannot be done."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv"):
        raise unittest.SkipTest("only root can be another user, by setpriv")
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    # This interpreter may lie in root's own folders.
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        command = [*become, str(python), "-B"]
        tried = subprocess.run([*command, "-c", ""], stderr=subprocess.DEVNULL, check=False)
        if not tried.returncode:
            return command
    raise unittest.SkipTest("there is no Python that another user can start")


def environment(more=None) -> dict[str, str]:
    """Return the environment of a child: it finds the package that is tested, and prints at once."""
    env = dict(os.environ)
    package_parent = str(Path(sys.modules["Socket_Singleton"].__file__).parent.parent)
    # Those in tests/programs also find the modules that lie beside this one: inside.py, descriptors.py.
    path = (package_parent, str(HERE), env.get("PYTHONPATH"))
    env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    env["PYTHONUNBUFFERED"] = "1"
    if os.name == "nt":
        env["PYTHONIOENCODING"] = "utf-8"  # as it is read here; to a pipe it would be the code page
    # CPython 3.12 and later warn of any fork beside a thread; some tests are about just that.
    env["PYTHONWARNINGS"] = "ignore:This process:DeprecationWarning"
    env.update(more or {})
    return env
