"""What is known about a completed round. The judge needs nothing else, so a test can forge it."""

from __future__ import annotations

from typing import NamedTuple

from .schedule import Event, Role, Setting, digest

# Seconds. If the supervisor itself had to wait for longer than it asked, by at least this much, the
# machine had no time.
STALL = 0.05


class Child:
    """One process of a round, and what the supervisor knows about it; times are of the monotonic clock."""

    def __init__(self, event: Event, began: float) -> None:
        self.number = event.role.number
        self.kind = event.kind
        self.role: Role = event.role
        self.digest = digest(event.args)
        self.pid = 0
        self.began = began
        self.ended = 0.0
        self.status = 0  # as in subprocess: minus the signal that ended it
        self.killed: float | None = None  # when SIGKILL was about to be sent, if it ended it
        self.err = ""

    def __str__(self) -> str:
        ended = f"{self.ended - self.began:.3f} s" if self.ended else "still there"
        return f"{self.kind} {self.number} ({self.digest}; status {self.status}; {ended})"


class Span(NamedTuple):
    """A period of time."""

    start: float
    end: float

    def shared(self, child: Child) -> float:
        """Return for how many seconds of it ``child`` existed."""
        return max(min(self.end, child.ended) - max(self.start, child.began), 0.0)


class Record(NamedTuple):
    """One round."""

    setting: Setting
    children: dict[int, Child]  # by number
    lines: list[str]  # the log
    stalls: list[Span]  # when the supervisor had to wait
    stops: list[Span]  # when a host was stopped
    port_error: str = ""  # why the port is not free after all have ended
