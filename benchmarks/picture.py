"""The picture in the README: four charts that answer what a user asks, as SVG.

It is a card with a background of its own, readable on any page, and a dark one if the reader's browser
prefers that. The same figures give the same file.
"""

from __future__ import annotations

import textwrap
from html import escape
from typing import Iterator, NamedTuple

from .runner import Figure, Results
from .subjects import NAMED, OLD, PYTHON, THIS
from .subjects.others import FileLock, LocalServer, Tendo

WAKEUPS = "wakeups, per second"

# The rows of each chart, by subject.
ROWS = {
    THIS: "Socket_Singleton",
    NAMED: "with a name",
    OLD: "version 2.0.0",
    FileLock.name: "filelock",
    Tendo.name: "tendo",
    LocalServer.name: "QLocalServer",
}

STYLE = """\
text { font: 12px "Segoe UI", "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2328 }
text.question { font-size: 16px; font-weight: bold }
text.muted { fill: #59636e }
text.small { font-size: 10px }
text.name { text-anchor: end }
.this { font-weight: bold }
.card { fill: #ffffff; stroke: #d1d9e0 }
.ours { fill: #0969da }
.others { fill: #9fb0c0 }
.python { fill: #dfe5eb }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
text.muted { fill: #9198a1 }
.card { fill: #0d1117; stroke: #3d444d }
.ours { fill: #4493f8 }
.others { fill: #6e7b8a }
.python { fill: #30363d }
}"""

# In pixels: the picture, its edge, each chart, where its bars begin, the longest bar, a row, and its bar.
WIDTH, HEIGHT, EDGE = 922, 576, 16
CHART_WIDTH, CHART_HEIGHT = 452, 262
LEFT, TOP, LONGEST, ROW, BAR = 122, 62, 245, 29, 18
CAPTION_WIDTH = 145  # characters


class Chart(NamedTuple):
    question: str
    answer: str  # what the bars show
    measurement: str
    column: str
    without: str = ""  # what is written instead of a bar of those that have none


def charts(python: str) -> Iterator[Chart]:
    launch, start = f"launch {python}", "from the start of the second launch"
    observed = "How soon does the first one get the arguments?"
    again, kill = "How soon after a crash can it start again?", "from its kill, with a connection open"
    yield Chart("What does a second launch cost?", "from its start to its end", launch, "wall, ms")
    yield Chart(observed, start, launch, "start to observer, ms", "hands nothing over")
    yield Chart("What does waiting cost?", "memory beyond Python itself", "idle", "over the interpreter, MiB")
    yield Chart(again, kill, "change", "kill to next host, ms", "not within 2 s")


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" class="{style}"/>'


def draw(chart: Chart, results: Results, subjects: list[str]) -> Iterator[str]:
    """Yield the elements of a chart."""

    def median(subject: str, column: str = chart.column) -> float | None:
        return results.median(Figure(subject, chart.measurement, column))

    figures, wakeups = ([median(name, column) for name in ROWS] for column in (chart.column, WAKEUPS))
    scale = LONGEST / max(figure or 0.001 for figure in figures)
    python = (median(PYTHON) or 0) * scale
    for row, (subject, figure) in enumerate(zip(ROWS, figures)):
        top, bottom = TOP + row * ROW, TOP + row * ROW + 13
        this = "this" if subject == THIS else ""
        yield text(LEFT - 5, bottom, ROWS[subject], f"name {this}")
        if figure is None:
            why = chart.without if subject in subjects else "not measured"
            yield text(LEFT + 5, bottom, why, "muted")
            continue
        length = figure * scale
        yield bar(LEFT, top, python, "python")
        yield bar(
            LEFT + python, top, max(0, length - python), "ours" if subject in (THIS, NAMED) else "others"
        )
        label = f"{figure:.{0 if figure >= 9.95 else 1}f} {chart.column.rpartition(', ')[2]}"
        label += f", {wakeups[row]:.0f} wakeups/s" if wakeups[row] else ""
        yield text(LEFT + length + 5, bottom, label, this)
    if python:
        yield text(LEFT, TOP - 6, "Python itself", "muted small")
    quiet = "; while idle, none of them wakes up" if not any(wakeups) and None not in wakeups else ""
    yield text(0, 12, chart.question, "question")
    yield text(0, 33, chart.answer + quiet, "muted")


def picture(results: Results, python: str, subjects: list[str], machine: str, versions: str) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"',
        f' viewBox="0 0 {WIDTH} {HEIGHT}">',
        f"<style>\n{STYLE}\n</style>",
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" class="card"/>',
    ]
    for number, chart in enumerate(charts(python)):
        x, y = EDGE + number % 2 * CHART_WIDTH, 22 + number // 2 * CHART_HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *draw(chart, results, subjects), "</g>"]
    caption = f"Less is better. Medians of one run on {machine}, with {versions}."
    for row, line in enumerate(textwrap.wrap(caption, CAPTION_WIDTH)):
        lines.append(text(EDGE, HEIGHT - 30 + 16 * row, line, "muted small"))
    return "\n".join([*lines, "</svg>\n"])
