"""What once broke the library, by kind: threads, signals, descriptors and clocks that misbehave."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import logging
import math
import os
import random
import select
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    NOTHING,
    PATIENCE,
    PROGRAMS,
    Collector,
    NamedTestCase,
    Shelf,
    SingletonTestCase,
    Stopwatch,
    inside,
    left_behind,
    wait_until,
)
from .support.launches import LaunchThatDoesNotRead
from .support.sockets import close_resets, failing, failing_as_it_closes, failing_to_watch

POSIX = os.name == "posix"

# Seconds for what is done at once: far more than it takes, far less than any deadline of the library.
SOON = 1.0


class TestThreadsThatDoNotStart(SingletonTestCase):
    """A thread that cannot be started costs no launch; the error is logged, and the start tried again."""

    def setUp(self):
        super().setUp()
        self.enter(inside.limits(THREADS_START_LATE=True))

    @contextlib.contextmanager
    def no_excepthook(self):
        """An application may set it to None while it closes; `threading` then starts no thread."""
        if not hasattr(threading, "excepthook"):
            self.skipTest("this version starts threads all the same")
        with mock.patch.object(sys, "excepthook", None):
            yield

    def no_threads(self):
        """Have the system refuse new threads meanwhile."""
        error = RuntimeError("can't start new thread")
        return mock.patch.object(threading.Thread, "start", side_effect=error)

    def send(self, app, *words: str) -> None:
        """Hand over a launch for which the host tries, in vain, to start the thread."""
        Socket_Singleton.send(words, port=self.port)
        wait_until(lambda: inside.waits_for_a_thread(app), "it has tried")

    def test_an_application_without_an_excepthook(self):
        app, observer = self.observed()
        with self.assertLogs("Socket_Singleton", "ERROR") as logs:
            with self.no_excepthook():
                self.send(app, "word")
            observer.wait_for(("word",))  # though nothing else comes to the host
        self.assertIn("excepthook is None", logs.output[0])
        self.assertTrue(app._listening)

    def test_release_while_no_thread_can_be_started(self):
        app, observer = self.observed()
        logged = self.assertLogs("Socket_Singleton", "ERROR")
        with Stopwatch() as took, logged as logs, self.no_excepthook():
            self.send(app, "word")
            app.release()
        self.assertLess(took.seconds, SOON)
        self.assertIn("excepthook is None", logs.output[0])
        self.assertEqual((app.arguments, observer.calls), ((("word",),), []))
        self.assert_free()

    def test_an_observer_added_while_no_thread_can_be_started(self):
        """Nothing happens at the host's port after that, so only a timer can make it try again."""
        app, observer = self.singleton(), Collector()
        Socket_Singleton.send(["word"], port=self.port)
        Socket_Singleton.send([], port=self.port)  # so the first one waits only for an observer
        with self.assertLogs("Socket_Singleton", "ERROR"):
            with self.no_threads():
                app.trace(observer)
            observer.wait_for(("word",))

    def test_the_port_is_given_up_while_no_thread_can_be_started(self):
        """The launch that reached the threshold is delivered as soon as there is a thread."""
        app, observer = self.observed(release_threshold=1)
        with self.assertLogs("Socket_Singleton", "ERROR"):
            with self.no_threads():
                Socket_Singleton.send(["last"], port=self.port)
                wait_until(lambda: not app._listening, "the port is free")
                wait_until(lambda: inside.waits_for_a_thread(app), "it was tried")
            observer.wait_for(("last",))

    @unittest.skipUnless(sys.platform == "linux", "a limit of threads that can be lowered")
    @unittest.skipIf(sys.version_info[:2] == (3, 12), "there a host has all its threads from the beginning")
    def test_a_system_that_has_no_more_threads(self):
        program = self.start(PROGRAMS / "without_threads.py", self.port, ready="ready")
        for word in ("first", "second"):
            Socket_Singleton.send([word], port=self.port)
        program.write("\n")
        program.expect("threads")
        with Stopwatch() as took:
            program.expect("got first")
            program.expect("got second")
        self.assertLess(took.seconds, SOON)
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.lines[-1], "left")
        self.assertIn("can't start new thread", program.err)
        self.assertEqual(program.err.count("ERROR:Socket_Singleton:"), 1, program.err)


class TestEndOfTheHostsThread(SingletonTestCase):
    """Whatever goes wrong on the I/O thread, it gets to its end: nobody waits for it in vain."""

    def test_each_of_its_steps_fails(self):
        before, error = left_behind(), RuntimeError("a fault of ours")
        fail = mock.Mock(side_effect=error)

        class Selector(selectors.DefaultSelector):
            def close(self):
                super().close()
                fail()

        wakers = failing_as_it_closes()
        wakers.shutdown = failing("shutdown", error).shutdown
        peers = inside.sockets_of_peers(failing_as_it_closes())
        with self.expect_end_of_thread("RuntimeError: a fault of ours"), peers:
            with inside.sockets_of_wakers(wakers), mock.patch.object(selectors, "DefaultSelector", Selector):
                app = self.singleton()
            thread = inside.io_thread(app)
            with inside.at("hand out", fail), self.connect() as peer:
                peer.sendall(b"half a pack")
                wait_until(lambda: inside.count_received(app) == 11, "the peer is read")
                self.assertEqual(self.exchange(b"word\0"), ACK)  # which has to be handed out
                self.join(thread)
        self.assertEqual(fail.call_count, 3)  # two launches to hand out, and the selector
        with Stopwatch() as took:
            app.release()
        self.assertLess(took.seconds, SOON)
        self.assertTrue(app.join(0))
        self.assert_free()
        wait_until(lambda: not left_behind(before)[0], "no thread is left")
        self.assertEqual(left_behind(before), NOTHING)


