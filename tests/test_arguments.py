"""Arguments, from one process to the observers of another."""

from __future__ import annotations

from Socket_Singleton import Socket_Singleton

from .support import PATIENCE, Collector, SingletonTestCase, wait_until


class TestArgumentPassing(SingletonTestCase):
    def test_arguments_arrive_as_one_tuple(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.run_app("default", self.port, "foo", "bar", "baz")
        observer.wait_for(("foo", "bar", "baz"))
        self.assertIsInstance(observer.calls[0], tuple)

    def test_host_prints_what_arrives(self):
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        self.run_app("default", self.port, "hello", "world")
        host.expect("hello world")

    def test_multiple_observers(self):
        app, calls = self.singleton(), []
        app.trace(lambda args: calls.append(("first", args)))
        app.trace(lambda args, *more, **named: calls.append((args, more, named)), 1, 2, three=3)
        self.run_app("default", self.port, "foo")
        wait_until(lambda: len(calls) == 2, "both are called")
        self.assertEqual(calls, [("first", ("foo",)), (("foo",), (1, 2), {"three": 3})])

    def test_multiple_launches_in_their_order(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        for number in range(5):
            self.run_app("default", self.port, number, "of five")
        observer.wait_for(*[(str(number), "of five") for number in range(5)])
        self.assertEqual(app.clients, 5)

    def test_launch_without_arguments_counts_and_calls_nobody(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.run_app("default", self.port)
        self.assertEqual(app.clients, 1)
        self.run_app("default", self.port, "word")
        observer.wait_for(("word",))

    def test_options_and_words_with_spaces_are_not_touched(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        words = ("--option=value", "-x", "two words", "'quoted'", "*", "$HOME", "a\\b", "=", "--")
        self.run_app("default", self.port, *words)
        observer.wait_for(words)

    def test_secret_right_wrong_and_missing(self):
        app, observer = self.singleton(secret="pa\u00dfwort"), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch("right", secret="pa\u00dfwort").delivered, True)
        for secret in ("wrong", "pa\u00dfwort2", "pa\u00df", None, ""):
            self.assertIsNone(self.second_launch("not this", secret=secret).delivered)
        self.assertIs(self.second_launch("again", secret="pa\u00dfwort").delivered, True)
        observer.wait_for(("right",), ("again",))

    def test_ten_megabytes_in_all_from_one_launch_after_the_other(self):
        """Nothing of one launch is left in the next."""
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        sent = [(str(number), letter * 1_000_000) for number, letter in enumerate("abcdefghij")]
        for words in sent:
            self.assertIs(self.second_launch(*words).delivered, True)
        observer.wait_for(*sent)

    def test_the_host_keeps_its_own_arguments_to_itself(self):
        observer = Collector()
        app = self.singleton(argv=["the host's own"])
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))

    def test_observer_registered_while_another_instance_was_the_host(self):
        first = self.singleton()
        self.second_launch("to the first")
        first.release()
        second, observer = self.singleton(strict=False), Collector()
        second.trace(observer)
        self.second_launch("to the second")
        observer.wait_for(("to the second",))
        self.assertEqual(first.arguments, (("to the first",),))

    def test_strict_second_launch_in_this_process(self):
        app = self.singleton()
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(port=self.port, argv=["strict"])
        self.assertIsNone(caught.exception.code)
        self.assertEqual(app.arguments, (("strict",),))
