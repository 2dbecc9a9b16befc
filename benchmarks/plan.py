"""How much is measured, and what may go wrong."""

from __future__ import annotations

import sys
from typing import NamedTuple

MIB = 1024 * 1024


class Failure(Exception):
    """There is no figure; the text says why."""


class Plan(NamedTuple):
    rounds: int
    slow_rounds: int  # of what varies little and takes long
    processes: int  # of each kind in a round
    trickle: int  # launches
    burst: int  # launches, from all senders together
    growth: int  # launches
    idle: float  # seconds
    lines: int  # of 80 bytes


FULL = Plan(7, 3, processes=12, trickle=1500, burst=4000, growth=100_000, idle=2.0, lines=200_000)
QUICK = Plan(1, 1, processes=2, trickle=100, burst=160, growth=2_000, idle=0.3, lines=2_000)


def say(text: str) -> None:
    """Report progress on stderr; stdout is for the tables alone."""
    print(text, file=sys.stderr, flush=True)