@unittest.skipUnless(hasattr(signal, "SIGPIPE"), "SIGPIPE")
class TestProgramsThatLeaveSIGPIPE(NamedTestCase):
    """A broken connection does not end a program, however it handles SIGPIPE."""

    ENDS = (b"word\0", b"wrong\0word\0", inside.HELLO + bytes(32))

    def rude(self, words: bytes) -> None:
        """Be a peer that ends its stream and then resets the connection before the host looks."""
        peer = self.connect()
        peer.sendall(words)
        peer.shutdown(socket.SHUT_WR)
        close_resets(peer)
        peer.close()

    def start_with(self, ready: str | None = None, **options):
        return self.start(PROGRAMS / "dies_of_sigpipe.py", json.dumps(options), ready=ready)

    def check(self, **options) -> None:
        host = self.start_with("ready", **options)
        with host.stopped():
            for words in self.ENDS:
                self.rude(words)
        # Served only after those before it.
        Socket_Singleton.send(["polite"], **options)
        host.expect("got polite")
        host.write("\n")
        self.finish(host)

    def test_host(self):
        self.check(address=self.address, port=self.port)

    def test_host_with_a_secret(self):
        self.check(address=self.address, port=self.port, secret="hush")

    def test_host_with_a_name(self):
        self.check(name=self.name)

    def test_launch(self):
        """The program on the port ends its half of the connection, and resets it while the launch speaks."""

        def talk(peer):
            peer.recv(1)
            peer.shutdown(socket.SHUT_WR)

        self.serve(talk)
        launch = self.start_with(address=self.address, port=self.port, argv=6_000_000)
        self.finish(launch, 1)
        self.assertIn("Socket_Singleton: ", launch.err)

    def test_each_send_of_host_and_launch(self):
        """Even where the peer hardly ever leaves just before: each of them asks not to raise the signal."""
        if not hasattr(socket, "MSG_NOSIGNAL"):
            self.skipTest("this system has an option of the socket instead")
        sent, flags = [], socket.MSG_NOSIGNAL

        def tell(name):
            def send(sock, data, *more):
                sent.append((name, bool(sum(more) & flags)))
                return getattr(inside.LaunchSocket, name)(sock, data, *more)

            return send

        kind = type("Recording", (inside.LaunchSocket,), {"send": tell("send"), "sendall": tell("sendall")})
        wakers = inside.sockets_of_wakers(kind)
        with inside.sockets_of_peers(kind), inside.sockets_of_launches(kind), wakers:
            app = self.named(secret="hush")
            app.trace(lambda args: "answer")
            self.assertEqual(self.ask("word", secret="hush"), "answer")
            with self.assertRaises(ConnectionError):
                self.ask("word", secret="other")
            self.exchange(b"no hello\0")
        self.assertGreater(len(sent), 6)
        self.assertEqual([name for name, silent in sent if not silent], [])


class TestErrorsThatCannotBeLogged(SingletonTestCase):
    """An error that cannot be logged is printed on stderr."""

    PRINTED = r"Observer raise_it raised exception: OSError: the disk is full\nTraceback .* in raise_it\n.*"

    def app(self) -> Socket_Singleton:
        """Return a host with an observer that raises, and a second observer that shows that it goes on."""

        def raise_it(_):
            raise OSError("the disk is full")

        app, self.after = self.singleton(), Collector()
        app.trace(raise_it)
        app.trace(self.after)
        return app

    def send(self) -> None:
        Socket_Singleton.send(["word"], port=self.port)
        self.after.wait_for(("word",))

    @unittest.skipUnless(hasattr(os, "chroot") and os.geteuid() == 0, "only root can change its root")
    def test_after_a_chroot(self):
        code = (
            "import os, sys\n"
            "from Socket_Singleton import Socket_Singleton\n"
            "app = Socket_Singleton(port=sys.argv[1])\n"
            "app.trace(lambda args: 1 / 0)\n"
            "os.chroot(sys.argv[2])\n"
            "print('ready', flush=True)\n"
            "sys.stdin.readline()"
        )
        program = self.start("-c", code, self.port, self.make_folder(), ready="ready")
        Socket_Singleton.send(["word"], port=self.port)
        wait_until(lambda: "ZeroDivisionError: division by zero" in program.err, "it is printed")
        self.assertIn("Observer <lambda> raised exception: ZeroDivisionError", program.err)
        if sys.version_info >= (
            3,
            9,
        ):  # before, a thread that ends needs a library that can no longer be found
            program.write("\n")
            self.finish(program)

    def test_where_logging_cannot_be_imported(self):
        """For example because no descriptor is left."""
        self.app()
        with mock.patch.dict(sys.modules, logging=None), self.expect_stderr(self.PRINTED):
            self.send()

    def test_where_a_handler_of_the_log_raises(self):
        class Broken(logging.Handler):
            def emit(self, record):
                raise OSError("the log is full")

        handler, log = Broken(), logging.getLogger("Socket_Singleton")
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        self.app()
        with self.expect_stderr(self.PRINTED):
            self.send()

    def test_where_stderr_fails_too(self):
        for stderr in (None, mock.Mock(write=mock.Mock(side_effect=OSError("it is full")))):
            with self.subTest(stderr=stderr):
                app = self.app()
                with mock.patch.dict(sys.modules, logging=None), mock.patch.object(sys, "stderr", stderr):
                    self.send()
                app.release()


