"""Processes that are told and asked, and what the system says of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

from .agents import is_free
from .plan import KIB, Cannot, Failure, Plan
from .subjects.base import Place

if TYPE_CHECKING:
    from .environment import Environment

AGENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agents.py")

START_TIME = 30  # seconds for an interpreter to start, or for a whole launch

# Ports for hosts. The system hands out those from 32768 on by itself.
PORTS = range(20_000, 32_000)

NO_PROC = "needs /proc"


class Child:
    """A process that is told lines, and answers with lines of JSON."""

    def __init__(self, command: list[str], variables: dict[str, str], folder: str) -> None:
        self._command = command
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        self._process = subprocess.Popen(
            command,
            env=variables,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        self.pid = self._process.pid
        self._lines: queue.Queue[str] = queue.Queue()
        # A thread, because a pipe cannot be read with a deadline everywhere.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # with what it was not told any more
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def tell(self, *words: object) -> None:
        try:
            print(*words, file=self._process.stdin, flush=True)
        except OSError as error:
            raise Failure(self._describe(str(error))) from None

    def answer(self, seconds: float = START_TIME) -> Any:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise Failure(self._describe(f"no answer within {seconds:g} s")) from None
        if not line:
            raise Failure(self._describe("it has ended"))
        return json.loads(line)

    def ask(self, *words: object, seconds: float = START_TIME) -> Any:
        self.tell(*words)
        return self.answer(seconds)

    def _describe(self, what: str) -> str:
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace").strip()
        return "\n".join([f"{what}: {' '.join(self._command[1:])[:200]}", errors]).strip()


def status(pid: int, field: str, thread: int | None = None) -> int:
    """Return a number from /proc: of bytes, where it counts kB."""
    path = f"/proc/{pid}/status" if thread is None else f"/proc/{pid}/task/{thread}/status"
    try:
        lines = read(path).splitlines()
    except FileNotFoundError:
        raise Cannot(NO_PROC) from None
    words = next(line.split() for line in lines if line.startswith(field + ":"))
    return int(words[1]) * (KIB if words[-1] == "kB" else 1)


def wakeups(pid: int) -> int:
    """Return how often the threads of a process were given a core, or taken from it."""
    if not os.path.isdir(f"/proc/{pid}/task"):
        raise Cannot(NO_PROC)
    fields = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    threads = os.listdir(f"/proc/{pid}/task")
    return sum(status(pid, field, int(thread)) for thread in threads for field in fields)


def peak(pid: int, reset: bool = False) -> int:
    """Return the highest resident memory of a process so far, in bytes; since now, if ``reset``."""
    if reset:
        # Not everywhere allowed. What an import once took is then not told from what a launch takes.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    return status(pid, "VmHWM")


def sockets(pid: int) -> int:
    """Return how many sockets a process has open; 0 where nothing tells."""
    folder, count = f"/proc/{pid}/fd", 0
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        with contextlib.suppress(FileNotFoundError):  # closed since
            count += os.readlink(f"{folder}/{entry}").startswith("socket:")
    return count


def until(done: Callable[[], bool], seconds: float) -> bool:
    """Look again and again whether it is ``done``; return whether it was in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


class Bench:
    """What measurements are made with: processes, ports, and a place for what was lost."""

    def __init__(self, environment: Environment, plan: Plan, folder: str) -> None:
        self.environment, self.plan = environment, plan
        self._folder = folder
        # Two runs at once begin at different ports, mostly; the rest is `is_free`.
        start = os.getpid() % len(PORTS)
        self._ports = itertools.cycle([*PORTS[start:], *PORTS[:start]])
        self.lost: dict[tuple[str, str], int] = {}  # launches, by subject and metric
        self.hopeless: dict[tuple[str, str], Cannot] = {}  # by the same: not tried again
        self.notes: list[str] = []

    def place(self) -> Place:
        """Return a place that nobody had before, unless long ago."""
        port = next(port for port in self._ports if is_free(port))
        return Place(port, os.path.join(self._folder, f"{port}.lock"))

    def agent(self, role: str, subject: str, place: Place) -> Child:
        """Start an agent; it has still to answer that it is ready."""
        command = [self.environment.python, AGENTS]
        return self._child([*command, role, subject, str(place.port), place.path], subject)

    def ready(self, role: str, subject: str, place: Place, stack: contextlib.ExitStack) -> Child:
        child = stack.enter_context(self.agent(role, subject, place))
        child.answer()
        return child

    def script(self, code: str, subject: str = "") -> Child:
        return self._child([self.environment.python, "-c", code], subject)

    def _child(self, command: list[str], subject: str) -> Child:
        return Child(command, self.environment.variables(subject), self._folder)

    def process_time(self, arguments: list[str], subject: str, python: str = "") -> float:
        """Return the seconds from `exec` to the exit of an interpreter that is given ``arguments``."""
        command = [python or self.environment.python, *arguments]
        variables, null = self.environment.variables(subject), subprocess.DEVNULL
        with tempfile.TemporaryFile() as errors:
            begin = time.perf_counter()
            process = subprocess.Popen(
                command, env=variables, cwd=self._folder, stdin=null, stdout=null, stderr=errors
            )
            # With a timeout of its own, `wait` would sleep and look, and be late.
            limit = threading.Timer(START_TIME, process.kill)
            limit.start()
            process.wait()
            took = time.perf_counter() - begin
            limit.cancel()
            if process.returncode:
                errors.seek(0)
                words = errors.read().decode(errors="replace")
                raise Failure(f"status {process.returncode}: {arguments}\n{words}")
        return took

    def missed(self, subject: str, metric: str, count: int) -> None:
        if count:
            self.lost[subject, metric] = self.lost.get((subject, metric), 0) + count


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
