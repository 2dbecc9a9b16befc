"""Compare Socket_Singleton with its released version, other libraries, and bare sockets.

    python benchmarks/compare.py                 # everything, in about half an hour
    python benchmarks/compare.py --quick         # a test that everything works; its figures mean little
    python benchmarks/compare.py --beside TREE   # also compare with another tree, such as an older commit
    python benchmarks/compare.py --only launch import --subjects this named 2.0.0 python

This needs Linux or macOS, any Python from 3.9 on that has venv, and PyPI. The last command takes two
minutes, and installs nothing but 2.0.0. A full run, on an idle machine, writes the tables that it prints to
results.md beside this file, and draws results.svg for the README.

The subjects:

- *this*: the package in src; *named*: the same with a name; *beside*: the package of another tree; *2.0.0*:
  the released version. The same code drives all of them.
- *python*: `python -c pass`, which is part of every figure of a whole process.
- *bare*: the least that a Python program has to do. It uses bare sockets, and its host serves many peers at
  once while its observer delays nobody. To import it is to import `socket`, or what a command line needs.
- filelock and tendo are locks, which hand nothing over. mp.connection is Listener and Client of
  multiprocessing, with an authkey, on a local socket. QLocalServer is that of PySide6, without a window.

A measurement takes its subjects in turn, each time in another random order, so that other programs on the
machine, and the contents of the caches, affect all of them alike. Figures and ratios are medians over the
rounds. Everything is measured on the newest CPython found, and whole processes also on the oldest one from
3.8 on, or on those that --python names.

How each figure is measured:

- launch, ask, import, status, run, first: whole processes, from `exec` to their exit; by the clock, and the
  CPU time that the system charges to the process, both user and system. *launch* is a second launch, and
  start to observer lasts until the host's observer is called. *ask* is a launch that waits for its answer.
  *status* runs `python -m Socket_Singleton status` beside a host, and *run* `run -- true` with a free port.
  *first* takes the lock and has nothing else to do. Bytecode has been compiled before.
- handoff: from right before the client's `connect` to the call of the observer, by the monotonic clock,
  which all processes share. One sender makes one launch per millisecond, if the subject is as fast as that.
- rate: from the moment when all senders start to the last call of the observer. A sender begins its next
  launch when the last one has been answered.
- stalled: the same with 4 senders, while there are connections that were opened just before and stay silent.
- size: the hand-off of one launch at a time, which consists of words of 1,000 bytes, and is compared with
  what was sent. Copies: what the first launch of this size adds to the peak of the host's resident memory
  (VmHWM), after a small one, divided by the size. The smallest has 1,000 bytes, since 2.0.0 reads 1,024.
- growth: the hand-off, as in *handoff*, of the last 200 of so many launches, of which the others came as
  fast as one sender can send them; and the host's resident memory after them.
- idle: context switches of all threads of a host with nothing to do; its resident memory beyond that of an
  interpreter.
- change: to take the lock in a process that has taken it before; from the call of `release` until every
  process can listen on the port, or take the lock; from SIGKILL, with a silent peer connected, until another
  process, which tries all the time, is the host.
- stream: an observer writes 100 MB or prints 200,000 lines; from the call of `ask` to its return. One line:
  from the call of `print` to the launch's stream, with 2 ms between two lines.

Whole processes and *change* include what the machine needs to start and end processes. Senders are bare
sockets, so *handoff* to *growth* compare the hosts; those of *named* and mp.connection are the libraries'
own, since they prove that they have the key. 2.0.0 calls its observer after one read, before it knows
whether the launch is complete, and answers nothing. Memory and wakeups are missing where there is no /proc.

The exit status does not depend on the figures. It is 1 if a measurement of *this*, *named* or *bare* fails,
or if one of the first two loses a launch.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # its folder would hide modules with the same names as its files
    sys.path[0] = str(HERE.parent)

from benchmarks.environment import Environment
from benchmarks.measurements import KEYS, measurements
from benchmarks.picture import picture
from benchmarks.plan import FULL, QUICK, Failure, Plan
from benchmarks.processes import Bench
from benchmarks.report import report
from benchmarks.runner import Results, measure
from benchmarks.subjects import BESIDE, NAMED, SUBJECTS, THIS

QUICK_TIME, FULL_TIME = 600, 3 * 60 * 60  # seconds for everything: only a defect takes so long


def machine() -> str:
    """Describe the machine."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    release = ".".join(platform.release().split(".")[:2])  # nobody but its builders needs the rest
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {release}"


def compare(options: argparse.Namespace, plan: Plan, folder: str) -> int:
    load = os.getloadavg()[0]
    environment = Environment(Path(folder).resolve() / "environment", options.python, options.beside)
    wanted = [name for name in SUBJECTS if name in options.subjects and (name != BESIDE or options.beside)]
    missing = environment.install(wanted)
    subjects = [name for name in wanted if name not in missing]
    bench, results, pythons = Bench(environment, plan, folder), Results(), environment.pythons
    chosen = [each for each in measurements(plan, pythons) if each.name.split()[0] in options.only]
    for measurement in chosen:
        measure(measurement, bench, subjects, results)
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    about = [f"machine: {machine()}", f"load: {load:.1f} processes at a time, in the minute before"]
    about += [f"versions: {versions}"]
    about += ["quick: a test that everything works; these figures mean little"] if options.quick else []
    about += [f"note: {name} is not available: {why}" for name, why in missing.items()]
    lost = {key: count for key, count in bench.lost.items() if count}
    about += [f"note: {subject} has lost {lost[subject, name]:,} launches: {name}" for subject, name in lost]
    results.failures += [f"{subject} has lost launches" for subject, _ in lost if subject in (THIS, NAMED)]
    text = report(chosen, results, pythons, subjects, about)
    print(text, end="")
    if {*options.only, *options.subjects} == {*KEYS, *SUBJECTS}:
        target = Path(folder if options.quick else HERE, "results.md")
        target.write_text(text, encoding="utf-8")
        drawing = picture(results, environment.main, subjects, machine(), versions)
        target.with_suffix(".svg").write_text(drawing, encoding="utf-8")
    return int(bool(results.failures))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="measure little: a test that everything works")
    add("--rounds", type=int, default=0, help=f"how often everything is repeated ({FULL.rounds})")
    for option, names in (("--only", KEYS), ("--subjects", SUBJECTS)):
        add(option, nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    pythons = "a version or a path, instead of the newest CPython found and the oldest; several are allowed"
    add("--python", action="append", default=[], help=pythons)
    add("--beside", default="", metavar="TREE", help="measure the package of that tree as well")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    plan = plan._replace(rounds=options.rounds or plan.rounds)
    # Every wait has a deadline; this is for the unexpected. The agents end with this process.
    faulthandler.dump_traceback_later(QUICK_TIME if options.quick else FULL_TIME, exit=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that children end, and folders are removed
    try:
        with tempfile.TemporaryDirectory(prefix="compare") as folder:
            return compare(options, plan, folder)
    except (Failure, OSError) as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
