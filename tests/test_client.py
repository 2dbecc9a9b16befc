"""A launch that finds the port taken: hand-over, strangers, `wait`; `send` and `is_running`."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import itertools
import math
import os
import pickle
import signal
import socket
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    LAUNCH_LIMIT,
    MAX_PACKET,
    PATIENCE,
    PROGRAMS,
    WINE,
    Collector,
    Printed,
    SingletonTestCase,
    Stopwatch,
    descriptors,
    free_port,
    inside,
    needs_fine_clock,
    needs_reset_in_backlog,
    needs_resets,
    read_to_end,
    wait_until,
)
from .support.sockets import claims_of_launches, close_resets, failing, hooked, no_sockets_of_launches

# Seconds that a launch may take, from its constructor on: how long an
# interpreter takes to start on a loaded machine is out of our hands.
AT_MOST = 3.0


# Seconds for a `send` that will not get an answer.
SHORT = 0.2


# Seconds from the end of a host until a launch that waits has the port.
PROMISED = 0.05


# How many trials may be spoiled by other programs on the machine.
TRIALS = 40


class _Writer:
    def __init__(self, write):
        self.write = write

    def flush(self):
        pass


def sockets_bound_to(port):
    """Have sockets of launches be bound to ``port``: real sockets, whose own end we choose."""
    real = inside.LaunchSocket

    def bound(*args, **kwargs):
        sock = real(*args, **kwargs)
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
        return sock

    return inside.sockets_of_launches(bound)


class Claims:
    """Counts the claims of launches in this process; their sockets are real."""

    def __init__(self, kind=inside.LaunchSocket) -> None:
        self.times: list[float] = []
        self._kind = kind

    def __enter__(self):
        self._claims = claims_of_launches(lambda _: self.times.append(time.monotonic()), self._kind)
        self._claims.__enter__()
        return self

    def __exit__(self, *_):
        self._claims.__exit__(None, None, None)

    def wait_for_next(self) -> None:
        seen = len(self.times)
        wait_until(lambda: len(self.times) > seen, "another claim")


class ClientTestCase(SingletonTestCase):
    def send(self, *argv: str, timeout: float = PATIENCE, **options) -> None:
        options.setdefault("port", self.port)
        Socket_Singleton.send(argv, timeout=timeout, **options)

    def is_running(self, **options) -> bool:
        return Socket_Singleton.is_running(port=self.port, **options)

    def server(self, answer) -> list[bytes]:
        """Serve with ``answer(peer)`` once everything a peer sends was read; return what was read."""
        packets = []

        def read_and_answer(peer):
            packets.append(read_to_end(peer))
            answer(peer)

        self.serve(read_and_answer)
        return packets

    def assert_no_socket_opened(self, kind: type, call, **options) -> None:
        with self.subTest(call=call.__name__, **{name: str(value)[:80] for name, value in options.items()}):
            with no_sockets_of_launches(), self.assertRaises(kind) as caught:
                call(**options)
            self.assertIs(type(caught.exception), kind)

    def assert_fails(self, kind: type, *parts: str, timeout: float = PATIENCE, **options) -> None:
        """Check the error of `send`: exactly this class, with the address and port; nothing is left open."""
        before = descriptors()
        with self.assertRaises(kind) as caught:
            self.send("word", timeout=timeout, **options)
        self.assertIs(type(caught.exception), kind)
        for part in ("127.0.0.1", str(self.port), *parts):
            self.assertIn(part, str(caught.exception))
        wait_until(lambda: not descriptors() - before, "nothing is left open, not even by our own host")

    def assert_fails_with(self, *expected: str, outcome: str) -> None:
        """Check how a launch, strict and not, ends on this test's port."""
        launch = self.start_app("default", self.port, "word")
        with Stopwatch() as took:
            error = self.second_launch("word")
        self.assertLess(took.seconds, AT_MOST)
        self.finish(launch, status=1)
        self.assertEqual(launch.out, "")
        self.assertEqual(launch.err.count("\n"), 0, launch.err)
        self.assertEqual((error.delivered, error.outcome), (False, outcome))
        self.assertEqual(str(error), launch.err)
        for part in ("127.0.0.1", str(self.port), *expected):
            self.assertIn(part, launch.err)


