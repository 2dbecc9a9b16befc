"""`timeout`: the host gives up the port by itself, and holds it until then."""

from __future__ import annotations

import contextlib
import threading
import time

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._wire import ACK

from .support import PATIENCE, PROGRAMS, Collector, SingletonTestCase, host_clock_ahead, wait_until
from .test_argv import count_descriptors

# Seconds that something may come late on a machine with all cores busy.
SLACK = 2.0

RELEASED_BY_OBSERVER = """
import sys
from src.Socket_Singleton import Socket_Singleton
app = Socket_Singleton(port=int(sys.argv.pop(1)), timeout=1000)
app.trace(lambda args: app.release())
print("ready", flush=True)
"""


class TestTimeouts(SingletonTestCase):
    def test_port_is_free_after_the_timeout_and_not_before(self):
        begun = time.monotonic()
        app = self.singleton(timeout=0.3)
        self.wait_for_release(app)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        app = self.singleton(timeout=PATIENCE, strict=False)
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.expire(app)
        self.singleton(strict=False)

    def test_a_script_that_ends_early_lives_and_serves_until_the_timeout(self):
        begun = time.monotonic()
        program = self.start(PROGRAMS / "ends_early.py", self.port, 1.5, ready="main ends")
        self.assertEqual(self.exchange(b"late\0launch\0"), ACK)
        program.expect("got late launch")
        self.finish(program)
        self.assertGreaterEqual(time.monotonic() - begun, 1.5)
        self.assertEqual(program.err, "")
        self.singleton(strict=False)

    def test_a_script_that_releases_does_not_wait_for_its_timeout(self):
        begun = time.monotonic()
        program = self.start(PROGRAMS / "ends_early.py", self.port, PATIENCE, "release", ready="main ends")
        self.finish(program)
        self.assertLess(time.monotonic() - begun, PATIENCE / 2)

    def test_command_of_the_test_application(self):
        begun = time.monotonic()
        self.run_app("timeout", 0.5, self.port)
        self.assertGreaterEqual(time.monotonic() - begun, 0.5)
        self.singleton(strict=False)

    def test_on_time_while_an_observer_is_busy(self):
        app = self.singleton(timeout=PATIENCE)
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        app.trace(lambda args: (entered.set(), go_on.wait(PATIENCE)))
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertTrue(entered.wait(PATIENCE))
        self.expire(app)
        self.assertFalse(go_on.is_set())
        self.singleton(strict=False)

    def test_what_was_owned_before_the_timeout_is_delivered_after_it(self):
        app, observer = self.singleton(timeout=PATIENCE), Collector()
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.expire(app)
        self.assertEqual(app.arguments, (("x",),))
        app.trace(observer)
        observer.wait_for(("x",))

    def test_release_ends_the_thread_that_waits_for_the_timeout(self):
        app = self.singleton(timeout=PATIENCE)
        self.assertIn(app._host._thread, threading.enumerate())
        self.assertFalse(app._host._thread.daemon, "it holds the interpreter")
        app.release()
        self.assertNotIn(app._host._thread, threading.enumerate())

    def test_timeout_longer_than_a_selector_can_wait(self):
        app = self.singleton(timeout=1e12)
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertTrue(app._listening)

    def wait_for_release(self, app) -> None:
        wait_until(lambda: not app._listening, "the timeout releases")

    def expire(self, app) -> None:
        """Have the timeout be over, which the host sees with the next event."""
        with host_clock_ahead():
            with contextlib.suppress(ConnectionError):
                self.connect()
            self.wait_for_release(app)

    def test_nothing_stays_open(self):
        """Also before somebody calls `release`."""
        before = count_descriptors()
        app = Socket_Singleton(port=self.port, timeout=PATIENCE)
        self.expire(app)
        app._host._thread.join(PATIENCE)
        self.doCleanups()  # the peer is of this process, too
        self.assertEqual(count_descriptors(), before)
        app.release()

    def test_fractions_count(self):
        for seconds in (0.05, "0.15", 0.25):
            with self.subTest(seconds=seconds):
                begun = time.monotonic()
                app = self.singleton(timeout=seconds)
                self.assertEqual(app.timeout, float(seconds))
                self.wait_for_release(app)
                self.assertGreaterEqual(time.monotonic() - begun, float(seconds))
                self.assertLess(time.monotonic() - begun, float(seconds) + SLACK)

    def test_zero_is_no_timeout(self):
        app = self.singleton(timeout=0)
        following = self.singleton(port=0, timeout=0.1)
        self.wait_for_release(following)
        self.assertTrue(app._listening)
        self.assertIs(self.second_launch("x").delivered, True)

    def test_release_from_an_observer_cancels_after_the_script_ended(self):
        host = self.start("-c", RELEASED_BY_OBSERVER, self.port, ready="ready")
        self.assertIs(self.second_launch("x").delivered, True)
        self.finish(host)
        self.assertEqual(host.err, "")

    def test_released_host_does_not_take_the_port_from_the_next(self):
        before = set(threading.enumerate())
        with Socket_Singleton(port=self.port, timeout=0.1):
            pass
        self.assertEqual(set(threading.enumerate()) - before, set(), "a timer is left")
        following = self.singleton(strict=False)
        other = self.singleton(port=0, timeout=0.2)
        self.wait_for_release(other)
        self.assertTrue(following._listening)

    def test_released_on_time_under_a_stream_of_launches_and_silent_peers(self):
        app = self.singleton(timeout=PATIENCE)
        self.connect().sendall(b"half a pack")
        for _ in range(20):
            self.assertEqual(self.exchange(b"x\0"), ACK)
        late = 0
        with host_clock_ahead(), contextlib.suppress(ConnectionError):  # refused, or reset
            while app._listening:
                late += bool(self.exchange(b"x\0"))
        self.wait_for_release(app)
        self.assertLessEqual(late, 1, "it looks at the clock whatever comes")
        self.assertEqual(len(app.arguments), 20 + late)

    def test_owned_launches_are_delivered_after_the_timeout(self):
        """To release by itself is not to throw away: observers have not been told to stop."""
        entered, go_on, observer = threading.Event(), threading.Event(), Collector()
        self.addCleanup(go_on.set)
        app = self.singleton(timeout=PATIENCE)

        def slow(args):
            entered.set()
            go_on.wait(PATIENCE)
            observer(args)

        app.trace(slow)
        for word in "ab":
            self.assertIs(self.second_launch(word).delivered, True)
        self.assertTrue(entered.wait(PATIENCE))
        self.expire(app)
        go_on.set()
        observer.wait_for(("a",), ("b",))
