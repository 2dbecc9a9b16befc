"""What a person notices: processes, from `exec` on."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

from benchmarks.plan import Cannot, Metric
from benchmarks.subjects import SUBJECTS
from benchmarks.subjects.base import STAMP_LENGTH, Place

if TYPE_CHECKING:
    from benchmarks.processes import Bench, Child

SILENCE = 3  # seconds in which a subject that serves at all has served one launch, or one more

LAUNCH = [Metric("observed", "start to observer", "ms"), Metric("launch", "start to end", "ms")]
IMPORT = [Metric("import", "whole process", "ms"), Metric("modules", "imported", "modules")]
COMMANDS = [Metric("status", "status", "ms"), Metric("run", "run -- true", "ms")]
LOCK = [
    Metric("first launch", "start to end of a first launch", "ms"),
    Metric("first lock", "first in a process", "us"),
    Metric("lock", "again", "us"),
]


def on_others(bench: Bench) -> list[Metric]:
    return [Metric(f"launch {version}", f"CPython {version}", "ms") for version in bench.environment.others]


class Running(NamedTuple):
    """A host that serves, and where."""

    place: Place
    host: Child | None


@contextlib.contextmanager
def running_host(bench: Bench, subject: str) -> Iterator[Running]:
    """Have a host that serves, or only a place for it where the subject has none."""
    place = bench.place()
    if not SUBJECTS[subject].locks:
        yield Running(place, None)
        return
    with bench.agent("host", subject, place) as host:
        host.answer()
        yield Running(place, host)


def only_who_locks(subject: str) -> None:
    if not SUBJECTS[subject].locks:
        raise Cannot("locks nothing")


def only_programs(subject: str) -> None:
    if not SUBJECTS[subject].IMPORT:
        raise Cannot("no program of its own")


def step_launch(bench: Bench, subject: str, running: Running) -> dict[str, Any]:
    """Have one launch, which hands over when it was started: the observer sees how long ago."""
    only_programs(subject)
    took, seen = one_launch(bench, subject, running, "launch")
    if not SUBJECTS[subject].hands_over:
        return {"launch": took * 1e3, "observed": Cannot("hands nothing over")}
    return {"launch": took * 1e3, "observed": seen["delays"][0] / 1e6 if seen["count"] else Cannot("lost")}


def step_launch_elsewhere(bench: Bench, subject: str, running: Running) -> dict[str, Any]:
    if not SUBJECTS[subject].on_others:
        raise Cannot("measured on one interpreter")
    return {
        f"launch {version}": one_launch(bench, subject, running, f"launch {version}", python)[0] * 1e3
        for version, python in bench.environment.others.items()
    }


def one_launch(
    bench: Bench, subject: str, running: Running, metric: str, python: str = ""
) -> tuple[float, dict[str, Any]]:
    """Return the seconds of one launch, and what its host has to say of it."""
    code, host = SUBJECTS[subject].launch_script(running.place), running.host
    if host is not None:
        host.ask("expect", 1, STAMP_LENGTH + 1, 1)
    took = bench.process_time(["-c", code, str(time.monotonic_ns())], subject, python)
    if host is None or not SUBJECTS[subject].hands_over:
        return took, {}
    seen = host.ask("wait", SILENCE)
    bench.missed(subject, metric, 1 - seen["count"])
    return took, seen


def step_command(bench: Bench, subject: str, running: Running) -> dict[str, float]:
    """Start the command line twice: beside a host, and on a port that is free."""
    if not shutil.which("true"):
        raise Cannot("there is no program `true`")
    status = SUBJECTS[subject].status_command(running.place)
    if not status:
        raise Cannot("no command line")
    run = SUBJECTS[subject].run_command(bench.place())
    return {
        "status": bench.process_time(status, subject) * 1e3,
        "run": bench.process_time(run, subject) * 1e3,
    }


def step_import(bench: Bench, subject: str, _: None) -> dict[str, float]:
    only_programs(subject)
    code = SUBJECTS[subject].IMPORT
    count = f"import sys\nbefore = len(sys.modules)\n{code}\nprint(len(sys.modules) - before)"
    return {
        "import": bench.process_time(["-c", code], subject) * 1e3,
        "modules": int(bench.environment.run("-c", count, subject=subject)),
    }


def step_lock(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    only_who_locks(subject)
    with contextlib.ExitStack() as stack:
        taker = bench.ready("taker", subject, bench.place(), stack)
        first, *others = taker.ask("lock", bench.plan.locks)
    figures = {"first lock": first / 1e3, "lock": statistics.median(others) / 1e3}
    if not SUBJECTS[subject].IMPORT:
        return {**figures, "first launch": Cannot("no program of its own")}
    code = SUBJECTS[subject].first_script(bench.place())
    return {**figures, "first launch": bench.process_time(["-c", code], subject) * 1e3}
