"""What differs between systems, tested as a choice: Windows and macOS are not here."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton, _platform

from .support import (
    ACK,
    PATIENCE,
    SingletonTestCase,
    Stopwatch,
    descriptors,
    inside,
    read_to_end,
    wait_until,
)


class TestPlatform(SingletonTestCase):
    def test_option_that_makes_a_port_exclusive(self):
        for system in ("linux", "darwin", "freebsd13", "cygwin"):
            self.assertEqual(_platform.exclusive_option(system), socket.SO_REUSEADDR)
        # There SO_REUSEADDR, which is 4, would let others steal the port; winsock2.h:
        # #define SO_EXCLUSIVEADDRUSE ((int)(~SO_REUSEADDR))
        self.assertEqual(_platform.exclusive_option("win32"), -5)

    def test_errors_that_say_that_the_port_is_in_use(self):
        in_use = OSError(errno.EADDRINUSE, "Address already in use")
        self.assertTrue(_platform.is_in_use(in_use))
        for other in (errno.EACCES, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EMFILE):
            self.assertFalse(_platform.is_in_use(OSError(other, "another reason")))
        # WSAEADDRINUSE, and WSAEACCES where another program holds the port exclusively.
        for code, expected in ((10048, True), (10013, True), (10049, False), (10022, False)):
            error = OSError(errno.EACCES, "as Windows has it")
            if os.name != "nt":
                error.winerror = code
                self.assertIs(_platform.is_in_use(error), expected, code)

    def test_real_errors(self):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", self.port))
            first.listen(1)
            with self.assertRaises(OSError) as caught:
                second.bind(("127.0.0.1", self.port))
        self.assertTrue(_platform.is_in_use(caught.exception))

    def test_form_of_linger(self):
        self.assertEqual(len(_platform.linger(True, "linux")), 8)
        self.assertEqual(len(_platform.linger(True, "win32")), 4)
        for system in ("linux", "darwin", "win32"):
            on, off = _platform.linger(True, system), _platform.linger(False, system)
            self.assertEqual(sorted(on), [0] * (len(on) - 1) + [1])
            self.assertEqual(off, bytes(len(on)))

    @unittest.skipUnless(hasattr(os, "register_at_fork"), "here that is how it is")
    def test_system_without_fork_hooks(self):
        real = os.register_at_fork
        del os.register_at_fork
        try:
            app = self.singleton()
            self.assertFalse(inside.follows_forks(app))
            self.assertEqual(self.exchange(b"x\0"), ACK)
            app.release()
        finally:
            os.register_at_fork = real

    @unittest.skipUnless(hasattr(os, "geteuid"), "$HOME is not looked at here")
    def test_home_that_cannot_be_looked_at_is_not_taken_for_another(self):
        """Or this launch makes a key elsewhere, and the next one is no friend of it."""
        folder = self.enter(tempfile.TemporaryDirectory())
        real, raised = os.stat, OSError(errno.ENOMEM, "no memory")

        def stat(path, *args, **options):
            if path == folder:
                raise raised
            return real(path, *args, **options)

        with mock.patch.dict(os.environ, HOME=folder), mock.patch.object(os, "stat", stat):
            with self.assertRaisesRegex(OSError, "no memory.*secret=") as caught:
                self.singleton(port=self.port, name="org.example.editor")
            self.assertEqual(caught.exception.errno, errno.ENOMEM)
            # It is another user's, or is not there: the account's is the right one, for all launches.
            import pwd

            for kind in (PermissionError, FileNotFoundError):
                raised = kind(errno.EACCES, "not ours, or not there")
                account = mock.Mock(pw_dir=os.path.join(folder, kind.__name__))
                with mock.patch.object(pwd, "getpwuid", return_value=account):
                    self.singleton(port=self.port, name="org.example.editor").release()
                key = os.path.join(account.pw_dir, ".local", "state", "Socket_Singleton", "key")
                self.assertTrue(os.path.exists(key))

    @unittest.skipUnless(hasattr(os, "geteuid"), "whose a file is, is not looked at here")
    def test_file_of_another_user_is_not_private(self):
        """As one who is not root can try it: what is ours is that of another user to another user."""
        folder = self.make_folder()
        (folder / "key").touch(0o600)
        file = os.stat(folder / "key")
        self.assertEqual(_platform.why_not_private(file, os.stat(folder)), "")
        with mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1):
            self.assertIn("another user's", _platform.why_not_private(file, os.stat(folder)))

    def test_end_of_a_reader_that_only_a_signal_tells(self):
        # Windows has no poll, and what is no pipe cannot tell.
        for platform in ("win32", "linux") if hasattr(select, "poll") else ("win32",):
            wakened = mock.Mock(recv=mock.Mock(side_effect=[b"1", KeyboardInterrupt]))
            with mock.patch.object(sys, "platform", platform), mock.patch.object(
                select, "poll", create=True
            ) as poll:
                poll.return_value.poll.return_value = [(wakened, 1)]
                self.assertRaises(KeyboardInterrupt, _platform.wait_for_reader_to_go, 1, wakened)
            self.assertEqual(wakened.recv.call_count, 2)

    def test_what_windows_has_not(self):
        with mock.patch.object(sys, "platform", "win32"):
            self.assertIs(_platform.terminal_tells_group(), True)
            with socket.socket() as sock:
                self.assertEqual(_platform.descriptors_to_inherit(sock), ())
            with mock.patch.object(signal, "signal") as changed:
                _platform.count_on_child_status()
            changed.assert_not_called()

    def test_accept_of_a_connection_that_was_aborted_is_no_want_of_descriptors(self):
        """BSD and Windows may say so; Linux returns the connection. Nobody is dropped for it."""
        app = self.singleton()
        peer = self.connect()
        wait_until(lambda: inside.count_peers(app) == 1, "it was accepted")
        with inside.accepts_of_hosts(ConnectionAbortedError(errno.ECONNABORTED, "it hung up")) as failed:
            self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertEqual(len(failed), 1)
        peer.sendall(b"x\0")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(read_to_end(peer), ACK)

    def test_reserved_port(self):
        for code, expected in ((10013, True), (10048, False), (None, False)):
            self.assertIs(_platform.is_reserved(mock.Mock(winerror=code)), expected)

    def test_leave_to_come_to_the_front(self):
        with mock.patch.object(sys, "platform", "win32"), mock.patch("ctypes.WinDLL", create=True) as library:
            _platform.let_come_to_front()
            library.assert_called_once_with("user32")
            library.return_value.AllowSetForegroundWindow.assert_called_once_with(-1)  # ASFW_ANY
            library.side_effect = OSError("a Windows without windows")
            _platform.let_come_to_front()

    def test_wait_as_windows_needs_it(self):
        with mock.patch.object(sys, "platform", "win32"):
            for result in (True, False):
                wait = mock.Mock(return_value=result)
                self.assertIs(_platform.wait_for(wait, 1.5), result)
                wait.assert_called_once_with(1.5)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)  # as it was before

    def test_wait_to_receive_as_windows_needs_it(self):
        one, other = (self.enter(sock) for sock in socket.socketpair())
        select_of_system, handled = select.select, []

        # CPython 3.7 has no `raise_signal`. To Windows, os.kill would be the end.
        interrupt = getattr(signal, "raise_signal", lambda number: os.kill(os.getpid(), number))

        def interrupt_and_select(*args):
            threading.Thread(target=interrupt, args=(signal.SIGINT,)).start()
            return select_of_system(*args)

        # A handler that does not raise: so it is the wait that tells whether it was woken.
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGINT, lambda number, _: handled.append(number))
        with mock.patch.object(sys, "platform", "win32"):
            self.assertRaises(socket.timeout, _platform.wait_to_receive, one, 0.001)
            with mock.patch.object(select, "select", interrupt_and_select), Stopwatch() as took:
                self.assertRaises(socket.timeout, _platform.wait_to_receive, one, PATIENCE)
            self.assertLess(took.seconds, PATIENCE / 2)
            self.assertEqual(handled, [signal.SIGINT])
            other.send(b"x")
            _platform.wait_to_receive(one, PATIENCE)
        self.assertEqual(one.recv(2), b"x")
        self.assertEqual(signal.set_wakeup_fd(-1), -1)

    def test_pair_of_a_system_without_socketpair(self):
        one, other = _platform.connected_pair()
        with mock.patch.object(_platform, "accept", return_value=other):
            self.assertRaisesRegex(ConnectionError, "somebody else", _platform.connected_pair)
        self.assertEqual(other.fileno(), -1)
        one.close()
        one, other = _platform.connected_pair()
        other.sendall(b"there")
        self.assertEqual(one.recv(10), b"there")
        one.close()
        other.close()

    def test_both_of_a_pair_block(self):
        """Though the listener does not, and on Windows what it accepts is as it is."""
        accept = _platform.accept

        def accept_as_windows(listener):
            accepted = accept(listener)
            accepted.setblocking(False)
            return accepted

        with mock.patch.object(_platform, "accept", accept_as_windows):
            pair = _platform.connected_pair()
        for sock in pair:
            self.addCleanup(sock.close)
            self.assertIsNone(sock.gettimeout())

    def test_pair_whose_connection_goes_elsewhere(self):
        """On Windows another program could listen on the very port, if the option did not keep it away."""
        options = []

        class Led(inside.LaunchSocket):
            def setsockopt(self, *option):
                options.append(option)

            def getsockname(self):
                return elsewhere.getsockname()

        with socket.socket() as elsewhere, Stopwatch() as took:
            elsewhere.bind(("127.0.0.1", self.port))
            elsewhere.listen(1)
            with inside.limits(OWN_TIME=0.01), mock.patch.object(_platform.sockets, "socket", Led):
                self.assertRaises(socket.timeout, _platform.connected_pair)
        self.assertLess(took.seconds, PATIENCE / 2)
        self.assertEqual(options, [(socket.SOL_SOCKET, inside.exclusive_option(), 1)])

    def test_name_of_a_file_that_is_taken(self):
        folder = self.make_folder()
        for name in ("first", "second"):
            (folder / name).write_text(name)
        taken = folder / "taken"
        _platform.give_name(str(folder / "first"), str(taken))
        with self.assertRaises(FileExistsError):
            _platform.give_name(str(folder / "second"), str(taken))
        self.assertEqual(taken.read_text(), "first")

    def test_wait_as_windows_needs_it_takes_its_time(self):
        """What is waited for comes when the main thread has begun to wait for the byte that tells of it."""
        waits = threading.Event()

        class Wakened(inside.LaunchSocket):
            def recv(self, size):
                waits.set()
                return super().recv(size)

        wakened, waker = _platform.socket_pair()
        wakened = Wakened(wakened.family, wakened.type, wakened.proto, wakened.detach())
        pair = mock.patch.object(_platform, "socket_pair", return_value=(wakened, waker))
        with pair, mock.patch.object(sys, "platform", "win32"):
            self.assertIs(_platform.wait_for(lambda timeout: waits.wait(timeout), PATIENCE), True)
        self.assertEqual((wakened.fileno(), waker.fileno()), (-1, -1), "they are closed")

    def test_no_memory_for_a_socket_of_what_was_accepted(self):
        """The connection ends, and its descriptor is not left open."""

        class Listener:
            def __init__(self, sock):
                self._accept = sock._accept

            @property
            def family(self):
                raise MemoryError("no memory for that")

        listener = inside.claim(self.port)
        self.addCleanup(listener.close)
        peer, before = self.connect(), descriptors()
        with self.assertRaises(MemoryError):
            _platform.accept(Listener(listener))
        self.assertEqual(descriptors(), before)
        self.assert_reset(peer)

    # -- threads --

    def test_where_a_thread_is_started(self):
        """Where a signal handler could leave a lock of `threading` held: by a thread without handlers."""
        for daemon, wanted, here in ((True, True, True), (True, False, False), (False, True, False)):
            with self.subTest(daemon=daemon, wanted=wanted):
                thread, starters = threading.Thread(target=int, daemon=daemon), []
                start = mock.patch.object(
                    thread, "start", lambda to=starters: to.append(threading.get_ident())
                )
                with start, mock.patch.object(_platform, "STARTS_HERE", wanted):
                    _platform.start_thread(thread)
                self.assertEqual(starters == [threading.get_ident()], here)

    def test_thread_that_does_not_begin(self):
        """The start of one that the program's end waits for is waited for, but not without an end."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        thread = threading.Thread(target=int)
        with inside.limits(OWN_TIME=0.01), mock.patch.object(thread, "start", go_on.wait):
            self.assertRaisesRegex(RuntimeError, "did not begin", _platform.start_thread, thread)


