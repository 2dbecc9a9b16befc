"""The figures and targets as text: tables in Markdown, whose columns also line up on a terminal."""

from __future__ import annotations

import statistics
from typing import Iterator, Sequence

from .measurements import Measurement
from .runner import Figure, Results
from .targets import targets

NOTE = """\
`python benchmarks/compare.py` has written this file. Its docstring explains what is compared, and how each
figure is measured. Each figure is the median of the rounds, with the lowest and the highest in brackets, and
its ratio to the figure of another subject. Less is better, except where the unit ends with "/s". Only
figures from the same run can be compared."""


def number(value: float) -> str:
    """Return a figure with three significant digits."""
    if value == int(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.9995 else 3}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    for row in (header, ["-" * width for width in widths], *rows):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"


def target_rows(results: Results, pythons: list[str], titles: dict[str, str]) -> Iterator[list[str]]:
    """Yield what was measured, the bound, what was reached, and whether that is enough."""
    for figure, limit, of in targets(pythons):
        other = figure._replace(subject=of) if isinstance(of, str) else of
        reached = results.ratio(figure, other) if of else results.median(figure)
        if reached is None:  # not measured this time, or in vain
            continue
        what, unit = figure.column.rsplit(", ", 1)
        compared = f"of {of}" if of else unit
        if isinstance(of, Figure):
            same = of.measurement == figure.measurement
            compared = f"of {of.column.rsplit(', ', 1)[0] if same else titles[of.measurement]}"
        reached, more = round(reached, 2), unit.endswith("/s")
        enough = reached >= limit if more else reached <= limit
        yield [
            f"{figure.subject}: {titles[figure.measurement]}: {what}, {compared}",
            f"{'≥' if more else '≤'} {limit:,g}",
            f"{reached:,.2f}",
            "reached" if enough else "NOT REACHED",
        ]


def cell(results: Results, figure: Figure, of: str) -> str:
    values = results.values.get(figure)
    if not values:
        return "-"
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f" ({number(min(values))}-{number(max(values))})"
    ratio = results.ratio(figure, figure._replace(subject=of))
    return text if ratio is None or figure.subject == of else f"{text} x{ratio:.2f}"


def section(measurement: Measurement, results: Results, subjects: list[str]) -> Iterator[str]:
    """Yield the table of a measurement, and why figures are missing in it."""
    name, of = measurement.name, measurement.of
    yield f"\n## {measurement.title}\n"
    yield f"{measurement.rounds} round{'s' * (measurement.rounds > 1)}; x: times the figure of {of}.\n"
    there = [(figure.subject, figure.column) for figure in results.values if figure.measurement == name]
    columns = list(dict.fromkeys(column for _, column in there))
    rows = [
        [subject, *(cell(results, Figure(subject, name, column), of) for column in columns)]
        for subject in subjects
        if subject in dict(there)
    ]
    yield from table(["", *columns], rows)
    for subject, measured, why in results.why_not:
        if measured == name:
            yield f"\n{subject} {why}."


def report(
    measured: list[Measurement], results: Results, pythons: list[str], subjects: list[str], about: list[str]
) -> str:
    titles = {measurement.name: measurement.title for measurement in measured}
    lines = ["# Figures", "", NOTE, ""]
    lines += [f"- {line}" for line in about]
    lines += [f"- FAILED: {failure}" for failure in dict.fromkeys(results.failures)]
    lines += ["\n## Targets\n"]
    lines += table(["", "to reach", "reached", ""], list(target_rows(results, pythons, titles)))
    for measurement in measured:
        lines += section(measurement, results, subjects)
    return "\n".join(lines) + "\n"
