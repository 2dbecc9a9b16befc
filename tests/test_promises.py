"""The promises: what only the whole can show, with real processes."""

from __future__ import annotations

import collections
import functools
import json
import os
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    PROGRAMS,
    Collector,
    SingletonTestCase,
    needs_long_command_lines,
    needs_resets,
    repeats,
    wait_until,
)

LAUNCHES = 300


NOT_STRICT = """
import sys
from src.Socket_Singleton import MultipleSingletonsError, Socket_Singleton
try:
    app = Socket_Singleton(port=int(sys.argv.pop(1)), strict=False)
except MultipleSingletonsError as error:
    print(error.address, error.port, error.delivered)
    print(error)
else:
    print("the host")
"""


CLEAN_UP = """
import sys
from src.Socket_Singleton import Socket_Singleton
try:
    Socket_Singleton(port=int(sys.argv.pop(1)))
except SystemExit as error:
    print("code", error.code)
    raise
finally:
    print("cleaned up")
"""


class TestSingletonEnforcement(SingletonTestCase):
    """One instance: what the second launch of a real program does."""

    def test_first_launch_runs(self):
        self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])

    def test_second_launch_ends_silently_with_status_0(self):
        self.start_host()
        launch = self.run_app("default", self.port, "word")
        self.assertEqual((launch.out, launch.err), ("", ""))

    def test_second_launch_without_client_hands_nothing_over(self):
        host = self.start_host()
        launch = self.run_app("no_client", self.port, "kept back")
        self.assertEqual((launch.out, launch.err), ("", ""))
        self.run_app("default", self.port, "handed over")
        host.expect("handed over")
        self.assertEqual(host.lines, ["Singleton locked", "handed over"])

    def test_second_launch_that_is_not_strict_can_continue(self):
        self.assertEqual(self.run_app("no_strict", self.port).lines, ["Singleton locked"])
        self.start_host()
        self.assertEqual(self.run_app("no_strict", self.port).lines, ["MultipleSingletonsError"])

    def test_not_strict_hands_over_too(self):
        host = self.start_host()
        program = self.finish(self.start("-c", NOT_STRICT, self.port, "from", "a", "lenient", "one"))
        host.expect("from a lenient one")
        self.assertEqual(program.lines[0], f"127.0.0.1 {self.port} True")
        self.assertIn(f"already bound & listening @ 127.0.0.1 on port {self.port}", program.out)

    def test_system_exit_has_no_code_and_cleans_up(self):
        program = self.finish(self.start("-c", CLEAN_UP, self.port))
        self.assertEqual(program.lines, ["cleaned up"])
        self.start_host()
        program = self.finish(self.start("-c", CLEAN_UP, self.port))
        self.assertEqual((program.lines, program.err), (["code None", "cleaned up"], ""))

    def test_next_launch_runs_when_the_first_has_ended(self):
        for _ in range(3):
            self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])

    def test_next_launch_runs_while_a_released_host_still_lives(self):
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton(port=sys.argv[1]).release(); print('released'); sys.stdin.readline()"
        )
        first = self.start("-c", code, self.port, ready="released")
        self.assertEqual(self.run_app("default", self.port).lines, ["Singleton locked"])
        self.assertIsNone(first.process.poll(), "the first one has ended")

    def test_ports_are_independent(self):
        other = self.singleton(port=0)
        self.assertNotEqual(other.port, self.port)
        self.start_host()
        self.assertTrue(other._listening)

    # -- the commands of test_app.py --

    def test_release_command(self):
        self.assertEqual(self.run_app("release", 0, self.port).out, "")
        self.singleton(strict=False)

    def test_release_command_lives_for_the_given_time(self):
        begun = time.monotonic()
        self.assertEqual(self.run_app("release", 0.2, self.port).out, "")
        self.assertGreaterEqual(time.monotonic() - begun, 0.2)

    def test_with_block(self):
        self.assertEqual(self.run_app("context", self.port).lines, ["Singleton locked"])
        self.assertEqual(self.run_app("context", self.port).lines, ["Singleton locked"])

    def test_missing_command_is_an_error(self):
        for words in ((), ("nonsense",)):
            launch = self.run_app(*words, status=1)
            self.assertEqual(launch.out, "")
            self.assertIn("default", launch.err)

    def test_verbose_host_prints_what_its_observer_raised(self):
        host = self.start_app("verbose_host", self.port, PATIENCE, ready="Host ready")
        self.run_app("default", self.port, "word")
        raised = "Observer raise_error raised exception: ValueError: Intentional test exception"
        host.expect(f"Socket_Singleton: {raised}")
        wait_until(lambda: host.err.endswith("\nValueError: Intentional test exception"), "it is logged")
        self.assertEqual(host.err.splitlines()[0], raised)

    def test_max_clients_of_three(self):
        host = self.start_app("max_clients", self.port, ready="Singleton locked")
        for number in range(5):
            launch = self.run_app("default", self.port, number)
            self.assertEqual((launch.out, launch.err), ("", ""))
        host.write("\n")
        self.finish(host)
        self.assertEqual(host.lines, ["Singleton locked", "0", "1", "2"])