@unittest.skipUnless(sys.platform == "linux", "what keeps a port, and from whom, differs between systems")
class TestPortForAnybody(NamedTestCase):
    """Whatever connected before, a port is free after `release`, even for a program without SO_REUSEADDR.

    Whichever side ends a connection first has a TIME_WAIT for a minute, so the host leaves that to its peers.
    Each peer here either stays until after the release, or leaves as soon as it has read what the host sends.
    """

    def release(self, app) -> None:
        app.release()
        self.bound().close()

    def check_peer(self, said: bytes, expected: bytes, **options) -> None:
        """Check a host without a name whose peer sends ``said`` and does not end its stream."""
        for stays in (True, False):
            with self.subTest(said=said[:20], stays=stays):
                app = self.singleton(address=self.address, port=self.port, **options)
                peer = self.connect()
                peer.sendall(said)
                self.assertEqual(peer.recv(len(expected), socket.MSG_WAITALL), expected)
                if not stays:
                    peer.close()
                    wait_until(lambda app=app: inside.count_peers(app) == 0, "the host has 0 peers")
                self.release(app)
                if stays:
                    self.assertEqual(peer.recv(1), b"")

    def check_reset(self, said: bytes, **options) -> None:
        app = self.singleton(address=self.address, port=self.port, **options)
        peer = self.connect()
        peer.sendall(said)
        self.assert_reset(peer)
        self.release(app)

    def test_owned(self):
        app = self.singleton(address=self.address, port=self.port)
        Socket_Singleton.send(["word"], self.address, self.port)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.release(app)

    def test_owned_although_it_never_hangs_up(self):
        for stays in (True, False):
            with self.subTest(stays=stays):
                app = self.singleton(address=self.address, port=self.port)
                peer = self.connect()
                peer.sendall(b"word\0")
                with self.peers_out_of_time(app, 5):
                    self.assertEqual(peer.recv(1), ACK)
                if not stays:
                    peer.close()
                self.release(app)

    def test_only_asks_whether_somebody_listens(self):
        app = self.singleton(address=self.address, port=self.port)
        self.assertTrue(Socket_Singleton.is_running(self.address, self.port))
        self.assertEqual(self.exchange(b""), b"")
        self.release(app)

    def test_refused(self):
        self.check_peer(b"wrong\0word\0", inside.OTHER_SECRET, secret="hush")
        self.check_peer(inside.HELLO, inside.NAK + b"U")

    def test_refused_when_it_has_ended_its_stream(self):
        app = self.singleton(address=self.address, port=self.port, secret="hush")
        with self.assertRaises(ConnectionError):
            Socket_Singleton.send(["word"], self.address, self.port, secret="wrong")
        self.assertEqual(self.exchange(b"wrong\0word\0"), inside.OTHER_SECRET)
        self.release(app)

    def test_refused_and_goes_on(self):
        """It sends more than a connection holds before it reads."""
        app = self.singleton(address=self.address, port=self.port, secret="hush")
        peer = self.connect()
        peer.sendall(b"wrong\0" + b"x" * 4_000_000)
        self.assertEqual(peer.recv(2, socket.MSG_WAITALL), inside.OTHER_SECRET)
        self.release(app)

    def test_ignored(self):
        app = self.singleton(address=self.address, port=self.port, max_clients=1)
        for reply in (ACK, inside.ENOUGH_CLIENTS):
            self.assertEqual(self.exchange(b"word\0"), reply)
        self.release(app)

    def test_foreign(self):
        self.check_reset(b"GET / HTTP/1.1\r\n\r\n")

    def test_too_long(self):
        with inside.limits(MAX_PACKET=100):
            self.check_reset(b"x" * 101)

    def test_unfinished(self):
        app = self.singleton(address=self.address, port=self.port)
        peer = self.connect()
        peer.sendall(b"half a pack")
        wait_until(lambda: inside.count_received(app) == 11, "it is read")
        self.release(app)
        self.assert_reset(peer)

    def test_unfinished_and_too_late(self):
        app = self.singleton(address=self.address, port=self.port)
        peer = self.connect()
        peer.sendall(b"half a pack")
        with self.peers_out_of_time(app, 11):
            self.assert_reset(peer)
        self.release(app)

    def test_no_room(self):
        with inside.limits(MAX_PEERS=1):
            app = self.singleton(address=self.address, port=self.port)
            first, _ = self.connect(), self.connect()
            self.assert_reset(first)
            self.release(app)

    def test_refused_and_no_room(self):
        """Peers that have been answered are dropped first, and have received the answer."""
        with inside.limits(MAX_PEERS=1):
            app = self.singleton(address=self.address, port=self.port, secret="hush")
            first = self.connect()
            first.sendall(b"wrong\0word\0")
            self.assertEqual(first.recv(2, socket.MSG_WAITALL), inside.OTHER_SECRET)
            second = self.connect()
            self.assertEqual(first.recv(1), b"")
            self.release(app)
            self.assert_reset(second)

    def check_peer_that_stays(self) -> None:
        """Check that the host ends the connection of a peer that was answered but stays."""
        self.enter(inside.limits(LEAVE_TIME=0.2))
        app = self.singleton(address=self.address, port=self.port, secret="hush")
        peer = self.connect()
        peer.sendall(b"wrong\0word\0")
        self.assertEqual(peer.recv(2, socket.MSG_WAITALL), inside.OTHER_SECRET)
        self.assertEqual(peer.recv(1), b"")
        app.release()

    def test_stays_for_too_long(self):
        self.check_peer_that_stays()
        self.bound().close()

    def test_stays_and_the_system_does_not_say_what_it_has(self):
        """The connection ends in order all the same."""
        with inside.system_that_cannot_count_unacknowledged_bytes():
            self.check_peer_that_stays()

    def test_cannot_be_watched(self):
        kind = failing_to_watch(OSError(errno.ENOSPC, "too many are watched"))
        with mock.patch.object(selectors, "DefaultSelector", kind):
            app = self.singleton(address=self.address, port=self.port, secret="hush")
        gate = self.gate()
        with inside.at("turn", gate), inside.at("answer", kind.arm):
            inside.wake(app)
            gate.wait_for_somebody()
            peer = self.connect()
            peer.sendall(b"wrong\0word\0")  # so that it is refused before it is watched
            gate.open()
            self.assertEqual(peer.recv(2, socket.MSG_WAITALL), inside.OTHER_SECRET)
            self.assertEqual(peer.recv(1), b"")
        self.assertEqual(len(kind.failed), 1)
        app.release()

    # -- with a name --

    def test_launches_with_a_name(self):
        app = self.named()
        app.trace(lambda launch: "answer")
        Socket_Singleton.send(["word"], name=self.name)
        self.assertEqual(self.ask("word"), "answer")
        self.assertTrue(Socket_Singleton.is_running(name=self.name))
        self.release(app)

    def test_refused_with_a_name(self):
        for said, reason in ((b"word, and no name\0", b"N"), (inside.HELLO + bytes(200), b"P")):
            with self.subTest(reason=reason):
                app = self.named()
                peer = self.connect()
                peer.sendall(said)
                wait_until(lambda peer=peer: peer.recv(1) == inside.NAK, "it is refused")
                self.assertEqual(peer.recv(1), reason)
                peer.close()
                self.release(app)

    def test_owned_and_does_not_read(self):
        app = self.named()
        launch = LaunchThatDoesNotRead(self.name, ("word",), asks=False)
        self.addCleanup(launch.close)
        wait_until(lambda: app.arguments, "it is owned")
        self.release(app)
        self.assertEqual(launch.read(), ACK)

    def test_other_program_that_asks(self):
        """As `examples/client.pl` does, it ends its connection in order when it has its answer."""
        for stays in (True, False):
            with self.subTest(stays=stays):
                app = self.named()
                app.trace(lambda launch: "answer")
                launch = LaunchThatDoesNotRead(self.name, ("word",))
                answer = b"\x02\0\0\0\6answer"
                self.assertEqual(launch.read_reply() + launch.read(len(answer)), ACK + answer)
                if not stays:
                    launch.close()
                self.release(app)
                launch.close()

    def test_has_no_answer_yet(self):
        app = self.named()
        launch = LaunchThatDoesNotRead(self.name, ("word",))
        self.addCleanup(launch.close)
        self.assertEqual(launch.read_reply(), ACK)
        self.release(app)
        self.assertEqual(launch.read(), b"")

    def test_host_that_is_full(self):
        with inside.limits(MAX_ASKING=0):
            app = self.named()
            launch = LaunchThatDoesNotRead(self.name, ("word",))
            self.assertEqual(launch.read_reply(), inside.TOO_MANY_WAIT)
            launch.close()
            self.release(app)


