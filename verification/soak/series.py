"""Launches in series: processes that each make one launch after the other, and are killed at random.

In the other rounds each launch is a process. That is what users do, and 50 a second is all
that two cores take of it. Here a process makes thousands, so a million of them take minutes,
and a host has enough of them to show whether its memory grows.

Each process writes a journal, of 17 bytes for each step and before it takes that step; so what
a kill takes along is known.
"""

from __future__ import annotations

import collections
import os
import re
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Callable, Iterator, NamedTuple

from .actors import THREADS_TIME, MultipleSingletonsError, witnessed
from .judge import STALLS_EXCUSE
from .record import STALL, Span
from .rounds import CHILD_TIME, STEP, try_port
from .schedule import Setting

AT_ONCE = 6  # processes
LAUNCHES = 100_000  # planned for a round, at most
OF_PROCESS = 1 << 32  # a launch has the number of its process times this, and that of its own

# Launches that a host takes: one that lives long is there to show its memory.
SHORT_LIFE, LONG_LIFE = (1, 3000), (30_000, 40_000)
QUIET = 0.25  # seconds without a launch after which a host ends: nobody may be left
# Of how a host ends. "dies": it kills itself in its observer.
ENDINGS = ("release", "release", "release", "long", "dies")

# Memory is looked at each so many launches, and counts from the second look on: until then what
# waits at busy moments has taken what it takes.
LOOK = 5000
# Bytes of a host's memory, for each launch it has had, that it may grow by. The least that a launch could
# leave behind, an entry of a list with an int, is 40.
GROWTH = 32
ENOUGH_LAUNCHES = 50_000  # with fewer, in all rounds together, memory is not judged

# Steps. Each has a number: that of the launch, but for the last four.
BEGINS, IS_HOST, WAS_TOLD, UNCONFIRMED, DELIVERED = b"b", b"h", b"t", b"n", b"d"
OWNED, GOT, LEFT = b"o", b"g", b"l"
RELEASES, DIES, STUCK, MEMORY = b"r", b"x", b"s", b"m"
ENTRY = struct.Struct("<cQd")  # step, number, when; for MEMORY launches so far, bytes


class Plan(NamedTuple):
    """What one process is to do."""

    number: int
    setting: Setting
    launches: int
    kill_after: float  # seconds; 0: not at all


class Journal:
    """What one process writes, in the place of `actors.Log`."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, step: bytes, number: int, value: float | None = None) -> None:
        os.write(self._file, ENTRY.pack(step, number, time.monotonic() if value is None else value))

    def launch(self, what: str, args: tuple[str, ...]) -> None:
        """Write that a host is about to own the launch with ``args``; see `witnessed`."""
        assert what == "owned"
        self.write(OWNED, number_of(args))


def number_of(args: tuple[str, ...]) -> int:
    """Return the number of the launch that brought ``args``; 0, which none has, for anything else."""
    return int(args[0]) if len(args) == 1 and re.fullmatch("[0-9]{1,19}", args[0]) else 0


# -- a process --


def run(plan: Plan) -> None:
    """Make the launches of ``plan``."""
    draw = Random(f"{plan.setting.seed}/{plan.number}")
    journal = Journal(journal_of(plan.setting, plan.number))
    kind = witnessed(journal)
    whose: dict[str, Any] = {"address": plan.setting.address, "port": plan.setting.port}
    if plan.setting.name:
        whose = {"name": plan.setting.name}
    for number in range(plan.number * OF_PROCESS + 1, plan.number * OF_PROCESS + 1 + plan.launches):
        journal.write(BEGINS, number)
        try:
            app = kind(**whose, secret=plan.setting.secret, strict=False, argv=[str(number)])
        except MultipleSingletonsError as error:
            step = {True: DELIVERED, False: WAS_TOLD, None: UNCONFIRMED}[error.delivered]
            journal.write(step, number)
        else:
            journal.write(IS_HOST, number)
            ending = draw.choice(ENDINGS if plan.setting.rough else ENDINGS[:-1])
            life = draw.randint(*(LONG_LIFE if ending == "long" else SHORT_LIFE))
            if not be_host(app, journal, ending, life):
                return  # nobody else is left


def be_host(app: Any, journal: Journal, ending: str, life: int) -> bool:
    """Have ``life`` launches observed, unless it gets quiet; release, and account for the rest.

    Returns:
        Whether a launch has come.
    """
    seen = 0
    over = threading.Event()

    def observe(args: tuple[str, ...]) -> None:
        nonlocal seen
        journal.write(GOT, number_of(args))
        seen += 1
        if seen % LOOK == 0:
            journal.write(MEMORY, seen, memory())
        if seen == life:
            if ending == "dies":
                journal.write(DIES, 0)
                os.kill(os.getpid(), signal.SIGKILL)
            over.set()

    app.trace(observe)
    before = -1
    while not over.wait(QUIET) and seen != before:
        before = seen
    journal.write(RELEASES, 0)
    app.release()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREADS_TIME)
            if thread.is_alive():
                journal.write(STUCK, 0)
    for args in app.arguments:
        journal.write(LEFT, number_of(args))
    return seen > 0


def memory() -> int:
    """Return the bytes of memory that this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def journal_of(setting: Setting, number: int) -> str:
    return os.path.join(setting.folder, f"journal{number}")


