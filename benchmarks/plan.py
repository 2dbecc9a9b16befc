"""How much of everything is measured, and what a measurement is."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, NamedTuple, Sequence

MIB, KIB = 1024 * 1024, 1024


class Cannot(Exception):
    """A subject cannot do this; the text says why."""


class Failure(Exception):
    """Something went wrong that should not."""


class Plan(NamedTuple):
    """How much of everything."""

    rounds: int
    processes: int  # of 1 to 4 and of 8 in a round
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
    setting: Callable[[Any, str], contextlib.AbstractContextManager[Any]] = lambda *_: (
        contextlib.nullcontext()
    )


def short(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count // 1_000_000} MB" if count >= 1_000_000 else f"{count // 1_000} KB"
