"""The base classes of the tests: a port for each test, and helpers that clean up."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from . import inside
from .descriptors import descriptors
from .inside import ACK, PORT
from .observing import Collector, Gate
from .ports import free_port, is_free
from .processes import TEST_APP, Program
from .silence import SilentTestCase
from .systems import NO_RESETS, WINE
from .waiting import PATIENCE, wait_until


class SingletonTestCase(SilentTestCase):
    """Has a port of its own, and ends everything that the test has started."""

    address = "127.0.0.1"
    programs_may_warn = False  # on stderr: otherwise the test has to check a program's stderr
    _is_partial = False  # under wine, which cannot show all of it

    def setUp(self) -> None:
        self.port = free_port()
        # Registered first, so that it is called last: no host may affect another test.
        before = frozenset(threading.enumerate())
        self.addCleanup(wait_until, lambda: hosts_have_ended(before), "all hosts of this test have ended")

    def enter(self, context):
        """Enter a context manager until the end of the test, and return what it yields."""
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    # -- hosts and launches --

    def singleton(self, kind=Socket_Singleton, **options) -> Socket_Singleton:
        """Construct on this test's port; it is released at the end of the test."""
        options.setdefault("port", self.port)
        app = kind(**options)
        self.addCleanup(app.release)
        return app

    def observed(self, **options):
        """Return a host and a collector that observes it."""
        app, observer = self.singleton(**options), Collector()
        app.trace(observer)
        return app, observer

    def second_launch(self, *args: str, **options) -> MultipleSingletonsError:
        """Construct, in this process, what has to be a second launch with ``args``; return its error."""
        options.setdefault("port", self.port)
        before, sys.argv = sys.argv, ["app.py", *args]
        try:
            with self.assertRaises(MultipleSingletonsError) as caught:
                Socket_Singleton(strict=False, **options).release()
        finally:
            sys.argv = before
        return caught.exception

    def outcome(self, *words: str):
        """Return the outcome of a launch with ``words``: its `delivered`, or "host"."""
        try:
            Socket_Singleton(port=self.port, strict=False, argv=words).release()
        except MultipleSingletonsError as error:
            return error.delivered
        return "host"

    def assert_free(self) -> None:
        """Check that a launch on this test's port becomes the host at once."""
        Socket_Singleton(port=self.port, strict=False).release()

    def gate(self) -> Gate:
        """Return a gate that is opened at the end of the test at the latest."""
        gate = Gate()
        self.addCleanup(gate.open)
        return gate

    @contextlib.contextmanager
    def at_home(self, home: Path):
        """Have hosts and launches use this home meanwhile, in this process and its children."""
        with mock.patch.dict(os.environ, HOME=str(home), LOCALAPPDATA=str(home)):
            yield

    # -- programs --

    def start(self, *command, ready: str | None = None, **options) -> Program:
        """Start a Python program with ``command`` and wait for its line ``ready``, if given."""
        return self.start_program([sys.executable, *command], ready, **options)

    def start_program(self, command, ready: str | None = None, **options) -> Program:
        program = Program(command, **options)
        self.addCleanup(self._check_stderr, program)
        self.addCleanup(program.kill)
        if ready is not None:
            program.expect(ready)
        return program

    def _check_stderr(self, program: Program) -> None:
        """Have the test fail if the program printed anything on stderr that the test has not read."""
        if not (self.programs_may_warn or program.err_was_read or program.err == ""):
            self.unexpected.append(f"on stderr of {program.describe()}")

    def start_app(self, *command, ready: str | None = None, **options) -> Program:
        return self.start(TEST_APP, *command, ready=ready, **options)

    def start_host(self) -> Program:
        """Start a host in its own process, which prints each launch."""
        return self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")

    def run_app(self, *command, status: int = 0, **options) -> Program:
        """Run test_app.py to its end and check its status."""
        return self.finish(self.start_app(*command, **options), status)

    def finish(self, program: Program, status: int = 0) -> Program:
        self.assertEqual(program.wait(), status, program.describe())
        return program

    def in_background(self, target) -> threading.Thread:
        """Call ``target`` in a thread that has to end before the test does."""
        thread = threading.Thread(target=target)
        thread.start()
        self.addCleanup(self.join, thread)
        return thread

    def join(self, thread: threading.Thread) -> None:
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive(), f"{thread} does not end")

    def at_once(self, count: int, target) -> list:
        """Run ``target(number)`` in ``count`` threads at once; return what each returned or raised."""
        barrier, results = threading.Barrier(count), [None] * count

        def run(number):
            barrier.wait(PATIENCE)
            try:
                results[number] = target(number)
            except BaseException as error:
                results[number] = error

        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            self.join(thread)
        return results

    # -- plain sockets --

    def connect(self, port: int | None = None) -> socket.socket:
        """Return a peer: a connection to the host, closed at the end of the test."""
        peer = socket.create_connection((self.address, port or self.port), PATIENCE)
        self.addCleanup(peer.close)
        return peer

    def exchange(self, data: bytes, port: int | None = None) -> bytes:
        """Send one packet as a peer, end the stream, and return all of the answer."""
        with self.connect(port) as peer:
            peer.sendall(data)
            with contextlib.suppress(OSError):  # it was reset before: reading shows that
                peer.shutdown(socket.SHUT_WR)
            return read_to_end(peer)

    def listener(self, backlog: int = 50) -> socket.socket:
        """Return a socket that listens on this test's port but is not a host."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, inside.exclusive_option(), 1)
        listener.bind((self.address, self.port))
        listener.listen(backlog)
        return listener

    def serve(self, talk) -> None:
        """Have ``talk(peer)`` called for each connection to this test's port, one after the other."""
        listener, done = self.listener(), []

        def accept():
            while not done:
                with contextlib.suppress(OSError):
                    peer, _ = listener.accept()
                    with peer:
                        if not done:
                            talk(peer)

        def stop():
            # A connection ends `accept` everywhere; `shutdown` of a listener does so only on Linux.
            done.append(True)
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname(), PATIENCE).close()

        self.in_background(accept)
        self.addCleanup(stop)

    def bound(self) -> socket.socket:
        """Return a socket that has this test's port but does not listen."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        # Without SO_REUSEADDR, since on Unix two sockets that both have it can both bind.
        sock.bind((self.address, self.port))
        return sock

    def fill_backlog(self) -> None:
        """Have more launches wait at this test's port than a backlog of 0 allows."""
        for _ in range(3):
            peer = socket.socket()
            self.addCleanup(peer.close)
            peer.setblocking(False)
            peer.connect_ex((self.address, self.port))

    def leave_time_wait(self) -> None:
        """Have a host end a connection before its peer does, and release."""
        app = self.singleton()
        peer = self.connect()
        peer.sendall(b"never hangs up\0")
        with inside.limits(LEAVE_TIME=0.1), self.peers_out_of_time(app, 15):
            self.assertEqual(read_to_end(peer), ACK)
        peer.close()
        app.release()

    @contextlib.contextmanager
    def peers_out_of_time(self, app: Socket_Singleton, received: int):
        """Have the time of the host's peers be over once they have sent ``received`` bytes in all."""
        wait_until(lambda: inside.count_received(app) == received, f"{received} bytes of peers")
        with host_clock_ahead():
            self.connect()  # an event, which makes the host look at its clock
            yield

    def wait_for_release(self, app: Socket_Singleton) -> None:
        """Wait until the timeout has freed the port."""
        wait_until(lambda: not app._listening, "the timeout releases")

    def expire(self, app: Socket_Singleton) -> None:
        """Have the timeout expire, which the host sees at the next event."""
        with host_clock_ahead():
            with contextlib.suppress(ConnectionError):  # there may have been one
                self.connect(app.port).close()
            self.wait_for_release(app)

    def assert_reset(self, peer: socket.socket) -> None:
        """Check that the host ends this connection with a reset; under wine, the test ends as skipped."""
        self.assert_ended(peer)
        if WINE and not self._is_partial:
            # Only at its end, because everything else can be seen.
            self._is_partial = True
            self.addCleanup(self.skipTest, NO_RESETS)

    def assert_ended(self, peer: socket.socket) -> None:
        """Check that the host ends this connection with a reset or, under wine, without a byte."""
        peer.settimeout(PATIENCE)
        if WINE:
            with contextlib.suppress(ConnectionError):
                self.assertEqual(read_to_end(peer), b"")
        else:
            with self.assertRaises(ConnectionError):
                read_to_end(peer)

    def make_folder(self) -> Path:
        """Return a new folder, which is deleted with the test."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(os.path.realpath(folder.name))

    def assert_sent_once(self, listener: socket.socket, packet: bytes) -> None:
        """Check that exactly one connection waits there, with ``packet``, after its launch has ended."""
        peer, _ = listener.accept()
        with peer:
            self.assertEqual(read_to_end(peer), packet)
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.accept()


class NamedTestCase(SingletonTestCase):
    """Has a name for each test, the place that follows from it, and a home without a key."""

    def setUp(self) -> None:
        super().setUp()
        # Two runs of these tests may be here at once, with different ports.
        self.name = f"org.example.test {self.port}"
        self.address, self.port = inside.place_of_name(self.name)
        while not is_free(self.address, self.port):  # because of a TIME_WAIT of an earlier run
            self.name = f"org.example.test {free_port()}"
            self.address, self.port = inside.place_of_name(self.name)
        self.home = self.make_folder()
        self.enter(self.at_home(self.home))

    def named(self, **options) -> Socket_Singleton:
        """Construct with this test's name; it is released at the end of the test."""
        options = {"name": self.name, "port": PORT, **options}
        return self.singleton(**options)

    def named_launch(self, *args: str, **options) -> MultipleSingletonsError:
        """Construct what has to be a second launch with this test's name; return its error."""
        options = {"name": self.name, "port": PORT, **options}
        return self.second_launch(*args, **options)

    def error_of_launch(self, *words: str, **options) -> MultipleSingletonsError:
        """Do the same as `named_launch`, in any thread."""
        try:
            Socket_Singleton(**{"name": self.name, "strict": False, "argv": words, **options}).release()
        except MultipleSingletonsError as error:
            return error
        raise AssertionError("it was the host")

    def ask(self, *words: str, **options):
        """Return the host's answer to ``words``."""
        return Socket_Singleton.ask(words, **{"name": self.name, **options})


def host_clock_ahead():
    """Have the clock of hosts in this process be ahead by more than any of their deadlines."""
    return inside.clock_of_hosts(2 * PATIENCE)


def read_to_end(peer: socket.socket) -> bytes:
    """Return what the host sends until it ends the connection in order."""
    chunks = []
    while True:
        chunk = peer.recv(4096)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def skip_without_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        raise unittest.SkipTest(f"this machine has no IPv6: {error}") from None


def hosts_have_ended(before: frozenset) -> bool:
    """Whether no thread of a host runs in this process, except for those that ran ``before``."""
    started = frozenset(threading.enumerate()) - before
    return not any(thread.is_alive() and thread.name.startswith("Socket_Singleton") for thread in started)


def left_behind(before: tuple = (frozenset(), frozenset())) -> tuple:
    """Return the threads and descriptors that exist now but not ``before``."""
    return frozenset(threading.enumerate()) - before[0], descriptors() - before[1]


# What `left_behind` returns if there is nothing.
NOTHING = (frozenset(), frozenset())
