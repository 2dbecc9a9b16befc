"""Everything at once against one port, at random, and the promises checked throughout.

    python benchmarks/soak.py --seconds 60 --seed 7

Launches come in a stream, each a process of its own: interpreters with a real
command line, and, for volume, forked children. Whoever becomes the host lives
for some tens of milliseconds and releases, times out, reaches its threshold,
just ends, or is killed; launches are killed, too. Between them come peers that
reset, stall, dribble, show a wrong secret or send garbage.

Time is cut into rounds. In a round every process appends to one log, each line
in one write, before it acts: so the log survives SIGKILL. When all have ended,
the log and the exit statuses are judged (class `Judge`, a method for each):

1. *Never two hosts.* A host surely held the port from when its constructor had
   returned to the earliest of: it was about to release; it was about to be
   killed; its timeout, counted from before the constructor; the last look at
   which it was below its threshold. Two such times must not overlap. All are
   read from the monotonic clock, which Linux has one of for all processes.
2. *No launch vanishes.* A launch was the host; or it ended with status 0 and
   its arguments are in the log exactly once, written by an observer or found in
   `arguments` after `release`; or it ended with another status and said why.
   The last must not happen here, since somebody always serves or the port is
   free. What remains: what a host owned when it was killed is lost with it. So
   a launch may be missing if the log says that a host which was killed owned it; or,
   if it was not told so, was about to: killed after the launch began and at most
   `KILL_GRACE` after it ended, which must be next to never. Every other round is
   without kills, hence without these excuses.
3. *Never twice, never changed.* No launch is in the log twice; each is there as
   it was sent; none is there that did not end its stream, had the wrong secret,
   or was answered by a reset.
4. *In time, and quietly.* Each launch ends within `LAUNCH_TIME`, each host's
   threads with its release; stderr is empty but for a launch that was told; the
   port is free when all have ended.

The machine itself may stop for a while, and a launch has but 2 seconds. Where
this program, too, was kept waiting for `STALL` or longer, a launch that was told
or late is counted and not held against anyone.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import zlib
from typing import Any, Callable, Iterator, NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
from Socket_Singleton._wire import decode

ADDRESS = "127.0.0.1"
SECRET = "open sesame"
ACK = b"\x06"

AT_ONCE = 24  # processes
EVENTS = 400  # in a round
SHOWN = 20  # violations, in words

# Seconds from the constructor of a launch to its end as a process, or to its life
# as a host. It has 2 for the network; the rest is for an interpreter to end where
# two dozen of them share two busy cores.
LAUNCH_TIME = 3.5
# From the end of a host's connection to that of its launch, as a process.
KILL_GRACE = 0.5
# For the threads of a host to end after release: observers here sleep for 20 ms at most.
THREADS_TIME = 5.0
STALL = 0.5
LONGEST_HOST = 3.0
KILL_TIME = 1.0  # for the supervisor to kill whom it is to kill
# Beyond it a child is a violation, and is killed; longer than any planned life.
CHILD_TIME = 20.0
PROGRESS = 10.0


# The first or the last argument of a launch; a piece of it is no name.
NAME = re.compile(r"launch (\d+);$")


# -- what happens, drawn from the seed --


class Role(NamedTuple):
    """What one launch is told; most of it is for the case that it becomes the host."""

    number: int
    log: str
    port: int
    secret: str
    ending: str  # release, threads, observer, timeout, threshold, exit (interpreters only), killed
    life: float
    threshold: int
    observer: str  # quick, slow, raises, late, none
    linger: float  # seconds from the end of the host to the end of its process
    switch: float  # how often threads take turns: short ones make races likely


class Event(NamedTuple):
    """One process: a launch or a peer."""

    role: Role
    kind: str
    args: tuple[str, ...]  # of a launch or friend; of others, what must never be delivered
    payload: bytes  # garbage
    peers: int  # connections of a staller
    hold: float  # seconds that a peer takes
    kill_after: float  # seconds from its start; 0: not at all
    pause: float  # seconds until the next event


KINDS = {"forked": 60, "interpreter": 22, "friend": 4, "reset": 4, "stall": 3, "wrong": 3, "garbage": 4}
LAUNCHES = ("forked", "interpreter")
ENDINGS = ("release", "release", "threads", "observer", "timeout", "threshold", "exit")
OBSERVERS = ("quick", "quick", "slow", "raises", "late", "none")


class Setting(NamedTuple):
    """What the processes of one round have in common."""

    seed: str
    folder: str
    port: int
    secret: str
    kills: bool

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "log")


def schedule(setting: Setting) -> Iterator[Event]:
    """Yield the events of a round; the same ones for the same seed."""
    import random

    draw = random.Random(setting.seed)
    burst = 0
    for number in range(EVENTS):
        kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
        killed = setting.kills and kind in LAUNCHES and draw.random() < 0.4
        role = Role(
            number=number,
            log=setting.log,
            port=setting.port,
            secret=setting.secret,
            ending="killed" if killed else draw.choice(ENDINGS if kind == "interpreter" else ENDINGS[:-1]),
            life=draw.uniform(1, LONGEST_HOST) if draw.random() < 0.01 else draw.uniform(0.01, 0.25),
            threshold=draw.randint(1, 8),
            # Whoever is killed must have been quick, or much is lost with it.
            observer="quick" if killed else draw.choice(OBSERVERS),
            linger=draw.choice((0, 0, draw.uniform(0, 0.1))),
            switch=draw.choice((0.005, 0.00001)),
        )
        burst = burst - 1 if burst else draw.choice((0, 0, 0, 0, 0, 0, 0, 20))
        yield Event(
            role=role,
            kind=kind,
            args=draw_args(draw, number, huge=kind != "interpreter" and number % 50 == 0),
            payload=draw.getrandbits(8 * draw.choice((1, 30, 5000, 60_000))).to_bytes(60_000, "little"),
            peers=draw.choice((1, 1, 10, 40, 280)),
            hold=draw.uniform(0.02, 1.5),
            kill_after=draw.uniform(0.001, draw.choice((0.05, 0.3, 0.3))) if killed else 0,
            pause=0 if burst else draw.choice((0.002, 0.005, draw.uniform(0, 0.05))),
        )


def draw_args(draw: Any, number: int, huge: bool) -> tuple[str, ...]:
    """Return arguments of all kinds; the first or the last one says whose they are."""
    kinds: dict[str, Callable[[], str]] = {
        "empty": lambda: "",
        "word": lambda: draw.choice(("--file", "-", "a b", "\n", "\x06", "\x15", "\\", '"', "\r\n\t")),
        "unicode": lambda: "".join(chr(draw.choice((0xE9, 0x4E2D, 0x1F600, 0x10FFFF))) for _ in range(9)),
        "bytes": lambda: any_text(draw, draw.randint(1, 40)),
        "long": lambda: any_text(draw, draw.randint(1000, 100_000)),
    }
    words = [
        kinds[kind]() for kind in draw.choices(("empty", "word", "unicode", "bytes"), k=draw.randrange(6))
    ]
    size = draw.random()
    if huge:
        words += [any_text(draw, 2_000_000)]
    elif size < 0.08:
        words += [kinds["long"]()]
    elif size < 0.1:
        words += [kinds["bytes"]() for _ in range(1000)]
    name = f"launch {number};"
    return (name, *words) if draw.random() < 0.5 else (*words, name)


def any_text(draw: Any, size: int) -> str:
    """Return what a command line of ``size`` random bytes is in Python: mostly not UTF-8."""
    data: bytes = draw.getrandbits(8 * size).to_bytes(size, "little").replace(b"\0", b"0")
    return data.decode("utf-8", "surrogateescape")


def to_bytes(args: tuple[str, ...]) -> bytes:
    return "\0".join(args).encode("utf-8", "surrogateescape")


def digest(args: tuple[str, ...]) -> str:
    data = to_bytes(args)
    return f"{len(args)}:{len(data)}:{zlib.crc32(data):08x}"


# -- in a child: the launch, which may be the host --


class Log:
    """Lines ``WHAT NUMBER TIME MORE``, each written in one step."""

    def __init__(self, role: Role) -> None:
        self._number = role.number
        self._file = os.open(role.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, what: str, *more: object) -> None:
        words = [what, self._number, f"{time.monotonic():.9f}", *more]
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def launch(self, what: str, args: tuple[str, ...]) -> None:
        """Write that the launch with ``args`` arrived here."""
        names = [NAME.match(text) for text in (*args[:1], *args[-1:])]
        self(what, next((name[1] for name in names if name), "stray"), digest(args))


class Witnessed(Socket_Singleton):
    """Logs what it owns before it tells so: what it takes along when it is killed is known."""

    log: Log

    def _serve(self, listener: socket.socket) -> None:
        from Socket_Singleton._delivery import Delivery

        put = Delivery.put

        def logged(delivery: Delivery, packet: bytearray) -> None:
            self.log.launch("owned", decode(packet))
            put(delivery, packet)

        Delivery.put = logged
        super()._serve(listener)


def interpreter_main() -> None:
    """Be a launch that is an interpreter of its own, with its arguments in `sys.argv`."""
    sys.exit(launch(Role(*json.loads(os.environ["SOAK_ROLE"])), strict=True))


def launch(role: Role, strict: bool) -> int:
    """Be one launch, from its begin to its end; return the exit status."""
    log = Log(role)
    sys.setswitchinterval(role.switch)
    ended_by_exit: list[Socket_Singleton] = []
    # Registered before the library's own, so that it runs after it.
    atexit.register(lambda: [account(app, log) for app in ended_by_exit])
    Witnessed.log = log
    log("begins")
    before = time.monotonic()
    try:
        app = Witnessed(
            ADDRESS,
            role.port,
            timeout=role.life if role.ending == "timeout" else 0,
            strict=strict,
            release_threshold=role.threshold if role.ending == "threshold" else 0,
            secret=role.secret,
        )
    except MultipleSingletonsError as error:
        log("second", error.delivered)
        if error.delivered is False:
            print(error, file=sys.stderr)
        return int(error.delivered is False)
    log("host", f"{before:.9f}")
    be_host(app, role, log)
    if role.ending == "exit":
        ended_by_exit.append(app)
    else:
        accounted = account(app, log)
        time.sleep(role.linger)
        for args in app.arguments[accounted:]:
            log.launch("late", args)
    return 0


def be_host(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Live as ``role`` says, and give up the port; each way says so in the log before it does."""
    over = threading.Event()
    end = time.monotonic() + role.life

    def leave() -> None:
        log("leaves")
        app.release()
        over.set()

    def observe(args: tuple[str, ...]) -> None:
        log.launch("got", args)
        if role.ending == "observer" and time.monotonic() > end - role.life / 2:
            leave()
        if role.observer == "slow":
            time.sleep(0.02)
        if role.observer == "raises":
            raise SystemExit(3)

    if role.observer == "late":
        over.wait(role.life / 2)
    if role.observer != "none":
        app.trace(observe)
    live(app, role, log, over)
    if role.ending == "exit":
        log("leaves")
        return
    if role.ending == "threads":
        threading.Thread(target=leave).start()
    leave()


