"""What compare.py compares: each subject takes a lock, and some hand launches over.

compare.py imports this file for the names and the scripts of the subjects, and
starts it as a process of its own for whatever takes part in a measurement:

    python subjects.py host|sender|taker|staller SUBJECT PORT PATH

Such a process, an *agent*, says that it is ready, and then answers each line of
words that it reads with one line of JSON. It ends when its input ends, so none
is left when compare.py goes, however it goes.

A launch is ``stamp NUL word NUL word NUL ...``, or a tuple of the same where a
subject sends objects. The stamp is the monotonic clock right before `connect`,
in nanoseconds. Linux, macOS and Windows have one such clock for all processes.
"""

from __future__ import annotations

import array
import collections
import errno
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from typing import Callable, NamedTuple

ADDRESS = "127.0.0.1"
ACK = b"\x06"
AUTHKEY = b"open sesame"

# Connections that wait to be accepted, for every subject that lets one choose: what 2.0.0
# has. multiprocessing.connection has 1 by default, too few for 16 senders.
BACKLOG = 128

STAMP_LENGTH = 20  # digits of a 64-bit number, zeros in front, so that it fits in place
WORD_LENGTH = 1000  # bytes with the NUL: a long path. Large launches are many paths.
READ_SIZE = 64 * 1024  # bytes

ANSWER_TIME = 10_000  # milliseconds that Qt's client waits for each step
CONNECT_TIME = 1.0  # seconds for all stalled peers to get into the queue of a host that accepts nobody
SUCCEED_TIME = 2.0  # seconds after a kill until which the next host is waited for

Observer = Callable[["tuple[str, ...]"], object]


class Place(NamedTuple):
    """Where a subject is to be had: a port, or the path of a lock file or of a socket."""

    port: int
    path: str


class Taken(Exception):
    """Somebody else holds the lock."""


class Subject:
    """One way to have a single instance; an adapter to what compare.py asks of it.

    The scripts are what an application would consist of, since a whole process is
    measured with them: ``IMPORT``; after it ``TAKE``, which holds the lock and
    serves launches if it can; and ``LAUNCH``, a second launch, which hands
    ``sys.argv[1:]`` over if it can and ends with status 0.
    """

    name = ""
    hands_over = True
    on_port = True  # or else on a path
    IMPORT = ""
    TAKE = ""
    STAY = "print(0, flush=True)\nimport sys\nsys.stdin.read()"
    LAUNCH = ""

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
    def idle_script(cls, place: Place) -> str:
        return "\n".join([cls.IMPORT, cls.TAKE.format(**place._asdict()), cls.STAY])

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


# -- the subjects --


class This(Subject):
    """The package in src, as it is now."""

    name = "this"
    IMPORT = "from Socket_Singleton import Socket_Singleton"
    TAKE = "app = Socket_Singleton(port={port})\napp.trace(print)"
    LAUNCH = "Socket_Singleton(port={port})"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

        self._class, self._taken = Socket_Singleton, MultipleSingletonsError

    def take(self) -> None:
        try:
            self._app = self._class(port=self.place.port, strict=False)
        except self._taken as error:
            raise Taken from error

    def release(self) -> None:
        self._app.release()

    def serve(self, observer: Observer) -> None:
        self._app.trace(observer)
        # 2.0.0 may not listen yet when its constructor returns. To connect and
        # say nothing is no launch to either.
        with socket.socket() as sock:
            while sock.connect_ex((ADDRESS, self.place.port)):
                pass


class Released(This):
    """Socket_Singleton 2.0.0; only PYTHONPATH makes the difference."""

    name = "2.0.0"


