"""Socket_Singleton beside its released version, beside its peers, and beside the floor.

    python benchmarks/compare.py                 # all of it, about a quarter of an hour
    python benchmarks/compare.py --quick         # whether it still works; its figures mean little
    python benchmarks/compare.py --beside TREE   # and beside another tree of it: an older commit's

From a fresh clone, with any Python from 3.9 that has venv, and PyPI within reach.
It makes environments of its own (`environment`), starts what takes part (`agents`, a file
for each subject in `subjects`), measures (`measurements`), prints one table (`table`), and
draws results.svg beside this file, which the README shows (`picture`).

The subjects:

- *this*: the package in src; *beside*: that of another tree; *2.0.0*: the released one. The
  same code drives all of them. *named*: *this* with a name, once it has that parameter.
- *floor*: what nothing in Python can do without. Bare sockets, served one after the other
  by one thread; for the import, that of `socket`; for the command line, the import of
  what it needs.
- *bare host*: the floor of *this*. It serves many peers at once, and its observer holds up
  nobody: bare sockets, a selector, a thread for each of the two, and nothing else.
- *python*: `python -c pass`, which is in every figure of a whole process.
- filelock, portalocker, tendo: locks, which hand nothing over.
- multiprocessing.connection: Listener and Client with an authkey, on a local socket.
- QLocalServer: that of PySide6, without a window.

A measurement takes its subjects turn about, each time in another order, drawn by lot, so
that what the machine does meanwhile, and what the one before left in the caches, hits
all of them. A figure is the median over the rounds, with the lowest and the highest.

The interpreters start nothing by themselves: each is a virtual environment without pip
and setuptools, and the run ends if a `.pth` file there holds code. What draws is in another one.

How each thing is measured:

1. *Second launch.* Start to observer: from `exec` of an application that finds the lock
   taken to the observer's call in the host. Start to end: from `exec` to its exit.
2. *On other interpreters.* The same to the exit, by CPython 3.8 and 3.13 where they are found.
3. *Import.* From `exec` to the exit of an interpreter that only imports, bytecode compiled before;
   modules beyond those of the bare interpreter.
4. *Command line.* From `exec` to exit: `python -m Socket_Singleton status` beside a host, and
   `run -- true` on a free port. The floor is `python -c "import argparse, _socket"`, and one that
   imports argparse, subprocess, socket and threading, and runs `true`.
5. *Hand-off.* From right before the client's `connect` to the observer's call, by the
   one monotonic clock that all processes have; one launch per millisecond, from one
   sender, where the subject is as fast as that.
6. *Launches per second.* All senders are there and wait; from the word to begin, to
   the last call of the observer. A sender begins its next launch when the last one was answered.
   Every launch is counted: a figure that lost some says how many.
7. *Stalled peers.* The same from 4 senders, beside connections that were opened right
   before and on which nothing comes.
8. *Lock.* A first launch: from `exec` to the exit of an application that takes the lock and has
   nothing else to do. First in a process: from the call to the return, with everything imported
   that the import statement imports, and with the time to import what is imported only then. Again:
   the same, later in that process.
9. *Size.* The hand-off of one launch at a time, many words of 1,000 bytes in all, compared with what
   was sent. Copies: what the first one of its size adds to the peak of the host's resident memory
   (VmHWM), after a small one, over the size. The 1 KB are 1,000 bytes, since 2.0.0 reads 1,024.
10. *Idle.* Context switches of all threads of a host with nothing to do; its
    resident memory beyond that of a bare interpreter.
11. *Growth.* The hand-off, as in 5, of the last 200 of so many launches, which before that came
    as fast as one sender can; the median. The host's resident memory after them.
12. *Change of host.* From the call of `release` until anybody could listen on the port, or take
    the lock where it is no port. From SIGKILL, with a silent peer connected, to the moment
    where another process, which tries all the time, is the host.

What the figures do not say: 1 to 4, the first launch of 8, and 12 hold the machine's way to start and to end
processes as well. Senders of *this*, *beside*, *2.0.0* and *floor* are the same bare sockets,
so 5 to 9 and 11 compare hosts; the peers' senders are their own, in Python, and so is that of
*named*, which is the library's. 2.0.0 calls its observer after one read, before it knows that the
launch is whole, and answers nothing. The floor does not serve two at once, and is stopped by one
stalled peer. Two figures from two runs, or two machines, must not be compared. Memory and
wakeups are read from /proc, and are a dash without it.

The exit status is that of the program, not of the figures: not 0 if a measurement of *this*
or the floor fails, or *this* loses a launch.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # its folder would hide what has the name of a file in it
    sys.path[0] = str(HERE.parent)

from benchmarks.environment import Environment
from benchmarks.figures import Figures, Runner, say
from benchmarks.measurements import measurements
from benchmarks.plan import FULL, QUICK, Failure, Measurement, Metric, Plan
from benchmarks.processes import Bench
from benchmarks.subjects import BESIDE, SUBJECTS
from benchmarks.targets import differences, targets

RESULTS = HERE / "results.svg"
QUICK_TIME, FULL_TIME = 600, 3 * 60 * 60  # seconds for everything: only a defect takes so long
NUMBERS = range(1, 13)


def machine() -> str:
    """Say what this runs on."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    release = ".".join(platform.release().split(".")[:2])  # the rest is for who builds kernels
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {release}, {python}"


