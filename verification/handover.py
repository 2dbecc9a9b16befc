"""Has SPIN go through every order of events in `handover.pml`, and find the error in each of its mutations.

    python verification/handover.py             # needs spin and a C compiler (Debian: spin, gcc)
    python verification/handover.py --kills 2   # deeper: minutes, and gigabytes of memory

The model without a mutation must hold. Each mutation is a mistake that the
hand-over could make; if SPIN finds no error in one, the model proves nothing.
Each step of the model names the function of src that it stands for, behind
"src:"; one that is gone is an error as well.

The exit status is 0 if all is so, else 1.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE / "handover.pml"
MUTATIONS = ("ACK_BEFORE_QUEUE", "HAND_OUT_BEFORE_ANSWER", "ORDERLY_END", "ASK_AGAIN_AFTER_SILENCE")

# Steps in a row that are searched; SPIN says so if it is too few. The longest have about 200.
DEPTH = 100_000

# Seconds for one search. The model with one kill takes 2 to 4 minutes.
PATIENCE = 1800


def missing_functions() -> list[str]:
    """Return the functions that the model names and src does not have."""
    sys.path.insert(0, str(HERE.parent / "src"))
    missing = []
    names = re.findall(r"src: (_\w+)\.([\w.]*\w)", MODEL.read_text(encoding="utf-8"))
    if not names:
        return ["(it names none)"]
    for module, path in names:
        try:
            value = importlib.import_module(f"Socket_Singleton.{module}")
            for name in path.split("."):
                value = getattr(value, name)
        except (ImportError, AttributeError):
            missing.append(f"{module}.{path}")
    return sorted(set(missing))


def search(kills: int, *macros: str) -> tuple[str, str]:
    """Return the first error that SPIN finds, "" if there is none, and how much it went through."""
    with tempfile.TemporaryDirectory() as folder:

        def call(*command: str) -> str:
            done = subprocess.run(
                command,
                check=False,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
            )
            output = done.stdout.decode()
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{output}")
            return output

        shutil.copy(str(MODEL), folder)
        call("spin", f"-DKILLS={kills}", *(f"-D{macro}" for macro in macros), "-a", MODEL.name)
        call("cc", "-O2", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=12000", "-o", "pan", "pan.c")
        output = call("./pan", f"-m{DEPTH}")
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"([\d.e+]+) states, stored", output)
    if not errors or not states:
        raise SystemExit(f"the search did not end:\n{output}")
    cut = re.search("too small|memory limit|Search not completed", output)
    if cut and errors.group(1) == "0":
        raise SystemExit(f"the search was not complete:\n{output}")
    found = re.search(r"^pan:\d+: (.*)", output, re.MULTILINE)
    return found.group(1) if found else "", f"{float(states.group(1)):,.0f} states"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1, metavar="N", help="processes that are killed (1)")
    given = parser.parse_args()
    bad = 0
    for name in missing_functions():
        print(f"src has no {name}, which a step of the model stands for")
        bad += 1
    for tool in ("spin", "cc"):
        if not shutil.which(tool):
            print(f"{tool} is needed (Debian: apt-get install spin gcc libc6-dev)")
            return 1
    for macros in ((), *((mutation,) for mutation in MUTATIONS)):
        began = time.monotonic()
        error, states = search(given.kills, *macros)
        wrong = bool(error) != bool(macros)
        bad += wrong
        print(
            f"{'WRONG' if wrong else 'as it must be'}: {' '.join(macros) or 'the model'}:"
            f" {error or 'no error'} ({states}, {time.monotonic() - began:.1f} s)",
            flush=True,
        )
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
