"""The inbox: launches that the host owns wait there, in order, within a bound, until they begin."""

from __future__ import annotations

import queue

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    Collector,
    Shelf,
    SingletonTestCase,
    inside,
    needs_resets,
    wait_until,
)


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
