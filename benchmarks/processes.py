"""The processes that take part in a measurement, and what the system knows of them."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import random
import re
import resource
import select
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterator

from .environment import Environment
from .plan import Failure, Plan
from .subjects import SUBJECTS
from .subjects.base import ADDRESS, Place, check_free

AGENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agents.py")

START_TIME = 30  # seconds for an interpreter to start, or for a whole launch
ANSWER_TIME = 300  # seconds for an answer of an agent, for instance after a hundred thousand launches
CONNECT_TIME = 1.0  # seconds for all stalled peers to get into the queue of a host that accepts nobody
PORTS = range(20_000, 32_000)  # for hosts; the system itself hands out those from 32768 on
NO_PROC = "needs /proc"


class Child:
    """A process that prints a line when it is ready, and answers questions, both of them lines of JSON."""

    def __init__(self, command: list[str], variables: dict[str, str], folder: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=variables, cwd=folder, stdin=pipe, stdout=pipe, encoding="utf-8"
        )
        self.pid = self._process.pid

    def __enter__(self):
        try:
            self.answer(START_TIME)
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, *words: object) -> None:
        try:
            print(json.dumps(words), file=self._process.stdin, flush=True)
        except OSError as error:
            raise Failure(f"fails, see stderr: {error}") from None

    def answer(self, seconds: float = ANSWER_TIME) -> Any:
        # Each answer is read before the next question, so no buffer of this process holds another one.
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise Failure(f"does not answer within {seconds:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failure("ends early, see stderr")
        return json.loads(line)

    def ask(self, *words: object) -> Any:
        self.tell(*words)
        return self.answer()


def memory(pid: int, field: str) -> int:
    """Return bytes from /proc: VmRSS, the resident memory of a process, or VmHWM, its peak."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        raise Failure(NO_PROC)
    found = re.search(rf"^{field}:\s+(\d+) kB", path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise Failure("has ended")
    return int(found[1]) * 1024


def wakeups(pid: int) -> int:
    """Return how often the threads of a process were given a core, or lost it."""
    threads = [path.read_text(encoding="utf-8") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    if not threads:
        raise Failure(NO_PROC)
    return sum(int(count) for text in threads for count in re.findall(r"ctxt_switches:\s+(\d+)", text))


@contextlib.contextmanager
def stalled_peers(subject: str, place: Place, count: int) -> Iterator[None]:
    """Connect peers that send nothing; fewer if the host accepts nobody."""
    family, where = socket.AF_UNIX, place.path
    if SUBJECTS[subject].on_port:
        family, where = socket.AF_INET, (ADDRESS, place.port)
    deadline = time.monotonic() + CONNECT_TIME
    with contextlib.ExitStack() as stack:
        connected = 0
        while connected < count and time.monotonic() < deadline:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.settimeout(CONNECT_TIME)
            try:
                sock.connect(where)
                connected += 1
            except (socket.timeout, BlockingIOError):  # a full queue, of TCP and of a local socket
                time.sleep(0.001)
        yield


class Bench:
    """What measurements are made with: processes, ports, and a record of what was lost."""

    def __init__(self, environment: Environment, plan: Plan, folder: str) -> None:
        self.environment, self.plan = environment, plan
        self._folder = folder
        self._ports = itertools.cycle(random.sample(PORTS, len(PORTS)))
        self.lost: collections.Counter[tuple[str, str]] = collections.Counter()  # launches of a subject

    def place(self) -> Place:
        """Return a place that has not been used before, or long ago."""
        while True:
            port = next(self._ports)
            with contextlib.suppress(OSError):
                check_free(port)
                return Place(port, os.path.join(self._folder, f"{port}.lock"))

    def agent(self, role: str, subject: str, place: Place) -> Child:
        return self.child([AGENTS, role, subject, str(place.port), place.path], subject)

    def child(self, arguments: list[str], subject: str) -> Child:
        python = self.environment.python(subject)
        return Child([python, *arguments], self.environment.variables, self._folder)

    @contextlib.contextmanager
    def round(self) -> Iterator[None]:
        """Keep the hosts that steps of this round ask for until it ends."""
        self._hosts: dict[str, tuple[Place, Child | None]] = {}
        with contextlib.ExitStack() as self._stack:
            yield

    def host(self, subject: str) -> tuple[Place, Child | None]:
        """Return the place and the host of a subject in this round, if it can have one."""
        if subject not in self._hosts:
            place, child = self.place(), None
            if SUBJECTS[subject].TAKE:
                child = self._stack.enter_context(self.agent("host", subject, place))
            self._hosts[subject] = place, child
        return self._hosts[subject]

    def process(self, arguments: list[str], python: str) -> dict[str, float]:
        """Run ``python`` to its exit; return the milliseconds of CPU time, and by the clock."""
        pipe, null, variables = subprocess.PIPE, subprocess.DEVNULL, self.environment.variables
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            [python, *arguments], env=variables, cwd=self._folder, stdin=null, stdout=null, stderr=pipe
        )
        limit = threading.Timer(START_TIME, process.kill)
        limit.start()
        _, errors = process.communicate()  # with a timeout it would poll, which is less exact
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        limit.cancel()
        if process.returncode:
            raise Failure(f"ends with status {process.returncode}: {arguments}\n{errors.decode()}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"cpu, ms": cpu * 1e3, "wall, ms": wall * 1e3}
