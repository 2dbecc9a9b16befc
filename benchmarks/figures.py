"""All rounds of all measurements, and what came out."""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
from typing import Any, Iterator

from .plan import Cannot, Failure, Measurement
from .processes import NO_PROC, Bench
from .subjects import FLOOR, SUBJECTS, THIS


class Figures:
    """What came out."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}  # by subject and metric, one a round
        self.why_not: dict[tuple[str, str], str] = {}
        self.failures: list[str] = []

    def median(self, subject: str, metric: str) -> float | None:
        values = self.values.get((subject, metric))
        return statistics.median(values) if values else None

    def ratio(self, subject: str, metric: str, other: str) -> float | None:
        own, others = self.median(subject, metric), self.median(other, metric)
        return own / others if own is not None and others else None


class Runner:
    """Takes the subjects turn about through the rounds of measurements."""

    def __init__(self, bench: Bench, absent: dict[str, str]) -> None:
        self.figures = Figures()
        self._bench = bench
        self._absent = absent

    def measure(self, measurement: Measurement) -> None:
        """Take the rounds of one measurement."""
        for subject, why in self._absent.items():
            for metric in measurement.metrics:
                self.figures.why_not[subject, metric.key] = why
        subjects = [subject for subject in SUBJECTS if subject not in self._absent]
        for number in range(measurement.rounds):
            say(f"{measurement.number}. {measurement.title}: round {number + 1} of {measurement.rounds}")
            self._round(measurement, subjects)
            # Who could not do any of it once is not asked again.
            subjects = [
                s for s in subjects if any((s, m.key) in self.figures.values for m in measurement.metrics)
            ]
            if not subjects:
                return

    def _round(self, measurement: Measurement, subjects: list[str]) -> None:
        figures: dict[tuple[str, str], list[float]] = {}
        settings: dict[str, Any] = {}
        with contextlib.ExitStack() as stack:
            for subject in subjects:
                with self._judged(measurement, subject):
                    settings[subject] = stack.enter_context(measurement.setting(self._bench, subject))
            for _ in range(measurement.steps):
                # In no fixed order: who always comes after a large one finds the caches cold.
                for subject in random.sample(list(settings), len(settings)):
                    done = False
                    with self._judged(measurement, subject):
                        step = measurement.step(self._bench, subject, settings[subject])
                        self._sort(subject, step, figures)
                        done = True
                    if not done:
                        del settings[subject]
        for key, values in figures.items():
            self.figures.values.setdefault(key, []).append(statistics.median(values))

    def _sort(self, subject: str, step: dict[str, Any], figures: dict[tuple[str, str], list[float]]) -> None:
        for metric, figure in step.items():
            if isinstance(figure, Cannot):
                self.figures.why_not[subject, metric] = str(figure)
            else:
                figures.setdefault((subject, metric), []).append(figure)

    @contextlib.contextmanager
    def _judged(self, measurement: Measurement, subject: str) -> Iterator[None]:
        """Turn errors into words; those of *this* and of the floor are failures of the run."""
        try:
            yield
        except (Cannot, Failure) as error:
            why = str(error) if isinstance(error, Cannot) else "failed, see stderr"
            for metric in measurement.metrics:
                self.figures.why_not[subject, metric.key] = why
            if isinstance(error, Failure):
                say(f"{measurement.number}. {measurement.title}: {subject}: {error}")
                if subject in (THIS, FLOOR):
                    self.figures.failures.append(
                        f"{measurement.number}. {measurement.title}: {subject} failed"
                    )

    def finish(self) -> None:
        """Note as failures what must not happen to *this*, whatever the clock says."""
        for (subject, metric), count in self._bench.lost.items():
            if subject == THIS:
                self.figures.failures.append(f"{metric}: {count} launches were lost")
        for (subject, metric), why in self.figures.why_not.items():
            if subject == THIS and why != NO_PROC and (subject, metric) not in self.figures.values:
                self.figures.failures.append(f"{metric}: this has no figure: {why}")


def say(text: str) -> None:
    """Tell how far it is; the table alone goes to stdout."""
    print(text, file=sys.stderr, flush=True)
