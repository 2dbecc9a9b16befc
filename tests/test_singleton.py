"""The class: `release`, the context manager, addresses."""

from __future__ import annotations

import errno
import gc
import math
import os
import random
import signal
import socket
import sys
import threading
import unittest
import warnings
import weakref
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    PATIENCE,
    Collector,
    SingletonTestCase,
    free_port,
    inside,
    left_behind,
    needs_unix_descriptors,
    skip_without_ipv6,
    wait_until,
)
from .support.sockets import failing, hooked


class TestInProcess(SingletonTestCase):
    # -- context manager --

    def test_context_manager(self):
        app = Socket_Singleton(port=self.port)
        self.addCleanup(app.release)
        with app as entered:
            self.assertIs(entered, app)
            self.assertTrue(app._listening)
            self.assertIsNone(self.second_launch(client=False).delivered)
        self.assertFalse(app._listening)
        self.assert_free()

    def test_context_manager_releases_on_an_exception_and_propagates_it(self):
        for kind in (ValueError, KeyboardInterrupt, SystemExit):
            with self.assertRaisesRegex(kind, "out of the block"), Socket_Singleton(port=self.port):
                raise kind("out of the block")
            self.assert_free()

    # -- release --

    def test_release_twice(self):
        app = self.singleton()
        app.release()
        app.release()
        # The second one must not harm the next host.
        following = self.singleton()
        app.release()
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertEqual((app.arguments, following.arguments), ((), (("x",),)))

    def test_close_is_release(self):
        app = self.singleton()
        app.close()
        self.assertFalse(app._listening)
        self.assert_free()
        app.close()

    def test_release_from_an_observer(self):
        app, released = self.singleton(), threading.Event()

        def observer(args):
            app.release()
            self.assert_free()
            released.set()

        after = Collector()
        app.trace(observer)
        app.trace(after)
        self.second_launch("x")
        self.assertTrue(released.wait(PATIENCE))
        app.release()
        inside.observer_thread(app).join(PATIENCE)
        self.assertFalse(inside.observer_thread(app).is_alive())
        self.assertEqual(after.calls, [], "an observer was called after the release")

    def test_release_from_many_threads_at_once(self):
        for _ in range(20):
            app = self.singleton()

            def release(_, app=app):
                app.release()
                return app._listening

            self.assertEqual(self.at_once(8, release), [False] * 8)  # it returns only when it is done
            self.assert_free()

    def test_release_leaves_no_thread(self):
        before = set(threading.enumerate())

        def added():
            return set(threading.enumerate()) - before

        app = self.singleton()
        self.assertEqual(len(added()), (1 if inside.limit("THREADS_START_LATE") else 2))
        observer = Collector()
        app.trace(observer)
        self.second_launch("x")
        observer.wait_for(("x",))
        app.release()
        wait_until(lambda: not added(), "the observer thread ends")

    def test_launches_after_release_become_hosts(self):
        first = self.singleton()
        first.release()
        following = self.singleton(strict=False)
        self.assertIs(self.second_launch("x").delivered, True)
        self.assertEqual((first.clients, following.clients), (0, 1))

    def test_release_on_the_io_thread(self):
        """A finalizer may run on any thread, and may call `release`."""
        app = self.singleton()
        with inside.at("hand out", app.release):
            self.assertEqual(self.exchange(b"x\0"), ACK)
            self.join(inside.io_thread(app))
        self.assert_free()

    def test_release_without_memory_for_a_wake_up(self):
        """The I/O thread then sees the end of the stream, even behind bytes that it has not read yet."""
        kind = failing("send", OSError(errno.ENOBUFS, "no buffers"), math.inf, lambda *_: refuses)
        for wakes in (0, 1):
            refuses, turns = [], self.gate()
            with self.subTest(wakes=wakes), inside.sockets_of_wakers(kind), inside.at("turn", turns):
                app = self.singleton()
                turns.wait_for_somebody()
                for _ in range(wakes):
                    inside.wake(app)
                refuses.append(True)
                released = self.in_background(app.release)
                wait_until(lambda: kind.failed, "the wake-up has failed")
                turns.open()
                self.join(released)
                self.assert_free()
            kind.failed.clear()

    def test_release_raises_if_it_is_impossible(self):
        app, gate = self.singleton(), self.gate()
        with inside.at("hand out", gate), inside.limits(CLOSE_TIME=0.05):
            peer = self.connect()
            peer.sendall(b"x\0")
            peer.shutdown(socket.SHUT_WR)
            gate.wait_for_somebody()
            with self.assertRaises(RuntimeError):
                app.release()
            gate.open()
        app.release()
        self.singleton(strict=False)

    # -- release by signal handlers --

    def test_release_from_a_signal_handler_that_interrupted_release(self):
        """At the same time and in the same thread, while a lock is held."""
        releases = []

        def release_once(*_):
            if not releases:
                releases.append(True)
                app.release()

        with inside.sockets_of_wakers(hooked("send", after=release_once)):
            app = self.singleton()
        self.exchange(b"word\0")  # its thread has begun, so `release` has to wake it
        app.release()
        self.assertEqual(releases, [True])
        self.assert_free()

    def test_release_from_a_signal_handler_that_interrupted_arguments(self):
        """It waits for the I/O thread, which must not wait for the lock that `arguments` holds."""
        app, observer = self.observed()
        with inside.inbox_lock(app):
            self.assertEqual(self.exchange(b"word\0"), ACK)
            app.release()
        self.assert_free()
        self.assertEqual((observer.calls, app.arguments), ([], (("word",),)))

    def test_release_from_a_signal_handler_that_interrupted_the_start_of_a_thread(self):
        """Python holds a lock there that every thread needs in order to end."""
        app = self.singleton()
        with threading._active_limbo_lock:
            app.release()
        self.assert_free()

    @needs_unix_descriptors
    def test_interrupted_release_can_be_completed(self):
        """A handler raised just when the release knew that all was shut; a forked child lives on."""
        made = []

        def end_and_interrupt(*_):
            if made:
                made.clear()
                self.join(inside.io_thread(app))
                raise Interrupted

        kind = hooked("setblocking", after=lambda sock, _: made.append(sock))
        with inside.sockets_of_wakers(hooked("send", after=end_and_interrupt, kind=kind)):
            app = self.singleton()
        self.exchange(b"word\0")  # its thread has begun, so `release` has to wake it
        # What is closed here stays open in the child.
        for sock in made:
            self.addCleanup(os.close, os.dup(sock.fileno()))
        with self.assertRaises(Interrupted):
            app.release()
        with inside.limits(CLOSE_TIME=0.05):
            app.release()
        self.singleton(strict=False)

    # -- addresses --

    def reached(self, address: str) -> Socket_Singleton:
        """Return a host at ``address``, after a second launch at the same one has reached it."""
        app = self.singleton(address=address)
        self.assertIs(self.second_launch("word", address=address).delivered, True)
        Socket_Singleton.send(["sent"], address=address, port=self.port)
        self.assertTrue(Socket_Singleton.is_running(address=address, port=self.port))
        self.assertEqual(app.arguments, (("word",), ("sent",)))
        self.assertEqual(app.address, address)
        return app

    def test_port_0_binds_a_free_port(self):
        app, other = self.singleton(port=0), self.singleton(port=0)
        self.assertGreater(app.port, 0)
        self.assertNotEqual(app.port, other.port)
        self.assertIn(f"port={app.port}", str(app))
        self.assertEqual(self.exchange(b"word\0", app.port), ACK)
        self.assertEqual(app.arguments, (("word",),))

    def test_address_localhost(self):
        self.assertIn("address='localhost'", str(self.reached("localhost")))

    def test_address_ipv6_loopback(self):
        skip_without_ipv6()
        self.assertIn("address='::1'", str(self.reached("::1")))
        self.assertFalse(Socket_Singleton.is_running(port=self.port), "it is on 127.0.0.1 as well")

    def test_address_ipv6_wildcard(self):
        skip_without_ipv6()
        self.reached("::")

    def test_address_ipv4_wildcards(self):
        for address in ("0.0.0.0", ""):
            with self.subTest(address=address):
                self.port = free_port()
                app = self.reached(address)
                # It is on all addresses of the machine, so a launch with the default address finds it too.
                self.assertIs(self.second_launch("from 127.0.0.1").delivered, True)
                self.assertEqual(app.arguments[2:], (("from 127.0.0.1",),))

    def test_hosts_on_different_addresses(self):
        first = self.singleton()
        try:
            second = self.singleton(address="127.0.0.2", strict=False)
        except OSError as error:
            self.skipTest(f"this machine has only one loopback address: {error}")
        self.assertIs(self.second_launch("to the first").delivered, True)
        self.assertIs(self.second_launch("to the second", address="127.0.0.2").delivered, True)
        self.assertEqual(first.arguments, (("to the first",),))
        self.assertEqual(second.arguments, (("to the second",),))