@unittest.skipUnless(POSIX and hasattr(select, "poll"), "pipes that do not block")
class TestWatchOfASlowReader(SingletonTestCase):
    """`watch` waits for a slow reader, even if its stdout does not block (a pipe of Node.js)."""

    def watch(self, output) -> None:
        os.set_blocking(output, False)
        command = ("-m", "Socket_Singleton", "watch", "--port", self.port)
        self.program = self.start(*command, stdout=output)
        os.close(output)
        wait_until(lambda: Socket_Singleton.is_running(port=self.port), "it watches")

    def test_long_launches(self):
        reader, writer = os.pipe()
        self.watch(writer)
        words = ["x" * 1_000_000, "y" * 1_000_000]
        with open(reader, "rb") as lines:
            for word in words:
                Socket_Singleton.send([word], port=self.port)
            for word in words:
                self.assertEqual(json.loads(lines.readline()), [word])
            self.program.process.send_signal(signal.SIGTERM)
            self.finish(self.program, 128 + signal.SIGTERM)
        self.assertEqual(self.program.err, "")

    def test_reader_that_leaves_meanwhile(self):
        reader, writer = os.pipe()
        self.watch(writer)
        Socket_Singleton.send(["x" * 1_000_000], port=self.port)
        os.read(reader, 1)
        os.close(reader)
        self.finish(self.program, 141)


class TestInterpretersBesideTheMainOne(SingletonTestCase):
    """An interpreter that ends while the process lives on, as those of mod_wsgi do."""

    def run_interpreter(self, how: str):
        if sys.implementation.name != "cpython":
            self.skipTest("only CPython has more than one")
        if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
            self.skipTest("coverage cannot measure more than one")
        program = self.start(PROGRAMS / "sub_interpreter.py", self.port, how)
        if program.wait() and "ModuleNotFoundError" in program.err:
            self.skipTest("this Python was built without the module that makes them")
        self.assertEqual(self.finish(program).lines[-1], "the interpreter has ended", program.describe())
        return program

    def test_one_that_has_released(self):
        for _ in range(5):
            self.assertIn("got word", self.run_interpreter("release").lines)

    def test_one_that_has_not_released(self):
        for _ in range(5):
            self.assertIn("got word", self.run_interpreter("leave").lines)

    @unittest.skipUnless(sys.platform == "linux", "/proc/self/fd")
    def test_isolated_one(self):
        """It may not have daemon threads, so it cannot be a host; nothing stays open."""
        if sys.version_info < (3, 9):
            self.skipTest("there are none")
        program = self.run_interpreter("isolated")
        self.assertIn("refused: ", program.out)
        self.assertIn("left open: 0", program.lines)

    @unittest.skipUnless(sys.platform == "linux", "/proc/self/fd")
    def test_launch_in_an_isolated_one(self):
        if sys.version_info < (3, 9):
            self.skipTest("there are none")
        _, observer = self.observed()
        self.run_interpreter("send")
        observer.wait_for(("word",))


