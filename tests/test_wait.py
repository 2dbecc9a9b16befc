"""`wait`: a launch that waits for the port has it soon, costs little, and else is a second launch."""

from __future__ import annotations

import functools
import math
import os
import signal
import socket
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton, _client

from .support import PATIENCE, PROGRAMS, Collector, free_port, wait_until
from .test_argv import ParameterTestCase

# Seconds from the end of a host until a launch that waits has the port.
PROMISED = 0.05

# How often a trial may be spoiled by what else the machine does.
TRIALS = 40


class Claims:
    """Counts the claims of launches in this process, real ones, while it is entered."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __enter__(self):
        real = socket.socket.bind

        def bind(sock, name):
            try:
                real(sock, name)
            finally:
                self.times.append(time.monotonic())

        self._patch = mock.patch.object(socket.socket, "bind", bind)
        self._patch.start()
        return self

    def __exit__(self, *_):
        self._patch.stop()

    def wait_for_next(self) -> None:
        seen = len(self.times)
        wait_until(lambda: len(self.times) > seen, "another claim")


class TestWait(ParameterTestCase):
    def waiting(self, seconds: float = PATIENCE):
        return self.start(PROGRAMS / "waiting.py", self.port, seconds, ready="waiting")

    # -- how soon --

    def time_to_take(self, end_host) -> float:
        """Return the seconds from ``end_host`` to a waiting launch that is the host, at the worst moment.

        That is just after a claim has failed: what is measured contains the
        whole pause to the next one. So one trial within a bound proves that the
        pause is, and a trial can only fail by what else the machine does.
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

    def test_has_the_port_soon_after_a_release(self):
        trials = []
        while min(trials, default=math.inf) >= PROMISED and len(trials) < TRIALS:
            trials.append(self.time_to_take(Socket_Singleton(port=self.port, strict=False).release))
        self.assertLess(min(trials), PROMISED, trials)

    @unittest.skipIf(os.name == "nt", "no SIGKILL there")
    def test_has_the_port_soon_after_a_kill(self):
        trials = []
        while min(trials, default=math.inf) >= PROMISED and len(trials) < TRIALS:
            host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")

            trials.append(self.time_to_take(functools.partial(os.kill, host.pid, signal.SIGKILL)))
            host.wait()
        self.assertLess(min(trials), PROMISED, trials)

    def test_claims_are_never_further_apart_than_promised(self):
        """By the clock of the launch itself: the median, which other programs spoil less than the longest."""
        self.singleton()
        with Claims() as claims:
            self.second_launch("word", wait=0.5)
        pauses = sorted(after - before for before, after in zip(claims.times, claims.times[1:]))
        self.assertLess(pauses[len(pauses) // 2], PROMISED, pauses)

    def test_a_free_port_is_had_at_once(self):
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
            # The last one told that it had released; now exactly one has it, and the others wait on.
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
                # Threads, because all must have begun to wait long before the first one's time is over.
                apps.append(Socket_Singleton(port=self.port, strict=False, wait=1, argv=[name]))
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
    def test_who_binds_and_is_not_the_first_to_listen_waits_on(self):
        endpoint, real, rivals, taken = _client.Endpoint("127.0.0.1", self.port), socket.socket, [], []

        class Late(socket.socket):
            def listen(self, backlog):
                if not rivals:
                    rival = real()
                    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    rival.bind(self.getsockname())
                    rival.listen()
                    rivals.append(rival)
                super().listen(backlog)

        with Claims() as claims, mock.patch.object(_client.socket, "socket", Late):
            thread = threading.Thread(target=lambda: taken.append(endpoint.claim(PATIENCE)))
            thread.start()
            wait_until(lambda: rivals and len(claims.times) > 3, "it has lost, and claims again")
            self.assertEqual(taken, [])
            rivals[0].close()
            thread.join(PATIENCE)
        with taken[0]:
            self.assertTrue(Socket_Singleton.is_running(port=self.port))

    # -- the end of the wait --

    def test_delivered_when_it_has_waited(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        program = self.finish(self.waiting(0.5))
        self.assertEqual(program.lines[1:], ["second True"])
        observer.wait_for((str(program.pid),))

    def test_few_wake_ups(self):
        self.singleton()
        with Claims() as claims:
            self.second_launch("word", wait=1)
        # The first, one at the end of each pause, and the hand-over's own.
        self.assertLessEqual(len(claims.times), 2 + math.ceil(1 / _client._WAIT_STEP))

    def test_cheap_wake_ups(self):
        """What is done at each takes less than 1 % of the time from one to the next.

        Not measured over real pauses: on a virtual machine that is short of processors, a
        program which only sleeps as often was seen to take 1 to 2 % by itself.
        """
        self.singleton()
        with Claims() as claims, mock.patch.object(_client.time, "sleep", lambda seconds: None):
            before = time.process_time()
            self.second_launch("word", wait=0.2)
            used = time.process_time() - before
        self.assertLess(used / len(claims.times), 0.01 * _client._WAIT_STEP)

    def test_ends_when_it_should(self):
        self.singleton()
        for wait in (0.3, "0.3"):
            with self.subTest(wait=wait):
                begun = time.monotonic()
                self.assertIs(self.second_launch("word", wait=wait).delivered, True)
                took = time.monotonic() - begun
                self.assertGreaterEqual(took, 0.3)
                self.assertLess(took, 0.3 + _client.HAND_OVER_TIME)

    def test_zero_waits_for_nothing(self):
        self.singleton()
        with Claims() as claims, mock.patch.object(_client.time, "sleep", side_effect=AssertionError):
            self.second_launch("word", wait=0)
            self.second_launch("word")
        self.assertEqual(len(claims.times), 2)

    def test_shorter_than_a_pause(self):
        self.singleton()
        begun = time.monotonic()
        with Claims() as claims:
            self.second_launch("word", wait=0.001)
        self.assertEqual(len(claims.times), 2)
        self.assertGreaterEqual(claims.times[1] - begun, 0.001)

    def test_strict_ends_without_a_code_when_delivered(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton(port=sys.argv[1], argv=['word'], wait=0.1)"
        )
        program = self.finish(self.start("-c", code, self.port))
        self.assertEqual((program.out, program.err), ("", ""))
        observer.wait_for(("word",))

    def test_without_client_sends_nothing(self):
        app = self.singleton()
        self.assertIs(self.second_launch("word", wait=0.1, client=False).delivered, None)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_who_holds_the_port_and_does_not_listen_is_told_of(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", self.port))
            with mock.patch.object(_client, "HAND_OVER_TIME", 0.2):
                error = self.second_launch("word", wait=0.1)
        self.assertIs(error.delivered, False)
        self.assertIn(str(self.port), str(error))

    def test_host_is_not_disturbed(self):
        app = self.singleton(release_threshold=2, max_clients=1)
        with Claims() as claims:
            thread = threading.Thread(target=self.second_launch, args=("word",), kwargs={"wait": 0.2})
            thread.start()
            claims.wait_for_next()
            claims.wait_for_next()
            self.assertEqual(app.clients, 0)
            thread.join(PATIENCE)
        wait_until(lambda: app.arguments == (("word",),), "the launch is owned")
        self.assertEqual(app.clients, 1)

    def test_port_that_cannot_be_had_at_all_is_an_error_at_once(self):
        with self.assertRaises(OSError):
            # Of a network for documentation: no machine has this address.
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
        """At each step of it: the socket of that claim is closed, and the port is as it was."""
        for step in ("setsockopt", "bind", "listen"):
            with self.subTest(step=step):
                port = free_port()
                made = []

                class Interrupted(socket.socket):
                    def __init__(self, *args, made=made, **kwargs):
                        super().__init__(*args, **kwargs)
                        made.append(self)

                def interrupt(*args):
                    raise KeyboardInterrupt

                setattr(Interrupted, step, interrupt)
                interrupted = mock.patch.object(_client.socket, "socket", Interrupted)
                with interrupted, self.assertRaises(KeyboardInterrupt):
                    Socket_Singleton(port=port, wait=math.inf)
                self.assertEqual([sock.fileno() for sock in made], [-1])
                self.singleton(port=port, strict=False).release()

    # -- what it is --

    def test_numbers(self):
        for given, kept in ((0, 0), (2, 2), (1.5, 1.5), ("1.5", 1.5), ("3", 3), (math.inf, math.inf)):
            with self.subTest(wait=given):
                app = self.singleton(wait=given)
                self.assertEqual(app.wait, kept)
                self.assertTrue(repr(app).endswith(f", wait={kept})"), repr(app))
                app.release()

    def test_what_is_refused(self):
        for bad in (-1, -0.001, "-1", -math.inf, math.nan, "nan", "soon", "", 10**400):
            self.assert_refused(ValueError, "wait", wait=bad)
        for bad in (None, [], (), {}, object(), 1j):
            self.assert_refused(TypeError, "wait", wait=bad)