class Interrupted(BaseException):
    """What a signal handler of these tests raises."""


class TestInterrupted(SingletonTestCase):
    """A signal handler raises inside the constructor: nothing is left, and its exception gets through."""

    def setUp(self) -> None:
        super().setUp()
        self.made = []
        made = self.made

        class Known(Socket_Singleton):
            def __new__(cls, **_):
                app = super().__new__(cls)
                made.append(weakref.ref(app))
                return app

        self.kind = Known

    def assert_forgotten(self) -> None:
        """Check that no thread and no exit hook of the interpreter keeps a reference to what was made."""
        gc.collect()
        self.assertEqual([app for app in self.made if app() is not None], [])

    def interrupt(self, timeout: float) -> bool:
        """Construct; return whether that was interrupted, and if so, check that nothing is left."""
        try:
            app = self.kind(port=self.port, timeout=timeout, strict=False)
        except Interrupted:
            app = None
        if app is not None:
            app.release()
            return False
        if hasattr(sys, "pypy_version_info"):
            gc.collect()
        # A thread that never began may be in `threading`'s list of starting threads.
        wait_until(
            lambda: not any(thread.is_alive() for thread in left_behind(self.before)[0]), "no thread is left"
        )
        self.assertEqual(left_behind(self.before)[1], frozenset())
        return True

    def test_at_the_start_of_its_thread(self):
        real = threading.Thread.start
        for timeout in (0, 8):
            for begins in (False, True):

                def start(thread, begins=begins):
                    if begins:
                        real(thread)
                    raise Interrupted

                with self.subTest(timeout=timeout, begins=begins):
                    self.before = left_behind()
                    with mock.patch.object(threading.Thread, "start", start):
                        self.assertTrue(self.interrupt(timeout))
                    self.assert_forgotten()
                    self.assert_free()

    def test_at_the_start_of_its_thread_with_a_released_lock(self):
        """One of Python's own, which it then releases a second time: that error hides the handler's."""

        def start(_):
            lock = threading.Lock()
            with lock:
                lock.release()
                raise Interrupted

        self.before = left_behind()
        # In other modes no handler runs while it starts.
        with inside.limits(STARTS_HERE=True), mock.patch.object(threading.Thread, "start", start):
            self.assertTrue(self.interrupt(0))
        self.assert_forgotten()
        self.assert_free()

    @unittest.skipIf("coverage" in sys.modules, "an interruption leaves a lock of coverage held")
    @unittest.skipUnless(hasattr(signal, "setitimer"), "this system has no timer that sends signals")
    def test_at_any_step(self):
        constructor = Socket_Singleton.__init__.__code__
        # The handler may also raise in a finalizer, which Python reports. A socket that
        # nothing refers to closes itself.
        self.enter(self.expect_stderr("(Exception ignored (in|on|while).*)?"))
        self.enter(warnings.catch_warnings())
        warnings.simplefilter("ignore", ResourceWarning)

        # Before 3.10, CPython checks for signals once more between the end of a `try` and a return.
        spared = constructor if sys.version_info < (3, 10) else None
        # CPython 3.7 and 3.8 may leave a lock of `threading` held then; see `_host/threads.py`.
        start = threading.Thread.start.__code__ if sys.version_info < (3, 9) else None
        # And PyPy the one of imports, for which all threads that import something would wait for ever.
        is_pypy = hasattr(sys, "pypy_version_info")

        def interrupt(_, frame):
            if frame.f_code is spared:
                return
            # At any step of the constructor: what comes before or after it belongs to the caller.
            while frame is not None and frame.f_code is not start:
                if is_pypy and "importlib" in frame.f_code.co_filename:
                    return
                if frame.f_code is constructor:
                    raise Interrupted
                frame = frame.f_back

        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, interrupt))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        self.assertFalse(self.interrupt(0) or self.interrupt(8), "no timer was set yet")
        self.before = left_behind()
        # PyPy closes abandoned objects in a collection, which takes long.
        rounds = 50 if is_pypy else 1500
        number, longest, interrupted = random.SystemRandom().randrange(2**32), 0.0005, 0
        rng = random.Random(number)
        with self.subTest(seed=number):
            for _ in range(rounds):
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, longest))
                # With a timeout, a thread that is left would keep these tests from ending.
                one = self.interrupt(rng.choice((0, 8)))
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupted += one
                # About half of them should be interrupted, however fast this machine is.
                longest = min(longest * (1.02 if one else 0.98), 1.0)
            self.assertGreater(interrupted, rounds / 4)
            self.assert_free()
            # One whose thread took long to end is forgotten when the next one is made.
            self.assert_forgotten()
