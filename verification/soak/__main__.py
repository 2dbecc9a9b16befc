"""The program: round after round, and the sum of them."""

from __future__ import annotations

import argparse
import collections
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Iterator

from .actors import ROOT
from .rounds import Round, try_port
from .schedule import NAME, SECRET, Setting
from .series import LONGEST_ROUND, SeriesRound

ADDRESS = "127.0.0.1"
SHOWN = 20  # violations, in words
PROGRESS = 10.0  # seconds
KINDS_OF_ROUNDS = 8  # with a name, with a secret, rough or long
START_TIME = 30.0  # for an interpreter to start and end


class Soak:
    """Round after round, and the totals."""

    def __init__(self, options: argparse.Namespace, port: int, folder: str) -> None:
        self.counts: dict[str, int] = collections.defaultdict(int)
        self.violations: list[str] = []
        self._seed = options.seed
        self._port = port
        self._folder = folder
        self._sought: str | None = options.until_violation  # a pattern
        self._found = False
        self._start = time.monotonic()
        self._launches: int = options.launches  # in series; 0: any number, each a process
        self._end = float("inf") if self._launches else self._start + options.seconds
        self._next_report = self._start + PROGRESS

    def run(self) -> None:
        number = 0
        while self._goes_on() and not self._found:
            setting = self._setting(number)
            this = self._new_round(setting, number)
            try:
                this.run(self._end)
            finally:
                this.end()
            for violation in this.judge(self.counts):
                found = self._sought is not None and re.match(rf"round \S+ (?:{self._sought})", violation)
                if found or len(self.violations) < SHOWN:
                    print(f"VIOLATION {violation}", flush=True)
                self._found |= bool(found)
                self.violations.append(violation)
            if os.path.exists(setting.log):
                os.unlink(setting.log)
            number += 1
            self.counts["rounds"] = number

    def _goes_on(self) -> bool:
        if self._launches:
            return self.counts["launch"] < self._launches and len(self.violations) < SHOWN
        return time.monotonic() < self._end

    def _new_round(self, setting: Setting, number: int) -> Round:
        if not self._launches:
            return Round(setting, self._report)
        left = self._launches - self.counts["launch"]
        most = min(LONGEST_ROUND, self._launches // KINDS_OF_ROUNDS + 1)
        return SeriesRound(setting, self._report, min(left, most), long=bool(number & 1))

    def _setting(self, number: int) -> Setting:
        """Return the setting of a round; each of 8 successive rounds has a different one."""
        secret = SECRET if number + 2 & 4 else ""
        name, address, port = "", ADDRESS, self._port
        if number + 1 & 2:
            name = f"{NAME}.{self._port}"
            address, port = endpoint_of(name, secret)
        rough = not number & 1
        return Setting(f"{self._seed}/{number}", self._folder, address, port, name, secret, rough)

    def _report(self) -> None:
        if time.monotonic() >= self._next_report:
            self._next_report += PROGRESS
            names = ["rounds", *(["launch"] if self._launches else []), "hosts", "delivered"]
            counts = ", ".join(f"{self.counts[name]} {name}" for name in names)
            print(
                f"{time.monotonic() - self._start:5.0f} s: {counts}, {len(self.violations)} violations",
                flush=True,
            )

    def _check_sums(self) -> Iterator[str]:
        """Yield violations that no single launch can show."""
        if self.counts["rounds"] and not (self.counts["hosts"] and self.counts["delivered"]):
            yield "nothing happened: without hosts and deliveries nothing was checked"
        long = self.counts["launch"] >= KINDS_OF_ROUNDS * LONGEST_ROUND
        if long and not self.counts["memory: hosts measured"]:
            yield "memory was not measured: no host took enough launches"

    def verdict(self) -> int:
        """Print the totals and what they mean; return the exit status."""
        for name, count in sorted(self.counts.items()):
            print(f"{count:8d} {name}")
        for violation in self._check_sums():
            print(f"VIOLATION {violation}")
            self.violations.append(violation)
        found = len(self.violations)
        words = f"{found} violation{'s' * (found > 1)}" if found else "no violation"
        print(f"verdict: {words} (seed {self._seed})", flush=True)
        return int(found > 0)


def endpoint_of(name: str, secret: str) -> tuple[str, int]:
    """Return the address and port that follow from ``name``: those of a host that ends at once."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from Socket_Singleton import Socket_Singleton\n"
        "app = Socket_Singleton(name=sys.argv[1], secret=sys.argv[2])\n"
        "print(app.address, app.port)"
    )
    command = [sys.executable, "-c", code, name, secret]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=START_TIME)
    address, port = done.stdout.split()
    return address, int(port)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m verification.soak",
        description="Launches, hosts, kills and bad peers at random against one port; Linux only.",
        epilog="With the same seed the same events follow each other. When they happen, and so what comes"
        " of them, differs from run to run. Exit status: 0, 1 after a violation, 2 if it cannot run.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long to start new processes (60)")
    parser.add_argument(
        "--launches", type=int, default=0, help="this many, in series; --seconds is then ignored"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="drawn if not given")
    parser.add_argument(
        "--until-violation",
        nargs="?",
        const="",
        metavar="PATTERN",
        help="end after the round of the first one, or of the first one that begins like this",
    )
    options = parser.parse_args()
    if options.launches < 0:
        parser.error("--launches is a number of them")
    if sys.platform != "linux":
        print("the soak needs Linux", file=sys.stderr)
        return 2
    port = 0
    while not port or try_port(ADDRESS, port):
        port = random.randrange(10_000, 32_000)  # below those of outgoing connections
    how_long = f"{options.launches} launches" if options.launches else f"{options.seconds:g} s"
    print(f"soak: seed {options.seed}, port {port}, {how_long}, Python {sys.version.split()[0]}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # for sigtimedwait
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        os.environ["HOME"] = folder  # where a host with a name may store a key
        soak = Soak(options, port, folder)
        try:
            soak.run()
        except KeyboardInterrupt:
            print("interrupted; the following is about the rounds before", flush=True)
            return soak.verdict() or 130
        return soak.verdict()


if __name__ == "__main__":
    sys.exit(main())
