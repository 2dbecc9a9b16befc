"""What an observer says to a launch that asked, and how that ends with it; `join`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    PROGRAMS,
    Collector,
    NamedTestCase,
    Program,
    Shelf,
    SingletonTestCase,
    Stopwatch,
    descriptors,
    inside,
    needs_resets,
    wait_until,
)

# How a program ends that Ctrl-C ends: by the signal, since Python 3.8.
INTERRUPTED = -signal.SIGINT if sys.version_info >= (3, 8) else 1

LONG = "\u00e9\U0001f600 " * 700_000  # more than 5 MB on the wire


class Awkward:
    """Is no answer, and says so in its own way."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name} here")


class NoText(Exception):
    def __str__(self):
        raise ValueError("no text")


class Refuses:
    """Looks like a future, and does not take a callback."""

    def add_done_callback(self, callback):
        raise ValueError("no callbacks here")


class Followed(concurrent.futures.Future):
    """A future that tells when somebody waits for what it will hold."""

    def __init__(self) -> None:
        super().__init__()
        self.followed = threading.Event()

    def add_done_callback(self, callback) -> None:
        super().add_done_callback(callback)
        self.followed.set()


def done(result=None, error=None):
    """Return a future that is done."""
    future = concurrent.futures.Future()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
    return future


def cancelled():
    future = concurrent.futures.Future()
    future.cancel()
    return future


# What an observer returns or raises; the answer, or the text of an error; whether it is logged.
ANSWERS = (
    (None, None, False),
    (0, 0, False),
    (1, 1, False),
    (255, 255, False),
    ("", "", False),
    ("done", "done", False),
    ("two\nlines \u00e9\U0001f600\0", "two\nlines \u00e9\U0001f600\0", False),
    ("lone \ud800 and \udcff", "lone \\ud800 and \\udcff", False),
    (SystemExit(), None, False),
    (SystemExit(0), 0, False),
    (SystemExit(7), 7, False),
    (SystemExit(256 + 7), 7, False),
    (SystemExit(-1), 255, False),
    (SystemExit(True), 1, False),
    (SystemExit("why"), RuntimeError("why"), False),
    (SystemExit(("a", 1)), RuntimeError("('a', 1)"), False),
    (SystemExit(NoText()), RuntimeError("ValueError: no text"), False),
    (ValueError("bad"), RuntimeError("ValueError: bad"), True),
    (KeyError("bad"), RuntimeError("KeyError: 'bad'"), True),
    (KeyboardInterrupt(), RuntimeError("KeyboardInterrupt"), True),
    (NoText(), RuntimeError("NoText"), True),
    (256, RuntimeError("int is no answer"), True),
    (-1, RuntimeError("int is no answer"), True),
    (True, RuntimeError("bool is no answer"), True),
    (False, RuntimeError("bool is no answer"), True),
    (1.0, RuntimeError("float is no answer"), True),
    (b"bytes", RuntimeError("bytes is no answer"), True),
    (("a",), RuntimeError("tuple is no answer"), True),
    (Awkward(), RuntimeError("RuntimeError: no add_done_callback here"), True),
    (Refuses(), RuntimeError("ValueError: no callbacks here"), True),
    (concurrent.futures.Future, RuntimeError("TypeError: "), True),
    (done(), None, False),
    (done(3), 3, False),
    (done("done"), "done", False),
    (done(error=SystemExit(4)), 4, False),
    (done(error=SystemExit("why")), RuntimeError("why"), False),
    (done(error=ValueError("bad")), RuntimeError("ValueError: bad"), True),
    (done(True), RuntimeError("bool is no answer"), True),
    (done(done()), RuntimeError("Future is no answer"), True),
    (cancelled(), RuntimeError("CancelledError"), True),
)


