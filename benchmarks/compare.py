"""Socket_Singleton beside its released version, beside its peers, and beside the floor.

    python benchmarks/compare.py            # all of it, about a quarter of an hour
    python benchmarks/compare.py --quick    # whether it still works; its figures mean little

From a fresh clone, with any Python from 3.9 that has venv, and PyPI within reach.
It makes an environment of its own with the peers in it, measures, prints one
table, and draws results.svg beside this file, which the README shows.

The subjects (subjects.py has an adapter for each):

- *this*: the package in src; *2.0.0*: the released one. The same code drives both.
- *floor*: what nothing in Python can do without. Bare sockets, served one after
  the other by one thread; for the import, the bare interpreter.
- *bare host*: the floor of *this*. It serves many peers at once, and its observer holds up
  nobody: bare sockets, a selector, a thread for each of the two, and nothing else. What it
  does not reach is out of the reach of *this*; the targets name its figures.
- filelock, portalocker, tendo: locks, which hand nothing over.
- multiprocessing.connection: Listener and Client with an authkey, on a local socket.
- QLocalServer: that of PySide6, without a window.

A measurement takes its subjects turn about, each time in another order, drawn by lot, so
that what the machine does meanwhile, and what the one before left in the caches, hits
all of them. A figure is the median over the rounds, with the lowest and the highest.
Beside it: how many times the figure of 2.0.0 it is, and of the floor.

How each thing is measured:

1. *Import.* From `exec` to the exit of an interpreter that only imports, bytecode compiled before;
   modules beyond those of the bare interpreter.
2. *Lock.* From the call to the return, with everything imported that the import
   statement imports: the first time in a process, which is the one that an application
   sees and includes what is imported only then; and again, in the same process.
3. *Second launch.* From `exec` to the exit of an application that finds the lock taken.
4. *Hand-off.* From right before the client's `connect` to the observer's call, by the
   one monotonic clock that all processes have; one launch per millisecond, from one
   sender, where the subject is as fast as that.
5. *Launches per second.* All senders are there and wait; from the word to begin, to
   the last call of the observer. A sender begins its next launch when the last one was answered.
   Every launch is counted: a figure that lost some says how many.
6. *Stalled peers.* The same from 4 senders, beside connections that were opened right
   before and on which nothing comes.
7. *Size.* The hand-off of one launch at a time, many words of 1,000 bytes in all, compared with what
   was sent. Copies: what the first one of its size adds to the peak of the host's resident memory
   (VmHWM), after a small one, over the size. The 1 KB are 1,000 bytes, since 2.0.0 reads 1,024.
8. *Idle.* Context switches of all threads of a host with nothing to do; its
   resident memory beyond that of a bare interpreter.
9. *Growth.* The hand-off, as in 4, of the last 200 of so many launches, which before that came
   as fast as one sender can; the median. The host's resident memory after them.
10. *Change of host.* From the call of `release` until anybody could listen on the port, or take
   the lock where it is no port. From SIGKILL, with a silent peer connected, to the moment
   where another process, which tries all the time, is the host.

What the figures do not say: 1, 3 and 10 hold the machine's way to start and to end
processes as well. Senders of *this*, *2.0.0* and *floor* are the same bare sockets,
so 4 to 7 and 9 compare hosts; the peers' senders are their own, in Python. 2.0.0 calls its observer
after one read, before it knows that the launch is whole, and answers nothing. The floor does not
serve two at once, and is stopped by one stalled peer. Two figures from two runs, or two machines,
must not be compared. Memory and wakeups are read from /proc, and are a dash without it.

The exit status is that of the program, not of the figures: not 0 if a measurement of *this*
or the floor fails, or *this* loses a launch.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import json
import os
import platform
import queue
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import venv
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from subjects import STAMP_LENGTH, SUBJECTS, SUCCEED_TIME, Place, is_free

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "src", "Socket_Singleton")
RESULTS = os.path.join(HERE, "results.svg")

# What the environment consists of. Where two major versions are allowed, the newer
# one no longer runs on the oldest Python that this program does. PySide6 6.12.0 loses a
# reference to None with each call of a slot: before Python 3.12 that ends the process
# after some thousand launches.
PACKAGES = {
    "filelock": "filelock >= 3.12, < 5",
    "portalocker": "portalocker >= 2.8, < 5",
    "tendo": "tendo ~= 0.3",
    "PySide6-Essentials": "PySide6-Essentials >= 6.5, != 6.12.0, < 7",
    "matplotlib": "matplotlib ~= 3.9",
}
RELEASED = "Socket_Singleton == 2.0.0"  # in a folder of its own, since the name is ours

# Which subject needs which package; the others need none.
NEEDED = {
    "filelock": "filelock",
    "portalocker": "portalocker",
    "tendo": "tendo",
    "QLocalServer": "PySide6-Essentials",
}

THIS, OLD, FLOOR, BARE = "this", "2.0.0", "floor", "bare host"

INSTALL_TIME = 600  # seconds for one package
QUICK_TIME, FULL_TIME = 600, 3 * 60 * 60  # seconds for everything: only a defect takes so long
START_TIME = 30  # seconds for an interpreter to start, or for a whole launch
SENDER_TIME = 60  # seconds for senders, and per launch
LAUNCH_TIME = 0.01
SILENCE = 3  # seconds in which a subject that serves at all has served one launch, or one more
QUIET, QUIET_TIME = 0.1, 3  # seconds without a wakeup that begin idleness, and how long they are waited for

TRICKLE = 1_000_000  # nanoseconds from launch to launch
LAST = 200  # launches that are measured of many
SMALL = 64  # bytes of a launch where its size is not what matters: one file name
MIB, KIB = 1024 * 1024, 1024

BESIDE = 4  # senders, beside stalled peers

# Ports for hosts. The system hands out those from 32768 on by itself.
PORTS = range(20_000, 32_000)


NO_PROC = "needs /proc"


class Cannot(Exception):
    """A subject cannot do this; the text says why."""


class Failure(Exception):
    """Something went wrong that should not."""


class Plan(NamedTuple):
    """How much of everything."""

    rounds: int
    processes: int  # of 1, 2 and 3 in a round
    locks: int  # in a process
    trickle: int  # launches
    burst: int  # launches, of all senders together
    senders: Sequence[int]
    stalled: Sequence[int]
    sizes: Sequence[int]  # bytes
    each: int  # launches of each size
    idle: float  # seconds
    idle_rounds: int
    growth: Sequence[int]  # launches
    growth_rounds: int
    releases: int


FULL = Plan(
    rounds=7,
    processes=12,
    locks=20,
    trickle=1500,
    burst=4000,
    senders=(1, 4, 16),
    stalled=(0, 50, 200),
    sizes=(1_000, 100_000, 2_000_000),
    each=20,
    idle=2.0,
    idle_rounds=3,  # it does not vary, and takes its time
    growth=(1, 1_000, 100_000),
    growth_rounds=3,  # the same
    releases=10,
)
QUICK = FULL._replace(
    rounds=1,
    processes=2,
    locks=3,
    trickle=100,
    burst=160,
    stalled=(0, 20),
    each=3,
    idle=0.3,
    growth=(1, 50, 200),
    releases=2,
)


# -- the environment --


class Environment:
    """An interpreter with the peers, and folders with the two versions of Socket_Singleton."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.python = os.path.join(
            folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python"))
        )
        self._paths = {THIS: os.path.join(folder, "this"), OLD: os.path.join(folder, "released")}
        self.missing: dict[str, str] = {}  # packages, and why

    def make(self) -> None:
        marker = os.path.join(self._folder, "made-by-compare.json")
        content = json.dumps([sys.version, PACKAGES, RELEASED])
        kept = os.path.exists(marker)
        if os.path.isdir(self._folder) and os.listdir(self._folder) and not kept:
            raise Failure(f"{self._folder} is not empty, and not an environment that compare.py has made")
        if not kept or read(marker) != content:
            say("making the environment")
            venv.create(self._folder, with_pip=True, clear=kept)
            write(marker, "incomplete")  # ours all the same: made anew the next time
            for package, wanted in PACKAGES.items():
                self._install(package, wanted)
            self._install("Socket_Singleton", "--no-deps", "--target", self._paths[OLD], RELEASED)
            if not self.missing:
                write(marker, content)
        # A copy is compiled, as an installed package is, and does not change meanwhile.
        shutil.rmtree(self._paths[THIS], ignore_errors=True)
        copy = os.path.join(self._paths[THIS], "Socket_Singleton")
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        self.run("-m", "compileall", "-q", copy)

    def _install(self, package: str, *wanted: str) -> None:
        try:
            self.run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted)
        except Failure as error:
            if package == "matplotlib":
                raise
            self.missing[package] = "could not be installed"
            print(f"{package} could not be installed:\n{error}", file=sys.stderr)

    def variables(self, subject: str = "") -> dict[str, str]:
        """Return the environment variables of a process that has ``subject``."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if subject in self._paths:
            variables["PYTHONPATH"] = self._paths[subject]
        return variables

    def run(self, *arguments: str, subject: str = "") -> str:
        """Run the environment's interpreter to its end, and return what it prints."""
        try:
            done = subprocess.run(
                [self.python, *arguments],
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
        present = [package for package in PACKAGES if package not in self.missing]
        ours = self.run("-c", "import Socket_Singleton\nprint(Socket_Singleton.__version__)", subject=THIS)
        return {"Socket_Singleton (this)": ours.strip(), **json.loads(self.run("-c", code, *present))}


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def say(text: str) -> None:
    """Tell how far it is; the table alone goes to stdout."""
    print(text, file=sys.stderr, flush=True)


# -- processes --


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
        """Start an agent of subjects.py; it has still to answer that it is ready."""
        command = [self.environment.python, os.path.join(HERE, "subjects.py")]
        return self._child([*command, role, subject, str(place.port), place.path], subject)

    def ready(self, role: str, subject: str, place: Place, stack: contextlib.ExitStack) -> Child:
        child = stack.enter_context(self.agent(role, subject, place))
        child.answer()
        return child

    def script(self, code: str, subject: str = "") -> Child:
        return self._child([self.environment.python, "-c", code], subject)

    def _child(self, command: list[str], subject: str) -> Child:
        return Child(command, self.environment.variables(subject), self._folder)

    def process_time(self, code: str, subject: str, *arguments: str) -> float:
        """Return the seconds from `exec` to the exit of an interpreter that runs ``code``."""
        command = [self.environment.python, "-c", code, *arguments]
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
                raise Failure(
                    f"status {process.returncode}: {code}\n{errors.read().decode(errors='replace')}"
                )
        return took

    def missed(self, subject: str, metric: str, count: int) -> None:
        if count:
            self.lost[subject, metric] = self.lost.get((subject, metric), 0) + count


# -- the measurements: a step with one subject gives a figure for each metric, or says that it cannot --


class Metric(NamedTuple):
    """One column of the table."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = False


class Measurement(NamedTuple):
    number: int
    title: str
    metrics: list[Metric]
    # The figures of a step, in the unit of their metric.
    step: Callable[..., dict[str, Any]]
    rounds: int
    steps: int = 1  # in a round, also turn about; their median is the round's figure
    # What lasts through the steps of a round: a context manager, given to each of them.
    setting: Callable[[Bench, str], contextlib.AbstractContextManager[Any]] = lambda *_: (
        contextlib.nullcontext()
    )


def step_import(bench: Bench, subject: str, _: None) -> dict[str, float]:
    only_programs(subject)
    code = "pass" if subject == FLOOR else SUBJECTS[subject].IMPORT
    count = f"import sys\nbefore = len(sys.modules)\n{code}\nprint(len(sys.modules) - before)"
    return {
        "import": bench.process_time(code, subject) * 1e3,
        "modules": int(bench.environment.run("-c", count, subject=subject)),
    }


def step_lock(bench: Bench, subject: str, _: None) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        taker = bench.ready("taker", subject, bench.place(), stack)
        first, *others = taker.ask("lock", bench.plan.locks)
    return {"first lock": first / 1e3, "lock": statistics.median(others) / 1e3}


def only_programs(subject: str) -> None:
    if not SUBJECTS[subject].IMPORT:
        raise Cannot("no program of its own")


class Running(NamedTuple):
    """A host that serves, and where."""

    place: Place
    host: Child


@contextlib.contextmanager
def running_host(bench: Bench, subject: str) -> Iterator[Running]:
    place = bench.place()
    with bench.agent("host", subject, place) as host:
        host.answer()
        yield Running(place, host)


def step_launch(bench: Bench, subject: str, running: Running) -> dict[str, float]:
    only_programs(subject)
    code = SUBJECTS[subject].launch_script(running.place)
    running.host.ask("expect", 1, STAMP_LENGTH + 1, 1)
    took = bench.process_time(code, subject, str(time.monotonic_ns()))
    if SUBJECTS[subject].hands_over:
        bench.missed(subject, "launch", 1 - running.host.ask("wait", SILENCE)["count"])
    return {"launch": took * 1e3}


def hand_over(
    host: Child, sender: Child, count: int, size: int, period: int = 0, keep: int = 0
) -> dict[str, Any]:
    """Have one sender send ``count`` launches; return what the host has to say of them."""
    host.ask("expect", count, size, keep or count)
    sender.ask("send", count, period, size, seconds=SENDER_TIME + count * LAUNCH_TIME)
    return settled(host, count)


def settled(host: Child, count: int) -> dict[str, Any]:
    """Return what has come, when all has or nothing more comes."""
    before, seen = -1, {"count": 0}
    while before < seen["count"] < count:
        before, seen = seen["count"], host.ask("wait", SILENCE)
    return seen


def only_who_hands_over(subject: str) -> None:
    if not SUBJECTS[subject].hands_over:
        raise Cannot("hands nothing over")


def step_hand_off(bench: Bench, subject: str, _: None) -> dict[str, float]:
    only_who_hands_over(subject)
    count, place = bench.plan.trickle, bench.place()
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        sender = bench.ready("sender", subject, place, stack)
        hand_over(host, sender, 1, SMALL)  # what is done only once is not what is measured
        seen = hand_over(host, sender, count, SMALL, period=TRICKLE)
    for metric in ("p50", "p99"):
        bench.missed(subject, metric, count - seen["count"])
    if seen["count"] < 2:
        raise Cannot("serves nothing")
    hundredths = statistics.quantiles(seen["delays"], n=100)
    return {"p50": hundredths[49] / 1e3, "p99": hundredths[98] / 1e3}


def rate(bench: Bench, subject: str, metric: str, senders: int, stalled: int = 0) -> float:
    """Return the launches per second from ``senders`` senders beside ``stalled`` peers."""
    each, place = bench.plan.burst // senders, bench.place()
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        hands = [stack.enter_context(bench.agent("sender", subject, place)) for _ in range(senders)]
        for hand in hands:
            hand.answer()
        host.ask("expect", each * senders, SMALL, 1)
        peers = bench.ready("staller", subject, place, stack) if stalled else None
        if peers:
            peers.ask("connect", stalled)
        begin = time.monotonic_ns()
        for hand in hands:
            hand.tell("send", each, 0, SMALL)
        if not host.ask("wait", SILENCE)["count"]:
            raise Cannot(
                f"serves nothing within {SILENCE} s" + f" beside {stalled} stalled peers" * bool(stalled)
            )
        for hand in hands:
            hand.answer(SENDER_TIME)
        seen = settled(host, each * senders)
        left = peers.ask("left") if peers else stalled
    if left < stalled:
        bench.notes.append(f"{subject}: {left} of {stalled} stalled peers were there at the end")
    bench.missed(subject, metric, each * senders - seen["count"])
    return seen["count"] / (seen["last"] - begin) * 1e9


def for_each(
    bench: Bench, subject: str, metric: str, values: Sequence[int], figure: Callable[[str, int], float]
) -> dict[str, Any]:
    """Return a figure, or why there is none, for each of ``values``."""
    only_who_hands_over(subject)
    figures: dict[str, Any] = {}
    for value in values:
        key = f"{metric} {value}"
        try:
            if (subject, key) in bench.hopeless:
                raise bench.hopeless[subject, key]
            figures[key] = figure(key, value)
        except Cannot as error:
            figures[key] = bench.hopeless[subject, key] = error
    return figures


def step_rate(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    def figure(key: str, senders: int) -> float:
        return rate(bench, subject, key, senders)

    return for_each(bench, subject, "senders", bench.plan.senders, figure)


def step_stalled(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    def figure(key: str, stalled: int) -> float:
        return rate(bench, subject, key, BESIDE, stalled)

    return for_each(bench, subject, "stalled", bench.plan.stalled, figure)


def step_size(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    copies: dict[str, Any] = {}

    def figure(key: str, size: int) -> float:
        place = bench.place()
        with contextlib.ExitStack() as stack:
            host = bench.ready("host", subject, place, stack)
            sender = bench.ready("sender", subject, place, stack)
            hand_over(host, sender, 1, SMALL)
            copies[f"copies {size}"] = copies_of(size, host, sender)
            seen = hand_over(host, sender, bench.plan.each, size)
        if seen["wrong"] or not seen["count"]:
            raise Cannot(f"of {short(size)} something else arrives")
        bench.missed(subject, key, bench.plan.each - seen["count"])
        return statistics.median(seen["delays"]) / 1e6

    figures = for_each(bench, subject, "size", bench.plan.sizes, figure)
    for size in bench.plan.sizes[1:]:  # the kernel counts pages: of 1,000 bytes they say nothing
        time_ = figures[f"size {size}"]
        figures[f"copies {size}"] = time_ if isinstance(time_, Cannot) else copies[f"copies {size}"]
    return figures


def copies_of(size: int, host: Child, sender: Child) -> Any:
    """Return what the next launch adds to the peak of the host's memory, in sizes of that launch."""
    host.ask("expect", 1, size, 1)  # what it compares with is in its memory before
    try:
        before = peak(host.pid, reset=True)
        sender.ask("send", 1, 0, size, seconds=SENDER_TIME)
        settled(host, 1)
        return (peak(host.pid) - before) / size
    except Cannot as error:
        return error


@contextlib.contextmanager
def idle_host(bench: Bench, subject: str) -> Iterator[Child]:
    only_programs(subject)
    with bench.script(SUBJECTS[subject].idle_script(bench.place()), subject) as host:
        host.answer()
        yield host


def step_idle(bench: Bench, _: str, host: Child) -> dict[str, float]:
    until(lambda: is_quiet(host.pid), QUIET_TIME)  # if it never is, it is no less to be counted
    before = wakeups(host.pid)
    time.sleep(bench.plan.idle)
    count = wakeups(host.pid) - before
    with bench.script("print(0, flush=True)\nimport sys\nsys.stdin.read()") as bare:
        bare.answer()
        memory = status(host.pid, "VmRSS") - status(bare.pid, "VmRSS")
    return {"wakeups": count / bench.plan.idle, "memory": memory / MIB}


def is_quiet(pid: int) -> bool:
    before = wakeups(pid)
    time.sleep(QUIET)
    return wakeups(pid) == before


def step_growth(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    only_who_hands_over(subject)
    place, sent, figures = bench.place(), 0, {}
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        sender = bench.ready("sender", subject, place, stack)
        for count in bench.plan.growth:
            last = min(count - sent, LAST)
            others = count - sent - last
            seen = hand_over(host, sender, others, SMALL, keep=1) if others else {"count": 0}
            lost = others - seen["count"]
            seen = hand_over(host, sender, last, SMALL, period=TRICKLE)
            bench.missed(subject, f"growth {count}", lost + last - seen["count"])
            sent = count
            figures[f"growth {count}"] = statistics.median(seen["delays"]) / 1e3
            try:
                figures[f"memory {count}"] = status(host.pid, "VmRSS") / MIB
            except Cannot as error:
                figures[f"memory {count}"] = error
    return figures


def step_change(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        taker = bench.ready("taker", subject, bench.place(), stack)
        times = taker.ask(
            "release", bench.plan.releases, seconds=START_TIME + 2 * SUCCEED_TIME * bench.plan.releases
        )
    late = Cannot(f"after release not free within {SUCCEED_TIME:g} s")
    return {
        "release": late if None in times else statistics.median(times) / 1e3,
        "killed": after_a_kill(bench, subject),
    }


def after_a_kill(bench: Bench, subject: str) -> Any:
    """Return the milliseconds from the kill of a host to the next one."""
    with running_host(bench, subject) as (place, host), contextlib.ExitStack() as stack:
        if SUBJECTS[subject].hands_over:
            peers = bench.ready("staller", subject, place, stack)
            before = sockets(host.pid)
            peers.ask("connect", 1)
            until(lambda: sockets(host.pid) != before or not before, SILENCE)  # it was accepted
        successor = bench.ready("taker", subject, place, stack)
        took = successor.ask("succeed", host.pid)
    if took is None:
        return Cannot(f"nobody is the host within {SUCCEED_TIME:g} s after a kill, beside a connected peer")
    return took / 1e6


def short(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count // 1_000_000} MB" if count >= 1_000_000 else f"{count // 1_000} KB"


def measurements(plan: Plan) -> list[Measurement]:
    def columns(values: Sequence[int], key: str, title: str, unit: str, higher: bool = False) -> list[Metric]:
        return [Metric(f"{key} {value}", title.format(value), unit, higher) for value in values]

    sizes = [Metric(f"size {size}", short(size), "ms") for size in plan.sizes]
    copies = [Metric(f"copies {size}", f"{short(size)}, peak", "copies") for size in plan.sizes[1:]]
    growth = columns(plan.growth, "growth", "last of {:,}", "us")
    memory = columns(plan.growth, "memory", "memory after {:,}", "MiB")
    rates = columns(plan.senders, "senders", "senders: {}", "launches/s", True)
    beside = columns(plan.stalled, "stalled", "stalled peers: {}", "launches/s", True)
    lock = [Metric("first lock", "first in a process", "us"), Metric("lock", "again", "us")]
    hand_off = [Metric("p50", "p50", "us"), Metric("p99", "p99", "us")]
    idle = [Metric("wakeups", "wakeups", "per second"), Metric("memory", "over the interpreter", "MiB")]
    change = [Metric("release", "release to bind", "us"), Metric("killed", "kill to next host", "ms")]
    imports = [Metric("import", "whole process", "ms"), Metric("modules", "imported", "modules")]
    launch = [Metric("launch", "exec to exit", "ms")]
    n = plan.rounds
    idle_n, growth_n = min(plan.idle_rounds, n), min(plan.growth_rounds, n)
    return [
        Measurement(1, "Import", imports, step_import, n, plan.processes),
        Measurement(2, "Taking the lock, in process", lock, step_lock, n, plan.processes),
        Measurement(3, "A second launch", launch, step_launch, n, plan.processes, running_host),
        Measurement(4, "Hand-off, one launch per millisecond", hand_off, step_hand_off, n),
        Measurement(5, "Launches per second, to the last observer call", rates, step_rate, n),
        Measurement(6, f"Beside stalled peers, from {BESIDE} senders", beside, step_stalled, n),
        Measurement(7, "Size of a launch: hand-off, and copies in memory", [*sizes, *copies], step_size, n),
        Measurement(8, "Idle host", idle, step_idle, idle_n, 1, idle_host),
        Measurement(9, "Growth: hand-off, and memory", [*growth, *memory], step_growth, growth_n),
        Measurement(10, "Change of host", change, step_change, n),
    ]


# -- all rounds of all measurements --


class Figures:
    """What came out."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}  # by subject and metric, one a round
        self.why_not: dict[tuple[str, str], str] = {}
        self.failures: list[str] = []

    def median(self, subject: str, metric: str) -> float | None:
        values = self.values.get((subject, metric))
        return statistics.median(values) if values else None

    def ratio(self, subject: str, metric: str, other: str) -> float | None:
        own, others = self.median(subject, metric), self.median(other, metric)
        return own / others if own is not None and others else None


class Runner:
    """Takes the subjects turn about through the rounds of measurements."""

    def __init__(self, bench: Bench, absent: dict[str, str]) -> None:
        self.figures = Figures()
        self._bench = bench
        self._absent = absent

    def measure(self, measurement: Measurement) -> None:
        for subject, why in self._absent.items():
            for metric in measurement.metrics:
                self.figures.why_not[subject, metric.key] = why
        subjects = [subject for subject in SUBJECTS if subject not in self._absent]
        for number in range(measurement.rounds):
            say(f"{measurement.number}. {measurement.title}: round {number + 1} of {measurement.rounds}")
            self._round(measurement, subjects)
            # Who could not do any of it once is not asked again.
            subjects = [
                s for s in subjects if any((s, m.key) in self.figures.values for m in measurement.metrics)
            ]
            if not subjects:
                return

    def _round(self, measurement: Measurement, subjects: list[str]) -> None:
        figures: dict[tuple[str, str], list[float]] = {}
        settings: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            for subject in subjects:
                with self._judged(measurement, subject):
                    settings[subject] = stack.enter_context(measurement.setting(self._bench, subject))
            for _ in range(measurement.steps):
                # In no fixed order: who always comes after a large one finds the caches cold.
                for subject in random.sample(list(settings), len(settings)):
                    done = False
                    with self._judged(measurement, subject):
                        step = measurement.step(self._bench, subject, settings[subject])
                        self._sort(subject, step, figures)
                        done = True
                    if not done:
                        del settings[subject]
        for key, values in figures.items():
            self.figures.values.setdefault(key, []).append(statistics.median(values))

    def _sort(self, subject: str, step: dict[str, Any], figures: dict[tuple[str, str], list[float]]) -> None:
        for metric, figure in step.items():
            if isinstance(figure, Cannot):
                self.figures.why_not[subject, metric] = str(figure)
            else:
                figures.setdefault((subject, metric), []).append(figure)

    @contextlib.contextmanager
    def _judged(self, measurement: Measurement, subject: str) -> Iterator[None]:
        """Turn errors into words; those of *this* and of the floor are failures of the run."""
        try:
            yield
        except (Cannot, Failure) as error:
            why = str(error) if isinstance(error, Cannot) else "failed, see stderr"
            for metric in measurement.metrics:
                self.figures.why_not[subject, metric.key] = why
            if isinstance(error, Failure):
                say(f"{measurement.number}. {measurement.title}: {subject}: {error}")
                if subject in (THIS, FLOOR):
                    self.figures.failures.append(
                        f"{measurement.number}. {measurement.title}: {subject} failed"
                    )

    def finish(self) -> None:
        """Note as failures what must not happen to *this*, whatever the clock says."""
        for (subject, metric), count in self._bench.lost.items():
            if subject == THIS:
                self.figures.failures.append(f"{metric}: {count} launches were lost")
        for (subject, metric), why in self.figures.why_not.items():
            if subject == THIS and why != NO_PROC and (subject, metric) not in self.figures.values:
                self.figures.failures.append(f"{metric}: this has no figure: {why}")


# -- what is printed --

WIDTH = 109  # columns of a terminal, and of this file; room for so many metrics side by side
PER_LINE = 3
NAME_WIDTH, MEDIAN_WIDTH, SPREAD_WIDTH, RATIO_WIDTH = 13, 6, 13, 4
CELL_WIDTH = MEDIAN_WIDTH + 1 + SPREAD_WIDTH + 2 * (1 + RATIO_WIDTH)


def number(value: float | None, wide: bool = True) -> str:
    """Return a figure with three digits that count, or a dash."""
    if value is None:
        return "-"
    if (wide and value == int(value)) or abs(value) >= 99.95:
        return f"{value:,.0f}" if wide else f"{value:.0f}"
    digits = 1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.9995 or not wide else 3
    return f"{value:.{digits}f}"


class Table:
    """The figures as text."""

    def __init__(self, figures: Figures, lost: dict[tuple[str, str], int], rounds: int) -> None:
        self._figures, self._lost, self._rounds = figures, lost, rounds

    def block(self, measurement: Measurement) -> Iterator[str]:
        metrics = measurement.metrics
        better = "higher" if metrics[0].higher_is_better else "lower"
        fewer = f", {measurement.rounds} rounds" if measurement.rounds != self._rounds else ""
        yield f"{measurement.number}. {measurement.title} ({better} is better{fewer})"
        for start in range(0, len(metrics), PER_LINE):
            yield from self._part(metrics[start : start + PER_LINE])
        yield from self._reasons(metrics)
        yield ""

    def _part(self, metrics: list[Metric]) -> Iterator[str]:
        titles = [f"{metric.title}, {metric.unit}".rjust(CELL_WIDTH) for metric in metrics]
        heads = [self._columns("median", "min-max", "x2.0", "xflr") for _ in metrics]
        yield "  ".join([" " * NAME_WIDTH, *titles])
        yield "  ".join([" " * NAME_WIDTH, *heads])
        for subject in SUBJECTS:
            cells = [self._cell(subject, metric.key) for metric in metrics]
            yield "  ".join([subject.ljust(NAME_WIDTH), *cells]).rstrip()

    @staticmethod
    def _columns(median: str, spread: str, *ratios: str) -> str:
        words = [median.rjust(MEDIAN_WIDTH), spread.rjust(SPREAD_WIDTH)]
        return " ".join([*words, *(ratio.rjust(RATIO_WIDTH) for ratio in ratios)])

    def _cell(self, subject: str, metric: str) -> str:
        values = self._figures.values.get((subject, metric))
        if not values:
            return self._columns("-", "", "", "")
        median, spread = number(statistics.median(values)), ""
        if len(values) > 1:
            spread = f"{number(min(values))}-{number(max(values))}"
        ratios = [number(self._figures.ratio(subject, metric, other), wide=False) for other in (OLD, FLOOR)]
        lost = self._lost.get((subject, metric))
        if lost:
            both = f"{median}, {lost:,} lost".rjust(MEDIAN_WIDTH + 1 + SPREAD_WIDTH)
            return " ".join([both, *(ratio.rjust(RATIO_WIDTH) for ratio in ratios)])
        return self._columns(median, spread, *ratios)

    def _reasons(self, metrics: list[Metric]) -> Iterator[str]:
        """Say of each dash in the block why it is one."""
        reasons: dict[str, list[str]] = {}
        for subject in SUBJECTS:
            for metric in metrics:
                why = self._figures.why_not.get((subject, metric.key))
                if why and (subject, metric.key) not in self._figures.values:
                    subjects = reasons.setdefault(why, [])
                    if subject not in subjects:
                        subjects.append(subject)
        for why, subjects in reasons.items():
            yield from textwrap.wrap(f"-  {', '.join(subjects)}: {why}", WIDTH, subsequent_indent="   ")


class Target(NamedTuple):
    """What *this* is to reach."""

    text: str
    figure: float | None
    limit: float
    bare: float | None = None  # what the bare host reaches
    at_least: bool = False

    def __str__(self) -> str:
        if self.figure is None:
            return f"  not measured  {self.text}"
        met = self.figure >= self.limit if self.at_least else self.figure <= self.limit
        bound = "at least" if self.at_least else "at most"
        word = "met" if met else "NOT MET"
        bare = "" if self.bare is None else f" (bare host: {self.bare:.3f})"
        return f"  {word:12}  {self.text}: {self.figure:.3f}, {bound} {self.limit:g}{bare}"


def targets(plan: Plan, figures: Figures) -> Iterator[Target]:
    for text, metric, limit in (
        ("import", "import", 1.02),
        ("taking the lock again", "lock", 1.1),
        ("a second launch", "launch", 1.02),
        ("hand-off, p50", "p50", 1.5),
        ("hand-off, p99", "p99", 1.5),
    ):
        ratio, bare = (figures.ratio(subject, metric, OLD) for subject in (THIS, BARE))
        yield Target(f"{text}, times 2.0.0", ratio, limit, bare)
    for senders in plan.senders:
        ratio, bare = (figures.ratio(subject, f"senders {senders}", OLD) for subject in (THIS, BARE))
        text = f"launches per second, senders: {senders}, times 2.0.0"
        yield Target(text, ratio, 1.0, bare, at_least=True)
    without, beside = (figures.median(THIS, f"stalled {plan.stalled[i]}") for i in (0, -1))
    ratio = beside / without if beside and without else None
    yield Target(f"beside {plan.stalled[-1]} stalled peers, times without", ratio, 0.9, at_least=True)
    largest = plan.sizes[-1]
    yield Target(f"{short(largest)}, times the floor", figures.ratio(THIS, f"size {largest}", FLOOR), 3.0)
    yield Target("wakeups per second", figures.median(THIS, "wakeups"), 0.0)
    some, many = (figures.median(THIS, f"memory {count}") for count in plan.growth[1:])
    grown = None if some is None or many is None else many - some
    yield Target(f"MiB that memory grows from {plan.growth[1]:,} launches to {plan.growth[2]:,}", grown, 1.0)


def machine() -> str:
    """Say what this runs on."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = read("/proc/cpuinfo").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    release = ".".join(platform.release().split(".")[:2])  # the rest is for who builds kernels
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {release}, {python}"


def report(
    plan: Plan, chosen: list[Measurement], runner: Runner, bench: Bench, about: dict[str, Any]
) -> Iterator[str]:
    """Yield the lines of the table, and what there is to say about it."""
    figures = runner.figures
    rounds = f"{plan.rounds} rounds" if plan.rounds > 1 else "1 round"
    yield f"Medians of {rounds}, lowest and highest; x2.0, xflr: times that of 2.0.0, the floor."
    if about["quick"]:
        yield "A quick run shows that all of it works; its figures mean little."
    yield ""
    table = Table(figures, bench.lost, plan.rounds)
    for measurement in chosen:
        yield from table.block(measurement)
    yield f"machine: {about['machine']}"
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    yield from textwrap.wrap(f"versions: {versions}", WIDTH, subsequent_indent="  ")
    for note in bench.notes:
        yield f"note: {note}"
    yield ""
    yield "targets, in this run on this machine:"
    yield from map(str, targets(plan, figures))
    for failure in figures.failures:
        yield f"FAILED: {failure}"


def raw(chosen: list[Measurement], figures: Figures, bench: Bench, about: dict[str, Any]) -> dict[str, Any]:
    """Return everything as JSON has it; chart.py draws it."""

    def of(metric: Metric) -> dict[str, Any]:
        values = {subject: figures.values.get((subject, metric.key), []) for subject in SUBJECTS}
        why_not = {
            s: figures.why_not[s, metric.key]
            for s in SUBJECTS
            if not values[s] and (s, metric.key) in figures.why_not
        }
        lost = {s: bench.lost[s, metric.key] for s in SUBJECTS if (s, metric.key) in bench.lost}
        return {**metric._asdict(), "values": values, "why_not": why_not, "lost": lost}

    return {
        **about,
        "notes": bench.notes,
        "measurements": [
            {"number": m.number, "title": m.title, "metrics": [of(metric) for metric in m.metrics]}
            for m in chosen
        ],
    }


# -- the program --


def absent_subjects(environment: Environment) -> dict[str, str]:
    """Return the subjects that cannot be imported, and why."""
    absent = {}
    for subject in SUBJECTS:
        why = environment.missing.get(NEEDED.get(subject, "Socket_Singleton" if subject == OLD else ""))
        if why is None:
            try:
                environment.run("-c", SUBJECTS[subject].IMPORT, subject=subject)
                continue
            except Failure as error:
                if subject in (THIS, FLOOR):
                    raise
                why = f"cannot be imported: {str(error).splitlines()[-1]}"
        absent[subject] = why
    return absent


def compare(options: argparse.Namespace, plan: Plan, folder: str) -> int:
    environment = Environment(options.environment or os.path.join(folder, "environment"))
    environment.make()
    bench = Bench(environment, plan, folder)
    runner = Runner(bench, absent_subjects(environment))
    chosen = [m for m in measurements(plan) if not options.only or m.number in options.only]
    for measurement in chosen:
        runner.measure(measurement)
    runner.finish()
    about = {
        "machine": machine(),
        "versions": environment.versions(),
        "rounds": plan.rounds,
        "quick": options.quick,
    }
    for line in report(plan, chosen, runner, bench, about):
        print(line, flush=True)

    path = options.json or os.path.join(folder, "results.json")
    write(path, json.dumps(raw(chosen, runner.figures, bench, about), indent=1))
    kept = options.svg or (None if options.quick or options.only else RESULTS)
    picture = os.path.abspath(kept or os.path.join(folder, "results.svg"))
    environment.run(os.path.join(HERE, "chart.py"), os.path.abspath(path), picture)
    say(f"{picture if kept else 'a picture'} of {os.path.getsize(picture):,} bytes was drawn")
    return int(bool(runner.figures.failures))


def chosen_numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if not all(1 <= each <= 10 for each in numbers):
        raise argparse.ArgumentTypeError("numbers from 1 to 10, with commas between them")
    return numbers


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure Socket_Singleton beside its released version, its peers, and bare sockets.",
        epilog="Exit status: 0 whatever the figures are; 1 if a measurement fails or a launch is lost.",
    )
    parser.add_argument("--quick", action="store_true", help="little of everything: whether it still works")
    parser.add_argument("--rounds", type=int, help=f"how often everything is repeated ({FULL.rounds})")
    parser.add_argument("--only", type=chosen_numbers, metavar="4,5", help="only these measurements")
    parser.add_argument("--environment", metavar="DIR", help="keep the environment there, and use it again")
    parser.add_argument(
        "--svg", metavar="PATH", help="where to draw (a whole, full run: benchmarks/results.svg)"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures of each round, too")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.rounds is not None:
        if options.rounds < 1:
            parser.error("--rounds is at least 1")
        plan = plan._replace(rounds=options.rounds)
    # Every wait has its deadline; this is for what nobody thought of. Agents end with us.
    faulthandler.dump_traceback_later(QUICK_TIME if options.quick else FULL_TIME, exit=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that children and folders go
    try:
        with tempfile.TemporaryDirectory(prefix="compare") as folder:
            return compare(options, plan, folder)
    except Failure as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