@unittest.skipUnless(sys.platform == "linux", "where the numbers of descriptors are known")
class TestFewDescriptors(NamedTestCase):
    """Connections leave the last descriptors of the process to the application."""

    LIMIT = 24

    def setUp(self):
        super().setUp()
        # One less than are kept, because a connection may exist for a moment.
        self.count = inside.limit("DESCRIPTORS_KEPT") - 1
        program = PROGRAMS / "few_askers.py"
        self.host = self.start(program, self.name, self.LIMIT, self.count, ready="ready")

    def assert_application_has_its_own(self) -> None:
        self.host.write("\n")
        self.host.expect(f"opened {self.count}")

    def asker(self):
        launch = LaunchThatDoesNotRead(self.name, ("word",))
        self.addCleanup(launch.close)
        return launch, launch.read_reply()

    def test_launches_that_wait(self):
        launches = [self.asker() for _ in range(self.LIMIT)]
        replies = [reply for _, reply in launches]
        owned = replies.count(ACK)
        self.assertIn(owned, range(4, self.LIMIT - self.count))
        self.assertEqual(replies, [ACK] * owned + [inside.TOO_MANY_WAIT] * (self.LIMIT - owned))
        self.assert_application_has_its_own()
        with self.assertRaisesRegex(ConnectionError, "too many launches are already waiting"):
            self.ask("one more")
        Socket_Singleton.send(["asks nothing"], name=self.name)
        launches[0][0].close()
        # The host may not have noticed yet.
        wait_until(lambda: self.asker()[1] == ACK, "one has gone, so there is room")

    def test_no_descriptor_for_random_bytes(self):
        """PyPy reads them from a file. The launch tries again, and the host reports nothing."""
        name, here, failed = f"{self.name} too", threading.current_thread(), []
        observer, random_bytes = Collector(), os.urandom
        self.named(name=name).trace(observer)

        def fail_once_in_the_host(size):
            if threading.current_thread() is not here and not failed:
                failed.append(size)
                raise OSError(errno.EMFILE, "too many open files", "/dev/urandom")
            return random_bytes(size)

        with mock.patch.object(os, "urandom", fail_once_in_the_host):
            Socket_Singleton.send(["word"], name=name)
        observer.wait_for(("word",))
        self.assertEqual(len(failed), 1)

    def test_freed_descriptor_is_taken_by_another_thread(self):
        """Then the connection keeps the descriptor that it has."""
        app = self.named(name=f"{self.name} too")
        with inside.limits(DESCRIPTORS_KEPT=10**9), mock.patch.object(os, "dup", side_effect=OSError):
            first = socket.create_connection((app.address, app.port), PATIENCE)
            self.addCleanup(first.close)
            wait_until(lambda app=app: inside.count_peers(app) == 1, "the host has 1 peers")
            Socket_Singleton.send(["word"], name=f"{self.name} too")
            self.assert_reset(first)

    def test_connections_that_are_not_finished(self):
        for _ in range(2 * self.LIMIT):
            self.connect().sendall(b"H")
        self.assert_application_has_its_own()
        Socket_Singleton.send(["word"], name=self.name)


@unittest.skipUnless(POSIX, "descriptors")
class TestDescriptorsThatWereClosed(SingletonTestCase):
    """A tool that closes all descriptors closes those of the host too, and their numbers are reused."""

    NOTICED = "another part of this program has closed the sockets of Socket_Singleton"

    def check(self, how: str) -> None:
        program = self.start(PROGRAMS / "closed_descriptors.py", self.port, how)
        wait_until(lambda: program.lines, "it runs")
        self.addCleanup(self.kill, int(program.lines[0].split()[1]))
        # It cannot know before it looks; but once the daemon's parent has ended, nobody takes it for a host.
        wait_until(lambda: not Socket_Singleton.is_running(port=self.port), "nobody listens")
        other = self.singleton()
        for line in ("listens False", "released at once False True", "untouched True"):
            program.write("\n")
            # Without `expect`: the daemon is a child of the program, which has ended.
            wait_until(lambda line=line: line in program.lines, line)
        self.assertTrue(other._listening)
        # Its thread may just have been about to wait.
        if program.err:
            wait_until(lambda: self.NOTICED in program.err, "all of it is printed")

    @staticmethod
    def kill(number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)

    def test_by_the_program_itself(self):
        self.check("same")

    def test_in_a_child_that_is_the_daemon(self):
        self.check("child")

    def test_python_daemon(self):
        """A host constructed before the daemon's context sees that it no longer has a port."""
        if not importlib.util.find_spec("daemon"):
            self.skipTest("there is no python-daemon")
        said = self.make_folder() / "said"
        code = (
            "import sys, daemon\n"
            "from Socket_Singleton import Socket_Singleton\n"
            "app = Socket_Singleton(port=sys.argv[1])\n"
            "with daemon.DaemonContext(stdout=open(sys.argv[2], 'w')):\n"
            "    print(app._listening)\n"
            "    app.release()\n"
            "    print('released')"
        )
        self.finish(self.start("-c", code, self.port, said))
        wait_until(lambda: said.read_text() == "False\nreleased\n", "the daemon has ended")
        self.assert_free()

    def test_host_that_then_has_something_to_do(self):
        """Its thread notices it, reports it, and leaves alone the numbers that are no longer its own."""
        program = self.start(PROGRAMS / "closed_descriptors.py", self.port, "peer")
        wait_until(lambda: self.NOTICED in program.err, "its thread notices it")
        for line in ("listens False", "released at once False True", "untouched True"):
            program.write("\n")
            program.expect(line)

    def test_host_that_still_has_them(self):
        program = self.start(PROGRAMS / "closed_descriptors.py", self.port, "open")
        wait_until(lambda: program.lines, "it runs")
        program.write("\n")
        program.expect("listens True")
        program.write("\n")
        program.expect("released at once False True")
        program.write("\n")
        program.expect("untouched True")