class AnswersTestCase(NamedTestCase):
    def answering(self, observer, **options) -> Socket_Singleton:
        """Return a host with ``observer``."""
        app = self.named(**options)
        app.trace(observer)
        return app

    def outcome_of_asking(self, *words: str, **options):
        """Return what `ask` returns, or the error."""
        try:
            return self.ask(*words, **options)
        except Exception as error:
            return error

    def asking_in_background(self, *words: str, **options) -> list:
        """Ask in a thread; return a list that gets what comes of it."""
        outcomes = []
        self.in_background(lambda: outcomes.append(self.outcome_of_asking(*words, **options)))
        return outcomes

    def start_host(self, **options) -> Program:
        return self.start(PROGRAMS / "answering.py", self.name, ready="host", **options)

    def start_launch(self, *words: str, **options) -> Program:
        env = {"ANSWER": "1", **options.pop("env", {})}
        return self.start(PROGRAMS / "answering.py", self.name, *words, env=env, **options)

    def assert_lost(self, outcomes: list) -> None:
        wait_until(lambda: outcomes, "the wait is over")
        self.assertIs(type(outcomes[0]), ConnectionError)
        self.assertIn("it may have acted upon it", str(outcomes[0]))
        self.assertIn(self.name, str(outcomes[0]))


class TestAnswers(AnswersTestCase):
    # -- the table --

    def observer_of(self, result):
        def observer(args):
            if isinstance(result, BaseException):
                raise result
            return result

        return observer

    def check_answers(self, app, ask) -> None:
        """Have each of `ANSWERS` be the answer, and check what ``ask()`` returns or raises."""
        for result, expected, logged in ANSWERS:
            with self.subTest(result=type(result), expected=expected):
                observer = self.observer_of(result)
                app.trace(observer)
                with mock.patch("logging.Logger.error") as log:
                    got = ask()
                if isinstance(expected, Exception):
                    self.assertIs(type(got), RuntimeError)
                    self.assertTrue(str(got).startswith(str(expected)), got)
                else:
                    self.assertEqual((type(got), got), (type(expected), expected))
                self.assertIs(log.called, logged)
                app.untrace(observer)

    def test_each_answer(self):
        self.check_answers(self.named(), lambda: self.outcome_of_asking("a"))

    def test_each_answer_under_dispatch(self):
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            app = self.named(dispatch=executor.submit)
            self.check_answers(app, lambda: self.outcome_of_asking("a"))

    def test_each_answer_of_an_overridden_append_args(self):
        class App(Socket_Singleton):
            def _append_args(self, args):
                return super()._append_args(args)

        app = App(name=self.name)
        self.addCleanup(app.release)
        self.check_answers(app, lambda: self.outcome_of_asking("a"))

    def test_overridden_append_args_answers(self):
        class App(Socket_Singleton):
            def _append_args(self, args):
                if args == ("fail",):
                    raise ValueError("bad")
                if args == ("exit",):
                    raise SystemExit(3)
                return f"heard {args}"

        app = App(name=self.name)
        self.addCleanup(app.release)
        self.assertEqual(self.ask("a", "b"), "heard ('a', 'b')")
        with mock.patch("logging.Logger.error") as logged:
            self.assertEqual(self.ask("exit"), 3)
        logged.assert_not_called()
        with mock.patch("logging.Logger.error"), self.assertRaisesRegex(RuntimeError, "^ValueError: bad$"):
            self.ask("fail")

    def test_first_observer_that_returns_something_answers(self):
        app, calls = self.named(), Collector()
        app.trace(calls)
        app.trace(lambda args: None)
        app.trace(lambda args: "first")
        app.trace(lambda args: 5)
        app.trace(lambda args: calls(("last",)))
        self.assertEqual(self.ask("a"), "first")
        calls.wait_for(("a",), ("last",))

    def test_a_future_that_holds_none_is_an_answer(self):
        app = self.named()
        app.trace(lambda args: done(None))
        app.trace(lambda args: "second")
        self.assertIsNone(self.ask("a"))

    def test_what_is_returned_to_launches_that_do_not_ask_is_ignored(self):
        calls = Collector()
        for result in (True, "text", Awkward(), Refuses()):
            app = self.answering(lambda args, result=result: (calls(args), result)[1])
            with mock.patch("logging.Logger.error") as log:
                self.assertIs(self.named_launch("a").delivered, True)
                Socket_Singleton.send(("b",), name=self.name)
                calls.wait_for(("a",), ("b",))
                app.release()
            self.assertFalse(log.called)
            calls.calls.clear()

    # -- how a launch ends with it --

    def test_launch_ends_with_the_answer(self):
        host = self.start_host()
        for words, status, out, err in (
            (("nothing",), 0, "", ""),
            ((), 0, "", ""),
            (("number", "0"), 0, "", ""),
            (("number", "42"), 42, "", ""),
            (("text", "two words \u00e9"), 0, "two words \u00e9", ""),
            (("exit", "3"), 3, "", ""),
            (("exit-text", "not now"), 1, "", "not now"),
            (("raise", "bad"), 1, "", "ValueError: bad"),
            (("bool",), 1, "", "bool is no answer"),
            (("bytes",), 1, "", "bytes is no answer"),
            (("release", "the last words"), 0, "the last words", ""),
        ):
            with self.subTest(words=words):
                launch = self.finish(self.start_launch(*words), status)
                self.assertEqual((launch.out, launch.err), (out, err))
        self.assertIn("ValueError: bad", host.err)
        self.assertNotIn("not now", host.err)

    def test_launch_that_is_not_strict_gets_the_answer_in_its_error(self):
        results = {"text": "two words", "number": 9, "none": None}
        self.answering(lambda args: results[args[0]])
        for kind, answer in results.items():
            error = self.named_launch(kind, answer=True)
            self.assertEqual((error.delivered, error.answer, error.pid), (True, answer, os.getpid()))
            self.assertIn("already bound & listening", str(error))
        with mock.patch("logging.Logger.error"):
            error = self.named_launch("fail", answer=True)
        self.assertEqual((error.delivered, error.answer), (True, None))
        self.assertEqual(str(error), "KeyError: 'fail'")
        self.assertIsNone(self.named_launch("text").answer)

    def test_for_the_host_it_changes_nothing(self):
        app = self.answering(lambda args: "yes", answer=True)
        self.assertTrue(app.answer)
        self.assertEqual(self.ask("a"), "yes")

    def test_text_that_stdout_cannot_encode_is_escaped(self):
        self.start_host()
        for encoding, shown in (
            ("ascii", "\\xe9\\u20ac\\U0001f600"),
            ("latin-1", "\udce9\\u20ac\\U0001f600"),
        ):
            env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
            with self.subTest(encoding):
                launch = self.start_launch("text", "\u00e9\u20ac\U0001f600", env=env)
                self.assertEqual(self.finish(launch).out, shown)

    def test_stdout_that_takes_no_answer(self):
        """The status tells it, and a line on stderr."""
        self.start_host()
        if os.path.exists("/dev/full"):
            with open("/dev/full", "wb") as full:
                launch = self.finish(self.start_launch("text", "hello", stdout=full), 1)
            self.assertIn("the answer could not be printed", launch.err)
            self.assertNotIn("Exception ignored", launch.err)
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as nobody:
            launch = self.finish(self.start_launch("text", "hello", stdout=nobody), 1)
        self.assertIn("the answer could not be printed", launch.err)
        self.assertNotIn("Exception ignored", launch.err)

    def test_program_without_a_stdout(self):
        self.answering(lambda args: "text")
        with mock.patch.object(sys, "stdout", None), self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, answer=True, argv=["a"])
        self.assertIsNone(caught.exception.code)

    def test_long_texts(self):
        self.answering(lambda args: LONG if args == ("long",) else args[0])
        self.assertEqual(self.ask("long"), LONG)
        self.assertEqual(self.ask(LONG), LONG)
        with mock.patch.object(sys, "stdout", io.StringIO()) as out, self.assertRaises(SystemExit):
            Socket_Singleton(name=self.name, answer=True, argv=["long"])
        self.assertEqual(out.getvalue(), LONG + "\n")

    # -- `ask` --

    def test_errors_of_ask(self):
        for options in ({}, {"secret": "a long one"}):
            with self.assertRaisesRegex(ConnectionRefusedError, self.name):
                self.ask("a", **options)
        app = self.named()
        with self.assertRaisesRegex(TimeoutError, self.name):
            self.ask("a", timeout=1)  # which must do for the hand-over
        self.assertEqual(app.arguments, (("a",),))
        with self.assertRaisesRegex(ConnectionError, f"{self.name}.*another secret"):
            self.ask("a", secret="a long one")
        for options in ({"argv": "a"}, {"argv": [1]}, {"timeout": -1, "argv": []}):
            with self.assertRaises((TypeError, ValueError)):
                Socket_Singleton.ask(**{"name": self.name, **options})

    def test_ask_of_a_host_that_takes_no_more(self):
        app = self.answering(lambda args: "yes", max_clients=1)
        self.assertEqual(self.ask("a"), "yes")
        with self.assertRaisesRegex(ConnectionError, "max_clients"):
            self.ask("a")
        error = self.named_launch("a", answer=True)
        self.assertEqual((error.delivered, error.answer), (False, None))
        self.assertEqual(app.clients, 3)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_hand_over_has_two_seconds_whatever_the_answer_has(self):
        host = self.start_host()
        with host.stopped(), Stopwatch() as took, self.assertRaisesRegex(TimeoutError, "not confirmed"):
            self.ask("a", timeout=PATIENCE)
        self.assertLess(took.seconds, inside.limit("HAND_OVER_TIME") + 1)

    def test_ask_from_the_command_line(self):
        self.start_host()
        for words, status, out, err in (
            (("text", "two words"), 0, "two words", ""),
            (("number", "5"), 5, "", ""),
            (("exit-text", "not now"), 1, "", "not now"),
            ((), 0, "", ""),
        ):
            with self.subTest(words=words):
                asked = self.start("-m", "Socket_Singleton", "ask", "--name", self.name, "--", *words)
                self.finish(asked, status)
                self.assertEqual((asked.out, asked.err), (out, err))
        asked = self.start("-m", "Socket_Singleton", "ask", "--", "a")
        self.assertIn("ask needs --name", self.finish(asked, 2).err)
        asked = self.start("-m", "Socket_Singleton", "ask", "--name", f"{self.name} 2", "--", "a")
        self.assertIn("nobody listens", self.finish(asked, 1).err)

    # -- those that wait --

    def test_no_observer_yet(self):
        app = self.named()
        outcomes = self.asking_in_background("a")
        wait_until(lambda: app.arguments, "it waits for an observer")
        self.assertEqual(outcomes, [])
        app.trace(lambda args: "at last")
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(outcomes, ["at last"])

    def test_no_arguments(self):
        app = self.answering(lambda args: f"got {args}")
        self.assertIsNone(self.ask())
        app.notify_empty = True
        self.assertEqual(self.ask(), "got ()")
        self.assertEqual(self.ask(""), "got ('',)")

    def test_dropped_launch_is_told(self):
        with inside.limits(MAX_WAITING=1000):
            app = self.named()
            outcomes = self.asking_in_background("a")
            wait_until(lambda: app.arguments, "it waits for an observer")
            for _ in range(10):
                Socket_Singleton.send(["b" * 100], name=self.name)
            self.assert_lost(outcomes)

    def test_launch_that_dispatch_throws_away_is_told(self):
        shelf = Shelf()
        self.answering(lambda args: "never", dispatch=shelf)
        outcomes = self.asking_in_background("a")
        shelf.wait_for(1)
        shelf.throw_away()
        self.assert_lost(outcomes)

    def test_launch_that_a_finalizer_throws_away_is_told(self):
        """It may run anywhere, also on the I/O thread just before that sleeps, which it then may not."""
        shelf = Shelf()
        app = self.answering(lambda args: "never", dispatch=shelf)
        outcomes = self.asking_in_background("a")
        shelf.wait_for(1)
        with inside.on_the_io_thread(app, shelf.throw_away):
            Socket_Singleton.send(["b"], name=self.name)
            self.assert_lost(outcomes)

    def test_host_needs_no_more_files_once_it_runs(self):
        """They may be another version's by then, or gone."""
        app = self.named()
        with mock.patch.dict(sys.modules, {"Socket_Singleton._answers": None}):
            launch = inside.LaunchThatDoesNotRead(self.name, ("a",))
            self.addCleanup(launch.close)
            wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        self.assertTrue(app._listening)

    def test_future_that_is_done_after_the_hand_over_was_over(self):
        """The wait has no deadline but the caller's: no clock of the host's ends it."""
        future = concurrent.futures.Future()
        app = self.answering(lambda args: future)
        outcomes = self.asking_in_background("a")
        wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        with inside.host_clock(ahead=24 * 3600):
            for _ in range(3):
                self.connect()
                Socket_Singleton.send([], name=self.name)
        self.assertEqual(outcomes, [])
        future.set_result("done")
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(outcomes, ["done"])

    def test_wait_that_is_longer_than_a_socket_waits(self):
        future, over = concurrent.futures.Future(), []

        class Waiting(inside.LaunchSocket):
            def recv(self, size):
                try:
                    return super().recv(size)
                except socket.timeout:
                    over.append(size)
                    raise

        self.answering(lambda args: future)
        with inside.limits(LONGEST_WAIT=0.05), inside.sockets_of_launches(Waiting):
            outcomes = self.asking_in_background("a")
            wait_until(lambda: len(over) > 1, "a socket has waited")
            self.assertEqual(outcomes, [])
            future.set_result("done")
            wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(outcomes, ["done"])

    def test_futures_of_asyncio(self):
        loop = asyncio.new_event_loop()

        def run():
            asyncio.set_event_loop(loop)
            loop.run_forever()

        thread = self.in_background(run)

        async def work(args):
            await asyncio.sleep(0)
            if args == ("fail",):
                raise SystemExit(3) if sys.version_info < (3, 7) else ValueError("bad")
            return f"worked on {args[0]}"

        by_name = {
            "threadsafe": ({}, lambda args: asyncio.run_coroutine_threadsafe(work(args), loop)),
            "task": ({"dispatch": loop.call_soon_threadsafe}, lambda args: loop.create_task(work(args))),
        }
        try:
            for way, (options, observer) in by_name.items():
                with self.subTest(way):
                    app = self.answering(observer, **options)
                    self.assertEqual(self.ask("a"), "worked on a")
                    with mock.patch("logging.Logger.error"):
                        self.assertIn("ValueError: bad", str(self.outcome_of_asking("fail")))
                    app.release()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            self.join(thread)
            loop.close()

    def test_twenty_that_wait_keep_nobody_waiting(self):
        futures = []

        def observer(args):
            if args[0] == "later":
                futures.append(concurrent.futures.Future())
                return futures[-1]
            return args[0]

        app = self.answering(observer)
        outcomes = [self.asking_in_background("later", str(number)) for number in range(20)]
        wait_until(lambda: len(futures) == 20, "all wait")
        with Stopwatch() as took:
            for _ in range(20):
                self.assertEqual(self.ask("now"), "now")
                self.assertTrue(self.named_launch("a").delivered)
        self.assertLess(took.seconds, 2)
        # Ordinary peers, more than there is room for, are not in their way.
        with inside.limits(MAX_PEERS=5):
            for _ in range(20):
                self.connect()
            wait_until(lambda: inside.count_peers(app) == 25, "the others went")
        self.assertEqual([outcome for outcome in outcomes if outcome], [])
        for number, future in enumerate(futures):
            future.set_result(number)
        wait_until(lambda: all(outcomes), "all are answered")
        self.assertEqual(sorted(outcome[0] for outcome in outcomes), list(range(20)))

    def test_more_than_can_wait_are_told_at_once(self):
        with inside.limits(MAX_ASKING=3):
            app = self.named()
            waiting = [self.asking_in_background(str(number)) for number in range(3)]
            wait_until(lambda: inside.count_asking(app) == 3, "three wait")
            with Stopwatch() as took, self.assertRaisesRegex(ConnectionError, "too many launches wait"):
                self.ask("one more")
            error = self.named_launch("one more", answer=True)
            self.assertLess(took.seconds, 1)
            self.assertIs(error.delivered, False)
            self.assertIn("too many launches wait", str(error))
            self.assertTrue(self.named_launch("does not ask").delivered)
            self.assertEqual(app.clients, 4)
            app.trace(lambda args: "yes")
            wait_until(lambda: all(waiting), "all are answered")
            self.assertEqual(self.ask("again"), "yes")

    def test_launch_that_is_killed_while_it_waits_leaves_nothing(self):
        future = concurrent.futures.Future()
        app = self.answering(lambda args: future)
        before = descriptors()
        launches = [self.start_launch("a") for _ in range(3)]
        wait_until(lambda: inside.count_asking(app) == 3, "they wait")
        for launch in launches:
            launch.kill()
        wait_until(lambda: inside.count_asking(app) == 0, "nothing is left")
        future.set_result("too late")
        wait_until(lambda: descriptors() == before, "no descriptor is left")
        app.untrace(next(iter(app._observers)))
        app.trace(lambda args: "goes on")
        self.assertEqual(self.ask("a"), "goes on")

    def test_launch_that_is_killed_while_it_gets_a_long_answer(self):
        app = self.answering(lambda args: "x" * 50_000_000)
        before = descriptors()
        launch = inside.LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        self.assertTrue(self.named_launch("another one").delivered)
        launch.close()
        wait_until(lambda: descriptors() == before, "no descriptor is left")

    def test_launch_whose_answer_the_system_does_not_send_is_told(self):
        text = "text"
        kind = inside.failing(
            "send", OSError(errno.ENOBUFS, "no buffers"), when=lambda data, *_: data[5:] == text.encode()
        )
        with inside.sockets_of_peers(kind):
            self.answering(lambda args: text)
            self.assert_lost([self.outcome_of_asking("a")])
            self.assertEqual(len(kind.failed), 1)
            self.assertEqual(self.ask("a"), text)

    def test_launch_that_the_system_does_not_watch_is_told(self):
        """It had to wait for room; what it brought is owned all the same."""
        self.enter(inside.limits(MAX_WAITING=1000, HOLD_TIME=PATIENCE))
        shelf, calls = Shelf(), Collector()
        app = self.answering(calls, dispatch=shelf)
        Socket_Singleton.send(["a" * 700], name=self.name)
        shelf.wait_for(1)
        outcomes = self.asking_in_background("b" * 700)
        wait_until(lambda: inside.count_held(app) == 1, "it waits for room")
        with inside.no_memory_to_watch(app) as watch:
            shelf.run()
            self.assert_lost(outcomes)
        watch.assert_called_once()
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(calls.calls, [("a" * 700,), ("b" * 700,)])
        app.dispatch = None
        self.assertIsNone(self.ask("c"))

    @unittest.skipUnless(os.name == "posix", "signals of POSIX")
    def test_interrupt_ends_the_wait(self):
        host = self.start_host()
        launches = [
            self.start_launch("never"),
            self.start("-m", "Socket_Singleton", "ask", "--name", self.name, "--", "never"),
        ]
        host.expect("got ('never',)", 2)
        for launch, status in zip(launches, (INTERRUPTED, 130)):
            os.kill(launch.pid, signal.SIGINT)
            self.finish(launch, status)

    # -- the end of the host --

    def test_release_ends_all_waits(self):
        app = self.answering(lambda args: concurrent.futures.Future())
        outcomes = [self.asking_in_background(str(number)) for number in range(5)]
        wait_until(lambda: inside.count_asking(app) == 5, "they wait")
        with Stopwatch() as took:
            app.release()
            for outcome in outcomes:
                self.assert_lost(outcome)
        self.assertLess(took.seconds, 1)

    def test_wait_for_the_first_observer_ends_with_release(self):
        app = self.named()
        outcomes = self.asking_in_background("a")
        wait_until(lambda: app.arguments, "it waits for an observer")
        app.release()
        self.assert_lost(outcomes)
        self.assertEqual(app.arguments, (("a",),))

    def test_host_that_ends_by_itself_still_answers(self):
        """At its threshold or its timeout; the port is given up, the answer comes when it is there."""
        for options in ({"release_threshold": 2}, {"timeout": 0.3}):
            with self.subTest(options):
                futures = []

                def observer(args, futures=futures):
                    futures.append(concurrent.futures.Future())
                    return futures[-1]

                app = self.answering(observer, **options)
                waiting = [self.asking_in_background("1")]
                wait_until(lambda app=app: inside.count_asking(app) == 1, "it waits")
                if "timeout" not in options:
                    waiting.append(self.asking_in_background("2"))
                self.assertTrue(app.join(PATIENCE))
                asked = len(waiting)
                wait_until(lambda futures=futures, asked=asked: len(futures) == asked, "it has them all")
                inside.io_thread(app).join(PATIENCE)
                futures[0].set_result("at last")
                wait_until(lambda first=waiting[0]: first, "it is answered")
                self.assertEqual(waiting[0], ["at last"])
                # A release ends those that still wait.
                app.release()
                for outcomes in waiting[1:]:
                    self.assert_lost(outcomes)

    def test_end_and_kill_of_the_host_are_told(self):
        for how in ("end", "kill"):
            with self.subTest(how):
                host = self.start_host()
                waiting = [self.start_launch("never") for _ in range(2)]
                host.expect("got ('never',)", 2)
                last = self.start_launch(how)
                for launch in (*waiting, last):
                    self.finish(launch, 1)
                    self.assertIn("it may have acted upon", launch.err.replace("been ", ""))
                    self.assertIn(self.name, launch.err)
                host.wait()

    def test_error_of_a_launch_whose_host_ended(self):
        app = self.answering(lambda args: concurrent.futures.Future())
        errors = []
        self.in_background(lambda: errors.append(self.error_of_launch("a", answer=True)))
        wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        app.release()
        wait_until(lambda: errors, "it is told")
        self.assertEqual((errors[0].delivered, errors[0].answer), (True, None))
        self.assertIn("may have been acted upon", str(errors[0]))

    def test_answers_that_are_there_are_sent_before_the_end(self):
        """An answer in time is not lost to a release that comes at once behind it."""
        for _ in range(20):
            future = Followed()
            app = self.answering(lambda args, future=future: future)
            outcomes = self.asking_in_background("a")
            self.assertTrue(future.followed.wait(PATIENCE))
            future.set_result("x" * 10_000)
            app.release()
            wait_until(lambda outcomes=outcomes: outcomes, "it is answered")
            self.assertEqual(outcomes, ["x" * 10_000])

    def test_long_answer_that_is_on_its_way_is_sent_to_its_end(self):
        app = self.answering(lambda args: "x" * 50_000_000)
        launch = inside.LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        with inside.limits(LAST_WORDS_TIME=PATIENCE):
            release = self.in_background(app.release)
            wait_until(lambda: not app._listening, "the host is at its end")
            size = len(launch.read())
            self.join(release)
        self.assertEqual(size, len(ACK) + 5 + 50_000_000)

    def test_launch_that_does_not_read_holds_no_release_up(self):
        app = self.answering(lambda args: "x" * 50_000_000)
        launch = inside.LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        with Stopwatch() as took:
            app.release()
        self.assertLess(took.seconds, 1)

    def test_observer_that_releases_is_answered_by_what_it_returns(self):
        before = descriptors()
        released = threading.Event()

        def observer(args):
            app.release()
            released.set()
            return done("released") if args == ("future",) else LONG

        for words, dispatch in ((("a",), None), (("future",), None), (("a",), lambda call: call())):
            with self.subTest(words=words, dispatch=dispatch):
                app = self.answering(observer, dispatch=dispatch)
                released.clear()
                answer = self.ask(*words)
                self.assertEqual(answer, "released" if words == ("future",) else LONG)
                self.assertTrue(released.is_set())
                self.assertFalse(app._listening)
        wait_until(lambda: descriptors() == before, "no descriptor is left")

    def test_observer_that_releases_and_raises(self):
        def observer(args):
            app.release()
            raise SystemExit("gone")

        app = self.answering(observer)
        self.assertEqual(str(self.outcome_of_asking("a")), "gone")

    def test_observer_that_runs_another_launch_and_releases(self):
        """As one that opens a dialogue, whose loop goes on: each launch has its own answer."""
        shelf = Shelf()

        def observer(args):
            if args == ("first",):
                shelf.wait_for(1)
                shelf.run()
                app.release()
            return args[0]

        app = self.answering(observer, dispatch=shelf)
        first = self.asking_in_background("first")
        shelf.wait_for(1)
        run_first = shelf.calls.pop()
        second = self.asking_in_background("second")
        run_first()
        wait_until(lambda: first and second, "both are answered")
        self.assertEqual((first, second), (["first"], ["second"]))

    def test_launch_that_has_gone_before_the_observer_that_released_answers(self):
        before, gone, threads = descriptors(), threading.Event(), []

        def observer(args):
            threads.append(threading.current_thread())
            app.release()
            gone.wait(PATIENCE)
            return LONG

        app = self.answering(observer)
        launch = inside.LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        self.assertTrue(app.join(PATIENCE))
        with mock.patch("logging.Logger.error") as logged:
            launch.close()
            gone.set()
            self.join(threads[0])
        logged.assert_not_called()
        self.assertEqual(descriptors(), before)

    def test_answer_to_a_launch_that_a_release_has_ended_touches_nobodys_connection(self):
        future = Followed()
        kind = inside.failing("settimeout", AssertionError("it is nobody's"))
        with inside.sockets_of_peers(kind):
            app = self.answering(lambda args: future)
            outcomes = self.asking_in_background("a")
            self.assertTrue(future.followed.wait(PATIENCE))
            app.release()
            self.assert_lost(outcomes)
            future.set_result("too late")
        self.assertEqual(kind.failed, [])

    def test_the_next_host_answers_while_the_last_one_does(self):
        """What a release kept open for one answer is not in the way of the next host."""
        went_on, first = threading.Event(), []

        def observer(args):
            app.release()
            went_on.wait(PATIENCE)
            return "the last"

        app = self.answering(observer)
        first = self.asking_in_background("a")
        self.assertTrue(app.join(PATIENCE))
        self.answering(lambda args: "the next")
        self.assertEqual(self.ask("a"), "the next")
        went_on.set()
        wait_until(lambda: first, "it is answered")
        self.assertEqual(first, ["the last"])

    @needs_resets
    def test_releases_at_every_moment(self):
        """Each that asks ends in one of the ways there are, and none that was answered was not heard."""
        for number in range(60):
            heard = Collector()
            app = self.answering(lambda args, heard=heard: (heard(args), "yes")[1])
            outcomes = self.asking_in_background("a")
            for _ in range(number * 20):
                pass
            if number % 2:
                wait_until(lambda app=app: app.clients or not app._listening, "it is owned")
            app.release()
            wait_until(lambda outcomes=outcomes: outcomes, "it ended")
            outcome = outcomes[0]
            if outcome == "yes":
                self.assertEqual(heard.calls, [("a",)])
            else:
                self.assertIsInstance(outcome, ConnectionError)
                if isinstance(outcome, ConnectionRefusedError):
                    self.assertEqual((heard.calls, app.arguments), ([], ()))

    @unittest.skipUnless(hasattr(os, "fork"), "this system does not fork")
    def test_forked_child_does_not_keep_those_waiting_whose_host_was_killed(self):
        host = self.start(PROGRAMS / "forking_host.py", self.name, ready="host")
        launch = self.start_launch("a")
        host.expect("forked")
        os.kill(host.pid, signal.SIGKILL)  # and its child lives on
        self.finish(launch, 1)
        self.assertIn("it may have been acted upon", launch.err)


