"""What the tests share: ports that never collide, programs as children, waiting under a deadline."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import unittest
from pathlib import Path
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton, _host
from Socket_Singleton._wire import ACK

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
TEST_APP = ROOT / "test_app.py"

# Seconds until a test gives up on something that happens in milliseconds. Not a
# measure of speed: long enough for a machine with all cores busy.
PATIENCE = 30.0

# Below every system's ephemeral range (Linux: from 32768), so that the kernel
# never hands one of them to somebody's outgoing connection.
_FIRST_PORT, _LAST_PORT, _BLOCK = 10_000, 32_000, 500


def _lease_ports():
    """Yield ports that no other run of these tests uses, for as long as this process lives.

    A block of ports belongs to the process that holds its first port. The rest
    of the block is given out in turn, leaving out what other programs hold.
    """
    blocks = list(range(_FIRST_PORT, _LAST_PORT, _BLOCK))
    start = os.getpid() % len(blocks)
    for base in blocks[start:] + blocks[:start]:
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", base))
            holder.listen(1)
        except OSError:
            holder.close()
            continue
        atexit.register(holder.close)
        break
    else:
        raise RuntimeError("no free block of ports")
    taken = 0
    for port in itertools.cycle(range(base + 1, base + _BLOCK)):
        # Without SO_REUSEADDR: a port with a TIME_WAIT of an earlier test is
        # left out as well, for the tests of programs that do not set it.
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken += 1
                if taken == _BLOCK:
                    raise RuntimeError("no free port in the block") from None
                continue
        taken = 0
        yield port


_ports = _lease_ports()
_ports_lock = threading.Lock()


def free_port() -> int:
    """Return a port that nobody uses, and no other test of this or a parallel run will be given."""
    with _ports_lock:
        return next(_ports)


def wait_until(condition, what: str, timeout: float = PATIENCE):
    """Return the first true value of ``condition()``; fail if there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} seconds: {what}")
        time.sleep(0.002)


class Program:
    """A child process whose output is read as it comes."""

    def __init__(self, command, env=None, cwd=None, **more):
        self.command = [word if isinstance(word, bytes) else str(word) for word in command]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
            cwd=str(cwd or ROOT),
            **more,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, into):
        with stream:
            for line in stream:
                into.append(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))

    @property
    def out(self) -> str:
        return "\n".join(self.lines)

    @property
    def err(self) -> str:
        return "\n".join(self._err)

    def describe(self) -> str:
        return (
            f"{str(self.command)[:500]}\n-- status: {self.process.poll()}"
            f"\n-- stdout: {self.out[-3000:]}\n-- stderr: {self.err[-3000:]}"
        )

    def expect(self, line: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until ``line`` was printed ``count`` times."""

        def seen():
            if self.lines.count(line) >= count:
                return True
            if self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(PATIENCE)
                if self.lines.count(line) < count:
                    raise AssertionError(f"ended without printing {line!r}: {self.describe()}")
            return False

        try:
            wait_until(seen, f"{line!r} x {count}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.describe()}") from None

    def write(self, text: str) -> None:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit status; show both streams if it does not come."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout:g} seconds: {self.describe()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        """End it, by its id, if it has not ended; and reap it."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        self.process.wait(PATIENCE)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for reader in self._readers:
            reader.join(PATIENCE)


def environment(more=None) -> dict[str, str]:
    """Return the environment of a child: it finds the package that is tested, and prints at once."""
    env = dict(os.environ)
    package_parent = str(Path(sys.modules["Socket_Singleton"].__file__).parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [package_parent, env.get("PYTHONPATH")]))
    env["PYTHONUNBUFFERED"] = "1"
    # CPython 3.12 and later warn of any fork beside a thread; some tests are about just that.
    env["PYTHONWARNINGS"] = "ignore:This process:DeprecationWarning"
    env.update(more or {})
    return env


