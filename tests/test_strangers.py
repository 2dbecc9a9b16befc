"""Nobody is there, or somebody else: the launch ends soon, and says what it saw."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest import mock

from Socket_Singleton import Socket_Singleton, _client
from Socket_Singleton._wire import ACK

from .support import PATIENCE, PROGRAMS, SingletonTestCase, free_port, read_to_end, wait_until

# Seconds that a launch may take in all, from its constructor: how long an
# interpreter takes to start on a loaded machine is not ours to promise.
AT_MOST = 3.0


class StrangerTestCase(SingletonTestCase):
    def assert_told(self, *expected: str) -> None:
        """Check how a launch, strict and not, ends on this test's port."""
        launch = self.start_app("default", self.port, "word")
        begun = time.monotonic()
        error = self.second_launch("word")
        self.assertLess(time.monotonic() - begun, AT_MOST)
        self.finish(launch, status=1)
        self.assertEqual(launch.out, "")
        self.assertEqual(launch.err.count("\n"), 0, launch.err)
        self.assertIs(error.delivered, False)
        self.assertEqual(str(error), launch.err)
        for part in ("127.0.0.1", str(self.port), *expected):
            self.assertIn(part, launch.err)

    def listener(self, backlog: int = 5) -> socket.socket:
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(backlog)
        return listener

    def in_background(self, target) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)


