"""Runs SPIN over every order of events in `handover.pml`, and checks that it finds each mutation's error.

    python verification/handover.py             # needs spin and a C compiler (Debian: spin, gcc)
    python verification/handover.py --deep      # three launches and a kill: more than 6 GB of memory

Launches without a name, and with one. The model without a mutation must be correct, with
two launches and a kill, and with three launches. Each mutation is a mistake that the
hand-over could make; if SPIN finds no error in one, the model proves nothing.
Each step of the model names, after "src:", the function in src that it stands for; if
such a function no longer exists, that is an error as well.

The exit status is 0 if everything is as it should be, otherwise 1.
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
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE / "handover.pml"
MUTATIONS = ("ACK_BEFORE_QUEUE", "HAND_OUT_BEFORE_ANSWER", "ORDERLY_END", "ASK_AGAIN_AFTER_SILENCE")

# Consecutive steps that are searched; SPIN reports if that is too few. The longest have about 200.
DEPTH = 100_000

# The numbers of launches and killed processes. More at once takes minutes. Each search shows what the other
# cannot: a third launch can come between two, and a kill can end anything anywhere.
BOUNDS = ((2, 1), (3, 0))
DEEP = ((3, 1),)

# Seconds for one search. A deep one takes minutes.
PATIENCE = 1800


def missing_functions(model: Path = MODEL) -> list[str]:
    """Return the functions that the model names but src does not have."""
    sys.path.insert(0, str(HERE.parent / "src"))
    missing = []
    names = re.findall(r"src: (_\w+)\.([\w.]*\w)", model.read_text(encoding="utf-8"))
    if not names:
        return ["(it names none)"]
    for module, path in names:
        try:
            value = importlib.import_module(f"Socket_Singleton.{module}")
            for name in path.split("."):
                if isinstance(value, types.ModuleType) and not hasattr(value, name):
                    importlib.import_module(f"{value.__name__}.{name}")
                value = getattr(value, name)
        except (ImportError, AttributeError):
            missing.append(f"{module}.{path}")
    return sorted(set(missing))


def search(launches: int, kills: int, *macros: str) -> tuple[str, str]:
    """Return the first error that SPIN finds, or "", and how much it has searched."""
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
        macros = (f"LAUNCHES={launches}", f"KILLS={kills}", *macros)
        call("spin", *(f"-D{macro}" for macro in macros), "-a", MODEL.name)
        # A mutation is found sooner than a compiler optimizes. Compressed states need half the memory, but
        # half as much time again.
        options = ["-O0" if set(macros) & set(MUTATIONS) else "-O2"]
        options += ["-DCOLLAPSE"] if (launches, kills) in DEEP else []
        call("cc", *options, "-DSAFETY", "-DNOFAIR", "-DMEMLIM=12000", "-o", "pan", "pan.c")
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
    parser.add_argument("--deep", action="store_true", help="three launches and a kill, and no mutations")
    given = parser.parse_args()
    missing = missing_functions()
    for name in missing:
        print(f"src has no {name}, which a step of the model stands for")
    for tool in ("spin", "cc"):
        if not shutil.which(tool):
            print(f"{tool} is needed (Debian: apt-get install spin gcc libc6-dev)")
            return 1
    wrong = False
    for named in ((), ("NAMED",)):
        for launches, kills in DEEP if given.deep else BOUNDS:
            wrong |= not check(launches, kills, named, None)
        for mutation in () if given.deep else MUTATIONS:
            wrong |= not check(*BOUNDS[0], named, mutation)
    return int(bool(missing) or wrong)


def check(launches: int, kills: int, named: tuple[str, ...], mutation: str | None) -> bool:
    """Search, and print the result; return whether it is as it should be."""
    began = time.monotonic()
    error, states = search(launches, kills, *named, *([mutation] if mutation else []))
    right = bool(error) == bool(mutation)
    print(
        f"{'as it must be' if right else 'WRONG'}: {'with' if named else 'without'} a name,"
        f" {launches} launches, {kills} killed, {mutation or 'no mutation'}:"
        f" {error or 'no error'} ({states}, {time.monotonic() - began:.1f} s)",
        flush=True,
    )
    return right


if __name__ == "__main__":
    sys.exit(main())
