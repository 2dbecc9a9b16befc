"""The inbox: launches that the host owns wait there, in order, within a bound, until they begin."""

from __future__ import annotations

import gc
import queue
import socket
import unittest

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    Collector,
    Shelf,
    SingletonTestCase,
    Stopwatch,
    inside,
    needs_resets,
    read_to_end,
    wait_until,
)

try:
    import tracemalloc
except ImportError:  # PyPy
    tracemalloc = None


class TestInbox(SingletonTestCase):
    # -- what waits --

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

    def test_a_launch_that_was_told_is_in_arguments(self):
        app = self.singleton()
        for number in range(200):
            self.assertEqual(self.exchange(b"%d\0" % number), ACK)
            self.assertEqual(app.arguments[-1], (str(number),))

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

    def test_launches_without_arguments_wait_too_if_observers_are_to_have_them(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        for argv in ([], ["word"], []):
            Socket_Singleton.send(argv, port=self.port)
        self.assertEqual(app.arguments, ((), ("word",), ()))
        app.trace(observer)
        observer.wait_for((), ("word",), ())

    def test_observer_that_was_the_last_one_leaves_launches_waiting(self):
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

    def test_without_any_observer_memory_is_bounded(self):
        app = self.singleton()
        packet = b"x" * 9_999 + b"\0"
        count = 3 * inside.limit("MAX_WAITING") // len(packet)
        for number in range(count):
            self.assertEqual(self.exchange(b"%d\0" % number + packet), ACK)
        waiting = app.arguments
        self.assertLessEqual(inside.count_waiting_bytes(app), inside.limit("MAX_WAITING"))
        self.assertGreater(len(waiting), 1000)
        # The oldest went first: what is left are the last ones, in order.
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

    def test_too_many_go_later_if_somebody_looks_at_them_now(self):
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
                for number in range(20):  # pragma: no branch (there is no room for so many)
                    word = f"{number:02}" + "x" * 100
                    self.assertEqual(self.exchange(word.encode() + b"\0"), ACK)
                    owned.append((word,))
            # What there was no room for is not owned; what was owned is kept.
            self.assertIn(len(owned), range(1, 6))
            self.assertEqual(app.arguments, tuple(owned))
            wait_until(lambda: functions.qsize() == len(owned), "all were dispatched")
            # Once they have run there is room again.
            for _ in owned:
                functions.get()()
            self.assertEqual(self.exchange(b"word\0"), ACK)
            wait_until(lambda: functions.qsize() == 1, "the next one was dispatched")

    def test_launch_that_is_dropped_just_before(self):
        """The observer thread had chosen it; meanwhile more came, and there were too many."""
        shelf = Shelf()
        app, _ = self.observed(dispatch=shelf)
        self.assertTrue(inside.deliver_what_was_dropped(app, b"dropped"))
        self.assertEqual((shelf.calls, app.arguments), ([], ()))


class TestInboxBesideThreads(unittest.TestCase):
    """Another thread is in the middle of something: as happens without a GIL, and at times with one."""

    def test_what_is_not_told_is_not_taken_while_others_are_withdrawn(self):
        inbox, launches = inside.inbox_of([b"a\0", b"b\0", b"c\0"], told=0)
        inside.at_each_look(inbox, lambda: inbox.withdraw(launches.pop()))
        self.assertIsNone(inbox.take(True, False))

    def test_what_is_not_told_is_not_taken_while_it_is_withdrawn_and_another_one_comes(self):
        inbox, launches = inside.inbox_of([b"a\0"], told=0)

        def another_one_comes():
            inbox.withdraw(launches[-1])
            inbox.tell()
            launches.append(type(launches[0])(bytearray(b"b\0")))
            inbox.put(launches[-1], True, False)

        inside.at_each_look(inbox, another_one_comes)
        self.assertIsNone(inbox.take(True, False))

    def test_a_look_at_what_waits_while_more_comes(self):
        inbox, _ = inside.inbox_of([b"a\0", b"b\0"], told=1)
        self.assertEqual(inbox.snapshot(), (("a",), ("b",)))

    def test_a_look_at_what_waits_while_the_last_one_is_withdrawn(self):
        inbox, launches = inside.inbox_of([b"a\0", b"b\0"], told=1)
        untold = launches[1:]
        inside.at_each_look(inbox, lambda: untold and inbox.withdraw(untold.pop()))
        self.assertEqual(inbox.snapshot(), (("a",),))

    def test_room_is_made_in_the_middle_of_a_look_for_it(self):
        """By who could not know yet that room is wanted, and tells nobody."""
        with inside.limits(MAX_WAITING=1000):
            inbox, (first, second) = inside.inbox_of([b"a" * 300, b"b"], told=2)
            inbox.take(True, False)
            launch = type(first)(bytearray(b"c" * 200))
            inside.when_room_is_wanted(inbox, lambda: inbox.begin(first))
            self.assertTrue(inbox.put(launch, True, False))
            self.assertEqual(inbox.size, second.size + launch.size)

    def test_a_launch_that_is_dropped_in_the_middle_of_being_abandoned(self):
        self.assertEqual(inside.drop_in_the_middle_of_abandon(), 0)


class TestBound(SingletonTestCase):
    """One bound covers all that waits; what somebody wants is not dropped, but not owned."""

    def hold(self, *packets: bytes) -> list:
        """Return peers that have sent whole packets for which there is no room, in this order."""
        peers = []
        for packet in packets:
            peer = self.connect()
            peer.sendall(packet)
            peer.shutdown(socket.SHUT_WR)
            peers.append(peer)
            wait_until(lambda: inside.count_held(self.app) == len(peers), "it is held")
        return peers

    def full(self) -> Shelf:
        """Have a host whose inbox is full of a launch that `dispatch` has, and has not run."""
        self.enter(inside.limits(MAX_WAITING=1000))
        shelf = Shelf()
        self.app, self.observer = self.observed(dispatch=shelf)
        self.assertEqual(self.exchange(b"a" * 700 + b"\0"), ACK)
        shelf.wait_for(1)
        return shelf

    def test_launches_that_an_override_has_heard(self):
        class Hearing(Socket_Singleton):
            def _append_args(self, args):
                return super()._append_args(args)

        app = Hearing(port=self.port)
        self.addCleanup(app.release)
        packet = b"x" * 4_000_000 + b"\0"
        for number in range(40):
            self.assertEqual(self.exchange(b"%d\0" % number + packet), ACK)
        wait_until(
            lambda: [words[0] for words in app.arguments] == ["36", "37", "38", "39"], "the last four wait"
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
        """``app._arguments`` is what code for 2.0.0 reads, empties and fills."""
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

    def test_queue_that_nobody_empties(self):
        functions = queue.Queue()
        app, observer = self.observed(dispatch=functions.put)
        for number in range(4):
            self.assertEqual(self.exchange(b"%d\0" % number + b"x" * 4_000_000 + b"\0"), ACK)
        with self.assertRaises(TimeoutError):  # what there is no room for is not owned
            Socket_Singleton.send(["4", "x" * 4_000_000], port=self.port, timeout=0.3)
        self.assertEqual([words[0] for words in app.arguments], ["0", "1", "2", "3"])
        for _ in range(4):
            functions.get(timeout=PATIENCE)()
        self.assertEqual([words[0] for words in observer.calls], ["0", "1", "2", "3"])

    @needs_resets  # there is not room for all; who has waited for a second asks again
    def test_nothing_that_was_acknowledged_is_dropped_while_an_observer_is_slow(self):
        app, calls, owned, size = self.singleton(), [], [], 6_000_000

        def observe(args):
            # It takes its time: until no other one fits.
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

    def test_those_that_are_held_come_in_order(self):
        self.enter(inside.limits(HOLD_TIME=PATIENCE))  # however long that takes here
        shelf = self.full()
        # The last one would fit; but it came last.
        peers = self.hold(b"b" * 700 + b"\0", b"c" * 700 + b"\0", b"d\0")
        for peer in peers:
            shelf.wait_for(1)
            shelf.calls.pop(0)()  # one alone: the next one may be there already
            self.assertEqual(read_to_end(peer), ACK)
        wait_until(lambda: shelf.run() or len(self.observer.calls) == 4, "all are observed")
        self.assertEqual([words[0][0] for words in self.observer.calls], ["a", "b", "c", "d"])

    def test_one_that_was_held_too_long_is_reset(self):
        shelf = self.full()
        (peer,) = self.hold(b"b" * 700 + b"\0")
        with Stopwatch() as took:
            self.assert_reset(peer)
        self.assertLess(took.seconds, inside.limit("HOLD_TIME") + 0.5)
        shelf.run()
        self.assertEqual(self.exchange(b"c" * 700 + b"\0"), ACK)
        self.assertEqual((self.app.clients, len(self.app.arguments)), (2, 1))

    def test_functions_that_dispatch_throws_away(self):
        self.enter(inside.limits(MAX_WAITING=1000))
        thrown = []
        self.app, _ = self.observed(dispatch=lambda function: thrown.append(None))
        for number in range(1, 11):
            self.assertEqual(self.exchange(b"x" * 700 + b"\0"), ACK)
            wait_until(lambda count=number: len(thrown) == count, "dispatch had it")
            gc.collect()  # PyPy needs it

    def test_functions_that_dispatch_throws_away_beside_one_that_it_keeps(self):
        """There is still no room for the next launch, which waits; what is kept stays."""
        self.enter(inside.limits(MAX_WAITING=1000, HOLD_TIME=PATIENCE))
        shelf = Shelf()
        self.app, self.observer = self.observed(dispatch=shelf)
        self.assertEqual(self.exchange(b"a\0"), ACK)
        self.assertEqual(self.exchange(b"b" * 300 + b"\0"), ACK)
        shelf.wait_for(2)
        del shelf.calls[0]
        gc.collect()  # PyPy needs it
        (peer,) = self.hold(b"c" * 300 + b"\0")
        self.assertEqual(self.app.arguments, (("b" * 300,),))
        shelf.run()
        self.assertEqual(read_to_end(peer), ACK)
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(self.observer.calls, [("b" * 300,), ("c" * 300,)])

    def test_no_memory_for_one_that_is_held(self):
        """It is reset, and its launch asks again."""
        shelf = self.full()
        (peer,) = self.hold(b"b" * 700 + b"\0")
        inside.no_memory_to_keep(self.app)
        shelf.run()
        self.assert_ended(peer)
        self.assertEqual(self.exchange(b"c\0"), ACK)
        shelf.wait_for(1)
        shelf.run()
        self.assertEqual(self.observer.calls, [("a" * 700,), ("c",)])
        self.assertEqual(self.app.clients, 2)

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