class TestHandOver(ClientTestCase):
    """What a launch sends, and how it understands each answer of a plain socket."""

    def packet_of(self, *args: str, answer: bytes = ACK, **options) -> tuple:
        """Return what a second launch sends to a peer that answers with ``answer``, and its error."""
        received = []

        def serve():
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    received.append(read_to_end(peer))
                    peer.sendall(answer)

        with self.listener() as listener:
            listener.settimeout(PATIENCE)
            server = self.in_background(serve)
            error = self.second_launch(*args, **options)
            self.join(server)
            listener.setblocking(False)
            with self.assertRaises(BlockingIOError):
                listener.accept()  # it connected only once
        return (*received, error)

    def test_bytes_of_a_second_launch(self):
        for args, secret, expected in (
            ((), None, b"\0"),
            (("a",), None, b"a\0"),
            (("foo", "", "b\u00e4r\n", "\udcff"), None, b"foo\0\0b\xc3\xa4r\n\0\xff\0"),
            ((), "key", b"key\0"),
            (("a", "b"), "cl\u00e9", b"cl\xc3\xa9\0a\0b\0"),
            (("a",), "", b"a\0"),
        ):
            with self.subTest(args=args, secret=secret):
                data, error = self.packet_of(*args, secret=secret)
                self.assertEqual(data, expected)
                self.assertIs(error.delivered, True)

    def test_launch_ignores_what_follows_the_ack(self):
        for more in (b"\x06", b"later", b"\0" * 100_000):
            with self.subTest(more=more[:5]):
                _, error = self.packet_of("a", answer=ACK + more)
                self.assertIs(error.delivered, True)

    def test_launch_takes_an_end_without_ack_for_a_host_of_2_0_0(self):
        data, error = self.packet_of("a", answer=b"")
        self.assertEqual(data, b"a\0")
        self.assertIsNone(error.delivered)
        self.assertIn("already bound & listening", str(error))

    def test_launch_takes_other_bytes_for_a_stranger(self):
        for answer in (b"\x16", b"later\x06", b"\0\x06"):
            with self.subTest(answer=answer):
                _, error = self.packet_of("a", answer=answer)
                self.assertIs(error.delivered, False)
                self.assertIn(repr(answer), str(error))

    @needs_reset_in_backlog
    def test_packet_is_not_sent_again_if_something_fails_afterwards(self):
        class Failing(inside.LaunchSocket):
            def recv(self, *_):
                raise OSError(errno.EIO, "it failed")

        listener = self.listener()
        with inside.sockets_of_launches(Failing):
            error = self.second_launch("word")
        self.assertIs(error.delivered, False)
        self.assertIn("it failed", str(error))
        self.assert_sent_once(listener, b"word\0")

    def test_host_that_dies_while_the_launch_waits(self):
        """It claims the port: the packet died with the host, unowned."""
        listener = self.listener()

        def die():
            peer, _ = listener.accept()
            peer.recv(100)
            listener.close()
            close_resets(peer)
            peer.close()

        self.in_background(die)
        app = self.singleton(strict=False)
        self.assertTrue(app._listening)

    def test_host_that_closes_in_order_without_an_answer_and_is_gone(self):
        listener = self.listener()

        def close():
            peer, _ = listener.accept()
            listener.close()
            read_to_end(peer)
            peer.close()

        self.in_background(close)
        app = self.singleton(strict=False)
        wait_until(lambda: app._listening, "it is the host")

    def test_port_that_becomes_free_meanwhile(self):
        bound = self.bound()
        # It is freed when the launch has been refused once, which its verbose output shows.
        freed = []

        def write(text):
            if text.startswith("Socket_Singleton: Failed to connect to existing instance on 127.0.0.1:"):
                freed.append(text)
                bound.close()

        with contextlib.redirect_stdout(_Writer(write)):
            app = self.singleton(verbose=True, strict=False)
        self.assertTrue(app._listening)
        self.assertEqual(len(freed), 1)


