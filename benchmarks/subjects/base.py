"""What each subject must have, and what they share."""

from __future__ import annotations

import socket
import time
from typing import Callable, Mapping, NamedTuple

ADDRESS = "127.0.0.1"
ACK = b"\x06"

# Connections that may wait to be accepted, for every subject that lets one choose: as many as 2.0.0 allows.
# multiprocessing.connection allows 1 by default, too few for 16 senders.
BACKLOG = 128

STAMP_LENGTH = 20  # digits of a 64-bit number, padded with zeros so that one can be replaced by another
READ_SIZE = 64 * 1024  # bytes

Observer = Callable[["tuple[str, ...]"], object]


class Place(NamedTuple):
    """Where a subject can be reached: a port, or the path of a lock file or of a socket."""

    port: int
    path: str


class Subject:
    """One way to have a single instance; an adapter to what is measured.

    The scripts are what an application would consist of, since whole processes are measured
    with them: ``IMPORT``; after it ``TAKE``, which takes the lock and serves launches if it can;
    ``STAY``, with which it then waits; and ``LAUNCH``, a second launch, which hands
    ``sys.argv[1:]`` over if it can and ends with status 0.

    Everything else is measured in agents, with these methods:

    - ``take()`` becomes the host, or raises OSError if somebody else is; ``release()`` gives it up.
    - ``serve(observer)`` calls the observer with each launch from now on, if the subject hands over.
    - ``print_for(observer)`` becomes a host that calls the observer with a text stream and the words of
      each launch; ``ask(words, out)`` hands words over, and writes what the observer prints to a stream
      until it has returned. Both are needed only if the subject ``prints``.
    """

    name = ""
    package = ""  # what pip installs for it
    every_python = True  # or else it is measured on the first Python only
    hands_over = True
    on_port = True  # or else on a path, or at the address that a name stands for
    stallers = False  # whether a peer can connect and stay silent
    prints = False  # whether an observer can print to a launch that waits
    IMPORT = TAKE = LAUNCH = ""
    STAY = "print(0, flush=True)\nimport sys\nsys.stdin.read()"
    COMMANDS: Mapping[str, tuple[str, ...]] = {}  # other programs: the interpreter's arguments

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def program(cls, kind: str, place: Place) -> list[str]:
        """Return the interpreter's arguments for one of its programs; an empty list if it has none."""
        if kind in cls.COMMANDS:
            return [word.format(**place._asdict()) for word in cls.COMMANDS[kind]]
        scripts = {
            "import": [cls.IMPORT],
            "launch": [cls.IMPORT, cls.LAUNCH],
            "first": [cls.IMPORT, cls.TAKE],
            "idle": [cls.IMPORT, cls.TAKE, cls.STAY],
        }
        parts = scripts.get(kind, [""])
        return ["-c", "\n".join(parts).format(**place._asdict())] if all(parts) else []

    def stay(self, commands: Callable[[], None]) -> None:
        """Run ``commands`` while the host serves."""
        commands()

    def sender(self, words: tuple[str, ...]) -> Callable[[], None]:
        """Return a function that hands over a stamp and ``words``, and returns when the host has answered.

        This one is the client of every host that reads a stream to its end.
        """
        packet = join(("0" * STAMP_LENGTH, *words))

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                stamp(packet)
                sock.connect((ADDRESS, self.place.port))
                sock.sendall(packet)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(READ_SIZE):
                    pass

        return send


def join(words: tuple[str, ...]) -> bytearray:
    return bytearray("".join(f"{word}\0" for word in words).encode())


def split(packet: bytes | bytearray) -> tuple[str, ...]:
    return tuple(packet.decode().split("\0")[:-1])


def stamp(packet: bytearray) -> None:
    """Put the present time into a packet that begins with a stamp."""
    packet[:STAMP_LENGTH] = b"%020d" % time.monotonic_ns()


def check_free(port: int) -> None:
    """Raise OSError unless every program can bind ``port`` now, even without SO_REUSEADDR."""
    with socket.socket() as sock:
        sock.bind((ADDRESS, port))


def listen(port: int) -> socket.socket:
    """Return a bare socket that listens on ``port``, or raise OSError."""
    return socket.create_server((ADDRESS, port), backlog=BACKLOG)
