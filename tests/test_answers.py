"""What an observer answers to a launch that asked, and how that launch then ends; `join`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import io
import math
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    LAUNCH_LIMIT,
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
from .support.launches import LaunchThatDoesNotRead
from .support.sockets import failing, failing_to_watch

# How a program ends that Ctrl-C ends: by the signal, since Python 3.8.
INTERRUPTED = -signal.SIGINT if sys.version_info >= (3, 8) else 1

NO_ANSWER = "is not an answer; return None, a str, an int or a future"

LONG = "\u00e9\U0001f600 " * 700_000  # more than 5 MB on the wire


class Awkward:
    """Is no answer, and raises an unusual error when it is examined."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name} here")


class NoText(Exception):
    def __str__(self):
        raise ValueError("no text")


class Refuses:
    """Looks like a future, but takes no callback."""

    def add_done_callback(self, callback):
        raise ValueError("no callbacks here")


class Followed(concurrent.futures.Future):
    """A future that reports when somebody waits for its result."""

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


# What an observer returns or raises; the answer, or the text of the error; whether an error is logged.
ANSWERS = (
    (None, None, False),
    (0, 0, False),
    (1, 1, False),
    (255, 255, False),
    ("", "", False),
    ("done", "done", False),
    ("two\nlines \u00e9\U0001f600\0", "two\nlines \u00e9\U0001f600\0", False),
    ("lone \ud800 and \udcff", "lone \\ud800 and \udcff", False),
    ("bytes that came in a name \udcff", "bytes that came in a name \udcff", False),
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
    (256, RuntimeError("256 is not an answer"), True),
    (-1, RuntimeError("-1 is not an answer"), True),
    (True, RuntimeError("bool is not an answer"), True),
    (False, RuntimeError("bool is not an answer"), True),
    (1.0, RuntimeError("float is not an answer"), True),
    (b"bytes", RuntimeError("bytes is not an answer"), True),
    (("a",), RuntimeError("tuple is not an answer"), True),
    (Awkward(), RuntimeError("RuntimeError: no add_done_callback here"), True),
    (Refuses(), RuntimeError("ValueError: no callbacks here"), True),
    (concurrent.futures.Future, RuntimeError("TypeError: "), True),
    (done(), None, False),
    (done(3), 3, False),
    (done("done"), "done", False),
    (done(error=SystemExit(4)), 4, False),
    (done(error=SystemExit("why")), RuntimeError("why"), False),
    (done(error=ValueError("bad")), RuntimeError("ValueError: bad"), True),
    (done(True), RuntimeError("bool is not an answer"), True),
    (done(done()), RuntimeError("Future is not an answer"), True),
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
        """Ask in a thread; return a list to which the outcome is appended."""
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
        self.assertIn("it may have acted on this launch", str(outcomes[0]))
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
        """Use each row of `ANSWERS` in turn, and check what ``ask()`` returns or raises."""
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

        app = self.named(kind=App)
        self.check_answers(app, lambda: self.outcome_of_asking("a"))

    def test_overridden_append_args_answers(self):
        class App(Socket_Singleton):
            def _append_args(self, args):
                if args == ("fail",):
                    raise ValueError("bad")
                if args == ("exit",):
                    raise SystemExit(3)
                return f"heard {args}"

        self.named(kind=App)
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

    def test_a_future_with_the_result_none_is_an_answer(self):
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
            (("bool",), 1, "", f"bool {NO_ANSWER}"),
            (("bytes",), 1, "", f"bytes {NO_ANSWER}"),
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

    def test_parameter_answer_does_not_change_the_host(self):
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

    def test_stdout_that_cannot_be_written(self):
        """A full disk: a message, and status 1. A closed pipe: it ends quietly, as it would before `head`."""
        self.start_host()
        if os.path.exists("/dev/full"):
            with open("/dev/full", "wb") as full:
                launch = self.finish(self.start_launch("text", "hello", stdout=full), 1)
            self.assertIn("cannot be shown", launch.err)
            self.assertNotIn("Exception ignored", launch.err)
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as nobody:
            # Windows calls a closed pipe an invalid argument.
            launch = self.finish(
                self.start_launch("text", "hello", stdout=nobody), 1 if os.name == "nt" else 141
            )
        self.assertIn("cannot be shown" if os.name == "nt" else "", launch.err)
        self.assertEqual(bool(launch.err), os.name == "nt")

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

    def test_answer_that_is_too_long(self):
        self.enter(inside.limits(MAX_BODY=1000))

        def observer(launch):
            if launch == ("exit",):
                raise SystemExit("x" * 2000)
            return "x" * (2000 if launch == ("text",) else 20)

        self.answering(observer)
        for word in ("text", "exit"):
            with self.expect_log(
                "Observer observer raised exception: OverflowError: the answer is longer than 4 GiB"
            ), self.assertRaisesRegex(RuntimeError, "longer than 4 GiB"):
                self.ask(word)
        self.assertEqual(self.ask("short"), "x" * 20)

    def test_log_names_the_observer_whose_result_is_wrong(self):
        results = {"dict": {}, "future": done(error=ValueError("out of a job"))}

        def first(_):
            return None

        def second(launch):
            return results[launch[0]]

        def third(_):
            return None

        app = self.named()
        for observer in (first, second, third):
            app.trace(observer)
        wrong = "Observer second raised exception: {}".format
        with self.expect_log(wrong(f"TypeError: dict {NO_ANSWER}")), self.assertRaises(RuntimeError):
            self.ask("dict")
        with self.expect_log(wrong("ValueError: out of a job")), self.assertRaises(RuntimeError):
            self.ask("future")
        with self.expect_log(wrong("ValueError: out of a job")):
            Socket_Singleton.send(["future"], name=self.name)

    def test_errors_of_ask(self):
        for options in ({}, {"secret": "a long one"}):
            with self.assertRaisesRegex(ConnectionRefusedError, self.name):
                self.ask("a", **options)
        app = self.named()
        with self.assertRaisesRegex(TimeoutError, self.name):
            self.ask("a", timeout=LAUNCH_LIMIT)
        self.assertEqual(app.arguments, (("a",),))
        with self.assertRaisesRegex(ConnectionError, f"{self.name}.*another secret"):
            self.ask("a", secret="a long one")
        for options in ({"argv": "a"}, {"argv": [1]}, {"timeout": -1, "argv": []}):
            with self.assertRaises((TypeError, ValueError)):
                Socket_Singleton.ask(**{"name": self.name, **options})

    def test_asking_a_host_that_takes_no_more_launches(self):
        app = self.answering(lambda args: "yes", max_clients=1)
        self.assertEqual(self.ask("a"), "yes")
        with self.assertRaisesRegex(ConnectionError, "max_clients"):
            self.ask("a")
        error = self.named_launch("a", answer=True)
        self.assertEqual((error.delivered, error.answer), (False, None))
        self.assertEqual(app.clients, 3)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "this system does not stop processes")
    def test_hand_over_has_two_seconds_whatever_the_timeout_of_the_answer(self):
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
        self.assertIn("ask needs --name", self.finish(asked, 64).err)
        asked = self.start("-m", "Socket_Singleton", "ask", "--name", f"{self.name} 2", "--", "a")
        self.assertIn("nothing is listening", self.finish(asked, 1).err)
        for limit, status, said in (
            (str(LAUNCH_LIMIT), 1, "has not answered in time"),
            ("nan", 64, "timeout must"),
        ):
            words = ("ask", "--name", self.name, "--timeout", limit, "--", "never")
            self.assertIn(said, self.finish(self.start("-m", "Socket_Singleton", *words), status).err)

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

    def test_dropped_launch_fails_with_a_message(self):
        with inside.limits(MAX_WAITING=1000):
            app = self.named()
            outcomes = self.asking_in_background("a")
            wait_until(lambda: app.arguments, "it waits for an observer")
            for _ in range(10):
                Socket_Singleton.send(["b" * 100], name=self.name)
            self.assert_lost(outcomes)

    def test_launch_that_dispatch_throws_away_fails_with_a_message(self):
        shelf = Shelf()
        self.answering(lambda args: "never", dispatch=shelf)
        outcomes = self.asking_in_background("a")
        shelf.wait_for(1)
        with Stopwatch() as took:
            shelf.throw_away()
            self.assert_lost(outcomes)
        self.assertLess(took.seconds, inside.limit("LEAVE_TIME") / 2)

    def test_launch_that_a_finalizer_throws_away_fails_with_a_message(self):
        """It may run anywhere, even on the I/O thread just before that sleeps, which it then must not."""
        shelf = Shelf()
        self.answering(lambda args: "never", dispatch=shelf)
        outcomes = self.asking_in_background("a")
        shelf.wait_for(1)
        with inside.at("hand out", shelf.throw_away):
            Socket_Singleton.send(["b"], name=self.name)
            self.assert_lost(outcomes)

    def test_host_needs_no_further_files_once_it_runs(self):
        """By then they may be gone, or belong to another version."""
        app = self.named()
        with mock.patch.dict(sys.modules, {"Socket_Singleton._answers": None}):
            launch = LaunchThatDoesNotRead(self.name, ("a",))
            self.addCleanup(launch.close)
            wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        self.assertTrue(app._listening)

    def test_answer_does_not_wait_until_the_acknowledgement_has_arrived(self):
        """On Linux, that takes 40 ms each time. A busy machine may take longer, but not each time."""
        self.answering(lambda args: "yes")

        def is_answered_at_once() -> bool:
            begun = time.monotonic()
            self.assertEqual(self.ask("a"), "yes")
            return time.monotonic() - begun < 0.03

        wait_until(is_answered_at_once, "an answer that did not wait")

    @needs_resets
    def test_hello_or_acknowledgement_that_has_no_room(self):
        """The launch is reset and asks again, so nothing is missing."""
        for is_it in (lambda data, *_: len(data) > len(inside.HELLO), lambda data, *_: data == ACK):
            kind = failing("send", BlockingIOError(errno.EAGAIN, "no room"), when=is_it)
            with inside.sockets_of_peers(kind):
                app = self.answering(lambda args: "yes")
                self.assertEqual(self.ask("a", timeout=PATIENCE), "yes")
                self.assertEqual((len(kind.failed), app.clients, app.arguments), (1, 1, ()))
                app.release()

    def test_wake_up_for_an_answer_that_has_no_room_once(self):
        kind = failing("send", BlockingIOError(errno.EAGAIN, "no room"))
        future = Followed()
        with inside.sockets_of_wakers(kind):
            self.answering(lambda args: future)
        outcomes = self.asking_in_background("a")
        self.assertTrue(future.followed.wait(PATIENCE))
        future.set_result("yes")
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual((outcomes, len(kind.failed)), (["yes"], 1))

    def test_future_that_is_done_long_after_the_hand_over(self):
        """Only the caller's timeout limits the wait: no clock of the host ends it."""
        future = concurrent.futures.Future()
        app = self.answering(lambda args: future)
        outcomes = self.asking_in_background("a")
        wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        with inside.clock_of_hosts(ahead=24 * 3600):
            for _ in range(3):
                self.connect()
                Socket_Singleton.send([], name=self.name)
        self.assertEqual(outcomes, [])
        future.set_result("done")
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(outcomes, ["done"])

    def test_wait_that_is_longer_than_the_timeout_of_a_socket(self):
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

    def test_twenty_launches_that_wait_do_not_delay_others(self):
        futures = []

        def observer(args):
            if args[0] == "later":
                futures.append(concurrent.futures.Future())
                return futures[-1]
            return args[0]

        app = self.answering(observer)
        outcomes = [self.asking_in_background("later", str(number)) for number in range(20)]
        wait_until(lambda: len(futures) == 20, "all wait")
        for _ in range(20):
            self.assertEqual(self.ask("now", timeout=PATIENCE), "now")
            self.assertTrue(self.named_launch("a").delivered)
        # Ordinary peers, more of them than there is room for, do not push them out.
        with inside.limits(MAX_PEERS=5):
            for _ in range(20):
                self.connect()
            wait_until(lambda: inside.count_peers(app) == 25, "the others went")
        self.assertEqual([outcome for outcome in outcomes if outcome], [])
        for number, future in enumerate(futures):
            future.set_result(number)
        wait_until(lambda: all(outcomes), "all are answered")
        self.assertEqual(sorted(outcome[0] for outcome in outcomes), list(range(20)))

    def test_more_launches_than_can_wait_fail_at_once(self):
        with inside.limits(MAX_ASKING=3):
            app = self.named()
            waiting = [self.asking_in_background(str(number)) for number in range(3)]
            wait_until(lambda: inside.count_asking(app) == 3, "three wait")
            with Stopwatch() as took, self.assertRaisesRegex(
                ConnectionError, "too many launches are already waiting"
            ):
                self.ask("one more")
            error = self.named_launch("one more", answer=True)
            self.assertLess(took.seconds, 1)
            self.assertIs(error.delivered, False)
            self.assertIn("too many launches are already waiting", str(error))
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
        wait_until(lambda: descriptors() <= before, "no descriptor is left")
        app.untrace(next(iter(app._observers)))
        app.trace(lambda args: "goes on")
        self.assertEqual(self.ask("a"), "goes on")

    def test_launch_that_is_killed_while_it_gets_a_long_answer(self):
        app = self.answering(lambda args: "x" * 50_000_000)
        before = descriptors()
        launch = LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        self.assertTrue(self.named_launch("another one").delivered)
        launch.close()
        wait_until(lambda: descriptors() <= before, "no descriptor is left")

    def test_launch_whose_answer_the_system_does_not_send_fails_with_a_message(self):
        text = "text"
        kind = failing(
            "send", OSError(errno.ENOBUFS, "no buffers"), when=lambda data, *_: data[5:] == text.encode()
        )
        with inside.sockets_of_peers(kind):
            self.answering(lambda args: text)
            self.assert_lost([self.outcome_of_asking("a")])
            self.assertEqual(len(kind.failed), 1)
            self.assertEqual(self.ask("a"), text)

    def test_launch_whose_connection_cannot_be_watched_gets_no_answer(self):
        """Its arguments are owned all the same."""
        shelf, calls, has_spoken = Shelf(), Collector(), threading.Event()
        kind = failing_to_watch(OSError(errno.ENOSPC, "too many are watched"))  # fs.epoll.max_user_watches
        with mock.patch.object(selectors, "DefaultSelector", kind):
            app = self.answering(calls, dispatch=shelf)
        Socket_Singleton.send(["first"], name=self.name)
        gate, waiting = self.gate(), inside.at("read", lambda _: has_spoken.wait(PATIENCE))
        with inside.at("turn", gate), inside.at("answer", kind.arm):
            inside.wake(app)
            gate.wait_for_somebody()
            with waiting:  # so that the host has read everything before it would watch the connection
                launch = LaunchThatDoesNotRead(self.name, ("second",), after_hello=gate.open)
                has_spoken.set()
                self.assertEqual(launch.read(), ACK)
        launch.close()
        self.assertEqual(len(kind.failed), 1)
        shelf.wait_for(2)
        shelf.run()
        self.assertEqual(calls.calls, [("first",), ("second",)])
        app.dispatch = None
        self.assertIsNone(self.ask("third"))

    @unittest.skipUnless(os.name == "posix", "signals of POSIX")
    def test_interrupt_ends_the_wait(self):
        host = self.start_host()
        launches = [
            self.start_launch("never"),
            self.start("-m", "Socket_Singleton", "ask", "--name", self.name, "--", "never"),
        ]
        host.expect("got ('never',)", 2)
        for launch, status in zip(launches, (INTERRUPTED, -signal.SIGINT)):
            launch.interrupt()
            self.finish(launch, status)
        self.assertEqual(launches[0].err.splitlines()[-1], "KeyboardInterrupt")

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

    def test_wait_ends_with_a_release_after_which_nothing_wakes_the_host(self):
        """There is no memory for a byte, so the host could not learn of an answer either."""
        refuses, gate = [], self.gate()
        error = OSError(errno.ENOBUFS, "no buffers")
        kind = failing("send", error, math.inf, when=lambda *_: refuses)
        with inside.sockets_of_wakers(kind):
            app = self.answering(gate)
        outcomes = self.asking_in_background("a")
        gate.wait_for_somebody()
        refuses.append(error)
        app.release()
        self.assert_lost(outcomes)

    def test_wait_for_the_first_observer_ends_with_release(self):
        app = self.named()
        outcomes = self.asking_in_background("a")
        wait_until(lambda: app.arguments, "it waits for an observer")
        app.release()
        self.assert_lost(outcomes)
        self.assertEqual(app.arguments, (("a",),))

    def test_machine_that_vanishes(self):
        """Neither side waits for ever for a peer that vanished silently: the system detects that."""
        found, app = [], self.named()
        app.trace(lambda args: "answer")

        def end(sock):
            found.append([sock.getsockopt(*option) for option in inside.keep_alive_options()])
            return inside.LaunchSocket.close(sock)

        kind = type("Recording", (inside.LaunchSocket,), {"close": end})
        with inside.sockets_of_peers(kind), inside.sockets_of_launches(kind):
            self.assertEqual(self.ask("word"), "answer")
            app.release()
        self.assertEqual([all(options) for options in found], [True, True])
        self.assertLessEqual(max(map(max, found)), 60)

    def test_system_that_cannot_detect_vanished_peers(self):
        error = OSError(errno.ENOPROTOOPT, "no such option")
        kind = failing("setsockopt", error, times=2, when=lambda _, option, __: option == socket.SO_KEEPALIVE)
        app = self.named()
        app.trace(lambda args: "answer")
        with inside.sockets_of_peers(kind), inside.sockets_of_launches(kind):
            self.assertEqual(self.ask("word"), "answer")
        self.assertEqual(len(kind.failed), 2)

    def test_host_that_ends_by_itself_still_answers(self):
        """At its threshold or its timeout it gives up the port; the answer follows when there is one."""
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
                futures[0].set_result("at last")
                wait_until(lambda first=waiting[0]: first, "it is answered")
                self.assertEqual(waiting[0], ["at last"])
                # A release ends those that still wait.
                app.release()
                for outcomes in waiting[1:]:
                    self.assert_lost(outcomes)

    def test_launches_fail_with_a_message_when_the_host_ends_or_is_killed(self):
        for how in ("end", "kill"):
            with self.subTest(how):
                host = self.start_host()
                waiting = [self.start_launch("never") for _ in range(2)]
                host.expect("got ('never',)", 2)
                last = self.start_launch(how)
                for launch in (*waiting, last):
                    self.finish(launch, 1)
                    self.assertIn("it may have acted on this launch", launch.err)
                    self.assertIn(self.name, launch.err)
                host.wait()

    def test_error_of_a_launch_whose_host_ended(self):
        app = self.answering(lambda args: concurrent.futures.Future())
        errors = []
        self.in_background(lambda: errors.append(self.error_of_launch("a", answer=True)))
        wait_until(lambda: inside.count_asking(app) == 1, "it waits")
        app.release()
        wait_until(lambda: errors, "it ends")
        self.assertEqual((errors[0].delivered, errors[0].answer), (True, None))
        self.assertIn("may have acted on this launch", str(errors[0]))

    def test_answers_that_exist_are_sent_before_the_end(self):
        """An answer in time is not lost to a release that comes immediately after it."""
        for _ in range(20):
            future = Followed()
            app = self.answering(lambda args, future=future: future)
            outcomes = self.asking_in_background("a")
            self.assertTrue(future.followed.wait(PATIENCE))
            future.set_result("x" * 10_000)
            app.release()
            wait_until(lambda outcomes=outcomes: outcomes, "it is answered")
            self.assertEqual(outcomes, ["x" * 10_000])

    def test_long_answer_that_is_being_sent_is_completed(self):
        length = 20_000_000  # more than systems keep for a connection
        self.enter(inside.limits(KEEPS_PORT_TIME=PATIENCE))  # on Windows, it is cut off after a second
        app = self.answering(lambda args: "x" * length)
        launch = LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        app.release()
        size = len(launch.read())
        self.assertEqual(size, len(ACK) + 5 + length)

    def test_launch_that_does_not_read_does_not_delay_a_release(self):
        app = self.answering(lambda args: "x" * 50_000_000)
        launch = LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        with Stopwatch() as took:
            app.release()
        self.assertLess(took.seconds, 1)

    def test_observer_that_releases_can_still_return_the_answer(self):
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
        wait_until(lambda: descriptors() <= before, "no descriptor is left")

    def test_observer_that_releases_and_raises(self):
        def observer(args):
            app.release()
            raise SystemExit("gone")

        app = self.answering(observer)
        self.assertEqual(str(self.outcome_of_asking("a")), "gone")

    def test_observer_that_runs_another_launch_and_releases(self):
        """Like one that opens a dialogue, whose loop goes on: each launch gets its own answer."""
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

    def test_launch_that_has_gone_when_an_observer_that_released_answers(self):
        before, gone, threads = descriptors(), threading.Event(), []

        def observer(args):
            threads.append(threading.current_thread())
            app.release()
            gone.wait(PATIENCE)
            return LONG

        app = self.answering(observer)
        launch = LaunchThatDoesNotRead(self.name, ("a",))
        self.addCleanup(launch.close)
        self.assertTrue(app.join(PATIENCE))
        with mock.patch("logging.Logger.error") as logged:
            launch.close()
            gone.set()
            self.join(threads[0])
            wait_until(lambda: descriptors() <= before, "no descriptor is left")
        logged.assert_not_called()

    def test_answer_after_a_release_touches_no_closed_connection(self):
        future = Followed()
        kind = failing("settimeout", AssertionError("it is nobody's"))
        with inside.sockets_of_peers(kind):
            app = self.answering(lambda args: future)
            outcomes = self.asking_in_background("a")
            self.assertTrue(future.followed.wait(PATIENCE))
            app.release()
            self.assert_lost(outcomes)
            future.set_result("too late")
        self.assertEqual(kind.failed, [])

    def test_the_next_host_answers_while_the_last_one_does(self):
        """What a release kept open for one answer does not disturb the next host."""
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
        """Each launch that asks ends in a known way; if it was answered, the observer was called."""
        for number in range(60):
            observer = Collector()
            app = self.answering(lambda args, observer=observer: (observer(args), "yes")[1])
            outcomes = self.asking_in_background("a")
            for _ in range(number * 20):
                pass
            if number % 2:
                wait_until(lambda app=app: app.clients or not app._listening, "it is owned")
            app.release()
            wait_until(lambda outcomes=outcomes: outcomes, "it ended")
            outcome = outcomes[0]
            if outcome == "yes":
                self.assertEqual(observer.calls, [("a",)])
            else:
                self.assertIsInstance(outcome, ConnectionError)
                if isinstance(outcome, ConnectionRefusedError):
                    self.assertEqual((observer.calls, app.arguments), ([], ()))

    @unittest.skipUnless(hasattr(os, "fork"), "this system does not fork")
    def test_forked_child_does_not_keep_launches_of_a_killed_host_waiting(self):
        host = self.start(PROGRAMS / "forking_host.py", self.name, ready="host")
        launch = self.start_launch("a")
        host.expect("forked")
        os.kill(host.pid, signal.SIGKILL)  # and its child lives on
        self.finish(launch, 1)
        self.assertIn("it may have acted on this launch", launch.err)


class TestJoin(SingletonTestCase):
    @unittest.skipUnless(hasattr(os, "fork"), "workers are not forked here")
    def test_worker_has_no_port_to_wait_for(self):
        app = self.singleton()
        worker = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(0 if app.join(PATIENCE) else 1)
        )
        with self.expect_warning_of_forks():
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
            program.interrupt()
            self.finish(program, INTERRUPTED)
            self.assertIn("KeyboardInterrupt", program.err)
