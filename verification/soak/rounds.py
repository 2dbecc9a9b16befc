"""The supervisor: starts, stops, kills and waits for the processes of one round."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Callable

from .actors import act, run_child
from .judge import Judge
from .record import STALL, Child, Record, Span
from .schedule import Event, Setting, schedule

AT_ONCE = 24  # processes

# Seconds. A child that takes longer is a violation, and is killed; more than any planned life.
CHILD_TIME = 20.0
# Seconds between two checks of what is due.
STEP = 0.01


class Round:
    """The processes of one round, from the first to the last."""

    def __init__(self, setting: Setting, report: Callable[[], None]) -> None:
        self._setting = setting
        self._report = report
        self._children: dict[int, Child] = {}  # by number
        self.running: dict[int, Child] = {}  # by pid; not reaped yet, so each pid is still ours
        self._kills: dict[int, float] = {}  # when to kill, by pid
        self._stopped: dict[int, tuple[float, Event]] = {}  # since when and why, by pid
        self._stalls: list[Span] = []
        self._stops: list[Span] = []

    def run(self, end: float) -> None:
        """Start what is scheduled, until ``end`` at the latest, and wait for all of it."""
        for event in schedule(self._setting):
            while len(self.running) >= AT_ONCE:
                self._tick(STEP)
            if time.monotonic() > end:
                break
            if event.kind == "stop":
                self._stop(event)
            else:
                self._start(event)
            self._wait(event.pause)
        while self.running:
            self._tick(STEP)
            if all(child.kind == "stall" for child in self.running.values()):
                self.end()  # nobody is left whom they could delay

    def judge(self, counts: dict[str, int]) -> list[str]:
        """Return the broken promises, and add to ``counts``."""
        judge = Judge(self.record(), counts)
        judge.judge()
        return judge.violations

    def record(self) -> Record:
        """Return the record of this round."""
        error = try_port(self._setting.address, self._setting.port)
        return Record(
            self._setting,
            self._children,
            self._read_log(),
            self._stalls,
            self._stops,
            str(error) if error else "",
        )

    def end(self) -> None:
        """End all processes that still run."""
        for pid in list(self.running):
            self.kill(pid)
            self._ended(*os.waitpid(pid, 0))

    def kill(self, pid: int) -> None:
        """Kill one of the running processes; the first time counts."""
        self._kills[pid] = float("inf")
        if self.running[pid].killed is None:  # a stop may end with a kill after another one
            self.running[pid].killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            self._tick(max(min(left, STEP), 0))
            if left <= 0:
                return

    def _tick(self, seconds: float) -> None:
        """Wait for the end of a child, for at most ``seconds``, and handle what has ended or is due."""
        start = time.monotonic()
        signal.sigtimedwait({signal.SIGCHLD}, seconds)
        now = time.monotonic()
        if now - start > seconds + STALL:
            self._stalls.append(Span(start + seconds, now))
        for pid, (since, event) in list(self._stopped.items()):
            if now >= since + event.stop:
                self._end_stop(pid, since, event)
        for pid in self._due(now):
            self.kill(pid)
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            self._ended(pid, status)
        self._report()

    def _due(self, now: float) -> list[int]:
        """Return the processes that are due to be killed."""
        running = self.running.items()
        return [pid for pid, child in running if now >= self._kills.get(pid, child.began + CHILD_TIME)]

    def _act(self, event: Event) -> int:
        """Be the child for ``event``."""
        return act(event)

    def _start(self, event: Event) -> None:
        child = Child(event, time.monotonic())
        # Between the fork and recording the pid, nothing must interrupt us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        child.pid = os.fork()
        if not child.pid:
            run_child(lambda: self._act(event), str(self._err(child)), int(2 * CHILD_TIME))
        self.running[child.pid] = self._children[child.number] = child
        if event.kill_after:
            self._kills[child.pid] = child.began + event.kill_after
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop(self, event: Event) -> None:
        """Stop the latest host, if it may still be the host."""
        gone = set()
        for line in reversed(self._read_log()):
            what, number, *_ = line.split(" ")
            if what in ("leaves", "dies"):
                gone.add(number)
            if what != "host":
                continue
            child = self._children[int(number)]
            if number not in gone and child.pid in self.running and child.pid not in self._stopped:
                self._stopped[child.pid] = (time.monotonic(), event)
                os.kill(child.pid, signal.SIGSTOP)
            return

    def _end_stop(self, pid: int, since: float, event: Event) -> None:
        del self._stopped[pid]
        if event.stop_kills:
            self.kill(pid)
        else:
            os.kill(pid, signal.SIGCONT)
        self._stops.append(Span(since, time.monotonic()))

    def _ended(self, pid: int, status: int) -> None:
        child = self.running.pop(pid)
        child.ended = time.monotonic()
        if pid in self._stopped:  # it was killed meanwhile
            self._stops.append(Span(self._stopped.pop(pid)[0], child.ended))
        self._kills.pop(pid, None)
        child.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if child.status != -signal.SIGKILL:
            child.killed = None  # it ended before the kill
        path = self._err(child)
        if path.exists():  # otherwise it was killed before it had one
            child.err = path.read_text(encoding="utf-8", errors="backslashreplace")
            path.unlink()

    def _err(self, child: Child) -> Path:
        return Path(self._setting.folder, f"err{child.number}")

    def _read_log(self) -> list[str]:
        log = Path(self._setting.log)
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def try_port(address: str, port: int) -> OSError | None:
    """Return why nobody can listen there now, or None."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
            sock.listen(1)
        except OSError as error:
            return error
    return None
