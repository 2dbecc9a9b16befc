"""`release_threshold` and `max_clients`, alone and together."""

from __future__ import annotations

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._wire import ACK

from .support import Collector, SingletonTestCase, wait_until


class TestThresholds(SingletonTestCase):
    def host(self, **options):
        self.observer = Collector()
        app = self.singleton(**options)
        app.trace(self.observer)
        return app

    def launch(self, *words: str):
        """Return what became of a launch: `delivered`, or "host" if it became one."""
        app = None
        try:
            app = Socket_Singleton(port=self.port, strict=False, argv=words)
        except Exception as error:
            return error.delivered
        finally:
            if app is not None:
                app.release()
        return "host"

    def test_port_is_free_at_the_threshold_and_the_last_launch_is_delivered(self):
        app = self.host(release_threshold=3)
        for number in range(3):
            self.assertTrue(app._listening)
            self.assertIs(self.launch(str(number)), True)
        # At once: the third launch has its answer, so the port is free.
        self.assertEqual(self.launch("fourth"), "host")
        self.observer.wait_for(("0",), ("1",), ("2",))
        self.assertFalse(app._listening)
        self.assertEqual(app.clients, 3)

    def test_counts_that_are_set_later(self):
        app = self.host()
        for name in ("release_threshold", "max_clients"):
            with self.subTest(name=name):
                for bad, error in (
                    ("many", ValueError),
                    (-1, ValueError),
                    (1.5, ValueError),
                    (None, TypeError),
                ):
                    with self.assertRaisesRegex(error, name):
                        setattr(app, name, bad)
                self.assertEqual(getattr(app, name), 0)
        app.max_clients = "1"
        self.assertIn("max_clients=1,", repr(app))
        self.assertEqual([self.launch("a"), self.launch("b")], [True, None])
        app.release_threshold = 3
        # The third is ignored, and finds the port free when it claims once more.
        self.assertEqual(self.launch("c"), "host")

    def test_real_launches(self):
        app = self.host(release_threshold=2)
        for word in ("a", "b"):
            self.run_app("default", self.port, word)
        self.assertEqual(self.run_app("default", self.port, "c").lines, ["Singleton locked"])
        self.observer.wait_for(("a",), ("b",))
        self.assertEqual(app.clients, 2)

    def test_launches_beyond_max_clients_are_ignored_and_counted(self):
        app = self.host(max_clients=2)
        self.assertEqual([self.launch(str(number)) for number in range(4)], [True, True, None, None])
        self.observer.wait_for(("0",), ("1",))
        self.assertEqual(app.clients, 4)
        self.assertTrue(app._listening)
        self.assertEqual(app.arguments, ())

    def test_ignored_launches_get_an_orderly_end_without_an_answer(self):
        self.host(max_clients=1)
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertEqual(self.exchange(b"x\0"), b"")

    def test_both(self):
        cases = (
            # release_threshold, max_clients, what becomes of five launches
            (2, 4, [True, True, "host", "host", "host"]),
            # The fourth is ignored, and finds the port free when it claims once more.
            (4, 2, [True, True, None, "host", "host"]),
            (3, 3, [True, True, True, "host", "host"]),
        )
        for release_threshold, max_clients, expected in cases:
            with self.subTest(release_threshold=release_threshold, max_clients=max_clients):
                self.host(release_threshold=release_threshold, max_clients=max_clients)
                self.assertEqual([self.launch(str(number)) for number in range(5)], expected)
                self.observer.wait_for(*[(str(n),) for n in range(expected.count(True))])

    def test_wrong_secrets_are_clients(self):
        app = self.host(secret="right", release_threshold=2)
        self.assertEqual(self.exchange(b"wrong\0"), b"")
        self.assertEqual(app.clients, 1)
        self.assertEqual(self.exchange(b"right\0x\0"), ACK)
        wait_until(lambda: not app._listening, "the port is free")
        self.observer.wait_for(("x",))

    def test_questions_are_no_clients(self):
        app = self.host(release_threshold=1)
        self.connect().close()
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.assertTrue(Socket_Singleton.is_running(port=self.port))
        self.assertEqual(self.exchange(b""), b"")
        self.assertEqual(app.clients, 0)
        self.assertTrue(app._listening)

    def test_changed_while_the_host_runs(self):
        app = self.host()
        app.max_clients = 1
        self.assertEqual([self.launch("a"), self.launch("b")], [True, None])
        app.release_threshold = 3
        self.assertEqual(self.launch("c"), "host")

    def test_release_after_the_threshold_does_nothing_more(self):
        app = self.host(release_threshold=1)
        self.assertIs(self.launch("x"), True)
        other = self.singleton(strict=False)
        app.release()
        self.assertTrue(other._listening)
        self.assertIs(self.launch("y"), True)

    def launches(self, *words: str) -> list:
        return [self.second_launch(word).delivered for word in words]

    def assert_port_is_free(self) -> None:
        with Socket_Singleton(port=self.port, strict=False) as following:
            self.assertTrue(following._listening)

    def test_port_is_free_once_the_last_launch_has_its_answer(self):
        for _ in range(100):
            app = self.singleton(release_threshold=1)
            self.assertEqual(self.exchange(b"x\0"), ACK)
            self.assert_port_is_free()
            self.assertEqual(app.arguments, (("x",),))

    def test_release_threshold_counts_launches_without_arguments(self):
        app = self.host(release_threshold=2)
        self.assertIs(self.second_launch().delivered, True)
        self.assertTrue(app._listening)
        self.assertIs(self.second_launch().delivered, True)
        self.assert_port_is_free()
        self.assertEqual(self.observer.calls, [])

    def test_release_threshold_ends_a_timeout(self):
        app = self.host(release_threshold=1, timeout=1000)
        self.launches("a")
        app._host._thread.join(30)
        self.assertFalse(app._host._thread.is_alive(), "it would hold the program")

    def test_release_threshold_lowered_below_the_count(self):
        app = self.host(release_threshold=100)
        self.launches("a", "b", "c")
        app.release_threshold = 2
        self.launches("d")
        self.assert_port_is_free()
        self.observer.wait_for(("a",), ("b",), ("c",), ("d",))

    def test_max_clients_changed_at_run_time(self):
        app = self.host(max_clients=1)
        self.assertEqual(self.launches("a", "b"), [True, None])
        app.max_clients = 3
        self.assertEqual(self.launches("c", "d"), [True, None])
        app.max_clients = 0
        self.assertEqual(self.launches("e"), [True])
        self.observer.wait_for(("a",), ("c",), ("e",))
        self.assertEqual(app.clients, 5)