class TestStrangers(ClientTestCase):
    """Another program has the port. Each attempt, in every way, ends soon and says what it saw."""

    def check(self, *words: str, outcome: str, send: type, runs: bool | type) -> None:
        """Try it as a launch, strict and not, with `send`, which raises ``send``, and with `is_running`."""
        self.assert_fails_with(*words, outcome=outcome)
        self.check_beside(*words, send=send, runs=runs)

    def check_beside(self, *words: str, send: type, runs: bool | type) -> None:
        self.assert_fails(send, *words, timeout=SHORT if send is TimeoutError else PATIENCE)
        if isinstance(runs, bool):
            self.assertIs(self.is_running(), runs)
        else:
            with self.assertRaisesRegex(runs, f"127.0.0.1 port {self.port}"):
                self.is_running()

    @needs_reset_in_backlog
    def test_silent_server(self):
        """Nobody sends it a packet twice: it might wake up and take both."""
        listener = self.listener()
        self.check("no answer", outcome="silent", send=TimeoutError, runs=True)
        packets = []
        for _ in range(4):
            peer, _ = listener.accept()
            with peer:
                packets.append(read_to_end(peer))
        listener.setblocking(False)
        with self.assertRaises(BlockingIOError):
            listener.accept()
        self.assertEqual(sorted(packets), [b"", b"word\0", b"word\0", b"word\0"])

    def test_server_with_a_banner(self):
        def greet(peer):
            peer.sendall(b"220 mail.example ESMTP\r\n")
            read_to_end(peer)

        self.serve(greet)
        words = ("220 mail.example", "is not a Socket_Singleton")
        self.check(*words, outcome="stranger", send=ConnectionError, runs=True)

    def test_server_that_answers_a_request(self):
        self.server(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        words = ("HTTP/1.1 400", "is not a Socket_Singleton")
        self.check(*words, outcome="stranger", send=ConnectionError, runs=True)

    @needs_resets
    def test_server_that_resets(self):
        """Nobody owns the packet, but somebody may soon, so each way tries again while there is time."""
        packets = self.server(close_resets)
        self.check(outcome="reset", send=TimeoutError, runs=True)
        self.assertGreater(packets.count(b"word\0"), 6)

    def test_server_that_ends_in_order(self):
        """A host of 2.0.0 that has taken the launch does so too, so nobody tries again."""
        packets = self.server(lambda peer: None)
        launch = self.run_app("default", self.port, "word")
        self.assertEqual((launch.out, launch.err), ("", ""))
        error = self.second_launch("word")
        self.assertEqual((error.delivered, error.outcome), (None, "unknown"))
        self.check_beside("2.0.0", send=ConnectionError, runs=True)
        wait_until(lambda: len(packets) == 4, "all were served")
        self.assertEqual(packets, [b"word\0", b"word\0", b"word\0", b""])

    def test_port_that_is_an_outgoing_connection(self):
        other = free_port()
        with socket.socket() as server, self.bound() as outgoing:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", other))
            server.listen(1)
            outgoing.connect(("127.0.0.1", other))
            self.check("refused", outcome="nobody", send=ConnectionRefusedError, runs=False)

    def test_port_that_is_bound_and_does_not_listen(self):
        self.bound()
        self.check("refused", outcome="nobody", send=ConnectionRefusedError, runs=False)
        self.enter(inside.limits(HAND_OVER_TIME=0.3))
        # Even a launch that hands nothing over must not end silently: no instance is running.
        self.assertIs(self.second_launch(client=False).delivered, False)

    def test_full_backlog(self):
        self.enter(inside.limits(LOOK_TIME=0.3))
        self.listener(backlog=0)
        self.fill_backlog()
        self.check(outcome="unreachable", send=TimeoutError, runs=TimeoutError)

    def test_connection_to_itself(self):
        """On an ephemeral port, a connection can get that very port as its own end."""
        # The kernel does this by chance, once in 28,000 connections. Here it is
        # done by binding the launch's end to the port that it connects to.
        with sockets_bound_to(self.port):
            self.check_beside(send=ConnectionRefusedError, runs=False)
            with self.assertRaisesRegex(ConnectionRefusedError, "the launch was connected to itself"):
                self.send("word", timeout=0.1)
        # It has left nothing behind that would block the port.
        self.assert_free()

    def test_http_server(self):
        class Quiet(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

        server = HTTPServer(("127.0.0.1", self.port), Quiet)
        server.handle_error = lambda *args: None  # the launch may hang up on it
        self.addCleanup(server.server_close)
        self.in_background(server.serve_forever)
        self.addCleanup(server.shutdown)
        with Stopwatch() as took:
            error = self.second_launch("GET / HTTP/1.0\r\n\r\n")
        self.assertLess(took.seconds, inside.limit("HAND_OVER_TIME") / 2, "it took too long")
        self.assertIs(error.delivered, False)
        self.assertIn("is not a Socket_Singleton", str(error))


@unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
class TestStoppedHost(ClientTestCase):
    def test_a_stopped_host_that_continues_delivers_each_launch_once(self):
        host = self.start_host()
        with host.stopped():
            self.assert_fails_with("no answer", outcome="silent")
        # Two launches have sent their packets: a strict one, and one that is not.
        host.expect("word", count=2)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("later")
        self.assertEqual(host.lines.count("word"), 2, "delivered twice")

    def test_with_its_backlog_filled(self):
        host = self.start(PROGRAMS / "shallow_host.py", self.port, ready="ready")
        with host.stopped():
            self.fill_backlog()
            self.assert_fails_with(outcome="unreachable")
        # Not a bare peer: after a full backlog the system may reset the next connection, and a
        # launch then tries again.
        Socket_Singleton.send(["later"], port=self.port, timeout=PATIENCE)
        host.expect("got later")
        # The others could not even connect, so they were not delivered.
        self.assertEqual(host.lines, ["ready", "got later"])

    def test_a_long_packet_that_was_cut_by_the_deadline_is_not_delivered(self):
        host = self.start_host()
        with host.stopped():
            words = ["x" * 100_000] * 70  # more than the system buffers for a peer
            with inside.limits(HAND_OVER_TIME=0.5):
                self.assertIs(self.second_launch(*words).delivered, False)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("later")
        self.assertEqual(host.lines, ["Singleton locked", "later"])

    def test_stopped_host_may_own_the_launch_later(self):
        host = self.start_host()
        with host.stopped():
            self.assert_fails(TimeoutError, timeout=LAUNCH_LIMIT)
        host.expect("word")
        self.send("later")
        host.expect("later")
        self.assertEqual(host.lines, ["Singleton locked", "word", "later"])

    def test_stopped_host_is_running(self):
        host = self.start_host()
        with host.stopped():
            self.assertTrue(self.is_running())


class TestArgv(ClientTestCase):
    """`argv`: what a launch hands over instead of its command line."""

    def test_is_handed_over_instead_of_the_command_line(self):
        _, observer = self.observed()
        given = ["/a/directory", '{"json": [1, 2]}', "", "two\nlines", "Grüße 🎉", "\udcff\udc80", ""]
        error = self.second_launch("not", "this", argv=given)
        self.assertIs(error.delivered, True)
        observer.wait_for(tuple(given))

    def test_is_handed_over_by_a_process_that_ends_silently(self):
        _, observer = self.observed()
        code = (
            "import os, sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton(port=sys.argv[1], argv=[os.getcwd()])"
        )
        launch = self.start("-c", code, self.port, "not", "this", cwd=os.path.dirname(__file__))
        self.finish(launch)
        self.assertEqual((launch.out, launch.err), ("", ""))
        observer.wait_for((os.path.realpath(os.path.dirname(__file__)),))

    def test_any_sequence_of_strings(self):
        class Word(str):
            pass

        _, observer = self.observed()
        self.second_launch(argv=("a", "tuple"))
        self.second_launch(argv=[Word("a"), Word("subclass")])
        self.second_launch(argv={"keys": 1, "of": 2}.keys())
        observer.wait_for(("a", "tuple"), ("a", "subclass"), ("keys", "of"))

    def test_none_is_the_command_line_and_empty_is_no_arguments(self):
        app, observer = self.observed()
        self.assertIs(self.second_launch("typed", argv=[]).delivered, True)
        self.assertIs(self.second_launch("typed", argv=None).delivered, True)
        observer.wait_for(("typed",))
        self.assertEqual(app.clients, 2)

    def test_a_host_does_not_hand_over_its_own(self):
        _, observer = self.observed(argv=["the host's"])
        self.second_launch("typed")
        observer.wait_for(("typed",))

    def test_is_the_launchs_own_copy(self):
        given = ["before"]
        app = self.singleton(argv=given)
        given.append("after")
        self.assertEqual(app.argv, ("before",))

    def test_with_a_secret_and_without_client(self):
        _, observer = self.observed(secret="right")
        error = self.second_launch(argv=["no"], secret="wrong")
        self.assertEqual((error.delivered, error.outcome), (False, "rejected"))
        self.assertIs(self.second_launch(argv=["no"], secret="right", client=False).delivered, None)
        self.assertIs(self.second_launch(argv=["yes"], secret="right").delivered, True)
        observer.wait_for(("yes",))

    def test_up_to_the_packet_limit(self):
        _, observer = self.observed(secret="four")
        longest = "x" * (MAX_PACKET - len("four") - 2)  # each is followed by a NUL
        self.assertIs(self.second_launch(argv=[longest], secret="four").delivered, True)
        observer.wait_for((longest,))
        with self.assertRaisesRegex(ValueError, str(MAX_PACKET)):
            Socket_Singleton(port=self.port, argv=[longest + "x"], secret="four", strict=False)


class TestError(SingletonTestCase):
    """The error of a launch that is not strict."""

    def test_error_says_where(self):
        self.singleton()
        for options in ({}, {"client": False}):
            error = self.second_launch("word", **options)
            self.assertIn(f"already bound & listening @ 127.0.0.1 on port {self.port}", str(error))
            self.assertEqual((error.address, error.port), ("127.0.0.1", self.port))
            self.assertIs(error.delivered, None if options else True)

    def test_error_shows_the_address_that_was_asked_for(self):
        self.singleton(address="localhost")
        error = self.second_launch(address="localhost", port=str(self.port))
        self.assertIn(f"already bound & listening @ localhost on port {self.port}", str(error))
        self.assertEqual((error.address, error.port), ("localhost", self.port))

    def test_error_survives_pickle_and_copy(self):
        self.singleton()
        errors = [
            self.second_launch(),
            self.second_launch(client=False),
            MultipleSingletonsError("text", address="::1", port=5, delivered=False),
            MultipleSingletonsError("two", "parts"),
            MultipleSingletonsError(),
        ]
        for error in errors:
            copies = [
                pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
            ]
            for same in (*copies, copy.copy(error), copy.deepcopy(error)):
                self.assertIs(type(same), MultipleSingletonsError)
                self.assertEqual((str(same), repr(same), same.args), (str(error), repr(error), error.args))
                self.assertEqual(
                    (same.address, same.port, same.delivered), (error.address, error.port, error.delivered)
                )

    def test_error_is_constructed_like_any_exception(self):
        error = MultipleSingletonsError("a", 5)
        self.assertIsInstance(error, Exception)
        self.assertNotIsInstance(error, OSError)
        self.assertEqual(error.args, ("a", 5))
        self.assertEqual((error.address, error.port, error.delivered), ("", 0, None))
        self.assertEqual(str(MultipleSingletonsError("only a text")), "only a text")
        self.assertEqual(str(MultipleSingletonsError()), "")


class TestWait(ClientTestCase):
    """`wait`: a launch that waits gets the port soon and costs little; otherwise it is a second launch."""

    def waiting(self, seconds: float = PATIENCE):
        return self.start(PROGRAMS / "waiting.py", self.port, seconds, ready="waiting")

    def time_to_take(self, end_host) -> float:
        """Return the seconds from ``end_host`` until a waiting launch is the host, at the worst moment.

        That is just after a claim has failed, so the result contains the whole
        pause before the next one. One trial within a bound proves that the pause
        is, too; a trial can only fail because of what else the machine does.
        """
        taken, errors = [], []

        def launch():
            try:
                app = Socket_Singleton(port=self.port, strict=False, wait=PATIENCE)
                taken.append((time.monotonic(), app))
            except MultipleSingletonsError as error:
                errors.append(error)

        with Claims() as claims:
            thread = threading.Thread(target=launch)
            thread.start()
            claims.wait_for_next()
            claims.wait_for_next()
            end_host()
            ended = time.monotonic()
            thread.join(2 * PATIENCE)
        self.assertEqual(errors, [])
        when, app = taken[0]
        app.release()
        return when - ended

    # -- how soon --

    def test_gets_the_port_soon_after_a_release(self):
        trials = []
        while min(trials, default=math.inf) >= PROMISED and len(trials) < TRIALS:
            trials.append(self.time_to_take(Socket_Singleton(port=self.port, strict=False).release))
        self.assertLess(min(trials), PROMISED, trials)

    @unittest.skipIf(os.name == "nt", "no SIGKILL there")
    def test_gets_the_port_soon_after_a_kill(self):
        trials = []
        while min(trials, default=math.inf) >= PROMISED and len(trials) < TRIALS:
            host = self.start_host()

            trials.append(self.time_to_take(functools.partial(os.kill, host.pid, signal.SIGKILL)))
            host.wait()
        self.assertLess(min(trials), PROMISED, trials)

    def test_claims_are_never_further_apart_than_promised(self):
        """Checks the pauses that it asks for: what the system adds to them depends on the machine."""
        self.singleton()
        pauses, sleep = [], time.sleep

        def record_and_sleep(seconds):
            pauses.append(seconds)
            sleep(seconds)

        with Claims() as claims, inside.clock_of_launches(sleep=record_and_sleep):
            self.second_launch("word", wait=0.5)
        self.assertLess(max(pauses), PROMISED)
        # One before each claim except the first.
        self.assertEqual(len(pauses), len(claims.times) - 1)

    def test_a_free_port_is_taken_at_once(self):
        for wait in (0, 0.1, PATIENCE, math.inf):
            with self.subTest(wait=wait), Claims() as claims:
                app = self.singleton(wait=wait, strict=False)
                self.assertTrue(app._listening)
                self.assertEqual(len(claims.times), 1)
                app.release()

    # -- several --

    def test_several_take_it_one_after_another(self):
        app = self.singleton()
        programs = [self.waiting() for _ in range(3)]
        app.release()
        hosts = []
        while programs:
            wait_until(lambda: any("host" in program.lines for program in programs), "one has the port")
            # The last one has reported its release; exactly one has the port now, and the others still wait.
            now = [program for program in programs if "host" in program.lines]
            self.assertEqual(len(now), 1, [program.describe() for program in programs])
            Socket_Singleton.send(["hello"], port=self.port, timeout=PATIENCE)
            now[0].expect("got hello")
            for program in programs:
                self.assertEqual(program.lines[1:], ["host", "got hello"] if program is now[0] else [])
            now[0].write("\n")
            self.finish(now[0])
            self.assertEqual(now[0].lines, ["waiting", "host", "got hello", "released"])
            programs.remove(now[0])
            hosts.append(now[0].pid)
        self.assertEqual(len(set(hosts)), 3)

    def test_exactly_one_gets_it_and_the_others_are_second_launches_to_it(self):
        first = self.singleton()
        apps, errors = [], []

        def launch(name):
            try:
                # In threads, because all must have begun to wait long before the first one's time is over.
                apps.append(Socket_Singleton(port=self.port, strict=False, wait=1.5, argv=[name]))
            except MultipleSingletonsError as error:
                errors.append((name, error))

        threads = [threading.Thread(target=launch, args=(str(number),)) for number in range(5)]
        with Claims() as claims:
            for thread in threads:
                thread.start()
            wait_until(lambda: len(claims.times) > len(threads), "all claim")
            first.release()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertEqual((len(apps), len(errors)), (1, 4))
        self.addCleanup(apps[0].release)
        self.assertEqual([error.delivered for _, error in errors], [True] * 4)
        self.assertEqual(sorted(apps[0].arguments), sorted((name,) for name, _ in errors))
        self.assertEqual(first.clients, 0)

    @unittest.skipIf(os.name == "nt", "two cannot bind there")
    def test_launch_that_binds_but_is_not_the_first_to_listen_waits_on(self):
        rivals, taken = [], []

        class Late(inside.LaunchSocket):
            def listen(self, backlog):
                if not rivals:
                    rival = socket.socket()
                    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    rival.bind(self.getsockname())
                    rival.listen()
                    rivals.append(rival)
                super().listen(backlog)

        with Claims(Late) as claims:
            thread = threading.Thread(target=lambda: taken.append(inside.claim(self.port, PATIENCE)))
            thread.start()
            wait_until(lambda: rivals and len(claims.times) > 3, "it has lost, and claims again")
            self.assertEqual(taken, [])
            rivals[0].close()
            thread.join(PATIENCE)
        with taken[0]:
            self.assertTrue(Socket_Singleton.is_running(port=self.port))

    # -- the end of the wait --

    def test_delivered_after_waiting(self):
        _, observer = self.observed()
        program = self.finish(self.waiting(0.5))
        self.assertEqual(program.lines[1:], ["second True"])
        observer.wait_for((str(program.pid),))

    def test_few_wake_ups(self):
        self.singleton()
        with Claims() as claims:
            self.second_launch("word", wait=1)
        # The first claim, one at the end of each pause, and the one of the hand-over.
        self.assertLessEqual(len(claims.times), 2 + math.ceil(1 / inside.limit("WAIT_STEP")))

    def test_cheap_wake_ups(self):
        """The work at each wake-up takes less than 1 % of the time until the next one.

        Not measured over real pauses: on a virtual machine that is short of processors, a
        program that only sleeps as often took 1 to 2 % by itself.
        """
        self.singleton()
        with Claims() as claims, inside.clock_of_launches(sleep=lambda seconds: None):
            before = time.process_time()
            self.second_launch("word", wait=0.2)
            used = time.process_time() - before
        self.assertLess(used / len(claims.times), 0.01 * inside.limit("WAIT_STEP"))

    def test_ends_when_it_should(self):
        self.singleton()
        for wait in (0.3, "0.3"):
            with self.subTest(wait=wait):
                begun = time.monotonic()
                with Stopwatch() as took:
                    self.assertIs(self.second_launch("word", wait=wait).delivered, True)
                self.assertGreaterEqual(time.monotonic() - begun, 0.3)
                self.assertLess(took.seconds, 0.3 + inside.limit("HAND_OVER_TIME"))

    def test_zero_does_not_wait(self):
        self.singleton()
        with Claims() as claims, inside.clock_of_launches(sleep=mock.Mock(side_effect=AssertionError)):
            self.second_launch("word", wait=0)
            self.second_launch("word")
        self.assertEqual(len(claims.times), 2)

    @needs_fine_clock
    def test_shorter_than_a_pause(self):
        self.singleton()
        wait = 0.02
        slept = mock.Mock(side_effect=time.sleep)
        begun = time.monotonic()
        with Claims() as claims, inside.clock_of_launches(sleep=slept):
            self.second_launch("word", wait=wait)
        # On a busy machine the first claim may take all the time.
        self.assertEqual(len(claims.times), 1 + slept.call_count)
        self.assertLessEqual(slept.call_count, 1)
        self.assertGreaterEqual(claims.times[-1] - begun, wait if slept.called else 0)
        for call in slept.call_args_list:
            self.assertLessEqual(call[0][0], wait)

    def test_without_client_sends_nothing(self):
        app = self.singleton()
        self.assertIs(self.second_launch("word", wait=0.1, client=False).delivered, None)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_host_is_not_disturbed(self):
        app, clients = self.singleton(release_threshold=2, max_clients=1), []
        with claims_of_launches(lambda _: clients.append(app.clients)):
            self.second_launch("word", wait=0.2)
        self.assertGreater(len(clients), 1)
        self.assertEqual(set(clients), {0})
        self.assertEqual((app.clients, app.arguments), (1, (("word",),)))

    def test_port_that_can_never_be_bound_is_an_error_at_once(self):
        with self.assertRaises(OSError):
            # An address from a network for documentation: no machine has it.
            Socket_Singleton("192.0.2.1", self.port, wait=math.inf)

    def test_timeout_begins_when_it_is_the_host(self):
        first = self.singleton()
        apps = []
        with Claims() as claims:
            thread = threading.Thread(
                target=lambda: apps.append(Socket_Singleton(port=self.port, timeout=0.3, wait=PATIENCE))
            )
            thread.start()
            wait_until(lambda: claims.times and time.monotonic() - claims.times[0] > 0.3, "it has waited")
            released = time.monotonic()
            first.release()
            thread.join(PATIENCE)
        self.addCleanup(apps[0].release)
        wait_until(lambda: not apps[0]._listening, "its time is over")
        self.assertGreaterEqual(time.monotonic() - released, 0.3)

    # -- for ever, and Ctrl-C --

    @unittest.skipIf(os.name == "nt", "Ctrl-C is another thing there")
    def test_ctrl_c_ends_it_and_leaves_nothing_open(self):
        app = self.singleton()
        programs = [self.waiting(seconds) for seconds in (math.inf, PATIENCE)]
        for program in programs:
            os.kill(program.pid, signal.SIGINT)
        for program in programs:
            self.finish(program)
            self.assertEqual(program.lines, ["waiting", "interrupted 0 0"], program.describe())
        self.assertEqual((app.clients, app.arguments), (0, ()))
        app.release()
        self.singleton(strict=False).release()

    def test_ctrl_c_in_the_middle_of_a_claim(self):
        """At each step of the claim: its socket is closed, and the port is as before."""
        for step in ("setsockopt", "bind", "listen"):
            with self.subTest(step=step):
                port = free_port()
                made = []

                class Interrupted(inside.LaunchSocket):
                    def __init__(self, *args, made=made, **kwargs):
                        super().__init__(*args, **kwargs)
                        made.append(self)

                def interrupt(*args):
                    raise KeyboardInterrupt

                setattr(Interrupted, step, interrupt)
                interrupted = inside.sockets_of_launches(Interrupted)
                with interrupted, self.assertRaises(KeyboardInterrupt):
                    Socket_Singleton(port=port, wait=math.inf)
                self.assertEqual([sock.fileno() for sock in made], [-1])
                self.singleton(port=port, strict=False).release()


class TestSend(ClientTestCase):
    # -- owned --

    def test_is_owned_when_it_returns(self):
        app = self.singleton()
        for number in range(50):
            self.assertIsNone(self.send(str(number), "of", "50"))
            self.assertEqual(app.arguments[number:], ((str(number), "of", "50"),))
        self.assertEqual(app.clients, 50)

    def test_the_host_gets_exactly_what_was_sent(self):
        _, observer = self.observed()
        odd = ("", "two\nlines", "Grüße 🎉", "\udcff", "")
        self.send(*odd)
        Socket_Singleton.send(["a", "list"], "127.0.0.1", self.port, None, PATIENCE)
        Socket_Singleton.send(iter(["an", "iterator"]), port=str(self.port), timeout="30")
        longest = "x" * (MAX_PACKET - 1)
        self.send(longest)
        observer.wait_for(odd, ("a", "list"), ("an", "iterator"), (longest,))

    def test_to_a_process_and_from_one(self):
        host = self.start_host()
        self.send("from", "here")
        host.expect("from here")
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton.send(sys.argv[2:], port=sys.argv[1])"
        )
        sender = self.finish(self.start("-c", code, self.port, "from", "there"))
        self.assertEqual((sender.out, sender.err), ("", ""))
        host.expect("from there")

    def test_empty_secret_is_none(self):
        _, observer = self.observed(secret="")
        self.send("word", secret=None)
        self.send("word", secret="")
        observer.wait_for(("word",), ("word",))

    def test_bytes_after_the_ack_are_reserved(self):
        self.server(lambda peer: peer.sendall(ACK + b"of a later version"))
        self.send("word")

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

        _, observer = self.observed(dispatch=dispatch)
        self.send("first")
        observer.wait_for(("first",), ("second",))

    def test_while_an_observer_takes_its_time(self):
        app = self.singleton()
        app.trace(self.gate())
        for number in range(10):
            self.send(str(number), timeout=PATIENCE / 3)
        self.assertEqual(app.clients, 10)

    # -- not owned --

    @needs_resets
    def test_host_that_ends_with_the_packet_read_but_not_owned(self):
        """It resets a launch that it does not own; then nobody listens, or the next host owns it, once."""
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

    def test_server_that_reads_nothing_of_a_long_packet(self):
        self.listener()
        with Stopwatch() as took, self.assertRaises(TimeoutError):
            self.send("x" * (MAX_PACKET - 1), timeout=SHORT)
        self.assertLess(took.seconds, SHORT + 0.5)

    @needs_resets
    def test_looking_for_a_host_of_2_0_0_sends_nothing_if_nobody_listens(self):
        """The host reset a long packet, as 2.0.0 may, and is gone: the launch becomes the next host."""
        listener, said = self.listener(), []

        class Recording(inside.LaunchSocket):
            def sendall(self, data, *flags):
                said.append(len(data))
                super().sendall(data, *flags)

        def go():
            peer, _ = listener.accept()
            read_to_end(peer)
            listener.close()
            close_resets(peer)
            peer.close()

        self.in_background(go)
        with inside.sockets_of_launches(Recording):
            self.assertEqual(self.outcome("x" * 10_000), "host")
        self.assertEqual(said, [10_001])

    @needs_resets
    def test_never_begins_an_attempt_that_leaves_no_time_for_an_answer(self):
        """A host that resets is tried again until half a second, or a quarter of a short time, is left."""
        self.server(close_resets)
        now, tries = 100.0, []

        def sleep(seconds):
            nonlocal now
            now += seconds

        connecting = hooked("connect", before=lambda *_: tries.append(now))
        with inside.sockets_of_launches(connecting), inside.clock_of_launches(lambda: now, sleep):
            for timeout, left in ((2, 0.5), (60, 0.5), (0.4, 0.1)):
                ends = now + timeout
                self.assert_fails(TimeoutError, timeout=timeout)
                self.assertGreaterEqual(ends - tries[-1], left - 0.001)
                self.assertLess(ends - tries[-1], left + 0.1, "it gave up too early")

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
            *((TypeError, {"secret": bad}) for bad in (b"bytes", True, ["s"])),
            (ValueError, {"secret": "a\0b"}),
            *((TypeError, {"timeout": bad}) for bad in (None, [], object())),
            *((ValueError, {"timeout": bad}) for bad in (-1, "soon", float("nan"), -float("inf"))),
        ):
            self.assert_no_socket_opened(kind, send, **options)


