"""All rounds of all measurements, and what came out."""

from __future__ import annotations

import random
import statistics
from typing import NamedTuple

from .measurements import Measurement
from .plan import Failure, say
from .processes import NO_PROC, Bench
from .subjects import BARE, NAMED, PYTHON, SUBJECTS, THIS


class Figure(NamedTuple):
    """What is measured of a subject: a column of a measurement's table."""

    subject: str
    measurement: str
    column: str


class Results:
    def __init__(self) -> None:
        self.values: dict[Figure, list[float]] = {}  # one a round
        self.why_not: dict[tuple[str, str, str], None] = {}  # subject, measurement, reason; an ordered set
        self.failures: list[str] = []

    def median(self, figure: Figure) -> float | None:
        values = self.values.get(figure)
        return statistics.median(values) if values else None

    def ratio(self, figure: Figure, other: Figure) -> float | None:
        """Return the median over the rounds, since within a round both had the same machine.

        Figures of two measurements are compared with those of Python first: the machine may have changed.
        """
        if figure.measurement != other.measurement:
            one, another = (self.ratio(each, each._replace(subject=PYTHON)) for each in (figure, other))
            return one / another if one and another else None
        pairs = zip(self.values.get(figure, []), self.values.get(other, []))
        ratios = [value / of for value, of in pairs if of]
        return statistics.median(ratios) if ratios else None

    def note(self, subject: str, measurement: Measurement, failure: Failure) -> None:
        """Note why there is no figure; the run fails if it is one of the package, or of bare sockets."""
        say(f"{measurement.title}: {subject}: {failure}")
        why = str(failure).partition("\n")[0]
        self.why_not[subject, measurement.name, why] = None
        if subject in (THIS, NAMED, BARE) and why != NO_PROC:
            self.failures.append(f"{measurement.title}: {subject} {why}")


def measure(measurement: Measurement, bench: Bench, subjects: list[str], results: Results) -> None:
    subjects = [name for name in subjects if measurement.takes_part(SUBJECTS[name])]
    for number in range(measurement.rounds):
        say(f"{measurement.name}: {measurement.title}: round {number + 1} of {measurement.rounds}")
        found: dict[Figure, list[float]] = {}
        with bench.round():
            left = list(subjects)
            for _ in range(measurement.steps):
                # In random order: a subject that always follows a large one would find the caches cold.
                for subject in random.sample(left, len(left)):
                    try:
                        step = measurement.step(bench, subject)
                    except Failure as failure:
                        results.note(subject, measurement, failure)
                        left.remove(subject)
                        continue
                    for column, figure in step.items():
                        if isinstance(figure, Failure):
                            results.note(subject, measurement, figure)
                        else:
                            found.setdefault(Figure(subject, measurement.name, column), []).append(figure)
        for figure, values in found.items():
            results.values.setdefault(figure, []).append(statistics.median(values))
        # A subject that was able to do nothing is not tried again.
        subjects = [name for name in subjects if any(figure.subject == name for figure in found)]
