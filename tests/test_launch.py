"""What an observer gets: a launch's arguments, where it was started, and a terminal to print to."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import enum
import errno
import functools
import gc
import io
import os
import pickle
import selectors
import subprocess
import sys
import threading
import time
from unittest import mock

from Socket_Singleton import Launch, MultipleSingletonsError, Socket_Singleton

from .support import (
    ACK,
    LAUNCH_LIMIT,
    PATIENCE,
    PROGRAMS,
    Collector,
    SilentTestCase,
    Stopwatch,
    environment,
    inside,
    needs_unix_descriptors,
    wait_until,
)
from .support.launches import LaunchThatDoesNotRead
from .test_answers import AnswersTestCase

# Lines that each of several threads writes at the same time.
LINES = 200


class Full(io.StringIO):
    """A stream that cannot be written."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "no space left")


class TestLaunch(SilentTestCase):
    """The object by itself."""

    def test_it_is_a_tuple_of_words(self):
        launch = Launch(["a", "b c"], cwd="/tmp")
        self.assertEqual(launch, ("a", "b c"))
        self.assertEqual(hash(launch), hash(("a", "b c")))
        self.assertEqual(repr(launch), "('a', 'b c')")
        first, second = launch
        self.assertEqual((first, second, len(launch)), ("a", "b c", 2))
        for plain in (launch[:1], (tuple(launch) + launch), launch * 2):
            self.assertIs(type(plain), tuple)

    def test_what_is_not_given_is_unknown(self):
        launch = Launch(())
        self.assertEqual((launch.cwd, dict(launch.environ), launch.gone), (None, {}, False))
        print("nobody reads this", file=launch.stdout, flush=True)
        self.assertEqual(launch.stderr.write("nor this\n"), 9)

    def test_copies_keep_where_it_was_started(self):
        launch = Launch(("a",), cwd="/tmp", environ={"DISPLAY": ":0"}, stdout=io.StringIO())
        pickled = (
            pickle.loads(pickle.dumps(launch, number)) for number in range(pickle.HIGHEST_PROTOCOL + 1)
        )
        for again in (*pickled, copy.copy(launch), copy.deepcopy(launch)):
            self.assertIs(type(again), Launch)
            self.assertEqual((again, again.cwd, again.environ), (("a",), "/tmp", {"DISPLAY": ":0"}))
            again.stdout.write("thrown away\n")
        self.assertEqual(launch.stdout.getvalue(), "")

    def test_a_single_string_is_a_mistake(self):
        for text in ("a.txt", b"a.txt"):
            self.assertRaisesRegex(TypeError, "sequence of str", Launch, text)

    def test_this_process(self):
        with mock.patch.object(sys, "argv", ["app.py", "x", "y"]):
            launch = Launch()
        self.assertEqual((launch, launch.cwd), (("x", "y"), os.getcwd()))
        self.assertIs(launch.environ, os.environ)
        self.assertIs(launch.stdout, sys.stdout)
        self.assertIs(launch.stderr, sys.stderr)
        self.assertFalse(launch.gone)

    def test_process_without_argv_stdout_and_directory(self):
        """An embedded Python, `pythonw`, a directory that was deleted."""
        gone = mock.patch("os.getcwd", side_effect=FileNotFoundError)
        argv, sys.argv = sys.argv, None
        del sys.argv
        try:
            with gone, mock.patch.object(sys, "stdout", None):
                launch = Launch()
        finally:
            sys.argv = argv
        self.assertEqual((launch, launch.cwd), ((), None))
        launch.stdout.write("thrown away")

    def test_for_the_tests_of_an_observer(self):
        out = io.StringIO()
        print("hello", file=Launch(("a",), stdout=out).stdout)
        self.assertEqual(out.getvalue(), "hello\n")


class TestWhatObserversGet(AnswersTestCase):
    def test_with_a_name(self):
        calls = Collector()
        app = self.named()
        app.trace(calls)
        folder = str(self.make_folder())
        with self.started_in(folder):
            Socket_Singleton.send(["a"], name=self.name)
        calls.wait_for(("a",))
        (launch,) = calls.calls
        self.assertIs(type(launch), Launch)
        self.assertEqual((launch.cwd, dict(launch.environ)), (os.path.realpath(folder), {}))

    @contextlib.contextmanager
    def started_in(self, folder: str):
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)

    @needs_unix_descriptors
    def test_directory_that_was_deleted(self):
        app = self.named()
        folder = self.make_folder() / "deleted"
        folder.mkdir()
        with self.started_in(str(folder)):
            folder.rmdir()
            Socket_Singleton.send(["a"], name=self.name)
        self.assertEqual([(launch, launch.cwd) for launch in app.arguments], [(("a",), None)])

    def test_requested_variables_that_are_set(self):
        app = self.named()
        brought = {"XDG_ACTIVATION_TOKEN": "token=1", "EMPTY": "", "NOT_ASKED": "secret"}
        with mock.patch.dict(os.environ, brought):
            self.named_launch("a", environ=("XDG_ACTIVATION_TOKEN", "EMPTY", "NOT_SET"))
        (launch,) = app.arguments
        self.assertEqual(dict(launch.environ), {"XDG_ACTIVATION_TOKEN": "token=1", "EMPTY": ""})

    def test_variables_count_towards_the_limit_of_a_packet(self):
        self.named()
        with mock.patch.dict(os.environ, LONG="x" * 1000), inside.limits(PACKET_TO_SEND=500):
            self.assertRaisesRegex(ValueError, "environment", self.named_launch, "a", environ=("LONG",))

    def test_wrong_names_of_variables(self):
        for environ, error in (
            ("DISPLAY", TypeError),
            (b"DISPLAY", TypeError),
            (5, TypeError),
            ([5], TypeError),
            ([""], ValueError),
            (["A=B"], ValueError),
            (["A\0"], ValueError),
        ):
            with self.subTest(environ=environ):
                self.assertRaises(error, Socket_Singleton, name=self.name, environ=environ)
        with self.assertRaisesRegex(ValueError, "environ needs a name"):
            Socket_Singleton(port=self.port, environ=["DISPLAY"])

    def test_without_a_name(self):
        app = self.singleton()
        Socket_Singleton.send(["a"], port=self.port)
        (launch,) = app.arguments
        self.assertEqual((type(launch), launch.cwd, dict(launch.environ)), (Launch, None, {}))

    def test_plain_tuples_of_the_application_are_wrapped(self):
        app, calls = self.singleton(), Collector()
        app._arguments.append(("early",))
        app.trace(calls)
        calls.wait_for(("early",))
        app._append_args(("late",))
        self.assertEqual([type(call) for call in calls.calls], [Launch, Launch])

    def test_launch_keeps_the_rest_if_append_args_changes_its_words(self):
        class App(Socket_Singleton):
            def _append_args(self, args):
                return super()._append_args(args[1:])

        app = App(name=self.name)
        self.addCleanup(app.release)

        def observer(launch):
            print(*launch, file=launch.stdout)
            return launch.cwd

        app.trace(observer)
        out = io.StringIO()
        self.assertEqual(self.ask("a", "b", stdout=out), os.getcwd())
        self.assertEqual(out.getvalue(), "b\n")

    def test_bound_counts_everything_in_a_launch(self):
        with inside.limits(MAX_WAITING=4000):
            app = self.singleton()
            for number in range(10):
                app._append_args(Launch((str(number),), cwd="/" + "x" * 1000))
            self.assertLess(len(app.arguments), 5)
            self.assertEqual(app.arguments[-1], ("9",))