class TestIsRunning(ClientTestCase):
    def test_running_or_not(self):
        self.assertIs(self.is_running(), False)
        app = self.singleton()
        self.assertIs(self.is_running(), True)
        self.assertIs(Socket_Singleton.is_running("127.0.0.1", str(self.port)), True)
        app.release()
        self.assertIs(self.is_running(), False)

    def test_of_a_process(self):
        host = self.start_host()
        self.assertTrue(self.is_running())
        host.kill()
        if WINE:  # where a process is reported to have ended before its sockets are closed
            wait_until(lambda: not self.is_running(), "they are closed")
        self.assertFalse(self.is_running())

    def test_does_not_disturb_the_host(self):
        with Printed() as printed:
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
        self.assertEqual(printed.out, "")
        wait_until(lambda: not inside.count_peers(app), "nobody is connected any more")

    def test_with_a_secret_that_the_caller_does_not_know(self):
        app = self.singleton(secret="right")
        self.assertTrue(self.is_running())
        self.send("word", secret="right")
        self.assertEqual(app.clients, 1)

    def test_own_host_from_an_observer(self):
        app, answers = self.singleton(), []
        app.trace(lambda args: answers.append(self.is_running()))
        self.send("word")
        wait_until(lambda: answers == [True], "it answers")

    def test_is_not_confused_by_time_wait(self):
        self.leave_time_wait()
        self.assertFalse(self.is_running())
        self.singleton(strict=False)
        self.assertTrue(self.is_running())

    def test_asking_leaves_the_port_free(self):
        for _ in range(20):
            app = self.singleton(strict=False)
            self.assertTrue(self.is_running())
            app.release()
            self.assertFalse(self.is_running())

    def test_somebody_else_listens(self):
        listener = self.listener()
        self.assertTrue(self.is_running())
        peer, _ = listener.accept()
        with peer:
            self.assertEqual(read_to_end(peer), b"", "it receives nothing")

    def test_leaves_nothing_open(self):
        self.singleton()
        free, before = free_port(), descriptors()
        for _ in range(20):
            self.is_running()
            Socket_Singleton.is_running(port=free)
        wait_until(lambda: not descriptors() - before, "the host has closed its ends")

    def test_what_is_refused(self):
        for kind, options in (
            *((TypeError, {"address": bad}) for bad in (None, 5, b"127.0.0.1", ["127.0.0.1"])),
            *((TypeError, {"port": bad}) for bad in (None, [], object())),
            *((ValueError, {"port": bad}) for bad in (-1, 65536, "port", "", float("inf"))),
        ):
            self.assert_no_socket_opened(kind, Socket_Singleton.is_running, **options)


