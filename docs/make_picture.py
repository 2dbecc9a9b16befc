"""Draws quickstart.svg beside this file, which the README shows: two shells, in a real run of the quickstart.

    python docs/make_picture.py [FILE]

Needs rich. With FILE the picture is drawn there.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).resolve().parent
QUICKSTART = HERE.parent / "examples" / "quickstart.py"
PROMPT = "$ "
FRAME = 4  # characters beside a line of a shell
NUMBERS = ("first", "second")  # as the quickstart calls its launches


def run_quickstart() -> list[list[str]]:
    """Return the lines of each shell, as the quickstart reports them."""
    command = [sys.executable, str(QUICKSTART)]
    report = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    shells: list[list[str]] = []
    for line in report.splitlines():
        if line.startswith(PROMPT):
            shells.append([line])
        for shell, number in zip(shells, NUMBERS):
            said = re.match(rf"  the {number} launch prints: (.*)", line)
            if said:
                shell.append(said.group(1))
            elif re.match(rf"  the {number} launch exits with status 0 and prints nothing", line):
                shell.append(PROMPT)
        if line.startswith("(Enter"):
            break  # the picture is of the moment before
    if len(shells) != len(NUMBERS) or shells[1][-1] != PROMPT:
        sys.exit(f"{QUICKSTART.name} prints something else than it used to:\n{report}")
    return shells


def draw(shells: list[list[str]]) -> str:
    """Return the picture as SVG, which loads nothing from elsewhere."""
    titles = ("the first launch keeps running", "a second one hands over its arguments, and exits")
    widths = [max(len(title) + 2, *map(len, lines)) + FRAME for title, lines in zip(titles, shells)]
    console = Console(record=True, width=sum(widths), file=io.StringIO())
    height = 2 + max(map(len, shells))
    grid = Table.grid()
    grid.add_row(
        *(
            Panel(Text("\n".join(lines)), title=title, title_align="left", width=width, height=height)
            for title, lines, width in zip(titles, shells, widths)
        )
    )
    console.print(grid)
    picture = console.export_svg(title="two shells", unique_id="quickstart")
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "quickstart.svg"
    path.write_text(draw(run_quickstart()), encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