class Floor(Subject):
    """What nothing in Python can do without: bare sockets, one thread, one connection at a time."""

    name = "floor"
    IMPORT = "import socket, sys"
    TAKE = """\
import threading
lock = socket.socket()
lock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
lock.bind(("127.0.0.1", {port}))
lock.listen()
threading.Thread(target=lock.accept, daemon=True).start()"""
    LAUNCH = """\
with socket.socket() as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", {port}))
    except OSError:
        sock.connect(("127.0.0.1", {port}))
        sock.sendall("".join(word + "\\0" for word in sys.argv[1:]).encode())
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)"""

    def take(self) -> None:
        try:
            self._listener = listen(self.place.port)
        except OSError as error:
            raise Taken from error

    def release(self) -> None:
        self._listener.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._run, args=(observer,), daemon=True).start()

    def _run(self, observer: Observer) -> None:
        while True:
            sock, _ = self._listener.accept()
            packet = bytearray()
            with sock:
                while True:
                    data = sock.recv(READ_SIZE)
                    if not data:
                        break
                    packet += data
                sock.sendall(ACK)
                observer(split(packet))  # not after the close, which takes its time


class BareHost(Floor):
    """The floor of a host which serves many peers at once, and whose observer holds up nobody.

    So: a selector on one thread, and the observer on another. As in *this*, a launch is
    told before it is delivered, and the system resets what was not told. There are no
    deadlines, no limits, no counts, and no faults are expected. It is no program of its own.
    """

    name = "bare host"
    IMPORT = TAKE = LAUNCH = ""

    _MORE = getattr(socket, "MSG_MORE", 0)
    _RESET, _END = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger

    def take(self) -> None:
        super().take()
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, self._RESET)
        self._packets: collections.deque[bytearray] = collections.deque()
        self._news = threading.Lock()
        self._news.acquire()
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        for sock in (self._listener, self._wakened):
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve_peers, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._waker.send(b"\0")
        self._thread.join()
        for each in (self._listener, self._selector, self._waker, self._wakened):
            each.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._deliver, args=(observer,), daemon=True).start()

    def _serve_peers(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakened:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif self._read(key.fileobj, key.data):
                    self._selector.unregister(key.fileobj)
                    self._end(key.fileobj, key.data)
            # Once a turn, as the last before it sleeps: so the two threads meet least.
            if self._packets and self._news.locked():
                self._news.release()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                packet = bytearray()
                if self._read(sock, packet):
                    self._end(sock, packet)
                else:
                    self._selector.register(sock, selectors.EVENT_READ, packet)
        except BlockingIOError:
            pass

    def _read(self, sock: socket.socket, packet: bytearray) -> bool:
        """Take what is there; return whether that was the end."""
        try:
            while True:
                data = sock.recv(READ_SIZE)
                if not data:
                    return True
                packet += data
        except BlockingIOError:
            return False

    def _end(self, sock: socket.socket, packet: bytearray) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, self._END)
        sock.send(ACK, self._MORE)
        sock.close()
        if packet:  # a stalled peer has none
            self._packets.append(packet)

    def _deliver(self, observer: Observer) -> None:
        while True:
            self._news.acquire()
            while self._packets:
                observer(split(self._packets.popleft()))


class LockFile(Subject):
    """A library whose lock is an object with `acquire` and `release`; it hands nothing over."""

    hands_over = on_port = False
    _taken: type[Exception]  # what `acquire` raises

    def make(self):
        """Return a lock that is not taken yet, and does not wait."""
        raise NotImplementedError

    def take(self) -> None:
        self._lock = self.make()
        try:
            self._lock.acquire()
        except self._taken as error:
            raise Taken from error

    def release(self) -> None:
        self._lock.release()


class FileLock(LockFile):
    name = "filelock"
    IMPORT = "import filelock"
    TAKE = "lock = filelock.FileLock({path!r})\nlock.acquire(timeout=0)"
    LAUNCH = "try:\n    filelock.FileLock({path!r}).acquire(timeout=0)\nexcept filelock.Timeout:\n    pass"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import filelock

        self._class, self._taken = filelock.FileLock, filelock.Timeout

    def make(self):
        return self._class(self.place.path, timeout=0)


