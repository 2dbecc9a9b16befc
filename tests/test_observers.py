"""Observers: which are registered, and one round of calls."""

from __future__ import annotations

import functools
import threading
import time
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    Collector,
    SingletonTestCase,
    free_port,
    wait_until,
)


class TestObservers(SingletonTestCase):
    # -- trace and untrace --

    def test_trace_stores_args_and_kwargs(self):
        app, calls, called = self.singleton(), [], threading.Event()

        def observer(*args, **kwargs):
            calls.append((args, kwargs))
            called.set()

        app.trace(observer, ">>> ", 2, debug=True)
        self.assertEqual(app._observers, {observer: ((">>> ", 2), {"debug": True})})
        self.second_launch("foo", "bar")
        self.assertTrue(called.wait(PATIENCE))
        self.assertEqual(calls, [((("foo", "bar"), ">>> ", 2), {"debug": True})])

    def test_observers_is_a_dict(self):
        app = self.singleton()
        self.assertIs(type(app._observers), dict)
        app.trace(print)
        self.assertEqual(app._observers, {print: ((), {})})
        app.untrace(print)
        self.assertEqual(app._observers, {})

    def test_tracing_again_changes_the_args(self):
        app, calls = self.singleton(), []

        def observer(*args, **kwargs):
            calls.append((args, kwargs))

        app.trace(observer, "old", old=True)
        app.trace(observer, "new")
        app._append_args(("x",))
        self.assertEqual(calls, [((("x",), "new"), {})])
        self.assertIn("observers=1,", repr(app))

    def test_untrace(self):
        app, gone, stays = self.singleton(), Collector(), Collector()
        app.trace(gone)
        app.trace(stays)
        app.untrace(gone)
        app.untrace(gone)
        app.untrace(Collector())  # never registered
        self.second_launch("x")
        stays.wait_for(("x",))
        self.assertEqual(gone.calls, [])

    def test_trace_accepts_only_callables(self):
        app = self.singleton()
        for odd in (None, "print", 5, object()):
            with self.assertRaisesRegex(TypeError, "observer must be callable"):
                app.trace(odd)
        self.assertEqual(app._observers, {})

    def test_trace_rejects_coroutine_functions(self):
        async def waits(args): ...

        class Waits:
            async def __call__(self, args): ...

            async def method(self, args): ...

        app = self.singleton()
        for observer in (waits, functools.partial(waits), Waits(), Waits().method):
            with self.subTest(observer=observer), self.assertRaisesRegex(
                TypeError, "run_coroutine_threadsafe"
            ):
                app.trace(observer)
        self.assertEqual(app._observers, {})

    def test_trace_accepts_what_only_looks_like_a_coroutine_function(self):
        class Holds:
            def __init__(self, func):
                self.func = func

            def __call__(self, args): ...

        async def waits(args): ...

        app = self.singleton()
        for observer in (Holds(waits), mock.Mock()):
            app.trace(observer)
        self.assertEqual(len(app._observers), 2)

    def test_trace_of_an_observer_without_a_hash(self):
        class Unhashable:
            __hash__ = None

            def __call__(self, args):
                raise AssertionError("never registered")

        with self.assertRaises(TypeError):
            self.singleton().trace(Unhashable())

    def test_observer_may_trace_and_untrace(self):
        app, late, untraced = self.singleton(), Collector(), Collector()

        def observer(args):
            app.untrace(observer)
            app.untrace(untraced)
            app.trace(late)

        app.trace(observer)
        app.trace(untraced)
        self.second_launch("first")
        self.second_launch("second")
        late.wait_for(("second",))
        self.assertEqual(untraced.calls, [])

    def test_trace_and_untrace_while_launches_arrive(self):
        app, observer = self.observed()
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                app.trace(print_nothing)
                app.untrace(print_nothing)
                time.sleep(0)  # otherwise the others run only once per clock tick

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for number in range(200):
                self.exchange(b"%d\0" % number)
        finally:
            stop.set()
            thread.join(PATIENCE)
        observer.wait_for(*[(str(number),) for number in range(200)])

    # -- one round of calls --

    def test_observer_gets_the_arguments_of_a_second_launch(self):
        app, observer = self.observed()
        error = self.second_launch("foo", "", "b\naz", "\udcff")
        observer.wait_for(("foo", "", "b\naz", "\udcff"))
        self.assertIs(error.delivered, True)
        self.assertEqual(app.clients, 1)

    def test_launch_without_arguments_counts_and_calls_nobody(self):
        app, observer = self.observed()
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch("").delivered, True)  # the same bytes
        self.second_launch("word")
        observer.wait_for(("word",))
        self.assertEqual((app.clients, app.arguments), (3, ()))

    def test_observers_are_called_in_order_of_registration(self):
        app, calls = self.singleton(), []
        observers = [
            functools.partial(lambda number, args: calls.append((number, args)), n) for n in range(5)
        ]
        for observer in observers:
            app.trace(observer)
        app.trace(observers[0])  # again: it keeps its place
        for word in "ab":
            self.second_launch(word)
        wait_until(lambda: len(calls) >= 10, "ten calls")
        self.assertEqual(calls, [(number, (word,)) for word in "ab" for number in range(5)])

    def test_any_exception_ends_only_that_call(self):
        class Odd(BaseException):
            pass

        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, Odd, ValueError):
            with self.subTest(kind=kind):
                self.port = free_port()
                app, after = self.singleton(), Collector()

                def raise_it(args, kind=kind):
                    raise kind("out of an observer")

                app.trace(raise_it)
                app.trace(after)
                raised = f"Observer raise_it raised exception: {kind.__name__}: out of an observer"
                with self.expect_log(*[raised] * 3):
                    for word in "ab":
                        self.assertIs(self.second_launch(word).delivered, True)
                    after.wait_for(("a",), ("b",))
                    # Nor from `_append_args`, where it would end the caller. In the main thread, a
                    # KeyboardInterrupt is Ctrl-C and no error of an observer: see TestKeyboardInterrupt.
                    self.join(self.in_background(lambda app=app: app._append_args(("c",))))
                self.assertEqual(after.calls[-1], ("c",))
                self.assertTrue(app._listening)

    # -- _append_args --

    def test_append_args_notifies_in_the_calling_thread_before_it_returns(self):
        app, threads = self.singleton(), []
        app.trace(lambda args: threads.append((args, threading.get_ident())))
        app._append_args(("x", "y"))
        self.assertEqual(threads, [(("x", "y"), threading.get_ident())])
        self.assertEqual(app.arguments, ())

    def test_subclass_that_overrides_append_args_gets_every_launch(self):
        seen = Collector()

        class Mine(Socket_Singleton):
            def _append_args(self, args):
                seen(args)
                super()._append_args(args)

        app, observer = self.singleton(Mine), Collector()
        self.second_launch("without", "an observer")
        seen.wait_for(("without", "an observer"))
        wait_until(lambda: app.arguments == (("without", "an observer"),), "the launch waits")
        app.trace(observer)
        self.second_launch("with one")
        wait_until(lambda: ("with one",) in observer.calls, "the observer is called")
        self.assertIn(("with one",), seen.calls)

    def test_override_of_append_args_that_raises_does_not_end_deliveries(self):
        seen = Collector()

        class Mine(Socket_Singleton):
            def _append_args(self, args):
                seen(args)
                if args == ("bad",):
                    raise ValueError("out of an override")

        self.singleton(Mine)
        with self.expect_log("Observer _append_args raised exception: ValueError: out of an override"):
            self.second_launch("bad")
            self.second_launch("good")
            seen.wait_for(("bad",), ("good",))


