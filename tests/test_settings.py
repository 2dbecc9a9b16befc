"""Settings: what is refused, what may change while the host runs, how they are shown; verbose lines."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import io
import ipaddress
import json
import logging
import math
import os
import socket
import sys
import threading
import unittest
from unittest import mock

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    MAX_PACKET,
    NOTHING,
    PROGRAMS,
    Collector,
    Printed,
    Shelf,
    SingletonTestCase,
    expect_lines,
    free_port,
    host_clock_ahead,
    inside,
    left_behind,
    read_to_end,
    wait_until,
)
from .support.sockets import failing, no_sockets_of_launches

OUT_OF_RANGE = "port must be between 0 and 65535 (inclusive)"


NEGATIVE = "{} must be greater than or equal to 0"


NOT_FINITE = NEGATIVE + " and finite"


NAN, INFINITY = float("nan"), float("inf")


async def coroutine_function(call):
    call()


# Parameter, value, error, and the error's text or the beginning of it.
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
    ("secret", True, TypeError, "secret must be a str, not bool"),
    ("secret", [5], TypeError, "secret must be a str, not list"),
    ("secret", b"word", TypeError, "secret must be a str, not bytes"),
    ("secret", b"", TypeError, "secret must be a str, not bytes"),
    ("address", None, TypeError, "address must be a str, not NoneType"),
    ("address", b"127.0.0.1", TypeError, "address must be a str, not bytes"),
    ("address", 2130706433, TypeError, "address must be a str, not int"),
    *(
        ("argv", bad, TypeError, "argv must be a sequence of str")
        for bad in ("word", b"word", 5, True, object())
    ),
    ("argv", [b"bytes"], TypeError, "argv[0] must be a str, not bytes"),
    ("argv", ["word", 5], TypeError, "argv[1] must be a str, not int"),
    ("argv", ("word", None), TypeError, "argv[1] must be a str, not NoneType"),
    ("argv", bytearray(b"ints"), TypeError, "argv[0] must be a str, not int"),
    ("argv", ["word", "a\0b"], ValueError, "argv[1] must not contain a NUL character"),
    ("argv", ["\ud800"], ValueError, "'utf-8' codec can't encode"),
    # Bytes count, not characters.
    ("argv", ["\u00fc" * (MAX_PACKET // 2)], ValueError, f"the arguments take {MAX_PACKET + 1} bytes"),
    *(
        ("dispatch", bad, TypeError, "dispatch must be callable")
        for bad in ("submit", 5, False, [], object())
    ),
    ("dispatch", coroutine_function, TypeError, "dispatch must not be a coroutine function"),
    ("wait", -1, ValueError, NEGATIVE.format("wait")),
    ("wait", "-0.001", ValueError, NEGATIVE.format("wait")),
    ("wait", -INFINITY, ValueError, NEGATIVE.format("wait")),
    ("wait", NAN, ValueError, "wait must be a number of seconds, not nan"),
    ("wait", 10**400, ValueError, "wait must be a number of seconds, not 1000"),
    ("wait", "", ValueError, "wait must be a number of seconds, not ''"),
    *(("wait", bad, TypeError, "wait must be a number of seconds") for bad in (None, [], 1j, object())),
)


def is_json(value) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


class TestValidation(SingletonTestCase):
    """Values that cannot be used are refused with a clear error, and leave nothing behind."""

    def fails(self, kind, text: str = "", **options) -> BaseException:
        """Check that construction fails, and what is left when the caller sees the error."""
        options.setdefault("port", self.port)
        before = left_behind()
        try:
            Socket_Singleton(**options).release()
        except kind as error:
            # Check here, while the traceback is alive, and not after a garbage collection.
            self.assertEqual(left_behind(before), NOTHING)
            self.assertEqual(str(error)[: len(text)], text)
            return error
        raise AssertionError(f"{options} was accepted")

    # -- parameters --

    def test_bad_parameters_have_clear_errors_and_leave_nothing(self):
        for name, value, kind, text in BAD:
            with self.subTest(name=name, value=str(value)[:20]):
                with no_sockets_of_launches():
                    error = self.fails(kind, text, **{name: value})
                if kind is not ValueError or "codec" not in text:
                    self.assertIs(type(error), kind)

    def test_whole_texts_are_those_of_2_0_0(self):
        for name, value, text in (
            ("port", 65536, OUT_OF_RANGE),
            ("timeout", -1, NEGATIVE.format("timeout")),
            ("release_threshold", -1, NEGATIVE.format("release_threshold")),
            ("max_clients", -1, NEGATIVE.format("max_clients")),
        ):
            with self.subTest(name=name):
                self.assertEqual(str(self.fails(ValueError, **{name: value})), text)

    def test_bad_parameters_are_found_before_the_host_is_contacted(self):
        listener = self.listener()
        listener.setblocking(False)
        for name, value, kind, text in BAD:
            self.fails(kind, text, **{name: value})
        with self.assertRaises(BlockingIOError):
            listener.accept()

    @unittest.skipUnless(hasattr(sys, "addaudithook"), "this Python has no audit hooks")
    def test_bad_parameters_open_no_socket(self):
        pairs = [(name, value) for name, value, *_ in BAD if is_json(value)]
        program = self.start(PROGRAMS / "bad_parameters.py")
        for pair in pairs:
            program.write(json.dumps(pair) + "\n")
        program.process.stdin.close()
        self.finish(program)
        self.assertEqual(program.lines, ["the hook sees a socket True", "sockets 0"])

    def test_second_launch_checks_its_parameters_too(self):
        app = self.singleton()
        with self.assertRaises(TypeError):
            Socket_Singleton(port=self.port, argv=[5], strict=False)
        self.assertEqual(app.clients, 0)
        self.assertEqual(self.exchange(b"\0"), ACK)

    def test_numbers_in_strings(self):
        app = self.singleton(port=str(self.port), timeout="1000.5", release_threshold="3", max_clients="2")
        self.assertEqual(
            (app.port, app.timeout, app.release_threshold, app.max_clients), (self.port, 1000.5, 3, 2)
        )
        self.assertEqual(str(app), f"Socket_Singleton(address='127.0.0.1', port={self.port})")
        self.assertIs(self.second_launch("x", port=str(self.port)).delivered, True)

    def test_numbers(self):
        for given, kept in ((0, 0), (2, 2), (1.5, 1.5), ("1.5", 1.5), ("3", 3), (math.inf, math.inf)):
            with self.subTest(wait=given):
                app = self.singleton(wait=given)
                self.assertEqual(app.wait, kept)
                self.assertIn(f", wait={kept}, name=", repr(app))
                app.release()

    def test_whole_timeouts_are_shown_as_whole_numbers(self):
        for given, shown in ((300.0, "300"), ("300", "300"), (300, "300"), (300.5, "300.5"), (0.0, "0")):
            with self.subTest(given=given):
                app = self.singleton(timeout=given)
                self.assertEqual((app.timeout, str(app.timeout)), (float(given), shown))
                self.assertIn(f"timeout={shown}, ", repr(app))
                app.release()

    def test_accepted_extremes(self):
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
        """An address for documentation (RFC 5737): it cannot be bound anywhere, and nobody is asked."""
        error = self.fails(OSError, address="192.0.2.1")
        self.assertNotIsInstance(error, MultipleSingletonsError)
        self.assertIsNotNone(error.errno)
        # The same port is free elsewhere.
        self.singleton()


NEWER = {
    "argv": None,
    "notify_empty": False,
    "dispatch": None,
    "wait": 0,
    "name": None,
    "answer": False,
    "environ": (),
}


class TestSettings(SingletonTestCase):
    # -- the constructor --

    def test_constructor_has_the_order_and_defaults_of_2_0_0_and_newer_parameters_by_name(self):
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
        # All later parameters are keyword-only.
        newer = [x for x in parameters if x not in positional]
        self.assertEqual({x.name: x.default for x in newer}, NEWER)
        self.assertEqual({x.kind for x in newer}, {inspect.Parameter.KEYWORD_ONLY})

    def test_attributes_are_what_was_given(self):
        given = ("127.0.0.1", self.port, 60, False, False, 3, 2, True, "word")
        app = Socket_Singleton(*given)
        self.addCleanup(app.release)
        names = list(inspect.signature(Socket_Singleton).parameters)[: len(given)]
        self.assertEqual(tuple(getattr(app, name) for name in names), given)

    def test_newer_parameters_are_attributes(self):
        app = self.singleton()
        self.assertEqual({name: getattr(app, name) for name in NEWER}, NEWER)
        app.release()
        app = self.singleton(argv=["a", "b"], notify_empty=True, dispatch=print, wait="1.5")
        self.assertEqual((app.argv, app.notify_empty, app.dispatch, app.wait), (("a", "b"), True, print, 1.5))

    def test_switches_are_shown_as_booleans(self):
        app = self.singleton(client=1, strict=0, verbose="")
        self.assertIn("client=True, strict=False,", repr(app))
        self.assertIs(app.verbose, False)

    # -- texts --

    def test_str(self):
        app = self.singleton()
        self.assertEqual(str(app), f"Socket_Singleton(address='127.0.0.1', port={self.port})")

    def test_repr_of_the_defaults(self):
        app = self.singleton()
        self.assertEqual(
            repr(app),
            f"Socket_Singleton(address='127.0.0.1', port={self.port}, timeout=0, client=True, strict=True, "
            "release_threshold=0, max_clients=0, verbose=False, secret=None, "
            "observers=0, clients=0, listening=True, argv=None, notify_empty=False, dispatch=None, "
            "wait=0, name=None, answer=False, environ=())",
        )

    def test_repr_of_everything_else(self):
        shelf = Shelf()
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
            dispatch=shelf,
            wait=INFINITY,
        )
        app.trace(id)
        app.trace(Collector())
        self.assertEqual(self.exchange(b"do not show\0"), ACK)
        shown = (
            f"Socket_Singleton(address='127.0.0.1', port={self.port}, timeout=2500000, client=False, "
            "strict=False, release_threshold=9, max_clients=8, verbose=True, secret=***, "
        )
        later = (
            f", argv=('a', 'b'), notify_empty=True, dispatch={shelf!r}, wait=inf, name=None, answer=False,"
            " environ=())"
        )
        self.assertEqual(repr(app), shown + "observers=2, clients=1, listening=True" + later)
        app.release()
        self.assertEqual(repr(app), shown + "observers=0, clients=1, listening=False" + later)

    def test_repr_of_an_empty_secret_is_none(self):
        self.assertIn("secret=None", repr(self.singleton(secret="")))

    # -- what may change while the host runs --

    def test_counts_that_are_set_later(self):
        app = self.singleton()
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
        self.assertEqual([self.outcome("a"), self.outcome("b")], [True, False])
        app.release_threshold = 3
        # The third launch is ignored, and finds the port free when it claims it again.
        self.assertIs(self.outcome("c"), False)
        self.assertEqual(self.outcome("d"), "host")

    def test_max_clients_that_is_set_later(self):
        app, observer = self.observed(max_clients=1)
        self.assertEqual([self.outcome(word) for word in "ab"], [True, False])
        app.max_clients = 3
        self.assertEqual([self.outcome(word) for word in "cd"], [True, False])
        app.max_clients = 0
        self.assertEqual([self.outcome("e")], [True])
        observer.wait_for(("a",), ("c",), ("e",))
        self.assertEqual(app.clients, 5)

    def test_secret_that_is_set_later(self):
        app = self.singleton(port=0)
        for secret, data, answer in (
            (None, b"old\0word\0", ACK),
            ("new", b"old\0word\0", inside.OTHER_SECRET),
            ("new", b"new\0word\0", ACK),
            (None, b"word\0", ACK),
        ):
            app.secret = secret
            self.assertEqual((self.exchange(data, app.port), app.secret), (answer, secret))
        self.assertEqual(app.arguments, (("old", "word"), ("word",), ("word",)))
        with self.assertRaises(ValueError):
            app.secret = "a\0b"
        self.assertIsNone(app.secret)

    def test_notify_empty_that_is_set_later(self):
        app, observer = self.observed()
        Socket_Singleton.send([], port=self.port)
        app.notify_empty = True
        Socket_Singleton.send([], port=self.port)
        app.notify_empty = False
        Socket_Singleton.send([], port=self.port)
        Socket_Singleton.send(["last"], port=self.port)
        observer.wait_for((), ("last",))

    def test_dispatch_that_is_set_later(self):
        shelf = Shelf()
        app, observer = self.observed()
        self.outcome("undispatched")
        observer.wait_for(("undispatched",))
        app.dispatch = shelf
        self.outcome("dispatched")
        shelf.wait_for(1)
        shelf.run()
        app.dispatch = None
        self.outcome("again not")
        observer.wait_for(("undispatched",), ("dispatched",), ("again not",))


class TestVerboseLines(SingletonTestCase):
    @contextlib.contextmanager
    def expect_error(self, error: str):
        """Check that ``error`` is printed and logged meanwhile, and nothing else is."""
        with self.expect_log(error), expect_lines(error):
            yield

    def notify(self, observer, **options) -> None:
        """Have ``observer`` called in this thread by a host of its own."""
        app = self.singleton(port=0, verbose=True, **options)
        app.trace(observer)
        app._append_args(("x",))

    def test_verbose_observer_exception(self):
        app, after = self.singleton(verbose=True), Collector()

        def careless(args):
            raise ValueError("Intentional test exception")

        with self.expect_error("Observer careless raised exception: ValueError: Intentional test exception"):
            app.trace(careless)
            app.trace(after)
            self.second_launch("x")
            after.wait_for(("x",))

    def test_verbose_partial(self):
        observer = functools.partial(lambda args: 1 / 0)
        error = f"Observer {observer!r} raised exception: ZeroDivisionError: division by zero"
        with self.expect_error(error):
            self.notify(observer)

    def test_verbose_callable_object(self):
        class Odd:
            def __repr__(self):
                return "an odd one"

            def __call__(self, args):
                raise KeyError("word")

        with self.expect_error("Observer an odd one raised exception: KeyError: 'word'"):
            self.notify(Odd())

    def test_verbose_observers_that_cannot_be_shown(self):
        """It shows what it can, and goes on whatever showing them raises."""

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

        for kind in (ValueError, SystemExit, GeneratorExit):  # Ctrl-C is another thing: TestKeyboardInterrupt
            observers = {
                "exception": functools.partial(unshowable, kind=kind),
                "observer": Nameless(kind),
            }
            for name, observer in observers.items():
                with self.subTest(what=name, kind=kind):
                    try:
                        with self.assertLogs("Socket_Singleton") as logs, Printed() as printed:
                            self.notify(observer)
                    except BaseException as error:
                        self.fail(f"{error!r} reached the caller")
                    said = "Observer .* raised exception: Unshowable.*"
                    self.assertRegex(printed.out, rf"\ASocket_Singleton: {said}\n\Z")
                    self.assertEqual([record.levelname for record in logs.records], ["ERROR"])
                    self.assertRegex(logs.records[0].getMessage(), rf"\A{said}\Z")

    def test_verbose_wrong_secret(self):
        app = self.singleton(verbose=True, secret="right")
        with expect_lines(f"Client verification failed on port {self.port}, ignoring connection"):
            self.assertEqual(self.exchange(b"wrong\0word\0"), inside.OTHER_SECRET)
        self.assertEqual((app.clients, app.arguments), (1, ()))

    def test_verbose_packet_too_long(self):
        self.singleton(verbose=True)
        failed = f"Failed to decode data from client on port {self.port}"
        with expect_lines(f"{failed} (more than {MAX_PACKET} bytes)"), contextlib.suppress(ConnectionError):
            self.exchange(b"x" * (MAX_PACKET + 1))

    def test_verbose_packet_incomplete_at_its_deadline(self):
        app = self.singleton(verbose=True)
        peer = self.connect()
        peer.sendall(b"half a pack")
        failed = f"Failed to decode data from client on port {self.port}"
        with expect_lines(f"{failed} (incomplete after 5 seconds)"), self.peers_out_of_time(app, 11):
            self.assert_ended(peer)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_verbose_launch_with_a_name_incomplete_at_its_deadline(self):
        app = self.singleton(verbose=True, name="test", secret="key")
        self.address = app.address
        peer = self.connect()
        peer.sendall(inside.HELLO + bytes(40))  # a hello, and the beginning of a proof
        wait_until(lambda: inside.count_peers(app) == 1, "it was accepted")
        failed = f"Failed to decode data from client on port {self.port}"
        with expect_lines(f"{failed} (incomplete after 5 seconds)"), host_clock_ahead():
            self.connect()  # an event, which makes the host look at its clock
            with contextlib.suppress(ConnectionError):  # it is a reset
                read_to_end(peer)
        self.assertEqual((app.clients, app.arguments), (0, ()))

    def test_verbose_connection_failure(self):
        self.bound()
        with Printed() as printed, inside.limits(HAND_OVER_TIME=0.3):
            self.assertIs(self.second_launch("word", verbose=True).delivered, False)
        failed = f"Socket_Singleton: Failed to connect to existing instance on 127.0.0.1:{self.port}"
        self.assertEqual(printed.out.count("\n"), 1)
        self.assertEqual(printed.out[: len(failed)], failed)

    def test_not_verbose_prints_nothing(self):
        raised = "Observer <lambda> raised exception: ZeroDivisionError: division by zero"
        with self.expect_log(raised), Printed() as printed:
            app, after = self.singleton(secret="right"), Collector()
            app.trace(lambda args: 1 / 0)
            app.trace(after)
            self.exchange(b"wrong\0")
            self.exchange(b"right\0word\0")
            after.wait_for(("word",))
            app.release()
        self.assertEqual(printed.out, "")

    def test_verbose_may_change_while_the_host_runs(self):
        app = self.singleton()
        app.trace(lambda args: 1 / 0)
        raised = "Observer <lambda> raised exception: ZeroDivisionError: division by zero"
        with self.expect_log(raised), expect_lines():
            app._append_args(("x",))
        app.verbose = True
        with self.expect_error(raised):
            app._append_args(("x",))

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
                raised = "Observer <lambda> raised exception: ZeroDivisionError: division by zero"
                with self.expect_log(raised, raised), mock.patch("sys.stdout", stdout):
                    self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
                    for word in (b"a", b"b"):
                        self.assertEqual(self.exchange(b"right\0" + word + b"\0"), ACK)
                    after.wait_for(("a",), ("b",))
                self.assertTrue(getattr(stdout, "asked", True))


class TestSettingsOfAHost(SingletonTestCase):
    """The six settings that may change while the host runs are checked when they are set."""

    def test_each_is_checked_and_kept(self):
        app = self.singleton()
        for name, good, kept, bad, error in (
            ("release_threshold", "3", 3, -1, ValueError),
            ("max_clients", "2", 2, 1.5, ValueError),
            ("secret", 1234, "1234", b"word", TypeError),
            ("dispatch", print, print, 5, TypeError),
            ("verbose", 1, True, None, None),
            ("notify_empty", "yes", True, 0, None),
        ):
            with self.subTest(name=name):
                setattr(app, name, good)
                self.assertEqual(getattr(app, name), kept)
                if error is None:  # any value is true or false
                    setattr(app, name, bad)
                    self.assertIs(getattr(app, name), False)
                    continue
                with self.assertRaisesRegex(error, name):
                    setattr(app, name, bad)
                self.assertEqual(getattr(app, name), kept)

    def test_each_is_documented_on_the_class(self):
        for name in ("release_threshold", "max_clients", "secret", "dispatch", "verbose", "notify_empty"):
            with self.subTest(name=name):
                self.assertTrue(getattr(Socket_Singleton, name).__doc__)


class TestValuesThat200Accepted(SingletonTestCase):
    """What 2.0.0 converted to text is accepted, as text."""

    def test_secret_that_is_a_number(self):
        app = self.singleton(secret=1234)
        self.assertEqual(app.secret, "1234")
        self.assertEqual(self.exchange(b"1234\0word\0"), ACK)
        Socket_Singleton.send(["sent"], port=self.port, secret=1234)
        self.assertEqual(app.arguments, (("word",), ("sent",)))

    def test_address_that_is_an_object(self):
        address = ipaddress.ip_address("127.0.0.1")
        app = self.singleton(address=address)
        self.assertEqual(app.address, "127.0.0.1")
        self.assertIs(self.second_launch("word", address=address).delivered, True)

    def test_what_is_still_refused(self):
        for options in (
            {"secret": True},
            {"secret": b"x"},
            {"address": True},
            {"address": None},
            {"address": b"x"},
        ):
            with self.subTest(**options), self.assertRaises(TypeError):
                Socket_Singleton(port=self.port, **options)


class TestTexts(SingletonTestCase):
    """An error says what to do, or at least where it happened."""

    def test_port_in_place_of_the_address(self):
        with self.assertRaisesRegex(TypeError, r"did you mean port=14301\?"):
            Socket_Singleton(14301)

    def test_error_contains_address_and_port(self):
        for address in ("no such host", "192.0.2.1"):
            with self.subTest(address=address), self.assertRaises(OSError) as caught:
                Socket_Singleton(address, self.port)
            self.assertIn(f"{address} port {self.port}", str(caught.exception))

    def test_error_without_a_number_stays_as_it_is(self):
        """Like one that an audit hook (`sys.addaudithook`) may raise."""
        kind = failing("bind", PermissionError("the policy forbids it"))
        with inside.sockets_of_launches(kind), self.assertRaises(PermissionError) as caught:
            Socket_Singleton(port=self.port)
        self.assertEqual((str(caught.exception), caught.exception.strerror), ("the policy forbids it", None))

    def test_privileged_port(self):
        class Privileged(inside.LaunchSocket):
            def bind(self, name):
                raise PermissionError(errno.EACCES, "Permission denied")

        with inside.sockets_of_launches(Privileged), self.assertRaises(PermissionError) as caught:
            Socket_Singleton(port=80)
        self.assertIn("127.0.0.1 port 80", str(caught.exception))


class TestLog(SingletonTestCase):
    """Whatever an observer or `dispatch` raises reaches the application's log, with its traceback."""

    def logged(self, app, *expected: str) -> None:
        with self.assertLogs("Socket_Singleton", "ERROR") as logs:
            Socket_Singleton.send(["word"], port=app.port)
            wait_until(lambda: logs.records, "it is logged")
        record = logs.records[0]
        self.assertEqual((len(logs.records), record.name, record.levelname), (1, "Socket_Singleton", "ERROR"))
        text = logging.Formatter().format(record)
        for part in ("Traceback", "in fail", *expected):
            self.assertIn(part, text)

    def test_observer(self):
        def fail(_):
            os.stat("/no such folder/file")

        app = self.singleton()
        app.trace(fail)
        self.logged(app, "Observer fail raised exception: FileNotFoundError", "/no such folder/file")

    def test_observer_where_dispatch_runs_it(self):
        def fail(_):
            raise SystemExit(5)

        app = self.singleton(dispatch=lambda run: threading.Thread(target=run).start())
        app.trace(fail)
        self.logged(app, "Observer fail raised exception: SystemExit: 5")

    def test_dispatch(self):
        def fail(_):
            raise RuntimeError("the loop is closed")

        app = self.singleton(dispatch=fail)
        app.trace(print)
        self.logged(app, "Dispatch fail raised exception: RuntimeError: the loop is closed")

    def test_handlers_that_raise(self):
        """They belong to the application: the next observers and launches still get their turn."""

        class Broken(logging.Handler):
            def emit(self, record):
                raised.append(record)
                raise kind("out of a handler")

        handler, raised = Broken(), []
        log = logging.getLogger("Socket_Singleton")
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        app, after = self.singleton(), Collector()
        app.trace(lambda args: 1 / 0)
        app.trace(after)
        for kind in (OSError, SystemExit, KeyboardInterrupt):
            raised.clear()
            with self.expect_stderr(r"Observer <lambda> raised exception: ZeroDivisionError: .*Traceback .*"):
                Socket_Singleton.send([kind.__name__], port=self.port)
                wait_until(lambda kind=kind: (kind.__name__,) in after.calls, "the next one is called")
            self.assertEqual(len(raised), 1)

    def test_python_prints_it_without_a_handler(self):
        code = (
            "import sys; from Socket_Singleton import Socket_Singleton\n"
            "def fail(_): raise ValueError('of an observer')\n"
            "app = Socket_Singleton(port=sys.argv[1])\n"
            "app.trace(fail)\n"
            "Socket_Singleton.send(['word'], port=app.port)\n"
            "sys.stdin.readline()\n"
        )
        program = self.start("-c", code, self.port)
        wait_until(lambda: program.err.endswith("\nValueError: of an observer"), "it is printed")
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.out, "")
        for part in ("Observer fail raised exception: ValueError: of an observer", "Traceback", "in fail"):
            self.assertIn(part, program.err)
