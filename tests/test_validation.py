"""What cannot be used is refused clearly, and whatever fails halfway leaves nothing behind."""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
import sys
import threading
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton
from Socket_Singleton._wire import ACK

from .support import PROGRAMS, Collector, SingletonTestCase, wait_until

OUT_OF_RANGE = "port must be between 0 and 65535 (inclusive)"
NEGATIVE = "{} must be greater than or equal to 0"
NOT_FINITE = NEGATIVE + " and finite"
NAN, INFINITY = float("nan"), float("inf")

# Parameter, value, error, and its whole text or the beginning of it.
BAD = (
    ("port", -1, ValueError, OUT_OF_RANGE),
    ("port", 65536, ValueError, OUT_OF_RANGE),
    ("port", "-1", ValueError, OUT_OF_RANGE),
    ("port", 10**30, ValueError, OUT_OF_RANGE),
    ("port", "http", ValueError, "port must be a whole number, not 'http'"),
    ("port", "", ValueError, "port must be a whole number, not ''"),
    ("port", 1337.5, ValueError, "port must be a whole number, not 1337.5"),
    ("port", NAN, ValueError, "port must be a whole number, not nan"),
    ("port", INFINITY, ValueError, "port must be a whole number, not inf"),
    ("port", None, TypeError, "port must be a whole number, not None"),
    ("port", [1337], TypeError, "port must be a whole number, not [1337]"),
    ("timeout", -1, ValueError, NEGATIVE.format("timeout")),
    ("timeout", -0.001, ValueError, NEGATIVE.format("timeout")),
    ("timeout", "-1.5", ValueError, NEGATIVE.format("timeout")),
    ("timeout", -INFINITY, ValueError, NEGATIVE.format("timeout")),
    ("timeout", INFINITY, ValueError, NOT_FINITE.format("timeout")),
    ("timeout", NAN, ValueError, "timeout must be a number of seconds, not nan"),
    ("timeout", "nan", ValueError, "timeout must be a number of seconds, not 'nan'"),
    ("timeout", 10**400, ValueError, "timeout must be a number of seconds, not 1000"),
    ("timeout", "soon", ValueError, "timeout must be a number of seconds, not 'soon'"),
    ("timeout", None, TypeError, "timeout must be a number of seconds, not None"),
    ("release_threshold", -1, ValueError, NEGATIVE.format("release_threshold")),
    ("release_threshold", "-1", ValueError, NEGATIVE.format("release_threshold")),
    ("release_threshold", "two", ValueError, "release_threshold must be a whole number, not 'two'"),
    ("release_threshold", 0.5, ValueError, "release_threshold must be a whole number, not 0.5"),
    ("release_threshold", INFINITY, ValueError, "release_threshold must be a whole number, not inf"),
    ("release_threshold", None, TypeError, "release_threshold must be a whole number, not None"),
    ("max_clients", -1, ValueError, NEGATIVE.format("max_clients")),
    ("max_clients", "-1", ValueError, NEGATIVE.format("max_clients")),
    ("max_clients", "two", ValueError, "max_clients must be a whole number, not 'two'"),
    ("max_clients", NAN, ValueError, "max_clients must be a whole number, not nan"),
    ("max_clients", None, TypeError, "max_clients must be a whole number, not None"),
    ("secret", "a\0b", ValueError, "secret must not contain a NUL character"),
    ("secret", "\0", ValueError, "secret must not contain a NUL character"),
    ("secret", "\ud800", ValueError, "'utf-8' codec can't encode"),
    ("secret", 5, TypeError, "secret must be a str, not int"),
    ("secret", 0, TypeError, "secret must be a str, not int"),
    ("secret", b"word", TypeError, "secret must be a str, not bytes"),
    ("secret", b"", TypeError, "secret must be a str, not bytes"),
    ("address", None, TypeError, "address must be a str, not NoneType"),
    ("address", b"127.0.0.1", TypeError, "address must be a str, not bytes"),
    ("address", 2130706433, TypeError, "address must be a str, not int"),
)