class TestArgumentPassing(SingletonTestCase):
    """What was typed is what arrives: with real command lines, as the system passes them."""

    def check(self, *words: bytes) -> None:
        _, observer = self.observed()
        self.run_app("default", str(self.port), *words)
        observer.wait_for(tuple(os.fsdecode(word) for word in words))

    # -- of every kind --

    @needs_long_command_lines
    def test_one_of_120_kilobytes(self):
        self.check(b"x" * 120_000)

    def test_as_many_as_a_windows_command_line_holds(self):
        self.check(*[b"%04d" % number + b"y" * 496 for number in range(60)])

    @needs_long_command_lines
    def test_two_thousand_of_500_bytes(self):
        self.check(*[b"%04d" % number + b"y" * 496 for number in range(2000)])

    def test_empty_ones(self):
        self.check(b"", b"a", b"", b"", b"b", b"")

    def test_newlines_and_control_bytes(self):
        self.check(b"two\nlines\r\n", b"\x06", b"\x15", b"\x1b[0m", b"\x7f\x01")

    def test_unicode(self):
        self.check("caf\u00e9".encode(), "\U0001f600 \u05d0\u200f".encode())

    @unittest.skipIf(os.name == "nt", "command lines are not bytes there")
    def test_bytes_that_are_not_utf8(self):
        self.check(b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xf0\x9f")

    def test_options_and_words_with_spaces_are_unchanged(self):
        _, observer = self.observed()
        words = ("--option=value", "-x", "two words", "'quoted'", "*", "$HOME", "a\\b", "=", "--")
        self.run_app("default", self.port, *words)
        observer.wait_for(words)

    def test_argv_reassigned_before_the_constructor(self):
        _, observer = self.observed()
        self.finish(self.start(PROGRAMS / "say_argv.py", self.port, "typed"))
        observer.wait_for(("not", "what", "was typed"))

    # -- to observers --

    def test_arguments_arrive_as_one_tuple(self):
        _, observer = self.observed()
        self.run_app("default", self.port, "foo", "bar", "baz")
        observer.wait_for(("foo", "bar", "baz"))
        self.assertIsInstance(observer.calls[0], tuple)

    def test_host_prints_what_arrives(self):
        host = self.start_host()
        self.run_app("default", self.port, "hello", "world")
        host.expect("hello world")

    def test_multiple_observers(self):
        app, calls = self.singleton(), []
        app.trace(lambda args: calls.append(("first", args)))
        app.trace(lambda args, *more, **named: calls.append((args, more, named)), 1, 2, three=3)
        self.run_app("default", self.port, "foo")
        wait_until(lambda: len(calls) == 2, "both are called")
        self.assertEqual(calls, [("first", ("foo",)), (("foo",), (1, 2), {"three": 3})])

    def test_multiple_launches_in_order(self):
        app, observer = self.observed()
        for number in range(5):
            self.run_app("default", self.port, number, "of five")
        observer.wait_for(*[(str(number), "of five") for number in range(5)])
        self.assertEqual(app.clients, 5)

    def test_secret_right_wrong_and_missing(self):
        _, observer = self.observed(secret="pa\u00dfwort")
        self.assertIs(self.second_launch("right", secret="pa\u00dfwort").delivered, True)
        for secret in ("wrong", "pa\u00dfwort2", "pa\u00df", None, ""):
            self.assertIs(self.second_launch("not this", secret=secret).delivered, False)
        self.assertIs(self.second_launch("again", secret="pa\u00dfwort").delivered, True)
        observer.wait_for(("right",), ("again",))

    def test_ten_megabytes_from_successive_launches(self):
        """Nothing of one launch remains in the next."""
        _, observer = self.observed()
        sent = [(str(number), letter * 1_000_000) for number, letter in enumerate("abcdefghij")]
        for words in sent:
            self.assertIs(self.second_launch(*words).delivered, True)
        observer.wait_for(*sent)

    def test_observer_registered_while_another_instance_was_the_host(self):
        first = self.singleton()
        self.second_launch("to the first")
        first.release()
        second, observer = self.singleton(strict=False), Collector()
        second.trace(observer)
        self.second_launch("to the second")
        observer.wait_for(("to the second",))
        self.assertEqual(first.arguments, (("to the first",),))


class TestConcurrency(SingletonTestCase):
    """Many launches at once, while the host changes or does not."""

    def launch(self, number: int, **options):
        """Construct; return the host, or the error of a launch that is not the host."""
        try:
            app = Socket_Singleton(port=self.port, strict=False, argv=[str(number)], **options)
        except MultipleSingletonsError as error:
            return error
        self.addCleanup(app.release)
        return app

    def test_simultaneous_processes_are_all_delivered_once(self):
        app, observer = self.observed()
        launches = [self.start_app("default", self.port, number) for number in range(20)]
        for launch in launches:
            self.finish(launch)
            self.assertEqual((launch.out, launch.err), ("", ""))
        wait_until(lambda: len(observer.calls) >= 20, "all are delivered")
        self.assertEqual(sorted(observer.calls), sorted((str(number),) for number in range(20)))
        self.assertEqual(app.clients, 20)

    def test_simultaneous_first_launches_without_client_make_one_host(self):
        """Two launches that make each other's listen fail must not both take the other for a host."""
        for _ in range(20):
            results = self.at_once(10, functools.partial(self.launch, client=False))
            (host,) = [result for result in results if isinstance(result, Socket_Singleton)]
            self.assertEqual([error.delivered for error in results if error is not host], [None] * 9)
            host.release()

    @needs_resets
    def test_launches_while_hosts_release(self):
        """Each launch is a host or is owned by one: nothing is lost between two hosts."""
        owned, hosts, lock = [], [], threading.Lock()

        def launches(number):
            for word in range(20):
                result = self.launch(number * 20 + word)
                if isinstance(result, Socket_Singleton):
                    result.release()
                    with lock:
                        hosts.append(number * 20 + word)
                        owned.extend(int(args[0]) for args in result.arguments)
                elif result.delivered is not True:
                    return result
            return None

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        self.addCleanup(sys.setswitchinterval, interval)
        self.assertEqual(self.at_once(6, launches), [None] * 6)
        self.assertEqual(sorted(owned + hosts), list(range(120)))
        self.assertGreater(len(hosts), 0)

    @needs_resets
    def test_changing_hosts_lose_and_duplicate_nothing(self):
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
                        Socket_Singleton.send([word], port=self.port, timeout=PATIENCE)
                        owned.append(word)
                    except ConnectionRefusedError:  # so nobody has it
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

        wait_until(lambda: len(got()) >= len(owned), "everything that was owned has arrived")
        self.assertEqual(sorted(got()), sorted((word,) for word in owned))

    def test_traces_and_releases_from_many_threads(self):
        app = self.singleton()
        observers = [Collector() for _ in range(20)]

        def use(number):
            app.trace(observers[number])
            self.assertEqual(self.exchange(b"%d\0" % number), ACK)
            return repr(app), app.arguments, app.clients

        for result in self.at_once(20, use):
            self.assertIsInstance(result, tuple)
        # Each launch reached at least its own observer, which was registered before it.
        for number, observer in enumerate(observers):
            wait_until(lambda n=number, o=observer: (str(n),) in o.calls, f"launch {number} is delivered")
            self.assertEqual(observer.calls.count((str(number),)), 1)
        self.assertEqual(self.at_once(20, lambda number: app.release()), [None] * 20)
        self.assertFalse(app._listening)


@unittest.skipUnless(hasattr(os, "fork"), "the launches of this test are forked")
class TestBursts(SingletonTestCase):
    def burst(self, count: int) -> list:
        program = self.finish(self.start(PROGRAMS / "burst.py", self.port, count))
        self.assertEqual(program.lines.pop(), "done")
        self.assertEqual(program.err, "")
        self.assertEqual(len(program.lines), count, program.describe())
        return [json.loads(line) for line in program.lines]

    def test_two_hundred_simultaneous_second_launches(self):
        app, observer = self.observed()
        for result in self.burst(200):
            self.assertEqual(result[:2], ["delivered", True], result)
        self.assertEqual(app.clients, 200)
        wait_until(lambda: len(observer.calls) >= 200, "all are delivered")
        self.assertEqual(sorted(int(args[0]) for args in observer.calls), list(range(200)))

    def test_fifty_simultaneous_first_launches(self):
        for _ in repeats(20):
            results = self.burst(50)
            hosts = [result for result in results if result[0] == "host"]
            self.assertEqual(len(hosts), 1, results)
            others = [result for result in results if result[0] != "host"]
            self.assertEqual([result[:2] for result in others], [["delivered", True]] * 49, others)
            numbers = [int(args[0]) for args in hosts[0][1]]
            self.assertEqual(len(set(numbers)), 49)
            self.assertEqual(len(numbers), 49)


@unittest.skipUnless(hasattr(os, "fork"), "the launches of these tests are forked")
class TestHostChanges(SingletonTestCase):
    """Every launch was a host or was delivered exactly once, and there were never two hosts at a time."""

    def test_hosts_that_release(self):
        self.assertEqual(self.churn("release")["killed with its host"], 0)

    def test_hosts_that_time_out(self):
        self.assertEqual(self.churn("timeout")["killed with its host"], 0)

    def test_hosts_that_reach_their_threshold(self):
        self.assertEqual(self.churn("threshold")["killed with its host"], 0)

    def test_hosts_that_are_killed(self):
        # A killed host loses what it has left in `arguments`, and what its observer
        # was just about to be called with: at most one launch for each host.
        counts = self.churn("kill")
        self.assertLessEqual(counts["killed with its host"], counts["host"])

    def churn(self, how: str) -> collections.Counter:
        with tempfile.TemporaryDirectory() as folder:
            program = self.start(PROGRAMS / "churn.py", self.port, LAUNCHES, how, Path(folder, "witness"))
            self.finish(program)
        self.assertEqual(program.err, "")
        self.assertEqual(program.lines.pop(), "done")
        lines = [line.split(" ", 2) for line in program.lines]
        counts = collections.Counter(line[0] for line in lines)
        for never in ("two", "failed", "unsure"):
            self.assertEqual(counts[never], 0, [line for line in lines if line[0] == never])
        ended = {
            kind: [line[1] for line in lines if line[0] == kind]
            for kind in ("host", "delivered", "got", "left")
        }
        self.assertGreater(counts["host"], 2)
        self.assertGreater(counts["delivered"], LAUNCHES / 4)
        self.assertEqual(
            sorted(ended["host"] + ended["delivered"], key=int), [str(n) for n in range(LAUNCHES)]
        )
        self.assertEqual(len(set(ended["got"])), len(ended["got"]), "some were delivered twice")
        lost = set(ended["delivered"]) - set(ended["got"]) - set(ended["left"])
        # A launch that was killed with its host is none of the above; no other launch is.
        self.assertEqual(set(ended["got"]) - set(ended["delivered"]), set())
        counts["killed with its host"] = len(lost)
        return counts