class TestCallsThatFail(ClientTestCase):
    """A launch is delivered once if a system call fails once, for lack of memory or buffers."""

    def setUp(self) -> None:
        super().setUp()
        self.app, self.observer = self.observed()

    def assert_delivered_once(self, kind) -> None:
        with inside.sockets_of_launches(kind):
            self.assertIs(self.second_launch("word").delivered, True)
        self.assertEqual(len(kind.failed), 1)
        self.assertEqual(self.app.clients, 1)
        self.observer.wait_for(("word",))
        self.app.release()
        self.assertEqual((self.observer.calls, self.app.arguments), ([("word",)], ()))

    def test_each_call(self):
        connected = []

        def is_connected(*_):
            return connected  # before that, the call belongs to the claim

        def record_and_connect(sock, place):
            connected.append(sock)
            return inside.LaunchSocket.connect(sock, place)

        calls = ("connect", "getsockname", "getpeername", "setsockopt", "sendall", "recv")
        for method, number in itertools.product(calls, (errno.ENOBUFS, errno.ENOMEM)):
            connected.clear()
            with self.subTest(method=method, errno=errno.errorcode[number]):
                when = is_connected if method == "setsockopt" else lambda *_: True
                kind = failing(method, OSError(number, "it failed"), when=when)
                if method != "connect":
                    kind.connect = record_and_connect
                self.assert_delivered_once(kind)
            self.setUp()

    @needs_resets
    def test_end_of_the_packet(self):
        for number in (errno.ENOBUFS, errno.ENOMEM):
            with self.subTest(errno=errno.errorcode[number]):
                self.assert_delivered_once(failing("shutdown", OSError(number, "it failed")))
            self.setUp()

    @needs_resets
    def test_half_a_packet_is_sent(self):
        kind = failing("sendall", OSError(errno.ENOBUFS, "no buffers"))
        fail_or_send = kind.sendall

        def send_half(sock, data, *flags):
            if not kind.failed:
                sock.send(data[: len(data) // 2], *flags)
            fail_or_send(sock, data, *flags)

        kind.sendall = send_half
        self.assert_delivered_once(kind)

    def test_answer_that_came_before_the_failure_counts(self):
        """The host answers a packet although the launch had an error of its own."""
        kind = failing("shutdown", OSError(errno.ENOBUFS, "no buffers"))
        fail = kind.shutdown

        def shut_down_and_fail(sock, how):
            inside.LaunchSocket.shutdown(sock, how)
            sock.recv(1, socket.MSG_PEEK)  # the answer is there
            fail(sock, how)

        kind.shutdown = shut_down_and_fail
        self.assert_delivered_once(kind)


class TestPatchedSockets(ClientTestCase):
    """Replacing `socket.socket`, as a library for proxies does, does not send a launch elsewhere."""

    def test_launch_reaches_its_host(self):
        app, port = self.singleton(), free_port()
        nobody = mock.Mock(side_effect=OSError("the proxy does not answer"))
        with mock.patch.multiple(socket, socket=nobody, create_connection=nobody, socketpair=nobody):
            self.assertIs(self.second_launch("word").delivered, True)
            self.send("sent")
            self.assertTrue(self.is_running())
            other = self.singleton(port=port)  # and a host begins
        self.assertEqual(app.arguments, (("word",), ("sent",)))
        self.assertEqual(self.exchange(b"word\0", other.port), ACK)
        nobody.assert_not_called()