@unittest.skipUnless(sys.platform == "win32", "this is no Windows")
class TestWindows(SingletonTestCase):
    """What only the system itself can tell; wine tells it too."""

    def test_user_is_a_sid(self):
        mine = _platform.user()
        self.assertRegex(mine, r"\AS-1-\d+(-\d+)+\Z")
        program = self.start("-c", "from Socket_Singleton import _platform; print(_platform.user())")
        self.finish(program)
        self.assertEqual(program.lines, [mine])

    def test_error_of_a_port_that_is_held_exclusively(self):
        self.singleton()
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, inside.exclusive_option(), 1)
            with self.assertRaises(OSError) as caught:
                second.bind(("127.0.0.1", self.port))
        self.assertTrue(_platform.is_in_use(caught.exception))

    def test_name(self):
        """Its host, a second launch and an answer; the key is under %LOCALAPPDATA%."""
        name = f"test on Windows, {self.port}"
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, LOCALAPPDATA=folder):
            app = Socket_Singleton(name=name, strict=False)
            self.addCleanup(app.release)
            self.assertRegex(app.address, r"\A127\.(?!0\.0\.1\Z)")
            app.trace(" ".join)
            self.assertEqual(os.path.getsize(os.path.join(folder, "Socket_Singleton", "key")), 32)
            code = (
                "from Socket_Singleton import Socket_Singleton\n"
                f"Socket_Singleton(name={name!r}, answer=True)\nprint('a second host')"
            )
            launch = self.finish(self.start("-c", code, "good", "day"))
            self.assertEqual(launch.lines, ["good day"])
            self.assertEqual(Socket_Singleton.ask(["again"], name=name), "again")
            self.assertEqual(Socket_Singleton.pid_of(name=name), os.getpid())
            app.release()

    def test_ctrl_c_ends_each_wait(self):
        """The console has a thread that calls the handler of C; here a thread of Python does it."""
        host = self.singleton(name="test", secret="key")
        for asks, wait in (
            (1, "Socket_Singleton(**place, answer=True)"),
            (1, "Socket_Singleton.ask(['a'], **place)"),
            (0, "Socket_Singleton(port=0).join()"),
        ):
            with self.subTest(wait):
                program = self.start("-c", INTERRUPTED.format(wait=wait), self.port, "a", ready="up")
                wait_until(lambda asks=asks: inside.count_asking(host) == asks, "it waits for its answer")
                program.write("\n")
                self.assertNotEqual(program.wait(), 0)
                self.assertRegex(program.err, r"KeyboardInterrupt\Z")
                wait_until(lambda: inside.count_asking(host) == 0, "the host has seen its end")