@unittest.skipUnless(sys.platform == "linux", "a fork that Python does not see")
class TestForksInC(SingletonTestCase):
    @unittest.skipIf(
        sys.implementation.name == "pypy",
        "without ctypes.PyDLL, the I/O thread may have the GIL at that moment",
    )
    def test_child_gives_up_only_its_copy(self):
        program = self.start(PROGRAMS / "forks_in_c.py", self.port, ready="ready")
        self.assertEqual(program.lines[0], "child released at once False")
        Socket_Singleton.send(["word"], port=self.port)
        program.expect("got word")
        program.write("\n")
        self.finish(program)


class TestEmbedded(SingletonTestCase):
    """A program that embeds Python may have set no sys.argv."""

    def test_without_arguments(self):
        _, observer = self.observed(notify_empty=True)
        code = (
            "import sys; port = sys.argv[1]; del sys.argv\n"
            "from Socket_Singleton import Socket_Singleton; Socket_Singleton(port=port)"
        )
        self.finish(self.start("-c", code, self.port))
        observer.wait_for(())


class TestKeyboardInterrupt(NamedTestCase):
    """Ctrl-C while an observer runs in the main thread is not an error of the observer."""

    @staticmethod
    def interrupt(args) -> None:
        raise KeyboardInterrupt

    def test_propagates_to_the_loop_that_called(self):
        shelf, after = Shelf(), Collector()
        app = self.singleton(port=self.port, address=self.address, dispatch=shelf)
        app.trace(self.interrupt)
        app.trace(after)
        Socket_Singleton.send(["word"], self.address, self.port)
        shelf.wait_for(1)
        with self.assertRaises(KeyboardInterrupt), self.assert_nothing_logged():
            shelf.run()
        self.assertEqual(after.calls, [])
        self.assertTrue(app._listening)

    def test_of_a_launch_that_waits_for_an_answer(self):
        shelf = Shelf()
        app = self.named(dispatch=shelf)
        app.trace(self.interrupt)
        errors = []
        thread = self.in_background(lambda: errors.append(self.error_of_launch("word", answer=True)))
        shelf.wait_for(1)
        with self.assertRaises(KeyboardInterrupt):
            shelf.run()
        self.join(thread)
        self.assertIn("KeyboardInterrupt", str(errors[0]))

    def test_before_the_observer_is_called(self):
        """Then nothing has happened yet: the loop gets it, and the launch comes again."""
        shelf, observer, left = Shelf(), Collector(), [KeyboardInterrupt()]
        self.named(dispatch=shelf).trace(observer)
        answers = []
        thread = self.in_background(lambda: answers.append(self.error_of_launch("word", answer=True)))
        shelf.wait_for(1)

        def interrupt():
            if left:
                raise left.pop()

        with inside.at("decode", interrupt), self.assertRaises(KeyboardInterrupt):
            shelf.run()
        shelf.wait_for(1)
        shelf.run()
        self.join(thread)
        self.assertEqual((observer.calls, answers[0].outcome), ([("word",)], "answered"))

    def test_after_the_observer_was_called(self):
        class Interrupted(Exception):
            def add_done_callback(self, callback):
                raise KeyboardInterrupt

            def __str__(self):
                raise KeyboardInterrupt

        def observer(launch):
            error = Interrupted()
            if launch == ("raise",):
                raise error
            if launch == ("exit",):
                raise SystemExit(error)
            return error

        shelf, errors = Shelf(), []
        self.named(dispatch=shelf).trace(observer)
        for word, answer in (("return", False), ("return", True), ("raise", True), ("exit", True)):
            with self.subTest(word, answer=answer):
                thread = self.in_background(
                    lambda word=word, answer=answer: errors.append(self.error_of_launch(word, answer=answer))
                )
                shelf.wait_for(1)
                with self.assertRaises(KeyboardInterrupt), self.assert_nothing_logged():
                    shelf.run()
                self.join(thread)
        self.assertEqual([error.outcome for error in errors], ["delivered", *["refused"] * 3])

    @unittest.skipUnless(sys.version_info >= (3, 15), "a lock may stay held (CPython, issues 74174, 148874)")
    @unittest.skipUnless(hasattr(signal, "setitimer"), "this system has no timer that sends signals")
    def test_at_any_step(self):
        """A launch that waits is answered; it was observed, unless Ctrl-C came before that."""
        # Python reports what a handler raises in a callback of a weak reference.
        self.enter(self.expect_stderr("(Exception ignored (in|on|while).*)?"))
        shelf, observer = Shelf(), Collector()
        app = self.named(dispatch=shelf)
        app.trace(observer)
        package = os.path.dirname(sys.modules["Socket_Singleton"].__file__)

        def interrupt(_, frame):
            # At any step of the library, but not in a finalizer, where Python only reports it.
            names = []
            while frame is not None and len(names) < 50:
                names += [frame.f_code.co_name] * frame.f_code.co_filename.startswith(package)
                frame = frame.f_back
            if names and "__del__" not in names:
                raise KeyboardInterrupt

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        number, longest, interrupted = random.SystemRandom().randrange(2**32), 0.0002, 0
        rng, rounds = random.Random(number), 300
        for step in range(rounds):
            word, errors = str(step), []
            thread = self.in_background(
                lambda word=word, errors=errors: errors.append(self.error_of_launch(word, answer=True))
            )
            shelf.wait_for(1)
            one = False
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, longest))
                shelf.run()
            except KeyboardInterrupt:
                one = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            wait_until(lambda errors=errors: errors or shelf.calls, "an answer, or another call")
            shelf.run()
            self.join(thread)
            with self.subTest(seed=number, step=step, error=str(errors[0])):
                # The last one: at the first step, before the library knows that it is called.
                self.assertIn(errors[0].outcome, ("answered", "refused", "lost"))
                is_told = "KeyboardInterrupt" in str(errors[0])
                self.assertTrue(is_told or (word,) in observer.calls or (word,) in app.arguments)
            interrupted += one
            longest = min(longest * (1.02 if one else 0.98), 1.0)
        self.assertGreater(interrupted, rounds / 5)

    def test_in_an_overridden_append_args(self):
        class App(Socket_Singleton):
            def _append_args(self, args):
                raise KeyboardInterrupt

        shelf = Shelf()
        app = App(port=self.port, address=self.address, dispatch=shelf)
        self.addCleanup(app.release)
        Socket_Singleton.send(["word"], self.address, self.port)
        shelf.wait_for(1)
        with self.assertRaises(KeyboardInterrupt):
            shelf.run()

    def test_while_the_error_of_an_observer_is_logged(self):
        class Interrupted(logging.Handler):
            def emit(self, record):
                raise KeyboardInterrupt

        handler, log, shelf = Interrupted(), logging.getLogger("Socket_Singleton"), Shelf()
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        app = self.singleton(port=self.port, address=self.address, dispatch=shelf)
        app.trace(lambda _: 1 / 0)
        Socket_Singleton.send(["word"], self.address, self.port)
        shelf.wait_for(1)
        printed = self.expect_stderr("Observer <lambda> raised exception: ZeroDivisionError.*Traceback .*")
        with printed, self.assertRaises(KeyboardInterrupt):
            shelf.run()

    def test_raised_by_an_observer_on_another_thread(self):
        """There it can only be the observer's own, and is logged like any other error."""
        app = self.singleton(port=self.port, address=self.address)
        app.trace(self.interrupt)
        with self.assertLogs("Socket_Singleton", "ERROR") as logs:
            Socket_Singleton.send(["word"], self.address, self.port)
            wait_until(lambda: logs.output, "it is logged")
        self.assertIn("KeyboardInterrupt", logs.output[0])

    @contextlib.contextmanager
    def assert_nothing_logged(self):
        records = []
        handler = logging.Handler()
        handler.emit = records.append
        log = logging.getLogger("Socket_Singleton")
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
        self.assertEqual(records, [])