class TestJoin(SingletonTestCase):
    @unittest.skipUnless(hasattr(os, "fork"), "workers are not forked here")
    def test_worker_has_no_port_to_wait_for(self):
        app = self.singleton()
        worker = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(0 if app.join(PATIENCE) else 1)
        )
        worker.start()
        self.addCleanup(worker.join)
        worker.join(PATIENCE / 2)
        self.assertEqual(worker.exitcode, 0)

    def test_release_ends_it(self):
        app, joined = self.singleton(), []
        self.in_background(lambda: joined.append(app.join()))
        self.in_background(lambda: joined.append(app.join(PATIENCE)))
        self.assertFalse(app.join(0.05))
        self.assertEqual(joined, [])
        app.release()
        wait_until(lambda: joined == [True, True], "both are over")
        self.assertTrue(app.join())
        self.assertTrue(app.join(0))

    def test_port_is_free_when_it_ends(self):
        app = self.singleton()
        self.in_background(app.release)
        app.join()
        self.assert_free()

    def test_timeout_and_threshold_end_it(self):
        self.assertTrue(self.singleton(timeout=0.1).join(PATIENCE))
        app = self.singleton(release_threshold=2)
        for number in range(2):
            self.assertFalse(app.join(0))
            Socket_Singleton.send([str(number)], port=self.port)
        self.assertTrue(app.join(PATIENCE))

    def test_release_of_an_observer_ends_it(self):
        app = self.singleton()
        app.trace(lambda args: app.release())
        Socket_Singleton.send(["a"], port=self.port)
        self.assertTrue(app.join(PATIENCE))

    def test_bad_timeouts(self):
        app = self.singleton()
        for timeout in (-1, float("nan"), "soon"):
            with self.assertRaises(ValueError):
                app.join(timeout)
        app.release()
        self.assertTrue(app.join(float("inf")))

    @unittest.skipUnless(os.name == "posix", "signals of POSIX")
    def test_interrupt_ends_it(self):
        for timeout in ("", "60", "1e300", "float('inf')"):
            text = (
                "from Socket_Singleton import Socket_Singleton\n"
                f"app = Socket_Singleton(port={self.port})\n"
                "print('up', flush=True)\n"
                f"app.join({timeout})\n"
            )
            program = self.start("-c", text, ready="up")
            os.kill(program.pid, signal.SIGINT)
            self.finish(program, INTERRUPTED)
            self.assertIn("KeyboardInterrupt", program.err)
