"""Many threads use one host at once, and switch as often as Python can make them.

    python -m verification.stress --seconds 60

Made for a Python without a GIL, where they run in parallel: docs/design.md, "Threads share single steps",
lists what they share without a lock. With a GIL, they switch after a microsecond instead of 5 milliseconds.

In each round, threads send launches, ask for answers, call `_append_args`, trace and untrace observers, and
read the public attributes of the host, until two threads release it at once. This is checked:

- each acknowledged launch has reached the observer or is in `arguments`, and none of them twice;
- each answer belongs to its own question;
- nothing is raised or logged, except in a launch whose host is gone;
- no thread is left.

The exit status is 0, or 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import logging
import os
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src"))

from Socket_Singleton import Socket_Singleton

# Without a name. Below the ports that systems give to outgoing connections, and those of the tests.
PORT = 9870

# Threads of each kind.
THREADS = 3

# Seconds: between two switches, the least that Python takes; of a round; for its end.
INTERVAL = 1e-6
ROUND = 0.5
PATIENCE = 60

# Seconds that threads wait which would otherwise keep the processors from launches, which take longer.
PAUSE = 0.0005


class Round:
    """One host, and everything that its threads did. They share the lists, and only append to them."""

    def __init__(self, place: dict) -> None:
        self._place = place
        self._over = threading.Event()  # set when the round has lasted long enough
        self._acknowledged: list[str] = []
        self._came: list[str] = []
        self.problems: list[str] = []
        self._app = Socket_Singleton(strict=False, **place)
        self._app.trace(self._observe)

    def run(self) -> collections.Counter:
        """Run all threads to their end; return how many launches of each kind were acknowledged."""
        kinds = [self._send, self._append, self._trace, self._read, *[self._ask] * ("name" in self._place)]
        targets = [*kinds * THREADS, self._release, self._release]
        threads = [threading.Thread(target=self._run, args=target) for target in enumerate(targets)]
        for thread in threads:
            thread.start()
        time.sleep(ROUND)
        self._over.set()
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        self._judge()
        return collections.Counter(word.split()[0] for word in self._acknowledged)

    def _judge(self) -> None:
        came = collections.Counter([*self._came, *(word for (word,) in self._app.arguments)])
        self.problems += [f"{word} came {count} times" for word, count in came.items() if count > 1]
        self.problems += [f"{word} is lost" for word in self._acknowledged if word not in came]
        left = set(threading.enumerate()) - {threading.main_thread()}
        self.problems += [f"{thread.name} has not ended" for thread in left]

    def _run(self, number: int, target) -> None:
        try:
            target(f"{target.__name__.strip('_')} {number}")
        except BaseException:  # noqa: BLE001 (nothing should be raised here)
            self.problems.append(traceback.format_exc())

    # -- what the threads do --

    def _observe(self, launch) -> str:
        self._came.extend(launch)
        return f"answer to {launch[0]}"

    def _launch(self, who: str, how) -> None:
        """Send launches until the host is gone."""
        for number in itertools.count():
            word = f"{who} {number}"
            try:
                how(word)
            except OSError:
                if not self._over.is_set():
                    raise
                return
            self._acknowledged.append(word)

    def _send(self, who: str) -> None:
        self._launch(who, lambda word: Socket_Singleton.send([word], **self._place))

    def _ask(self, who: str) -> None:
        def ask(word):
            answer = Socket_Singleton.ask([word], timeout=PATIENCE, **self._place)
            if answer != f"answer to {word}":
                self.problems.append(f"{word} was answered by {answer!r}")

        self._launch(who, ask)

    def _append(self, who: str) -> None:
        for number in itertools.count():
            self._app._append_args((f"{who} {number}",))
            self._acknowledged.append(f"{who} {number}")
            if self._over.wait(PAUSE):
                return

    def _trace(self, _: str) -> None:
        def observer(launch):
            pass

        while not self._over.wait(PAUSE):
            self._app.trace(observer)
            self._app.untrace(observer)

    def _read(self, _: str) -> None:
        while not self._over.wait(PAUSE):
            for value in (self._app, self._app.arguments, self._app.clients):
                str(value)
                repr(value)

    def _release(self, _: str) -> None:
        self._over.wait()
        self._app.release()


class Log(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record) -> None:
        self.lines.append(self.format(record))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    end = time.monotonic() + parser.parse_args().seconds
    sys.setswitchinterval(INTERVAL)
    log, rounds, launches = Log(), 0, collections.Counter()
    logging.getLogger().addHandler(log)
    while time.monotonic() < end:
        place = {"name": f"org.example.stress {os.getpid()}"} if rounds % 2 else {"port": PORT}
        one = Round({"secret": "of these rounds", **place})
        launches += one.run()
        rounds += 1
        problems = one.problems + log.lines
        if problems:
            print(f"round {rounds}, {place}:", *problems[:20], sep="\n")
            return 1
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, {'with' if gil else 'without'} a GIL: {rounds} rounds")
    print(*(f"{count} by {kind}" for kind, count in launches.items()), "each came once", sep=", ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
