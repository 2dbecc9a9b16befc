"""Each system call of a host and of a launch fails once, and is the last one once; the promises are checked.

    python verification/system_calls.py                               # all cases
    python verification/system_calls.py --list                        # their names
    python verification/system_calls.py --case host.thread.sendto.1.ENOBUFS
    python verification/system_calls.py --name                        # the same for singletons with a name

Linux, with strace. A run without faults shows which calls there are: all those of
the host and of the launch, from the first ``socket`` on or, with a name, from the first
access to its key. A case is one of them with either SIGKILL or an errno from `ERRNOS`.
Each case is a story of four processes: a host, two launches, the end of the host, and
one more launch (`Story`). The fault happens to the host or to the first launch, which
with a name asks, and is printed to. In each story (`judge`):

1. No launch is delivered twice.
2. A launch that ended with status 0 and without a message was delivered, unless its
host was killed, and shows everything that was printed to it. One with another
status gave the reason.
3. A host that lives has the port to itself, and serves the next launch. If there
is none, the next launch becomes the host. After `release` the port is free.
4. There is no traceback, except for the errors that the constructor's docstring names.
5. Nothing hangs: `PATIENCE` for each step.

Modules are imported before the first ``socket``: faults while the interpreter reads
its own files are not tested here.

The exit status is 1 if a promise is broken, and `NOT_PERMITTED` if no process can
be traced here.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import ctypes
import fnmatch
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

from tests.support import free_port
from verification.launched import LINES
from verification.soak.rounds import try_port

# Seconds for each step of a story. A launch has 2 s for itself, and a release takes
# milliseconds; the rest is for a busy machine.
PATIENCE = 6.0

# Cases at a time: in each, mostly two busy processes take turns.
LANES = 2

# As in automake's tests: neither passed nor failed, but not run.
NOT_PERMITTED = 77

KILL = "SIGKILL"

# The share of faults that did not happen above which this tool proves nothing. Which
# thread waits for the interpreter, and how often, differs from run to run.
MOST_MISSED = 0.25


class Row(NamedTuple):
    """The errnos with which a call can fail, and the reasons."""

    call: str  # a regular expression for its name
    errnos: str
    why: str
    role: str = ""  # "host" or "launch", if it applies to only one of them
    line: str = ""  # a regular expression for the details: `Call.line`


# Added to what strace prints of a call on such a descriptor.
NON_BLOCKING = "non-blocking"

# From the manual pages (section 2; ip(7) adds ENOBUFS and ENOMEM for any call on such a
# socket). Not included are errors that cannot occur here: EBADF, EFAULT, EINVAL, ENOTSOCK
# and others about wrong arguments; and those that would be a lie, such as a reset seen by
# one side that the other side, which lives, has not sent. All rows that match apply.
ERRNOS = (
    Row("socket", "EMFILE ENFILE ENOBUFS ENOMEM EACCES", "no descriptors, no memory, a sandbox"),
    Row("socketpair", "EMFILE ENFILE ENOMEM", "no descriptors, no memory"),
    Row("bind", "EADDRINUSE EACCES EADDRNOTAVAIL ENOMEM", "taken, forbidden, not ours; no memory"),
    Row("listen", "EADDRINUSE ENOBUFS", "another one that has bound it listens"),
    Row("setsockopt|getsockopt", "ENOBUFS ENOMEM", "no memory"),
    Row("getsockname", "ENOBUFS", "no memory"),
    Row("getpeername", "ENOBUFS ENOTCONN", "no memory; the other side has gone"),
    Row(
        "connect",
        "ECONNREFUSED EADDRNOTAVAIL EAGAIN EINTR ENETUNREACH EPERM ETIMEDOUT ENOBUFS",
        "nobody, no local port, a firewall, a full backlog",
    ),
    Row(
        "accept4?",
        "EAGAIN ECONNABORTED EINTR EMFILE ENFILE ENOBUFS ENOMEM EPERM EPROTO",
        "all but old streams",
    ),
    Row("recv(from|msg)", "EINTR ENOMEM ENOBUFS", "a signal, no memory"),
    Row("recv(from|msg)", "EAGAIN", "nothing there after all", line=NON_BLOCKING),
    # The host's end of the connection lives, so it would be a lie if a launch saw a reset. A host that
    # believes in a reset closes its end, and then it is true for both.
    Row("recv(from|msg)", "ECONNRESET", "the launch was killed", role="host", line="<TCP"),
    Row("send(to|msg)", "EINTR ENOBUFS ENOMEM", "a signal, no memory"),
    Row("send(to|msg)", "EAGAIN", "no memory for the buffer", line=NON_BLOCKING),
    Row("send(to|msg)", "EPIPE ECONNRESET", "the host has reset", role="launch"),
    Row("shutdown", "ENOBUFS", "no memory"),
    Row("shutdown", "ENOTCONN", "the host has reset", role="launch"),
    Row("epoll_create1?", "EMFILE ENFILE ENOMEM", "no descriptors, no memory"),
    Row("epoll_ctl", "ENOMEM", "no memory", line="EPOLL_CTL_(ADD|MOD)"),
    Row("epoll_ctl", "ENOSPC", "max_user_watches is reached", line="EPOLL_CTL_ADD"),
    Row("epoll_p?wait2?", "EINTR", "a signal"),
    Row("p?poll|p?select6?", "EINTR ENOMEM", "a signal, no memory"),
    Row("clone3?", "EAGAIN ENOMEM", "no more threads"),
    Row("mmap|mprotect", "ENOMEM", "no memory"),
    Row("clock_nanosleep|getrandom", "EINTR", "a signal"),
    Row("mremap", "ENOMEM", "no memory"),
    Row("getcwd", "ENOENT EACCES ENOMEM", "the directory was deleted, or is not ours; no memory"),
    # For keys on disk.
    Row("open(at)?", "EMFILE ENFILE ENOMEM", "no descriptors, no memory"),
    # What is denied in /proc is denied to all programs of a user, and not to one of them once.
    Row("open(at)?", "EACCES", "not ours", line=r'^(?!.*"/proc/)'),
    Row("read|pread64", "EINTR EIO", "a signal, a bad disk"),
    Row("write", "EINTR EIO ENOSPC", "a signal, a bad disk, a full one"),
    Row("fsync|fdatasync", "EIO ENOSPC", "a bad disk, a full one"),
    Row("(new)?f?statx?(at)?|access|faccessat2?", "ENOMEM", "no memory", line='"'),
    # If the home cannot be examined, it is somebody else's, and the key is in the account's home.
    Row("(new)?f?statx?(at)?|access|faccessat2?", "EACCES", "not ours", line=r"/\.local"),
    Row(
        "mkdir(at)?|f?chmod(at)?|readlink(at)?|getdents64|link(at)?|rename(at2?)?|unlink(at)?|rmdir",
        "EACCES ENOSPC",
        "not ours, a full disk",
    ),
)

# For these calls there is only SIGKILL.
NEVER_FAIL = {
    "close": "a fault would leave it open, but Linux closes it whatever it returns",
    "ioctl|fcntl|dup": "fails only for wrong arguments",
    "futex": "the C library handles what may fail, and ends the process at any other errno",
    "munmap|madvise|brk": "the C library does not need them to succeed",
    "rt_sig.*|sigaltstack|gettid|getpid|getuid|geteuid|rseq|set_robust_list|umask": "cannot fail",
    "sched_.*|clock_gettime|lseek|exit|exit_group|prlimit64|uname": "fails only for wrong arguments",
}


# Not our error: a new thread that finds no memory before it runs any Python ends, and
# `Thread.start` waits for it for ever (CPython, gh-140746). It is reported, but not counted.
DEAD_AT_BIRTH = re.compile(r"Exception ignored in thread started by[^\n]*\n(.*\n)*MemoryError")

# What the library logs before it continues: it starts the thread as soon as that is possible.
LOGGED = re.compile(
    r"Start of the observer thread raised exception: .*\nTraceback.*\n(?: .*\n)*\w+Error: .*\n"
)


class Call(NamedTuple):
    """The n-th call of that name by a thread, counted from when strace was attached."""

    role: str  # whose call it is: "host" or "launch"
    thread: str  # "main", or "thread" for any thread of the library
    name: str
    n: int
    number: int  # the system's number of the call
    line: str  # what strace printed, and perhaps `NON_BLOCKING`


class Case(NamedTuple):
    call: Call
    fault: str

    @property
    def id(self) -> str:
        return f"{self.call.role}.{self.call.thread}.{self.call.name}.{self.call.n}.{self.fault}"


class Overdue(Exception):
    """A step took longer than `PATIENCE`."""


class Template:
    """A process of `launched.py`, whose forks are the launches."""

    def __init__(self) -> None:
        # PR_SET_CHILD_SUBREAPER: processes whose parent has ended become children of this one.
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Without site: installed packages do not matter.
        command = [sys.executable, "-I", "-S", "-B", str(HERE / "launched.py"), str(other.fileno())]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env, pass_fds=[other.fileno()]
        )
        other.close()
        # Held from a request to its reply, by the threads of `LANES`.
        self._lock = threading.Lock()

    def preload(self, names: list[str]) -> None:
        self._socket.send(json.dumps(names).encode())

    def fork(self, orders: dict[str, Any], streams: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(orders).encode()], streams)
            return int(self._socket.recv(100))

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


class Launch:
    """A launch, and what is known about it."""

    def __init__(self, label: str, orders: dict[str, Any], template: Template) -> None:
        self.label = label
        self.asks = orders["options"].get("answer", False)
        theirs, self._stdin = os.pipe()
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        self.pid = template.fork(orders, [theirs, stdout, stderr])
        for stream in (theirs, stdout, stderr):
            os.close(stream)
        self.lines: list[str] = []
        self._rest = b""
        self.err = ""
        self.status: int | None = None  # None: it has not ended
        self.ended_by_us = False
        self.hung = ""  # the step that took too long
        self.leaving = False  # it was asked to release
        self.came_after_fault = False  # so nothing could disturb it any more

    def write(self, text: str) -> None:
        if self.status is None:
            with contextlib.suppress(BrokenPipeError):  # it has ended; reading shows that
                os.write(self._stdin, text.encode() + b"\n")

    def wait_for(self, *beginnings: str) -> str | None:
        """Return the first line, new or not, that begins like that; None if the process ends without it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in self.lines:
                if line.split()[0] in beginnings:
                    return line
            if not self._read(deadline):
                return None

    def wait_for_end(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass

    def _read(self, deadline: float) -> bool:
        """Read some more; return False once it has ended."""
        if self.status is not None:
            return False
        ready, _, _ = select.select([self._stdout], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise Overdue
        data = os.read(self._stdout, 1 << 16)
        if data:
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.lines += [line.decode() for line in lines]
            return True
        self._reap()
        return False

    def _reap(self) -> None:
        with open(self._stderr, "rb") as stderr:
            self.err = stderr.read().decode()
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        for stream in (self._stdin, self._stdout):
            os.close(stream)

    def is_over(self) -> bool:
        """Return whether the process has ended, without reading what it said."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> None:
        """End it if it has not ended."""
        if self.status is None:
            self.ended_by_us = True
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def said(self, beginning: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.lines if line.split()[0] == beginning]

    @property
    def is_host(self) -> bool:
        """Whether it lives, has the port, and was not asked to release it."""
        return self.was_host and self.status is None and not self.leaving

    @property
    def was_host(self) -> bool:
        return bool(self.said("host"))

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL and not self.ended_by_us


class Strace:
    """strace, attached to a process; with one fault to inject, or without."""

    def __init__(self, launch: Launch, log: Path, case: Case | None) -> None:
        self.log = log
        if case is None:
            what = ["--follow-forks", "--decode-fds=socket"]
        else:
            how = "signal=KILL" if case.fault == KILL else f"error={case.fault}"
            what = [f"--trace={case.call.name}", f"--inject={case.call.name}:{how}:when={case.call.n}"]
            # Only the main thread makes its calls; in other threads, each one counts for itself.
            what += ["--follow-forks"] * (case.call.thread == "thread")
        command = ["strace", "--syscall-number", *what, f"--output={log}", f"--attach={launch.pid}"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.error = ""
        line = self._process.stderr.readline().decode()
        if "attached" not in line:
            self.error = (line + self._process.stderr.read().decode()).strip()

    def end(self) -> None:
        """Read to the end: strace ends with the process that it is attached to."""
        self._process.stderr.read()
        self._process.wait()
        self._process.stderr.close()


class Story:
    """A host, two launches, the end of the host, one more launch; and what happened to them."""

    _counter = itertools.count()

    def __init__(
        self,
        folder: Path,
        template: Template,
        named: bool,
        role: str,
        case: Case | None,
        pad: tuple = (0, 0),
    ) -> None:
        self.case = case
        self.log = folder / "strace.log"
        self.broken: list[str] = []  # what is noticed meanwhile; `judge` finds the rest
        self.missed = False  # whether the fault did not happen
        self._folder, self._template, self._named = folder, template, named
        self._traced, self._pad = ("host", "launch").index(role), pad
        if named:
            self._options: dict[str, Any] = {"name": f"system-calls.{os.getpid()}.{next(self._counter)}"}
        else:
            self._options = {"port": free_port()}
        self.launches: list[Launch] = []
        # Where the current host listens.
        self._place: tuple[str, int] | None = None

    def tell(self, list_modules: bool = False) -> Story:
        strace = None
        try:
            for index, label in enumerate(("host", "first", "second", "third")):
                orders = {
                    "home": str(self._folder),
                    "options": {**self._options, "answer": self._named and label == "first"},
                    "words": [label],
                    "traced": index == self._traced and not list_modules,
                    "pad": self._pad,
                    "list_modules": list_modules,
                }
                self.launches.append(Launch(label, orders, self._template))
            host, *others = self.launches
            traced = self.launches[self._traced]
            self._step(traced, "start", traced.wait_for, "ready")
            if not list_modules:
                strace = Strace(traced, self.log, self.case)
                if strace.error:
                    self.broken.append(f"strace: {strace.error}")
                    return self
            self._construct(host)
            for launch in others[:2]:
                self._construct(launch)
            self._end_hosts()
            self._construct(others[2])
            self._end_hosts()
            for launch in self.launches:
                launch.write("")  # one that raised is still there
                self._step(launch, "end", launch.wait_for_end)
        finally:
            for launch in self.launches:
                launch.end()
            if strace is not None:
                strace.end()
        self.missed = self.case is not None and not self._came_to_pass()
        return self

    def _step(self, launch: Launch, step: str, what: Any, *args: str) -> Any:
        try:
            return what(*args)
        except Overdue:
            # The rest is judged without it: one that hangs is not a host, and does not block others.
            launch.hung = launch.hung or step
            launch.end()
            return None

    def _construct(self, launch: Launch) -> None:
        """Have ``launch`` construct, and check what happened to it and to the host."""
        self._step(launch, "start", launch.wait_for, "ready")
        if launch.hung or launch.status is not None:
            return
        before = self._host()
        launch.came_after_fault = self.case is None or self._came_to_pass()
        launch.write("")
        line = self._step(launch, "constructor", launch.wait_for, "host", "raised")
        if line is None and not launch.hung:
            self._step(launch, "end", launch.wait_for_end)
        self._settle(launch)
        after = self._host(except_for=launch)
        if before is not None and before is after:
            if launch.is_host:
                self.broken.append(f"two hosts: {before.label} and {launch.label}")
            elif not try_port(*self._place):
                self.broken.append(f"{before.label} is the host, and its port can be bound")
        if (
            before is None
            and after is None
            and not (launch.is_host or launch.was_killed or launch.said("raised"))
        ):
            self.broken.append(f"{launch.label} found no host, and did not become it")

    def _settle(self, launch: Launch) -> None:
        """Wait for what the host, if it lives, still has to do for this launch."""
        host = self._host(except_for=launch)
        if host is None or launch.status != 0:
            return
        with contextlib.suppress(Overdue):  # `judge` finds it missing
            deadline = time.monotonic() + PATIENCE
            while launch.label not in host.said("got") and host._read(deadline):
                pass

    def _host(self, except_for: Launch | None = None) -> Launch | None:
        for launch in self.launches:
            if launch.is_host and launch is not except_for:
                if launch.is_over():
                    launch.wait_for_end()
                    continue
                address, port = launch.said("host")[0].split()
                self._place = (address, int(port))
                return launch
        return None

    def _end_hosts(self) -> None:
        """Have each host release, and check whether its port is free then; it ends only afterwards."""
        for launch in self.launches:
            if self._host() and launch.is_host:
                launch.leaving = True
                launch.write("")
                line = self._step(launch, "release", launch.wait_for, "released")
                if line is not None and try_port(*self._place):
                    self.broken.append(f"{launch.label} has released, and its port is not free")
                launch.write("")
                if not launch.hung:
                    self._step(launch, "end", launch.wait_for_end)

    def _came_to_pass(self) -> bool:
        """Whether the fault happened to the thread that it was meant for; strace writes line by line."""
        log = self.log.read_text(errors="replace") if self.log.exists() else ""
        if self.case.fault == KILL:
            return "killed by SIGKILL" in log
        # For a single thread, strace does not print the number.
        main = str(self.launches[self._traced].pid)
        hit = [line.split()[0] for line in log.splitlines() if line.endswith("(INJECTED)")]
        return any(thread != main for thread in hit) if self.case.call.thread == "thread" else bool(hit)


def judge(story: Story) -> list[str]:
    """Return the promises that this story breaks."""
    broken = list(story.broken)
    killed = any(launch.was_killed and launch.was_host for launch in story.launches)
    delivered = collections.Counter(
        words for launch in story.launches for words in launch.said("got") + launch.said("left")
    )
    for launch in story.launches:
        times = delivered[launch.label]
        if times > 1:
            broken.append(f"{launch.label} was delivered {times} times")
        if launch.hung:
            broken.append(f"{launch.label} hung: {launch.hung}")
        elif not (launch.was_killed or launch.ended_by_us):
            lost = not (times or killed or launch.was_host)
            broken += [f"{launch.label} {what}" for what in judge_end(launch, lost)]
    return broken


def judge_end(launch: Launch, lost: bool) -> Iterator[str]:
    """Yield what is wrong with how this process ended; ``lost``: it should have been delivered."""
    err = LOGGED.sub("", launch.err)
    if "Traceback" in err and not is_documented(launch):
        yield f"has a traceback: {last(err)}"
    if launch.status == 0 and err.strip():
        yield f"ended with status 0 and said {last(err)!r}"
    elif launch.status == 0 and lost:
        yield "ended with status 0 and was not delivered"
    elif launch.status == 0 and launch.asks and not launch.was_host and len(launch.said("printed")) < LINES:
        yield "ended with status 0 and without all that was printed to it"
    elif launch.status and not launch.err:
        yield f"ended with status {launch.status} and said nothing"
    elif launch.status and launch.came_after_fault:
        yield f"came after the fault and ended with status {launch.status}: {last(launch.err)}"


def is_documented(launch: Launch) -> bool:
    """Whether the constructor's docstring names the error that it raised."""
    return launch.said("raised") in (["OSError"], ["PermissionError"], ["RuntimeError"])


def last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


# -- which cases there are --


def read_calls(log: str, role: str, home: str) -> list[Call]:
    """Return the calls that strace printed, from the first socket or the first access to ``home`` on."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    calls: list[Call] = []
    main = ""
    begun = False
    non_blocking: set[str] = set()
    for line in log.splitlines():
        match = re.match(r"(\d+) +\[ *(\d+)\] (\w+)\((.*)", line)
        if not match:
            continue  # the end of a call or of a thread
        thread, number, name, rest = match.groups()
        main = main or thread
        counts[thread, name] += 1
        begun = begun or name == "socket" or f'"{home}' in rest
        # Its reports, its permissions, and its last words on stderr.
        ours = name in ("readv", "writev") or (name == "write" and re.match(r"2\b", rest))
        if begun and not ours:
            kind = "main" if thread == main else "thread"
            descriptor = re.match(r"\d*", rest).group()
            non_blocking -= {descriptor} if name == "close" else set()
            non_blocking |= {descriptor} if re.search(r"FIONBIO, \[1\]|O_NONBLOCK", rest) else set()
            known = rest + f" {NON_BLOCKING}" * (descriptor in non_blocking)
            calls.append(Call(role, kind, name, counts[thread, name], int(number), known))
    return calls


def errnos_of(call: Call) -> list[str] | None:
    """Return the errnos with which this call can fail; None if no row says so."""
    if any(re.fullmatch(names, call.name) for names in NEVER_FAIL):
        return []
    rows = [row for row in ERRNOS if re.fullmatch(row.call, call.name)]
    if not rows:
        return None
    return [
        errno
        for row in rows
        if row.role in ("", call.role) and re.search(row.line, call.line)
        for errno in row.errnos.split()
    ]


def make_cases(calls: list[Call]) -> Iterator[Case]:
    """Yield each call with each fault once: if two threads do the same, that counts as one."""
    seen = set()
    for call in calls:
        for fault in (KILL, *(errnos_of(call) or ())):
            case = Case(call, fault)
            if case.id not in seen:
                seen.add(case.id)
                yield case


def pad_for(case: Case, calls: list[Call]) -> tuple[int, int]:
    """Return which call the main thread makes without effect, and how often, before it constructs.

    strace counts the calls of each thread from 1. The main thread is beyond the number from the start, so
    that only a thread of the library can reach it.
    """
    same = [call.n for call in calls if call.name == case.call.name]
    # More than in that run, since the number differs from run to run.
    never = case.call.thread == "main" or case.call.name.startswith(("exit", "rt_sigreturn"))
    return case.call.number, 0 if never else 2 * max(same) + 10


# -- the command --


class Tool:
    def __init__(self, folder: Path, template: Template, named: bool) -> None:
        self._folder, self._template, self._named = folder, template, named
        self._numbers = itertools.count()

    def find(self) -> dict[str, list[Call]]:
        """Return the calls of each role, from runs without a fault; raise `SystemExit` if those fail."""
        story = self._tell("host", list_modules=True)
        self._stop_if_broken(story)
        host, first = story.launches[:2]
        modules = " ".join((host.said("modules")[-1], first.said("modules")[-1])).split()
        self._template.preload(sorted(set(modules) - {"__main__"}))
        found = {}
        for role in ("host", "launch"):
            story = self._tell(role)
            self._stop_if_broken(story)
            found[role] = read_calls(story.log.read_text(errors="replace"), role, str(story.log.parent))
        return found

    def run(self, case: Case, calls: list[Call]) -> Story:
        return self._tell(case.call.role, case, pad_for(case, calls))

    def _tell(self, role: str, case: Case | None = None, pad: tuple = (0, 0), **more: bool) -> Story:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        return Story(folder, self._template, self._named, role, case, pad).tell(**more)

    def _stop_if_broken(self, story: Story) -> None:
        if any("ermitted" in line for line in story.broken):
            print(f"NOT PERMITTED: no process can be traced here, so nothing was checked ({story.broken[0]})")
            raise SystemExit(NOT_PERMITTED)
        broken = judge(story)
        if broken:
            raise SystemExit(f"without any fault: {'; '.join(broken)}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="The docstring of this file says more."
    )
    parser.add_argument(
        "--case", action="append", metavar="ID", help="only this one; * and ? match; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="print the cases and run none")
    parser.add_argument("--name", action="store_true", help="have singletons with a name")
    parser.add_argument("--verbose", action="store_true", help="show what each process of a broken case said")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    given = parse(argv)
    if sys.platform != "linux" or not shutil.which("strace"):
        print("strace is needed, which is on Linux alone (Debian: apt-get install strace)")
        return 2
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Template()) as template:
        tool = Tool(Path(folder), template, given.name)
        calls = tool.find()
        cases = list(make_cases([*calls["host"], *calls["launch"]]))
        if given.case:
            cases = [case for case in cases if any(fnmatch.fnmatchcase(case.id, one) for one in given.case)]
            if not cases:
                print(f"no such case: {' '.join(given.case)} (--list)")
                return 2
        if given.list:
            print(*(case.id for case in cases), sep="\n")
            return 0
        return run_all(tool, cases, calls, given.verbose)


def run_all(tool: Tool, cases: list[Case], calls: dict[str, list[Call]], verbose: bool) -> int:
    began = time.monotonic()
    bad = missed = known = 0
    with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
        stories = lanes.map(lambda case: tool.run(case, calls[case.call.role]), cases)
        for story in stories:
            missed += story.missed
            broken = judge(story)
            if broken and any(DEAD_AT_BIRTH.search(launch.err) for launch in story.launches):
                known += 1
                print(f"{story.case.id}: not ours, CPython gh-140746: {'; '.join(broken)}")
            elif broken:
                bad += 1
                print(f"{story.case.id}: {'; '.join(broken)}", flush=True)
                if verbose:
                    show(story)
    unknown = sorted({call.name for role in calls for call in calls[role] if errnos_of(call) is None})
    if unknown:
        print(f"no row in ERRNOS or NEVER_FAIL: {', '.join(unknown)}")
    if missed > MOST_MISSED * len(cases):
        print("too many faults did not come to pass: this run proves nothing")
    print(
        f"{len(cases)} cases, {bad} broken, {known} by CPython itself;"
        f" in {missed} the fault did not come to pass; {time.monotonic() - began:.0f} s"
    )
    return int(bool(bad or unknown or missed > MOST_MISSED * len(cases)))


def show(story: Story) -> None:
    print(f"    fault at: {story.case.call.name}({story.case.call.line}")
    for launch in story.launches:
        print(f"    {launch.label}: status {launch.status}, {launch.lines}")
        print(*(f"        {line}" for line in launch.err.splitlines()), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
