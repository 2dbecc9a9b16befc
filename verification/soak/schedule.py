"""What happens in a round: drawn from the seed, and the same for the same seed."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Callable, Iterator, NamedTuple

if TYPE_CHECKING:
    from random import Random

SECRET = "open sesame"
NAME = "org.example.soak"

EVENTS = 500  # in a round
LONGEST_HOST = 3.0  # seconds

LAUNCHES = ("forked", "interpreter", "launch")  # the last one in a series
# For a launch that becomes the host. "dies": its observer kills it while it handles a launch.
ENDINGS = ("release", "release", "threads", "observer", "timeout", "threshold", "exit")
KILLED = ("killed", "dies")
OBSERVERS = ("quick", "quick", "slow", "raises", "late", "none", "writes", "writes", "writes")
# Their answers to a launch that asks, as exit statuses: by `SystemExit`, and after its output.
STATUSES = {"raises": 3, "writes": 4}

# How often each kind of event occurs, in somewhat more than a hundred.
KINDS = {
    "forked": 60,
    "interpreter": 16,
    "friend": 8,
    "reset": 4,
    "stall": 3,
    "wrong": 3,
    "hello": 4,
    "garbage": 4,
}
# Not a process: the current host is stopped.
STOPS = {"stop": 2}

# Seconds that a host is stopped, and how often out of ten. The first is a pause that launches notice
# only by waiting. In the second, a launch that tried again would try twice, and none may give up. The
# third is longer than the time of a launch, so those that wait give up.
STOP_TIMES = {(0.02, 0.3): 5, (0.55, 0.8): 4, (2.2, 2.6): 1}


class Role(NamedTuple):
    """What one launch does; most of it applies only if it becomes the host."""

    number: int
    log: str
    address: str
    port: int
    name: str  # if there is one, address and port follow from it
    secret: str
    ending: str  # one of ENDINGS or KILLED; "exit" for interpreters only
    life: float
    threshold: int
    observer: str
    linger: float  # seconds from the end of the host to the end of its process
    switch: float  # seconds between switches of threads: short ones make races likely
    asks: bool  # whether this launch waits for the observer's answer


class Event(NamedTuple):
    """One process, which is a launch or a peer; or a stop of the host."""

    role: Role
    kind: str
    args: tuple[str, ...]  # of a launch or friend; for others, what must never be delivered
    payload: bytes  # garbage
    peers: int  # connections of a stalling peer
    hold: float  # seconds that a peer takes
    dawdle: float  # seconds from a friend's last byte to the end of its stream
    kill_after: float  # seconds from its start; 0: not at all
    stop: float  # seconds that the host is stopped
    stop_kills: bool  # whether it is then killed, instead of continuing
    pause: float  # seconds until the next event


class Setting(NamedTuple):
    """What the processes of one round have in common."""

    seed: str
    folder: str
    address: str
    port: int
    name: str
    secret: str
    rough: bool  # launches and hosts are killed, and hosts are stopped

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "log")


def schedule(setting: Setting) -> Iterator[Event]:
    """Yield the events of a round; the same ones for the same seed."""
    from random import Random  # not in every interpreter that is a launch

    draw = Random(setting.seed)
    kinds = {**KINDS, **(STOPS if setting.rough else {})}
    burst = 0
    for number in range(EVENTS):
        kind = draw.choices(list(kinds), list(kinds.values()))[0]
        killed = setting.rough and draw.random() < 0.4
        low, high = draw.choices(list(STOP_TIMES), list(STOP_TIMES.values()))[0]
        burst = burst - 1 if burst else draw.choice((0, 0, 0, 0, 0, 0, 0, 20))
        role = draw_role(draw, setting, number, kind, killed and kind in LAUNCHES)
        yield Event(
            role=role,
            kind=kind,
            args=draw_args(draw, number, huge=kind != "interpreter" and number % 50 == 0),
            payload=draw.getrandbits(8 * draw.choice((1, 30, 5000, 60_000))).to_bytes(60_000, "little"),
            peers=draw.choice((1, 1, 10, 40, 280)),
            hold=draw.uniform(0.02, 1.5),
            dawdle=draw.choice((0, draw.uniform(0, 0.3), draw.uniform(0, 1.5))),
            kill_after=draw.uniform(0.001, draw.choice((0.05, 0.3, 0.3))) * (role.ending == "killed"),
            stop=draw.uniform(low, high),
            stop_kills=killed,
            pause=0 if burst else draw.choice((0.002, 0.005, draw.uniform(0, 0.05))),
        )


def draw_role(draw: Random, setting: Setting, number: int, kind: str, killed: bool) -> Role:
    endings = KILLED if killed else ENDINGS if kind == "interpreter" else ENDINGS[:-1]
    return Role(
        number=number,
        log=setting.log,
        address=setting.address,
        port=setting.port,
        name=setting.name,
        secret=setting.secret,
        ending=draw.choice(endings),
        life=draw.uniform(1, LONGEST_HOST) if draw.random() < 0.01 else draw.uniform(0.01, 0.25),
        threshold=draw.randint(1, 8),
        # A host that is killed must have been quick, or much is lost with it.
        observer="quick" if killed else draw.choice(OBSERVERS),
        linger=draw.choice((0, 0, draw.uniform(0, 0.1))),
        switch=draw.choice((0.005, 0.00001)),
        asks=bool(setting.name) and draw.random() < 0.5,
    )


def draw_args(draw: Random, number: int, huge: bool) -> tuple[str, ...]:
    """Return arguments of all kinds; the first or the last one identifies the launch."""
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


def any_text(draw: Random, size: int) -> str:
    """Return a command line of ``size`` random bytes as Python decodes it: mostly not UTF-8."""
    data = draw.getrandbits(8 * size).to_bytes(size, "little").replace(b"\0", b"0")
    return data.decode("utf-8", "surrogateescape")


def to_bytes(args: tuple[str, ...]) -> bytes:
    return "\0".join(args).encode("utf-8", "surrogateescape")


def digest(args: tuple[str, ...]) -> str:
    data = to_bytes(args)
    return f"{len(args)}:{len(data)}:{zlib.crc32(data):08x}"