class TestConstructedTwice(SingletonTestCase):
    """An object is constructed only once: its observers and its end belong to one host."""

    def test_after_release(self):
        app, _ = self.observed()
        app.release()
        before = left_behind()
        with self.assertRaisesRegex(RuntimeError, "already constructed"):
            app.__init__(port=self.port)
        self.assertEqual(left_behind(before), NOTHING)
        self.assert_free()

    def test_while_it_is_the_host(self):
        app, observer = self.observed()
        with self.assertRaisesRegex(RuntimeError, "already constructed"):
            app.__init__(port=self.port)
        Socket_Singleton.send(["word"], port=self.port)
        observer.wait_for(("word",))
        self.assertTrue(app._listening)

    def test_second_launch_of_a_class_that_overrides_release(self):
        """A subclass creates its window when it is constructed; the second launch ends before that."""

        class App(Socket_Singleton):
            def __init__(self, **options):
                super().__init__(**options)
                self.window = object()

            def release(self):
                del self.window
                super().release()

        app, observer = App(port=self.port), Collector()
        self.addCleanup(app.release)
        app.trace(observer)
        with self.assertRaises(MultipleSingletonsError):
            App(port=self.port, strict=False, argv=["word"])
        observer.wait_for(("word",))

    def test_after_a_failed_attempt(self):
        """An object whose construction failed may be constructed once more."""
        app = Socket_Singleton.__new__(Socket_Singleton)
        with self.assertRaises(ValueError):
            app.__init__(port=-1)
        app.__init__(port=self.port)
        self.addCleanup(app.release)
        self.assertTrue(app._listening)


@unittest.skipUnless(sys.platform == "linux", "a network of its own")
class TestWithoutIPv4(NamedTestCase):
    """A machine that has no 127.0.0.1."""

    def in_network(self, *command):
        """Run a program in a network that has only ::1."""
        script = 'ip link set lo up && ip addr del 127.0.0.1/8 dev lo && exec "$@"'
        unshare = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]  # in a chroot, root alone may do so
        return self.start_program([*unshare, "sh", "-c", script, "sh", sys.executable, *command])

    def setUp(self):
        super().setUp()
        if not (shutil.which("unshare") and shutil.which("ip")):
            self.skipTest("no unshare, no ip")
        program = self.in_network("-c", "")
        if program.wait():
            self.skipTest(f"this system does not let us have a network of our own: {program.err}")

    def test_error_suggests_an_address(self):
        calls = (
            "Socket_Singleton(name=name)",
            "Socket_Singleton.send([], name=name)",
            "Socket_Singleton.pid_of(name)",
        )
        programs = [
            self.in_network(
                "-c", f"from Socket_Singleton import Socket_Singleton; name = {self.name!r}; {call}"
            )
            for call in calls
        ]
        for program in programs:
            self.finish(program, status=1)
            self.assertIn("give all launches the address ::1", program.err)

    def test_with_the_address_that_the_error_suggests(self):
        code = (
            "from Socket_Singleton import Socket_Singleton\n"
            f"app = Socket_Singleton(name={self.name!r}, address='::1')\n"
            "app.trace(lambda args: 'answer')\n"
            f"print(Socket_Singleton.ask(['word'], name={self.name!r}, address='::1'))"
        )
        program = self.in_network("-c", code)
        self.assertEqual(self.finish(program).lines, ["answer"])


class SocksServer:
    """A proxy (RFC 1928) that accepts each connection and keeps what it receives: a remote machine."""

    def __init__(self, test: SingletonTestCase) -> None:
        self.received: list[bytes] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(5)
        self.port = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self._close)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            peer.recv(300)
            peer.sendall(b"\x05\x00")
            peer.recv(300)
            peer.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01")
            data = peer.recv(65536)
            self.received.append(data)
            if b"hush" in data:
                peer.close()  # like a host of 2.0.0, or any program that reads and ends

    def _close(self) -> None:
        for sock in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@unittest.skipUnless(sys.platform == "linux", "tools that put a proxy under a program")
