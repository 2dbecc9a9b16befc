"""The picture of a comparison: bars for the figures that matter most, first what a person notices.

    python -m benchmarks.picture RESULTS.json RESULTS.svg

With the interpreter that draws. The same figures give the same file. It is small, since it is
kept with the code: bars of one color are one path, numbers have one digit behind the point, and
what a reader cannot see is left out.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import textwrap
from pathlib import Path as FilePath
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from .subjects import BARE, FLOOR, OLD, PYTHON, SUBJECTS, THIS

# The first letters of a metric's key, and what stands over its panel.
PANELS = {
    "observed": "Start to observer",
    "launch": "A second launch, start to end",
    "first launch": "A first launch, which ends at once",
    "import": "Import, whole process",
    "status": "python -m Socket_Singleton status",
    "run": "python -m Socket_Singleton run -- true",
    "p50": "Hand-off, p50",
    "p99": "Hand-off, p99",
    "senders": "Launches, {}",
    "stalled": "Launches beside {}",
    "size": "Hand-off of {}",
    "first lock": "Taking the lock, {}",
    "lock": "Taking the lock, {}",
    "memory": "Memory of an idle host",
    "killed": "A killed host to the next",
}
LAST_ONLY = ("stalled", "size")  # of these the last is what the others lead up to
IDLE = "memory"  # a key of its own; "memory 1" and so on are of the growth

COLORS = {THIS: "#1f6fb2", OLD: "#e08a1e", FLOOR: "#555555", BARE: "#8c8c8c", PYTHON: "#c0c0c0"}
OTHERS = "#9db4c4"
BACKGROUND = "white"  # for those who read it on black
COLUMNS = 3
PANEL_SIZE = (3.4, 2.1)  # inches
FAMILY = "DejaVu Sans, sans-serif"
BAR = 0.35  # half of its height
LOGARITHMIC_FROM = 20  # times the smallest, where the longest bar would hide the others
CAPTION_WIDTH = 150
SHOWN_TARGETS = 2  # over a panel; all are in the table

SVG = "http://www.w3.org/2000/svg"
# Where a bar ends is seen to a tenth of a point.
NUMBER = re.compile(r"-?\d+\.\d+")
# What is said of each text, and can be said once; and a turn by nothing.
FONT = re.compile(r";? ?font-family: [^;]*")
NO_TURN = re.compile(r"rotate\(-?0[ )].*")


def panels(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics to draw, with what stands over them."""
    metrics = [metric for measurement in results["measurements"] for metric in measurement["metrics"]]
    found = []
    for key, heading in PANELS.items():
        of_key = [m for m in metrics if m["key"] == key or re.fullmatch(rf"{key} [\d.]+", m["key"])]
        if key == IDLE:
            of_key = [m for m in of_key if m["key"] == key]
        for metric in of_key[-1:] if key in LAST_ONLY else of_key:
            text = heading.format(metric["title"])
            text += f", {metric['title']}" if key == "launch" and metric["key"] != key else ""
            goals = [
                t for t in results["targets"] if t["metric"] == metric["key"] and t["reached"] is not None
            ]
            found.append({**metric, "heading": text, "goals": goals[:SHOWN_TARGETS]})
    return [metric for metric in found if any(metric["values"].values())]


def title(metric: dict[str, Any], logarithmic: bool) -> str:
    """Return what stands over a panel: what it is, its unit, and what is to be reached."""
    better = "more" if metric["higher_is_better"] else "less"
    lines = [metric["heading"], f"{metric['unit']}{', log' * logarithmic}; {better} is better"]
    goals = []
    for goal in metric["goals"]:
        subject = "" if goal["subject"] == THIS else f"{goal['subject']}: "
        of = f"{'of ' * goal['ratio']}{goal['of']}"
        bound = f"{'≥' if goal['at_least'] else '≤'} {goal['limit']:g}"
        goals.append(f"{subject}{goal['reached']:g} {of} (to reach: {bound})")
    return "\n".join([*lines, *goals])


