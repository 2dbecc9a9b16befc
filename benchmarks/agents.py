"""The agents: processes of their own, for whatever takes part in a measurement.

    python agents.py host|sender|taker|staller SUBJECT PORT PATH

An agent says that it is ready, and then answers each line of words that it reads with
one line of JSON. It ends when its input ends, so none is left when compare.py goes,
however it goes.

A launch is ``stamp NUL word NUL word NUL ...``, or a tuple of the same where a
subject sends objects. The stamp is the monotonic clock right before `connect`, or right
before the start of the process, in nanoseconds. Linux, macOS and Windows have one such
clock for all processes.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from typing import Callable

if __name__ == "__main__":  # as a program; its folder would hide what has the name of a file in it
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from benchmarks.subjects import SUBJECTS
from benchmarks.subjects.base import STAMP_LENGTH, Place, Subject, Taken, listen

ADDRESS = "127.0.0.1"
WORD_LENGTH = 1000  # bytes with the NUL: a long path. Large launches are many paths.

CONNECT_TIME = 1.0  # seconds for all stalled peers to get into the queue of a host that accepts nobody
SUCCEED_TIME = 2.0  # seconds after a kill until which the next host is waited for


def is_free(port: int) -> bool:
    """Whether everybody can bind ``port`` now, also who does not set SO_REUSEADDR."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def words_of(size: int) -> tuple[str, ...]:
    """Return what follows the stamp in a launch of ``size`` bytes in all; 0 is the stamp alone."""
    words, left = [], size - STAMP_LENGTH - 1
    while left > 0:
        length = min(left, WORD_LENGTH) - 1  # the NUL is the one
        words.append(f"{len(words):06d}/".ljust(length, "x")[:length])
        left -= length + 1
    return tuple(words)


class Agent:
    """Answers lines of words, each beginning with the name of a method, with lines of JSON."""

    def commands(self) -> None:
        """Answer until the input ends; then this process ends, whatever its other threads do."""
        status = 1
        try:
            self._say(None)  # ready
            for line in sys.stdin:
                name, *words = line.split()
                self._say(getattr(self, f"do_{name}")(*words))
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _say(self, answer: object) -> None:
        print(json.dumps(answer), flush=True)


class Host(Agent):
    """Holds the lock, and notes what its observer is called with."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._reached = threading.Event()
        self.do_expect("0", "0", "1")
        subject.take()
        if subject.hands_over:
            subject.serve(self._observe)

    def run(self) -> None:
        self._subject.stay(self.commands)

    def do_expect(self, count: str, size: str, keep: str) -> None:
        """Begin to count anew, up to ``count`` launches of ``size`` bytes; keep the last ``keep`` delays."""
        # All memory is taken now, so that what grows later is the subject's own.
        self._delays = array.array("q", bytes(8 * int(keep)))
        self._expected = words_of(int(size))
        self._count = self._wrong = self._last = 0
        self._target = int(count)
        self._reached.clear()

    def do_wait(self, seconds: str) -> dict[str, object]:
        """Return what came, when all is here; after ``seconds`` at the latest."""
        self._reached.wait(float(seconds))
        return {
            "count": self._count,
            "wrong": self._wrong,
            "last": self._last,
            "delays": self._delays[: self._count].tolist(),
        }

    def _observe(self, argv: tuple[str, ...]) -> None:
        now = time.monotonic_ns()
        self._delays[self._count % len(self._delays)] = now - int(argv[0])
        if argv[1:] != self._expected:
            self._wrong += 1
        self._last = now
        self._count += 1
        if self._count == self._target:
            self._reached.set()


class SenderAgent(Agent):
    """Hands launches over, one after the other."""

    def __init__(self, subject: Subject) -> None:
        self._sender = subject.sender()

    def run(self) -> None:
        self.commands()

    def do_send(self, count: str, period: str, size: str) -> int:
        """Send ``count`` launches, one each ``period`` nanoseconds; return how many failed."""
        self._sender.prepare(words_of(int(size)))
        failed, due = 0, time.monotonic_ns()
        for _ in range(int(count)):
            left = due - time.monotonic_ns()
            if left > 0:
                time.sleep(left / 1e9)
            due += int(period)
            try:
                self._sender.send()
            except (OSError, EOFError):
                failed += 1  # whether it arrived all the same, the host's count says
        return failed


class Taker(Agent):
    """Takes the lock and gives it up, within one process."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def run(self) -> None:
        self.commands()

    def do_lock(self, count: str) -> list[int]:
        """Return the nanoseconds that each of ``count`` times takes."""
        times = []
        for _ in range(int(count)):
            self._wait_until_free()
            begin = time.perf_counter_ns()
            self._subject.take()
            times.append(time.perf_counter_ns() - begin)
            self._subject.release()
        return times

    def do_release(self, count: str) -> list[int | None]:
        """Return the nanoseconds from each of ``count`` releases until anybody has the lock."""
        times = []
        for _ in range(int(count)):
            self._wait_until_free()
            self._subject.take()
            begin = time.perf_counter_ns()
            self._subject.release()
            times.append(self._until(begin, self._anybody if self._subject.on_port else self._subject.take))
            if not self._subject.on_port:
                self._subject.release()
        return times

    def do_succeed(self, pid: str) -> int | None:
        """Kill the host; return the nanoseconds until this process is the next, None if it takes too long."""
        begin = time.perf_counter_ns()
        os.kill(int(pid), getattr(signal, "SIGKILL", signal.SIGTERM))
        return self._until(begin, self._subject.take)

    def _anybody(self) -> None:
        try:
            listen(self._subject.place.port).close()
        except OSError as error:
            raise Taken from error

    def _until(self, begin: int, take: Callable[[], None]) -> int | None:
        while time.perf_counter_ns() - begin < SUCCEED_TIME * 1e9:
            try:
                take()
            except Taken:
                continue
            return time.perf_counter_ns() - begin
        return None

    def _wait_until_free(self) -> None:
        deadline = time.monotonic() + SUCCEED_TIME
        while self._subject.on_port and not is_free(self._subject.place.port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"port {self._subject.place.port} does not come free")


class Staller(Agent):
    """Peers that connect, and say nothing."""

    def __init__(self, subject: Subject) -> None:
        self._family, self._where = subject.where()
        self._socks: list[socket.socket] = []

    def run(self) -> None:
        self.commands()

    def do_connect(self, count: str) -> int:
        """Connect ``count`` peers; return how many are, where the host accepts nobody."""
        deadline = time.monotonic() + CONNECT_TIME
        while len(self._socks) < int(count) and time.monotonic() < deadline:
            sock = socket.socket(self._family, socket.SOCK_STREAM)
            sock.settimeout(CONNECT_TIME)
            try:
                sock.connect(self._where)
            except (socket.timeout, BlockingIOError):  # the queue is full, of TCP and of a local socket
                sock.close()
                time.sleep(0.001)
            else:
                self._socks.append(sock)
        return len(self._socks)

    def do_left(self) -> int:
        """Return how many of them the host has not hung up on."""
        left = 0
        for sock in self._socks:
            sock.setblocking(False)
            try:
                sock.recv(1)
            except BlockingIOError:
                left += 1
            except ConnectionError:
                pass
        return left


AGENTS = {"host": Host, "sender": SenderAgent, "taker": Taker, "staller": Staller}


if __name__ == "__main__":
    agent, name, port, path = sys.argv[1:]
    AGENTS[agent](SUBJECTS[name](Place(int(port), path))).run()
