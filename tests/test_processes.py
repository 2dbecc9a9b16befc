"""Processes: workers are not launches, forks do no harm, ends are quiet, the next host takes over."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import unittest

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    LAUNCH_LIMIT,
    PATIENCE,
    PROGRAMS,
    SingletonTestCase,
    Stopwatch,
    inside,
    needs_resets,
    read_to_end,
    repeats,
    wait_until,
)

METHODS = multiprocessing.get_all_start_methods()


class TestWorkers(SingletonTestCase):
    def test_pools_with_the_singleton_at_the_top_of_the_main_module(self):
        for method in METHODS:
            with self.subTest(method=method):
                program = self.finish(self.start(PROGRAMS / "pool.py", self.port, method))
                self.assertEqual(program.err, "")
                self.assertEqual(
                    program.lines,
                    [
                        "ready",
                        "squares 0 1 4 9 16 25 36 49 64 81",
                        f"workers with a host object: {method == 'fork'}",
                        "clients 0",
                        "listening True",
                    ],
                )

    def test_worker_whose_function_constructs_is_a_launch(self):
        expected = {
            "first": ["worker is the host True"],
            "second": ["got from a worker", "worker delivered True"],
        }
        for method in METHODS:
            for role, lines in expected.items():
                with self.subTest(method=method, role=role):
                    program = self.start(PROGRAMS / "worker_singleton.py", self.port, method, role)
                    self.finish(program)
                    self.assertEqual(program.err, "")
                    self.assertEqual(program.lines.pop(), "exit code 0")
                    self.assertEqual(sorted(program.lines), lines)

    def test_worker_that_imports_a_module_while_unpickling_a_task(self):
        """A module constructs on import: in the worker that is not a launch, and the pool goes on."""
        # PyPy's executors have an error of their own: AttributeError in `submit`.
        kinds = ("pool",) if hasattr(sys, "pypy_version_info") else ("pool", "executor")
        for method in METHODS:
            for kind in kinds:
                with self.subTest(method=method, kind=kind):
                    program = self.finish(self.start(PROGRAMS / "late_import.py", self.port, method, kind))
                    self.assertEqual(program.err, "")
                    self.assertEqual(
                        program.lines, ["doubled 0 2 4 6", "inert True", "clients 0", "listening True"]
                    )

    def inert(self) -> Socket_Singleton:
        process = multiprocessing.current_process()
        process._inheriting = True
        try:
            return Socket_Singleton(port=self.port)
        finally:
            del process._inheriting

    def test_first_traces_of_two_threads_use_the_same_observers(self):
        app = self.inert()
        with inside.while_the_delivery_is_made(lambda: app.trace(print)):
            app.trace(len)
        self.assertEqual(set(app._observers), {print, len})

    def test_inert_singleton_can_be_used_and_does_nothing(self):
        with self.inert() as app:
            app.trace(print)
            app.untrace(print)
            self.assertEqual((app.arguments, app.clients), ((), 0))
            self.assertIn("listening=False", repr(app))
        self.singleton()  # the port was not taken


@unittest.skipUnless(hasattr(os, "fork"), "this system does not fork")
class TestForks(SingletonTestCase):
    def test_child_of_an_observer_whose_launch_another_thread_writes_to(self):
        """The other thread may hold the lock of the output, and does not exist in the child."""
        place = {"name": f"org.example.test {self.port}", "secret": "a long one"}  # there may be no home
        program = self.start(PROGRAMS / "forks_while_writing.py", *place.values(), ready="ready")
        for _ in range(20):
            answer = Socket_Singleton.ask(["a"], stdout=io.StringIO(), timeout=PATIENCE, **place)
            self.assertEqual(answer, 0)

        def go(_):
            with self.assertRaises(TimeoutError):
                Socket_Singleton.ask(["goes"], timeout=LAUNCH_LIMIT, **place)

        self.assertEqual(self.at_once(20, go), [None] * 20)
        self.assertEqual(Socket_Singleton.ask(["a"], stdout=io.StringIO(), timeout=PATIENCE, **place), 0)
        program.write("\n")
        self.assertEqual(self.finish(program).lines, ["ready", "41 children have ended"])

    def test_child_does_not_keep_a_connection_that_was_being_accepted(self):
        """Else a launch that waits for an answer would not notice the end of a host that is killed."""
        program = self.start(PROGRAMS / "forks_while_accepting.py", self.port, ready="ready")
        peer = self.connect()
        child = self.child_of(program)
        os.kill(program.pid, signal.SIGKILL)
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(peer.recv(1), b"")
        os.kill(child, 0)  # it is still there

    @needs_resets
    def test_child_does_not_keep_a_connection_that_is_being_reset(self):
        """Else the reset would come when the child ends."""
        code = (
            "import os, sys, signal, inside\n"
            "from Socket_Singleton import Socket_Singleton\n"
            "class Forking(inside.LaunchSocket):\n"
            "    has_forked = False\n"
            "    def close(self):\n"
            "        if not Forking.has_forked:\n"
            "            Forking.has_forked = True\n"
            "            child = os.fork() or signal.pause()\n"
            "            print('child', child, flush=True)\n"
            "        super().close()\n"
            "with inside.sockets_of_peers(Forking):\n"
            "    app = Socket_Singleton(port=sys.argv[1])\n"
            "    print('ready', flush=True)\n"
            "    sys.stdin.readline()"
        )
        program = self.start("-c", code, self.port, ready="ready")
        peer = self.connect()
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        child = self.child_of(program)
        self.assert_reset(peer)
        self.end(child)
        program.write("\n")
        self.finish(program)

    @unittest.skipUnless(hasattr(signal, "SIGUSR1"), "a signal that has no other meaning")
    def test_signal_handler_that_releases_while_the_program_forks(self):
        """The fork cannot go on before the handler returns, and the I/O thread does not wait for that."""
        program = self.start(PROGRAMS / "releases_while_forking.py", self.port)
        with Stopwatch() as took:
            self.finish(program)
        self.assertLess(took.seconds, 5)
        self.assertEqual(program.lines, ["released"])

    def test_fork_in_a_child_that_was_forked_in_c_while_a_connection_was_accepted(self):
        """The thread that held the lock does not exist there, so the fork waits only for a moment."""
        code = (
            "import os, sys, threading, inside\n"
            "from Socket_Singleton import Socket_Singleton\n"
            "app = Socket_Singleton(port=sys.argv[1])\n"
            "holder = threading.Thread(target=inside.lock_of_forks().acquire)\n"
            "holder.start()\n"
            "holder.join()\n"
            "child = os.fork()\n"
            "os.waitpid(child, 0) if child else os._exit(0)"
        )
        with Stopwatch() as took:
            self.finish(self.start("-c", code, self.port))
        self.assertLess(took.seconds, 5)

    def child_of(self, program) -> int:
        line = wait_until(lambda: [x for x in program.lines if x.startswith("child ")], "the child's id")[0]
        pid = int(line.split()[1])
        self.addCleanup(self.end, pid)
        return pid

    @staticmethod
    def end(pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def is_alive(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def is_zombie(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    def can_be_host(self) -> bool:
        app = Socket_Singleton(port=self.port, strict=False)
        app.release()
        return True

    def test_worker_that_outlives_a_killed_host_does_not_hold_the_port(self):
        program = self.start(PROGRAMS / "forked.py", self.port, "worker", ready="ready")
        peer = self.connect()
        peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"read by now\0"), ACK)
        program.write("\n")
        worker = self.child_of(program)
        # The host answers while its worker lives ...
        self.assertEqual(self.exchange(b"hello\0"), ACK)
        program.expect("got hello")
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        # ... and the next host follows, while the same worker lives.
        self.singleton(strict=False)
        self.assertTrue(self.is_alive(worker))
        # The worker had a copy of every connection, too, which would have hidden its end.
        with self.assertRaises(ConnectionError):
            read_to_end(peer)
        program.process.stdin.close()
        wait_until(lambda: not self.is_alive(worker) or self.is_zombie(worker), "the worker ends by itself")

    def test_bare_child_that_leaves_the_with_block_does_not_disturb_the_host(self):
        program = self.start(PROGRAMS / "forked.py", self.port, "with", ready="child left True")
        self.assertEqual(self.exchange(b"hello\0"), ACK)
        program.expect("got hello")
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.err, "")

    def test_bare_child_keeps_the_port_after_the_host(self):
        """A daemonizer: losing the exclusion silently is worse than holding the port for too long."""
        program = self.start(PROGRAMS / "forked.py", self.port, "daemon")
        child = self.child_of(program)
        os.kill(program.pid, signal.SIGKILL)
        program.process.wait(PATIENCE)
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.end(child)
        wait_until(lambda: not self.is_alive(child) or self.is_zombie(child), "the child is gone")
        wait_until(self.can_be_host, "the port is free")

    def test_forked_child_may_use_what_it_inherited(self):
        app = self.singleton()
        self.assertEqual(self.exchange(b"waiting\0"), ACK)
        results, report = os.pipe()
        with self.expect_warning_of_forks():
            pid = os.fork()
        if not pid:
            code = 1
            try:
                calls = []
                app.trace(lambda args: calls.append(args))
                app._append_args(("in the child",))
                app.release()
                app.release()
                ok = calls == [("in the child",)] and app.arguments == () and app._clients == 1
                os.write(report, b"ok" if ok else repr((calls, app.arguments)).encode())
                code = 0
            except BaseException as error:
                os.write(report, repr(error).encode())
            finally:
                os._exit(code)
        os.close(report)
        with os.fdopen(results) as lines:
            self.assertEqual(lines.read(), "ok")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(self.exchange(b"still there\0"), ACK)
        self.assertEqual(app.arguments, (("waiting",), ("still there",)))

    def test_forking_while_launches_arrive_never_deadlocks_the_child(self):
        app = self.singleton()
        app.trace(lambda args: None)
        stop = threading.Event()

        def launches():
            while not stop.is_set():
                self.exchange(b"x\0")

        thread = threading.Thread(target=launches)
        thread.start()
        try:
            for _ in repeats(100):
                with self.expect_warning_of_forks():
                    pid = os.fork()
                if not pid:
                    # The parent's threads may have held any lock during the fork.
                    app._append_args(("x",))
                    app.arguments  # noqa: B018
                    app.release()
                    os._exit(0)
                deadline = time.monotonic() + PATIENCE
                while os.waitpid(pid, os.WNOHANG)[0] == 0:
                    self.assertLess(time.monotonic(), deadline, "the child hangs")
                    time.sleep(0.001)
        finally:
            stop.set()
            thread.join(PATIENCE)
        self.assertTrue(app._listening)


class TestEnds(SingletonTestCase):
    """The interpreter ends without noise on stderr, and without delay."""

    def ending(self, how: str):
        return self.start(PROGRAMS / "ending.py", self.port, how, ready="ready")

    def finish_quietly(self, program, within: float = 2.0) -> None:
        with Stopwatch() as took:
            self.finish(program)
        self.assertLess(took.seconds, within)
        self.assertEqual(program.err, "")
        self.singleton(strict=False).release()

    def test_with_launches_in_flight(self):
        for how in ("raising", "printing"):
            for _ in repeats(10):
                program = self.ending(how)
                peers = [self.connect() for _ in range(5)]
                for peer in peers:
                    peer.sendall(b"half a pack")
                for _ in range(20):
                    self.assertEqual(self.exchange(b"whole\0"), ACK)
                program.write("\n")
                self.finish_quietly(program)

    def test_with_the_launch_that_reaches_the_threshold(self):
        """The port is free before that launch is acknowledged; the end of the program waits for it."""
        program = self.start(PROGRAMS / "reaches_threshold.py", self.port, ready="ready")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertIn("got word", self.finish(program).lines)

    def test_with_a_slow_observer(self):
        program = self.ending("slow-observer")
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.finish_quietly(program)

    def test_dispatched_launches_may_begin_at_exit(self):
        program = self.ending("dispatched")
        words = [str(number) for number in range(5)]
        for word in words:
            self.assertEqual(self.exchange(f"{word}\0".encode()), ACK)
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.lines[1:], [f"got {word}" for word in words])

    def test_another_application_whose_release_fails(self):
        program = self.ending("two")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        program.write("\n")
        self.finish(program)
        self.assertEqual(program.lines[1:], ["got word"])
        self.assertIn("its own release fails", program.err)

    def test_owned_launches_are_delivered_at_exit(self):
        program = self.ending("owned")
        for word in (b"a", b"b", b"c"):
            self.assertEqual(self.exchange(word + b"\0"), ACK)
        program.write("\n")
        self.finish_quietly(program)
        self.assertEqual(program.lines, ["ready", "got a", "got b", "got c"])

    def test_launch_whose_observer_released_is_answered_at_exit(self):
        """The release makes the program end; the observer returns its answer only afterwards."""
        self.check_answer_at_exit("released_then_ended.py", "released")

    def test_launch_that_asked_is_answered_at_exit(self):
        self.check_answer_at_exit("asked_then_ended.py", "done")

    def check_answer_at_exit(self, program: str, answer: str) -> None:
        name = f"org.example.test {self.port}"
        self.enter(self.at_home(self.make_folder()))
        host = self.start(PROGRAMS / program, name, ready="host")
        self.assertEqual(Socket_Singleton.ask(["x"], name=name, timeout=PATIENCE), answer)
        self.finish_quietly(host)

    @unittest.skipIf(os.name == "nt", "signals")
    def test_ctrl_c_inside_a_with_block(self):
        program = self.ending("ctrl-c")
        program.expect("inside")
        self.assertEqual(self.exchange(b"x\0"), ACK)
        program.expect("got x")
        program.interrupt()
        self.finish_quietly(program)
        self.assertEqual(program.lines[-1], "interrupted")

    def test_without_a_stdout(self):
        program = self.ending("no-stdout")
        self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
        self.assertEqual(self.exchange(b"right\0x\0"), ACK)
        program.write("\n")
        self.finish_quietly(program)


class TestRestart(SingletonTestCase):
    """The port is free at once, whatever the last host has left behind."""

    def test_after_a_kill_with_peers_still_connected(self):
        if os.name == "nt":
            self.skipTest("this system has no SIGKILL")
        host = self.start_host()
        peers = [self.connect() for _ in range(5)]
        for peer in peers:
            peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"after them\0"), ACK)  # so the others have been read
        host.expect("after them")
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        app = Socket_Singleton(port=self.port, strict=False)
        app.release()
        # A reset even though the host had read everything: after an orderly end, a
        # launch would not try again.
        for peer in peers:
            with self.assertRaises(ConnectionError):
                read_to_end(peer)

    def test_after_the_host_closed_connections_first(self):
        self.leave_time_wait()
        self.singleton(strict=False)

    def test_release_then_bind_300_times(self):
        for _ in range(300):
            app = self.singleton(strict=False)
            self.assertEqual(self.exchange(b"x\0"), ACK)
            app.release()
            with socket.socket() as anyone:
                anyone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                anyone.bind(("127.0.0.1", self.port))
                anyone.listen(1)

    def test_release_resets_launches_that_are_not_owned(self):
        app = self.singleton()
        halfway = self.connect()
        halfway.sendall(b"half a pack")
        wait_until(lambda: inside.count_peers(app), "the peer is accepted")
        app.release()
        self.assert_reset(halfway)

    def test_connection_before_there_is_a_host_is_reset_too(self):
        """Even before a host serves it: at no moment would its connection end in order."""
        listener = inside.claim(self.port)
        peer = self.connect()
        listener.accept()[0].close()
        listener.close()
        self.assert_reset(peer)
