"""`send` and `is_running`: from beside the constructor, and it is said what became of it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import threading
import time
import types
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton, _client
from Socket_Singleton._platform import close_resets
from Socket_Singleton._wire import ACK, MAX_PACKET

from .support import PATIENCE, Collector, free_port, read_to_end, wait_until
from .test_argv import count_descriptors
from .test_strangers import StrangerTestCase, sockets_bound_to

# Seconds for a `send` that is to find no answer.
SHORT = 0.2


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


class BesideTestCase(StrangerTestCase):
    def send(self, *argv: str, timeout: float = PATIENCE, **options) -> None:
        options.setdefault("port", self.port)
        Socket_Singleton.send(argv, timeout=timeout, **options)

    def is_running(self, **options) -> bool:
        return Socket_Singleton.is_running(port=self.port, **options)

    def server(self, answer) -> list[bytes]:
        """Serve with ``answer(peer)``, after all that a peer sends was read; return what was read."""
        listener = self.listener()
        packets = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        packets.append(read_to_end(peer))
                        answer(peer)

        self.in_background(serve)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        return packets

    def fill_backlog(self) -> None:
        for _ in range(3):
            peer = socket.socket()
            self.addCleanup(peer.close)
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", self.port))

    @contextlib.contextmanager
    def stopped(self, program):
        os.kill(program.pid, signal.SIGSTOP)
        try:
            # Stopped by the time this goes on, not soon.
            self.assertTrue(os.WIFSTOPPED(os.waitpid(program.pid, os.WUNTRACED)[1]))
            yield
        finally:
            os.kill(program.pid, signal.SIGCONT)

    def assert_no_socket_opened(self, kind: type, call, **options) -> None:
        opened = AssertionError("a socket was opened")
        with self.subTest(call=call.__name__, **{name: str(value)[:80] for name, value in options.items()}):
            no_socket = mock.patch.object(_client.socket, "socket", side_effect=opened)
            with no_socket, self.assertRaises(kind) as caught:
                call(**options)
            self.assertIs(type(caught.exception), kind)


class TestSend(BesideTestCase):
    def assert_fails(self, kind: type, *parts: str, timeout: float = SHORT, **options) -> None:
        """Check the error of `send`: this very class, the address and the port, nothing left open."""
        before = count_descriptors()
        with self.assertRaises(kind) as caught:
            self.send("word", timeout=timeout, **options)
        self.assertIs(type(caught.exception), kind)
        for part in (options.get("address", "127.0.0.1"), str(self.port), *parts):
            self.assertIn(part, str(caught.exception))
        wait_until(lambda: count_descriptors() <= before, "nothing is left open, also by a host of ours")

    # -- owned --

    def test_is_owned_when_it_returns(self):
        app = self.singleton()
        for number in range(50):
            self.assertIsNone(self.send(str(number), "of", "50"))
            self.assertEqual(app.arguments[number:], ((str(number), "of", "50"),))
        self.assertEqual(app.clients, 50)

    def test_the_host_gets_exactly_what_was_sent(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        odd = ("", "two\nlines", "Grüße 🎉", "\udcff", "")
        self.send(*odd)
        Socket_Singleton.send(["a", "list"], "127.0.0.1", self.port, None, PATIENCE)
        Socket_Singleton.send(iter(["an", "iterator"]), port=str(self.port), timeout="30")
        longest = "x" * (MAX_PACKET - 1)
        self.send(longest)
        observer.wait_for(odd, ("a", "list"), ("an", "iterator"), (longest,))

    def test_to_a_process_and_from_one(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        self.send("from", "here")
        host.expect("from here")
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton.send(sys.argv[2:], port=sys.argv[1])"
        )
        sender = self.finish(self.start("-c", code, self.port, "from", "there"))
        self.assertEqual((sender.out, sender.err), ("", ""))
        host.expect("from there")

    def test_without_arguments(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.send()
        self.send("word")
        observer.wait_for(("word",))
        self.assertEqual(app.clients, 2)

    def test_with_the_secret(self):
        app, observer = self.singleton(secret="right"), Collector()
        app.trace(observer)
        self.send("word", secret="right")
        observer.wait_for(("word",))

    def test_empty_secret_is_none(self):
        app, observer = self.singleton(secret=""), Collector()
        app.trace(observer)
        self.send("word", secret=None)
        self.send("word", secret="")
        observer.wait_for(("word",), ("word",))

    def test_wildcards_are_reached_over_loopback(self):
        for address in ("0.0.0.0", ""):
            with self.subTest(address=address):
                app = self.singleton(address=address)
                self.send("word", address=address)
                self.send("word")
                self.assertEqual(app.clients, 2)
                self.assertTrue(self.is_running(address=address))
                app.release()

    def test_ipv6(self):
        if not has_ipv6():
            self.skipTest("this machine has no IPv6")
        self.assert_fails(ConnectionRefusedError, address="::1")
        self.assertFalse(self.is_running(address="::1"))
        app = self.singleton(address="::1")
        self.send("word", address="::1")
        self.assertEqual(app.arguments, (("word",),))
        self.assertTrue(self.is_running(address="::1"))
        self.assert_fails(ConnectionRefusedError, address="127.0.0.1")

    # -- from where --

    def test_from_many_threads(self):
        app = self.singleton()
        threads = [threading.Thread(target=self.send, args=(str(number),)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(sorted(int(args[0]) for args in app.arguments), list(range(40)))

    def test_from_an_observer_of_the_same_host(self):
        app, observer = self.singleton(), Collector()
        app.trace(lambda args: args == ("first",) and self.send("second", timeout=PATIENCE / 3))
        app.trace(observer)
        self.send("first")
        observer.wait_for(("first",), ("second",))

    def test_from_dispatch_of_the_same_host(self):
        sent = []

        def dispatch(call):
            if not sent:
                sent.append(None)
                self.send("second", timeout=PATIENCE / 3)
            call()

        app, observer = self.singleton(dispatch=dispatch), Collector()
        app.trace(observer)
        self.send("first")
        observer.wait_for(("first",), ("second",))

    def test_while_an_observer_takes_its_time(self):
        app, go_on = self.singleton(), threading.Event()
        self.addCleanup(go_on.set)
        app.trace(lambda args: go_on.wait(PATIENCE))
        for number in range(10):
            self.send(str(number), timeout=PATIENCE / 3)
        self.assertEqual(app.clients, 10)

    # -- a host that comes and goes --

    def test_hosts_that_come_and_go_lose_and_double_nothing(self):
        stop, observer, apps = threading.Event(), Collector(), []

        def hosts():
            threshold = 0
            while not stop.is_set():
                threshold = 3 - threshold
                app = Socket_Singleton(port=self.port, strict=False, release_threshold=threshold)
                apps.append(app)
                app.trace(observer)
                wait_until(lambda app=app: app.clients >= 3 or stop.is_set(), "three clients")
                app.release()

        owned, refused = [], []

        def sender(name):
            number = 0
            while (number < 60 or len(apps) <= 5) and not stop.is_set():
                number += 1
                word = f"{name}{number}"
                while word not in owned and not stop.is_set():
                    try:
                        self.send(word)
                        owned.append(word)
                    except ConnectionRefusedError:  # and then nobody has it
                        refused.append(word)

        self.in_background(hosts)
        self.addCleanup(stop.set)
        senders = [threading.Thread(target=sender, args=(name,)) for name in "abc"]
        for thread in senders:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        for thread in senders:
            thread.join(max(deadline - time.monotonic(), 0))
        stop.set()
        self.assertGreaterEqual(len(owned), 180)
        self.assertGreater(len(apps), 5)

        def got():
            return observer.calls + [args for app in apps for args in app.arguments]

        wait_until(lambda: len(got()) >= len(owned), "what was owned is somewhere")
        self.assertEqual(sorted(got()), sorted((word,) for word in owned))

    def test_host_that_goes_with_the_packet_read_and_not_owned(self):
        """It resets who is not owned; then nobody listens, or the next host owns it, once."""
        for is_there_a_next in (False, True):
            with self.subTest(is_there_a_next=is_there_a_next):
                self.port = free_port()
                listener, apps = self.listener(), []

                def go(listener=listener, apps=apps, start_next=is_there_a_next):
                    peer, _ = listener.accept()
                    read_to_end(peer)
                    listener.close()
                    if start_next:
                        apps.append(self.singleton(strict=False))
                    close_resets(peer)
                    peer.close()

                self.in_background(go)
                if is_there_a_next:
                    self.send("word")
                    self.assertEqual(apps[0].arguments, (("word",),))
                else:
                    self.assert_fails(ConnectionRefusedError, timeout=PATIENCE)

    # -- nobody --

    def test_nobody_there(self):
        self.assert_fails(ConnectionRefusedError, timeout=PATIENCE)

    def test_never_becomes_the_host_and_never_ends_the_program(self):
        for _ in range(3):
            with self.assertRaises(ConnectionRefusedError):
                self.send("word")
        self.assertFalse(self.is_running())
        with socket.socket() as anyone:
            anyone.bind(("127.0.0.1", self.port))

    def test_a_host_that_is_gone(self):
        app = self.singleton()
        self.send("word")
        app.release()
        self.assert_fails(ConnectionRefusedError, timeout=PATIENCE)

    def test_port_that_is_bound_and_does_not_listen(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", self.port))
            self.assert_fails(ConnectionRefusedError)

    def test_connection_that_meets_itself(self):
        with sockets_bound_to(self.port):
            self.assert_fails(ConnectionRefusedError)
            self.assertFalse(self.is_running())

    # -- no answer --

    def test_silent_server_is_sent_the_packet_once(self):
        listener = self.listener()
        begun = time.monotonic()
        self.assert_fails(TimeoutError)
        self.assertGreaterEqual(time.monotonic() - begun, SHORT)
        self.assertLess(time.monotonic() - begun, SHORT + 2)
        self.assert_sent_once(listener, b"word\0")

    def test_server_that_reads_nothing_of_a_long_packet(self):
        self.listener()
        begun = time.monotonic()
        with self.assertRaises(TimeoutError):
            self.send("x" * (MAX_PACKET - 1), timeout=SHORT)
        self.assertLess(time.monotonic() - begun, SHORT + 2)

    def test_backlog_that_is_full(self):
        self.listener(backlog=0)
        self.fill_backlog()
        self.assert_fails(TimeoutError)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_host_that_is_stopped_may_come_to_own_it(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        with self.stopped(host):
            self.assert_fails(TimeoutError)
        host.expect("word")
        self.send("later")
        host.expect("later")
        self.assertEqual(host.lines, ["Singleton locked", "word", "later"])

    def test_server_that_resets(self):
        """Nobody owns it, and somebody may soon: asked again as long as there is time for an answer."""
        packets = self.server(close_resets)
        for timeout in (2, 0.4):
            packets.clear()
            begun = time.monotonic()
            with self.assertRaises(TimeoutError) as caught:
                self.send("word", timeout=timeout)
            self.assertLess(time.monotonic() - begun, timeout)
            self.assertIn(str(self.port), str(caught.exception))
            self.assertGreater(len(packets), 1)

    def test_time_for_an_answer_is_left(self):
        """Half a second, or a quarter of little time."""
        with mock.patch.object(_client, "time", types.SimpleNamespace(monotonic=lambda: 100.0)):
            for timeout, left in ((2, 0.5), (60, 0.5), (0.4, 0.1)):
                self.assertAlmostEqual(_client._last_try(100 + timeout), 100 + timeout - left)

    # -- another answer --

    def test_server_with_a_banner(self):
        self.server(lambda peer: peer.sendall(b"220 mail.example ESMTP\r\n"))
        self.assert_fails(ConnectionError, "220 mail.example", timeout=PATIENCE)

    def test_server_that_answers_a_request(self):
        packets = self.server(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assert_fails(ConnectionError, "HTTP/1.1 400", timeout=PATIENCE)
        self.assertEqual(packets, [b"word\0"])

    def test_host_of_2_0_0_cannot_confirm(self):
        """It reads all, and closes in order; it has taken it, so it is not asked again."""
        packets = self.server(lambda peer: None)
        self.assert_fails(ConnectionError, timeout=PATIENCE)
        self.assertEqual(packets, [b"word\0"])

    def test_wrong_secret(self):
        app = self.singleton(secret="right")
        for secret in ("wrong", None, "right ", "r"):
            with self.subTest(secret=secret):
                self.assert_fails(ConnectionError, secret=secret, timeout=PATIENCE)
        self.assertEqual(app.arguments, ())
        self.assertEqual(app.clients, 4)

    def test_more_clients_than_max_clients(self):
        app = self.singleton(max_clients=1)
        self.send("word")
        self.assert_fails(ConnectionError, timeout=PATIENCE)
        self.assertEqual(app.arguments, (("word",),))

    def test_bytes_after_the_ack_are_reserved(self):
        self.server(lambda peer: peer.sendall(ACK + b"of a later version"))
        self.send("word")

    # -- what is refused --

    def test_what_is_refused(self):
        def send(argv=("word",), **options):
            options.setdefault("port", self.port)
            Socket_Singleton.send(argv, **options)

        for kind, options in (
            *(
                (TypeError, {"argv": bad})
                for bad in ("a string", b"bytes", 5, None, [b"bytes"], ["word", None])
            ),
            (ValueError, {"argv": ["a\0b"]}),
            (ValueError, {"argv": ["x" * MAX_PACKET]}),
            (UnicodeEncodeError, {"argv": ["\ud800"]}),
            *((TypeError, {"address": bad}) for bad in (None, 5, b"127.0.0.1", ["127.0.0.1"])),
            *((TypeError, {"port": bad}) for bad in (None, [], object())),
            *((ValueError, {"port": bad}) for bad in (-1, 65536, "port", "", float("inf"))),
            *((TypeError, {"secret": bad}) for bad in (b"bytes", 5, ["s"])),
            (ValueError, {"secret": "a\0b"}),
            *((TypeError, {"timeout": bad}) for bad in (None, [], object())),
            *((ValueError, {"timeout": bad}) for bad in (-1, "soon", float("nan"), -float("inf"))),
        ):
            self.assert_no_socket_opened(kind, send, **options)


class TestIsRunning(BesideTestCase):
    def test_is_there_or_not(self):
        self.assertIs(self.is_running(), False)
        app = self.singleton()
        self.assertIs(self.is_running(), True)
        self.assertIs(Socket_Singleton.is_running("127.0.0.1", str(self.port)), True)
        app.release()
        self.assertIs(self.is_running(), False)

    def test_of_a_process(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        self.assertTrue(self.is_running())
        host.kill()
        self.assertFalse(self.is_running())

    def test_does_not_disturb_the_host(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            app = self.singleton(verbose=True, release_threshold=2, max_clients=1, notify_empty=True)
            observer = Collector()
            app.trace(observer)
            for _ in range(50):
                self.assertTrue(self.is_running())
            self.assertEqual(app.clients, 0)
            self.send("word")
            self.assertTrue(self.is_running())
            observer.wait_for(("word",))
        self.assertEqual((app.clients, app.arguments), (1, ()))
        self.assertEqual(printed.getvalue(), "")
        wait_until(lambda: not app._host._peers, "nobody is connected any more")

    def test_with_a_secret_and_by_who_does_not_know_it(self):
        app = self.singleton(secret="right")
        self.assertTrue(self.is_running())
        self.send("word", secret="right")
        self.assertEqual(app.clients, 1)

    def test_of_ones_own_host_from_an_observer(self):
        app, answers = self.singleton(), []
        app.trace(lambda args: answers.append(self.is_running()))
        self.send("word")
        wait_until(lambda: answers == [True], "it answers")

    def test_is_not_confused_by_time_wait(self):
        self.leave_time_wait()
        self.assertFalse(self.is_running())
        self.singleton(strict=False)
        self.assertTrue(self.is_running())

    def test_asking_leaves_the_port_to_be_had(self):
        for _ in range(20):
            app = self.singleton(strict=False)
            self.assertTrue(self.is_running())
            app.release()
            self.assertFalse(self.is_running())

    def test_who_is_bound_and_does_not_listen(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", self.port))
            self.assertFalse(self.is_running())

    def test_somebody_else_listens(self):
        listener = self.listener()
        self.assertTrue(self.is_running())
        peer, _ = listener.accept()
        with peer:
            self.assertEqual(read_to_end(peer), b"", "it is sent nothing")

    def test_backlog_that_is_full(self):
        self.listener(backlog=0)
        self.fill_backlog()
        short = mock.patch.object(_client, "HAND_OVER_TIME", SHORT)
        with short, self.assertRaises(TimeoutError) as caught:
            self.is_running()
        for part in ("127.0.0.1", str(self.port)):
            self.assertIn(part, str(caught.exception))

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_of_a_host_that_is_stopped(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        with self.stopped(host):
            self.assertTrue(self.is_running())

    def test_leaves_nothing_open(self):
        self.singleton()
        free, before = free_port(), count_descriptors()
        for _ in range(20):
            self.is_running()
            Socket_Singleton.is_running(port=free)
        wait_until(lambda: count_descriptors() <= before, "the host has closed its ends")

    def test_what_is_refused(self):
        for kind, options in (
            *((TypeError, {"address": bad}) for bad in (None, 5, b"127.0.0.1", ["127.0.0.1"])),
            *((TypeError, {"port": bad}) for bad in (None, [], object())),
            *((ValueError, {"port": bad}) for bad in (-1, 65536, "port", "", float("inf"))),
        ):
            self.assert_no_socket_opened(kind, Socket_Singleton.is_running, **options)
