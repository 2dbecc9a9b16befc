"""The agents: processes that take part in a measurement.

    python agents.py ROLE SUBJECT PORT PATH

An agent prints a line when it is ready, and then answers each line of JSON, a command and its arguments,
with a line of JSON. It ends when its input ends, so none is left behind when compare.py ends, for whatever
reason.

A launch consists of words, the first of which is a stamp: the monotonic clock right before `connect`, or
right before the start of the process, in nanoseconds. Linux and macOS have one such clock for all processes.
"""

from __future__ import annotations

import array
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Callable, TextIO

if __name__ == "__main__":  # its folder would hide modules that have the same name as a file in it
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from benchmarks.subjects import SUBJECTS
from benchmarks.subjects.base import STAMP_LENGTH, Place, Subject, check_free, listen

WORD_LENGTH = 1000  # bytes with the NUL, like a long path. Large launches consist of many paths.
KEPT = 2000  # how many of the last launches a host knows the delays of
SUCCEED_TIME = 2.0  # seconds after a kill in which another process has to become the host

# What observers print: bytes of a block and of a line, seconds between single lines.
BLOCK, LINE, SINGLE_PAUSE = 64 * 1024, 80, 0.002


def words_of(size: int) -> tuple[str, ...]:
    """Return what follows the stamp in a launch of ``size`` bytes in all; with 0, nothing does."""
    words, left = [], size - STAMP_LENGTH - 1
    while left > 0:
        length = min(left, WORD_LENGTH) - 1  # without the NUL
        words.append(f"{len(words):06d}/".ljust(length, "x")[:length])
        left -= length + 1
    return tuple(words)


class Host:
    """Holds the lock, and records what its observer is called with."""

    def __init__(self, subject: Subject) -> None:
        # Allocated now, so that only the subject itself can need more memory later.
        self._delays = array.array("q", bytes(8 * KEPT))
        self._complete = threading.Event()
        self.expect(0, 0)
        subject.take()
        if subject.hands_over:
            subject.serve(self._observe)

    def expect(self, count: int, size: int) -> None:
        """Begin to count from zero: ``count`` launches of ``size`` bytes will come."""
        self._expected_count, self._expected_words = count, words_of(size)
        self._count = self._wrong = self._last = 0
        self._complete.clear()

    def wait(self, silence: float) -> dict[str, object]:
        """Return what came, when everything has, or when nothing more has come for ``silence`` seconds."""
        before = -1
        while before < self._count and not self._complete.is_set():
            before = self._count
            self._complete.wait(silence)
        delays = self._delays[: self._count].tolist()
        return {"count": self._count, "wrong": self._wrong, "last": self._last, "delays": delays}

    def _observe(self, argv: tuple[str, ...]) -> None:
        now = time.monotonic_ns()
        self._delays[self._count % KEPT] = now - int(argv[0])
        self._wrong += argv[1:] != self._expected_words
        self._last = now
        self._count += 1
        if self._count == self._expected_count:
            self._complete.set()


class Sender:
    """Hands launches over, one after the other."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def send(self, count: int, size: int, period: int = 0) -> None:
        """Send ``count`` launches, one each ``period`` nanoseconds."""
        send = self._subject.sender(words_of(size))
        due = time.monotonic_ns()
        for _ in range(count):
            left = due - time.monotonic_ns()
            if left > 0:
                time.sleep(left / 1e9)
            due += period
            # The host's count shows whether it has arrived nevertheless.
            with contextlib.suppress(OSError, EOFError):
                send()


class Taker:
    """Takes the lock and gives it up, within one process."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def change(self, count: int) -> list[tuple[int, int | None]]:
        """Return the nanoseconds of each taking, and from each release until anybody can have the lock."""
        times, subject, port = [], self._subject, self._subject.place.port
        for _ in range(count):
            if subject.on_port:
                until_done(time.perf_counter_ns(), lambda: check_free(port))
            begin = time.perf_counter_ns()
            subject.take()
            taken = time.perf_counter_ns()
            subject.release()
            if subject.on_port:
                freed = until_done(taken, lambda: listen(port).close())
            else:
                freed = until_done(taken, subject.take)
                subject.release()
            times.append((taken - begin, freed))
        return times

    def succeed(self, pid: int) -> int | None:
        """Kill the host; return the nanoseconds until this process is the next one, or None if it is late."""
        begin = time.perf_counter_ns()
        os.kill(pid, signal.SIGKILL)
        return until_done(begin, self._subject.take)


def until_done(begin: int, attempt: Callable[[], None]) -> int | None:
    """Try until there is no OSError; return the nanoseconds since ``begin``, or None if it takes too long."""
    while time.perf_counter_ns() - begin < SUCCEED_TIME * 1e9:
        with contextlib.suppress(OSError):
            attempt()
            return time.perf_counter_ns() - begin
    return None


class Printer:
    """A host whose observer prints what each launch asks for."""

    def __init__(self, subject: Subject) -> None:
        subject.print_for(self._observe)

    def _observe(self, out: TextIO, kind: str, count: str) -> None:
        block, text = bytes(BLOCK), "x" * (LINE - 1)
        for _ in range(int(count)):
            if kind == "blocks":
                out.buffer.write(block)
            elif kind == "lines":
                print(text, file=out)
            else:
                print(time.monotonic_ns(), file=out)
                time.sleep(SINGLE_PAUSE)


class Asker(io.RawIOBase):
    """A launch that asks, and counts what is printed to it, or compares the time with each line's."""

    def __init__(self, subject: Subject) -> None:
        self._ask = subject.ask

    def ask(self, kind: str, count: int) -> dict[str, object]:
        """Return the nanoseconds until the answer is complete, its size, and the delays of single lines."""
        self._stamped, self._size, self._delays = kind == "single", 0, []
        out = io.TextIOWrapper(self, encoding="utf-8", newline="\n", write_through=True)
        begin = time.monotonic_ns()
        self._ask((kind, str(count)), out)
        took = time.monotonic_ns() - begin
        out.detach()  # it would close this object with it
        return {"took": took, "size": self._size, "delays": self._delays}

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._size += len(data)
        if self._stamped:
            now = time.monotonic_ns()
            self._delays += [now - int(line) for line in bytes(data).split()]
        return len(data)


def answer(agent: object) -> None:
    """Answer until the input ends; then end this process, whatever its other threads do."""
    status = 1
    try:
        print("null", flush=True)  # ready
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            print(json.dumps(getattr(agent, command)(*arguments)), flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


ROLES = {"host": Host, "sender": Sender, "taker": Taker, "printer": Printer, "asker": Asker}

if __name__ == "__main__":
    role, name, port, path = sys.argv[1:]
    subject = SUBJECTS[name](Place(int(port), path))
    agent = ROLES[role](subject)
    if role == "host":
        subject.stay(lambda: answer(agent))
    else:
        answer(agent)
