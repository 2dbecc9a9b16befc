"""In one process: properties, observers, context manager, what 2.0.0's own users reach for."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import socket
import threading
from unittest import mock

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._wire import ACK, MAX_PACKET

from .support import PATIENCE, Collector, SingletonTestCase, free_port, read_to_end, wait_until


class TestInProcess(SingletonTestCase):
    """What one object shows, and how it is released."""

    def restarts(self) -> None:
        """Check that the port can be taken now, at once."""
        Socket_Singleton(port=self.port, strict=False).release()

    # -- attributes and texts --

    def test_constructor_has_the_order_and_the_defaults_of_2_0_0(self):
        parameters = inspect.signature(Socket_Singleton).parameters.values()
        positional = [x for x in parameters if x.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        self.assertEqual(
            [(parameter.name, parameter.default) for parameter in positional],
            [
                ("address", "127.0.0.1"),
                ("port", 1337),
                ("timeout", 0),
                ("client", True),
                ("strict", True),
                ("release_threshold", 0),
                ("max_clients", 0),
                ("verbose", False),
                ("secret", None),
            ],
        )
        # Whatever came later is named.
        kinds = {x.kind for x in parameters if x not in positional}
        self.assertLessEqual(kinds, {inspect.Parameter.KEYWORD_ONLY})

    def test_attributes_are_what_was_given(self):
        given = ("127.0.0.1", self.port, 60, False, False, 3, 2, True, "word")
        app = Socket_Singleton(*given)
        self.addCleanup(app.release)
        names = list(inspect.signature(Socket_Singleton).parameters)[: len(given)]
        self.assertEqual(tuple(getattr(app, name) for name in names), given)

    def test_str(self):
        app = self.singleton()
        self.assertEqual(str(app), f"Socket_Singleton(address='127.0.0.1', port={self.port})")

    def test_repr_of_the_defaults(self):
        app = self.singleton()
        self.assertEqual(
            repr(app),
            f"Socket_Singleton(address='127.0.0.1', port={self.port}, timeout=0, client=True, strict=True, "
            "release_threshold=0, max_clients=0, verbose=False, secret=None, "
            "observers=0, clients=0, listening=True, argv=None, notify_empty=False, dispatch=None, wait=0)",
        )

    def test_repr_of_everything_else(self):
        app = self.singleton(
            timeout=2.5e6,
            client=False,
            strict=False,
            release_threshold=9,
            max_clients=8,
            verbose=True,
            secret="do not show",
            argv=["a", "b"],
            notify_empty=True,
            wait=0.5,
        )
        app.trace(id)
        app.trace(Collector())
        self.assertEqual(self.exchange(b"do not show\0"), ACK)
        shown = (
            f"Socket_Singleton(address='127.0.0.1', port={self.port}, timeout=2500000, client=False, "
            "strict=False, release_threshold=9, max_clients=8, verbose=True, secret=***, "
        )
        later = ", argv=('a', 'b'), notify_empty=True, dispatch=None, wait=0.5)"
        self.assertEqual(repr(app), shown + "observers=2, clients=1, listening=True" + later)
        app.release()
        self.assertEqual(repr(app), shown + "observers=0, clients=1, listening=False" + later)

    def test_repr_of_an_empty_secret_is_that_of_none(self):
        self.assertIn("secret=None", repr(self.singleton(secret="")))

    def test_port_0_binds_a_free_one(self):
        app, other = self.singleton(port=0), self.singleton(port=0)
        self.assertGreater(app.port, 0)
        self.assertNotEqual(app.port, other.port)
        self.assertIn(f"port={app.port}", str(app))
        self.assertEqual(self.exchange(b"word\0", app.port), ACK)
        self.assertEqual(app.arguments, (("word",),))

    # -- arguments, clients --

    def test_arguments_are_a_tuple_of_tuples_and_read_only(self):
        app = self.singleton()
        self.assertEqual((app.arguments, app.clients), ((), 0))
        self.second_launch("foo", "bar")
        self.second_launch("baz")
        self.assertEqual(app.arguments, (("foo", "bar"), ("baz",)))
        self.assertEqual(app.arguments, (("foo", "bar"), ("baz",)), "looking took them away")
        self.assertEqual(app.clients, 2)
        for name in ("arguments", "clients"):
            with self.assertRaises(AttributeError):
                setattr(app, name, ())

    def test_launch_without_arguments_counts_and_calls_nobody(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch("").delivered, True)  # the same on the wire
        self.second_launch("word")
        observer.wait_for(("word",))
        self.assertEqual((app.clients, app.arguments), (3, ()))

    def test_launch_that_hands_nothing_over_does_not_count(self):
        app = self.singleton()
        self.assertIsNone(self.second_launch("word", client=False).delivered)
        self.second_launch("later")
        self.assertEqual((app.clients, app.arguments), (1, (("later",),)))

    def test_launches_before_the_first_trace_wait_and_come_in_order(self):
        app, observer = self.singleton(), Collector()
        words = [(str(number),) for number in range(50)]
        for (word,) in words:
            self.assertEqual(self.exchange(word.encode() + b"\0"), ACK)
        self.assertEqual(app.arguments, tuple(words))
        app.trace(observer)
        self.second_launch("last")
        observer.wait_for(*words, ("last",))
        self.assertEqual(app.arguments, ())

    def test_undelivered_arguments_stay_readable_after_release(self):
        app = self.singleton()
        self.second_launch("owned")
        app.release()
        self.assertEqual(app.arguments, (("owned",),))
        self.assertEqual(app.clients, 1)

    # -- observers --

    def test_observer_gets_the_arguments_of_a_second_launch(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        error = self.second_launch("foo", "", "b\naz", "\udcff")
        observer.wait_for(("foo", "", "b\naz", "\udcff"))
        self.assertIs(error.delivered, True)
        self.assertEqual(app.clients, 1)

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

    def test_to_trace_again_changes_the_args(self):
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

    def test_observer_that_was_the_last_one_leaves_launches_waiting(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        app.untrace(observer)
        self.second_launch("x")
        self.assertEqual((app.arguments, observer.calls), ((("x",),), []))

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

    def test_observers_run_on_one_thread_that_is_not_the_callers(self):
        app, threads = self.singleton(), []
        app.trace(lambda args: threads.append(threading.current_thread()))
        for word in "abc":
            self.second_launch(word)
        wait_until(lambda: len(threads) >= 3, "three calls")
        self.assertEqual(len(set(threads)), 1)
        self.assertIsNot(threads[0], threading.current_thread())
        self.assertTrue(threads[0].daemon)

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

    def test_trace_takes_only_what_can_be_called(self):
        app = self.singleton()
        for odd in (None, "print", 5, object()):
            with self.assertRaisesRegex(TypeError, "observer must be callable"):
                app.trace(odd)
        self.assertEqual(app._observers, {})

    def test_trace_of_an_observer_without_a_hash(self):
        class Unhashable:
            __hash__ = None

            def __call__(self, args):
                raise AssertionError("never registered")

        with self.assertRaises(TypeError):
            self.singleton().trace(Unhashable())

    def test_system_exit_and_keyboard_interrupt_end_that_call_alone(self):
        for kind in (SystemExit, KeyboardInterrupt):
            with self.subTest(kind=kind):
                self.port = free_port()
                app, after = self.singleton(), Collector()

                def stop(args, kind=kind):
                    raise kind("out of an observer")

                app.trace(stop)
                app.trace(after)
                for word in "ab":
                    self.assertIs(self.second_launch(word).delivered, True)
                after.wait_for(("a",), ("b",))
                # From `_append_args` neither: there it would end the caller.
                app._append_args(("c",))
                self.assertEqual(after.calls[-1], ("c",))

    # -- _append_args --

    def test_append_args_notifies_in_the_calling_thread_before_it_returns(self):
        app, threads = self.singleton(), []
        app.trace(lambda args: threads.append((args, threading.get_ident())))
        app._append_args(("x", "y"))
        self.assertEqual(threads, [(("x", "y"), threading.get_ident())])
        self.assertEqual(app.arguments, ())

    def test_append_args_without_an_observer_leaves_it_in_arguments(self):
        app, observer = self.singleton(), Collector()
        app._append_args(("x",))
        self.assertEqual(app.arguments, (("x",),))
        self.assertEqual(app._arguments, [("x",)])
        self.assertEqual(app.clients, 0)
        app.trace(observer)
        observer.wait_for(("x",))
        self.assertEqual(app._arguments, [])

    def test_subclass_that_overrides_append_args_gets_every_launch(self):
        seen = Collector()

        class Mine(Socket_Singleton):
            def _append_args(self, args):
                seen(args)
                super()._append_args(args)

        app, observer = Mine(port=self.port), Collector()
        self.addCleanup(app.release)
        self.second_launch("without", "an observer")
        seen.wait_for(("without", "an observer"))
        wait_until(lambda: app.arguments == (("without", "an observer"),), "it went on to wait")
        app.trace(observer)
        self.second_launch("with one")
        wait_until(lambda: ("with one",) in observer.calls, "the observer has it")
        self.assertIn(("with one",), seen.calls)

    def test_override_of_append_args_that_raises_does_not_end_deliveries(self):
        seen = Collector()

        class Mine(Socket_Singleton):
            def _append_args(self, args):
                seen(args)
                if args == ("bad",):
                    raise ValueError("out of an override")

        app = Mine(port=self.port)
        self.addCleanup(app.release)
        with mock.patch("sys.stderr", io.StringIO()):  # where a thread's traceback would go
            self.second_launch("bad")
            self.second_launch("good")
            seen.wait_for(("bad",), ("good",))

    # -- release, context manager --

    def test_context_manager(self):
        app = Socket_Singleton(port=self.port)
        self.addCleanup(app.release)
        with app as entered:
            self.assertIs(entered, app)
            self.assertTrue(app._listening)
            self.assertIsNone(self.second_launch(client=False).delivered)
        self.assertFalse(app._listening)
        self.restarts()

    def test_context_manager_releases_on_an_exception_and_lets_it_pass(self):
        for kind in (ValueError, KeyboardInterrupt, SystemExit):
            with self.assertRaisesRegex(kind, "out of the block"), Socket_Singleton(port=self.port):
                raise kind("out of the block")
            self.restarts()

    def test_release_twice(self):
        app = self.singleton()
        app.release()
        app.release()
        # The second one must not harm who came next.
        following = self.singleton()
        app.release()
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertEqual((app.arguments, following.arguments), ((), (("x",),)))

    def test_close_is_release(self):
        app = self.singleton()
        app.close()
        self.assertFalse(app._listening)
        self.restarts()
        app.close()

    def test_release_from_an_observer(self):
        app, released = self.singleton(), threading.Event()

        def observer(args):
            app.release()
            self.restarts()
            released.set()

        after = Collector()
        app.trace(observer)
        app.trace(after)
        self.second_launch("x")
        self.assertTrue(released.wait(PATIENCE))
        app.release()
        app._delivery._thread.join(PATIENCE)
        self.assertFalse(app._delivery._thread.is_alive())
        self.assertEqual(after.calls, [], "an observer was called after the release")

    def test_release_from_a_signal_handler_that_interrupted_release(self):
        """At the same time, in the same thread, while a lock is held."""
        app = self.singleton()
        wake = app._host._wake

        def interrupted():
            wake()
            app._host._wake = wake
            app.release()

        app._host._wake = interrupted
        app.release()
        self.singleton(strict=False).release()

    def test_release_from_a_signal_handler_that_interrupted_trace(self):
        app, begun, go_on = self.singleton(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def observer(_):
            begun.set()
            go_on.wait(PATIENCE)

        app.trace(observer)
        Socket_Singleton.send(["word"], port=self.port)
        begun.wait(PATIENCE)  # so the observer thread takes no news
        news = app._delivery._news

        def interrupted():
            app._delivery._news = news
            app.release()
            return True

        app._delivery._news = mock.Mock(wraps=news, locked=interrupted)
        app.trace(len)
        self.assertFalse(news.locked())
        self.singleton(strict=False).release()

    def test_release_from_a_signal_handler_that_interrupted_a_look_at_arguments(self):
        """It waits for the I/O thread, which must not wait for the lock that the look holds."""
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        with app._delivery._lock:
            self.assertEqual(self.exchange(b"word\0"), ACK)
            app.release()
        self.singleton(strict=False).release()
        self.assertEqual((observer.calls, app.arguments), ([], (("word",),)))

    def test_release_from_a_signal_handler_that_interrupted_the_start_of_a_thread(self):
        """Python holds a lock there, which every thread needs in order to be gone."""
        app = self.singleton()
        with threading._active_limbo_lock:
            app.release()
        self.singleton(strict=False).release()

    def test_one_observer_thread_though_two_were_started(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))
        another = threading.Thread(target=app._delivery._run)
        another.start()
        another.join(PATIENCE)
        self.assertFalse(another.is_alive())
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))

    def test_start_of_the_observer_thread_is_interrupted(self):
        """By a signal handler that raises: the next one who needs the thread starts it."""
        app, observer = self.singleton(), Collector()
        app._append_args(("x",))  # it waits
        interrupted = mock.patch.object(threading.Thread, "start", side_effect=KeyboardInterrupt)
        with interrupted, self.assertRaises(KeyboardInterrupt):
            app.trace(observer)
        self.second_launch("y")
        observer.wait_for(("x",), ("y",))

    def test_release_from_many_threads_at_once(self):
        for _ in range(20):
            app, barrier, failed = self.singleton(), threading.Barrier(8), []

            def release(app=app, barrier=barrier, failed=failed):
                try:
                    barrier.wait(PATIENCE)
                    app.release()
                    if app._listening:
                        failed.append("release returned before it was done")
                except Exception as error:
                    failed.append(error)

            threads = [threading.Thread(target=release) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive(), "deadlock")
            self.assertEqual(failed, [])
            self.restarts()

    def test_release_leaves_no_thread(self):
        before = set(threading.enumerate())

        def added():
            return set(threading.enumerate()) - before

        app = self.singleton()
        self.assertEqual(len(added()), 1, "an idle host runs one thread")
        observer = Collector()
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))
        app.release()
        wait_until(lambda: not added(), "the observers' thread ends")

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
        app._delivery._thread.join(PATIENCE)
        self.assertFalse(app._delivery._thread.is_alive())
        self.assertEqual(late.calls, [])
        self.assertEqual(app.arguments, (("waiting",),))

    def test_restart_on_the_same_port_300_times(self):
        for number in range(300):
            app = self.singleton(strict=False)
            self.assertIs(self.second_launch(str(number)).delivered, True)
            app.release()
            self.assertEqual(app.arguments, ((str(number),),))

    def test_launches_after_release_become_hosts(self):
        first = self.singleton()
        first.release()
        following = self.singleton(strict=False)
        self.assertIs(self.second_launch("x").delivered, True)
        self.assertEqual((first.clients, following.clients), (0, 1))

    # -- addresses --

    def reached(self, address: str) -> Socket_Singleton:
        """Return a host at ``address``, after a second launch at the same one has reached it."""
        app = self.singleton(address=address)
        self.assertIs(self.second_launch("word", address=address).delivered, True)
        self.assertEqual(app.arguments, (("word",),))
        self.assertEqual(app.address, address)
        return app

    def ipv6_or_skip(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            self.skipTest(f"this machine has no IPv6: {error}")

    def test_address_localhost(self):
        self.assertIn("address='localhost'", str(self.reached("localhost")))

    def test_address_ipv6_loopback(self):
        self.ipv6_or_skip()
        self.assertIn("address='::1'", str(self.reached("::1")))

    def test_address_ipv6_wildcard(self):
        self.ipv6_or_skip()
        self.reached("::")

    def test_address_ipv4_wildcards(self):
        for address in ("0.0.0.0", ""):
            with self.subTest(address=address):
                self.port = free_port()
                app = self.reached(address)
                # On all of the machine's addresses, so the default one finds it too.
                self.assertIs(self.second_launch("from 127.0.0.1").delivered, True)
                self.assertEqual(app.arguments[1:], (("from 127.0.0.1",),))

    # -- verbose --

    @contextlib.contextmanager
    def lines(self, *expected: str):
        """Check what is printed to stdout inside: these lines, soon, and no others."""
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            yield
            wait_until(lambda: stdout.getvalue().count("\n") >= len(expected), f"lines {expected}")
        self.assertEqual(stdout.getvalue().splitlines(), [f"Socket_Singleton: {line}" for line in expected])

    def notify(self, observer, **options) -> None:
        """Have ``observer`` called in this thread by a host of its own."""
        app = self.singleton(port=0, verbose=True, **options)
        app.trace(observer)
        app._append_args(("x",))

    def test_verbose_observer_exception(self):
        app, after = self.singleton(verbose=True), Collector()

        def careless(args):
            raise ValueError("Intentional test exception")

        with self.lines("Observer careless raised exception: ValueError: Intentional test exception"):
            app.trace(careless)
            app.trace(after)
            self.second_launch("x")
            after.wait_for(("x",))

    def test_secret_that_is_set_later(self):
        app = self.singleton(port=0)
        for secret, data, answer in (
            (None, b"old\0word\0", ACK),
            ("new", b"old\0word\0", b""),
            ("new", b"new\0word\0", ACK),
            (None, b"word\0", ACK),
        ):
            app.secret = secret
            self.assertEqual((self.exchange(data, app.port), app.secret), (answer, secret))
        self.assertEqual(app.arguments, (("old", "word"), ("word",), ("word",)))
        with self.assertRaises(ValueError):
            app.secret = "a\0b"
        self.assertIsNone(app.secret)

    def test_switches_are_shown_as_such(self):
        app = self.singleton(client=1, strict=0, verbose="")
        self.assertIn("client=True, strict=False,", repr(app))
        self.assertIs(app.verbose, False)

    def test_verbose_wrong_secret(self):
        app = self.singleton(verbose=True, secret="right")
        with self.lines(f"Client verification failed on port {self.port}, ignoring connection"):
            self.assertEqual(self.exchange(b"wrong\0word\0"), b"")
        self.assertEqual((app.clients, app.arguments), (1, ()))

    def test_verbose_packet_too_long(self):
        self.singleton(verbose=True)
        failed = f"Failed to decode data from client on port {self.port}"
        with self.lines(f"{failed} (more than {MAX_PACKET} bytes)"), contextlib.suppress(ConnectionError):
            self.exchange(b"x" * (MAX_PACKET + 1))

    def test_verbose_packet_incomplete_at_its_deadline(self):
        app = self.singleton(verbose=True)
        peer = self.connect()
        peer.sendall(b"half a pack")
        failed = f"Failed to decode data from client on port {self.port}"
        with self.lines(f"{failed} (incomplete after 5 seconds)"), self.peers_out_of_time(app, 11):
            self.assertRaises(ConnectionError, read_to_end, peer)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_verbose_connection_failure(self):
        stdout = io.StringIO()
        with socket.socket() as bound, contextlib.redirect_stdout(stdout):
            bound.bind(("127.0.0.1", self.port))
            self.assertIs(self.second_launch("word", verbose=True).delivered, False)
        failed = f"Socket_Singleton: Failed to connect to existing instance on 127.0.0.1:{self.port}"
        self.assertEqual(stdout.getvalue().count("\n"), 1)
        self.assertEqual(stdout.getvalue()[: len(failed)], failed)

    def test_not_verbose_prints_nothing(self):
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            app, after = self.singleton(secret="right"), Collector()
            app.trace(lambda args: 1 / 0)
            app.trace(after)
            self.exchange(b"wrong\0")
            self.exchange(b"right\0word\0")
            after.wait_for(("word",))
            app.release()
        self.assertEqual((stdout.getvalue(), stderr.getvalue()), ("", ""))

    def test_verbose_may_be_changed_as_the_host_runs(self):
        app = self.singleton()
        app.trace(lambda args: 1 / 0)
        with self.lines():
            app._append_args(("x",))
        app.verbose = True
        with self.lines("Observer <lambda> raised exception: ZeroDivisionError: division by zero"):
            app._append_args(("x",))

    def test_verbose_partial(self):
        observer = functools.partial(lambda args: 1 / 0)
        with self.lines(f"Observer {observer!r} raised exception: ZeroDivisionError: division by zero"):
            self.notify(observer)

    def test_verbose_callable_object(self):
        class Odd:
            def __repr__(self):
                return "an odd one"

            def __call__(self, args):
                raise KeyError("word")

        with self.lines("Observer an odd one raised exception: KeyError: 'word'"):
            self.notify(Odd())

    def test_verbose_observers_that_cannot_be_shown(self):
        """What it can still say, it says; and it goes on, whatever showing them raises."""

        class Unshowable(Exception):
            def __init__(self, kind):
                super().__init__()
                self.kind = kind

            def __str__(self):
                raise self.kind("out of __str__")

        class Nameless:
            def __init__(self, kind):
                self.kind = kind

            @property
            def __name__(self):
                raise self.kind("out of __name__")

            __repr__ = __str__ = lambda self: self.__name__

            def __call__(self, args):
                raise Unshowable(self.kind)

        def unshowable(args, kind):
            raise Unshowable(kind)

        for kind in (ValueError, SystemExit, KeyboardInterrupt):
            observers = {
                "exception": functools.partial(unshowable, kind=kind),
                "observer": Nameless(kind),
            }
            for name, observer in observers.items():
                with self.subTest(what=name, kind=kind):
                    stdout = io.StringIO()
                    try:
                        with contextlib.redirect_stdout(stdout):
                            self.notify(observer)
                    except BaseException as error:
                        self.fail(f"{error!r} went through to the caller")
                    self.assertRegex(
                        stdout.getvalue(),
                        r"\ASocket_Singleton: Observer .* raised exception: Unshowable.*\n\Z",
                    )

    def test_verbose_without_a_usable_stdout(self):
        class Broken(io.StringIO):
            def __init__(self, kind):
                super().__init__()
                self.kind = kind
                self.asked = False

            def write(self, text):
                self.asked = True
                raise self.kind("out of stdout")

        closed = io.StringIO()
        closed.close()
        for stdout in (None, closed, object(), *map(Broken, (OSError, SystemExit, KeyboardInterrupt))):
            with self.subTest(stdout=stdout, kind=getattr(stdout, "kind", None)):
                self.port = free_port()
                app, after = self.singleton(verbose=True, secret="right"), Collector()
                app.trace(lambda args: 1 / 0)
                app.trace(after)
                stderr = io.StringIO()  # where the traceback of a thread that dies would go
                with mock.patch("sys.stdout", stdout), mock.patch("sys.stderr", stderr):
                    self.assertEqual(self.exchange(b"wrong\0"), b"")
                    for word in (b"a", b"b"):
                        self.assertEqual(self.exchange(b"right\0" + word + b"\0"), ACK)
                    after.wait_for(("a",), ("b",))
                self.assertTrue(getattr(stdout, "asked", True))
                self.assertEqual(stderr.getvalue(), "")
