"""Delivery: the observer thread; and `dispatch`, which takes observers elsewhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import queue
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

    def test_one_observer_thread_though_two_were_started(self):
        app, observer = self.observed()
        self.second_launch("x")
        observer.wait_for(("x",))
        another = threading.Thread(target=inside.run_as_observer_thread(app))
        another.start()
        another.join(PATIENCE)
        self.assertFalse(another.is_alive())
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))

    def test_start_of_the_observer_thread_is_interrupted(self):
        """By a signal handler that raises: the next one who needs the thread starts it."""
        self.enter(inside.starts_observer_thread_late())
        app, observer = self.singleton(), Collector()
        app._append_args(("x",))  # it waits
        interrupted = mock.patch.object(threading.Thread, "start", side_effect=KeyboardInterrupt)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            app.trace(observer)
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))

    def test_no_thread_for_the_observers_at_first(self):
        """The host serves; and what waits is delivered when there is a thread again."""
        self.enter(inside.starts_observer_thread_late())
        app, observer = self.singleton(), Collector()
        error = RuntimeError("can't start new thread")
        with mock.patch.object(threading.Thread, "start", side_effect=error) as start:
            app.trace(observer)
            self.assertEqual(self.exchange(b"first\0"), ACK)
            wait_until(lambda: start.called, "it was tried")
            self.assertEqual(app.arguments, (("first",),))
        self.assertEqual(self.exchange(b"second\0"), ACK)
        observer.wait_for(("first",), ("second",))

    def test_thread_that_is_there_before_it_has_work(self):
        """On CPython 3.12, where none starts once the main thread has ended."""
        self.enter(inside.starts_observer_thread_early())
        app, observer = self.singleton(), Collector()
        wait_until(lambda: inside.observer_thread(app), "it has begun")
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))

    def test_release_from_a_signal_handler_that_interrupted_trace(self):
        app, begun, go_on = self.singleton(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def observer(_):
            begun.set()
            go_on.wait(PATIENCE)

        app.trace(observer)
        Socket_Singleton.send(["word"], port=self.port)
        begun.wait(PATIENCE)  # so the observer thread takes no news
        is_told = inside.interrupt_news(app, app.release)
        app.trace(len)
        self.assertTrue(is_told())
        self.assert_free()

    def test_launches_do_not_wait_for_a_slow_observer(self):
        app, observer = self.singleton(), Collector()
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def slow(args):
            entered.set()
            go_on.wait(PATIENCE)
            observer(args)

        app.trace(slow)
        words = [f"launch {number}" for number in range(20)]
        self.assertIs(self.second_launch(words[0]).delivered, True)
        self.assertTrue(entered.wait(PATIENCE))
        # It goes on after they are owned, so none of them can have waited for it.
        for word in words[1:]:
            self.assertIs(self.second_launch(word).delivered, True)
        self.assertEqual(app.arguments, tuple((word,) for word in words[1:]))
        go_on.set()
        observer.wait_for(*[(word,) for word in words])

    # -- what comes in between --

    def test_no_observer_has_a_launch_before_that_was_told(self):
        """Else a host killed in between has delivered what then goes to the next host."""
        called, early = threading.Event(), []

        def before_the_answer():
            inside.wake_observer_thread(app)
            early.append(called.wait(0.2))  # the fault itself: it has time enough

        app = self.singleton()
        app.trace(lambda args: called.set())
        with inside.answers_of_hosts(before_the_answer):
            self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertTrue(called.wait(PATIENCE))
        self.assertEqual(early, [False])

    def test_launches_are_delivered_though_there_is_always_more_to_do(self):
        app, observer = self.observed()
        with inside.always_more_to_do(app):
            self.assertEqual(self.exchange(b"word\0"), ACK)  # so it has looked, and is busy from now on
            self.assertEqual(self.exchange(b"word\0"), ACK)
            observer.wait_for(("word",), ("word",))

    def test_release_comes_between_a_launch_and_its_observer(self):
        """Whatever the observer thread was about to do: none is called, and nothing is lost."""
        self.check_release_in_between(Socket_Singleton, Collector())

    def test_release_comes_between_a_launch_and_an_override(self):
        observer = Collector()

        class Override(Socket_Singleton):
            def _append_args(self, args):
                observer(args)

        self.check_release_in_between(Override, observer)

    def check_release_in_between(self, kind, observer):
        about_to, go_on, done = threading.Event(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def stop():
            about_to.set()
            go_on.wait(PATIENCE)

        app = kind(port=self.port)
        self.addCleanup(app.release)
        inside.before_each_delivery(app, stop, after=lambda went: done.set())
        app.trace(observer)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertTrue(about_to.wait(PATIENCE))
        app.release()
        app.trace(observer)  # not even one that comes now
        self.assertEqual(app.arguments, (("word",),))
        go_on.set()
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(observer.calls, [])
        self.assertEqual(app.arguments, (("word",),))

    def test_release_comes_between_the_taking_of_a_launch_and_its_first_call(self):
        """It is no longer in the row, so it must reach the observer, or it is nowhere."""
        app, first, second = self.singleton(), Collector(), Collector()
        inside.after_each_begin(app, app.release)
        app.trace(first)
        app.trace(second)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        first.wait_for(("word",))
        self.join(inside.observer_thread(app))
        self.assertEqual((second.calls, app.arguments), ([], ()))

    def test_untrace_comes_between_a_look_and_the_launch(self):
        """The observer thread saw that somebody wants launches; when it gets to them, nobody does."""
        app, observer, delivered = self.singleton(), Collector(), []
        inside.somebody_seems_to_want_launches(app)
        inside.before_each_delivery(app, lambda: None, after=delivered.append)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        wait_until(lambda: delivered, "it was tried")
        self.assertEqual(app.arguments, (("word",),))
        app.trace(observer)
        observer.wait_for(("word",))
        wait_until(lambda: len(delivered) == 2, "it was tried again, once")
        self.assertEqual(delivered, [False, True])

    def test_no_observer_is_called_after_release(self):
        self.check_release_during_a_call(traced_again=False)

    def test_no_observer_is_called_after_release_if_traced_only_then(self):
        self.check_release_during_a_call(traced_again=True)

    def check_release_during_a_call(self, traced_again: bool) -> None:
        app, entered, go_on = self.singleton(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        late = Collector()

        def first(args):
            entered.set()
            go_on.wait(PATIENCE)

        app.trace(first)
        app.trace(late)
        self.second_launch("under way")
        self.assertTrue(entered.wait(PATIENCE))
        self.second_launch("waiting")
        app.release()
        if traced_again:
            app.trace(late)
        go_on.set()
        self.join(inside.observer_thread(app))
        self.assertEqual(late.calls, [])
        self.assertEqual(app.arguments, (("waiting",),))

    # -- verbose lines --

    def test_lines_of_verbose_hosts_do_not_hold_up_the_port(self):
        """stdout may be a pipe that nobody reads; and a peer can cause any number of lines."""
        blocked, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        class Clogged:
            def write(self, text):
                blocked.set()
                go_on.wait(PATIENCE)

            def flush(self):
                pass

        with contextlib.redirect_stdout(Clogged()):
            app = self.singleton(verbose=True, secret="right")
            for _ in range(50):
                self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
            self.assertTrue(blocked.wait(PATIENCE))
            self.assertEqual(self.exchange(b"right\0x\0"), ACK)
            go_on.set()
            wait_until(lambda: not inside.waiting_lines(app), "the lines are printed")

    def test_lines_do_not_hold_up_launches(self):
        """A peer can cause lines without end; each launch waits for one at most."""
        self.enter(inside.starts_observer_thread_late())
        app, left = self.singleton(verbose=True), []
        app.trace(lambda args: left.append(len(inside.waiting_lines(app))))
        with Printed():
            with inside.inbox_lock(app):
                inside.waiting_lines(app).extend(["line"] * 100)
                self.assertEqual(self.exchange(b"word\0"), ACK)
                wait_until(lambda: inside.all_handed_out(app), "it may be delivered")
            wait_until(lambda: left, "the launch reaches the observer")
        self.assertGreater(left[0], 90)


class Refusing:
    """A dispatch that raises until it is told to do its work."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.refused = 0
        self.willing = False

    def __call__(self, call) -> None:
        if not self.willing:
            self.refused += 1
            raise self.error
        call()

    def wait_until_it_did(self) -> None:
        wait_until(lambda: self.refused, "dispatch has raised")


