"""The inbox: launches that the host owns wait there, in order and within a bound, until they begin."""

from __future__ import annotations

import collections
import gc
import queue
import socket
import threading
import unittest

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    Collector,
    Shelf,
    SilentTestCase,
    SingletonTestCase,
    inside,
    needs_resets,
    repeats,
    wait_until,
)

try:
    import tracemalloc
except ImportError:  # PyPy
    tracemalloc = None


class TestInbox(SingletonTestCase):
    # -- what is waiting --

    def test_arguments_are_a_tuple_of_tuples_and_read_only(self):
        app = self.singleton()
        self.assertEqual((app.arguments, app.clients), ((), 0))
        self.second_launch("foo", "bar")
        self.second_launch("baz")
        self.assertEqual(app.arguments, (("foo", "bar"), ("baz",)))
        self.assertEqual(app.arguments, (("foo", "bar"), ("baz",)), "reading them removed them")
        self.assertEqual(app.clients, 2)
        for name in ("arguments", "clients"):
            with self.assertRaises(AttributeError):
                setattr(app, name, ())

    def test_arguments_show_no_launch_that_nobody_sent(self):
        """Not even if a launch begins at the moment when they are read."""
        app, observer, seen, over = self.singleton(), Collector(), set(), []

        def look():
            while not over:
                seen.update(app.arguments)

        looking = self.in_background(look)
        app.trace(observer)
        words = [(str(number),) for number in repeats(100)]  # of which some begin at that moment
        for argv in words:
            Socket_Singleton.send(argv, port=self.port)
        observer.wait_for(*words)
        over.append(True)
        self.join(looking)
        self.assertLessEqual(seen, set(words))

    def test_signal_handler_that_releases_while_a_launch_begins(self):
        """The launch is in `arguments`, and not delivered as well."""
        calls, observer = queue.Queue(), Collector()
        app = self.singleton(dispatch=calls.put)
        app.trace(observer)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        call, seen = calls.get(timeout=PATIENCE), []

        def handler():
            if not seen:
                app.release()
                seen.append(app.arguments)

        inside.interrupt_begin(app, handler)
        call()
        self.assertEqual((seen, app.arguments, observer.calls), ([(("word",),)], (("word",),), []))

    def test_an_acknowledged_launch_is_in_arguments(self):
        app = self.singleton()
        for number in range(200):
            self.assertEqual(self.exchange(b"%d\0" % number), ACK)
            self.assertEqual(app.arguments[-1], (str(number),))

    def test_launches_before_the_first_trace_wait_and_arrive_in_order(self):
        app, observer = self.singleton(), Collector()
        words = [(str(number),) for number in range(50)]
        for (word,) in words:
            self.assertEqual(self.exchange(word.encode() + b"\0"), ACK)
        self.assertEqual(app.arguments, tuple(words))
        app.trace(observer)
        self.second_launch("last")
        observer.wait_for(*words, ("last",))
        self.assertEqual(app.arguments, ())

    def test_launches_without_arguments_wait_too_if_observers_get_them(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        for argv in ([], ["word"], []):
            Socket_Singleton.send(argv, port=self.port)
        self.assertEqual(app.arguments, ((), ("word",), ()))
        app.trace(observer)
        observer.wait_for((), ("word",), ())

    def test_launches_wait_after_the_last_observer_has_gone(self):
        app, observer = self.observed()
        app.untrace(observer)
        self.second_launch("x")
        self.assertEqual((app.arguments, observer.calls), ((("x",),), []))

    def test_append_args_without_an_observer_leaves_it_in_arguments(self):
        app, observer = self.singleton(), Collector()
        app._append_args(("x",))
        self.assertEqual(app.arguments, (("x",),))
        self.assertEqual(app._arguments, [("x",)])
        self.assertEqual(app.clients, 0)
        app.trace(observer)
        observer.wait_for(("x",))
        self.assertEqual(app._arguments, [])

    # -- after release --

    def test_owned_and_not_delivered_stays_readable_after_release(self):
        app, observer = self.singleton(), Collector()
        self.assertEqual(self.exchange(b"one\0two\0"), ACK)
        app.release()
        self.assertEqual((app.arguments, app.clients), ((("one", "two"),), 1))
        app.trace(observer)
        self.assertEqual(observer.calls, [])

    def test_without_arguments_stays_readable_after_release(self):
        app = self.singleton(notify_empty=True)
        Socket_Singleton.send([], port=self.port)
        app.release()
        self.assertEqual(app.arguments, ((),))

    # -- the bound --

    def test_memory_is_bounded_without_any_observer(self):
        app = self.singleton()
        packet = b"x" * 99_999 + b"\0"
        count = 3 * inside.limit("MAX_WAITING") // len(packet)
        for number in range(count):
            self.assertEqual(self.exchange(b"%d\0" % number + packet), ACK)
        waiting = app.arguments
        self.assertLessEqual(inside.count_waiting_bytes(app), inside.limit("MAX_WAITING"))
        self.assertGreater(len(waiting), 100)
        # The oldest were dropped first: the last ones are left, in order.
        first = count - len(waiting)
        self.assertEqual([args[0] for args in waiting], [str(n) for n in range(first, count)])
        observer = Collector()
        app.trace(observer)
        observer.wait_for(*waiting)

    def test_one_launch_larger_than_all_that_may_wait_is_kept(self):
        with inside.limits(MAX_WAITING=10):
            app = self.singleton()
            for word in (b"short", b"longer than the limit", b"another that is longer"):
                self.assertEqual(self.exchange(word + b"\0"), ACK)
            self.assertEqual(app.arguments, (("another that is longer",),))

    def test_too_many_are_dropped_later_if_somebody_reads_them_now(self):
        with inside.limits(MAX_WAITING=10):
            app = self.singleton()
            with inside.inbox_lock(app):
                for word in (b"one", b"two"):
                    self.assertEqual(self.exchange(word + b"\0"), ACK)
                self.assertEqual(app.arguments, (("one",), ("two",)))
            self.assertEqual(self.exchange(b"three\0"), ACK)
            self.assertEqual(app.arguments, (("three",),))

    @needs_resets
    def test_launches_that_a_loop_never_runs_are_bounded(self):
        functions = queue.Queue()
        with inside.limits(MAX_WAITING=1000):
            app, _ = self.observed(dispatch=functions.put)
            owned = []
            with self.assertRaises(ConnectionResetError):
                for number in range(20):  # pragma: no branch (there is not room for so many)
                    word = f"{number:02}" + "x" * 100
                    self.assertEqual(self.exchange(word.encode() + b"\0"), ACK)
                    owned.append((word,))
            # Launches without room are not owned; those that are owned are kept.
            self.assertIn(len(owned), range(1, 6))
            self.assertEqual(app.arguments, tuple(owned))
            wait_until(lambda: functions.qsize() == len(owned), "all were dispatched")
            # Once they have run, there is room again.
            for _ in owned:
                functions.get()()
            self.assertEqual(self.exchange(b"word\0"), ACK)
            wait_until(lambda: functions.qsize() == 1, "the next one was dispatched")

    def test_launch_that_is_dropped_just_before(self):
        """The observer thread had chosen it; then more arrived, and there were too many."""
        with inside.limits(MAX_WAITING=1000):
            app, observer = self.observed()
            chosen = threading.Event()

            def more_arrive():
                if not chosen.is_set():
                    app.untrace(observer)
                    for word in (b"b", b"c"):
                        self.assertEqual(self.exchange(word * 600 + b"\0"), ACK)
                    app.trace(observer)
                    chosen.set()

            with inside.at("chosen", more_arrive):
                self.assertEqual(self.exchange(b"dropped\0"), ACK)
                self.assertTrue(chosen.wait(PATIENCE))
                observer.wait_for(("c" * 600,))
        self.assertEqual(app.arguments, ())


class Row(collections.deque):
    """What is waiting; another thread does something in the middle of each access."""

    happens = staticmethod(int)

    def __len__(self):
        found = super().__len__()
        self._happen()
        return found

    def __getitem__(self, place):
        found = super().__getitem__(place)
        self._happen()
        return found

    def copy(self):
        """Fail as builds without a GIL may if another thread appends meanwhile."""
        raise RuntimeError("deque mutated during iteration")

    def _happen(self) -> None:
        call, self.happens = self.happens, int  # what it does accesses the row, too
        call()
        self.happens = call


class TestInboxBesideThreads(SilentTestCase):
    """Another thread is in the middle of something, as happens without a GIL, and sometimes with one."""

    def test_unacknowledged_launch_is_not_taken_while_others_are_withdrawn(self):
        row = Row()
        inbox, launches = inside.inbox_with(row, [b"a\0", b"b\0", b"c\0"], acknowledged=0)
        row.happens = lambda: inbox.withdraw(launches.pop())
        self.assertIsNone(inbox.take(True, False))

    def test_unacknowledged_launch_is_not_taken_while_another_one_replaces_it(self):
        row = Row()
        inbox, launches = inside.inbox_with(row, [b"a\0"], acknowledged=0)

        def replace_it():
            inbox.withdraw(launches[-1])
            launches.append(inside.Entry(bytearray(b"b\0")))
            inbox.put(launches[-1], True, False)

        row.happens = replace_it
        self.assertIsNone(inbox.take(True, False))

    def test_reading_the_inbox_while_more_arrives(self):
        inbox, _ = inside.inbox_with(Row(), [b"a\0", b"b\0"], acknowledged=1)
        self.assertEqual(inbox.snapshot(), (("a",), ("b",)))

    def test_reading_the_inbox_while_the_last_launch_is_withdrawn(self):
        row = Row()
        inbox, launches = inside.inbox_with(row, [b"a\0", b"b\0"], acknowledged=1)
        unacknowledged = launches[1:]
        row.happens = lambda: unacknowledged and inbox.withdraw(unacknowledged.pop())
        self.assertEqual(inbox.snapshot(), (("a",),))

    def test_a_launch_that_is_dropped_while_it_is_abandoned(self):
        inbox = inside.Inbox()

        class Dropped(inside.Entry):
            __slots__ = ()

            def drop(self) -> int:
                if taken:
                    inbox.put(inside.Entry(bytearray(b"another\0")), False, False)
                return 1

            # `abandon` reads it once it has seen that the launch is in hand.
            turn = property(drop, lambda self, value: None)

        taken, launch = [], Dropped(bytearray(b"x"))
        inbox.put(launch, True, False)
        launch.acknowledged = True
        self.assertIs(inbox.take(True, False), launch)
        taken.append(launch)
        with inside.limits(MAX_WAITING=1):
            inbox.abandon(launch, 1)  # nobody wants it any more, so it is dropped
            self.assertEqual(inbox.snapshot(), (("another",),))
            # It looks again for the abandoned launch, which is not there.
            inbox.put(inside.Entry(bytearray(b"one more\0")), False, False)
        self.assertEqual(inbox.snapshot(), (("one more",),))


class TestBound(SingletonTestCase):
    """One bound covers all that waits; if what waits is wanted, it is not dropped, but no more is owned."""

    def full(self) -> Shelf:
        """Have a host whose inbox is full with a launch that `dispatch` has but has not run."""
        self.enter(inside.limits(MAX_WAITING=1000))
        shelf = Shelf()
        self.app, self.observer = self.observed(dispatch=shelf)
        self.assertEqual(self.exchange(b"a" * 700 + b"\0"), ACK)
        shelf.wait_for(1)
        return shelf

    def test_launches_that_an_override_has_received(self):
        class Receiving(Socket_Singleton):
            def _append_args(self, args):
                return super()._append_args(args)

        app = self.singleton(Receiving)
        packet = b"x" * 4_000_000 + b"\0"
        words = (packet[:-1].decode(),)
        for number in range(12):
            Socket_Singleton.send((str(number), *words), port=self.port, timeout=PATIENCE)
        wait_until(
            lambda: [words[0] for words in app.arguments] == ["8", "9", "10", "11"], "the last four wait"
        )
        self.assertLessEqual(inside.count_waiting_bytes(app), inside.limit("MAX_WAITING"))

    def test_launches_that_the_application_appends(self):
        with inside.limits(MAX_WAITING=1000):
            app = self.singleton()
            for number in range(20):
                app._append_args((f"{number:03}" + "x" * 100,))
                self.assertLessEqual(inside.count_waiting_bytes(app), 1000)
            self.assertEqual(app.arguments[-1][0][:3], "019")

    def test_list_that_the_application_changes(self):
        """``app._arguments`` is the list that code for 2.0.0 reads, empties and fills."""
        with inside.limits(MAX_WAITING=1000):
            app = self.singleton()
            app._append_args(("a" * 500,))
            app._arguments.clear()
            app._append_args(("b" * 100,))
            app._append_args(("c" * 100,))
            self.assertEqual(app.arguments, (("b" * 100,), ("c" * 100,)))
            app._arguments.extend(("d" * 100,) for _ in range(10))
            app._append_args(("e",))
            self.assertEqual(app.arguments, (("d" * 100,), ("e",)))

    @needs_resets  # a launch that finds no room is reset, and tries again
    def test_queue_that_nobody_empties(self):
        functions = queue.Queue()
        app, observer = self.observed(dispatch=functions.put)
        for number in range(4):
            self.assertEqual(self.exchange(b"%d\0" % number + b"x" * 4_000_000 + b"\0"), ACK)
        with self.assertRaises(TimeoutError):  # a launch without room is not owned
            Socket_Singleton.send(["4", "x" * 4_000_000], port=self.port, timeout=0.3)
        self.assertEqual([words[0] for words in app.arguments], ["0", "1", "2", "3"])
        for _ in range(4):
            functions.get(timeout=PATIENCE)()
        self.assertEqual([words[0] for words in observer.calls], ["0", "1", "2", "3"])

    @needs_resets  # there is not room for all; a launch that has waited for a second tries again
    def test_nothing_that_was_acknowledged_is_dropped_while_an_observer_is_slow(self):
        app, calls, owned, size = self.singleton(), [], [], 6_000_000

        def observe(args):
            # It is slow: it waits until no other launch fits.
            wait_until(
                lambda: (
                    len(owned) == 15 or inside.count_waiting_bytes(app) + size > inside.limit("MAX_WAITING")
                ),
                "the inbox is full",
            )
            calls.append(args[0])

        def send(number):
            Socket_Singleton.send([str(number), "x" * size], port=self.port, timeout=PATIENCE)
            owned.append(str(number))

        app.trace(observe)
        self.assertEqual(self.at_once(15, send), [None] * 15)
        wait_until(lambda: len(calls) == 15, "all are observed")
        self.assertEqual(sorted(calls), sorted(owned))

    def test_launch_that_finds_no_room_is_reset_and_tries_again(self):
        shelf = self.full()
        peer = self.connect()
        peer.sendall(b"b" * 700 + b"\0")
        peer.shutdown(socket.SHUT_WR)
        self.assert_reset(peer)
        self.assertEqual((self.app.clients, len(self.app.arguments)), (1, 1))
        sending = self.in_background(
            lambda: Socket_Singleton.send(["c" * 700], port=self.port, timeout=PATIENCE)
        )
        shelf.run()
        self.join(sending)
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(self.observer.calls, [("a" * 700,), ("c" * 700,)])

    def test_functions_that_dispatch_throws_away(self):
        self.enter(inside.limits(MAX_WAITING=1000))
        thrown = []
        self.app, _ = self.observed(dispatch=lambda function: thrown.append(None))
        for number in range(1, 11):
            self.assertEqual(self.exchange(b"x" * 700 + b"\0"), ACK)
            wait_until(lambda count=number: len(thrown) == count, "dispatch was called")
            gc.collect()  # for PyPy

    def test_functions_that_dispatch_throws_away_beside_one_that_it_keeps(self):
        """What was thrown away makes room; what was kept stays."""
        self.enter(inside.limits(MAX_WAITING=1100))
        shelf = Shelf()
        self.app, self.observer = self.observed(dispatch=shelf)
        self.assertEqual(self.exchange(b"a\0"), ACK)
        self.assertEqual(self.exchange(b"b" * 300 + b"\0"), ACK)
        shelf.wait_for(2)
        del shelf.calls[0]
        gc.collect()  # for PyPy
        self.assertEqual(self.exchange(b"c" * 200 + b"\0"), ACK)
        self.assertEqual(self.app.arguments[0], ("b" * 300,))
        shelf.wait_for(2)
        shelf.run()
        self.assertEqual(self.observer.calls, [("b" * 300,), ("c" * 200,)])

    @unittest.skipIf(tracemalloc is None, "this Python does not count its memory")
    def test_launches_that_were_dropped_hold_no_memory(self):
        functions = queue.Queue()
        app, observer = self.observed(dispatch=functions.put)
        packet = b"x" * 5_000_000 + b"\0"
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(3):
            self.assertEqual(self.exchange(packet), ACK)
        wait_until(lambda: functions.qsize() == 3, "the queue has their functions")
        app.untrace(observer)  # nobody wants them any more
        for _ in range(3):
            self.assertEqual(self.exchange(packet), ACK)
        held, _ = tracemalloc.get_traced_memory()
        self.assertLess(held, inside.limit("MAX_WAITING") + 2_000_000)
        self.assertEqual(functions.qsize(), 3)
