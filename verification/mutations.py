"""Makes mistakes in copies of the package on purpose; each of them has to be found.

    python -m verification.mutations [--seconds 120] [--seed 7] [--sample 4] [NAME ...]

The soak finds most of them, and a test class those that the soak cannot see. If a change no longer fits the
code, nothing is run, and the exit status is 2: then rewrite the change.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src", "Socket_Singleton")

# Seconds that the soak may still need when its time is over.
END_TIME = 60.0

# Seconds for the tests of a class: with a mistake, the first that fails may wait for its whole patience.
TEST_TIME = 180.0

TESTS = "tests."


# For each mistake: the soak's message when it finds it, or the tests that find what the soak cannot see; and
# the changes that make it: a file, a text that occurs in it once, and its replacement.
MUTATIONS = {
    # A launch is acknowledged although it is not owned.
    "acknowledged-before-owned": (
        "acknowledged before it was owned",
        (
            "_host/host.py",
            """\
        if wanted and not self._delivery.take_in(entry):
            self._drop(peer)  # there is no room: it asks again
            return
        try:
            self._count_client(""",
            "        try:\n            self._count_client(",
        ),
        (
            "_host/host.py",
            "        entry.acknowledged = True\n",
            """\
        if wanted and not self._delivery.take_in(entry):
            self._drop(peer)
            return
        entry.acknowledged = True
""",
        ),
    ),
    # An observer gets a launch that may never be acknowledged, and then goes to the next host.
    "handed-out-before-acknowledged": (
        "delivered twice",
        (
            "_host/host.py",
            "            self._acknowledge(peer)\n",
            """\
            entry.acknowledged = True
            self._delivery.hand_out()
            self._acknowledge(peer)
""",
        ),
    ),
    # A killed or released host looks like one that took the launch without acknowledging it.
    # On Linux, where the soak runs, peers inherit the option from the listener.
    "orderly-end-for-reset": (
        "an orderly end without an answer",
        ("_client.py", "                _system.close_resets(listener)\n", ""),
    ),
    # A host that was merely late gets the launch twice.
    "asks-again-after-silence": (
        "delivered twice|host, and delivered",
        (
            "_client.py",
            "left = _left(deadline)\n",
            "left = min(_left(deadline), 0.4)\n",
        ),
        (
            "_client.py",
            "_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED)",
            "_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED, Answer.SILENT)",
        ),
    ),
    # The end of a line overtakes its beginning.
    "lines-in-pieces": (
        "noise on stderr",
        ("_host/streams.py", "if begun is None and ends:", "if ends:"),
    ),
    # What is written to stdout appears on stderr.
    "stderr-for-stdout": (
        "noise on stderr",
        (
            "_host/launch.py",
            "{STDOUT: Stream(reply, STDOUT), STDERR: Stream(reply, STDERR)}",
            "{STDOUT: Stream(reply, STDERR), STDERR: Stream(reply, STDOUT)}",
        ),
    ),
    # The answer overtakes waiting output.
    "answer-before-output": (
        "noise on stderr",
        (
            "_host/replies.py",
            "            self._queue.append(answer)  #",
            "            self._queue.appendleft(answer)  #",
        ),
    ),
    # Output and the answer after it become one.
    "output-in-the-answer": (
        "noise on stderr|a strange status",
        ("_host/replies.py", "if kind != last and bodies:", "if kind == STDERR != last and bodies:"),
    ),
    # What cannot be sent to a launch at once is lost.
    "half-sent": (
        "tests.TestLaunchesThatDoNotRead",
        ("_host/host.py", "peer.outgoing[sent:]", "peer.outgoing[:0]"),
    ),
    # A release ends the connections of launches whose observers are running.
    "released-before-answered": (
        "left without an answer by an observer",
        (
            "_host/host.py",
            "if not (peer.reply.may_be_answered or peer.outgoing or peer.ends):",
            "if not peer.ends:",
        ),
    ),
    # Launches whose observers have not begun go on waiting after the host has released.
    "never-let-go": (
        "a thread outlives release",
        ("_host/host.py", "if not (peer.reply.may_be_answered or peer.outgoing or peer.ends):", "if False:"),
    ),
    # The I/O thread ends with the port, even if launches wait for an answer.
    "nobody-drains": (
        "left without an answer by an observer",
        ("_host/host.py", "            self._drain()\n", ""),
    ),
    # A launch that was cut off takes that for the end of its host.
    "cut-off-without-a-word": (
        "tests.TestLaunchesThatDoNotRead",
        ("_host/replies.py", 'return b"".join(frame(CUT, [])), True', 'return b"", True'),
    ),
    # When its time limit is over, a launch says that the host has gone.
    "late-is-lost": (
        "tests.TestLimitOfTheWait",
        ("_client.py", "(Answer.LATE if late else Answer.LOST)", "Answer.LOST"),
    ),
    # A relay between two networks can read everything.
    "one-place-in-all-networks": (
        "tests.TestProof",
        ("_proof.py", 'place + b" " + network if network and is_loopback else place', "place"),
    ),
}


def misfits(name: str) -> list[str]:
    """Return the changes of a mutation that do not fit the code."""
    stale = []
    for file, old, _ in MUTATIONS[name][1:]:
        path = ROOT / PACKAGE / file
        if not path.exists() or path.read_text(encoding="utf-8").count(old) != 1:
            stale.append(f"{name}: STALE, not once in {file}:\n{old}")
    return stale


@contextlib.contextmanager
def copied(name: str = "") -> Iterator[Path]:
    """Make a copy of what is needed, with that mistake if one is named."""
    with tempfile.TemporaryDirectory(prefix="mutation") as folder:
        copy = Path(folder)
        for part in ("src", "verification", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in MUTATIONS[name][1:] if name else ():
            path = copy / PACKAGE / file
            path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        yield copy


def run(copy: Path, *words: str, timeout: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=copy, check=False, capture_output=True, text=True, timeout=timeout)


def soak(copy: Path, seen: str, seconds: float, seed: int) -> str:
    """Run the soak there until it reports what is ``seen``; return all of its reports, or nothing."""
    options = ["--seconds", str(seconds), "--seed", str(seed), "--until-violation", seen]
    done = run(copy, "verification.soak", *options, timeout=seconds + END_TIME)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the soak ended with status {done.returncode}\n{done.stderr}")
    found = re.findall(r"^VIOLATION round \S+ ([^:]+)", done.stdout, re.MULTILINE)
    if not any(re.match(seen, what) for what in found):
        return ""
    return ", ".join(f"{found.count(what)} x {what}" for what in dict.fromkeys(found))


def test(copy: Path, *names: str) -> str:
    """Return the name of the first test that fails there."""
    done = run(copy, "unittest", "--failfast", *names, timeout=TEST_TIME * len(names))
    failed = re.search(r"^(?:FAIL|ERROR): (\w+)", done.stderr, re.MULTILINE)
    return failed.group(1) if failed else (f"status {done.returncode}" if done.returncode else "")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verification.mutations",
        description="Make mistakes in copies of the package, and see that each is found.",
        epilog="Exit status: 0, 1 if one was not found, 2 if one does not fit the code.",
    )
    parser.add_argument("--seconds", type=float, default=120, help="for each, at most (120)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="drawn if not given")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, drawn at random by the seed")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTATIONS))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    names = options.names or list(MUTATIONS)
    unknown = set(names) - set(MUTATIONS)
    if unknown:
        parser.error(f"no such mutation: {', '.join(unknown)}")
    stale = [text for name in names for text in misfits(name)]
    if stale:
        print(*stale, sep="\n")
        return 2
    if options.sample is not None:
        names = random.Random(options.seed).sample(names, min(options.sample, len(names)))
    # Tests that fail anyway would seem to find everything.
    tests = [MUTATIONS[name][0] for name in names if MUTATIONS[name][0].startswith(TESTS)]
    with copied() as copy:
        failed = test(copy, *tests) if tests else ""
    if failed:
        print(f"without any mistake, this fails: {failed}")
        return 2
    status = 0
    for name in names:
        began, seen = time.monotonic(), MUTATIONS[name][0]
        with copied(name) as copy:
            found = test(copy, seen) if seen in tests else soak(copy, seen, options.seconds, options.seed)
        print(f"{name}: {found or 'NOT FOUND'} ({time.monotonic() - began:.0f} s)", flush=True)
        status |= not found
    return status


if __name__ == "__main__":
    sys.exit(main())