class SingletonTestCase(unittest.TestCase):
    """A port of its own, and everything that a test starts is ended with it."""

    def setUp(self) -> None:
        self.port = free_port()

    def singleton(self, **options) -> Socket_Singleton:
        """Construct on this test's port, and release at the end of the test."""
        options.setdefault("port", self.port)
        app = Socket_Singleton(**options)
        self.addCleanup(app.release)
        return app

    def second_launch(self, *args: str, **options) -> MultipleSingletonsError:
        """Construct in this process what has to be a second launch with ``args``; return its error."""
        options.setdefault("port", self.port)
        before, sys.argv = sys.argv, ["app.py", *args]
        try:
            with self.assertRaises(MultipleSingletonsError) as caught:
                Socket_Singleton(strict=False, **options).release()
        finally:
            sys.argv = before
        return caught.exception

    def start(self, *command, ready: str | None = None, **options) -> Program:
        """Start a Python program with ``command`` and wait for its line ``ready``, if given."""
        program = Program([sys.executable, *command], **options)
        self.addCleanup(program.kill)
        if ready is not None:
            program.expect(ready)
        return program

    def start_app(self, *command, ready: str | None = None, **options) -> Program:
        return self.start(TEST_APP, *command, ready=ready, **options)

    def run_app(self, *command, status: int = 0, **options) -> Program:
        """Run test_app.py to its end and check its status."""
        return self.finish(self.start_app(*command, **options), status)

    def finish(self, program: Program, status: int = 0) -> Program:
        self.assertEqual(program.wait(), status, program.describe())
        return program

    def connect(self, port: int | None = None) -> socket.socket:
        """Return a peer: a connection to the host, closed at the end of the test."""
        peer = socket.create_connection(("127.0.0.1", port or self.port), PATIENCE)
        self.addCleanup(peer.close)
        return peer

    def exchange(self, data: bytes, port: int | None = None) -> bytes:
        """Send one packet as a peer, end the stream, and return all of the answer."""
        with self.connect(port) as peer:
            peer.sendall(data)
            with contextlib.suppress(OSError):  # it was reset before the end: reading shows that
                peer.shutdown(socket.SHUT_WR)
            return read_to_end(peer)

    def leave_time_wait(self) -> None:
        """Have a host that has ended a connection before its peer did, and has released."""
        app = self.singleton()
        peer = self.connect()
        peer.sendall(b"never hangs up\0")
        with self.peers_out_of_time(app, 15):
            self.assertEqual(read_to_end(peer), ACK)
        peer.close()
        app.release()

    @contextlib.contextmanager
    def peers_out_of_time(self, app: Socket_Singleton, received: int):
        """Have the deadlines of its peers be over, once they have sent ``received`` bytes in all."""

        def all_received():
            return sum(peer.packet._received for peer in list(app._host._peers.values())) == received

        wait_until(all_received, f"{received} bytes of peers")
        with host_clock_ahead():
            self.connect()  # an event, with which the host looks at its clock
            yield

    def assert_reset(self, peer: socket.socket) -> None:
        """Check that the host ends this connection with a reset."""
        peer.settimeout(PATIENCE)
        with self.assertRaises(ConnectionError):
            read_to_end(peer)

    def assert_sent_once(self, listener: socket.socket, packet: bytes) -> None:
        """Check that one connection waits there, with ``packet``; whoever made it is done."""
        peer, _ = listener.accept()
        with peer:
            self.assertEqual(read_to_end(peer), packet)
        listener.settimeout(0.1)
        with self.assertRaises(socket.timeout):
            listener.accept()


@contextlib.contextmanager
def host_clock_ahead():
    """Have hosts in this process be so far ahead that all they wait for is over."""
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 2 * PATIENCE)
    with mock.patch.object(_host, "time", clock):
        yield


def read_to_end(peer: socket.socket) -> bytes:
    """Return what the host sends until it ends the connection in order."""
    chunks = []
    while True:
        chunk = peer.recv(4096)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


class Collector:
    """An observer that keeps what it is called with, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, args) -> None:
        self.calls.append(args)

    def wait_for(self, *calls) -> None:
        """Wait until there were as many calls, and check that they were these."""
        wait_until(lambda: len(self.calls) >= len(calls), f"{len(calls)} calls of an observer")
        if self.calls != list(calls):
            got, wanted = str(self.calls)[:1000], str(list(calls))[:1000]
            raise AssertionError(f"observer was called with {got}, not {wanted}")
