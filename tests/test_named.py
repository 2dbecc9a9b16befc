"""Hosts and launches with a name, and other programs that may have the port."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import math
import os
import re
import signal
import socket
import sys
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    LAUNCH_LIMIT,
    PATIENCE,
    PORT,
    PROGRAMS,
    AnotherUser,
    Collector,
    NamedTestCase,
    Shelf,
    Stopwatch,
    descriptors,
    free_port,
    inside,
    needs_resets,
    read_to_end,
    wait_until,
)
from .support.launches import LaunchThatDoesNotRead, LaunchThatStopsHalfway
from .support.sockets import close_resets, failing

HELLO, NAK = inside.HELLO, inside.NAK

# Seconds that a launch takes at most: its time for the hand-over, and some for a busy machine.
AT_MOST = max(inside.limit("HAND_OVER_TIME"), inside.limit("LOOK_TIME")) + 1

# The outcome in a launch's error, by what a question raises.
OUTCOMES = {
    None: ("stranger", "rejected"),
    ConnectionError: ("unproven",),
    TimeoutError: ("silent", "unreachable"),
}


class CommandTestCase(NamedTestCase):
    def command(self, *words, **options):
        return self.start("-m", "Socket_Singleton", *words, **options)


class TestNamed(CommandTestCase):
    """With a name, every other parameter does what it does without one."""

    def test_arguments_arrive_as_they_are(self):
        launches = Collector()
        self.named().trace(launches)
        cases = [("a",), ("",), ("", ""), ("two words", "", "\u00e9\udcff\n"), ("x" * 1_000_000,)]
        for argv in cases:
            error = self.named_launch(*argv)
            self.assertEqual((error.delivered, error.pid), (True, os.getpid()))
            self.assertEqual((error.address, error.port), (self.address, self.port))
        launches.wait_for(*cases)

    def test_message_says_which_process_the_other_instance_is(self):
        self.named()
        instance = f"Another instance of {self.name} (process {os.getpid()}) is already bound & listening @ "
        self.assertTrue(str(self.named_launch()).startswith(instance))

    def test_control_characters_of_a_name_are_escaped_in_messages(self):
        """A terminal would obey them; they may be part of a path."""
        name = f"{self.name}\n\x1b[31m\udcff"
        escaped = f"{self.name}\\n\\x1b[31m\\udcff'"
        with self.assertRaises(ConnectionRefusedError) as caught:
            Socket_Singleton.send([], name=name)
        texts = [
            str(caught.exception),
            self.finish(self.command("status", "--name", os.fsencode(name)), 1).out,
        ]
        with Socket_Singleton(name=name):
            texts.append(str(self.error_of_launch(name=name)))
            texts.append(self.finish(self.command("status", "--name", os.fsencode(name))).out)
        for text in texts:
            self.assertIn(escaped, text)
            self.assertTrue(text.isprintable(), text)

    def test_question_to_a_command_fails_with_a_message(self):
        """It takes no launches; how many words there are must not become their status."""
        hold = (sys.executable, "-c", "print('up', flush=True); input()")
        run = self.command("run", "--name", self.name, "--", *hold, ready="up")
        asked = self.finish(self.command("ask", "--name", self.name, "--", "three", "words", "!"), 1)
        message = "Socket_Singleton: the running instance is a command, which accepts no launches"
        self.assertEqual((asked.out, asked.err), ("", message))
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            error = self.named_launch("two", "words", answer=True)
        self.assertEqual((error.outcome, error.answer, stderr.getvalue()), ("answered", 1, f"{message}\n"))
        run.write("\n")
        self.finish(run)

    def test_longest_command_line(self):
        launches = Collector()
        self.named().trace(launches)
        with self.assertRaises(ValueError) as caught:
            Socket_Singleton.send(["x" * (inside.MAX_PACKET - 1)], name=self.name)
        size = int(re.search(r"take (\d+) bytes", str(caught.exception))[1])  # with all that is sent along
        argv = ("x" * (2 * inside.MAX_PACKET - 1 - size),)
        Socket_Singleton.send(argv, name=self.name, timeout=PATIENCE)
        launches.wait_for(argv)

    def test_strict(self):
        app = self.named()
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, argv=["a"])
        self.assertIsNone(caught.exception.code)
        self.assertEqual(app.arguments, (("a",),))

    def test_program(self):
        host = self.start(PROGRAMS / "answering.py", self.name, ready="host")
        launch = self.finish(self.start(PROGRAMS / "answering.py", self.name, "a b", ""))
        self.assertEqual((launch.out, launch.err), ("", ""))
        host.expect("got ('a b', '')")
        self.assertEqual(Socket_Singleton.pid_of(self.name), host.pid)
        self.assertEqual(self.named_launch().pid, host.pid)

    def test_client_false(self):
        """Nothing is handed over, but the host has proved itself all the same."""
        app = self.named()
        error = self.named_launch("a", client=False)
        self.assertEqual((error.delivered, error.pid), (None, os.getpid()))
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, client=False)
        self.assertIsNone(caught.exception.code)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_wait(self):
        app = self.named()
        self.in_background(app.release)
        self.named(wait=PATIENCE)
        with Stopwatch() as took:
            self.assertTrue(self.named_launch("a", wait=0.1).delivered)
        self.assertLess(took.seconds, 1)

    def test_timeout(self):
        app = self.named(timeout=0.1)
        self.assertTrue(app.join(PATIENCE))
        self.named()

    def test_dispatch_and_notify_empty(self):
        shelf, launches = Shelf(), Collector()
        self.named(dispatch=shelf, notify_empty=True).trace(launches)
        self.named_launch()
        self.named_launch("a")
        shelf.wait_for(2)
        self.assertEqual(launches.calls, [])
        shelf.run()
        launches.wait_for((), ("a",))

    def test_argv(self):
        launches = Collector()
        self.named().trace(launches)
        self.named_launch("not these", argv=["these"])
        launches.wait_for(("these",))

    def test_max_clients_ends_quietly(self):
        app = self.named(max_clients=1)
        self.assertIs(self.named_launch("a").delivered, True)
        self.assertIs(self.named_launch("b").delivered, False)
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, argv=["c"])
        self.assertIsNone(caught.exception.code)
        self.assertEqual(app.arguments, (("a",),))

    def test_release_threshold(self):
        launches = Collector()
        app = self.named(release_threshold=2)
        app.trace(launches)
        self.named_launch("a")
        self.named_launch("b")
        self.assertTrue(app.join(PATIENCE))
        launches.wait_for(("a",), ("b",))
        self.named()

    def test_secret_that_changes_while_the_host_runs(self):
        app = self.named(secret="first")
        self.assertIs(self.named_launch("a", secret="first").delivered, True)
        app.secret = "second"
        self.assertIs(self.named_launch("b", secret="first").delivered, False)
        self.assertIs(self.named_launch("c", secret="second").delivered, True)
        app.secret = None
        self.assertIs(self.named_launch("d", secret="second").delivered, False)
        self.assertIs(self.named_launch("e").delivered, True)
        self.assertEqual(app.arguments, (("a",), ("c",), ("e",)))

    def test_send_and_questions(self):
        app = self.named()
        Socket_Singleton.send(["a"], name=self.name)
        self.assertIs(Socket_Singleton.is_running(name=self.name), True)
        self.assertEqual(Socket_Singleton.pid_of(self.name), os.getpid())
        self.assertEqual((app.clients, app.arguments), (1, (("a",),)))
        app.release()
        self.assertIs(Socket_Singleton.is_running(name=self.name), False)
        self.assertIsNone(Socket_Singleton.pid_of(self.name))
        with self.assertRaisesRegex(ConnectionRefusedError, re.escape(self.name)):
            Socket_Singleton.send(["a"], name=self.name)

    @needs_resets
    def test_question_that_was_reset_is_asked_again(self):
        """A host that is about to end does so; a moment later there may be another one."""
        self.named()
        kind, pauses = failing("recv", OSError(errno.ENOBUFS, "no buffers")), []
        with inside.sockets_of_peers(kind), inside.clock_of_launches(sleep=pauses.append):
            self.assertEqual(Socket_Singleton.pid_of(self.name), os.getpid())
        self.assertEqual((len(kind.failed), len(pauses)), (1, 1))

    def test_two_names_are_two_instances(self):
        first, second = self.named(), self.named(name=f"{self.name}, second profile")
        self.named_launch("a")
        self.named_launch("b", name=second.name)
        self.assertEqual((first.arguments, second.arguments), ((("a",),), (("b",),)))

    def test_host_on_all_addresses(self):
        for address in ("0.0.0.0", ""):
            with self.subTest(address):
                place = {"address": address, "port": free_port()}
                app = self.named(**place)
                self.assertIs(self.named_launch("a", **place).delivered, True)
                self.assertIs(self.named_launch("b", **{**place, "address": "localhost"}).delivered, True)
                app.release()

    def test_command_line(self):
        place = ("--name", self.name)
        self.assertEqual(self.finish(self.command("status", *place), 1).out, f"{self.name}: not running")
        watch = self.command("watch", *place)
        wait_until(lambda: Socket_Singleton.is_running(name=self.name), "watch is the host")
        status = self.finish(self.command("status", *place))
        self.assertEqual(status.out, f"{self.name}: running (process {watch.pid})")
        self.assertEqual(self.finish(self.command("send", *place, "--", "a b", "")).out, "")
        watch.expect('["a b", ""]')
        run = self.command("run", *place, "--", sys.executable, "-c", "print('runs')")
        self.assertEqual(self.finish(run).out, "")
        refused = self.finish(self.command("run", *place, "--no-forward", "--", "x"), 1)
        self.assertEqual((refused.out, refused.err), ("", ""))
        watch.kill()
        run = self.command("run", *place, "--", sys.executable, "-c", "print('runs')")
        self.assertEqual(self.finish(run).out, "runs")
        sent = self.finish(self.command("send", *place, "--", "a"), 1)
        self.assertIn(self.name, sent.err)
        self.assertIn("nothing is listening", sent.err)
        self.assertIn("name must not be empty", self.finish(self.command("status", "--name", ""), 64).err)

    # -- faults of the hand-over --

    def storm(self, count: int) -> list:
        """Return the outcomes of ``count`` launches, eight at a time: "host", `delivered`, or an error."""
        numbers, outcomes = itertools.count(), []

        def launch():
            for number in iter(numbers.__next__, None):
                if number >= count:
                    return
                try:
                    app = Socket_Singleton(name=self.name, strict=False, argv=[str(number)])
                except MultipleSingletonsError as error:
                    outcomes.append((number, error.delivered))
                except Exception as error:
                    outcomes.append((number, error))
                else:
                    app.trace(self.storm_observer)
                    outcomes.append((number, "host"))
                    wait_until(lambda app=app: app.clients > 2 or len(outcomes) > count - 9, "some came")
                    app.release()
                    self.left.extend(app.arguments)

        threads = [self.in_background(launch) for _ in range(8)]
        for thread in threads:
            self.join(thread)
        return outcomes

    @needs_resets
    def test_releases_during_a_storm_of_launches(self):
        self.left, self.storm_observer = [], Collector()
        outcomes = self.storm(400)
        self.assertEqual(sorted(number for number, _ in outcomes), list(range(400)))
        delivered = [number for number, outcome in outcomes if outcome is True]
        self.assertEqual({outcome for _, outcome in outcomes}, {True, "host"}, outcomes)
        received = self.storm_observer.calls
        wait_until(
            lambda: len(received) + len(self.left) >= len(delivered), "all have been delivered or are left"
        )
        self.assertEqual(sorted(int(args[0]) for args in (*received, *self.left)), sorted(delivered))

    @unittest.skipUnless(hasattr(signal, "SIGKILL"), "this system has no SIGKILL")
    def test_kills_during_a_storm_of_launches(self):
        """A killed host loses what it owned. No other launch is lost, and each one is answered."""
        hosts, launches = [self.start(PROGRAMS / "answering.py", self.name, ready="host")], []

        def all_but_one_ended():
            return sum(launch.process.poll() is None for launch in launches if launch not in hosts) <= 1

        for number in range(5):
            launches += (self.start(PROGRAMS / "answering.py", self.name, str(number)) for _ in range(3))
            hosts[-1].kill()
            wait_until(all_but_one_ended, "all but the next host were delivered")
            running = [launch for launch in launches if launch.process.poll() is None]
            hosts += running or [self.start(PROGRAMS / "answering.py", self.name)]
            hosts[-1].expect("host")
        for launch in launches:
            if launch not in hosts:
                self.finish(launch)
                self.assertEqual(launch.err, "")

    def test_many_silent_peers(self):
        """They keep nobody out; some of them have begun to talk."""
        app, launches = self.named(), Collector()
        app.trace(launches)
        for number in range(300):
            peer = self.connect()
            if number % 3:
                peer.sendall(HELLO[: number % len(HELLO)] if number % 2 else HELLO + bytes(32))
        for number in range(20):
            self.assertIs(self.named_launch(str(number)).delivered, True)
        launches.wait_for(*((str(number),) for number in range(20)))
        self.assertLessEqual(inside.count_peers(app), inside.limit("MAX_PEERS"))
        self.assertEqual(app.clients, 20)

    def test_peer_that_has_proved_itself_stays_longer(self):
        """A long packet on its way is not endangered by peers that only connect."""
        with inside.limits(MAX_PEERS=5):
            app = self.named()
            sending = LaunchThatStopsHalfway(self.name, (b"x" * 100_000).decode())
            self.addCleanup(sending.close)
            wait_until(lambda: inside.count_proved(app) == 1, "it has proved itself")
            for _ in range(20):
                self.connect()
            wait_until(lambda: inside.count_peers(app) == 5, "others were dropped")
            sending.go_on()
            wait_until(lambda: app.clients == 1, "it is owned")

    def test_peers_without_a_name_are_refused_and_not_counted(self):
        app = self.named(release_threshold=2, max_clients=2)
        packets = (b"\0", b"a\0", b"secret\0a\0", b"open\0my file.txt\0", os.urandom(64) + b"\0", b"H")
        for packet in packets:
            with self.subTest(packet=packet):
                self.assertEqual(self.exchange(packet), NAK + b"N")
        for request in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + bytes(50)):
            with self.subTest(request=request), self.connect() as peer:
                peer.sendall(request)
                self.assert_reset(peer)
        with self.connect() as silent:
            silent.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(silent), b"")
        self.assertEqual((app.clients, app.arguments, app._listening), (0, (), True))
        self.assertIs(self.named_launch("a").delivered, True)

    def test_launch_without_a_name_fails_with_a_message(self):
        self.named()
        error = self.second_launch("a", address=self.address)
        self.assertIs(error.delivered, False)
        self.assertIn("accepts only launches with that name", str(error))
        with self.assertRaisesRegex(ConnectionError, "accepts only launches with that name"):
            Socket_Singleton.send(["a"], self.address, self.port)

    def test_threads_and_descriptors_are_gone_after_release(self):
        before = descriptors()
        app = self.named()
        for _ in range(10):
            self.named_launch("a")
        app.release()
        wait_until(lambda: descriptors() <= before, "nothing is left open")


class TestNamedStrangers(CommandTestCase):
    """Another program has the port: each launch fails with a message, and none is a second host."""

    def assert_fails_with(
        self, *expected: str, runs: type | None = None, at_once: bool = True, **options
    ) -> None:
        """Check how each way to look for this application ends, and its message.

        Args:
            runs: what a question raises if it cannot tell; None: the answer is "not running".
        """
        words = (self.name, f"port {options.get('port', self.port)}", *expected)
        program = self.start(
            PROGRAMS / "answering.py", self.name, "word", env={"PLACE": str(options.get("port", PORT))}
        )
        inside.identity(self.name)  # without a key, a question cannot recognize the application
        place = ("--name", self.name, *(("--port", options["port"]) if "port" in options else ()))
        status = self.command("status", *place)
        ways = (
            lambda: self.error_of_launch("word", **options),
            lambda: self.error_of_launch("word", client=False, **options),
            lambda: self.error_of_launch("word", answer=True, **options),
            lambda: Socket_Singleton.send(["word"], name=self.name, **options),
            lambda: Socket_Singleton.ask(["word"], name=self.name, timeout=PATIENCE, **options),
            lambda: Socket_Singleton.is_running(name=self.name, **options),
            lambda: Socket_Singleton.pid_of(self.name, **options),
        )
        with Stopwatch() as took:
            *launches, sent, asked, running, pid = self.at_once(len(ways), lambda number: ways[number]())
        self.assertLess(took.seconds, AT_MOST / 3 if at_once else AT_MOST)
        for error in launches:
            self.assertIsInstance(error, MultipleSingletonsError, error)
            self.assertEqual((error.delivered, error.pid, error.answer), (False, None, None))
            self.assertIn(error.outcome, OUTCOMES[runs])
        for error in (sent, asked):
            self.assertIs(type(error), ConnectionError if at_once else TimeoutError)
        self.finish(program, 1)
        self.assertEqual(program.out, "")
        self.finish(status, 1 if runs is None else 2)
        errors = [*launches, sent, asked, program.err]
        if runs is None:
            self.assertEqual((running, pid), (False, None))
            self.assertEqual(status.err, "")
            self.assertIn(f"{self.name}: not running", status.out)
            errors.append(status.out)
        else:
            for error in (running, pid):
                self.assertIs(type(error), runs)
            errors += [running, pid, status.err]
            self.assertEqual(status.out, "")
            for error in (running, pid, status.err):
                self.assertIn(f"cannot tell whether {self.name} is running", str(error))
        for error in errors:
            for word in words:
                self.assertIn(word, str(error))
            self.assertNotIn("choose a different port", str(error))

    def answer_each_hello(self, answer) -> list:
        """Serve with ``answer(hello)`` to each hello; return all that was received."""
        received = []

        def talk(peer):
            peer.settimeout(PATIENCE)
            hello = peer.recv(4096)
            peer.sendall(answer(hello))
            rest = b""
            with contextlib.suppress(ConnectionError):
                rest = read_to_end(peer)
            received.append(hello + rest)

        self.serve(talk)
        return received

    def test_silent_program(self):
        """At the place that follows from the name, it can hardly be anything but the application itself."""
        self.listener()
        self.assert_fails_with(
            "no answer in time", "the application probably does not respond", runs=TimeoutError, at_once=False
        )

    def test_silent_program_at_a_given_place(self):
        self.port = free_port()
        self.listener()
        self.assert_fails_with("no answer in time", runs=TimeoutError, at_once=False, port=self.port)
        with inside.limits(HAND_OVER_TIME=0.3):
            error = self.named_launch("word", port=self.port)
        self.assertIn("end the program that has the port", str(error))
        self.assertNotIn("respond", str(error))

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_application_that_is_stopped(self):
        """Before it has proved itself, or afterwards."""
        host = self.start(PROGRAMS / "answering.py", self.name, ready="host")
        with host.stopped():
            self.assert_fails_with(
                "no answer in time",
                "the application probably does not respond",
                runs=TimeoutError,
                at_once=False,
            )
        self.assertEqual(Socket_Singleton.pid_of(self.name), host.pid)

    def test_application_that_stops_once_it_has_proved_itself(self):
        self.answer_each_hello(
            lambda hello: inside.hello_of_host(self.name, (self.address, self.port), hello)
        )
        self.enter(inside.limits(HAND_OVER_TIME=LAUNCH_LIMIT))
        for answer in (False, True):
            error = self.named_launch("word", answer=answer)
            self.assertEqual((error.delivered, error.pid), (False, os.getpid()))
            self.assertIn(f"the application (process {os.getpid()}) does not respond", str(error))
            self.assertNotIn("the program that has the port", str(error))
        with self.assertRaisesRegex(TimeoutError, rf"process {os.getpid()}\) does not respond"):
            Socket_Singleton.send(["word"], name=self.name, timeout=LAUNCH_LIMIT)
        self.assertEqual(Socket_Singleton.pid_of(self.name), os.getpid())

    def test_application_with_a_full_backlog(self):
        """It accepts no more connections."""
        self.listener(backlog=0)
        self.fill_backlog()
        self.assert_fails_with(
            "no answer in time", "the application probably does not respond", runs=TimeoutError, at_once=False
        )

    def test_program_with_a_banner(self):
        def greet(peer):
            peer.sendall(b"220 mail.example ESMTP\r\n")
            with contextlib.suppress(ConnectionError):
                read_to_end(peer)

        self.serve(greet)
        self.assert_fails_with("220 mail.example", "did not prove that it is this application")

    def test_programs_that_send_the_same_to_everybody(self):
        """Among it is what hosts send when all is well, or to make a launch end quietly."""
        for said, seen, runs in (
            (ACK, "\\x06", None),
            (ACK + b"\0\0\0\0\0", "\\x06", None),
            (NAK + b"C", "\\x15C", None),
            (NAK + b"W", "\\x15W", None),
            (NAK + b"U", "without a name", None),
            (b"\1" + bytes(68), "another name or another secret", ConnectionError),
            (b"\1" + bytes(1000), "\\x01", ConnectionError),
            (b"\x1b[31mred\n" * 100, "\\x1b[31mred", None),
        ):
            with self.subTest(said=said[:20]):
                received = self.answer_each_hello(lambda hello, said=said: said)
                self.assert_fails_with(seen, runs=runs)
                self.assertEqual({len(words) for words in received}, {len(HELLO) + 32}, "no launch sent more")
                self.doCleanups()
                self.setUp()

    def test_program_that_echoes(self):
        self.answer_each_hello(lambda hello: hello)
        self.assert_fails_with("HELLO Socket_Singleton", "did not prove that it is this application")

    def test_program_that_ends_each_connection(self):
        self.serve(lambda peer: peer.recv(4096))
        self.assert_fails_with("without sending anything", runs=ConnectionError)

    def test_program_that_resets_each_connection(self):
        """It may be a host that is ending, so each way tries again as long as there is time."""
        self.enter(inside.limits(HAND_OVER_TIME=0.7, LOOK_TIME=0.3))
        self.serve(close_resets)
        options = ({}, {"client": False})
        with Stopwatch() as took:
            errors = self.at_once(2, lambda number: self.error_of_launch("word", **options[number]))
        self.assertLess(took.seconds, AT_MOST)
        for error in errors:
            self.assertIs(error.delivered, False)
            self.assertIn(self.name, str(error))
        with self.assertRaisesRegex(ConnectionError, f"cannot tell whether {self.name} is running"):
            Socket_Singleton.pid_of(self.name)

    def test_connection_that_is_not_permitted(self):
        """A rule of the system forbids it, for example, or there is no route to that address."""
        app = self.named()
        for number in (errno.EACCES, errno.EPERM, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
            kind = failing("connect", OSError(number, os.strerror(number)), times=math.inf)
            with self.subTest(number), inside.sockets_of_launches(kind), inside.limits(LOOK_TIME=0.1):
                for call in (
                    lambda: Socket_Singleton.pid_of(self.name),
                    lambda: Socket_Singleton.is_running(name=self.name),
                    lambda: Socket_Singleton.is_running(app.address, app.port),
                ):
                    with self.assertRaisesRegex(OSError, f"cannot tell.*{os.strerror(number)}"):
                        call()

    def test_web_server(self):
        class Quiet(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

        class Deep(HTTPServer):
            request_queue_size = 50  # with 5, some of the simultaneous questions would wait for a second

        server = Deep((self.address, self.port), Quiet)
        server.handle_error = lambda *args: None  # launches may hang up on it
        self.addCleanup(server.server_close)
        self.in_background(server.serve_forever)
        self.addCleanup(server.shutdown)
        self.assert_fails_with("did not prove that it is this application")

    def test_host_without_a_name(self):
        app = self.singleton(address=self.address)
        self.assert_fails_with("Socket_Singleton without a name")
        self.assertEqual((app.clients, app.arguments), (0, ()))
        app.release()
        secret = self.singleton(address=self.address, secret="a long one", release_threshold=1)
        self.assert_fails_with("Socket_Singleton without a name")
        self.assertEqual((secret.clients, secret._listening), (0, True))

    def test_host_of_another_name_at_the_same_place(self):
        app = self.named(name=f"{self.name} 2", address=self.address, port=self.port)
        self.assert_fails_with("another name", runs=ConnectionError)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_host_with_another_key(self):
        with self.at_home(self.make_folder()):
            app = self.named()
        self.assert_fails_with("another user", "another home", runs=ConnectionError)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_host_of_another_user(self):
        """It learns nothing; and it has an instance of its own."""
        user, home = AnotherUser(self.make_folder()), self.make_folder()
        os.chown(str(home), 65534, 65534)
        own = user.start(self, "answering.py", self.name, ready="host", home=home)
        self.named().release()  # it does not block our place
        own.kill()
        place = (self.name, self.address, self.port)
        squatter = user.start(self, "-c", SQUATTER, *place, ready="host", home=home)
        self.assert_fails_with("another user", runs=ConnectionError)
        squatter.kill()
        self.assertNotIn("got", squatter.out)

    def test_recorded_conversation(self):
        """Everything a host once sent to a launch is sent to another one, and the other way round."""
        app = self.named()
        talk = LaunchThatDoesNotRead(self.name, ("recorded",))
        self.addCleanup(talk.close)
        wait_until(lambda: app.clients == 1, "it is owned")
        hello, claim = talk.said
        self.assertEqual(self.exchange(hello + claim), NAK + b"P")
        with self.connect() as peer:
            peer.sendall(hello)
            self.assertEqual(peer.recv(1), b"\1")
            peer.sendall(claim)
            peer.shutdown(socket.SHUT_WR)
            self.assertTrue(read_to_end(peer).endswith(NAK + b"P"))
        self.assertEqual((app.clients, app.arguments), (1, (("recorded",),)))
        app.release()
        self.answer_each_hello(lambda hello: talk.received)
        self.assert_fails_with("another name or another secret", runs=ConnectionError)

    def test_relay(self):
        """A squatter that passes everything on to the real host, which is at another place."""
        other = free_port()
        app = self.named(port=other)

        def relay(peer):
            with socket.create_connection((self.address, other), PATIENCE) as host:
                peer.settimeout(PATIENCE)
                host.sendall(peer.recv(4096))
                peer.sendall(host.recv(4096))
                with contextlib.suppress(ConnectionError):
                    host.sendall(read_to_end(peer))

        self.serve(relay)
        self.assert_fails_with("another name or another secret", runs=ConnectionError)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_port_that_is_bound_and_does_not_listen(self):
        self.bound()
        with inside.limits(HAND_OVER_TIME=0.3):
            error = self.named_launch("word")
        self.assertIs(error.delivered, False)
        for word in (self.name, str(self.port), "refused"):
            self.assertIn(word, str(error))
        self.assertIs(Socket_Singleton.is_running(name=self.name), False)

    def test_waiting_launch_becomes_the_host_once_the_stranger_is_gone(self):
        listener = self.listener()
        self.in_background(listener.close)
        self.named(wait=PATIENCE)

    def test_launches_leave_nothing_open_beside_a_stranger(self):
        before, threads = descriptors(), set(threading.enumerate())
        with self.listener(), inside.limits(HAND_OVER_TIME=0.3):
            self.named_launch("word")
        self.assertEqual(descriptors(), before)
        self.assertLessEqual(set(threading.enumerate()), threads)


# A host of another user at the place of this one.
SQUATTER = """
import sys
from Socket_Singleton import Socket_Singleton
app = Socket_Singleton(sys.argv[2], int(sys.argv[3]), name=sys.argv[1])
app.trace(lambda args: print("got", args, flush=True))
print("host", flush=True)
app.join()
"""
