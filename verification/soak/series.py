"""Launches in series, for very many of them: each process makes one after the other, until it is killed.

    python -m verification.soak --launches 1000000

A launch is the same as always, the public class constructed; but the next one begins in the
same process, and not in an interpreter of its own. The one that becomes the host lives as a
role of `schedule` says, releases, and continues with its series. Half of the processes are
killed after at most some hundred launches, wherever they are then, and are replaced. Every
other round is a long one: its first host serves most of the round before it ends, is not killed
meanwhile, and logs its memory.

Launches log what the judge of the soak reads, and four more things: "ends", when a host has
accounted for what it owned; the exit status that a second launch would have had, and its
message; and "memory".
"""

from __future__ import annotations

import mmap
import multiprocessing
import signal
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any, Callable, Iterable, NamedTuple, TypeVar

from .actors import (
    Log,
    MultipleSingletonsError,
    account_and_linger,
    be_host,
    fails,
    parameters,
    witnessed,
)
from .judge import CHILD_TIME, Judge
from .record import Child, Record
from .rounds import STEP, Round
from .schedule import Event, Role, draw_args, draw_role

if TYPE_CHECKING:
    from .schedule import Setting

T = TypeVar("T")

AT_ONCE = 8  # processes
# Numbers per process: its own is the first, and those of its launches follow.
SPAN = 1_000_000
# Roles and arguments drawn for a round. The launches use them in turn.
DRAWN = 499
LONGEST_ARGS = 1000  # characters; long ones are left to the soak
# Launches: enough to measure the memory of a host, few enough to be judged at once.
LONGEST_ROUND = 40_000

# Seconds after which a process makes no more launches, and after which a long host ends: the judge
# allows a child 20. And the longest time for a round.
SERIES_TIME = 8.0
LONG_TIME = 14.0
ROUND_TIME = 60.0

# Launches between two measurements of a long host's memory, and before the first.
MEMORY_STEP = 1000
# After this many launches since the first measurement, the growth is known; it may be this many bytes
# per launch. Some 30 more pages are in use then, and no more after ten times as many launches.
MEASURED = 20_000
GROWTH = 16
MOST = "memory: bytes a launch, the host that grew most"


class Growth(NamedTuple):
    """By how much the memory of a host grew."""

    host: int
    launches: int
    bytes: int

    def __str__(self) -> str:
        return f"that of host {self.host} by {self.bytes} bytes in {self.launches} launches"


class Plan:
    """The launches and hosts of a round: the same for the same setting and number."""

    def __init__(self, setting: Setting, long: bool) -> None:
        draw = Random(setting.seed)
        self.long = long
        self._events = [self._draw_event(draw, setting) for _ in range(DRAWN)]

    def _draw_event(self, draw: Random, setting: Setting) -> Event:
        role = draw_role(draw, setting, 0, "launch", killed=draw.random() < 0.3)
        if self.long and role.ending in ("timeout", "threshold"):
            role = role._replace(ending="release")
        # A launch that asks waits for a slow observer; soon all of them would.
        role = role._replace(asks=role.asks and draw.random() < 0.1, life=role.life / 3)
        args = draw_args(draw, 0, huge=False)
        while sum(map(len, args)) > LONGEST_ARGS:
            args = draw_args(draw, 0, huge=False)
        return Event(role, "launch", args, b"", 0, 0.0, 0.0, 0.0, 0.0, False, 0.0)

    def event(self, number: int) -> Event:
        event = self._events[number % DRAWN]
        name, args = f"launch {number};", event.args
        args = (name, *args[1:]) if args[0] == "launch 0;" else (*args[:-1], name)
        return event._replace(role=event.role._replace(number=number), args=args)


class Board:
    """Numbers that all processes of a round see. A process writes only those of its own place."""

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, 8 * (2 * AT_ONCE + 1))).cast("Q")

    @property
    def launches(self) -> int:
        return sum(self._numbers[:AT_ONCE])

    def count(self, place: int) -> None:
        self._numbers[place] += 1

    def is_spared(self, place: int) -> bool:
        return bool(self._numbers[AT_ONCE + place])

    def spare(self, place: int, spared: bool) -> None:
        self._numbers[AT_ONCE + place] = spared

    @property
    def is_over(self) -> bool:
        return bool(self._numbers[2 * AT_ONCE])

    def end(self) -> None:
        self._numbers[2 * AT_ONCE] = 1


# -- in a child --


class Series:
    """The launches of one process."""

    def __init__(self, plan: Plan, board: Board, place: int, role: Role, long: int) -> None:
        self._plan = plan
        self._board = board
        self._place = place
        self._number = role.number
        self._long = long  # launches that a long host serves
        self._began = time.monotonic()
        self._log = Log(role)
        self._application: Any = witnessed(self._log)

    def run(self) -> int:
        while not self._board.is_over and time.monotonic() < self._began + SERIES_TIME:
            self._number += 1
            self._board.count(self._place)
            self._launch(self._plan.event(self._number))
        return 0

    def _launch(self, event: Event) -> None:
        role, log = event.role, self._log
        log.number = role.number
        sys.argv[1:] = event.args
        sys.setswitchinterval(role.switch)
        log("begins")
        before = time.monotonic()
        try:
            app = self._application(**parameters(role), strict=False)
        except MultipleSingletonsError as error:
            words, status = (str(error), 1) if fails(error) else ("", error.answer or 0)
            log("second", error.delivered, status, words)
            return
        log("host", f"{before:.9f}")
        if self._plan.long:
            self._serve_long(app)
        be_host(app, role, log)
        account_and_linger(app, role, log)
        log("ends")

    def _serve_long(self, app: Any) -> None:
        """Serve most of a round, before the host ends according to its role."""
        seen = 0
        end = self._began + LONG_TIME

        def observe(args: tuple[str, ...]) -> None:
            nonlocal seen
            self._log.launch("got", args)
            seen += 1
            if seen % MEMORY_STEP == 0:
                self._log("memory", seen, memory())

        self._board.spare(self._place, True)
        app.trace(observe)
        while seen < self._long and time.monotonic() < end and not self._board.is_over:
            time.sleep(STEP)
        app.untrace(observe)
        self._board.spare(self._place, False)