class StreamsTestCase(AnswersTestCase):
    def answer_of(self, observer, *words: str, **options):
        """Return the answer, and what appeared on stdout and stderr."""
        app = self.answering(observer, **options)
        out, err = io.StringIO(), io.StringIO()
        answer = self.ask(*(words or ("a",)), stdout=out, stderr=err)
        app.release()
        return answer, out.getvalue(), err.getvalue()

    def stopped(self, *words: str):
        launch = LaunchThatDoesNotRead(self.name, words or ("a",))
        self.addCleanup(launch.close)
        return launch


class TestStreams(StreamsTestCase):
    """What an observer writes to a launch."""

    def test_print_and_a_status(self):
        def build(launch):
            print("building", *launch, "in", launch.cwd, file=launch.stdout)
            print("careful", file=launch.stderr)
            return 2

        expected = (2, f"building a b in {os.getcwd()}\n", "careful\n")
        self.assertEqual(self.answer_of(build, "a", "b"), expected)

    def test_a_line_arrives_at_once(self):
        go_on, shown = threading.Event(), []

        class Out(io.StringIO):
            def write(self, text):
                shown.append(text)
                go_on.set()
                return super().write(text)

        def observer(launch):
            print("first", file=launch.stdout)
            self.assertTrue(go_on.wait(PATIENCE))
            print("partial", end="", file=launch.stdout, flush=True)
            wait_until(lambda: "".join(shown).endswith("partial"), "a flush arrives at once, too")

        self.answering(observer)
        self.ask("a", stdout=Out())
        self.assertEqual("".join(shown), "first\npartial")

    def test_several_lines_of_a_print_arrive_in_one_piece(self):
        def observer(launch):
            launch.stdout.write("first\nsecond")  # as `print` does, before it writes the end of the line
            other = functools.partial(print, "of another\nthread", file=launch.stdout)
            worker = threading.Thread(target=other)
            worker.start()
            worker.join()
            launch.stdout.write("\n")

        self.assertEqual(self.answer_of(observer), (None, "of another\nthread\nfirst\nsecond\n", ""))

    def test_progress_bar_appears_at_once(self):
        out = io.StringIO()

        def observer(launch):
            for text in ("50 %\r", "\r100 %"):
                launch.stdout.write(text)
                wait_until(lambda text=text: out.getvalue().endswith(text), "it is shown")

        self.answering(observer)
        self.ask("a", stdout=out)
        self.assertEqual(out.getvalue(), "50 %\r\r100 %")

    def test_unfinished_line_arrives_before_the_answer(self):
        def observer(launch):
            launch.stdout.write("no end of line")
            worker = threading.Thread(target=launch.stderr.write, args=("nor here",))
            worker.start()
            worker.join()
            return "answer"

        self.assertEqual(self.answer_of(observer), ("answer", "no end of line", "nor here"))

    def test_unfinished_line_is_sent_once_it_is_long(self):
        out = io.StringIO()

        def observer(launch):
            print("data:", end=" ", file=launch.stdout)
            for _ in range(40):
                print("x" * 60_000, end="", file=launch.stdout)
            wait_until(lambda: len(out.getvalue()) > 2_000_000, "it arrives before the line or the call ends")

        self.answering(observer)
        self.ask("a", stdout=out)
        self.assertEqual(out.getvalue(), "data: " + "x" * 2_400_000)

    def test_streams_are_not_kept_because_somebody_looks_at_the_launch(self):
        app = self.named()
        self.stopped("a")
        wait_until(lambda: app.arguments, "it has arrived")
        kind = type(app.arguments[0].stdout)

        def count() -> int:
            gc.collect()
            return sum(type(thing) is kind for thing in gc.get_objects())

        before = count()
        for _ in range(50):
            app.arguments[0].stdout.buffer.write(b"")
        wait_until(lambda: count() < before + 20, "they are freed")  # PyPy needs several collections

    def test_stream_that_is_empty(self):
        class Lines(list):
            def write(self, text):
                self.append(text)

        lines = Lines()
        print("text", file=Launch(["a"], stdout=lines).stdout)
        self.assertEqual("".join(lines), "text\n")

    def test_folder_that_was_deleted(self):
        folders = []
        self.answering(lambda launch: folders.append(launch.cwd))
        with mock.patch("os.getcwd", side_effect=FileNotFoundError):
            self.ask("a")
        self.assertEqual(folders, [None])

    def test_a_line_in_many_pieces_arrives_whole(self):
        def observer(launch):
            for number in range(200):
                launch.stdout.write(f"{number},")
            launch.stdout.write("\n")

        line = "".join(f"{number}," for number in range(200))
        self.assertEqual(self.answer_of(observer), (None, f"{line}\n", ""))

    def test_what_is_not_bytes(self):
        def observer(launch):
            launch.stdout.buffer.write(bytearray(b"bytes "))
            launch.stdout.buffer.write(memoryview(b"bytes"))
            for wrong in (5, "text", [1]):
                with self.assertRaises(TypeError):
                    launch.stdout.buffer.write(wrong)

        self.assertEqual(self.answer_of(observer), (None, "bytes bytes", ""))

    def test_bytes_to_a_closed_stream(self):
        def observer(launch):
            buffer = launch.stdout.buffer
            launch.stdout.close()
            with self.assertRaisesRegex(ValueError, "closed file"):
                buffer.write(b"word")
            return "answer"

        self.assertEqual(self.answer_of(observer), ("answer", "", ""))

    def test_more_than_one_turn_sends_continues_in_the_next_one(self):
        gate = self.gate()

        def observer(launch):
            with inside.at("turn", gate):
                inside.wake(app)
                gate.wait_for_somebody()
                for _ in range(16):
                    launch.stdout.buffer.write(bytes(65536))
                gate.open()

        app = self.answering(observer)
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.ask("a", stdout=out)
        self.assertEqual(out.buffer.getvalue(), bytes(16 * 65536))

    def test_order_between_both_streams_is_that_of_the_writes(self):
        both = io.StringIO()

        def observer(launch):
            for number in range(100):
                print(number, file=launch.stdout if number % 2 else launch.stderr)

        self.answering(observer)
        self.ask("a", stdout=both, stderr=both)
        self.assertEqual(both.getvalue(), "".join(f"{number}\n" for number in range(100)))

    def test_lines_of_many_threads_arrive_whole(self):
        def observer(launch):
            def write(name):
                for number in range(LINES):
                    print("line", number, "of", name, "x" * 70, file=launch.stdout)

            workers = [threading.Thread(target=write, args=(str(name),)) for name in range(8)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()

        _, out, _ = self.answer_of(observer)
        expected = [f"line {number} of {name} {'x' * 70}" for name in range(8) for number in range(LINES)]
        self.assertEqual(sorted(out.splitlines()), sorted(expected))

    def test_bytes(self):
        def observer(launch):
            launch.stdout.write("text, then ")
            self.assertEqual(launch.stdout.buffer.write(b"bytes"), 5)
            launch.stdout.buffer.write(memoryview(b" of any kind\n"))
            launch.stdout.buffer.flush()

        self.assertEqual(self.answer_of(observer)[1], "text, then bytes of any kind\n")

    def test_only_surrogates_that_stand_for_no_byte_are_escaped(self):
        def observer(launch):
            print("caf\udce9 \ud800", file=launch.stdout)
            return "\udcff\udc7f"

        self.assertEqual(self.answer_of(observer)[:2], ("\udcff\\udc7f", "caf\udce9 \\ud800\n"))

    def test_they_are_text_streams(self):
        found = {}

        def observer(launch):
            for stream in (launch.stdout, launch.stderr):
                self.assertIsInstance(stream, io.TextIOBase)
                self.assertRaises(io.UnsupportedOperation, stream.fileno)
                self.assertRaises(io.UnsupportedOperation, stream.read)
                self.assertRaises(TypeError, stream.write, b"bytes")
                self.assertEqual(stream.write("four"), 4)
                stream.writelines(["lines ", "of it\n"])
            found.update(
                encoding=launch.stdout.encoding,
                errors=launch.stdout.errors,
                tty=launch.stdout.isatty(),
                writable=launch.stdout.writable(),
                readable=launch.stdout.readable(),
            )
            return "checked"

        self.assertEqual(self.answer_of(observer), ("checked", "fourlines of it\n", "fourlines of it\n"))
        self.assertEqual(
            found,
            {
                "encoding": "utf-8",
                "errors": "surrogateescape",
                "tty": False,
                "writable": True,
                "readable": False,
            },
        )

    def test_closing_one_stream_leaves_the_other_open(self):
        def observer(launch):
            launch.stdout.write("kept")
            launch.stdout.close()
            self.assertRaises(ValueError, launch.stdout.write, "x")
            print("still here", file=launch.stderr)
            return 3

        self.assertEqual(self.answer_of(observer), (3, "kept", "still here\n"))

    def test_other_ways_to_write(self):
        def observer(launch):
            with contextlib.redirect_stdout(launch.stdout):
                print("redirected")

        self.assertEqual(self.answer_of(observer)[1], "redirected\n")

    def test_long_output_arrives_whole_and_in_order(self):
        size = 3_000_000

        def observer(launch):
            launch.stdout.buffer.write(b"x" * size)  # more than may be waiting
            for number in range(1000):
                print(number, "y" * 1000, file=launch.stdout)

        _, out, _ = self.answer_of(observer)
        expected = "x" * size + "".join(f"{number} {'y' * 1000}\n" for number in range(1000))
        self.assertEqual(len(out), len(expected))
        self.assertTrue(out == expected, "in order")

    def test_launch_that_does_not_ask_reads_nothing(self):
        calls = Collector()

        def observer(launch):
            print("nobody reads this", file=launch.stdout, flush=True)
            launch.stdout.buffer.write(b"nor this")
            calls((launch.gone,))

        self.answering(observer)
        Socket_Singleton.send(["a"], name=self.name)
        calls.wait_for((False,))

    def test_output_after_the_answer_is_thrown_away(self):
        launches = Collector()
        self.answering(launches)
        out = io.StringIO()
        self.ask("a", stdout=out)
        (launch,) = launches.calls
        print("too late", file=launch.stdout, flush=True)
        self.assertEqual((out.getvalue(), launch.gone), ("", False))

    def test_pending_future_writes(self):
        future = concurrent.futures.Future()
        launches = Collector()
        self.answering(lambda launch: (launches(launch), future)[1])
        out = io.StringIO()
        asking = self.in_background(lambda: self.ask("a", stdout=out))
        wait_until(lambda: launches.calls, "it was called")
        print("from elsewhere", file=launches.calls[0].stdout)
        wait_until(lambda: out.getvalue() == "from elsewhere\n", "it has arrived")
        future.set_result(None)
        self.join(asking)

    def test_forked_child_writes_nothing(self):
        if not hasattr(os, "fork"):
            self.skipTest("a system without fork")

        def observer(launch):
            child = os.fork()
            if not child:
                try:
                    print("from the child", file=launch.stdout, flush=True)
                    os._exit(0 if launch.gone else 1)
                finally:
                    os._exit(2)
            return os.waitpid(child, 0)[1] >> 8

        with self.expect_warning_of_forks():
            self.assertEqual(self.answer_of(observer), (0, "", ""))


class TestLaunchesThatDoNotRead(StreamsTestCase):
    def test_writer_waits_for_room_and_goes_on(self):
        done = threading.Event()

        def observer(launch):
            for _ in range(40):
                launch.stdout.buffer.write(b"x" * 500_000)
            done.set()

        self.answering(observer)
        launch = self.stopped()
        self.assertFalse(done.wait(0.3), "it waits for room")
        self.assertEqual(launch.read().count(b"x"), 20_000_000)
        self.assertTrue(done.is_set())

    def test_launch_that_does_not_read_is_cut_off(self):
        """All its writers get an error, all at the same time; its launch gets a message."""
        self.enter(inside.limits(STALL_TIME=0.3))
        results = Collector()

        def observer(launch):
            def write():
                try:
                    while True:
                        launch.stdout.buffer.write(b"x" * 100_000)
                except BrokenPipeError:
                    results((launch.gone,))

            workers = [threading.Thread(target=write) for _ in range(8)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            raise BrokenPipeError  # like an observer that does not catch it

        app = self.answering(observer)
        with mock.patch("logging.Logger.error") as log:
            launch = self.stopped()
            with Stopwatch() as took:
                wait_until(lambda: len(results.calls) == 8, "all writers have ended")
            self.assertLess(took.seconds, 3)
            self.assertEqual(launch.read()[-5:], b"\6\0\0\0\0")
            app.untrace(observer)
            app.trace(lambda launch: "serves")
            self.assertEqual(self.ask("b"), "serves")
        self.assertFalse(log.called)

    def test_little_is_on_its_way_to_a_launch_that_shows_nothing(self):
        """Else the host would notice only after megabytes that it reads, and would cut off a slow one."""
        self.enter(inside.limits(MAX_UNSENT=20_000_000))
        stops, go_on, size = threading.Event(), threading.Event(), 15_000_000

        class Out(io.StringIO):
            def write(self, text):
                if self.tell() > size // 2:  # the system has become used to a launch that reads quickly
                    stops.set()
                    go_on.wait(PATIENCE)
                return super().write(text)

        def observer(launch):
            launch.stdout.buffer.write(b"x" * size)

        app, out = self.answering(observer), Out()
        outcomes = self.asking_in_background("a", stdout=out)
        self.assertTrue(stops.wait(PATIENCE))
        wait_until(lambda: inside.waits_until_a_launch_reads(app), "the launch does not take all of it")
        on_its_way = size - inside.count_unsent(app) - out.tell()
        go_on.set()
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(out.tell(), size)
        self.assertLess(on_its_way, 512 * 1024)

    def test_launch_that_reads_while_the_host_is_stopped(self):
        """As when it is stopped by Ctrl-Z, but its clock goes on."""
        self.enter(inside.limits(STALL_TIME=0.3))
        gate, size = self.gate(), 4_000_000

        def observer(launch):
            for _ in range(40):
                launch.stdout.buffer.write(b"x" * (size // 40))

        app = self.answering(observer)
        launch = self.stopped()
        wait_until(lambda: inside.waits_until_a_launch_reads(app), "the launch does not take all of it")
        with inside.at("turn", gate):
            inside.wake(app)
            gate.wait_for_somebody()
            first = launch.read(100_000)
            wait_until(lambda: inside.is_found_to_stall(app), "the writer has waited for too long")
            gate.open()
        self.assertEqual(first.count(b"x") + launch.read().count(b"x"), size)

    def test_connection_that_the_system_no_longer_watches(self):
        """That ends this connection, and nothing else."""
        for number in (1, 2):
            calls = []

            class Selector(selectors.DefaultSelector):
                def modify(self, sock, *what, calls=calls, number=number):
                    calls.append(sock)
                    if len(calls) != number:
                        return super().modify(sock, *what)
                    self.unregister(sock)  # a selector forgets what it cannot modify
                    raise OSError(errno.ENOMEM, "no memory")

            def observer(launch):
                return "x" * 20_000_000 if launch == ("long",) else "serves"

            with self.subTest(number), mock.patch.object(selectors, "DefaultSelector", Selector):
                app = self.answering(observer)
                launch = self.stopped("long")
                wait_until(lambda: calls, "it does not take everything at once")  # noqa: B023
                with contextlib.suppress(ConnectionError):
                    launch.read()
                self.assertEqual(self.ask("b"), "serves")
                app.release()

    def test_short_pieces_count_the_memory_that_they_take(self):
        gate, counts = self.gate(), []

        def observer(launch):
            with inside.at("turn", gate):
                inside.wake(app)
                gate.wait_for_somebody()
                for _ in range(100):
                    launch.stdout.buffer.write(b"x")
                counts.append(inside.count_unsent(app))
                gate.open()

        app = self.answering(observer)
        self.ask("a", stdout=io.StringIO())
        self.assertGreaterEqual(counts[0], 100 * 50)  # CPython takes 34 bytes for one, and 56 for its place

    def test_total_of_all_launches_is_bounded(self):
        """Those that have not read for longest are cut off, and no more of them than necessary."""
        self.enter(inside.limits(MAX_UNSENT=400_000, MAX_UNSENT_IN_ALL=200_000, STALL_TIME=PATIENCE))
        share, cut = inside.limit("SHARE"), Collector()

        def observer(launch):
            try:
                for _ in range(100):
                    launch.stdout.buffer.write(b"x" * share)
            except BrokenPipeError:
                cut(launch)

        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            app = self.answering(observer, dispatch=executor.submit)
            launches = [self.stopped(str(number)) for number in range(5)]
            wait_until(lambda: len(cut.calls) == 2, "three of them are below the bound")
            are_cut = {int(number) for (number,) in cut.calls}
            for number in sorted(range(5), key=are_cut.__contains__):  # those that are not cut off come first
                said = launches[number].read()
                if number in are_cut:
                    self.assertTrue(said.endswith(b"\6\0\0\0\0"))
                else:
                    self.assertEqual(said.count(b"x"), 100 * share)
            app.release()

    def test_long_piece_is_sent_in_parts(self):
        """What is being sent stays in memory until the connection ends, even if the launch is cut off."""

        def observer(launch):
            for _ in range(20):
                launch.stdout.buffer.write(b"x" * 1_000_000)

        self.answering(observer)
        said, sizes = self.stopped().read(), []
        place = len(ACK)
        while place < len(said):  # each frame is a byte for its kind, four for its size, and its content
            sizes.append(int.from_bytes(said[place + 1 : place + 5], "big"))
            place += 5 + sizes[-1]
        self.assertEqual(sum(sizes), 20_000_000)
        self.assertLess(max(sizes), 256 * 1024)

    def test_launches_that_read_are_not_cut_off_for_others(self):
        """While much waits for all together, the writers of each wait sooner."""
        self.enter(inside.limits(MAX_UNSENT=100_000, MAX_UNSENT_IN_ALL=1_000_000, SHARE=10_000))
        self.enter(inside.limits(STALL_TIME=PATIENCE))

        def observer(launch):
            for _ in range(4):
                launch.stdout.buffer.write(b"x" * 500_000)

        with concurrent.futures.ThreadPoolExecutor(24) as executor:
            app = self.answering(observer, dispatch=executor.submit)
            launches = [self.stopped(str(number)) for number in range(24)]
            wait_until(lambda: inside.count_unsent(app) > 250_000, "much is waiting for all together")
            self.assertLess(inside.count_unsent(app), 1_000_000)
            counts = self.at_once(24, lambda number: launches[number].read().count(b"x"))
            self.assertEqual(counts, [2_000_000] * 24)
            app.release()

    def test_writers_that_look_for_room_at_once_do_not_all_find_the_same(self):
        """None of their launches is cut off."""
        self.enter(inside.limits(MAX_UNSENT=100_000, MAX_UNSENT_IN_ALL=1_000_000, SHARE=10_000))
        self.enter(inside.limits(STALL_TIME=PATIENCE))
        count, writers = 24, set()
        all_have_looked = threading.Barrier(count, timeout=0.5)

        def meet():
            if threading.get_ident() in writers:
                with contextlib.suppress(threading.BrokenBarrierError):
                    all_have_looked.wait()

        def observer(launch):
            writers.add(threading.get_ident())
            launch.stdout.buffer.write(b"x" * 1_000_000)

        with concurrent.futures.ThreadPoolExecutor(count) as executor:
            app = self.answering(observer, dispatch=executor.submit)
            with inside.after_counting_unsent(app, meet):
                launches = [self.stopped(str(number)) for number in range(count)]
                wait_until(lambda: all_have_looked.broken, "they look one after the other")
                counts = self.at_once(count, lambda number: launches[number].read().count(b"x"))
            self.assertEqual(counts, [1_000_000] * count)
            app.release()

    def test_other_launches_notice_nothing(self):
        def observer(launch):
            if launch == ("quick",):
                return "answer"
            for _ in range(40):
                launch.stdout.buffer.write(b"x" * 500_000)
            return None

        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            app = self.answering(observer, dispatch=executor.submit)
            launch = self.stopped("slow")
            for _ in range(10):
                self.assertEqual(self.ask("quick"), "answer")
            launch.close()
            app.release()

    def test_a_launch_that_has_gone(self):
        gone = Collector()
        begun = threading.Event()

        def observer(launch):
            if launch == ("b",):
                return
            begun.set()
            wait_until(lambda: launch.gone, "it has gone")
            self.assertRaises(BrokenPipeError, print, "x", file=launch.stdout)
            self.assertRaises(BrokenPipeError, print, ".", end="", file=launch.stdout)
            with self.assertRaises(BrokenPipeError):
                launch.stderr.buffer.write(b"x")
            gone((launch.gone,))
            print("an observer that lets the error pass", file=launch.stdout)

        self.answering(observer)
        with mock.patch("logging.Logger.error") as log:
            launch = self.stopped()
            self.assertTrue(begun.wait(PATIENCE))
            launch.close()
            gone.wait_for((True,))
            self.assertIsNone(self.ask_without_observers())
        self.assertFalse(log.called)

    def test_task_that_is_cancelled_because_its_launch_has_gone(self):
        """That is what its application wants, and no error."""
        future, launches = concurrent.futures.Future(), Collector()

        def observer(launch):
            launches(launch)
            return future

        self.answering(observer)
        launch = self.stopped()
        launches.wait_for(("a",))
        launch.close()
        wait_until(lambda: launches.calls[0].gone, "it has gone")
        with mock.patch("logging.Logger.error") as log:
            future.cancel()
            future.set_running_or_notify_cancel()
        self.assertFalse(log.called)

    def test_a_launch_that_has_gone_before_the_rest_of_a_line(self):
        """The buffered rest then has no recipient, which is no error of the observer."""
        begun, ended = threading.Event(), threading.Event()

        def observer(launch):
            if launch == ("b",):
                return
            print("no end of line", end="", file=launch.stdout)
            begun.set()
            wait_until(lambda: launch.gone, "it has gone")
            ended.set()

        self.answering(observer)
        with mock.patch("logging.Logger.error") as log:
            launch = self.stopped()
            self.assertTrue(begun.wait(PATIENCE))
            launch.close()
            self.assertTrue(ended.wait(PATIENCE))
            self.ask_without_observers()
        self.assertFalse(log.called)

    def ask_without_observers(self):
        """Wait until the observer has returned, so that its error would be logged by now."""
        Socket_Singleton.send(["b"], name=self.name)


class TestRelease(StreamsTestCase):
    """After the port is free: which launches are still answered, and that none waits for ever."""

    def test_answer_half_sent_when_the_threshold_comes(self):
        text = "x" * 20_000_000
        app = self.answering(lambda launch: text if launch == ("long",) else None, release_threshold=2)
        launch = self.stopped("long")
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        Socket_Singleton.send(["second"], name=self.name)
        wait_until(lambda: not app._listening, "the port is free")
        self.assertEqual(launch.read().count(b"x"), len(text))

    def test_answer_half_sent_when_the_timeout_comes(self):
        text = "x" * 20_000_000
        app = self.answering(lambda launch: text, timeout=PATIENCE)
        launch = self.stopped("long")
        wait_until(lambda: inside.is_sending_an_answer(app), "its answer is on its way")
        self.expire(app)
        self.assertTrue(app.join(PATIENCE))
        self.assertEqual(launch.read().count(b"x"), len(text))

    def test_answer_that_was_not_read_for_long_when_the_threshold_comes(self):
        """The application goes on, so the launch still has as much time as it needs."""
        text = "x" * 20_000_000
        app = self.answering(lambda launch: text if launch == ("long",) else None, release_threshold=2)
        launch = self.stopped("long")
        wait_until(lambda: inside.waits_until_a_launch_reads(app), "the launch does not take all of it")
        with inside.clock_of_hosts(ahead=24 * 3600):
            Socket_Singleton.send(["the last one"], name=self.name)
            self.assertTrue(app.join(PATIENCE))
            self.assertEqual(launch.read().count(b"x"), len(text))

    def test_pending_future_fails_although_output_was_unsent(self):
        """What was written before the release arrives, then the connection ends; what comes later fails."""
        pending, broken = threading.Event(), threading.Event()

        class Pending(concurrent.futures.Future):
            def add_done_callback(self, call):
                super().add_done_callback(call)
                pending.set()

        def write(launch):
            with contextlib.suppress(BrokenPipeError):
                while True:
                    launch.stdout.buffer.write(b"x" * 65536)
            broken.set()

        def observer(launch):
            self.in_background(lambda: write(launch))
            return Pending()

        app = self.answering(observer)
        launch = self.stopped("a")
        self.assertTrue(pending.wait(PATIENCE))
        wait_until(lambda: inside.count_unsent(app) > 900_000, "the launch does not take any more")
        app.release()
        with contextlib.suppress(ConnectionResetError):  # the end, if there was no room for another one
            launch.read()
        self.assertTrue(broken.wait(PATIENCE))

    def test_two_observers_that_release_at_the_same_time(self):
        both = threading.Barrier(2)

        def observer(launch):
            both.wait(PATIENCE)
            app.release()
            print("out of", *launch, file=launch.stdout)
            return launch[0]

        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            app = self.answering(observer, dispatch=executor.submit)
            outs = [io.StringIO(), io.StringIO()]
            answers = self.at_once(2, lambda number: self.ask(str(number), stdout=outs[number]))
            self.assertEqual(answers, ["0", "1"])
        self.assertEqual([out.getvalue() for out in outs], ["out of 0\n", "out of 1\n"])

    def test_port_is_free_for_launches_while_an_observer_still_answers(self):
        released, go_on = threading.Event(), threading.Event()

        def observer(launch):
            app.release()
            released.set()
            self.assertTrue(go_on.wait(PATIENCE))
            print("late output", file=launch.stdout)
            return "late"

        app = self.answering(observer)
        out, answers = io.StringIO(), []
        asking = self.in_background(lambda: answers.append(self.ask("a", stdout=out)))
        self.assertTrue(released.wait(PATIENCE))
        self.assertFalse(app._listening)
        following = self.named()
        following.trace(lambda launch: "the next one")
        self.assertEqual(self.ask("b"), "the next one")
        go_on.set()
        self.join(asking)
        self.assertEqual((answers, out.getvalue()), (["late"], "late output\n"))

    def test_future_that_is_returned_after_a_release_fails(self):
        def observer(launch):
            app.release()
            return concurrent.futures.Future()

        app = self.answering(observer)
        self.assert_lost([self.outcome_of_asking("a")])

    def test_future_that_is_pending_at_a_threshold_still_answers(self):
        future, followed = concurrent.futures.Future(), Collector()
        app = self.answering(lambda launch: (followed(launch), future)[1], release_threshold=1)
        outcomes = self.asking_in_background("a")
        followed.wait_for(("a",))
        self.assertTrue(app.join(PATIENCE))
        future.set_result("late")
        wait_until(lambda: outcomes, "it is answered")
        self.assertEqual(outcomes, ["late"])

    def test_with_after_a_release(self):
        app = self.singleton()
        app.release()
        with self.assertRaisesRegex(RuntimeError, "released"):
            app.__enter__()

    def test_with_after_the_threshold(self):
        app = self.singleton(release_threshold=1)
        Socket_Singleton.send(["a"], port=self.port)
        self.assertTrue(app.join(PATIENCE))
        with app:
            pass


class Status(enum.IntEnum):
    FAILED = 3


class TestAnswersOfAllKinds(StreamsTestCase):
    def test_numbers_of_other_classes(self):
        class Number(int):
            pass

        for result, status in ((Status.FAILED, 3), (Number(7), 7)):
            with self.subTest(result=result):
                answer, _, _ = self.answer_of(lambda launch, result=result: result)
                self.assertEqual((type(answer), answer), (int, status))

    def test_functions_that_do_not_run_when_called(self):
        app = self.singleton()

        def generator(launch):
            yield

        async def coroutine(launch):
            pass

        async def async_generator(launch):
            yield

        class Called:
            def __call__(self, launch):
                yield

        for observer in (generator, coroutine, async_generator, Called(), functools.partial(generator)):
            with self.subTest(observer=observer):
                self.assertRaisesRegex(TypeError, "function", app.trace, observer)

    def test_returned_generator_is_not_an_answer(self):
        with self.assertLogs("Socket_Singleton", "ERROR"):
            self.answering(lambda launch: (word for word in launch))
            self.assertRaisesRegex(RuntimeError, "generator is not an answer", self.ask, "a")

    def test_future_that_calls_back_twice_answers_once(self):
        class Twice:
            def add_done_callback(self, callback):
                callback(self)
                callback(self)

            def result(self):
                raise ValueError("it failed")

        self.answering(lambda launch: Twice())
        with self.assertLogs("Socket_Singleton", "ERROR") as logged:
            self.assertRaisesRegex(RuntimeError, "it failed", self.ask, "a")
            self.assertRaisesRegex(RuntimeError, "it failed", self.ask, "b")
        self.assertEqual(len(logged.records), 2)

    def test_error_of_a_future_is_logged_if_nobody_asked(self):
        future = concurrent.futures.Future()
        future.set_exception(ValueError("out of a future"))
        called = Collector()
        self.answering(lambda launch: (called(launch), future)[1])
        with mock.patch("logging.Logger.error") as log:
            Socket_Singleton.send(["a"], name=self.name)
            wait_until(lambda: log.called, "it is logged")
        self.assertIn("out of a future", log.call_args[0][0])

    def test_task_that_the_loop_holds_weakly(self):
        """Both patterns in the documentation, with a garbage collection while the coroutine waits."""
        for pattern in (asyncio.ensure_future, asyncio.run_coroutine_threadsafe):
            with self.subTest(pattern.__name__):
                self.check_task(pattern)

    def check_task(self, pattern):
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        waiting = threading.Event()
        waits = []

        async def answer():
            waits.append(asyncio.get_running_loop().create_future())
            waiting.set()
            return await waits[-1]

        def observer(launch):
            if pattern is asyncio.ensure_future:
                return asyncio.ensure_future(answer())
            return asyncio.run_coroutine_threadsafe(answer(), loop)

        dispatch = loop.call_soon_threadsafe if pattern is asyncio.ensure_future else None
        app = self.answering(observer, dispatch=dispatch)
        try:
            outcomes = self.asking_in_background("a")
            self.assertTrue(waiting.wait(PATIENCE))
            gc.collect()
            loop.call_soon_threadsafe(lambda: waits[-1].set_result("from the loop"))
            wait_until(lambda: outcomes, "it is answered")
            self.assertEqual(outcomes, ["from the loop"])
        finally:
            app.release()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class TestLimitOfTheWait(AnswersTestCase):
    def test_launch_that_is_not_answered_in_time(self):
        app = self.answering(lambda launch: concurrent.futures.Future())
        begun = time.monotonic()
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, argv=["a"], answer=LAUNCH_LIMIT)
        self.assertIn("has not answered in time", caught.exception.code)
        self.assertGreaterEqual(time.monotonic() - begun, LAUNCH_LIMIT)
        with self.assertRaises(MultipleSingletonsError) as caught:
            Socket_Singleton(name=self.name, argv=["a"], answer=LAUNCH_LIMIT, strict=False)
        self.assertEqual((caught.exception.outcome, caught.exception.delivered), ("late", True))
        app.release()

    def test_limit_holds_while_output_keeps_coming(self):
        pause = threading.Event()

        def observer(launch):
            while not launch.gone:
                print("a line", file=launch.stdout)
                pause.wait(0.001)  # so that this thread leaves the interpreter to the launch

        self.answering(observer)
        with Stopwatch() as took, self.assertRaisesRegex(TimeoutError, "has not answered in time"):
            self.ask("a", timeout=LAUNCH_LIMIT, stdout=io.StringIO())
        self.assertLess(took.seconds, PATIENCE / 2)

    def test_output_that_is_shown_slowly_does_not_count(self):
        """As behind a pager: the host may have answered long before."""
        limit, is_shown = LAUNCH_LIMIT, threading.Event()

        class Slow(io.StringIO):
            def write(self, text):
                if not is_shown.is_set():
                    begun = time.monotonic()
                    wait_until(lambda: time.monotonic() > begun + 2 * limit, "the time is over")
                    is_shown.set()
                return super().write(text)

        def observer(launch):
            print("a line", file=launch.stdout)
            is_shown.wait(PATIENCE)
            end = time.monotonic() + limit / 3
            wait_until(lambda: time.monotonic() > end, "it waits")
            print("another line", file=launch.stdout)
            return 7

        self.answering(observer)
        out = Slow()
        self.assertEqual(self.ask("a", timeout=limit, stdout=out), 7)
        self.assertEqual(out.getvalue(), "a line\nanother line\n")

    def test_valid_and_invalid_limits(self):
        for answer, error in (
            (0, ValueError),
            (0.0, ValueError),
            (-1, ValueError),
            ("x", ValueError),
            (None, TypeError),
        ):
            with self.subTest(answer=answer):
                self.assertRaises(error, Socket_Singleton, name=self.name, answer=answer)
        for answer in (True, 1, 2.5, float("inf")):
            app = Socket_Singleton(name=self.name, answer=answer)
            app.release()
            self.assertEqual((type(app.answer), app.answer), (type(answer), answer))


class TestOutcome(AnswersTestCase):
    def outcome(self, *words: str, **options) -> MultipleSingletonsError:
        with self.assertRaises(MultipleSingletonsError) as caught:
            Socket_Singleton(name=self.name, argv=words or ("a",), strict=False, **options)
        return caught.exception

    def test_each_way_beside_a_host(self):
        app = self.named()
        self.assertEqual(self.outcome().outcome, "delivered")
        self.assertEqual(self.outcome(client=False).outcome, "not sent")
        self.assertEqual(self.outcome(secret="another").outcome, "unproven")
        app.trace(lambda launch: None)
        self.assertEqual(self.outcome(answer=True).outcome, "answered")
        app.max_clients = app.clients
        self.assertEqual(self.outcome().outcome, "ignored")

    def test_refused_by_the_observer_and_lost(self):
        def refuse(launch):
            raise SystemExit("closing")

        app = self.answering(refuse)
        error = self.outcome(answer=True)
        self.assertEqual((error.outcome, error.delivered, str(error)), ("refused", True, "closing"))
        app.untrace(refuse)
        futures, errors = [], []
        app.trace(lambda launch: futures.append(concurrent.futures.Future()) or futures[0])
        asking = self.in_background(lambda: errors.append(self.outcome(answer=True)))
        wait_until(lambda: futures, "it waits")
        app.release()
        self.join(asking)
        self.assertEqual((errors[0].outcome, errors[0].delivered), ("lost", True))

    def test_launch_that_asks_a_host_that_takes_no_more(self):
        app = self.named(max_clients=1)
        Socket_Singleton.send(["a"], name=self.name)
        error = self.outcome(answer=True)
        self.assertEqual((error.outcome, error.delivered), ("ignored", False))
        with self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, argv=["b"], answer=True)
        self.assertIn("max_clients", caught.exception.code)
        app.release()

    def test_output_that_cannot_be_shown(self):
        """The host has proved itself before, so its process is known."""
        self.answering(lambda launch: print("a line", file=launch.stdout))
        with mock.patch.object(sys, "stdout", Full()):
            error = self.outcome(answer=True)
        self.assertEqual((error.outcome, error.delivered, error.pid), ("cut off", True, os.getpid()))

    def test_too_many_wait_already(self):
        self.enter(inside.limits(MAX_ASKING=0))
        self.answering(lambda launch: None)
        error = self.outcome(answer=True)
        self.assertEqual((error.outcome, error.delivered), ("full", False))

    def test_it_survives_pickling(self):
        self.named()
        self.assertEqual(pickle.loads(pickle.dumps(self.outcome())).outcome, "delivered")


class TestAsk(AnswersTestCase):
    def test_waits_for_an_application_that_is_just_starting(self):
        answers = []
        asking = self.in_background(
            lambda: answers.append(Socket_Singleton.ask(["a"], name=self.name, wait=PATIENCE))
        )
        self.answering(lambda launch: "here")
        self.join(asking)
        self.assertEqual(answers, ["here"])

    def test_waits_in_vain(self):
        begun = time.monotonic()
        self.assertRaises(ConnectionRefusedError, Socket_Singleton.ask, ["a"], name=self.name, wait=0.3)
        self.assertGreater(time.monotonic() - begun, 0.2)

    def test_stream_that_cannot_be_written(self):
        self.answering(lambda launch: print("x", file=launch.stdout))
        with self.assertRaisesRegex(OSError, "no space left"):
            self.ask("a", stdout=Full())

    def test_incomplete_character_at_the_end(self):
        """It is shown as it came, once it is certain that nothing more comes."""

        def observer(launch):
            launch.stdout.buffer.write(b"caf\xc3")
            print("caf\udcc3", end="", file=launch.stderr)

        self.answering(observer)
        out, ascii_only = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        self.ask("a", stdout=out, stderr=ascii_only)
        self.assertEqual(out.getvalue(), "caf\udcc3")
        self.assertEqual(ascii_only.buffer.getvalue(), rb"caf\udcc3")

    @needs_unix_descriptors
    def test_stream_that_is_full_already_and_does_not_block(self):
        """What this program has printed itself comes first, and nothing is lost."""
        text = "\u00e9" * 300_000

        class Raw(io.FileIO):
            def write(self, data):
                size = super().write(data)
                if size is None:
                    is_full.set()
                return size

        self.answering(lambda launch: print(text, file=launch.stdout))
        for encoding in ("utf-8", "latin-1"):
            is_full = threading.Event()
            read, write = os.pipe()
            os.set_blocking(write, False)
            with self.subTest(encoding=encoding), open(read, "rb") as reader:
                raw = Raw(write, "wb")
                filled = 0
                while not is_full.is_set():
                    filled += raw.write(b"." * 1024) or 0
                is_full.clear()
                out = io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding)
                out.write("before ")
                asking = self.in_background(lambda out=out: self.ask("a", stdout=out) or out.close())
                self.assertTrue(is_full.wait(PATIENCE))
                self.assertEqual(reader.read()[filled:].decode(encoding), f"before {text}\n")
                self.join(asking)

    def test_stream_in_another_encoding(self):
        """One mark at its beginning, and its own ends of lines, whatever pieces the output comes in."""

        def observer(launch):
            for word in ("one", "two"):
                print(word, file=launch.stdout, flush=True)
                launch.stdout.buffer.write(b"caf\xc3")
                launch.stdout.buffer.write(b"\xa9\n")

        self.answering(observer)
        for encoding in ("utf-16", "utf-8-sig", "cp1252"):
            with self.subTest(encoding=encoding):
                out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\r\n")
                self.ask("a", stdout=out)
                shown = out.buffer.getvalue().decode(encoding)
                self.assertEqual(shown, "one\r\ncaf\u00e9\r\ntwo\r\ncaf\u00e9\r\n")

    def test_object_that_is_only_like_a_stream(self):
        """Its `write` returns nothing, as of many that are made for a test or a window."""

        class Buffer:
            shown = b""

            def write(self, data):
                self.shown += data

            def flush(self):
                pass

        class Stream(Buffer):
            encoding, buffer, shown = "utf-8", Buffer(), ""

        self.answering(lambda launch: print("shown", file=launch.stdout))
        stream = Stream()
        self.ask("a", stdout=stream)
        self.assertEqual((stream.shown, stream.buffer.shown.decode()), ("", "shown\n"))
        stream.encoding = None  # then nothing says what its buffer takes
        self.ask("a", stdout=stream)
        self.assertEqual(stream.shown, "shown\n")

    def test_character_in_two_pieces_on_a_console_of_windows(self):
        """It would convert each piece by itself."""

        class Console(io.StringIO):
            encoding, buffer = "utf-8", io.BytesIO()

            def isatty(self):
                return True

        def observer(launch):
            for piece in (b"\xc3", b"\xa9"):
                launch.stdout.buffer.write(piece)

        self.answering(observer)
        self.enter(inside.limits(TERMINALS_TAKE_TEXT=True))
        console = Console()
        self.ask("a", stdout=console)
        self.assertEqual((console.getvalue(), console.buffer.getvalue()), ("\u00e9", b""))

    def test_streams_of_this_process_by_default(self):
        self.answering(lambda launch: print("shown", file=launch.stdout))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.ask("a")
        self.assertEqual(out.getvalue(), "shown\n")


class TestOutputOfALaunch(AnswersTestCase):
    """A real second launch, and the command line."""

    def test_it_streams_and_ends_with_the_status(self):
        self.start_host()
        launch = self.finish(self.start_launch("print", "hello", "3"), 3)
        self.assertEqual((launch.out, launch.err), ("hello", "hello on stderr"))

    def test_the_command_line_streams(self):
        self.start_host()
        ask = self.start("-m", "Socket_Singleton", "ask", "--name", self.name, "--", "print", "hello", "3")
        self.finish(ask, 3)
        self.assertEqual((ask.out, ask.err), ("hello", "hello on stderr"))

    @needs_unix_descriptors
    def test_closed_pipe_ends_it_quietly(self):
        self.start_host()
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as nobody:
            launch = self.finish(self.start_launch("print", "hello", "0", stdout=nobody), 141)
        self.assertEqual(launch.err, "")

    @needs_unix_descriptors
    def test_closed_pipe_on_stderr_leaves_stdout_alone(self):
        self.answering(lambda launch: print("message", file=launch.stderr))
        code = (
            "from Socket_Singleton import Socket_Singleton\n"
            "print('printed before')\n"
            f"Socket_Singleton(name={self.name!r}, argv=['a'], answer=True)"
        )
        read, write = os.pipe()
        os.close(read)
        with open(write, "wb") as nobody:
            command, env = [sys.executable, "-c", code], {**environment(), "PYTHONUNBUFFERED": ""}
            ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=nobody, env=env)
        self.assertEqual((ended.returncode, ended.stdout.split()), (141, [b"printed", b"before"]))

    @needs_unix_descriptors
    def test_closed_pipe_ends_the_command_line_quietly(self):
        self.start_host()
        read, write = os.pipe()
        os.close(read)
        command = ("-m", "Socket_Singleton", "ask", "--name", self.name, "--")
        with open(write, "wb") as nobody:
            for words in (("text", "hello"), ("print", "hello", "0")):
                ask = self.finish(self.start(*command, *words, stdout=nobody), 141)
                self.assertEqual(ask.err, "")

    @needs_unix_descriptors
    def test_stdout_that_is_full_and_does_not_block(self):
        """As a pipe of Node.js: everything arrives, as soon as it is read."""
        import fcntl
        import termios

        def size(pipe):
            return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)

        self.start_host()
        ask, text = ["-m", "Socket_Singleton", "ask", "--name", self.name, "--"], "x" * 120_000
        program = [PROGRAMS / "answering.py", self.name]
        for command in (program, ["-u", *program], ask, ["-u", *ask]):
            for words in (("text", text), ("print", text, "0")):
                with self.subTest(command=command[:2], words=words[0]):
                    read, write = os.pipe()
                    os.set_blocking(write, False)
                    with open(write, "wb") as stdout, open(read, "rb") as reader:
                        launch = self.start(*command, *words, env={"ANSWER": "1"}, stdout=stdout)
                        stdout.close()
                        wait_until(lambda reader=reader: size(reader) > 50_000, "the pipe is full")
                        self.assertEqual(reader.read().decode(), f"{text}\n")
                    self.finish(launch)
                    self.assertEqual(launch.err, f"{text} on stderr" if words[0] == "print" else "")

    def test_stdout_that_cannot_be_written(self):
        self.answering(lambda launch: print("a line", file=launch.stdout))
        with mock.patch.object(sys, "stdout", Full()):
            error = self.named_launch("a", answer=True)
        self.assertIs(error.delivered, True)
        self.assertIn("no space left", str(error))

    def test_pipe_without_a_descriptor_is_closed(self):
        """For example if stdout is an object of a test or of a toolkit."""

        class Closed(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

        self.answering(lambda launch: print("a line", file=launch.stdout))
        with mock.patch.object(sys, "stdout", Closed()), self.assertRaises(SystemExit) as caught:
            Socket_Singleton(name=self.name, argv=["a"], answer=True)
        self.assertEqual(caught.exception.code, 141)

    @needs_unix_descriptors
    def test_bytes_of_a_file_name_are_preserved(self):
        self.start_host()
        name = b"caf\xe9"
        launch = self.start_launch("text", os.fsdecode(name), env={"PYTHONUTF8": "1"}, stdout=self.bytes_of())
        self.finish(launch)
        self.assertEqual(self.read_bytes(), name + b"\n")

    def bytes_of(self):
        self.shown = self.make_folder() / "shown"
        return self.enter(open(self.shown, "wb"))

    def read_bytes(self) -> bytes:
        return self.shown.read_bytes()

    def test_text_that_ends_in_a_newline_gets_no_second_one(self):
        self.start_host()
        for text, shown in (("a\n", b"a\n"), ("a", b"a\n"), ("", b"")):
            with self.subTest(text=text):
                self.finish(self.start_launch("text", text, stdout=self.bytes_of()))
                self.assertEqual(self.read_bytes().replace(b"\r\n", b"\n"), shown)