class TestNotifyEmpty(SingletonTestCase):
    def test_observers_are_called_with_an_empty_tuple(self):
        _, observer = self.observed(notify_empty=True)
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch("word").delivered, True)
        self.assertIs(self.second_launch("word", argv=()).delivered, True)
        Socket_Singleton.send([], port=self.port)
        observer.wait_for((), ("word",), (), ())

    def test_by_a_launch_of_2_0_0(self):
        app, observer = self.observed(notify_empty=True)
        self.assertEqual(self.exchange(b"\0"), ACK)
        observer.wait_for(())
        self.assertEqual(app.clients, 1)

    def test_with_a_secret(self):
        app, observer = self.observed(notify_empty=True, secret="right")
        self.second_launch(secret="wrong")
        self.second_launch(secret="right")
        observer.wait_for(())
        self.assertEqual(app.clients, 2)

    def test_a_question_is_not_a_launch(self):
        """A peer that connects and sends nothing is `is_running`, or a port scanner."""
        app, observer = self.observed(notify_empty=True)
        self.assertTrue(Socket_Singleton.is_running(port=self.port))
        self.assertEqual(self.exchange(b""), b"")
        self.second_launch(client=False)
        self.second_launch("last")
        observer.wait_for(("last",))
        self.assertEqual(app.clients, 1)

    def test_it_is_ignored_beyond_max_clients(self):
        app, observer = self.observed(notify_empty=True, max_clients=1)
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch().delivered, False)
        wait_until(lambda: app.clients == 2, "both are counted")
        observer.wait_for(())

    def test_a_process_without_arguments(self):
        _, observer = self.observed(notify_empty=True)
        self.run_app("default", self.port)
        observer.wait_for(())

    def test_a_subclass_gets_it_too(self):
        calls = []

        class Old(Socket_Singleton):
            def _append_args(self, args):
                calls.append(args)

        self.singleton(Old, notify_empty=True)
        Socket_Singleton.send([], port=self.port)
        wait_until(lambda: calls == [()], "the subclass is called")


class TestNamesOfSubclasses(SingletonTestCase):
    """A subclass does not have to know which names the package uses for itself."""

    def test_names_that_a_subclass_may_have_chosen(self):
        called = []

        class Application(Socket_Singleton):
            _released = _delivery = _output = "its own"

            def __init__(self, **options):
                self._settings = self._host = {"its": "own"}
                super().__init__(**options)
                self._identity = self._inbox = self

            def _launch(self, *args):
                called.append(args)

            _serve = _end = _identify = _hand_over = _is_over = _launch

        app = self.singleton(Application, strict=False, verbose=True)
        observer = Collector()
        app.trace(observer)
        with self.assertRaises(MultipleSingletonsError) as caught:
            Application(port=self.port, strict=False, argv=["a"])
        self.assertIs(caught.exception.delivered, True)
        observer.wait_for(("a",))
        app.release()
        kept = (vars(app)["_settings"], vars(Application)["_output"])
        self.assertEqual((called, kept), ([], ({"its": "own"}, "its own")))
        self.assertIs(app.verbose, True)
        self.singleton(strict=False)

    def test_private_names_have_the_name_of_the_class(self):
        """Except those that code for 2.0.0 uses."""
        kept = ["_append_args", "_arguments", "_clients", "_listening", "_observers"]
        names = sorted({*vars(Socket_Singleton), *vars(self.singleton())})
        private = [name for name in names if name.startswith("_") and not name.endswith("__")]
        self.assertEqual([name for name in private if not name.startswith("_Socket_Singleton__")], kept)


def print_nothing(args) -> None:
    pass