def raw(chosen: list[Measurement], figures: Figures, bench: Bench) -> list[dict[str, Any]]:
    """Return the figures as JSON has them; table.py and picture.py show them."""

    def of(metric: Metric) -> dict[str, Any]:
        values = {subject: figures.values.get((subject, metric.key), []) for subject in SUBJECTS}
        why_not = {
            s: figures.why_not[s, metric.key]
            for s in SUBJECTS
            if not values[s] and (s, metric.key) in figures.why_not
        }
        lost = {s: bench.lost[s, metric.key] for s in SUBJECTS if (s, metric.key) in bench.lost}
        return {**metric._asdict(), "values": values, "why_not": why_not, "lost": lost}

    return [
        {"number": m.number, "title": m.title, "rounds": m.rounds, "metrics": [of(x) for x in m.metrics]}
        for m in chosen
    ]


def compare(options: argparse.Namespace, plan: Plan, folder: str) -> int:
    environment = Environment(options.environment or os.path.join(folder, "environment"), options.beside)
    environment.make()
    bench = Bench(environment, plan, folder)
    absent = environment.absent_subjects()
    runner = Runner(bench, absent)
    chosen = [m for m in measurements(bench) if not options.only or m.number in options.only]
    for measurement in chosen:
        runner.measure(measurement)
    runner.finish()
    figures, metrics = runner.figures, {metric.key: metric for m in chosen for metric in m.metrics}
    wanted = targets(plan, metrics, beside=BESIDE not in absent)
    judged = [target.judged(figures, metrics) for target in wanted if target.subject not in absent]
    results = {
        "machine": machine(),
        "versions": environment.versions(),
        "rounds": plan.rounds,
        "quick": options.quick,
        "absent": absent,
        "notes": [*environment.notes, *bench.notes],
        "failures": figures.failures,
        "measurements": raw(chosen, figures, bench),
        "targets": [*judged, *differences(plan, figures)],
    }
    path = os.path.abspath(options.json or os.path.join(folder, "results.json"))
    Path(path).write_text(json.dumps(results, indent=1), encoding="utf-8")
    environment.draw("benchmarks.table", path)
    kept = options.svg or (None if options.quick or options.only else RESULTS)
    picture = os.path.abspath(kept or os.path.join(folder, "results.svg"))
    environment.draw("benchmarks.picture", path, picture)
    say(f"{picture if kept else 'a picture'} of {os.path.getsize(picture):,} bytes was drawn")
    return int(bool(figures.failures))


def chosen_numbers(text: str) -> list[int]:
    numbers = [int(word) for word in text.split(",")]
    if not all(each in NUMBERS for each in numbers):
        raise argparse.ArgumentTypeError(f"numbers from 1 to {NUMBERS[-1]}, with commas between them")
    return numbers


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure Socket_Singleton beside its released version, its peers, and bare sockets.",
        epilog="Exit status: 0 whatever the figures are; 1 if a measurement fails or a launch is lost.",
    )
    parser.add_argument("--quick", action="store_true", help="little of everything: whether it still works")
    parser.add_argument("--rounds", type=int, help=f"how often everything is repeated ({FULL.rounds})")
    parser.add_argument("--only", type=chosen_numbers, metavar="4,5", help="only these measurements")
    parser.add_argument("--beside", metavar="TREE", help="measure the package of that tree of files as well")
    parser.add_argument("--environment", metavar="DIR", help="keep the environment there, and use it again")
    parser.add_argument(
        "--svg", metavar="PATH", help="where to draw (a whole, full run: benchmarks/results.svg)"
    )
    parser.add_argument("--json", metavar="PATH", help="write the figures of each round, too")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.rounds is not None:
        if options.rounds < 1:
            parser.error("--rounds is at least 1")
        plan = plan._replace(rounds=options.rounds)
    # Every wait has its deadline; this is for what nobody thought of. Agents end with us.
    faulthandler.dump_traceback_later(QUICK_TIME if options.quick else FULL_TIME, exit=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that children and folders go
    try:
        with tempfile.TemporaryDirectory(prefix="compare") as folder:
            return compare(options, plan, folder)
    except Failure as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