INTERRUPTED = """
import _thread, sys, threading, time
from Socket_Singleton import Socket_Singleton
place = dict(name="test", secret="key", port=int(sys.argv.pop(1)))

def where_main_is():
    frame = sys._current_frames()[threading.main_thread().ident]
    return frame, frame.f_lasti

def interrupt():
    sys.stdin.readline()
    before = None
    while before != where_main_is():  # it is to wait already: before that, Ctrl-C ends anything
        before = where_main_is()
        time.sleep(0.05)
    _thread.interrupt_main()

threading.Thread(target=interrupt, daemon=True).start()
print("up", flush=True)
{wait}
"""

WITHOUT_SOCKET_MODULE = """
import socket, sys, threading, types
# `socket` itself is there already, and keeps the real one.
sys.modules["_socket"] = types.ModuleType("_socket") if sys.argv[1] == "incomplete" else None
from Socket_Singleton import Socket_Singleton
from Socket_Singleton._platform import sockets
print(sockets is socket)
over = threading.Event()
app = Socket_Singleton(port=int(sys.argv[2]), argv=["from here"])
Socket_Singleton.send(["sent"], port=app.port)
app.trace(lambda args: print("got", *args))
app.trace(lambda args: over.set() if args == ("word",) else None)
over.wait()  # not `join`: on Windows that has `signal` import _socket
app.release()
"""


class TestWithoutTheSocketModule(SingletonTestCase):
    """`_socket` is an implementation module: without it, or with half of it, `socket` does as well."""

    def test_host_and_launch(self):
        for how in ("missing", "incomplete"):
            with self.subTest(how=how):
                host = self.start("-c", WITHOUT_SOCKET_MODULE, how, self.port, ready="got sent")
                launch = self.finish(self.start("-c", WITHOUT_SOCKET_MODULE, how, self.port))
                self.assertEqual((launch.lines, launch.err), (["True"], ""))
                self.assertEqual(self.exchange(b"word\0"), ACK)
                self.finish(host)
                self.assertEqual(host.lines, ["True", "got sent", "got from here", "got word"])
                self.assertEqual(host.err, "")