class TestStrangers(StrangerTestCase):
    def test_silent_server(self):
        self.listener()
        self.assert_told("no answer")

    def test_silent_server_is_sent_a_packet_once(self):
        listener = self.listener()
        self.second_launch("word")
        self.assert_sent_once(listener, b"word\0")

    def test_http_server(self):
        class Quiet(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

        server = HTTPServer(("127.0.0.1", self.port), Quiet)
        server.handle_error = lambda *args: None  # the launch hangs up on it, and may
        self.addCleanup(server.server_close)
        self.in_background(server.serve_forever)
        self.addCleanup(server.shutdown)
        begun = time.monotonic()
        self.assertIs(self.second_launch("GET / HTTP/1.0\r\n\r\n").delivered, False)
        self.assertLess(time.monotonic() - begun, _client.HAND_OVER_TIME / 2, "at once, it said")
        self.assertIn("is not a Socket_Singleton", str(self.second_launch("GET / HTTP/1.0\r\n\r\n")))

    def test_server_with_a_banner(self):
        listener = self.listener()
        stop = threading.Event()

        def greet():
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    peer, _ = listener.accept()
                    with peer:
                        peer.sendall(b"220 mail.example ESMTP\r\n")
                        read_to_end(peer)

        self.in_background(greet)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        self.addCleanup(stop.set)
        self.assert_told("220 mail.example", "is not a Socket_Singleton")

    def test_port_that_is_an_outgoing_connection(self):
        other = free_port()
        with socket.socket() as server, socket.socket() as outgoing:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", other))
            server.listen(1)
            outgoing.bind(("127.0.0.1", self.port))
            outgoing.connect(("127.0.0.1", other))
            self.assert_told("refused")

    def test_port_that_is_bound_and_does_not_listen(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", self.port))
            self.assert_told("refused")
            # Also one that hands nothing over must not end silently: nobody runs.
            self.assertIs(self.second_launch(client=False).delivered, False)

    def test_port_that_comes_free_meanwhile(self):
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(("127.0.0.1", self.port))
        # Freed when the launch has been refused once; it tells, being verbose.
        freed = []

        def write(text):
            if text.startswith("Socket_Singleton: Failed to connect to existing instance on 127.0.0.1:"):
                freed.append(text)
                bound.close()

        with contextlib.redirect_stdout(_Writer(write)):
            app = self.singleton(verbose=True, strict=False)
        self.assertTrue(app._listening)
        self.assertEqual(len(freed), 1)

    def test_backlog_that_is_full(self):
        self.listener(backlog=0)
        waiting = []
        for _ in range(3):
            peer = socket.socket()
            self.addCleanup(peer.close)
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", self.port))
            waiting.append(peer)
        self.assert_told()

    def test_connection_that_meets_itself(self):
        """On an ephemeral port a connection can get that very port as its own end."""
        # What the kernel does by chance, once in 28,000 connections, is done here
        # by binding the launch's end to the port that it calls.
        endpoint = _client.Endpoint("127.0.0.1", self.port)
        with sockets_bound_to(self.port):
            met = endpoint.ask(b"word\0", time.monotonic() + PATIENCE)
        self.assertEqual(met, (_client.Answer.REFUSED, "the connection met itself"))
        # It has left nothing behind that would keep the port.
        self.singleton(strict=False).release()

    def test_what_fails_after_the_packet_was_sent_is_no_reason_to_send_it_again(self):
        class Failing(socket.socket):
            def recv(self, *_):
                raise OSError(errno.EIO, "it failed")

        listener = self.listener()
        with mock.patch.object(_client.socket, "socket", Failing):
            error = self.second_launch("word")
        self.assertIs(error.delivered, False)
        self.assertIn("it failed", str(error))
        self.assert_sent_once(listener, b"word\0")


class _Writer:
    def __init__(self, write):
        self.write = write

    def flush(self):
        pass


@contextlib.contextmanager
def sockets_bound_to(port):
    """Have sockets made in `_client` be bound to ``port``: real sockets, with an end of our choice."""
    real = socket.socket

    def bound(*args, **kwargs):
        sock = real(*args, **kwargs)
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
        return sock

    _client.socket.socket = bound
    try:
        yield
    finally:
        _client.socket.socket = real


@unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
class TestStoppedHost(StrangerTestCase):
    def test_a_stopped_host_that_goes_on_delivers_each_launch_once(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        self.stop(host)
        self.assert_told("no answer")
        self.go_on(host)
        # Two launches sent their packets: one strict, one not.
        host.expect("word", count=2)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("later")
        self.assertEqual(host.lines.count("word"), 2, "delivered twice")

    def test_with_its_backlog_filled(self):
        host = self.start(PROGRAMS / "shallow_host.py", self.port, ready="ready")
        self.stop(host)
        for _ in range(3):
            peer = socket.socket()
            self.addCleanup(peer.close)
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", self.port))
        self.assert_told()
        self.go_on(host)
        # Not a bare peer: where a backlog was full, the system may reset who comes next, and a
        # launch then asks again.
        Socket_Singleton.send(["later"], port=self.port, timeout=PATIENCE)
        host.expect("got later")
        # These could not even connect, so they are nowhere.
        self.assertEqual(host.lines, ["ready", "got later"])

    def test_a_long_packet_that_was_cut_by_the_deadline_is_not_delivered(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        self.stop(host)
        words = ["x" * 100_000] * 70  # more than the system buffers for a peer
        self.assertIs(self.second_launch(*words).delivered, False)
        self.go_on(host)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("later")
        self.assertEqual(host.lines, ["Singleton locked", "later"])

    def stop(self, program) -> None:
        os.kill(program.pid, signal.SIGSTOP)
        self.addCleanup(self.go_on, program)
        # Stopped by the time this returns, not soon.
        _, status = os.waitpid(program.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))

    def go_on(self, program) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGCONT)


class TestNobody(StrangerTestCase):
    def test_host_that_dies_while_the_launch_waits(self):
        """It claims the port: the packet died with the host, unowned."""
        listener = self.listener()

        def die():
            peer, _ = listener.accept()
            peer.recv(100)
            listener.close()
            _client._platform.close_resets(peer)
            peer.close()

        self.in_background(die)
        app = Socket_Singleton(port=self.port, strict=False)
        self.addCleanup(app.release)
        self.assertTrue(app._listening)

    def test_host_that_closes_in_order_without_an_answer_and_is_gone(self):
        listener = self.listener()

        def close():
            peer, _ = listener.accept()
            listener.close()
            read_to_end(peer)
            peer.close()

        self.in_background(close)
        app = Socket_Singleton(port=self.port, strict=False)
        self.addCleanup(app.release)
        wait_until(lambda: app._listening, "it is the host")