class PortaLocker(LockFile):
    name = "portalocker"
    IMPORT = "import portalocker"
    TAKE = "lock = portalocker.Lock({path!r}, timeout=0, fail_when_locked=True)\nlock.acquire()"
    LAUNCH = """\
try:
    portalocker.Lock({path!r}, timeout=0, fail_when_locked=True).acquire()
except portalocker.LockException:
    pass"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import portalocker

        self._class, self._taken = portalocker.Lock, portalocker.LockException

    def make(self):
        return self._class(self.place.path, timeout=0, fail_when_locked=True)


class Tendo(Subject):
    name = "tendo"
    hands_over = on_port = False
    IMPORT = "from tendo import singleton"
    TAKE = "lock = singleton.SingleInstance(lockfile={path!r})"
    LAUNCH = """\
try:
    singleton.SingleInstance(lockfile={path!r})
except singleton.SingleInstanceException:
    pass"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from tendo import singleton

        self._module = singleton

    def take(self) -> None:
        try:
            self._lock = self._module.SingleInstance(lockfile=self.place.path)
        except self._module.SingleInstanceException as error:
            raise Taken from error

    def release(self) -> None:
        del self._lock  # it has no other way


class Connection(Subject):
    """multiprocessing.connection, on what it takes by default where there is one: a local socket.

    Over TCP each launch would wait for a delayed acknowledgement, 40 ms on Linux, since
    the handshake is of small packets and it does not set TCP_NODELAY.

    A killed host leaves the socket's file behind; who finds it and nobody there removes it.
    """

    name = "mp.connection"
    on_port = False
    IMPORT = "import sys\nfrom multiprocessing.connection import Client, Listener"
    TAKE = """\
import threading
lock = Listener({path!r}, authkey=b"open sesame")
threading.Thread(target=lock.accept, daemon=True).start()"""
    LAUNCH = """\
try:
    Listener({path!r}, authkey=b"open sesame")
except OSError:
    with Client({path!r}, authkey=b"open sesame") as connection:
        connection.send(sys.argv[1:])
        connection.recv_bytes()"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from multiprocessing import AuthenticationError
        from multiprocessing.connection import Listener

        self._class, self._strangers = Listener, (OSError, EOFError, AuthenticationError)

    def take(self) -> None:
        try:
            self._listen()
        except OSError as error:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                if sock.connect_ex(self.place.path) != errno.ECONNREFUSED:
                    raise Taken from error
            os.unlink(self.place.path)
            self._listen()

    def _listen(self) -> None:
        self._listener = self._class(self.place.path, backlog=BACKLOG, authkey=AUTHKEY)

    def release(self) -> None:
        self._listener.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._run, args=(observer,), daemon=True).start()

    def _run(self, observer: Observer) -> None:
        while True:
            try:
                with self._listener.accept() as connection:
                    argv = connection.recv()
                    connection.send_bytes(ACK)
            except self._strangers:
                continue  # as whoever listens for long must
            observer(tuple(argv))

    def sender(self) -> Sender:
        return ConnectionSender(self.place)

    def where(self) -> tuple[int, object]:
        return socket.AF_UNIX, self.place.path


class ConnectionSender(Sender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from multiprocessing.connection import Client

        self._class = Client

    def prepare(self, words: tuple[str, ...]) -> None:
        self._words = words

    def send(self) -> None:
        stamp = str(time.monotonic_ns())
        with self._class(self.place.path, authkey=AUTHKEY) as connection:
            connection.send((stamp, *self._words))
            connection.recv_bytes()


class LocalServer(Subject):
    """Qt's own: a local socket, served by the event loop; the length goes first, since it has no half-close.

    A killed host leaves the socket's file behind, so who finds it tries whether
    somebody answers there, and else removes it: the recipe in Qt's documentation.
    """

    name = "QLocalServer"
    on_port = False
    IMPORT = """\