class TestProxies(NamedTestCase):
    """What README.md says about tools that send each connection of a program through a proxy."""

    LAUNCH = (
        "import json, sys; from Socket_Singleton import Socket_Singleton\n"
        "Socket_Singleton(argv=['word'], **json.loads(sys.argv[1]))"
    )

    def launch(self, tool: str, *options: str, env=None, **place):
        if not shutil.which(tool):
            self.skipTest(f"there is no {tool}")
        command = [tool, *options, sys.executable, "-c", self.LAUNCH, json.dumps(place)]
        return self.start_program(command, env=env)

    def write(self, *lines: str) -> str:
        path = self.home / "tool.conf"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def proxychains(self, *lines: str, **place):
        self.proxy = SocksServer(self)
        chain = ("strict_chain", *lines, "[ProxyList]", f"socks5 127.0.0.1 {self.proxy.port}")
        return self.launch("proxychains4", "-q", "-f", self.write(*chain), **place)

    def test_proxychains_without_a_name(self):
        """A remote machine has the arguments and the secret, and the launch ends as if a host had them."""
        place = {"address": self.address, "port": self.port, "secret": "hush"}
        app, observer = self.observed(**place)
        self.finish(self.proxychains(**place))
        self.assertEqual(self.proxy.received, [b"hush\0word\0"])
        app.release()
        self.assertEqual(observer.calls, [])

    def test_proxychains_with_a_name(self):
        """The other side does not prove itself, so it gets nothing."""
        self.named()
        launch = self.proxychains(name=self.name)
        self.finish(launch, 1)
        self.assertIn("Socket_Singleton: ", launch.err)
        self.assertEqual([data[: len(inside.HELLO)] for data in self.proxy.received], [inside.HELLO])
        self.assertNotIn(b"word", b"".join(self.proxy.received))

    def test_proxychains_that_exempts_loopback(self):
        place = {"address": self.address, "port": self.port}
        _, observer = self.observed(**place)
        self.finish(self.proxychains("localnet 127.0.0.0/255.0.0.0", **place))
        observer.wait_for(("word",))
        self.assertEqual(self.proxy.received, [])

    def torsocks(self, *lines: str, **place):
        path = self.write("TorAddress 127.0.0.1", "TorPort 1", *lines)
        return self.launch("torsocks", env={"TORSOCKS_CONF_FILE": path}, **place)

    def test_torsocks(self):
        """It forbids connections to this machine; the launch says how to allow them."""
        self.named()
        launch = self.torsocks(name=self.name)
        self.finish(launch, 1)
        self.assertIn("Operation not permitted: ", launch.err)
        self.assertIn("AllowOutboundLocalhost 1", launch.err)

    def test_torsocks_that_exempts_loopback(self):
        app, observer = self.named(), Collector()
        app.trace(observer)
        self.finish(self.torsocks("AllowOutboundLocalhost 1", name=self.name))
        observer.wait_for(("word",))

    def test_connection_that_is_forbidden(self):
        kind = failing("connect", PermissionError(errno.EPERM, os.strerror(errno.EPERM)), math.inf)
        self.named()
        with inside.sockets_of_launches(kind), inside.limits(HAND_OVER_TIME=0.1):
            error = self.named_launch("word")
        self.assertIs(error.delivered, False)
        self.assertIn("Operation not permitted: a firewall, a sandbox or torsocks forbids it", str(error))


class TestDefaultTimeout(NamedTestCase):
    """A program may have set one for all new sockets (`socket.setdefaulttimeout`); these ignore it."""

    # It is set before the package is imported, as in sitecustomize.py.
    START = (
        "import runpy, socket, sys\n"
        "socket.setdefaulttimeout(float(sys.argv.pop(1)))\n"
        "sys.argv[0] = 'app.py'\n"
        "runpy.run_module('Socket_Singleton', run_name='__main__', alter_sys=True)"
    )
    TIMEOUTS = ("0", "0.001")

    def test_run(self):
        """It waits for its command, however long that takes."""
        command = (sys.executable, "-c", "import sys; sys.stdin.readline(); print('done')")
        for timeout in self.TIMEOUTS:
            with self.subTest(timeout=timeout):
                place = ("--name", self.name, "--no-forward", "--")
                program = self.start("-c", self.START, timeout, "run", *place, *command)
                wait_until(lambda: Socket_Singleton.is_running(name=self.name), "it runs")
                program.write("\n")
                self.assertEqual(self.finish(program).lines, ["done"])

    def test_host_and_launch(self):
        for timeout in self.TIMEOUTS:
            before = socket.getdefaulttimeout()
            self.addCleanup(socket.setdefaulttimeout, before)
            with self.subTest(timeout=timeout):
                socket.setdefaulttimeout(float(timeout))
                app = self.named()
                app.trace(lambda launch: "answer")
                self.assertEqual(self.ask("word"), "answer")
                self.assertFalse(app.join(0.01))
                app.release()
            socket.setdefaulttimeout(before)


class TestStoppedClocks(SingletonTestCase):
    """A test of an application may have stopped Python's clocks."""

    def test_silent_stranger(self):
        """The system decides how long a socket waits, so the launch ends in time."""
        self.listener()
        now = time.monotonic()
        stopped = inside.clock_of_launches(lambda: now)
        with inside.limits(HAND_OVER_TIME=0.3), stopped, Stopwatch() as took:
            self.assertIs(self.second_launch("word").delivered, False)
        self.assertLess(took.seconds, SOON)
