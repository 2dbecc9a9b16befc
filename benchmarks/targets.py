"""What *this* is to reach, and whether it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, NamedTuple

from .subjects import BARE, BESIDE, FLOOR, NAMED, OLD, PYTHON, THIS
from .subjects.connection import Connection
from .subjects.local_server import LocalServer

if TYPE_CHECKING:
    from .figures import Figures
    from .plan import Metric, Plan


class Target(NamedTuple):
    """A bound for the figure of one metric, or for how many times that of another subject it is."""

    metric: str
    of: str  # the other subject; or else the metric's unit
    limit: float
    at_least: bool = False
    subject: str = THIS

    def judged(self, figures: Figures, metrics: dict[str, Metric]) -> dict[str, Any]:
        """Return the target as it is shown, with what was reached; that is None if it was not measured."""
        metric = metrics[self.metric]
        of = self.of or metric.unit
        if self.of:
            reached = figures.ratio(self.subject, self.metric, self.of)
        else:
            reached = figures.median(self.subject, self.metric)
        # A target is reached by what is shown, to the hundredth.
        shown = None if reached is None else round(reached, 2)
        met = shown is not None and (shown >= self.limit if self.at_least else shown <= self.limit)
        return {**self._asdict(), "of": of, "reached": shown, "met": met, "ratio": bool(self.of)}


def targets(plan: Plan, metrics: dict[str, Metric], beside: bool) -> Iterator[Target]:
    """Yield those whose metric is measured."""
    for target in (*noticed(), *not_noticed(plan), *named(), *(kept(plan) if beside else ())):
        if target.metric in metrics:
            yield target


def noticed() -> Iterator[Target]:
    """Yield what a person notices."""
    yield Target("observed", OLD, 0.78)
    for metric in ("launch", "launch 3.8", "launch 3.13"):
        yield Target(metric, OLD, 0.78)
        yield Target(metric, PYTHON, 1.2)
    yield Target("import", PYTHON, 1.15)
    yield Target("status", FLOOR, 1.2)
    yield Target("run", FLOOR, 1.2)


def not_noticed(plan: Plan) -> Iterator[Target]:
    """Yield what is held against the bare host and the other libraries, and what costs the machine."""
    yield Target("p50", BARE, 1.15)
    yield Target("p99", BARE, 1.1)
    for senders in plan.senders:
        yield Target(f"senders {senders}", BARE, 0.9, at_least=True)
    for other in (Connection.name, LocalServer.name):
        yield Target("p50", other, 1.0)
        for senders in plan.senders:
            yield Target(f"senders {senders}", other, 1.0, at_least=True)
        yield Target(f"size {plan.sizes[-1]}", other, 1.0)
    yield Target("lock", OLD, 1.2)
    yield Target("first lock", "", 600)
    yield Target("wakeups", "", 0)


def named() -> Iterator[Target]:
    """Yield what a name may cost."""
    yield Target("launch", THIS, 1.25, subject=NAMED)
    yield Target("p50", THIS, 2.5, subject=NAMED)


def kept(plan: Plan) -> Iterator[Target]:
    """Yield what must not get slower than in the tree beside: but for what one run differs from the next."""
    for metric in ("observed", "launch", "import", "first launch", "first lock"):
        yield Target(metric, BESIDE, 1.02)
    for metric in ("p50", "p99", *(f"size {size}" for size in plan.sizes)):
        yield Target(metric, BESIDE, 1.05)
    for senders in plan.senders:
        yield Target(f"senders {senders}", BESIDE, 0.95, at_least=True)


def differences(plan: Plan, figures: Figures) -> Iterator[dict[str, Any]]:
    """Yield the targets that compare two metrics of *this*, judged."""
    first, last = (f"stalled {plan.stalled[index]}" for index in (0, -1))
    some, many = (f"memory {count}" for count in plan.growth[1:])
    yield of_two(figures, last, first, f"beside {plan.stalled[-1]} stalled peers, of without", 0.9, True)
    grown = f"MiB that memory grows from {plan.growth[1]:,} launches to {plan.growth[2]:,}"
    yield of_two(figures, many, some, grown, 1.0)


def of_two(
    figures: Figures, metric: str, other: str, text: str, limit: float, ratio: bool = False
) -> dict[str, Any]:
    one, two = figures.median(THIS, metric), figures.median(THIS, other)
    reached = None
    if one is not None and two:
        reached = round(one / two if ratio else one - two, 2)
    met = reached is not None and (reached >= limit if ratio else reached <= limit)
    target = {"metric": "", "subject": THIS, "of": text, "limit": limit, "at_least": ratio, "ratio": ratio}
    return {**target, "reached": reached, "met": met}


def words(target: dict[str, Any], titles: dict[str, str]) -> str:
    """Say which figure it is of."""
    what = titles.get(target["metric"], "")
    subject = "" if target["subject"] == THIS else f"{target['subject']}: "
    if not what:
        return f"{subject}{target['of']}"
    return f"{subject}{what}, {'of ' if target['ratio'] else ''}{target['of']}"


def title_of(metric: dict[str, Any], measurement: dict[str, Any]) -> str:
    return f"{measurement['title']}: {metric['title']}"
