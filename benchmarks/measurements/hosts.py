"""A host with nothing to do, and one that gives up its place."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any, Iterator

from benchmarks.agents import SUCCEED_TIME
from benchmarks.plan import MIB, Cannot, Metric
from benchmarks.processes import START_TIME, Bench, Child, sockets, status, until, wakeups
from benchmarks.subjects import SUBJECTS

from .starts import SILENCE, only_programs, only_who_locks, running_host

QUIET, QUIET_TIME = 0.1, 3  # seconds without a wakeup that begin idleness, and how long they are waited for

IDLE = [Metric("wakeups", "wakeups", "per second"), Metric("memory", "over the interpreter", "MiB")]
CHANGE = [Metric("release", "release to bind", "us"), Metric("killed", "kill to next host", "ms")]


@contextlib.contextmanager
def idle_host(bench: Bench, subject: str) -> Iterator[Child]:
    only_who_locks(subject)
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


def step_change(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    only_who_locks(subject)
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
        if SUBJECTS[subject].hands_over and SUBJECTS[subject].stallers:
            peers = bench.ready("staller", subject, place, stack)
            before = sockets(host.pid)
            peers.ask("connect", 1)
            until(lambda: sockets(host.pid) != before or not before, SILENCE)  # it was accepted
        successor = bench.ready("taker", subject, place, stack)
        took = successor.ask("succeed", host.pid)
    if took is None:
        return Cannot(f"nobody is the host within {SUCCEED_TIME:g} s after a kill, beside a connected peer")
    return took / 1e6
