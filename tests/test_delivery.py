"""Delivery: the observer thread, and `dispatch`, which has observers called elsewhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import math
import queue
import selectors
import sys
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    MAX_PACKET,
    PATIENCE,
    PROGRAMS,
    Collector,
    Printed,
    Shelf,
    SingletonTestCase,
    Stopwatch,
    expect_lines,
    inside,
    wait_until,
)


class TestDelivery(SingletonTestCase):
    # -- the thread --

    def test_observers_run_on_one_thread_that_is_not_the_callers(self):
        app, threads = self.singleton(), []
        app.trace(lambda args: threads.append(threading.current_thread()))
        for word in "abc":
            self.second_launch(word)
        wait_until(lambda: len(threads) >= 3, "three calls")
        self.assertEqual(len(set(threads)), 1)
        self.assertIsNot(threads[0], threading.current_thread())
        self.assertTrue(threads[0].daemon)

    def test_one_observer_thread_although_two_were_started(self):
        """A signal handler raised while the first one was started, which begins all the same."""
        self.enter(inside.limits(THREADS_START_LATE=True))
        app, observer, late = self.singleton(), Collector(), []
        app._append_args(("x",))  # it waits

        def start_late(thread):
            late.append(thread)
            raise KeyboardInterrupt

        interrupted = mock.patch.object(threading.Thread, "start", start_late)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            app.trace(observer)
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))
        late[0].start()
        self.join(late[0])
        self.second_launch("z")
        observer.wait_for(("x",), ("y",), ("z",))

    def test_interrupted_start_of_the_observer_thread(self):
        """By a signal handler that raises: whatever needs the thread next starts it."""
        self.enter(inside.limits(THREADS_START_LATE=True))
        app, observer = self.singleton(), Collector()
        app._append_args(("x",))  # it waits
        interrupted = mock.patch.object(threading.Thread, "start", side_effect=KeyboardInterrupt)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            app.trace(observer)
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))

    def test_no_thread_for_the_observers_at_first(self):
        """The host serves, and waiting launches are delivered when threads are available again."""
        self.enter(inside.limits(THREADS_START_LATE=True))
        app, observer = self.singleton(), Collector()
        error = RuntimeError("can't start new thread")
        text = f"Start of the observer thread raised exception: RuntimeError: {error}"
        with self.expect_log(text):
            with mock.patch.object(threading.Thread, "start", side_effect=error) as start:
                app.trace(observer)
                self.assertEqual(self.exchange(b"first\0"), ACK)
                wait_until(lambda: start.called, "it was tried")
                self.assertEqual(app.arguments, (("first",),))
            self.assertEqual(self.exchange(b"second\0"), ACK)
            observer.wait_for(("first",), ("second",))

    def test_thread_that_exists_before_it_has_work(self):
        """On CPython 3.12, where no thread can be started once the main thread has ended."""
        self.enter(inside.limits(THREADS_START_LATE=False))
        app, observer = self.singleton(), Collector()
        wait_until(lambda: inside.observer_thread(app), "it has begun")
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))

    def test_release_from_a_signal_handler_that_interrupted_trace(self):
        app, observer = self.singleton(), self.gate()
        app.trace(observer)
        Socket_Singleton.send(["word"], port=self.port)
        observer.wait_for_somebody()  # so the observer thread receives no news
        was_interrupted = inside.interrupt_news(app, app.release)
        app.trace(len)
        self.assertTrue(was_interrupted())
        self.assert_free()

    def test_launches_do_not_wait_for_a_slow_observer(self):
        app, gate, observer = self.singleton(), self.gate(), Collector()

        def slow(args):
            gate()
            observer(args)

        app.trace(slow)
        words = [f"launch {number}" for number in range(20)]
        self.assertIs(self.second_launch(words[0]).delivered, True)
        gate.wait_for_somebody()
        # It continues only after they are owned, so none of them can have waited for it.
        for word in words[1:]:
            self.assertIs(self.second_launch(word).delivered, True)
        self.assertEqual(app.arguments, tuple((word,) for word in words[1:]))
        gate.open()
        observer.wait_for(*[(word,) for word in words])

    # -- what happens in between --

    def test_no_observer_gets_a_launch_before_it_is_acknowledged(self):
        """Otherwise a host that is killed could have delivered what then goes to the next host."""
        called, early = threading.Event(), []

        def before_the_answer():
            app.trace(len)  # which wakes the observer thread, as an earlier launch could
            early.append(called.wait(0.2))  # the fault itself: it has enough time

        app = self.singleton()
        app.trace(lambda args: called.set())
        with inside.at("answer", before_the_answer):
            self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertTrue(called.wait(PATIENCE))
        self.assertEqual(early, [False])

    def test_launches_are_delivered_although_there_is_always_more_to_do(self):

        class Busy(selectors.DefaultSelector):
            """Always finds an event: somebody may be waiting at the port."""

            def select(self, timeout=None):
                port = [key for key in self.get_map().values() if key.data is None][-1]
                return super().select(0) or [(port, selectors.EVENT_READ)]

        with mock.patch.object(selectors, "DefaultSelector", Busy):
            app, observer = self.observed()
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        observer.wait_for(("word",), ("word",))
        app.release()

    def test_release_between_a_launch_and_its_observer(self):
        """Whatever the observer thread was about to do, no observer is called, and nothing is lost."""
        self.check_release_in_between(Socket_Singleton, Collector())

    def test_release_between_a_launch_and_an_override(self):
        observer = Collector()

        class Override(Socket_Singleton):
            def _append_args(self, args):
                observer(args)

        self.check_release_in_between(Override, observer)

    def check_release_in_between(self, kind, observer):
        app, gate = self.singleton(kind), self.gate()
        with inside.at("chosen", gate):
            app.trace(observer)
            self.assertEqual(self.exchange(b"word\0"), ACK)
            gate.wait_for_somebody()
            app.release()
            app.trace(observer)  # not even an observer that is added now
            self.assertEqual(app.arguments, (("word",),))
            gate.open()
            self.join(inside.observer_thread(app))
        self.assertEqual(observer.calls, [])
        self.assertEqual(app.arguments, (("word",),))

    def test_release_after_a_launch_was_taken_and_before_its_first_call(self):
        """It is no longer waiting, so it must reach the observer, or it is lost."""
        app, first, second = self.singleton(), Collector(), Collector()
        app.trace(first)
        app.trace(second)
        with inside.at("begun", app.release):
            self.assertEqual(self.exchange(b"word\0"), ACK)
            first.wait_for(("word",))
            self.join(inside.observer_thread(app))
        self.assertEqual((second.calls, app.arguments), ([], ()))

    def test_untrace_between_a_check_and_the_launch(self):
        """The observer thread saw that launches are wanted; when it gets to them, nobody wants them."""
        app, observer, chosen = self.singleton(), Collector(), []

        def untrace():
            chosen.append(app.arguments)
            app.untrace(observer)

        app.trace(observer)
        with inside.at("chosen", untrace):
            self.assertEqual(self.exchange(b"word\0"), ACK)
            wait_until(lambda: chosen and not app._observers, "it was tried")
            self.assertEqual(app.arguments, (("word",),))
        app.trace(observer)
        observer.wait_for(("word",))
        self.assertEqual(chosen, [(("word",),)], "it was tried again although nobody observes")

    def test_no_observer_is_called_after_release(self):
        self.check_release_during_a_call(traced_again=False)

    def test_no_observer_is_called_after_release_if_traced_only_then(self):
        self.check_release_during_a_call(traced_again=True)

    def check_release_during_a_call(self, traced_again: bool) -> None:
        app, first, late = self.singleton(), self.gate(), Collector()
        app.trace(first)
        app.trace(late)
        self.second_launch("under way")
        first.wait_for_somebody()
        self.second_launch("waiting")
        app.release()
        if traced_again:
            app.trace(late)
        first.open()
        self.join(inside.observer_thread(app))
        self.assertEqual(late.calls, [])
        self.assertEqual(app.arguments, (("waiting",),))

    # -- verbose lines --

    def test_lines_of_verbose_hosts_do_not_block_the_port(self):
        """stdout may be a pipe that nobody reads, and a peer can cause any number of lines."""
        gate, lines = self.gate(), []
        with contextlib.redirect_stdout(Clogged(gate, lines)):
            self.singleton(verbose=True, secret="right")
            for _ in range(50):
                self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
            gate.wait_for_somebody()
            self.assertEqual(self.exchange(b"right\0x\0"), ACK)
            gate.open()
            wait_until(lambda: len(lines) == 50, "the lines are printed")

    def test_lines_do_not_delay_launches(self):
        """A peer can cause any number of lines; each launch waits for one at most."""
        gate, lines, printed = self.gate(), [], []
        with contextlib.redirect_stdout(Clogged(gate, lines)):
            app = self.singleton(verbose=True, secret="right")
            app.trace(lambda args: printed.append(len(lines)))
            for _ in range(100):
                self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
            gate.wait_for_somebody()
            self.assertEqual(self.exchange(b"right\0word\0"), ACK)
            self.assertEqual(self.exchange(b"right\0\0"), ACK)  # so the first one can be delivered
            gate.open()
            wait_until(lambda: len(lines) == 100, "all lines are printed")
        self.assertLess(printed[0], 10)


class Clogged:
    """A stdout that blocks until ``gate`` is open, and keeps the lines that it gets in ``lines``."""

    def __init__(self, gate, lines: list) -> None:
        self._gate, self._lines = gate, lines

    def write(self, text: str) -> None:
        self._gate()
        self._lines.extend(filter(None, text.splitlines()))

    def flush(self) -> None:
        pass


# The error in the log for each call of a `Refusing` that is closed.
REFUSED = "Dispatch refusing raised exception: RuntimeError: closed"


class Refusing:
    """A dispatch that raises until it is made `willing`."""

    def __init__(self, error: BaseException) -> None:
        self.__name__ = "refusing"
        self.error = error
        self.refused = 0
        self.willing = False

    def __call__(self, call) -> None:
        if not self.willing:
            self.refused += 1
            raise self.error
        call()

    def wait_until_it_refused(self) -> None:
        wait_until(lambda: self.refused, "dispatch has raised")


class TestDispatch(SingletonTestCase):
    """Observers run where the application wants them to, and no launch is lost on the way."""

    def setUp(self) -> None:
        super().setUp()
        self.observer = Collector()

    def host(self, dispatch, **options) -> Socket_Singleton:
        app = self.singleton(dispatch=dispatch, **options)
        app.trace(self.observer)
        return app

    @staticmethod
    def refusing(times: float, before=lambda: None):
        """Return the calls that a dispatch refuses, up to ``times``, after ``before``; and that dispatch."""
        refused = []

        def dispatch(call):
            if len(refused) < times:
                before()
                refused.append(call)
                raise RuntimeError("not now")
            call()

        return refused, dispatch

    def send(self, *argv: str) -> None:
        Socket_Singleton.send(argv, port=self.port, timeout=PATIENCE)

    def wait_for_arguments(self, app, *expected) -> None:
        wait_until(lambda: app.arguments == expected, f"{expected} are in `arguments`")

    def join_observer_thread(self, app) -> None:
        thread = inside.observer_thread(app)
        if thread is not None:
            self.join(thread)

    # -- real loops --

    def test_asyncio(self):
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        app = self.host(loop.call_soon_threadsafe)
        where = []

        async def main():
            done = loop.create_future()

            def last(args):
                where.append((threading.get_ident(), asyncio.get_running_loop()))
                if args == ("19",):
                    done.set_result(None)

            app.trace(last)
            for number in range(20):
                await loop.run_in_executor(None, self.send, str(number))
            await asyncio.wait_for(done, PATIENCE)

        loop.run_until_complete(main())
        self.assertEqual(where, [(threading.get_ident(), loop)] * 20)
        self.observer.wait_for(*[(str(number),) for number in range(20)])
        self.assertEqual(app.arguments, ())

    def test_asyncio_loop_that_is_closed(self):
        """The launch stays, the host lives on, and the next dispatch gets everything in order."""
        refused = "Dispatch call_soon_threadsafe raised exception: RuntimeError: Event loop is closed"
        self.enter(self.expect_log(refused, repeated=True))
        printed = self.enter(Printed())
        loop = asyncio.new_event_loop()
        app = self.host(loop.call_soon_threadsafe, verbose=True)
        loop.close()
        self.send("kept")
        printed.wait_for(f"Socket_Singleton: {refused}")
        self.wait_for_arguments(app, ("kept",))
        self.send("kept too")
        self.wait_for_arguments(app, ("kept",), ("kept too",))
        self.assertEqual(self.observer.calls, [])
        self.assertTrue(app._listening)

        another = asyncio.new_event_loop()
        self.addCleanup(another.close)
        app.dispatch = another.call_soon_threadsafe

        async def main():
            await another.run_in_executor(None, self.send, "later")
            deadline = another.time() + PATIENCE
            while len(self.observer.calls) < 3 and another.time() < deadline:
                await asyncio.sleep(0.002)

        another.run_until_complete(main())
        self.observer.wait_for(("kept",), ("kept too",), ("later",))
        self.assertEqual(app.arguments, ())

    def test_launch_that_was_refused_is_dispatched_again(self):
        """By itself, since a launch that waits for an answer may be the last one."""
        self.enter(inside.limits(RETRY_TIME=0.1))
        refused, dispatch = self.refusing(2)
        app = self.host(dispatch)
        with self.expect_log("Dispatch dispatch raised exception: RuntimeError: not now"):  # once
            self.send("word")
            self.observer.wait_for(("word",))
        self.assertEqual((len(refused), app.arguments), (2, ()))

    def test_refusal_whose_text_cannot_be_formatted(self):
        """It is an error as any other: there is a pause until the next attempt."""
        self.enter(inside.limits(RETRY_TIME=10 * PATIENCE))

        class Text(str):
            def __format__(self, _):
                raise ValueError("no format")

        class Odd(Exception):
            def __str__(self):
                return Text("odd")

        calls = []

        def dispatch(call):
            calls.append(call)
            raise Odd

        app = self.host(dispatch)
        with self.assertLogs("Socket_Singleton") as logged:
            self.send("word")
            wait_until(lambda: calls, "it was refused")
            app.dispatch = None
            self.observer.wait_for(("word",))
        self.assertEqual((len(calls), len(logged.records)), (1, 1))

    def test_others_that_arrive_meanwhile_put_nothing_off(self):
        refused, dispatch = self.refusing(8)
        self.host(dispatch)
        words = [str(number) for number in range(8)]
        with self.expect_log(
            "Dispatch dispatch raised exception: RuntimeError: not now"
        ), Stopwatch() as took:
            for word in words:
                self.send(word)
                wait_until(lambda word=word: len(refused) > int(word), "it was refused")
            self.observer.wait_for(*[(word,) for word in words])
        self.assertLess(took.seconds, 5)

    def test_launch_that_was_refused_after_the_port_was_given_up(self):
        _, dispatch = self.refusing(1, lambda: wait_until(lambda: not app._listening, "it is given up"))
        app = self.host(dispatch, release_threshold=1)
        with self.expect_log("Dispatch dispatch raised exception: RuntimeError: not now"):
            self.send("word")
            self.observer.wait_for(("word",))

    def test_another_dispatch_gets_what_was_refused_at_once(self):
        def dispatch(call):
            raise RuntimeError("never")

        self.enter(inside.limits(RETRY_TIME=10 * PATIENCE))
        app = self.host(dispatch)
        with self.expect_log("Dispatch dispatch raised exception: RuntimeError: never"):
            self.send("word")
            self.wait_for_arguments(app, ("word",))
        app.dispatch = None
        self.observer.wait_for(("word",))

    def test_another_dispatch_that_refuses_is_reported_too(self):
        """Although it raises the same, and tried again as soon as the first one was."""
        (by_one, one), (by_another, another) = self.refusing(math.inf), self.refusing(1)
        message = "Dispatch dispatch raised exception: RuntimeError: not now"
        app = self.host(one)
        with self.expect_log(message, message):
            self.send("word")
            wait_until(lambda: by_one, "it was refused")
            app.dispatch = another
            self.observer.wait_for(("word",))
        self.assertEqual(len(by_another), 1)

    def test_asyncio_loop_whose_program_ends(self):
        """The loop is closed when the interpreter ends with a launch left: it ends soon and reports that."""
        code = (
            "import asyncio, sys; from Socket_Singleton import Socket_Singleton\n"
            "loop = asyncio.new_event_loop()\n"
            "app = Socket_Singleton(port=sys.argv[1], dispatch=loop.call_soon_threadsafe)\n"
            "app.trace(print)\n"
            "loop.close()\n"
            "Socket_Singleton.send(['word'], port=app.port)\n"
        )
        program = self.finish(self.start("-c", code, self.port))
        self.assertEqual(program.out, "")
        self.assertIn("Dispatch call_soon_threadsafe raised exception: RuntimeError", program.err)

    def test_executor(self):
        executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="observers here")
        self.addCleanup(executor.shutdown)
        app = self.host(executor.submit)
        names = []
        app.trace(lambda args: names.append(threading.current_thread().name))
        for number in range(50):
            self.send(str(number))
        self.observer.wait_for(*[(str(number),) for number in range(50)])
        wait_until(lambda: len(names) == 50, "the second observer has had all launches")
        self.assertEqual(set(names), {"observers here_0"})

    def test_executor_that_is_shut_down(self):
        executor = concurrent.futures.ThreadPoolExecutor(1)
        app = self.host(executor.submit, verbose=True)
        self.send("done")
        self.observer.wait_for(("done",))
        executor.shutdown()
        refused = "Dispatch submit raised exception: RuntimeError: cannot schedule new futures after shutdown"
        with self.expect_log(refused, repeated=True), Printed() as printed:
            self.send("kept")
            printed.wait_for(refused)
            self.wait_for_arguments(app, ("kept",))
            app.release()
            self.join_observer_thread(app)
        self.observer.wait_for(("done",))

    def test_queue_consumed_by_the_main_thread(self):
        calls = queue.Queue()
        app = self.host(calls.put)
        threads = []
        app.trace(lambda args: threads.append(threading.current_thread()))
        for number in range(50):
            self.send(str(number))
        for _ in range(50):
            calls.get(timeout=PATIENCE)()
        self.observer.wait_for(*[(str(number),) for number in range(50)])
        self.assertEqual(set(threads), {threading.current_thread()})
        self.assertTrue(calls.empty(), "one call for each launch")

    def test_full_queue_delays_no_launch(self):
        calls = queue.Queue(1)
        self.host(calls.put)
        for number in range(50):
            self.send(str(number))  # owned, while `put` blocks the observer thread
        for _ in range(50):
            calls.get(timeout=PATIENCE)()
        self.observer.wait_for(*[(str(number),) for number in range(50)])

    # -- what a single call is --

    def test_one_call_for_each_launch_whatever_the_observers(self):
        shelf = Shelf()
        app = self.host(shelf)
        others = [Collector() for _ in range(3)]
        for other in others:
            app.trace(other)
        for number in range(10):
            self.send(str(number))
        self.send()  # without arguments no observer is called, so nothing is dispatched
        shelf.wait_for(10)
        self.assertEqual(self.observer.calls, [])
        shelf.run()
        for collector in (self.observer, *others):
            self.assertEqual(collector.calls, [(str(number),) for number in range(10)])
        self.assertEqual(app.arguments, ())

    def test_empty_launch_with_notify_empty(self):
        shelf = Shelf()
        self.host(shelf, notify_empty=True)
        self.send()
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(self.observer.calls, [()])

    def test_function_takes_no_argument_and_returns_nothing(self):
        """Toolkits call an idle handler again for as long as it returns something true."""
        shelf = Shelf()
        self.host(shelf)
        self.send("word")
        shelf.wait_for(1)
        self.assertFalse(shelf.calls[0]())
        self.assertEqual(self.observer.calls, [("word",)])

    def test_is_called_on_the_observer_thread_and_may_take_long(self):
        threads, gate = [], self.gate()

        def slow(call):
            threads.append(threading.current_thread().name)
            gate()
            call()

        self.host(slow)
        for number in range(3):
            self.send(str(number))  # owned, although dispatch does not return
        gate.open()
        self.observer.wait_for(("0",), ("1",), ("2",))
        self.assertEqual(set(threads), {"Socket_Singleton observers"})

    def test_nothing_is_dispatched_while_nobody_observes(self):
        shelf = Shelf()
        app = self.singleton(dispatch=shelf)
        self.send("one")
        self.send("two")
        self.assertEqual(app.arguments, (("one",), ("two",)))
        self.assertEqual(shelf.calls, [])
        app.trace(self.observer)
        shelf.wait_for(2)
        shelf.run()
        self.assertEqual(self.observer.calls, [("one",), ("two",)])

    def test_observer_that_raises_harms_neither_the_caller_nor_the_others(self):
        shelf = Shelf()
        app = self.singleton(dispatch=shelf, verbose=True)

        def faulty(args):
            raise SystemExit("no")

        app.trace(faulty)
        app.trace(self.observer)
        self.send("word")
        shelf.wait_for(1)
        raised = "Observer faulty raised exception: SystemExit: no"
        with self.expect_log(raised), expect_lines(raised):
            shelf.run()
        self.assertEqual(self.observer.calls, [("word",)])

    def test_subclass_of_2_0_0_is_called_through_dispatch(self):
        shelf, calls = Shelf(), []

        class Old(Socket_Singleton):
            def _append_args(self, args):
                calls.append((args, threading.current_thread()))

        self.singleton(Old, dispatch=shelf)
        self.send("word")
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(calls, [(("word",), threading.current_thread())])

    def test_any_callable(self):
        class Window:
            def after_idle(self, call):
                call()

        for dispatch in (Window().after_idle, functools.partial(Window().after_idle), lambda call: call()):
            with self.subTest(dispatch=dispatch):
                app = self.host(dispatch)
                self.send("word")
                self.observer.wait_for(("word",))
                app.release()
                self.observer.calls.clear()

    # -- between dispatch and run --

    def test_observers_that_change_before_it_runs(self):
        shelf, late = Shelf(), Collector()
        app = self.host(shelf)
        self.send("word")
        shelf.wait_for(1)
        app.trace(late)
        app.untrace(self.observer)
        shelf.run()
        self.assertEqual((self.observer.calls, late.calls), ([], [("word",)]))
        self.assertEqual(app.arguments, ())

    def test_no_observer_left_when_it_runs(self):
        """It waits, first in line, for the next observer."""
        shelf, late = Shelf(), Collector()
        app = self.host(shelf)
        self.send("one")
        self.send("two")
        shelf.wait_for(2)
        app.untrace(self.observer)
        self.send("three")
        shelf.run()
        self.assertEqual(app.arguments, (("one",), ("two",), ("three",)))
        app.trace(late)
        shelf.wait_for(3)
        shelf.run()
        self.assertEqual((self.observer.calls, late.calls), ([], [("one",), ("two",), ("three",)]))

    def test_a_loop_that_runs_the_later_launch_first(self):
        functions = queue.Queue()
        app = self.host(functions.put)
        for word in (b"first\0", b"second\0"):
            self.assertEqual(self.exchange(word), ACK)
        first, second = functions.get(timeout=PATIENCE), functions.get(timeout=PATIENCE)
        second()
        self.assertEqual(app.arguments, (("first",),))
        first()
        self.observer.wait_for(("second",), ("first",))
        for function in (first, second):  # running one again does not deliver it again
            function()
        self.assertEqual(len(self.observer.calls), 2)

    def test_release_before_it_runs(self):
        """The call may never run, as in a loop that has ended: the launch is still owned, and readable."""
        shelf = Shelf()
        app = self.host(shelf)
        self.send("one")
        self.send("two")
        shelf.wait_for(2)
        app.release()
        self.assertEqual(app.arguments, (("one",), ("two",)))
        shelf.run()
        self.assertEqual(app.arguments, (("one",), ("two",)))
        self.assertEqual(self.observer.calls, [])

    def test_release_from_a_dispatched_observer(self):
        shelf = Shelf()
        app = self.host(shelf)
        app.trace(lambda args: app.release())
        self.send("one")
        self.send("two")
        shelf.wait_for(2)
        shelf.run()
        self.assertEqual(self.observer.calls, [("one",)])
        self.assertEqual(app.arguments, (("two",),))
        self.assertFalse(Socket_Singleton.is_running(port=self.port))

    def test_release_while_dispatch_is_under_way(self):
        gate, ended = self.gate(), threading.Event()

        def slow(call):
            gate()
            call()
            ended.set()

        app = self.host(slow)
        self.send("word")
        gate.wait_for_somebody()
        app.release()
        gate.open()
        self.assertTrue(ended.wait(PATIENCE))
        self.assertEqual(self.observer.calls, [])
        self.assertEqual(app.arguments, (("word",),))

    # -- dispatch that raises --

    def test_whatever_it_raises_the_launch_stays_and_the_host_continues(self):
        class Odd(Exception):
            def __str__(self):
                raise ValueError("no text")

        refused = "Dispatch refusing raised exception"
        for error, logged in (
            (RuntimeError("closed"), REFUSED),
            (SystemExit(3), f"{refused}: SystemExit: 3"),
            (KeyboardInterrupt(), f"{refused}: KeyboardInterrupt: "),
            (Odd(), f"Dispatch of {Refusing} raised exception: Odd"),
            (GeneratorExit(), f"{refused}: GeneratorExit: "),
        ):
            log = self.expect_log(logged, repeated=True)
            with self.subTest(error=type(error)), log, Printed() as printed:
                refusing = Refusing(error)
                app = self.host(refusing, verbose=True)
                self.send("word")
                printed.wait_for("Dispatch")
                self.wait_for_arguments(app, ("word",))
                self.assertIn(type(error).__name__, printed.out)
                self.assertTrue(app._listening)
                refusing.willing = True
                self.send("next")
                self.observer.wait_for(("word",), ("next",))
                self.assertEqual(app.arguments, ())
                app.release()
                self.observer.calls.clear()

    def test_one_line_for_one_launch_and_none_if_not_verbose(self):
        for verbose in (True, False):
            refusing = Refusing(RuntimeError("closed"))
            with self.subTest(verbose=verbose), self.expect_log(REFUSED), Printed() as printed:
                app = self.host(refusing, verbose=verbose)
                self.send("word")
                refusing.wait_until_it_refused()
                self.wait_for_arguments(app, ("word",))
                app.release()
                self.join_observer_thread(app)
            self.assertEqual(printed.out, f"Socket_Singleton: {REFUSED}\n" if verbose else "")

    def test_refused_launches_are_neither_lost_nor_duplicated_and_keep_their_order(self):
        self.enter(self.expect_log(REFUSED, repeated=True))
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(100):
            refusing.willing = number % 7 == 6
            self.send(str(number))
            refusing.wait_until_it_refused()  # at least the first one, even if its thread starts late
        refusing.willing = True
        self.send("last")
        self.observer.wait_for(*[(str(number),) for number in range(100)], ("last",))
        self.assertEqual(app.arguments, ())

    def test_refused_launch_goes_to_a_new_dispatch_with_the_next_observer(self):
        self.enter(self.expect_log(REFUSED, repeated=True))
        app = self.host(Refusing(RuntimeError("closed")))
        self.send("word")
        app.dispatch.wait_until_it_refused()
        shelf, late = Shelf(), Collector()
        app.dispatch = shelf
        app.trace(late)
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual((self.observer.calls, late.calls), ([("word",)], [("word",)]))

    def test_refused_launch_that_came_before_the_first_observer(self):
        """By a call of ``_append_args``, as in 2.0.0: it is back in the list that such code uses."""
        self.enter(self.expect_log(REFUSED, repeated=True))
        refusing = Refusing(RuntimeError("closed"))
        app = self.singleton(dispatch=refusing)
        for word in ("first", "second"):
            app._append_args((word,))
        app.trace(self.observer)
        refusing.wait_until_it_refused()
        app.release()
        self.join_observer_thread(app)
        self.assertEqual(app._arguments, [("first",), ("second",)])
        self.assertEqual(app.arguments, (("first",), ("second",)))
        self.assertEqual(self.observer.calls, [])

    def test_raising_for_ever_costs_no_processor(self):
        self.enter(self.expect_log(REFUSED, repeated=True))
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(10):
            self.send(str(number))
        refusing.wait_until_it_refused()
        begun, used = time.monotonic(), time.process_time()
        threading.Event().wait(0.3)  # the time span that is measured
        used, span = time.process_time() - used, time.monotonic() - begun
        self.assertLess(used, span / 4, "it is spinning")
        # One for each piece of news, and one for each that arrived while it was looking.
        self.assertLessEqual(refusing.refused, 22)
        self.assertEqual(app.arguments, tuple((str(number),) for number in range(10)))
        app.release()
        self.join_observer_thread(app)

    def test_raising_after_it_ran_the_function_delivers_once(self):
        def both(call):
            call()
            raise RuntimeError("too late to refuse")

        raised = "Dispatch both raised exception: RuntimeError: too late to refuse"
        self.enter(self.expect_log(raised, raised))
        app = self.host(both)
        self.send("one")
        self.observer.wait_for(("one",))
        self.send("two")
        wait_until(lambda: len(self.observer.calls) >= 2, "two calls")
        app.release()
        self.join_observer_thread(app)
        self.assertEqual(self.observer.calls, [("one",), ("two",)])
        self.assertEqual(app.arguments, ())

    def test_release_while_launches_are_refused(self):
        self.enter(self.expect_log(REFUSED, repeated=True))
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(5):
            self.send(str(number))
        refusing.wait_until_it_refused()
        app.release()
        self.join_observer_thread(app)
        self.assertEqual(app.arguments, tuple((str(number),) for number in range(5)))
        self.assertEqual(self.observer.calls, [])


def no_memory_to_decode():
    """Have there be no memory for the arguments of the next launch when it reaches its observer."""
    left = [MemoryError("no memory for that")]

    def fail_once():
        if left:
            raise left.pop()

    return inside.at("decode", fail_once)


class TestDeliveryEnduresErrors(SingletonTestCase):
    """An unexpected error ends one delivery: it is reported, and the next ones are made."""

    def assert_ends_one_delivery(self, app, observer) -> None:
        with self.assertLogs("Socket_Singleton", "ERROR") as logs, no_memory_to_decode():
            Socket_Singleton.send(["lost"], port=self.port)
            wait_until(lambda: logs.output, "it is logged")
        self.assertIn("MemoryError", logs.output[0])
        Socket_Singleton.send(["later"], port=self.port)
        observer.wait_for(("later",))
        self.assertEqual(app.arguments, ())

    def test_on_the_observer_thread(self):
        self.assert_ends_one_delivery(*self.observed())

    def test_error_of_our_own(self):
        app, observer = self.observed()
        faults = [RuntimeError("a fault of ours")]

        def fail_once():
            if faults:
                raise faults.pop()

        with self.assertLogs("Socket_Singleton", "ERROR") as logs, inside.at("chosen", fail_once):
            Socket_Singleton.send(["first"], port=self.port)
            wait_until(lambda: logs.output, "it is logged")
        self.assertIn("a fault of ours", logs.output[0])
        Socket_Singleton.send(["later"], port=self.port)
        observer.wait_for(("later",))
        self.assertEqual(app.arguments, (("first",),))

    def test_where_dispatch_runs_it(self):
        """It is reported there too, and not raised in the application's own loop."""
        raised = []

        def run_here(function):
            try:
                function()
            except BaseException as error:
                raised.append(error)

        self.assert_ends_one_delivery(*self.observed(dispatch=run_here))
        self.assertEqual(raised, [])

    def test_launch_that_asked_fails_with_a_message(self):
        app, _ = self.observed(name="test", secret="key")
        fails = self.assertRaisesRegex(RuntimeError, "MemoryError")
        with self.assertLogs("Socket_Singleton", "ERROR"), no_memory_to_decode(), fails:
            Socket_Singleton.ask(["word"], name="test", secret="key", port=self.port, timeout=PATIENCE)
        self.assertTrue(app._listening)

    @unittest.skipUnless(sys.platform == "linux", "this system cannot limit the memory of a process")
    @unittest.skipIf(hasattr(sys, "pypy_version_info"), "PyPy ends a program that has no memory")
    def test_memory_is_really_short(self):
        program = self.start(PROGRAMS / "short_of_memory.py", self.port, ready="ready")
        self.assertEqual(self.exchange(b"ab\0" * (MAX_PACKET // 3)), ACK)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        program.expect("got later")
        program.write("\n")
        self.finish(program)
        self.assertEqual(sorted(program.lines), ["got first", "got later", "ready"])
        self.assertIn("MemoryError", program.err)

    def test_observer_added_after_the_main_thread_has_ended(self):
        program = self.start(PROGRAMS / "late_trace.py", self.port, ready="traced")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.finish(program)
        self.assertEqual(program.lines, ["traced", "got word"])
        self.assertEqual(program.err, "")