# -- the supervisor --


class Process:
    """What the supervisor knows of one process; times are of the monotonic clock."""

    def __init__(self, plan: Plan, began: float) -> None:
        self.plan = plan
        self.began = began
        self.ended = 0.0
        self.killed: float | None = None  # when SIGKILL was about to be sent, if that is what ended it
        self.status = 0
        self.err = ""
        self.journal = b""


class Series:
    """The processes of one round."""

    def __init__(self, setting: Setting, launches: int, report: Callable[[], None]) -> None:
        self.setting = setting
        self._plans = plans(setting, min(launches, LAUNCHES))
        self._report = report
        self.processes: list[Process] = []
        self.stalls: list[Span] = []
        self.port_error = ""
        self._running: dict[int, Process] = {}  # by pid

    def run(self) -> None:
        """Have all planned processes run, and end."""
        for plan in self._plans:
            while len(self._running) >= AT_ONCE:
                self._tick()
            self._start(plan)
        while self._running:
            self._tick()
        self.port_error = str(try_port(self.setting.address, self.setting.port) or "")

    def end(self) -> None:
        """End whatever still runs."""
        for pid, process in list(self._running.items()):
            self._kill(pid, process)
            self._ended(*os.waitpid(pid, 0))

    def _start(self, plan: Plan) -> None:
        process = Process(plan, time.monotonic())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        pid = os.fork()
        if not pid:
            be_process(plan)
        self._running[pid] = process
        self.processes.append(process)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _tick(self) -> None:
        start = time.monotonic()
        signal.sigtimedwait({signal.SIGCHLD}, STEP)
        now = time.monotonic()
        if now - start > STEP + STALL:
            self.stalls.append(Span(start + STEP, now))
        for pid, process in self._running.items():
            limit = process.plan.kill_after or 4 * CHILD_TIME
            if now - process.began >= limit and process.killed is None:
                self._kill(pid, process)
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            self._ended(pid, status)
        self._report()

    def _kill(self, pid: int, process: Process) -> None:
        process.killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)

    def _ended(self, pid: int, status: int) -> None:
        process = self._running.pop(pid)
        process.ended = time.monotonic()
        process.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if process.status != -signal.SIGKILL:
            process.killed = None  # it was faster
        number = process.plan.number
        process.journal = read(journal_of(self.setting, number))
        process.err = read(journal_of(self.setting, number) + ".err").decode("utf-8", "backslashreplace")


def plans(setting: Setting, launches: int) -> Iterator[Plan]:
    """Yield what processes are to do until ``launches`` are planned; the same for the same seed."""
    draw = Random(setting.seed)
    planned, number = 0, 0
    while planned < launches:
        number += 1
        count = draw.randint(1, draw.choice((100, 5000, 20_000)))
        killed = setting.rough and draw.random() < 0.7
        yield Plan(number, setting, count, draw.uniform(0.005, draw.choice((0.1, 1.0))) if killed else 0.0)
        planned += min(count, 1000) if killed else count


def be_process(plan: Plan) -> None:
    """Be the child of a fork; does not return."""
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(int(5 * CHILD_TIME))  # whatever becomes of the supervisor
        err = journal_of(plan.setting, plan.number) + ".err"
        os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        run(plan)
        status = 0
    except BaseException:  # noqa: BLE001 - shown, and a violation
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def read(path: str) -> bytes:
    """Return what is in a file, which goes; nothing if there is none."""
    file = Path(path)
    data = file.read_bytes() if file.exists() else b""
    file.unlink(missing_ok=True)
    return data


# -- the judge --


class Tenure(NamedTuple):
    """When a process surely was the host."""

    since: float
    until: float
    killed: bool


class Memory:
    """By how much the hosts of all rounds have grown."""

    def __init__(self) -> None:
        self.launches = 0
        self.bytes = 0.0

    def look(self, launches: int, size: float, first: tuple[int, float] | None) -> tuple[int, float]:
        """Take a look of one host in; return the look from which on it counts."""
        if launches <= 2 * LOOK or first is None:
            return launches, size
        self.launches += launches - first[0]
        self.bytes += size - first[1]
        return launches, size

    @property
    def growth(self) -> float:
        """Bytes for each launch."""
        return self.bytes / self.launches if self.launches else 0.0