class TestDispatch(SingletonTestCase):
    """Observers run where the application wants them, and no launch is lost on the way there."""

    def setUp(self) -> None:
        super().setUp()
        self.observer = Collector()

    def host(self, dispatch, **options) -> Socket_Singleton:
        app = self.singleton(dispatch=dispatch, **options)
        app.trace(self.observer)
        return app

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
        """The launch stays, the host lives on, and the next dispatch gets all in order."""
        loop = asyncio.new_event_loop()
        app = self.host(loop.call_soon_threadsafe, verbose=True)
        loop.close()
        with Printed() as printed:
            self.send("kept")
            printed.wait_for(
                "Socket_Singleton: Dispatch call_soon_threadsafe raised exception:"
                " RuntimeError: Event loop is closed",
            )
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

    def test_asyncio_loop_whose_program_ends(self):
        """The loop is closed when the interpreter ends with a launch at hand: it ends soon, and says so."""
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
        wait_until(lambda: len(names) == 50, "the second observer had all")
        self.assertEqual(set(names), {"observers here_0"})

    def test_executor_that_is_shut_down(self):
        executor = concurrent.futures.ThreadPoolExecutor(1)
        app = self.host(executor.submit, verbose=True)
        self.send("done")
        self.observer.wait_for(("done",))
        executor.shutdown()
        with Printed() as printed:
            self.send("kept")
            printed.wait_for("Dispatch submit raised exception: RuntimeError")
            self.wait_for_arguments(app, ("kept",))
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

    def test_queue_that_is_full_holds_up_no_launch(self):
        calls = queue.Queue(1)
        self.host(calls.put)
        for number in range(50):
            self.send(str(number))  # owned, while `put` waits on the observer thread
        for _ in range(50):
            calls.get(timeout=PATIENCE)()
        self.observer.wait_for(*[(str(number),) for number in range(50)])

    # -- what one call is --

    def test_one_call_for_each_launch_whatever_the_observers(self):
        shelf = Shelf()
        app = self.host(shelf)
        others = [Collector() for _ in range(3)]
        for other in others:
            app.trace(other)
        for number in range(10):
            self.send(str(number))
        self.send()  # without arguments: nobody is called, so nothing is dispatched
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

    def test_function_takes_nothing_and_returns_nothing(self):
        """What idle handlers of toolkits call again, for as long as it returns something true."""
        shelf = Shelf()
        self.host(shelf)
        self.send("word")
        shelf.wait_for(1)
        self.assertFalse(shelf.calls[0]())
        self.assertEqual(self.observer.calls, [("word",)])

    def test_is_called_on_the_observer_thread_and_may_take_its_time(self):
        threads, go_on = [], threading.Event()
        self.addCleanup(go_on.set)

        def slow(call):
            threads.append(threading.current_thread().name)
            go_on.wait(PATIENCE)
            call()

        self.host(slow)
        for number in range(3):
            self.send(str(number))  # owned, though dispatch does not return
        go_on.set()
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
        with Printed() as printed:
            shelf.run()
        self.assertEqual(self.observer.calls, [("word",)])
        self.assertEqual(printed.out, "Socket_Singleton: Observer faulty raised exception: SystemExit: no\n")

    def test_subclass_of_2_0_0_is_called_where_dispatch_takes_it(self):
        shelf, calls = Shelf(), []

        class Old(Socket_Singleton):
            def _append_args(self, args):
                calls.append((args, threading.current_thread()))

        app = Old(port=self.port, dispatch=shelf)
        self.addCleanup(app.release)
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
        """It waits, first in the row, for the next observer."""
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
        for function in (first, second):  # nor does running one again deliver it again
            function()
        self.assertEqual(len(self.observer.calls), 2)

    def test_release_before_it_runs(self):
        """It may never run, as in a loop that has ended: it is still owned, and readable."""
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
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        ended = threading.Event()

        def slow(call):
            entered.set()
            go_on.wait(PATIENCE)
            call()
            ended.set()

        app = self.host(slow)
        self.send("word")
        self.assertTrue(entered.wait(PATIENCE))
        app.release()
        go_on.set()
        self.assertTrue(ended.wait(PATIENCE))
        self.assertEqual(self.observer.calls, [])
        self.assertEqual(app.arguments, (("word",),))

    # -- dispatch that raises --

    def test_whatever_it_raises_the_launch_stays_and_the_host_lives(self):
        class Odd(Exception):
            def __str__(self):
                raise ValueError("no text")

        for error in (RuntimeError("closed"), SystemExit(3), KeyboardInterrupt(), Odd(), GeneratorExit()):
            with self.subTest(error=type(error)), Printed() as printed:
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
            with self.subTest(verbose=verbose), Printed() as printed:
                app = self.host(refusing, verbose=verbose)
                self.send("word")
                refusing.wait_until_it_did()
                self.wait_for_arguments(app, ("word",))
                app.release()
                self.join_observer_thread(app)
            text = f"Socket_Singleton: Dispatch {refusing} raised exception: RuntimeError: closed\n"
            self.assertEqual(printed.out, text if verbose else "")

    def test_refused_launches_are_neither_lost_nor_doubled_and_keep_their_order(self):
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(100):
            refusing.willing = number % 7 == 6
            self.send(str(number))
        refusing.willing = True
        self.send("last")
        self.observer.wait_for(*[(str(number),) for number in range(100)], ("last",))
        self.assertEqual(app.arguments, ())

    def test_refused_launch_goes_to_a_dispatch_put_in_its_place_with_the_next_observer(self):
        app = self.host(Refusing(RuntimeError("closed")))
        self.send("word")
        app.dispatch.wait_until_it_did()
        shelf, late = Shelf(), Collector()
        app.dispatch = shelf
        app.trace(late)
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual((self.observer.calls, late.calls), ([("word",)], [("word",)]))

    def test_refused_launch_that_came_before_the_first_observer(self):
        """By a call of ``_append_args``, as in 2.0.0: it is back in the list that such code knows."""
        refusing = Refusing(RuntimeError("closed"))
        app = self.singleton(dispatch=refusing)
        for word in ("first", "second"):
            app._append_args((word,))
        app.trace(self.observer)
        refusing.wait_until_it_did()
        app.release()
        self.join_observer_thread(app)
        self.assertEqual(app._arguments, [("first",), ("second",)])
        self.assertEqual(app.arguments, (("first",), ("second",)))
        self.assertEqual(self.observer.calls, [])

    def test_raising_for_ever_costs_no_processor(self):
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(10):
            self.send(str(number))
        refusing.wait_until_it_did()
        begun, used = time.monotonic(), time.process_time()
        threading.Event().wait(0.3)  # the span that is measured
        used, span = time.process_time() - used, time.monotonic() - begun
        self.assertLess(used, span / 4, "it spins")
        # One for each time that there was news, and one for each that came while it looked.
        self.assertLessEqual(refusing.refused, 22)
        self.assertEqual(app.arguments, tuple((str(number),) for number in range(10)))

    def test_raising_after_it_ran_the_function_delivers_once(self):
        def both(call):
            call()
            raise RuntimeError("too late to refuse")

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
        refusing = Refusing(RuntimeError("closed"))
        app = self.host(refusing)
        for number in range(5):
            self.send(str(number))
        refusing.wait_until_it_did()
        app.release()
        self.join_observer_thread(app)
        self.assertEqual(app.arguments, tuple((str(number),) for number in range(5)))
        self.assertEqual(self.observer.calls, [])