def memory() -> int:
    """Return how many bytes in the memory of this process do not belong to a file."""
    with open("/proc/self/smaps_rollup", "rb") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Anonymous:"))


# -- the supervisor --


def apart(work: Callable[[], T]) -> T:
    """Return the result of ``work``, which runs in a child."""
    context = multiprocessing.get_context("fork")  # which passes ``work`` on as it is
    ours, theirs = context.Pipe(duplex=False)
    with ours, theirs:
        child = context.Process(target=lambda: theirs.send(work()))
        child.start()
        theirs.close()
        result: T = ours.recv()  # EOFError if there is none; the child has printed why
        child.join()
    return result


class SeriesRound(Round):
    """The processes of one round, each of which makes a series of launches."""

    def __init__(self, setting: Setting, report: Callable[[], None], launches: int, long: bool) -> None:
        super().__init__(setting, report)
        self._launches = launches
        self._plan = Plan(setting, long)
        self._board = Board()
        self._places: dict[int, int] = {}  # of processes, by number
        self._failed = False

    def run(self, end: float) -> None:
        draw = Random(self._setting.seed)
        number = 0
        end = min(end, time.monotonic() + ROUND_TIME)
        while self._board.launches < self._launches and time.monotonic() < end and not self._failed:
            taken = [self._places[child.number] for child in self.running.values()]
            for place in set(range(AT_ONCE)).difference(taken):
                number += SPAN
                self._places[number] = place
                self._board.spare(place, False)
                # Those in the other places are not, or a launch that takes too long would go unnoticed.
                kill_after = draw.uniform(0.005, 0.4) * (place % 2)
                event = self._plan.event(number)
                self._start(event._replace(kind="series", kill_after=kill_after))
            self._tick(STEP)
        self._board.end()
        while self.running:
            self._tick(STEP)

    def judge(self, counts: dict[str, int]) -> list[str]:
        """Judge in a child, which keeps this process small, since hosts are forks of it.

        Memory that it had used would be free in a host, which could then grow unnoticed.
        """
        changed, violations = apart(lambda: (counts, judge_record(self._plan, self.record(), counts)))
        counts.update(changed)
        return violations

    def _act(self, event: Event) -> int:
        place = self._places[event.role.number]
        return Series(self._plan, self._board, place, event.role, self._launches * 3 // 4).run()

    def _due(self, now: float) -> list[int]:
        places = {pid: self._places[child.number] for pid, child in self.running.items()}
        return [pid for pid in super()._due(now) if not self._board.is_spared(places[pid])]

    def _ended(self, pid: int, status: int) -> None:
        child = self.running[pid]
        super()._ended(pid, status)
        # Others would fail in the same way, or hang, and the round would not end.
        self._failed |= child.status not in (0, -signal.SIGKILL) or child.ended - child.began > CHILD_TIME


# -- the log --


def judge_record(plan: Plan, record: Record, counts: dict[str, int]) -> list[str]:
    """Judge a round; return the violations, and add to ``counts``."""
    children, lines = read(plan, record.children, record.lines)
    judge = Judge(record._replace(children=children, lines=lines), counts)
    judge.judge()
    counts["memory: hosts measured"] += 0  # so that it is shown if it stays 0
    for growth in growths(record.lines):
        counts["memory: hosts measured"] += 1
        counts["memory: launches that they took"] += growth.launches
        counts["memory: bytes that they grew by"] += growth.bytes
        each = -(-growth.bytes // growth.launches)
        counts[MOST] = max(counts[MOST], each)
        if each > GROWTH:
            judge.violations.append(f"round {record.setting.seed}: memory grew: {growth}")
    return judge.violations


def read(plan: Plan, processes: dict[int, Child], lines: Iterable[str]) -> tuple[dict[int, Child], list[str]]:
    """Return the processes and launches of a round, by number, and the lines for the judge."""
    children = dict(processes)
    open_ones: dict[int, Child] = {}
    judged = []
    for line in lines:
        what, text, when, *more = line.split(" ")
        number = int(text)
        if what == "begins":
            children[number] = open_ones[number] = Child(plan.event(number), float(when))
        elif what == "second":
            child = children[number]
            child.ended, child.status, child.err = float(when), int(more[1]), " ".join(more[2:])
            open_ones.pop(number, None)
        elif what == "ends":
            children[number].ended = float(when)
            open_ones.pop(number, None)
        elif what == "dies":
            processes[number // SPAN * SPAN].killed = float(when)
        if what not in ("ends", "memory"):
            judged.append(line)
    for number, child in open_ones.items():
        process = processes[number // SPAN * SPAN]
        child.ended, child.status, child.killed = process.ended, process.status, process.killed
    return children, judged


def growths(lines: Iterable[str]) -> list[Growth]:
    """Return the growth of each host's memory, if it is known."""
    first: dict[int, tuple[int, int]] = {}
    last: dict[int, tuple[int, int]] = {}
    for line in lines:
        what, number, _, *more = line.split(" ")
        if what == "memory":
            look = int(more[0]), int(more[1])
            first.setdefault(int(number), look)
            last[int(number)] = look
    found = [
        Growth(host, last[host][0] - launches, last[host][1] - size)
        for host, (launches, size) in first.items()
    ]
    return [growth for growth in found if growth.launches >= MEASURED]
