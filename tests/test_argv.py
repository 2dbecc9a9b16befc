"""What a launch hands over, `argv` and `notify_empty`; and what all the newer parameters have in common."""

from __future__ import annotations

import inspect
import os
import threading
from unittest import mock

from Socket_Singleton import Socket_Singleton, _client
from Socket_Singleton._wire import ACK, MAX_PACKET

from .support import Collector, SingletonTestCase, free_port, wait_until

ALL_OF_THEM = {"argv": None, "notify_empty": False, "dispatch": None, "wait": 0}


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


class ParameterTestCase(SingletonTestCase):
    def assert_refused(self, kind: type, *parts: str, **options) -> None:
        """Check that a parameter is refused, before a socket is opened and with nothing left behind."""
        before = count_descriptors(), threading.active_count()
        opened = AssertionError("a socket was opened")
        with self.subTest(**{name: str(value)[:80] for name, value in options.items()}):
            port = free_port()
            with mock.patch.object(_client.socket, "socket", side_effect=opened):
                with self.assertRaises(kind) as caught:
                    Socket_Singleton(port=port, **options)
                if kind is not UnicodeEncodeError:
                    self.assertIs(type(caught.exception), kind)
            for part in parts:
                self.assertIn(part, str(caught.exception))
            # What a test before this one left to end by itself may have ended meanwhile.
            self.assertLessEqual(count_descriptors(), before[0])
            self.assertLessEqual(threading.active_count(), before[1])
            self.assertFalse(Socket_Singleton.is_running(port=port))


class TestKeywordParameters(ParameterTestCase):
    def test_they_are_keyword_only_and_come_after_those_of_2_0_0(self):
        parameters = list(inspect.signature(Socket_Singleton).parameters.values())
        self.assertEqual(
            " ".join(parameter.name for parameter in parameters[:9]),
            "address port timeout client strict release_threshold max_clients verbose secret",
        )
        newer = parameters[9:]
        self.assertEqual({parameter.name: parameter.default for parameter in newer}, ALL_OF_THEM)
        self.assertEqual({parameter.kind for parameter in newer}, {inspect.Parameter.KEYWORD_ONLY})
        with self.assertRaises(TypeError):
            Socket_Singleton("127.0.0.1", self.port, 0, True, True, 0, 0, False, None, ["word"])

    def test_they_are_attributes(self):
        app = self.singleton()
        self.assertEqual({name: getattr(app, name) for name in ALL_OF_THEM}, ALL_OF_THEM)
        app.release()
        app = self.singleton(argv=["a", "b"], notify_empty=True, dispatch=print, wait="1.5")
        self.assertEqual((app.argv, app.notify_empty, app.dispatch, app.wait), (("a", "b"), True, print, 1.5))

    def test_repr_has_the_fields_of_2_0_0_first(self):
        app = self.singleton(secret="hidden")
        self.assertEqual(
            repr(app),
            f"Socket_Singleton(address='127.0.0.1', port={self.port}, timeout=0, client=True, strict=True,"
            " release_threshold=0, max_clients=0, verbose=False, secret=***, observers=0, clients=0,"
            " listening=True, argv=None, notify_empty=False, dispatch=None, wait=0)",
        )
        self.assertEqual(str(app), f"Socket_Singleton(address='127.0.0.1', port={self.port})")
        app.release()
        app = self.singleton(argv=["one", "two"], notify_empty=True, dispatch=print, wait=float("inf"))
        self.assertTrue(
            repr(app).endswith(
                f", argv=('one', 'two'), notify_empty=True, dispatch={print!r}, wait=inf)",
            ),
            repr(app),
        )

    def test_defaults_are_2_0_0(self):
        """A launch without arguments calls nobody; others come as typed, on the observer thread, at once."""
        threads = []
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        app.trace(lambda args: threads.append(threading.current_thread().name))
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch("typed", "so").delivered, True)
        observer.wait_for(("typed", "so"))
        wait_until(lambda: threads, "the second observer is called")
        self.assertEqual(threads, ["Socket_Singleton observers"])
        self.assertEqual(app.clients, 2)
        self.assertEqual(app.arguments, ())