def draw(axes: Any, metric: dict[str, Any], names: list[str]) -> None:
    values = {row: metric["values"][name] for row, name in enumerate(names) if metric["values"].get(name)}
    medians = {row: statistics.median(each) for row, each in values.items()}
    shown = [each for each in medians.values() if each > 0]
    logarithmic = bool(shown) and max(shown) > LOGARITHMIC_FROM * min(shown)
    highest = max(max(each) for each in values.values())
    left = min(shown) / 3 if logarithmic else 0.0
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlim(left, highest * 5 if logarithmic else max(highest * 1.3, 0.1))
    bars: dict[str, list[Path]] = {}
    whiskers: list[tuple[float, float]] = []
    codes: list[Any] = []
    for row, each in values.items():
        corners = [(left, row - BAR), (medians[row], row - BAR), (medians[row], row + BAR), (left, row + BAR)]
        bars.setdefault(COLORS.get(names[row], OTHERS), []).append(Path([*corners, corners[0]], closed=True))
        if max(each) > min(each):
            whiskers += [(max(min(each), left), row), (max(each), row)]
            codes += [Path.MOVETO, Path.LINETO]
        axes.annotate(
            text_of(metric, names[row]),
            (max(each), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    for color, paths in bars.items():
        axes.add_patch(PathPatch(Path.make_compound_path(*paths), facecolor=color, linewidth=0))
    if whiskers:
        axes.add_patch(PathPatch(Path(whiskers, codes), facecolor="none", edgecolor="black"))
    axes.xaxis.set_visible(False)  # the figures are beside the bars; half of the file would be ticks
    axes.tick_params(axis="y", left=False, labelsize=8)
    axes.patch.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(title(metric, logarithmic), fontsize=8, loc="left")


def text_of(metric: dict[str, Any], name: str) -> str:
    median = statistics.median(metric["values"][name])
    lost = metric["lost"].get(name)
    text = f"{median:,.3g}" if abs(median) < 100 else f"{median:,.0f}"
    return text + (f", {lost} lost" if lost else "")


def caption(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    count = f"{results['rounds']} round{'s' * (results['rounds'] > 1)}"
    rounds = f"Median of {count} of one run; lines: lowest to highest; no bar: it cannot."
    quick = " A quick run: its figures mean little." * results["quick"]
    lines = [rounds + quick, results["machine"], versions]
    return "\n".join(textwrap.fill(line, CAPTION_WIDTH) for line in lines)


def picture(results: dict[str, Any]) -> Any:
    chosen = panels(results)
    drawn = {name for metric in chosen for name, each in metric["values"].items() if each}
    names = [name for name in SUBJECTS if name in drawn]
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
    grid[0][0].set_yticks(range(len(names)), names)  # of all, and shown in the first column
    grid[0][0].set_ylim(len(names) - 0.5, -0.5)
    figure.set_facecolor(BACKGROUND)
    for axes, metric in zip(grid.flat, chosen):
        draw(axes, metric, names)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    figure.supxlabel(caption(results), fontsize=7, x=0.01, ha="left")
    return figure


def small(svg: str) -> str:
    """Return the same picture without what nobody sees, an element on each line."""
    ET.register_namespace("", SVG)
    root = ET.fromstring(svg)
    for tag in ("metadata", "defs"):
        for child in root.findall(f"{{{SVG}}}{tag}"):
            root.remove(child)
    used = {value for each in root.iter() for key, value in each.items() if key.endswith("href")}
    flatten(root, used)
    for element in root.iter():
        element.text = (element.text or "").strip() or None
        element.tail = "\n"
        for key, value in list(element.items()):
            if key in ("id", "clip-path", "version") and f"#{value}" not in used:
                del element.attrib[key]
            elif key not in ("viewBox", "width", "height"):
                element.set(key, shortened(value))
        if NO_TURN.match(element.get("transform", "")):
            del element.attrib["transform"]
    root.set("font-family", FAMILY)
    root.text = "\n"
    return ET.tostring(root, encoding="unicode").strip() + "\n"


def shortened(value: str) -> str:
    rounded = NUMBER.sub(lambda found: f"{float(found[0]):.1f}".replace(".0", ""), FONT.sub("", value))
    return " ".join(rounded.split())


def flatten(element: ET.Element, used: set[str]) -> None:
    """Put what is in groups in their place, and leave out definitions that nothing uses."""
    children = list(element)
    for child in children:
        element.remove(child)
    for child in children:
        flatten(child, used)
        plain = child.tag == f"{{{SVG}}}g" and not set(child.attrib) - {"id"}
        if plain:
            element.extend(child)
        elif child.tag != f"{{{SVG}}}defs":
            element.append(child)


def main() -> None:
    source, target = sys.argv[1:]
    results = json.loads(FilePath(source).read_text(encoding="utf-8"))
    # Names of elements would otherwise differ from one drawing to the next. Text stays text.
    mpl.rcParams.update({"svg.hashsalt": "compare", "svg.fonttype": "none"})
    path = FilePath(target)
    picture(results).savefig(path, format="svg", metadata={"Date": None}, facecolor=BACKGROUND)
    path.write_text(small(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
