"""The soak, judged: mistakes are made in copies of the package, and the soak must find each.

    python -m verification.mutations [--seconds 60] [--seed 7] [NAME ...]

A mutation is a list of `Change`: a file, a text that is in it once, and what takes its
place. Where the text is not there (the code was rewritten) this says so and ends with
status 2; then the change is to be written anew for the code as it is.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src", "Socket_Singleton")

# Seconds for what the soak still has to do when its time is over.
END_TIME = 60.0


class Change(NamedTuple):
    """One replacement in one file of the package."""

    file: str
    old: str
    new: str


MUTATIONS: dict[str, list[Change]] = {
    # A launch is told that it is owned when it is not.
    "told-before-owned": [
        Change(
            "_host.py",
            """\
        if wanted and not self._take_in(peer, launch):
            return
        try:
            self._count_client(""",
            """\
        try:
            self._count_client(""",
        ),
        Change(
            "_host.py",
            """\
        if peer.talk.asks:
            self._end_stream(""",
            """\
        if wanted and not self._take_in(peer, launch):
            return
        if peer.talk.asks:
            self._end_stream(""",
        ),
    ],
    # An observer has a launch that may not be told any more, and goes to the next host.
    "handed-out-before-told": [
        Change(
            "_host.py",
            """\
            self._acknowledge(peer)
""",
            """\
            self._delivery.hand_out()
            self._acknowledge(peer)
""",
        ),
    ],
    # A killed or released host looks like one that took the launch and did not say so.
    "orderly-end-for-reset": [
        # On Linux, where the soak runs, the peers of a listener inherit it.
        Change("_client.py", "                _platform.close_resets(listener)\n", ""),
    ],
    # A host that was only late gets the launch twice.
    "asks-again-after-silence": [
        Change(
            "_client.py",
            """\
        left = _left(deadline)
        sock.settimeout(left)
        try:
            if is_long:
                _platform.wait_to_receive(sock, left)
            return sock.recv(_READ_SIZE)
        except sockets.timeout:
            if time.monotonic() >= deadline:
                raise
""",
            """\
        sock.settimeout(min(_left(deadline), 0.4))
        return sock.recv(_READ_SIZE)
""",
        ),
        Change(
            "_client.py",
            "_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED)",
            "_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED, Answer.SILENT)",
        ),
    ],
}


class Stale(Exception):
    """A change does not fit the code."""


def mutate(copy: Path, changes: list[Change]) -> None:
    """Copy what the soak needs to ``copy``, and make ``changes`` there."""
    for part in (PACKAGE, Path("verification")):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes:
        path = copy / PACKAGE / change.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.count(change.old) != 1:
            raise Stale(f"not once in {change.file}:\n{change.old}")
        path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def soak(copy: Path, seconds: float, seed: int) -> str:
    """Run the soak there until it finds something; return what that is, or nothing."""
    options = ["--seconds", str(seconds), "--seed", str(seed), "--until-violation"]
    command = [sys.executable, "-m", "verification.soak", *options]
    done = subprocess.run(
        command, cwd=copy, check=False, capture_output=True, text=True, timeout=seconds + END_TIME
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the soak ended with status {done.returncode}\n{done.stderr}")
    found = re.findall(r"^VIOLATION round \S+ ([^:]+)", done.stdout, re.MULTILINE)
    return ", ".join(f"{found.count(what)} x {what}" for what in dict.fromkeys(found))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verification.mutations",
        description="Make mistakes in copies of the package, and see that the soak finds each.",
        epilog="Exit status: 0, 1 if one was not found, 2 if one does not fit the code.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="for each, at most (60)")
    parser.add_argument("--seed", type=int, help="any whole number; drawn and printed if not given")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTATIONS))
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(MUTATIONS))
    if unknown:
        parser.error(f"no such mutation: {', '.join(unknown)}")
    seed = random.randrange(10**6) if options.seed is None else options.seed
    status = 0
    for name in options.names or MUTATIONS:
        with tempfile.TemporaryDirectory(prefix="mutation") as folder:
            try:
                mutate(Path(folder), MUTATIONS[name])
            except Stale as error:
                print(f"{name}: STALE, {error}", flush=True)
                status = 2
                continue
            begin = time.monotonic()
            found = soak(Path(folder), options.seconds, seed)
        took = time.monotonic() - begin
        print(f"{name}: {found or 'NOT FOUND'} ({took:.0f} s, seed {seed})", flush=True)
        status = status or int(not found)
    return status


if __name__ == "__main__":
    sys.exit(main())
