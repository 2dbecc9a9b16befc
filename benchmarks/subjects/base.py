"""What each subject must have, and what they share."""

from __future__ import annotations

import socket
import time
from typing import Callable, NamedTuple

ADDRESS = "127.0.0.1"
ACK = b"\x06"

# Connections that wait to be accepted, for every subject that lets one choose: what 2.0.0
# has. multiprocessing.connection has 1 by default, too few for 16 senders.
BACKLOG = 128

STAMP_LENGTH = 20  # digits of a 64-bit number, zeros in front, so that it fits in place
READ_SIZE = 64 * 1024  # bytes

Observer = Callable[["tuple[str, ...]"], object]


class Place(NamedTuple):
    """Where a subject is to be had: a port, or the path of a lock file or of a socket."""

    port: int
    path: str


class Taken(Exception):
    """Somebody else holds the lock."""


class Subject:
    """One way to have a single instance; an adapter to what is measured.

    The scripts are what an application would consist of, since a whole process is
    measured with them: ``IMPORT``; after it ``TAKE``, which holds the lock and
    serves launches if it can; and ``LAUNCH``, a second launch, which hands
    ``sys.argv[1:]`` over if it can and ends with status 0.
    """

    name = ""
    locks = True
    hands_over = True
    on_port = True  # or else on a path, or where a name says
    stallers = True  # whether a peer can connect, and say nothing
    on_others = False  # whether its second launch is measured on other interpreters too
    IMPORT = ""
    TAKE = ""
    STAY = "print(0, flush=True)\nimport sys\nsys.stdin.read()"
    LAUNCH = ""
    # The command line, if it has one: the interpreter's arguments.
    STATUS: tuple[str, ...] = ()
    RUN: tuple[str, ...] = ()
    CHECK = ""  # after IMPORT; raises where the subject is not to be had

    def __init__(self, place: Place) -> None:
        self.place = place

    def take(self) -> None:
        """Become the host, or raise `Taken`."""
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def serve(self, observer: Observer) -> None:
        """Call ``observer`` with each launch from now on; the lock is taken."""
        raise NotImplementedError

    def stay(self, commands: Callable[[], None]) -> None:
        """Run ``commands`` while the host serves."""
        commands()

    def sender(self) -> Sender:
        return StreamSender(self.place)

    def where(self) -> tuple[int, object]:
        """Return the family and the address that a stalled peer connects to."""
        return socket.AF_INET, (ADDRESS, self.place.port)

    @classmethod
    def status_command(cls, place: Place) -> list[str]:
        """Return the interpreter's arguments to ask whether there is a host; none if it cannot."""
        return [word.format(**place._asdict()) for word in cls.STATUS]

    @classmethod
    def run_command(cls, place: Place) -> list[str]:
        """Return the same to run ``true`` as the only one of its kind."""
        return [word.format(**place._asdict()) for word in cls.RUN]

    @classmethod
    def first_script(cls, place: Place) -> str:
        """Return a first launch, which ends at once."""
        return "\n".join([cls.IMPORT, cls.TAKE.format(**place._asdict())])

    @classmethod
    def idle_script(cls, place: Place) -> str:
        return "\n".join([cls.first_script(place), cls.STAY])

    @classmethod
    def launch_script(cls, place: Place) -> str:
        return "\n".join([cls.IMPORT, cls.LAUNCH.format(**place._asdict())])


class Sender:
    """Hands over the same launch again and again."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def prepare(self, words: tuple[str, ...]) -> None:
        text = "".join(word + "\0" for word in ("0" * STAMP_LENGTH, *words))
        self._packet = bytearray(text.encode())

    def stamp(self) -> None:
        self._packet[:STAMP_LENGTH] = b"%020d" % time.monotonic_ns()

    def send(self) -> None:
        """Hand it over, and return when the host has answered or hung up."""
        raise NotImplementedError


class StreamSender(Sender):
    """The client of everything that reads a stream to its end: the same code for all of them."""

    def send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            self.stamp()
            sock.connect((ADDRESS, self.place.port))
            sock.sendall(self._packet)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(READ_SIZE):
                pass


def split(packet: bytes | bytearray) -> tuple[str, ...]:
    return tuple(packet.decode().split("\0")[:-1])


def listen(port: int) -> socket.socket:
    """Return a bare socket that listens on ``port``, or raise OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ADDRESS, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