class TestDeliveryEnduresErrors(SingletonTestCase):
    """An error that nobody expected ends one delivery: it is reported, and the next ones are made."""

    def assert_ends_one_delivery(self, app, observer) -> None:
        with self.assertLogs("Socket_Singleton", "ERROR") as logs, inside.no_memory_to_decode(1):
            Socket_Singleton.send(["lost"], port=self.port)
            wait_until(lambda: logs.output, "it is logged")
        self.assertIn("MemoryError", logs.output[0])
        Socket_Singleton.send(["later"], port=self.port)
        observer.wait_for(("later",))
        self.assertEqual(app.arguments, ())

    def test_on_the_observer_thread(self):
        self.assert_ends_one_delivery(*self.observed())

    def test_fault_of_ours(self):
        app, observer = self.observed()
        faults = [RuntimeError("a fault of ours")]

        def fail_once():
            if faults:
                raise faults.pop()

        inside.before_each_delivery(app, fail_once)
        with self.assertLogs("Socket_Singleton", "ERROR") as logs:
            Socket_Singleton.send(["first"], port=self.port)
            wait_until(lambda: logs.output, "it is logged")
        self.assertIn("a fault of ours", logs.output[0])
        Socket_Singleton.send(["later"], port=self.port)
        observer.wait_for(("later",))
        self.assertEqual(app.arguments, (("first",),))

    def test_where_dispatch_has_it_run(self):
        """Reported there too, and not raised in the application's own loop."""
        raised = []

        def run_here(function):
            try:
                function()
            except BaseException as error:
                raised.append(error)

        self.assert_ends_one_delivery(*self.observed(dispatch=run_here))
        self.assertEqual(raised, [])

    def test_launch_that_asked_is_told(self):
        app, _ = self.observed(name="test", secret="key")
        told = self.assertRaisesRegex(RuntimeError, "MemoryError")
        with self.assertLogs("Socket_Singleton", "ERROR"), inside.no_memory_to_decode(1), told:
            Socket_Singleton.ask(["word"], name="test", secret="key", port=self.port, timeout=PATIENCE)
        self.assertTrue(app._listening)

    @unittest.skipUnless(sys.platform == "linux", "here the memory of a process cannot be limited so")
    @unittest.skipIf(hasattr(sys, "pypy_version_info"), "PyPy ends a program that has no memory")
    def test_memory_is_short_indeed(self):
        program = self.start(PROGRAMS / "short_of_memory.py", self.port, ready="ready")
        self.assertEqual(self.exchange(b"ab\0" * (MAX_PACKET // 3)), ACK)
        self.assertEqual(self.exchange(b"later\0"), ACK)
        program.expect("got later")
        program.write("\n")
        self.finish(program)
        self.assertEqual(sorted(program.lines), ["got first", "got later", "ready"])
        self.assertIn("MemoryError", program.err)

    def test_observer_that_comes_after_the_main_thread_has_ended(self):
        program = self.start(PROGRAMS / "late_trace.py", self.port, ready="traced")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.finish(program)
        self.assertEqual(program.lines, ["traced", "got word"])
        self.assertEqual(program.err, "")