class TestArgv(ParameterTestCase):
    def test_is_handed_over_instead_of_the_command_line(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        given = ["/a/directory", '{"json": [1, 2]}', "", "two\nlines", "Grüße 🎉", "\udcff\udc80", ""]
        error = self.second_launch("not", "this", argv=given)
        self.assertIs(error.delivered, True)
        observer.wait_for(tuple(given))

    def test_is_handed_over_by_a_process_that_ends_in_silence(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        code = (
            "import os, sys; from Socket_Singleton import Socket_Singleton;"
            "Socket_Singleton(port=sys.argv[1], argv=[os.getcwd()])"
        )
        launch = self.start("-c", code, self.port, "not", "this", cwd=os.path.dirname(__file__))
        self.finish(launch)
        self.assertEqual((launch.out, launch.err), ("", ""))
        observer.wait_for((os.path.realpath(os.path.dirname(__file__)),))

    def test_any_sequence_of_strings(self):
        class Word(str):
            pass

        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.second_launch(argv=("a", "tuple"))
        self.second_launch(argv=[Word("a"), Word("subclass")])
        self.second_launch(argv={"keys": 1, "of": 2}.keys())
        observer.wait_for(("a", "tuple"), ("a", "subclass"), ("keys", "of"))

    def test_none_is_the_command_line_and_empty_is_no_arguments(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch("typed", argv=[]).delivered, True)
        self.assertIs(self.second_launch("typed", argv=None).delivered, True)
        observer.wait_for(("typed",))
        self.assertEqual(app.clients, 2)

    def test_a_host_does_not_hand_over_its_own(self):
        app, observer = self.singleton(argv=["the host's"]), Collector()
        app.trace(observer)
        self.second_launch("typed")
        observer.wait_for(("typed",))

    def test_is_the_launchs_own_copy(self):
        given = ["before"]
        app = self.singleton(argv=given)
        given.append("after")
        self.assertEqual(app.argv, ("before",))

    def test_with_a_secret_and_without_client(self):
        app, observer = self.singleton(secret="right"), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch(argv=["no"], secret="wrong").delivered, None)
        self.assertIs(self.second_launch(argv=["no"], secret="right", client=False).delivered, None)
        self.assertIs(self.second_launch(argv=["yes"], secret="right").delivered, True)
        observer.wait_for(("yes",))

    def test_up_to_the_packet_limit(self):
        app, observer = self.singleton(secret="four"), Collector()
        app.trace(observer)
        longest = "x" * (MAX_PACKET - len("four") - 2)  # each is followed by a NUL
        self.assertIs(self.second_launch(argv=[longest], secret="four").delivered, True)
        observer.wait_for((longest,))
        self.assert_refused(ValueError, str(MAX_PACKET), argv=[longest + "x"], secret="five")
        # Bytes count, not characters.
        self.assert_refused(ValueError, str(MAX_PACKET), argv=["ü" * (MAX_PACKET // 2)])

    def test_what_is_refused(self):
        for bad in ("one string", b"bytes", 5, 1.5, True, object()):
            self.assert_refused(TypeError, "argv", argv=bad)
        for bad in ([b"bytes"], ["word", 5], ["word", None], ("word", ["list"]), bytearray(b"ints")):
            self.assert_refused(TypeError, "str", argv=bad)
        self.assert_refused(ValueError, "argument 2", "NUL", argv=["word", "a\0b"])
        self.assert_refused(UnicodeEncodeError, argv=["\ud800"])

    def test_is_checked_by_a_launch_that_would_be_a_second_one_too(self):
        app = self.singleton()
        with self.assertRaises(TypeError):
            Socket_Singleton(port=self.port, argv=[5], strict=False)
        self.assertEqual(app.clients, 0)
        self.assertEqual(self.exchange(b"\0"), ACK)


class TestNotifyEmpty(ParameterTestCase):
    def test_observers_are_called_with_an_empty_tuple(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch("word").delivered, True)
        self.assertIs(self.second_launch("word", argv=()).delivered, True)
        Socket_Singleton.send([], port=self.port)
        observer.wait_for((), ("word",), (), ())

    def test_by_a_launch_of_2_0_0(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        app.trace(observer)
        self.assertEqual(self.exchange(b"\0"), ACK)
        observer.wait_for(())
        self.assertEqual(app.clients, 1)

    def test_with_a_secret(self):
        app, observer = self.singleton(notify_empty=True, secret="right"), Collector()
        app.trace(observer)
        self.second_launch(secret="wrong")
        self.second_launch(secret="right")
        observer.wait_for(())
        self.assertEqual(app.clients, 2)

    def test_waits_for_the_first_observer_in_order(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        for argv in ([], ["word"], []):
            Socket_Singleton.send(argv, port=self.port)
        self.assertEqual(app.arguments, ((), ("word",), ()))
        app.trace(observer)
        observer.wait_for((), ("word",), ())

    def test_stays_readable_after_release(self):
        app = self.singleton(notify_empty=True)
        Socket_Singleton.send([], port=self.port)
        app.release()
        self.assertEqual(app.arguments, ((),))

    def test_a_question_is_no_launch(self):
        """Who connects and sends nothing asks `is_running`, or is a port scanner."""
        app, observer = self.singleton(notify_empty=True), Collector()
        app.trace(observer)
        self.assertTrue(Socket_Singleton.is_running(port=self.port))
        self.assertEqual(self.exchange(b""), b"")
        self.second_launch(client=False)
        self.second_launch("last")
        observer.wait_for(("last",))
        self.assertEqual(app.clients, 1)

    def test_beyond_max_clients_it_is_ignored(self):
        app, observer = self.singleton(notify_empty=True, max_clients=1), Collector()
        app.trace(observer)
        self.assertIs(self.second_launch().delivered, True)
        self.assertIs(self.second_launch().delivered, None)
        wait_until(lambda: app.clients == 2, "both are counted")
        observer.wait_for(())

    def test_is_looked_at_as_the_host_runs(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        Socket_Singleton.send([], port=self.port)
        app.notify_empty = True
        Socket_Singleton.send([], port=self.port)
        app.notify_empty = False
        Socket_Singleton.send([], port=self.port)
        Socket_Singleton.send(["last"], port=self.port)
        observer.wait_for((), ("last",))

    def test_a_bare_second_click_as_a_process(self):
        app, observer = self.singleton(notify_empty=True), Collector()
        app.trace(observer)
        self.run_app("default", self.port)
        observer.wait_for(())

    def test_a_subclass_gets_it_too(self):
        calls = []

        class Old(Socket_Singleton):
            def _append_args(self, args):
                calls.append(args)

        app = Old(port=self.port, notify_empty=True)
        self.addCleanup(app.release)
        Socket_Singleton.send([], port=self.port)
        wait_until(lambda: calls == [()], "the subclass is called")
