"""What differs between systems, tested with a parameter, since Windows and macOS are not here."""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from Socket_Singleton import Socket_Singleton, _key_file, _system, _wakeup
from Socket_Singleton._command import signals
from Socket_Singleton._host import sockets as host_sockets
from Socket_Singleton._host import threads

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
from .support.sockets import failing


class TestPlatform(SingletonTestCase):
    def test_option_that_makes_a_port_exclusive(self):
        for system in ("linux", "darwin", "freebsd13", "cygwin"):
            self.assertEqual(_system.exclusive_option(system), socket.SO_REUSEADDR)
        # On Windows SO_REUSEADDR, which is 4, would let others steal the port; winsock2.h:
        # #define SO_EXCLUSIVEADDRUSE ((int)(~SO_REUSEADDR))
        self.assertEqual(_system.exclusive_option("win32"), -5)

    def test_errors_that_say_that_the_port_is_in_use(self):
        in_use = OSError(errno.EADDRINUSE, "Address already in use")
        self.assertTrue(_system.is_in_use(in_use))
        for other in (errno.EACCES, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EMFILE):
            self.assertFalse(_system.is_in_use(OSError(other, "another reason")))
        # WSAEADDRINUSE, and WSAEACCES if another program holds the port exclusively.
        for code, expected in ((10048, True), (10013, True), (10049, False), (10022, False)):
            error = OSError(errno.EACCES, "as on Windows")
            if os.name != "nt":
                error.winerror = code
                self.assertIs(_system.is_in_use(error), expected, code)

    def test_real_errors(self):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", self.port))
            first.listen(1)
            with self.assertRaises(OSError) as caught:
                second.bind(("127.0.0.1", self.port))
        self.assertTrue(_system.is_in_use(caught.exception))

    def test_option_against_a_signal_of_macos(self):
        """Its number is useless elsewhere; Python does not name it, so it is written here once more."""
        sock = mock.Mock()
        _system.raise_no_signal(sock, "linux")
        sock.setsockopt.assert_not_called()
        _system.raise_no_signal(sock, "darwin")
        sock.setsockopt.assert_called_once_with(socket.SOL_SOCKET, 0x1022, 1)

    def test_form_of_linger(self):
        self.assertEqual(len(_system.linger(True, "linux")), 8)
        self.assertEqual(len(_system.linger(True, "win32")), 4)
        for system in ("linux", "darwin", "win32"):
            on, off = _system.linger(True, system), _system.linger(False, system)
            self.assertEqual(sorted(on), [0] * (len(on) - 1) + [1])
            self.assertEqual(off, bytes(len(on)))

    @unittest.skipUnless(hasattr(os, "register_at_fork"), "this system has none anyway")
    def test_system_without_fork_hooks(self):
        real = os.register_at_fork
        del os.register_at_fork
        try:
            app = self.singleton()
            self.assertEqual(self.exchange(b"x\0"), ACK)
            app.release()
        finally:
            os.register_at_fork = real

    @unittest.skipUnless(hasattr(os, "geteuid"), "$HOME is not used here")
    def test_home_that_cannot_be_examined_is_not_replaced_by_another(self):
        """Otherwise this launch would make a key elsewhere, which the next launch would not recognize."""
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
            # If it is another user's or does not exist, the account's home is right, for all launches.
            import pwd

            for kind in (PermissionError, FileNotFoundError):
                raised = kind(errno.EACCES, "not ours, or not there")
                account = mock.Mock(pw_dir=os.path.join(folder, kind.__name__))
                with mock.patch.object(pwd, "getpwuid", return_value=account):
                    self.singleton(port=self.port, name="org.example.editor").release()
                key = os.path.join(account.pw_dir, ".local", "state", "Socket_Singleton", "key")
                self.assertTrue(os.path.exists(key))

    @unittest.skipUnless(hasattr(os, "geteuid"), "the owner of a file is not checked here")
    def test_file_of_another_user_is_not_private(self):
        """Tried without being root: our own file looks like another user's to a user with another id."""
        folder = self.make_folder()
        (folder / "key").touch(0o600)
        file = os.stat(folder / "key")
        self.assertEqual(_key_file.why_not_private(file, os.stat(folder)), "")
        with mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1):
            self.assertIn("belongs to another user", _key_file.why_not_private(file, os.stat(folder)))

    def test_wait_that_only_a_signal_ends(self):
        # Windows has no poll, and anything other than a pipe does not report the end.
        for platform in ("win32", "linux") if hasattr(select, "poll") else ("win32",):
            wakened, received = mock.Mock(), mock.MagicMock()
            received.__bool__.side_effect = [False, False, True]
            with mock.patch.object(sys, "platform", platform), mock.patch.object(
                select, "poll", create=True
            ) as poll:
                poll.return_value.poll.return_value = [(wakened, 1)]
                signals.wait_for_signal_or_end_of_reader(received, 1, wakened)
            self.assertEqual(wakened.recv.call_count, 2)

    def test_what_windows_lacks(self):
        with mock.patch.object(sys, "platform", "win32"):
            self.assertIs(signals.terminal_tells_group(), True)
            with socket.socket() as sock:
                self.assertEqual(signals.descriptors_to_inherit(sock), ())
            with mock.patch.object(signal, "signal") as changed:
                signals.count_on_child_status()
            changed.assert_not_called()

    def test_accept_of_an_aborted_connection_does_not_mean_too_few_descriptors(self):
        """BSD and Windows may report it; Linux returns the connection. No peer is dropped for it."""
        accepted, error = [], ConnectionAbortedError(errno.ECONNABORTED, "it hung up")
        listener = failing("_accept", error, when=lambda: accepted)  # so `accept` is called in C
        with inside.sockets_of_launches(listener):
            app = self.singleton()
        peer = self.connect()
        wait_until(lambda: inside.count_peers(app) == 1, "it was accepted")
        accepted.append(peer)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertEqual(len(listener.failed), 1)
        peer.sendall(b"x\0")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(read_to_end(peer), ACK)

    def test_reserved_port(self):
        for code, expected in ((10013, True), (10048, False), (None, False)):
            self.assertIs(_system.is_reserved(mock.Mock(winerror=code)), expected)
        refused = PermissionError(errno.EACCES, "forbidden by its access permissions")
        refused.winerror = 10013
        self.enter(inside.limits(HAND_OVER_TIME=0.1))
        for place, hint in (
            ({"port": self.port}, "the system has reserved this port: choose another one"),
            ({"name": f"org.example.test {self.port}", "secret": "x"}, "reserved this port: give a port too"),
        ):
            with inside.sockets_of_launches(failing("bind", refused, math.inf)), self.assertRaises(
                SystemExit
            ) as caught:
                Socket_Singleton(**place)
            self.assertIn(hint, caught.exception.code)

    def test_permission_to_come_to_the_front(self):
        with mock.patch.object(sys, "platform", "win32"), mock.patch("ctypes.WinDLL", create=True) as library:
            _system.let_come_to_front()
            library.assert_called_once_with("user32")
            library.return_value.AllowSetForegroundWindow.assert_called_once_with(-1)  # ASFW_ANY
            library.side_effect = OSError("a Windows without windows")
            _system.let_come_to_front()

    def test_wait_as_windows_needs_it(self):
        with mock.patch.object(_wakeup, "SIGNALS_END_WAITS", False):
            for result in (True, False):
                wait = mock.Mock(return_value=result)
                self.assertIs(_wakeup.wait_for(wait, 1.5), result)
                wait.assert_called_once_with(1.5)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)  # it is as before

    def test_wait_to_receive_as_windows_needs_it(self):
        one, other = (self.enter(sock) for sock in socket.socketpair())
        select_of_system, handled = select.select, []

        # CPython 3.7 has no `raise_signal`. On Windows, os.kill would end the process.
        interrupt = getattr(signal, "raise_signal", lambda number: os.kill(os.getpid(), number))

        def interrupt_and_select(*args):
            if args[3] == 0:  # this only looks
                return select_of_system(*args)
            threading.Thread(target=interrupt, args=(signal.SIGINT,)).start()
            return select_of_system(*args)

        # The handler does not raise, so only the length of the wait shows whether it was woken.
        self.addCleanup(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        signal.signal(signal.SIGINT, lambda number, _: handled.append(number))
        self.assertRaises(socket.timeout, _wakeup.wait_to_receive, one, 0.001)
        with mock.patch.object(select, "select", interrupt_and_select), Stopwatch() as took:
            self.assertRaises(socket.timeout, _wakeup.wait_to_receive, one, PATIENCE)
        self.assertLess(took.seconds, PATIENCE / 2)
        self.assertEqual(handled, [signal.SIGINT])
        other.send(b"x")
        with mock.patch.object(_wakeup, "socket_pair", side_effect=AssertionError("not necessary")):
            _wakeup.wait_to_receive(one, PATIENCE)
        self.assertEqual(one.recv(2), b"x")
        self.assertEqual(signal.set_wakeup_fd(-1), -1)

    @unittest.skipUnless(sys.platform == "linux", "where the system lists its connections")
    def test_wait_as_windows_needs_it_keeps_no_port(self):
        """Each wait has a connection to itself; in TIME_WAIT, its port could not be used for minutes."""
        one, _ = (self.enter(sock) for sock in socket.socketpair())
        ports = set()

        def connected_pair():
            pair = _wakeup.connected_pair()
            ports.update((sock.getsockname()[1], sock.getpeername()[1]) for sock in pair)
            return pair

        with mock.patch.object(_wakeup, "socket_pair", connected_pair):
            for _ in range(5):
                self.assertRaises(socket.timeout, _wakeup.wait_to_receive, one, 0.001)
        self.assertEqual(len(ports), 10)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            ends = tuple(int(end.split(":")[1], 16) for end in line.split()[1:3])
            self.assertNotIn(ends, ports, line)

    def test_wait_where_no_option_can_be_set_once_the_other_end_is_closed(self):
        """As on macOS."""
        pair = []

        class Socket(inside.LaunchSocket):
            def setsockopt(self, *option):
                if any(sock.fileno() < 0 for sock in pair):
                    raise OSError(errno.EINVAL, "invalid argument")
                return super().setsockopt(*option)

        pair += [Socket(one.family, one.type, one.proto, one.detach()) for one in _wakeup.socket_pair()]
        with mock.patch.object(_wakeup, "socket_pair", return_value=tuple(pair)), _wakeup.WokenBySignals():
            pass
        self.assertEqual([sock.fileno() for sock in pair], [-1, -1], "they are closed")

    def test_pair_of_a_system_without_socketpair(self):
        """Whatever the program called `socket.setdefaulttimeout` with."""
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        for default in (None, 0, 0.001):
            with self.subTest(default=default):
                socket.setdefaulttimeout(default)
                one, other = _wakeup.connected_pair()
                self.addCleanup(one.close)
                self.addCleanup(other.close)
                other.sendall(b"there")
                self.assertEqual(one.recv(10), b"there")
                self.assertEqual((one.gettimeout(), other.gettimeout()), (None, None))

    def test_pair_that_another_program_has_connected_to(self):
        made = []

        class Stolen(inside.LaunchSocket):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                made.append(self)

            def getpeername(self):
                return "another program"

        with mock.patch.object(_system.sockets, "socket", Stolen):
            self.assertRaisesRegex(ConnectionError, "another program", _wakeup.connected_pair)
        self.assertEqual([sock.fileno() for sock in made], [-1, -1, -1], "they are closed")

    def test_name_of_a_file_that_exists(self):
        folder = self.make_folder()
        for name in ("first", "second", "taken"):
            (folder / name).mkdir()
            (folder / name / "file").write_text(name)
        (folder / "taken" / "file").unlink()
        _key_file.give_place(str(folder / "first"), str(folder / "taken"), "file")
        with self.assertRaises(FileExistsError):
            _key_file.give_place(str(folder / "second"), str(folder / "taken"), "file")
        self.assertEqual((folder / "taken" / "file").read_text(), "first")

    def test_wait_as_windows_needs_it_can_be_long(self):
        """The event comes once the main thread has begun to wait for the byte that reports it."""
        waits = threading.Event()

        class Wakened(inside.LaunchSocket):
            def recv(self, size):
                waits.set()
                return super().recv(size)

        wakened, waker = _wakeup.socket_pair()
        wakened = Wakened(wakened.family, wakened.type, wakened.proto, wakened.detach())
        pair = mock.patch.object(_wakeup, "socket_pair", return_value=(wakened, waker))
        with pair, mock.patch.object(_wakeup, "SIGNALS_END_WAITS", False):
            self.assertIs(_wakeup.wait_for(lambda timeout: waits.wait(timeout), PATIENCE), True)
        self.assertEqual((wakened.fileno(), waker.fileno()), (-1, -1), "they are closed")

    def test_no_memory_for_the_socket_of_an_accepted_connection(self):
        """The connection ends, and its descriptor does not stay open."""

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
            host_sockets.accept(Listener(listener))
        self.assertEqual(descriptors(), before)
        self.assert_reset(peer)

    # -- threads --

    def test_where_a_thread_is_started(self):
        """If a signal handler could leave a lock of `threading` held, a thread without handlers starts it."""
        for daemon, wanted, here in ((True, True, True), (True, False, False), (False, True, False)):
            with self.subTest(daemon=daemon, wanted=wanted):
                thread, starters = threading.Thread(target=int, daemon=daemon), []
                start = mock.patch.object(
                    thread, "start", lambda to=starters: to.append(threading.get_ident())
                )
                with start, mock.patch.object(threads, "STARTS_HERE", wanted):
                    threads.start_thread(thread)
                self.assertEqual(starters == [threading.get_ident()], here)

    def test_thread_that_does_not_start(self):
        """The start of a thread that the program's end waits for is awaited, but not for ever."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        thread = threading.Thread(target=int)
        with inside.limits(OWN_TIME=0.01), mock.patch.object(thread, "start", go_on.wait):
            self.assertRaisesRegex(RuntimeError, "did not start", threads.start_thread, thread)


@unittest.skipUnless(sys.platform == "win32", "this is not Windows")
class TestWindows(SingletonTestCase):
    """What only the system itself can show; wine shows it too."""

    def test_user_is_identified_by_a_sid(self):
        mine = _key_file.user()
        self.assertRegex(mine, r"\AS-1-\d+(-\d+)+\Z")
        program = self.start("-c", "from Socket_Singleton import _key_file; print(_key_file.user())")
        self.finish(program)
        self.assertEqual(program.lines, [mine])

    def test_error_of_a_port_that_is_held_exclusively(self):
        self.singleton()
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, inside.exclusive_option(), 1)
            with self.assertRaises(OSError) as caught:
                second.bind(("127.0.0.1", self.port))
        self.assertTrue(_system.is_in_use(caught.exception))

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
        """The console calls the C handler in a thread; here a Python thread does that."""
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
    while before != where_main_is():  # it has to be waiting: before that, Ctrl-C ends anything
        before = where_main_is()
        time.sleep(0.05)
    _thread.interrupt_main()

threading.Thread(target=interrupt, daemon=True).start()
print("up", flush=True)
{wait}
"""

WITHOUT_SOCKET_MODULE = """
import socket, sys, threading, types
# `socket` itself is already imported, and keeps the real one.
sys.modules["_socket"] = types.ModuleType("_socket") if sys.argv[1] == "incomplete" else None
from Socket_Singleton import Socket_Singleton
from Socket_Singleton._system import sockets
print(sockets is socket)
over = threading.Event()
app = Socket_Singleton(port=int(sys.argv[2]), argv=["from here"])
Socket_Singleton.send(["sent"], port=app.port)
app.trace(lambda args: print("got", *args))
app.trace(lambda args: over.set() if args == ("word",) else None)
over.wait()  # not `join`: on Windows that makes `signal` import _socket
app.release()
"""


class TestWithoutTheSocketModule(SingletonTestCase):
    """`_socket` is an implementation module: if it is missing or incomplete, `socket` does its work."""

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
