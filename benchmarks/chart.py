"""The picture of compare.py: bars for the figures that matter most.

    python chart.py RESULTS.json RESULTS.svg

compare.py starts it with the interpreter of its environment, which has matplotlib.
The same figures give the same file.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

# The number of a measurement, and the first letters of a metric's key.
PANELS = [
    (1, "import"),
    (2, "lock"),
    (3, "launch"),
    (4, "p50"),
    (4, "p99"),
    (5, "senders"),
    (6, "stalled"),
    (7, "size"),
    (8, "memory"),
    (10, "killed"),
]
LAST_ONLY = ("stalled", "size")  # of these the last is what the others lead up to

TITLES = {
    "import": "Import, whole process",
    "lock": "Taking the lock",
    "launch": "A second launch",
    "p50": "Hand-off, p50",
    "p99": "Hand-off, p99",
    "senders": "Launches, {}",
    "stalled": "Launches beside {}",
    "size": "Hand-off of {}",
    "memory": "Memory, idle",
    "killed": "A killed host to the next",
}

COLORS = {"this": "#1f6fb2", "2.0.0": "#e08a1e", "floor": "#555555", "bare host": "#8c8c8c"}
OTHERS = "#9db4c4"
BACKGROUND = "white"  # for those who read it on black
COLUMNS = 3
PANEL_SIZE = (3.4, 2.2)  # inches
LOGARITHMIC_FROM = 20  # times the smallest, where the longest bar would hide the others
CAPTION_WIDTH = 150


def panels(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics to draw, with titles."""
    found = []
    for number, name in PANELS:
        metrics = [
            {**metric, "heading": TITLES[name].format(metric["title"])}
            for measurement in results["measurements"]
            for metric in measurement["metrics"]
            if measurement["number"] == number and metric["key"].split()[0] == name
        ]
        found += metrics[-1:] if name in LAST_ONLY else metrics
    return [metric for metric in found if any(metric["values"].values())]


def draw(axes: Any, metric: dict[str, Any]) -> None:
    values = metric["values"]
    medians = {subject: statistics.median(each) for subject, each in values.items() if each}
    shown = [each for each in medians.values() if each > 0]
    if shown and max(shown) > LOGARITHMIC_FROM * min(shown):
        axes.set_xscale("log")
        axes.set_xlim(min(shown) / 3, max(max(each) for each in values.values() if each) * 5)
    else:
        axes.set_xlim(0, max(max(max(each) for each in values.values() if each) * 1.3, 0.1))
    for row, (subject, each) in enumerate(values.items()):
        if not each:
            axes.text(0.01, row, "-", transform=axes.get_yaxis_transform(), va="center")
            continue
        median = medians[subject]
        spread = [[median - min(each)], [max(each) - median]]
        axes.barh(row, median, color=COLORS.get(subject, OTHERS), xerr=spread, ecolor="black", height=0.7)
        lost = metric["lost"].get(subject)
        text = f"{median:,.3g}" if abs(median) < 100 else f"{median:,.0f}"
        text += f", {lost} lost" if lost else ""
        axes.annotate(text, (max(each), row), (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.xaxis.set_visible(False)  # the figures are beside the bars; half of the file would be ticks
    axes.tick_params(axis="y", left=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    better = "higher" if metric["higher_is_better"] else "lower"
    scale = ", log" if axes.get_xscale() == "log" else ""
    axes.set_title(
        f"{metric['heading']}\n{metric['unit']}{scale}; {better} is better", fontsize=9, loc="left"
    )


def caption(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    rounds = f"Median of {results['rounds']} rounds of one run; whiskers: lowest and highest; -: it cannot."
    quick = " A quick run: its figures mean little." * results["quick"]
    lines = [rounds + quick, results["machine"], versions]
    return "\n".join(textwrap.fill(line, CAPTION_WIDTH) for line in lines)


def main() -> None:
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        results = json.load(file)
    # What would otherwise differ from one drawing to the next: names of elements, and the date.
    mpl.rcParams["svg.hashsalt"] = "compare"
    chosen = panels(results)
    rows = max(-(-len(chosen) // COLUMNS), 1)
    width, height = PANEL_SIZE
    figure, grid = plt.subplots(
        rows,
        COLUMNS,
        figsize=(COLUMNS * width, rows * height + 0.9),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    names = list(chosen[0]["values"]) if chosen else []
    grid[0][0].set_yticks(range(len(names)), names)  # of all, and shown in the first column
    grid[0][0].invert_yaxis()
    figure.set_facecolor(BACKGROUND)
    for axes, metric in zip(grid.flat, chosen):
        draw(axes, metric)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    figure.supxlabel(caption(results), fontsize=7, x=0.01, ha="left")
    figure.savefig(target, format="svg", metadata={"Date": None}, facecolor=BACKGROUND)


if __name__ == "__main__":
    main()