import sys
from PySide6.QtCore import QCoreApplication
from PySide6.QtNetwork import QLocalServer, QLocalSocket"""
    TAKE = "app = QCoreApplication([])\nlock = QLocalServer()\nlock.listen({path!r})"
    STAY = "print(0, flush=True)\napp.exec()"
    LAUNCH = """\
app = QCoreApplication([])
sock = QLocalSocket()
sock.connectToServer({path!r})
if not sock.waitForConnected(10000):
    sys.exit(sock.errorString())
packet = "".join(word + "\\0" for word in sys.argv[1:]).encode()
sock.write(len(packet).to_bytes(4, "big") + packet)
sock.waitForBytesWritten(10000)
sock.waitForReadyRead(10000)"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from PySide6.QtCore import QCoreApplication
        from PySide6.QtNetwork import QLocalServer, QLocalSocket

        self._app = QCoreApplication.instance() or QCoreApplication([])
        self._server_class, self._socket_class = QLocalServer, QLocalSocket

    def take(self) -> None:
        self._server = self._server_class()
        if hasattr(self._server, "setListenBacklogSize"):
            self._server.setListenBacklogSize(BACKLOG)
        if self._server.listen(self.place.path):
            return
        sock = self._socket_class()
        sock.connectToServer(self.place.path)
        if not sock.waitForConnected(ANSWER_TIME):
            self._server_class.removeServer(self.place.path)
            if self._server.listen(self.place.path):
                return
        raise Taken

    def release(self) -> None:
        self._server.close()

    def serve(self, observer: Observer) -> None:
        self._observer = observer
        self._packets: dict[object, bytearray] = {}
        self._server.newConnection.connect(self._accept)

    def stay(self, commands: Callable[[], None]) -> None:
        threading.Thread(target=commands, daemon=True).start()
        self._app.exec()

    def _accept(self) -> None:
        while self._server.hasPendingConnections():
            sock = self._server.nextPendingConnection()
            self._packets[sock] = bytearray()
            sock.readyRead.connect(lambda sock=sock: self._read(sock))
            sock.disconnected.connect(lambda sock=sock: self._forget(sock))
            self._read(sock)

    def _read(self, sock) -> None:
        packet = self._packets.get(sock)
        if packet is None:
            return
        packet += sock.readAll().data()
        if len(packet) < 4 or len(packet) < 4 + int.from_bytes(packet[:4], "big"):
            return
        del packet[:4], self._packets[sock]
        sock.write(ACK)
        sock.flush()
        sock.disconnectFromServer()
        self._observer(split(packet))

    def _forget(self, sock) -> None:
        self._packets.pop(sock, None)
        sock.setParent(None)  # or else the server's wrapper would keep that of each connection
        sock.deleteLater()

    def sender(self) -> Sender:
        return LocalSender(self.place)

    def where(self) -> tuple[int, object]:
        return socket.AF_UNIX, self.place.path


class LocalSender(Sender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from PySide6.QtCore import QCoreApplication
        from PySide6.QtNetwork import QLocalSocket

        self._app, self._class = QCoreApplication.instance() or QCoreApplication([]), QLocalSocket

    def send(self) -> None:
        sock = self._class()
        self.stamp()
        sock.connectToServer(self.place.path)
        if not sock.waitForConnected(ANSWER_TIME):
            raise ConnectionError(sock.errorString())
        sock.write(len(self._packet).to_bytes(4, "big") + self._packet)
        while sock.bytesToWrite():
            if not sock.waitForBytesWritten(ANSWER_TIME):
                raise ConnectionError(sock.errorString())
        if not (sock.bytesAvailable() or sock.waitForReadyRead(ANSWER_TIME)):
            raise ConnectionError(sock.errorString())


SUBJECTS: dict[str, type[Subject]] = {
    subject.name: subject
    for subject in (This, Released, Floor, BareHost, FileLock, PortaLocker, Tendo, Connection, LocalServer)
}


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


# -- the agents --


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