NOTHING = (frozenset(), frozenset())


def left_behind(before: tuple = NOTHING) -> tuple:
    """Return the threads and descriptors that are there and were not ``before``."""
    # Where there is no /proc, descriptors are not looked at. A listing's own
    # descriptor is in it, and takes the lowest free number both times.
    numbers = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else ()
    return frozenset(threading.enumerate()) - before[0], frozenset(numbers) - before[1]


class TestValidation(SingletonTestCase):
    def fails(self, kind, text: str = "", **options) -> BaseException:
        """Check that construction fails, and what was left when the caller sees the error."""
        options.setdefault("port", self.port)
        before = left_behind()
        try:
            Socket_Singleton(**options).release()
        except kind as error:
            # Here, with the traceback alive: not when a garbage collector comes.
            self.assertEqual(left_behind(before), NOTHING)
            self.assertEqual(str(error)[: len(text)], text)
            return error
        raise AssertionError(f"{options} was accepted")

    # -- parameters --

    def test_bad_parameters_have_clear_errors_and_leave_nothing(self):
        for name, value, kind, text in BAD:
            with self.subTest(name=name, value=str(value)[:20]):
                error = self.fails(kind, text, **{name: value})
                if kind is not ValueError or "codec" not in text:
                    self.assertIs(type(error), kind)

    def test_texts_of_2_0_0_are_the_whole_texts(self):
        for name, value, text in (
            ("port", 65536, OUT_OF_RANGE),
            ("timeout", -1, NEGATIVE.format("timeout")),
            ("release_threshold", -1, NEGATIVE.format("release_threshold")),
            ("max_clients", -1, NEGATIVE.format("max_clients")),
        ):
            with self.subTest(name=name):
                self.assertEqual(str(self.fails(ValueError, **{name: value})), text)

    def test_bad_parameters_are_found_before_the_host_is_asked(self):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(50)
            listener.setblocking(False)
            for name, value, kind, text in BAD:
                self.fails(kind, text, **{name: value})
            with self.assertRaises(BlockingIOError):
                listener.accept()

    @unittest.skipUnless(hasattr(sys, "addaudithook"), "this Python cannot tell that a socket is made")
    def test_bad_parameters_open_no_socket(self):
        pairs = [(name, value) for name, value, *_ in BAD if not isinstance(value, bytes)]
        program = self.start(PROGRAMS / "bad_parameters.py")
        for pair in pairs:
            program.write(json.dumps(pair) + "\n")
        program.process.stdin.close()
        self.finish(program)
        self.assertEqual(program.lines, ["the hook sees a socket True", "sockets 0"])

    def test_numbers_in_strings(self):
        app = self.singleton(port=str(self.port), timeout="1000.5", release_threshold="3", max_clients="2")
        self.assertEqual(
            (app.port, app.timeout, app.release_threshold, app.max_clients), (self.port, 1000.5, 3, 2)
        )
        self.assertEqual(str(app), f"Socket_Singleton(address='127.0.0.1', port={self.port})")
        self.assertIs(self.second_launch("x", port=str(self.port)).delivered, True)

    def test_whole_timeouts_are_shown_as_whole_numbers(self):
        for given, shown in ((300.0, "300"), ("300", "300"), (300, "300"), (300.5, "300.5"), (0.0, "0")):
            with self.subTest(given=given):
                app = self.singleton(timeout=given)
                self.assertEqual((app.timeout, str(app.timeout)), (float(given), shown))
                self.assertIn(f"timeout={shown}, ", repr(app))
                app.release()

    def test_limits_of_what_is_accepted(self):
        for options in (
            {"release_threshold": 10**30},
            {"max_clients": 0},
            {"timeout": 1e300},
            {"secret": ""},
        ):
            with self.subTest(options=options):
                app = self.singleton(**options)
                self.assertEqual(self.exchange(b"x\0"), ACK)
                app.release()

    # -- addresses --

    def test_unknown_host_name(self):
        self.fails(socket.gaierror, address="no such host")

    def test_address_of_another_machine(self):
        """An address for documentation (RFC 5737): it can be bound nowhere, and nobody is asked."""
        error = self.fails(OSError, address="192.0.2.1")
        self.assertNotIsInstance(error, MultipleSingletonsError)
        self.assertIsNotNone(error.errno)
        # The same port is free elsewhere.
        self.singleton()

    # -- the error --

    def test_error_says_where(self):
        self.singleton()
        for options in ({}, {"client": False}):
            error = self.second_launch("word", **options)
            self.assertIn(f"already bound & listening @ 127.0.0.1 on port {self.port}", str(error))
            self.assertEqual((error.address, error.port), ("127.0.0.1", self.port))
            self.assertIs(error.delivered, None if options else True)

    def test_error_shows_the_address_that_was_asked_for(self):
        self.singleton(address="localhost")
        error = self.second_launch(address="localhost", port=str(self.port))
        self.assertIn(f"already bound & listening @ localhost on port {self.port}", str(error))
        self.assertEqual((error.address, error.port), ("localhost", self.port))

    def test_error_survives_pickle_and_copy(self):
        self.singleton()
        errors = [
            self.second_launch(),
            self.second_launch(client=False),
            MultipleSingletonsError("text", address="::1", port=5, delivered=False),
            MultipleSingletonsError("two", "parts"),
            MultipleSingletonsError(),
        ]
        for error in errors:
            copies = [
                pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
            ]
            for same in (*copies, copy.copy(error), copy.deepcopy(error)):
                self.assertIs(type(same), MultipleSingletonsError)
                self.assertEqual((str(same), repr(same), same.args), (str(error), repr(error), error.args))
                self.assertEqual(
                    (same.address, same.port, same.delivered), (error.address, error.port, error.delivered)
                )

    def test_error_is_made_like_any_exception(self):
        error = MultipleSingletonsError("a", 5)
        self.assertIsInstance(error, Exception)
        self.assertNotIsInstance(error, OSError)
        self.assertEqual(error.args, ("a", 5))
        self.assertEqual((error.address, error.port, error.delivered), ("", 0, None))
        self.assertEqual(str(MultipleSingletonsError("only a text")), "only a text")
        self.assertEqual(str(MultipleSingletonsError()), "")

    # -- failures halfway --

    def test_every_shortage_of_descriptors(self):
        try:
            import resource  # noqa: F401
        except ImportError:
            self.skipTest("this system has no limit to set")
        program = self.start(PROGRAMS / "few_descriptors.py", self.port)
        wait_until(lambda: "host" in program.out or program.process.poll() is not None, "a host at last")
        failed = len(program.lines) - 1
        self.assertEqual(
            program.lines, [*(f"failed {n}" for n in range(failed)), f"host {failed}"], program.describe()
        )
        self.assertGreater(failed, 1, "one is enough for the listener, and not for the rest")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        program.expect("got word")
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.err, "")

    def test_no_thread_for_the_host(self):
        before = left_behind()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            try:
                self.singleton()
            except (OSError, RuntimeError) as error:
                self.assertIn("can't start new thread", str(error))
                self.assertEqual(left_behind(before), NOTHING)
            else:
                self.fail("it is a host without a thread")
        self.assertEqual(self.singleton(strict=False).port, self.port)

    def test_no_thread_for_the_observers_at_first(self):
        """The host serves; and what waits is delivered when there is a thread again."""
        app, observer = self.singleton(), Collector()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            app.trace(observer)
            self.assertEqual(self.exchange(b"first\0"), ACK)
            self.assertEqual(app.arguments, (("first",),))
        self.assertEqual(self.exchange(b"second\0"), ACK)
        observer.wait_for(("first",), ("second",))
