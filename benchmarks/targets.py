"""What the package has to reach."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from .measurements import SENDERS, SIZES, STALLED
from .runner import Figure
from .subjects import BARE, BESIDE, NAMED, OLD, PYTHON, THIS
from .subjects.others import Connection, LocalServer

OLDEST = "3.8"


class Target(NamedTuple):
    """A bound for a figure, or for its ratio to the same figure of another subject, or to another figure."""

    figure: Figure
    limit: float
    of: str | Figure = ""


def targets(pythons: list[str]) -> Iterator[Target]:
    for version in pythons:
        yield from of_processes(version)
    yield Target(Figure(THIS, f"launch {pythons[0]}", "start to observer, ms"), 0.78, OLD)
    yield from of_hosts()
    yield from compared_with_beside(pythons)


def of_processes(version: str) -> Iterator[Target]:
    """Yield what a user notices; a bit more is allowed by the clock, for what else the machine does."""
    launch = f"launch {version}"
    for clock, more in (("cpu, ms", 0), ("wall, ms", 0.03)):
        of_this = 1.18 if version == OLDEST else 1.15
        yield Target(Figure(THIS, launch, clock), round(of_this + more, 2), PYTHON)
        yield Target(Figure(NAMED, launch, clock), round(1.25 + more, 2), PYTHON)
        yield Target(Figure(THIS, f"import {version}", clock), round(1.13 + more, 2), PYTHON)
        yield Target(Figure(THIS, f"first {version}", clock), 1.0, OLD)
        yield Target(Figure(NAMED, f"ask {version}", clock), 1.1, Figure(NAMED, launch, clock))
    yield Target(Figure(NAMED, launch, "wall, ms"), 1.25, THIS)
    yield Target(Figure(THIS, launch, "wall, ms"), 0.78, OLD)
    for command in ("status", "run"):
        yield Target(Figure(THIS, f"{command} {version}", "wall, ms"), 1.2, BARE)


def of_hosts() -> Iterator[Target]:
    yield Target(Figure(THIS, "handoff", "p50, us"), 1.15, BARE)
    yield Target(Figure(THIS, "handoff", "p99, us"), 1.1, BARE)
    yield Target(Figure(NAMED, "handoff", "p50, us"), 2.5, THIS)
    for other in (Connection.name, LocalServer.name):
        yield Target(Figure(THIS, "handoff", "p50, us"), 1.0, other)
        for count in SENDERS:
            yield Target(Figure(THIS, "rate", f"senders: {count}, launches/s"), 1.0, other)
        yield Target(Figure(THIS, "size", f"{SIZES[-1]:,} bytes, ms"), 1.0, other)
    none, *_, most = (f"stalled peers: {count}, launches/s" for count in STALLED)
    yield Target(Figure(THIS, "stalled", most), 0.9, Figure(THIS, "stalled", none))
    yield Target(Figure(THIS, "change", "take it again, us"), 1.2, OLD)
    yield Target(Figure(THIS, "idle", "wakeups, per second"), 0)
    yield Target(Figure(THIS, "growth", "memory since the first 1,000, MiB"), 1.0)
    yield Target(Figure(NAMED, "stream", "64 KiB a write, MB/s"), 0.4, BARE)
    yield Target(Figure(NAMED, "stream", "80 bytes a print, lines/s"), 200_000)
    yield Target(Figure(NAMED, "stream", "one line, p50, ms"), 1.0)


def compared_with_beside(pythons: list[str]) -> Iterator[Target]:
    """Yield what must not be slower than in the tree beside, apart from the differences between two runs."""
    for version in pythons:
        for kind in ("launch", "import", "first"):
            yield Target(Figure(THIS, f"{kind} {version}", "wall, ms"), 1.02, BESIDE)
            yield Target(Figure(THIS, f"{kind} {version}", "cpu, ms"), 1.02, BESIDE)
    yield Target(Figure(THIS, f"launch {pythons[0]}", "start to observer, ms"), 1.02, BESIDE)
    sizes = (("size", f"{size:,} bytes, ms") for size in SIZES)
    for figure in (("handoff", "p50, us"), ("handoff", "p99, us"), *sizes):
        yield Target(Figure(THIS, *figure), 1.05, BESIDE)
    for count in SENDERS:
        yield Target(Figure(THIS, "rate", f"senders: {count}, launches/s"), 0.95, BESIDE)