class SeriesJudge:
    """Judges a round by its journals: the promises that `judge.Judge` lists as 1, 2, 3 and 4."""

    def __init__(self, series: Series, counts: dict[str, int], memory: Memory) -> None:
        self.counts = counts
        self.violations: list[str] = []
        self._series = series
        self._memory = memory
        self._begins: dict[int, float] = {}
        self._ends: dict[int, tuple[bytes, float]] = {}
        self._owners: dict[int, list[tuple[Process, float]]] = collections.defaultdict(list)
        self._arrivals: dict[int, int] = collections.Counter()
        self._tenures: list[Tenure] = []
        self._processes = {process.plan.number: process for process in series.processes}
        for process in series.processes:
            self._read(process)

    def judge(self) -> None:
        self._never_two_hosts()
        for number in self._begins:
            self._judge_launch(number)
        for number in self._arrivals.keys() - self._begins.keys():
            self._violation("delivered, and never begun", number)
        self._no_noise()
        if self._series.port_error:
            self._violation(f"the port is not free after a round: {self._series.port_error}")

    def _read(self, process: Process) -> None:
        """Read a journal. A kill may have cut its last entry."""
        whole = len(process.journal) - len(process.journal) % ENTRY.size
        since: float | None = None
        looked: tuple[int, float] | None = None
        for step, number, value in ENTRY.iter_unpack(process.journal[:whole]):
            if step == BEGINS:
                self._begins[number] = value
            elif step in (WAS_TOLD, UNCONFIRMED, DELIVERED, IS_HOST):
                self._ends[number] = (step, value)
                since, looked = (value if step == IS_HOST else None), None
            elif step == OWNED:
                self._owners[number].append((process, value))
            elif step in (GOT, LEFT):
                self._arrivals[number] += 1
                self.counts["found in arguments"] += step == LEFT
            elif step == MEMORY:
                looked = self._memory.look(number, value, looked)
            elif step == STUCK:
                self._violation("a thread outlives release")
            elif step in (RELEASES, DIES) and since is not None:
                self._tenures.append(Tenure(since, min(value, process.killed or value), step == DIES))
                since = None
        if since is not None:
            self._tenures.append(Tenure(since, process.killed or process.ended, died(process)))

    def _never_two_hosts(self) -> None:
        until = 0.0
        for tenure in sorted(self._tenures, key=lambda tenure: tenure.since):
            self.counts["hosts"] += 1
            self.counts["hosts that were killed"] += tenure.killed
            if tenure.since < min(until, tenure.until):
                self._violation(f"two hosts: for {min(until, tenure.until) - tenure.since:.6f} s")
            until = max(until, tenure.until)

    def _judge_launch(self, number: int) -> None:
        self.counts["launches"] += 1
        step, when = self._ends.get(number, (None, 0.0))
        arrivals = self._arrivals[number]
        if arrivals > 1:
            self._violation("delivered twice", number)
        elif step is None and died(self._processes[number // OF_PROCESS]):
            self.counts["killed launches"] += 1
        elif step is None:
            self._violation("begun, and never ended", number)
        elif step == DELIVERED:
            self._was_owned(number, when)
        elif arrivals:
            self._violation("host, and delivered" if step == IS_HOST else "told, and delivered", number)
        elif step == UNCONFIRMED:
            self._violation("an orderly end without an answer", number)
        elif step == WAS_TOLD and not self._stalled(self._begins[number], when):
            self._violation("told", number)
        else:
            self.counts["told, as the machine stalled"] += step == WAS_TOLD

    def _was_owned(self, number: int, when: float) -> None:
        owners = self._owners[number]
        if not any(owned <= when for _, owned in owners):
            self._violation("told before it was owned", number)
        if self._arrivals[number]:
            self.counts["delivered"] += 1
        elif any(died(owner) for owner, _ in owners):
            self.counts["lost with a killed host"] += 1
        else:
            self._violation("vanished", number)

    def _stalled(self, begin: float, end: float) -> bool:
        """Whether the machine had no time, between these two, for what a launch is given for an answer."""
        shared = (min(stall.end, end) - max(stall.start, begin) for stall in self._series.stalls)
        return sum(seconds for seconds in shared if seconds > 0) >= STALLS_EXCUSE

    def _no_noise(self) -> None:
        for process in self._series.processes:
            self.counts["processes"] += 1
            if process.err or (process.status and not died(process)):
                last = process.err.splitlines()[-1:]
                self._violation(
                    f"process {process.plan.number} ended with status {process.status} {' '.join(last)}"
                )

    def _violation(self, what: str, number: int | None = None) -> None:
        """Note a violation, with the steps of its launch: times are seconds since that began."""
        lines = [what]
        if number is not None:
            began = self._begins.get(number, 0.0)
            step, when = self._ends.get(number, (b"-", began))
            lines[0] += f": launch {number}, {step.decode()} at {when - began:+.4f}"
            lines[0] += f", {self._arrivals[number]} arrivals"
            for owner, owned in self._owners[number]:
                killed = "" if owner.killed is None else f", killed at {owner.killed - began:+.4f}"
                lines.append(f"owned by process {owner.plan.number} at {owned - began:+.4f}{killed}")
        self.violations.append(f"round {self._series.setting.seed}: " + "\n    ".join(lines))


def died(process: Process) -> bool:
    """Whether it was killed, by the supervisor or by itself."""
    return process.status == -signal.SIGKILL
