"""The figures as text: ``python -m benchmarks.table RESULTS.json``, with the interpreter that draws."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any, Iterator

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .subjects import FLOOR, OLD, SUBJECTS, THIS
from .targets import title_of, words

WIDTH = 120  # columns, where nothing tells how many there are
PER_TABLE = 3  # metrics side by side


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    if value == int(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.9995 else 3}f}"


def figure(metric: dict[str, Any], subject: str) -> str:
    values = metric["values"].get(subject)
    if not values:
        return "-"
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f"  ({number(min(values))}-{number(max(values))})"
    lost = metric["lost"].get(subject)
    return text + (f", {lost:,} lost" if lost else "")


def ratio(metric: dict[str, Any], subject: str, other: str) -> str:
    values, others = (metric["values"].get(each) for each in (subject, other))
    if not values or not others or not statistics.median(others):
        return ""
    return f"{statistics.median(values) / statistics.median(others):.2f}"


def tables(measurement: dict[str, Any], subjects: list[str]) -> Iterator[Table]:
    metrics = measurement["metrics"]
    for start in range(0, len(metrics), PER_TABLE):
        part = metrics[start : start + PER_TABLE]
        table = Table(box=box.SIMPLE, pad_edge=False)
        table.add_column("", no_wrap=True)
        for metric in part:
            table.add_column(f"{metric['title']}, {metric['unit']}", justify="right")
            for other in (OLD, FLOOR):
                table.add_column(f"of {other}", justify="right")
        for subject in subjects:
            cells = []
            for metric in part:
                cells += [figure(metric, subject)]
                cells += [ratio(metric, subject, other) for other in (OLD, FLOOR)]
            if any(cell not in ("-", "") for cell in cells):
                table.add_row(subject, *cells, style="bold" if subject == THIS else "")
        yield table


def reasons(measurement: dict[str, Any], subjects: list[str]) -> Iterator[str]:
    """Say of each figure that is not there why it is not."""
    found: dict[str, list[str]] = {}
    for subject in subjects:
        for metric in measurement["metrics"]:
            why = metric["why_not"].get(subject)
            if why and subject not in found.setdefault(why, []):
                found[why].append(subject)
    for why, names in found.items():
        yield f"-  {', '.join(names)}: {why}"


def target_table(targets: list[dict[str, Any]], titles: dict[str, str]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("target", "to reach", "reached", ""):
        table.add_column(column, justify="left" if column in ("target", "") else "right")
    for target in targets:
        bound = f"{'at least' if target['at_least'] else 'at most'} {target['limit']:g}"
        reached = target["reached"]
        if reached is None:
            table.add_row(words(target, titles), bound, "-", "not measured", style="dim")
        else:
            word = "reached" if target["met"] else "NOT REACHED"
            table.add_row(words(target, titles), bound, f"{reached:g}", word)
    return table


def show(results: dict[str, Any], console: Console) -> None:
    def say(text: str) -> None:
        console.print(Text(text))

    rounds = f"{results['rounds']} rounds" if results["rounds"] > 1 else "1 round"
    say(f"Medians of {rounds}, lowest and highest in brackets; of {OLD}, of {FLOOR}: times that of it.")
    if results["quick"]:
        say("A quick run shows that all of it works; its figures mean little.")
    subjects = [subject for subject in SUBJECTS if subject not in results["absent"]]
    titles = {}
    for measurement in results["measurements"]:
        better = "more" if measurement["metrics"][0]["higher_is_better"] else "less"
        fewer = f", {measurement['rounds']} rounds" if measurement["rounds"] != results["rounds"] else ""
        say(f"\n{measurement['number']}. {measurement['title']} ({better} is better{fewer})")
        for table in tables(measurement, subjects):
            console.print(table)
        for line in reasons(measurement, subjects):
            say(line)
        titles.update({metric["key"]: title_of(metric, measurement) for metric in measurement["metrics"]})
    say("\nTargets, in this run on this machine")
    console.print(target_table(results["targets"], titles))
    say(f"machine: {results['machine']}")
    say("versions: " + ", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    for subject, why in results["absent"].items():
        say(f"not there: {subject}: {why}")
    for note in results["notes"]:
        say(f"note: {note}")
    for failure in results["failures"]:
        say(f"FAILED: {failure}")


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    console = Console(highlight=False)
    show(results, console if console.is_terminal else Console(highlight=False, width=WIDTH))


if __name__ == "__main__":
    main()