def live(app: Socket_Singleton, role: Role, log: Log, over: threading.Event) -> None:
    if role.ending == "threshold":
        watch_threshold(app, role, log)
    elif role.ending == "timeout":
        over.wait(role.life + 0.05)  # until the host has closed by itself
    else:
        over.wait(KILL_TIME if role.ending == "killed" else role.life)


def watch_threshold(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Wait until the threshold is reached, or for `LONGEST_HOST`; log that it is not, again and again."""
    end = time.monotonic() + LONGEST_HOST
    while True:
        now = time.monotonic()
        if app.clients >= role.threshold or now > end:
            return
        # Below the threshold after `now` was read: the port was held then.
        log("holds", f"{now:.9f}")
        time.sleep(0.005)


def account(app: Socket_Singleton, log: Log) -> int:
    """Log what a host that has released owns and no observer was given; return how many that are."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREADS_TIME)
            if thread.is_alive():
                log("stuck", thread.name.replace(" ", "_"))
    left = app.arguments
    for args in left:
        log.launch("left", args)
    return len(left)


# -- in a child: a peer that is not a launch --


def be_peer(event: Event) -> None:
    """Be a peer of ``event.kind``."""
    try:
        {"friend": friend, "reset": reset, "stall": stall, "wrong": wrong, "garbage": garbage}[event.kind](
            event
        )
    except OSError:
        pass  # the host may drop any peer; a friend looks for itself


def connect(event: Event, resets: bool = False) -> socket.socket:
    sock = socket.create_connection((ADDRESS, event.role.port), 3)
    if resets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return sock


def packet(event: Event, secret: str) -> bytes:
    return (secret + "\0" if secret else "").encode() + to_bytes(event.args) + b"\0"


def friend(event: Event) -> None:
    """Send a good packet slowly, and log what the answer is."""
    data = packet(event, event.role.secret)
    log = Log(event.role)
    try:
        with connect(event) as sock:
            step = len(data) // 20 + 1
            for start in range(0, len(data), step):
                sock.sendall(data[start : start + step])
                time.sleep(event.hold / 200)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(1)
            log("friend", {ACK: "owned", b"": "closed"}.get(answer, "other"))
    except ConnectionError:
        log("friend", "nobody")
    except socket.timeout:
        log("friend", "silent")


def reset(event: Event) -> None:
    """Send some of a good packet, or all of it but its end; then reset."""
    data = packet(event, event.role.secret)
    with connect(event, resets=True) as sock:
        sock.sendall(data[: len(data) * event.role.threshold // 8] if event.peers > 1 else b"")
        time.sleep(event.hold / 20)


def stall(event: Event) -> None:
    """Say nothing on some connections, half a packet on others, and hold them; then reset."""
    data = packet(event, event.role.secret)[:5000].rstrip(b"\0")
    with contextlib.ExitStack() as held:
        for number in range(event.peers):
            sock = held.enter_context(connect(event, resets=True))
            if number % 2:
                with contextlib.suppress(OSError):  # over a limit, or the host went
                    sock.sendall(data)
        # Sometimes longer than a launch can wait for its turn, and than a peer is given.
        time.sleep(event.hold * (4 if event.role.threshold > 4 else 1))


def wrong(event: Event) -> None:
    """Show a wrong secret; where none is asked for, end in the middle of a packet."""
    with connect(event, resets=not event.role.secret) as sock:
        sock.sendall(packet(event, "open barley"))
        if event.role.secret:
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)


def garbage(event: Event) -> None:
    """Send anything and end in order; or without end, for a while, and then reset."""
    endless = event.peers > 10
    end = time.monotonic() + event.hold / 5
    with connect(event, resets=endless) as sock:
        sock.sendall(event.payload.rstrip(b"\0"))
        for _ in range(150):
            if not endless or time.monotonic() > end:
                break
            sock.sendall(event.payload)


# -- the supervisor: starts, kills, waits --


class Child:
    """One process of a round, and what the supervisor knows of it."""

    def __init__(self, event: Event) -> None:
        self.number = event.role.number
        self.kind = event.kind
        self.role = event.role
        self.digest = digest(event.args)
        self.pid = 0
        self.began = time.monotonic()
        self.ended = 0.0
        self.status = 0
        self.kill_at = self.began + event.kill_after if event.kill_after else 0.0
        self.killed: float | None = None  # when SIGKILL was about to be sent, if that is what ended it
        self.err = ""

    def __str__(self) -> str:
        ended = f"{self.ended - self.began:.3f} s" if self.ended else "still there"
        return f"{self.kind} {self.number} ({self.digest}; status {self.status}; {ended})"


class Round:
    """The processes of one round, from the first to the last."""

    def __init__(self, setting: Setting, report: Callable[[], None]) -> None:
        self.setting = setting
        self.children: dict[int, Child] = {}  # by number
        self.stalls: list[tuple[float, float]] = []  # when this program was kept waiting, from and to
        self._running: dict[int, Child] = {}  # by pid
        self._report = report

    def run(self, end: float) -> None:
        """Start what is scheduled, until ``end`` at the latest, and wait for all of it."""
        for event in schedule(self.setting):
            while len(self._running) >= AT_ONCE:
                self._tick(0.01)
            if time.monotonic() > end:
                break
            self._start(event)
            self._wait(event.pause)
        while self._running:
            self._tick(0.01)

    def end(self) -> None:
        """End whatever still runs: for a way out at any moment."""
        for pid in list(self._running):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del self._running[pid]

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            self._tick(max(min(left, 0.01), 0))
            if left <= 0:
                return

    def _tick(self, seconds: float) -> None:
        """Wait for the end of a child, for ``seconds`` at most; see to those that ended, or shall."""
        start = time.monotonic()
        signal.sigtimedwait({signal.SIGCHLD}, seconds)
        now = time.monotonic()
        if now - start > seconds + STALL:
            self.stalls.append((start, now))
        for pid, child in list(self._running.items()):
            if (child.kill_at and now >= child.kill_at) or now > child.began + CHILD_TIME:
                child.kill_at = 0.0
                child.killed = time.monotonic()
                os.kill(pid, signal.SIGKILL)
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            self._ended(self._running.pop(pid), status)
        self._report()

    def _ended(self, child: Child, status: int) -> None:
        child.ended = time.monotonic()
        child.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if child.status != -signal.SIGKILL:
            child.killed = None  # it was faster
        path = self._err(child)
        try:
            with open(path, encoding="utf-8", errors="backslashreplace") as file:
                child.err = file.read()
            os.unlink(path)
        except FileNotFoundError:
            pass  # killed before it had one

    def _err(self, child: Child) -> str:
        return os.path.join(self.setting.folder, f"err{child.number}")

    def _start(self, event: Event) -> None:
        child = Child(event)
        # Between the fork and the note of its pid nothing must take us away.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        child.pid = os.fork()
        if not child.pid:
            run_child(event, self._err(child))
        self._running[child.pid] = self.children[child.number] = child
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_child(event: Event, err: str) -> None:
    """Be the child of a fork; does not return."""
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(int(2 * CHILD_TIME))  # whatever becomes of the supervisor
        os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        if event.kind == "interpreter":
            execute(event)
        elif event.kind == "forked":
            sys.argv[1:] = event.args
            status = launch(event.role, strict=False)
        else:
            be_peer(event)
            status = 0
    except BaseException:  # noqa: BLE001 - shown, and a violation
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def execute(event: Event) -> None:
    """Become an interpreter that runs `interpreter_main` with ``event.args`` on its command line."""
    folder = os.path.dirname(event.role.log)
    program = f"import sys; sys.path.insert(0, {HERE!r}); import soak; soak.interpreter_main()"
    options = ["-I", "-S", "-X", "utf8", "-X", f"pycache_prefix={folder}/pycache", "-c", program]
    command = [text.encode("utf-8", "surrogateescape") for text in (sys.executable, *options, *event.args)]
    os.execve(sys.executable, command, {"SOAK_ROLE": json.dumps(event.role)})


# -- the verdict --


class Tenure:
    """When a host surely held the port."""

    def __init__(self, child: Child, before: float, since: float) -> None:
        self.child = child
        self.before = before
        self.since = since
        self.leaves: list[float] = []
        self.holds = before

    @property
    def until(self) -> float:
        """The earliest moment at which it may have given up the port."""
        role = self.child.role
        ends = [*self.leaves, self.child.ended]
        if self.child.killed is not None:
            ends.append(self.child.killed)
        if role.ending == "timeout":
            ends.append(self.before + role.life)
        if role.ending == "threshold":
            ends.append(self.holds)
        return min(ends)


class Arrival(NamedTuple):
    """One launch at one host."""

    host: int
    time: float
    what: str  # got (by an observer), left (found in `arguments`)
    digest: str


class Judge:
    """Judges a round that is over; what it finds is in ``violations`` and ``counts``."""

    def __init__(self, this: Round, counts: dict[str, int]) -> None:
        self.counts = counts
        self.violations: list[str] = []
        self._round = this
        self._children = this.children
        self._launches = [child for child in this.children.values() if child.kind in LAUNCHES]
        self._tenures: dict[int, Tenure] = {}
        self._arrivals: dict[int, list[Arrival]] = collections.defaultdict(list)
        self._owners: dict[int, list[Child]] = collections.defaultdict(list)  # hosts, of launches
        self._answers: dict[int, str] = {}  # what launches and friends said of their end
        self._begins: dict[int, float] = {}  # when launches came to their constructor
        self._read_log()
        # Of those who may have been the host: known not to be are the others.
        self._kills = [
            child.killed
            for child in self._launches
            if child.killed and child.number in self._begins and child.number not in self._answers
        ]

    def judge(self) -> None:
        self._never_two_hosts()
        self._no_launch_vanishes()
        self._friends_are_answered_truly()
        self._never_twice_never_changed()
        self._nobody_is_late()
        self._no_noise()
        self._port_is_free()
        for child in self._children.values():
            self.counts[child.kind] += 1

    def _read_log(self) -> None:
        try:
            with open(self._round.setting.log, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            what, number, when, *more = line.split(" ")
            self._read(what, self._children[int(number)], float(when), more)

    def _read(self, what: str, child: Child, when: float, more: list[str]) -> None:
        if what == "begins":
            self._begins[child.number] = when
        elif what == "host":
            self._tenures[child.number] = Tenure(child, float(more[0]), when)
        elif what == "leaves":
            self._tenures[child.number].leaves.append(when)
        elif what == "holds":
            self._tenures[child.number].holds = float(more[0])
        elif what in ("second", "friend"):
            self._answers[child.number] = more[0]
        elif what == "stuck":
            self._violation("a thread outlives release", child, f"thread {more[0]}")
        else:
            self._read_launch(what, child, when, *more)

    def _read_launch(self, what: str, host: Child, when: float, name: str, content: str) -> None:
        if name == "stray":
            self.counts["strays"] += what != "owned"
            if self._round.setting.secret:
                self._violation("owned without the secret", host, content)
        elif what == "owned":
            self._owners[int(name)].append(host)
        else:
            self._arrivals[int(name)].append(Arrival(host.number, when, what, content))

    def _never_two_hosts(self) -> None:
        last: Tenure | None = None
        for tenure in sorted(self._tenures.values(), key=lambda tenure: tenure.since):
            self.counts["hosts"] += 1
            self.counts["hosts that " + HOW_HOSTS_END[tenure.child.role.ending]] += 1
            if tenure.until <= tenure.since:
                continue  # it may have given up the port before it could say that it had it
            self.counts["hosts whose time was checked"] += 1
            if last is not None and tenure.since < last.until:
                overlap = min(last.until, tenure.until) - tenure.since
                self._violation("two hosts", tenure.child, f"{overlap:.6f} s beside {last.child}")
            if last is None or tenure.until > last.until:
                last = tenure

    def _no_launch_vanishes(self) -> None:
        for child in self._launches:
            arrived = bool(self._arrivals[child.number])
            if child.number in self._tenures:
                if arrived:
                    self._violation("host, and delivered", child)
            elif child.killed is not None:
                self.counts["killed launches"] += 1
            elif child.status:
                self._was_told(child, arrived)
            else:
                self._was_delivered(child, arrived, self._answers.get(child.number) != "None")

    def _was_told(self, child: Child, arrived: bool) -> None:
        self.counts["told"] += 1
        if self._stalled(child):
            self.counts["told as the machine stalled"] += 1
        else:
            self._violation("told, and delivered" if arrived else "told", child)

    def _was_delivered(self, child: Child, arrived: bool, confirmed: bool) -> None:
        if arrived and confirmed:
            self.counts["delivered"] += 1
        elif confirmed and any(owner.killed is not None for owner in self._owners[child.number]):
            self.counts[LOST] += 1
        elif confirmed:
            self._violation("vanished", child)
        elif self._kill_near(child):
            self.counts[UNSURE] += 1
        else:
            self._violation("unsure", child, "it arrived" if arrived else "it did not arrive")

    def _friends_are_answered_truly(self) -> None:
        for child in self._children.values():
            answer = self._answers.get(child.number)
            if child.kind != "friend" or answer is None:
                continue
            self.counts[f"friends: {answer}"] += 1
            arrived = bool(self._arrivals[child.number])
            if answer == "nobody" and arrived:
                self._violation("answered by a reset, and delivered", child)
            elif answer == "owned":
                self._was_delivered(child, arrived, confirmed=True)
            elif answer == "closed":
                self._was_delivered(child, arrived, confirmed=False)
            elif answer in ("silent", "other") and not self._stalled(child):
                self._violation("a good packet had no answer", child, answer)

    def _never_twice_never_changed(self) -> None:
        for number, arrivals in self._arrivals.items():
            child = self._children[number]
            self.counts["found in arguments"] += arrivals[0].what == "left" if arrivals else 0
            if len(arrivals) > 1:
                self._violation("delivered twice", child, str(arrivals))
            for arrival in arrivals:
                if arrival.what == "late":
                    self._violation("delivered after release", child, str(arrival))
                if child.kind not in (*LAUNCHES, "friend"):
                    self._violation("delivered, and never was a whole packet", child, str(arrival))
                elif arrival.digest != child.digest:
                    self._violation("changed on the way", child, str(arrival))

    def _nobody_is_late(self) -> None:
        for child in self._launches:
            tenure = self._tenures.get(child.number)
            begin = self._begins.get(child.number, child.ended)
            took = (tenure.since if tenure else child.ended) - begin
            self._longest("longest launch, ms", took)
            if took > LAUNCH_TIME:
                if self._stalled(child):
                    self.counts["late as the machine stalled"] += 1
                else:
                    self._violation("late", child, f"{took:.3f} s")

    def _no_noise(self) -> None:
        for child in self._children.values():
            lines = child.err.splitlines()
            was_told = child.kind in LAUNCHES and child.status == 1
            fine = len(lines) == 1 and lines[0].startswith("Socket_Singleton: ") if was_told else not lines
            if not fine:
                self._violation("noise on stderr", child)
            if child.status and not was_told and child.killed is None:
                self._violation("a strange status", child)
            if child.ended - child.began > CHILD_TIME:
                self._violation("does not end", child)

    def _port_is_free(self) -> None:
        error = try_port(self._round.setting.port)
        if error is not None:
            self.violations.append(f"the port is not free after a round: {error}")

    def _longest(self, name: str, seconds: float) -> None:
        self.counts[name] = max(self.counts[name], round(seconds * 1000))

    def _kill_near(self, child: Child) -> bool:
        return any(child.began <= killed <= child.ended + KILL_GRACE for killed in self._kills)

    def _stalled(self, child: Child) -> bool:
        return any(start < child.ended and end > child.began for start, end in self._round.stalls)

    def _violation(self, what: str, child: Child, more: str = "") -> None:
        """Note a violation, with all that may explain it: times are seconds since the child began."""

        def since(when: float) -> str:
            return f"{when - child.began:+.4f}"

        lines = [f"{what}: {child}", *([more] if more else []), *child.err.splitlines()[-5:]]
        lines += [f"arrived at {arrival}" for arrival in self._arrivals[child.number]]
        for tenure in self._tenures.values():
            if tenure.since < child.ended + 0.1 and tenure.child.ended > child.began - 0.1:
                role = tenure.child.role
                held = (
                    f"from {since(tenure.since)} to {since(tenure.until)}, ended {since(tenure.child.ended)}"
                )
                lines.append(f"host {tenure.child.number} ({role.ending}, {role.observer}): {held}")
        self.violations.append(f"round {self._round.setting.seed}: " + "\n    ".join(lines))


LOST = "lost with a killed host"
UNSURE = "unsure as a host was killed"
HOW_HOSTS_END = {
    "release": "released",
    "threads": "released in two threads",
    "observer": "released in an observer",
    "timeout": "timed out",
    "threshold": "had a threshold",
    "exit": "just ended",
    "killed": "were killed",
}


# -- the program --


class Soak:
    """Round after round, and the sum of them."""

    def __init__(self, seconds: float, seed: int, port: int, folder: str) -> None:
        self.counts: dict[str, int] = collections.defaultdict(int)
        self.violations: list[str] = []
        self._seed = seed
        self._port = port
        self._folder = folder
        self._start = time.monotonic()
        self._end = self._start + seconds
        self._next_report = self._start + PROGRESS

    def run(self) -> None:
        number = 0
        while time.monotonic() < self._end:
            setting = Setting(
                f"{self._seed}/{number}",
                self._folder,
                self._port,
                SECRET if number + 1 & 2 else "",
                bool(number & 1),
            )
            this = Round(setting, self._report)
            try:
                this.run(self._end)
            finally:
                this.end()
            self._judge(this)
            number += 1
            self.counts["rounds"] = number

    def _judge(self, this: Round) -> None:
        judge = Judge(this, self.counts)
        judge.judge()
        for violation in judge.violations:
            if len(self.violations) < SHOWN:
                print(f"VIOLATION {violation}", flush=True)
            self.violations.append(violation)
        if os.path.exists(this.setting.log):
            os.unlink(this.setting.log)

    def _report(self) -> None:
        if time.monotonic() >= self._next_report:
            self._next_report += PROGRESS
            counts = ", ".join(
                f"{self.counts[name]} {name}" for name in ("rounds", "hosts", "delivered", "told")
            )
            print(
                f"{time.monotonic() - self._start:5.0f} s: {counts}, {len(self.violations)} violations",
                flush=True,
            )

    def _check_sums(self) -> Iterator[str]:
        """Yield what no single launch can show."""
        counts = self.counts
        if counts["rounds"] and not (counts["hosts"] and counts["delivered"]):
            yield "nothing happened: without hosts and deliveries nothing was checked"
        # Between the two system calls that make an end orderly and tell: next to none.
        kills = counts["hosts that were killed"]
        if counts[UNSURE] > 2 + kills // 20:
            yield f"{kills} kills of hosts do not explain that {counts[UNSURE]} launches had no answer"

    def verdict(self) -> int:
        """Print the sums and what they mean; return the exit status."""
        for name, count in sorted(self.counts.items()):
            print(f"{count:8d} {name}")
        for violation in self._check_sums():
            print(f"VIOLATION {violation}")
            self.violations.append(violation)
        found = len(self.violations)
        words = f"{found} violation{'s' * (found > 1)}" if found else "no violation"
        print(f"verdict: {words} (seed {self._seed})", flush=True)
        return int(found > 0)


def try_port(port: int) -> OSError | None:
    """Return why nobody can listen on ``port`` now, or None."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, port))
            sock.listen(1)
        except OSError as error:
            return error
    return None


def main() -> int:
    import argparse
    import random
    import tempfile

    parser = argparse.ArgumentParser(
        description="Launches, hosts, kills and bad peers at random against one port; Linux only.",
        epilog="With the same seed the same events follow each other. When they happen, and so what comes"
        " of them, differs from run to run. Exit status: 0, 1 after a violation, 2 if it cannot run.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long to start new processes (60)")
    parser.add_argument("--seed", type=int, help="any whole number; drawn and printed if not given")
    parser.add_argument("--port", type=int, help="a free one below 32768 is taken if not given")
    options = parser.parse_args()
    if options.port is not None and not 0 < options.port < 65536:
        parser.error("--port is from 1 to 65535, and best below 32768")
    if sys.platform != "linux":
        print("soak.py needs Linux", file=sys.stderr)
        return 2
    seed = random.randrange(10**6) if options.seed is None else options.seed
    ports = [random.randrange(10_000, 32_000) for _ in range(100)] if options.port is None else [options.port]
    port = next((port for port in ports if try_port(port) is None), None)
    if port is None:
        print(f"port {ports[0]} is not free", file=sys.stderr)
        return 2
    print(
        f"soak: seed {seed}, port {port}, {options.seconds:g} s, Python {sys.version.split()[0]}", flush=True
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # for sigtimedwait
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        soak = Soak(options.seconds, seed, port, folder)
        try:
            soak.run()
        except KeyboardInterrupt:
            print("interrupted; what follows is about the rounds before", flush=True)
            return soak.verdict() or 130
        return soak.verdict()


if __name__ == "__main__":
    sys.exit(main())
