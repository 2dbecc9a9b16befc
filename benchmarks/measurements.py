"""What is measured. A step with one subject returns a figure for each column, or why there is none."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from operator import attrgetter
from typing import Any, Callable, Dict, Iterator, NamedTuple, Union

from .agents import BLOCK, LINE, SUCCEED_TIME
from .plan import MIB, Failure, Plan
from .processes import Bench, Child, memory, stalled_peers, wakeups
from .subjects import BARE, OLD, PYTHON, SUBJECTS, Subject
from .subjects.base import Place

SILENCE = 3  # seconds without another launch after which a host is considered done, or stuck
SETTLE = 1.0  # seconds for what a host does only once, after its start

TRICKLE = 1_000_000  # nanoseconds from launch to launch
SMALL = 64  # bytes of a launch whose size does not matter: one file name
LAST = 200  # launches that are measured, of many
SENDERS, STALLED, SENDERS_BESIDE_STALLED = (1, 4, 16), (0, 50, 200), 4
SIZES, EACH = (1_000, 100_000, 2_000_000), 20  # bytes of a launch, and how many launches of each size
CHANGES = 15  # of host, in a process
SINGLE_LINES, STREAM = 200, 500  # lines that come one by one; bytes of a stream, for each line of `Plan`

PROCESSES = {
    "launch": "A second launch",
    "ask": "A second launch that asks for an answer",
    "import": "Import",
    "status": "Command line: status beside a host",
    "run": "Command line: run -- true",
    "first": "A first launch, which ends at once",
}
BESIDE_A_HOST = ("launch", "ask", "status")
KEYS = (*PROCESSES, "handoff", "rate", "stalled", "size", "growth", "idle", "change", "stream")

Columns = Dict[str, Union[float, Failure]]


class Measurement(NamedTuple):
    name: str  # its first word is what --only calls it
    title: str  # of its table
    of: str  # the subject that the table compares the others with
    takes_part: Callable[[type[Subject]], Any]
    step: Callable[[Bench, str], Columns]
    rounds: int
    steps: int = 1  # in a round; their median is the figure of the round


def measurements(plan: Plan, pythons: list[str]) -> Iterator[Measurement]:
    """Yield all of them, beginning with what a user notices."""
    n, slow_n = plan.rounds, min(plan.slow_rounds, plan.rounds)
    for kind, title in PROCESSES.items():
        for version in pythons:
            takes_part = functools.partial(has_program, kind, version == pythons[0])
            step, table = functools.partial(run_process, kind, version), f"{title}, CPython {version}"
            yield Measurement(f"{kind} {version}", table, PYTHON, takes_part, step, n, plan.processes)
    hands_over, locks = attrgetter("hands_over"), attrgetter("TAKE")
    stalled = f"Launches per second beside stalled peers, from {SENDERS_BESIDE_STALLED} senders"
    for name, title, of, takes_part, step, rounds in (
        ("handoff", "Hand-off, one launch per millisecond", BARE, hands_over, hand_off, n),
        ("rate", "Launches per second", BARE, hands_over, rates, n),
        ("stalled", stalled, BARE, attrgetter("stallers"), rates_beside_stalled, n),
        ("size", "Size: hand-off, and copies in memory", BARE, hands_over, sizes, n),
        ("growth", "Growth: hand-off, and memory", BARE, hands_over, growth, slow_n),
        ("idle", "A host with nothing to do", OLD, locks, idle, slow_n),
        ("change", "Change of host", OLD, locks, change, n),
        ("stream", "Output of an observer, at its launch", BARE, attrgetter("prints"), stream, n),
    ):
        yield Measurement(name, title, of, takes_part, step, rounds)


# -- whole processes --


def has_program(kind: str, first_python: bool, subject: type[Subject]) -> bool:
    return (first_python or subject.every_python) and bool(subject.program(kind, Place(0, "")))


def run_process(kind: str, version: str, bench: Bench, subject: str) -> Columns:
    """Run one process of a kind, on one interpreter."""
    place, host = bench.host(subject) if kind in BESIDE_A_HOST else (bench.place(), None)
    arguments = SUBJECTS[subject].program(kind, place)
    handing_over = kind in ("launch", "ask") and host is not None and SUBJECTS[subject].hands_over
    if handing_over:
        host.ask("expect", 1, 0)
        arguments.append(f"{time.monotonic_ns()}")  # the observer sees how long ago this was
    figures: Columns = {**bench.process(arguments, bench.environment.python(subject, version))}
    if handing_over:
        seen = host.ask("wait", SILENCE)
        bench.lost[subject, kind] += 1 - seen["count"]
        delay = seen["delays"][0] / 1e6 if seen["count"] else Failure("loses a launch")
        figures["start to observer, ms"] = delay
    return figures


# -- from a launch to the call of the observer --


@contextlib.contextmanager
def host_and_sender(bench: Bench, subject: str) -> Iterator[tuple[Child, Child]]:
    place = bench.place()
    with bench.agent("host", subject, place) as host, bench.agent("sender", subject, place) as sender:
        yield host, sender


def hand_over(host: Child, sender: Child, count: int, size: int, period: int = 0) -> dict[str, Any]:
    """Have one sender send ``count`` launches; return what arrives at the host."""
    host.ask("expect", count, size)
    sender.ask("send", count, size, period)
    return host.ask("wait", SILENCE)


def hand_off(bench: Bench, subject: str) -> Columns:
    count = bench.plan.trickle
    with host_and_sender(bench, subject) as (host, sender):
        hand_over(host, sender, 1, SMALL)  # what is done only once is not measured
        seen = hand_over(host, sender, count, SMALL, TRICKLE)
    bench.lost[subject, "handoff"] += count - seen["count"]
    if seen["count"] < 2:
        raise Failure("serves nothing")
    hundredths = statistics.quantiles(seen["delays"], n=100)
    return {"p50, us": hundredths[49] / 1e3, "p99, us": hundredths[98] / 1e3}


def rates(bench: Bench, subject: str) -> Columns:
    return {f"senders: {count}, launches/s": rate(bench, subject, "rate", count, 0) for count in SENDERS}


def rates_beside_stalled(bench: Bench, subject: str) -> Columns:
    return {
        f"stalled peers: {count}, launches/s": rate(bench, subject, "stalled", SENDERS_BESIDE_STALLED, count)
        for count in STALLED
    }


def rate(bench: Bench, subject: str, name: str, senders: int, stalled: int) -> float | Failure:
    """Return how many launches per second arrive, if all senders send as fast as they can."""
    each, place = bench.plan.burst // senders, bench.place()
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(bench.agent("host", subject, place))
        agents = [stack.enter_context(bench.agent("sender", subject, place)) for _ in range(senders)]
        host.ask("expect", each * senders, SMALL)
        stack.enter_context(stalled_peers(subject, place, stalled))
        begin = time.monotonic_ns()
        for agent in agents:
            agent.tell("send", each, SMALL)
        seen = host.ask("wait", SILENCE)
        if not seen["count"]:
            return Failure(f"serves nothing within {SILENCE} s beside {stalled} stalled peers")
    bench.lost[subject, name] += each * senders - seen["count"]
    return seen["count"] / (seen["last"] - begin) * 1e9


def sizes(bench: Bench, subject: str) -> Columns:
    figures: Columns = {}
    for size in SIZES:
        with host_and_sender(bench, subject) as (host, sender):
            hand_over(host, sender, 1, SMALL)
            copies = copies_of(size, host, sender)
            seen = hand_over(host, sender, EACH, size)
        if seen["wrong"] or not seen["count"]:
            figures[f"{size:,} bytes, ms"] = Failure(f"does not deliver {size:,} bytes unchanged")
            continue
        bench.lost[subject, "size"] += EACH - seen["count"]
        figures[f"{size:,} bytes, ms"] = statistics.median(seen["delays"]) / 1e6
        if size > SIZES[0]:  # the kernel counts pages, which are too coarse for the smallest
            figures[f"peak of {size:,} bytes, copies"] = copies
    return figures


def copies_of(size: int, host: Child, sender: Child) -> float | Failure:
    """Return what the next launch adds to the peak of the host's memory, in sizes of that launch."""
    host.ask("expect", 1, size)  # before the measurement, since the expected words need memory too
    # Resets the peak. Where this is not allowed, the figure may include what an import has needed.
    with contextlib.suppress(OSError), open(f"/proc/{host.pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    try:
        before = memory(host.pid, "VmHWM")
        sender.ask("send", 1, size)
        host.ask("wait", SILENCE)
        return (memory(host.pid, "VmHWM") - before) / size
    except Failure as error:
        return error


def growth(bench: Bench, subject: str) -> Columns:
    sent, delays, resident = 0, {}, {}
    with host_and_sender(bench, subject) as (host, sender):
        for count in (1, 1_000, bench.plan.growth):
            last = min(LAST, count - sent)
            first = count - sent - last
            arrived = hand_over(host, sender, first, SMALL)["count"] if first else 0
            seen = hand_over(host, sender, last, SMALL, TRICKLE)
            bench.lost[subject, "growth"] += first + last - arrived - seen["count"]
            sent = count
            delays[f"last of {count:,}, us"] = statistics.median(seen["delays"]) / 1e3
            resident[f"memory after {count:,}, MiB"] = memory(host.pid, "VmRSS") / MIB
    _, some, many = resident.values()
    return {**delays, **resident, "memory since the first 1,000, MiB": many - some}


# -- hosts that wait, give up their place, or are killed --


def idle(bench: Bench, subject: str) -> Columns:
    program = SUBJECTS[subject].program("idle", bench.place())
    with bench.child(program, subject) as host, bench.child(["-c", Subject.STAY], subject) as bare:
        time.sleep(SETTLE)
        before = wakeups(host.pid)
        time.sleep(bench.plan.idle)
        count = wakeups(host.pid) - before
        beyond = memory(host.pid, "VmRSS") - memory(bare.pid, "VmRSS")
    return {"wakeups, per second": count / bench.plan.idle, "over the interpreter, MiB": beyond / MIB}


def change(bench: Bench, subject: str) -> Columns:
    with bench.agent("taker", subject, bench.place()) as taker:
        _, *times = taker.ask("change", CHANGES)  # the first one also imports
    taken, freed = zip(*times)
    late = Failure(f"is not free within {SUCCEED_TIME:g} s after release")
    return {
        "take it again, us": statistics.median(taken) / 1e3,
        "release to bind, us": late if None in freed else statistics.median(freed) / 1e3,
        "kill to next host, ms": after_a_kill(bench, subject),
    }


def after_a_kill(bench: Bench, subject: str) -> float | Failure:
    """Return the milliseconds from the kill of a host that has a silent peer to the next host."""
    place, silent = bench.place(), int(SUBJECTS[subject].stallers)
    # The peer is accepted while the next host starts.
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(bench.agent("host", subject, place))
        stack.enter_context(stalled_peers(subject, place, silent))
        successor = stack.enter_context(bench.agent("taker", subject, place))
        took = successor.ask("succeed", host.pid)
    if took is None:
        return Failure(f"has no next host within {SUCCEED_TIME:g} s after a kill, beside a connected peer")
    return took / 1e6


# -- what an observer prints to a launch that waits for its answer --


def stream(bench: Bench, subject: str) -> Columns:
    place, lines = bench.place(), bench.plan.lines
    sizes = {"blocks": BLOCK, "lines": LINE}  # bytes that are written at a time

    def ask(kind: str, size: int) -> float:
        """Return the bytes per second with which these many are printed."""
        count = size // sizes[kind]
        answer = asker.ask("ask", kind, count)
        if answer["size"] != count * sizes[kind]:
            raise Failure(f"{answer['size']} bytes came instead of {count} {kind}")
        return answer["size"] / answer["took"] * 1e9

    with bench.agent("printer", subject, place), bench.agent("asker", subject, place) as asker:
        ask("lines", LINE)  # what is done only once is not measured
        delays = asker.ask("ask", "single", SINGLE_LINES)["delays"]
        if len(delays) != SINGLE_LINES:
            raise Failure(f"{len(delays)} lines came instead of {SINGLE_LINES}")
        return {
            "64 KiB a write, MB/s": ask("blocks", lines * STREAM) / 1e6,
            "80 bytes a print, lines/s": ask("lines", lines * LINE) / LINE,
            "one line, p50, ms": statistics.median(delays) / 1e6,
        }
