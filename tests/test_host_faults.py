"""The host endures: whatever a peer or an observer does, other launches are served meanwhile."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import socket
import statistics
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton, _client, _delivery, _host, _platform, _wire
from Socket_Singleton._platform import close_resets
from Socket_Singleton._wire import ACK, MAX_PACKET, decode

from .support import (
    PATIENCE,
    PROGRAMS,
    Collector,
    SingletonTestCase,
    free_port,
    host_clock_ahead,
    read_to_end,
    wait_until,
)

try:
    import resource
except ImportError:  # Windows
    resource = None

# Seconds in which a launch is served beside any number of bad peers: far less
# than the 2 s it has, far more than the milliseconds it takes.
SOON = 1.0


def allow_descriptors(number: int) -> None:
    """Raise this process's limit to ``number`` descriptors, or skip the test where it cannot be."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            raise unittest.SkipTest(f"this needs {number} descriptors; the system gives {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class HostTestCase(SingletonTestCase):
    """A host in this process, its observer, and peers that are up to no good."""

    def setUp(self) -> None:
        super().setUp()
        self.observer = Collector()

    def host(self, **options):
        app = self.singleton(**options)
        app.trace(self.observer)
        return app

    @contextlib.contextmanager
    def host_in_steps(self, **options):
        """Have a host that takes a turn for each call of what this yields, and all it likes afterwards."""
        turns, done, next_events = threading.Semaphore(0), [], _host.Host._next_events

        def next_events_when_told(host):
            if not done:
                turns.acquire(timeout=PATIENCE)
            return next_events(host)

        with mock.patch.object(_host.Host, "_next_events", next_events_when_told):
            self.host(**options)
            try:
                yield turns.release
            finally:
                done.append(True)
                turns.release()

    @contextlib.contextmanager
    def turns_of_readers(self):
        """Have hosts read 4 bytes at a time; yield the list of whom they read, each by its letter."""
        readers, take = [], _host.Host._take

        def take_and_tell(host, peer, data):
            readers.append(data.decode().strip("\0")[-1:] or readers[-1])
            take(host, peer, data)

        with mock.patch.object(_host, "_READ_SIZE", 4), mock.patch.object(_host.Host, "_take", take_and_tell):
            yield readers

    def say(self, packet: bytes) -> socket.socket:
        """Return a peer that has sent a whole packet, and its end."""
        peer = self.connect()
        peer.sendall(packet)
        peer.shutdown(socket.SHUT_WR)
        return peer

    def assert_serves(self, app) -> None:
        """Check that one more launch is owned soon, and that the host has its port."""
        begun = time.monotonic()
        self.assertEqual(self.exchange(b"still there\0"), ACK)
        self.assertLess(time.monotonic() - begun, SOON)
        wait_until(lambda: ("still there",) in self.observer.calls, "the launch reaches the observer")
        self.observer.calls.remove(("still there",))
        self.assertTrue(app._listening)


class TestHostEnduresPeers(HostTestCase):
    def test_resets_before_during_and_after_a_packet(self):
        app = self.host()
        for sent, hang_up in ((b"", False), (b"half a pack", False), (b"whole\0", False), (b"whole\0", True)):
            with self.subTest(sent=sent, hang_up=hang_up):
                peer = self.connect()
                close_resets(peer)
                peer.sendall(sent)
                if hang_up:
                    peer.shutdown(socket.SHUT_WR)
                peer.close()
                self.assert_serves(app)

    def test_silent_peers(self):
        for count, sent in ((1, b""), (50, b"half a pack"), (1000, b"")):
            with self.subTest(count=count):
                allow_descriptors(2500)
                self.port = free_port()
                app = self.host()
                peers = [self.connect() for _ in range(count)]
                for peer in peers if sent else ():
                    peer.sendall(sent)
                self.assert_serves(app)
                self.assertLessEqual(len(app._host._peers), _host.MAX_PEERS)
                for peer in peers:
                    peer.close()
                app.release()

    def test_the_oldest_of_too_many_peers_goes_first(self):
        with mock.patch.object(_host, "MAX_PEERS", 3):
            app = self.host()
            peers = [self.connect() for _ in range(4)]
            self.assert_reset(peers[0])
            for peer in peers[1:]:
                peer.sendall(b"patient\0")
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            self.observer.wait_for(*[("patient",)] * 3)
            self.assertTrue(app._listening)

    def test_silent_peer_is_reset_at_its_deadline(self):
        with mock.patch.object(_host, "PEER_TIME", 0.2):
            app = self.host()
            self.assert_reset(self.connect())
            self.assertTrue(app._listening)

    def test_peer_that_stops_halfway_is_reset_at_its_deadline(self):
        app = self.host()
        peer = self.connect()
        peer.sendall(b"half\0a pack")
        with self.peers_out_of_time(app, 11):
            self.assert_reset(peer)
        self.assert_serves(app)
        self.assertEqual(self.observer.calls, [])

    def test_what_came_before_the_host_looked_is_not_cut(self):
        """It stood still beyond the deadline, with more in the system's buffer than it reads at a time."""
        with mock.patch.multiple(_host, PEER_TIME=0.0, _READ_SIZE=4):
            with self.host_in_steps():
                peer = self.say(b"one\0two\0three\0")
            self.assertEqual(read_to_end(peer), ACK)
        self.observer.wait_for(("one", "two", "three"))

    def test_what_came_before_the_host_looked_can_be_too_much(self):
        """Then the largest goes, here one whose deadline is over as well."""
        with mock.patch.multiple(_host, MAX_BUFFERED=100, _READ_SIZE=20):
            app = self.host()
            grows, large = self.connect(), self.connect()
            grows.sendall(b"x" * 10)
            large.sendall(b"x" * 55)
            wait_until(lambda: app._host._buffered == 65, "both are read")
            with host_clock_ahead():
                grows.sendall(b"x" * 40)  # read in two steps, of which the second is too much
                self.assert_reset(large)
                self.assert_reset(grows)
            self.assert_serves(app)

    def test_deadline_is_from_accept_and_not_from_the_last_byte(self):
        with mock.patch.object(_host, "PEER_TIME", 0.5):
            self.host()
            peer = self.connect()
            begun = time.monotonic()
            with self.assertRaises(ConnectionError):
                while time.monotonic() - begun < PATIENCE:
                    peer.sendall(b"x")
                    time.sleep(0.01)  # the fault itself: one byte every 10 ms
            self.assertLess(time.monotonic() - begun, PATIENCE / 2)

    def test_slow_peer_is_owned_and_holds_up_nobody(self):
        app = self.host()
        slow = self.connect()
        for byte in b"as slow as this\0":
            slow.sendall(bytes([byte]))
            self.assert_serves(app)
            time.sleep(0.01)  # the fault itself: one byte every 10 ms
        slow.shutdown(socket.SHUT_WR)
        self.assertEqual(read_to_end(slow), ACK)
        self.observer.wait_for(("as slow as this",))

    def test_peer_that_never_hangs_up_is_owned_at_its_deadline(self):
        app = self.host()
        peer = self.connect()
        peer.sendall(b"whole\0packet\0")
        with self.peers_out_of_time(app, 13):
            self.assertEqual(read_to_end(peer), ACK)
        self.observer.wait_for(("whole", "packet"))

    def test_random_packets(self):
        seed = random.randrange(2**32)
        rng = random.Random(seed)
        app = self.host()
        expected = []
        for _ in range(3000):
            data = bytes(rng.choice(b"\0\x06\x15a\xc3\xa9\xff\xed\xf0 ") for _ in range(rng.randrange(40)))
            answer = self.exchange(data)
            with self.subTest(seed=seed, data=data):
                self.assertEqual(answer, ACK if data else b"")
            text = (data[:-1] if data.endswith(b"\0") else data).decode("utf-8", "surrogateescape")
            if text:
                expected.append(tuple(text.split("\0")))
        self.observer.wait_for(*expected)
        self.assert_serves(app)

    def test_endless_stream_is_reset_at_the_limit(self):
        app = self.host()
        peer = self.connect()
        sent = 0
        with self.assertRaises(ConnectionError):
            while True:
                sent += peer.send(b"x" * 65536)
        self.assertGreater(sent, MAX_PACKET)
        self.assert_serves(app)
        self.assertEqual(app._host._buffered, 0)
        self.assertEqual(self.observer.calls, [])

    def test_packet_over_the_limit_is_reset_and_one_within_is_owned(self):
        with mock.patch.object(_wire, "MAX_PACKET", 1000):
            app = self.host()
            self.assertEqual(self.exchange(b"x" * 999 + b"\0"), ACK)
            begun = time.monotonic()
            peer = self.connect()
            peer.sendall(b"x" * 1000 + b"\0")
            with self.assertRaises(ConnectionError):
                read_to_end(peer)
            self.assertLess(time.monotonic() - begun, SOON, "only its deadline ended it")
            self.observer.wait_for(("x" * 999,))
            self.assert_serves(app)

    def test_packets_together_are_bounded_and_the_largest_goes_first(self):
        limits = mock.patch.object(_host, "MAX_BUFFERED", 300_000)
        with limits:
            app = self.host()
            small, large, last = self.connect(), self.connect(), self.connect()
            for peer, size in ((small, 100_000), (large, 150_000)):
                peer.sendall(b"x" * size)
            wait_until(lambda: app._host._buffered == 250_000, "both are buffered")
            last.sendall(b"y" * 60_000)
            self.assert_reset(large)
            for peer in (small, last):
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            wait_until(lambda: len(self.observer.calls) == 2, "the others are owned")
            self.assertEqual(app._host._buffered, 0)

    def test_two_hundred_peers_that_park_half_a_megabyte_each(self):
        sizes, take = [0], _host.Host._take

        def take_and_tell(host, peer, data):
            take(host, peer, data)
            sizes.append(host._buffered)

        with mock.patch.object(_host.Host, "_take", take_and_tell):
            app = self.host()
            peers = [self.connect() for _ in range(200)]
            for peer in peers:
                with contextlib.suppress(ConnectionError, socket.timeout):
                    peer.settimeout(0.2)
                    peer.sendall(b"x" * 512 * 1024)
            self.assert_serves(app)
            wait_until(lambda: max(sizes) > _host.MAX_BUFFERED / 2, "much was parked")
        self.assertLessEqual(max(sizes), _host.MAX_BUFFERED)
        self.assert_serves(app)

    def test_large_launches_at_once(self):
        """Together they are several times what may wait."""
        packet, answers = b"x" * 1_000_000 + b"\0", []
        self.host()
        launches = [threading.Thread(target=lambda: answers.append(self.exchange(packet))) for _ in range(60)]
        for launch in launches:
            launch.start()
        for launch in launches:
            launch.join(PATIENCE)
        self.assertEqual(answers, [ACK] * 60)

    def test_launch_is_soon_past_those_that_wait_before_it(self):
        """It waits a turn for several of them, and not a turn for each, which can be long."""
        with self.host_in_steps() as take_turn:
            for _ in range(30):
                self.connect().sendall(b"half a pack")
                self.connect().close()
                self.say(b"another launch\0")
            launch = self.say(b"this launch\0")
            for _ in range(7):
                take_turn()
            self.assertEqual(read_to_end(launch), ACK)
        self.observer.wait_for(*[("another launch",)] * 30, ("this launch",))

    def test_large_launches_become_whole_one_after_the_other(self):
        with self.turns_of_readers() as readers:
            with self.host_in_steps():
                launches = [self.say(word * 40 + b"\0") for word in (b"a", b"b", b"c")]
            for launch in launches:
                self.assertEqual(read_to_end(launch), ACK)
        # Two reads of each when it comes, and then at most 16 of one.
        self.assertEqual("".join(readers), "aabbcc" + "a" * 9 + "b" * 9 + "c" * 9)

    def test_those_that_are_ignored_wait_for_those_that_are_not(self):
        with self.turns_of_readers() as readers:
            with self.host_in_steps(secret="x") as take_turn:
                ignored = self.say(b"i" * 500)
                take_turn()
                wait_until(lambda: len(readers) == 2, "it is ignored by now")
                launch = self.say(b"x\0" + b"l" * 40 + b"\0")
            self.assertEqual(read_to_end(launch), ACK)
            wait_until(lambda: readers.count("i") == 125, "what is ignored is read to its end")
        order = "".join(readers)
        self.assertLess(order.rindex("l"), order.rindex("i"))
        self.assertEqual(read_to_end(ignored), b"")

    def test_what_is_short_does_not_wait_for_what_is_long(self):
        with self.turns_of_readers() as readers:
            with self.host_in_steps() as take_turn:
                long, short = self.say(b"l" * 500 + b"\0"), self.connect()
                take_turn()
                wait_until(lambda: len(readers) == 2, "the long one was looked at")
                short.sendall(b"s\0")
                short.shutdown(socket.SHUT_WR)
                take_turn()
                self.assertEqual(read_to_end(short), ACK)
            self.assertEqual(read_to_end(long), ACK)

    def test_one_that_says_much_is_dropped_before_its_turn(self):
        with mock.patch.object(_host, "MAX_PEERS", 1), self.one_that_says_much() as (long, take_turn):
            self.connect()
            take_turn()
            self.assert_reset(long)
        # One more than a turn takes: the last of them comes after it.
        more = _host._ACCEPTS_PER_TURN + 1
        self.assertEqual([self.exchange(b"after it\0") for _ in range(more)], [ACK] * more)
        self.observer.wait_for(*[("after it",)] * more)

    def test_port_is_given_up_before_the_turn_of_one_that_says_much(self):
        with self.one_that_says_much(release_threshold=1) as (long, take_turn):
            last = self.say(b"end\0")  # whole when it comes
            take_turn()
            self.assertEqual(read_to_end(last), ACK)
            self.assert_reset(long)
        self.observer.wait_for(("end",))

    def test_release_comes_while_several_are_taken_from_the_backlog(self):
        """Who comes after it is not owned any more, and finds the port free."""
        admit, releases = _host.Host._admit, []

        def admit_and_release(host, sock):
            admit(host, sock)
            if not releases:
                releases.append(threading.Thread(target=host._app.release))
                releases[0].start()
                wait_until(lambda: host._closing, "the release is under way")

        with mock.patch.object(_host.Host, "_admit", admit_and_release):
            with self.host_in_steps():
                half, launch = self.connect(), self.connect()
                half.sendall(b"half a pack")
                launch.sendall(b"too late\0")
                launch.shutdown(socket.SHUT_WR)
            self.assert_reset(half)
            self.assert_reset(launch)
            releases[0].join(PATIENCE)

    @contextlib.contextmanager
    def one_that_says_much(self, **options):
        """Have a host in steps before the last turn of a peer; yield the peer, and how to take that turn."""
        with self.turns_of_readers() as readers, self.host_in_steps(**options) as take_turn:
            long = self.say(b"l" * 100 + b"\0")
            take_turn()
            take_turn()
            wait_until(lambda: len(readers) == 18, "it had its turn once")
            # Whoever comes now is told by the system after the one that was there.
            yield long, take_turn

    def test_wrong_secrets_with_megabytes_are_not_kept(self):
        app = self.host(secret="right")
        peers = [self.connect() for _ in range(20)]
        for peer in peers:
            peer.sendall(b"wrong!\0" + b"x" * 4_000_000)
            self.assertEqual(app._host._buffered, 0)
        # An orderly end without an ACK, though megabytes came after the verdict:
        # a reset would have the launch ask again.
        for peer in peers:
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(peer), b"")
        self.assertEqual(self.exchange(b"right\0hello\0"), ACK)
        self.observer.wait_for(("hello",))
        self.assertEqual(app.clients, 21)

    def test_wrong_secret_that_never_hangs_up(self):
        app = self.host(secret="longer than that")
        peer = self.connect()
        peer.sendall(b"short\0")
        with self.peers_out_of_time(app, 6):
            self.assertEqual(read_to_end(peer), b"")
        self.assertEqual(app.clients, 1)
        self.assertTrue(app._listening)

    def test_wrong_secret_with_an_endless_stream_is_reset(self):
        app = self.host(secret="right")
        peer = self.connect()
        sent = 0
        with self.assertRaises(ConnectionError):
            while True:
                sent += peer.send(b"x" * 65536)
        self.assertLess(sent, 10 * MAX_PACKET, "only its deadline ended it")
        self.assertEqual(self.exchange(b"right\0hello\0"), ACK)
        self.assertEqual(app._host._buffered, 0)

    def test_five_thousand_launches_leave_nothing_behind(self):
        if not os.path.exists("/proc/self/fd"):
            self.skipTest("this system has no /proc")
        self.host()

        def launches(count):
            for _ in range(count):
                self.exchange_quietly(b"some\0arguments\0")
            wait_until(lambda: len(self.observer.calls) == count, f"{count} launches are delivered")
            self.observer.calls.clear()
            # Until it collects, PyPy takes memory that was never touched, as much as fits the
            # processor's cache: only from here on it uses the same again.
            gc.collect()

        for _ in range(2):
            launches(500)
        before = (len(os.listdir("/proc/self/fd")), threading.active_count())
        growth = []
        for _ in range(10):
            memory = resident_bytes()
            launches(500)
            growth.append(resident_bytes() - memory)
        self.assertEqual((len(os.listdir("/proc/self/fd")), threading.active_count()), before)
        # What launches leave behind, all of them do: here 64 bytes each. What PyPy compiles
        # is over at some time, and what it takes from the system comes in large steps.
        self.assertLess(statistics.median(growth[-5:]), 500 * 64, growth)

    def exchange_quietly(self, data: bytes) -> None:
        # Not `exchange`, whose clean-ups would be what grows.
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(peer), ACK)


class TestAnswer(SingletonTestCase):
    """A launch has its ACK whatever comes in between, or it is reset."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = _client.Endpoint("127.0.0.1", self.port).claim()
        self.addCleanup(self.listener.close)
        self.peer = self.connect()
        self.ours = self.listener.accept()[0]
        self.addCleanup(self.ours.close)
        close_resets(self.ours)

    @unittest.skipIf(os.name == "nt", "a reset takes along there what was not read yet")
    def test_comes_though_something_is_not_read(self):
        """A peer that never hangs up may send more in the last moment: then to close is a reset."""
        self.peer.sendall(b"more")
        _host._answer(self.ours, ACK)
        self.ours.close()
        self.assertEqual(self.peer.recv(1), ACK)

    def test_comes_with_the_end_though_a_forked_child_has_the_connection(self):
        copy = self.ours.dup()
        self.addCleanup(copy.close)
        _host._answer(self.ours, ACK)
        self.ours.close()
        self.assertEqual(read_to_end(self.peer), ACK)

    def test_is_there_if_the_host_is_killed_when_a_reset_is_no_longer_to_come(self):
        """An orderly end without it would be that of a 2.0.0 host, which a launch does not ask again."""
        close_ends = _platform.close_ends

        def close_ends_and_die(sock):
            close_ends(sock)
            sock.close()

        with mock.patch.object(_platform, "close_ends", close_ends_and_die):
            _host._answer(self.ours, ACK)
        self.assertEqual(read_to_end(self.peer), ACK)


@unittest.skipUnless(resource, "this system has no limits to set")
class TestHostEnduresStarvation(SingletonTestCase):
    """No free descriptor in the host for a second and a half."""

    def test_launches_wait_and_are_served_afterwards(self):
        self.check(0)

    def test_an_incomplete_peer_makes_room(self):
        self.check(3)

    def test_no_memory_to_resume_with_either(self):
        host = self.check(0, "no-memory")
        self.assertIn("failed True", host.lines)

    def check(self, parked_peers: int, *how: str):
        host = self.start(PROGRAMS / "starved_host.py", self.port, *how, ready="ready")
        parked = [self.connect() for _ in range(parked_peers)]
        for peer in parked:
            peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"after them\0"), ACK)  # so these have been accepted
        host.expect("got after them")  # and its own descriptor is closed
        host.write("starve\n")
        host.expect("starved")
        begun = time.monotonic()
        if parked:
            # Room is made for a launch at once, not when the peers' time is up, and for it alone.
            launch = self.connect()
            self.assert_reset(parked[0])
            for peer, rest in ((parked[1], b"et\0"), (parked[2], b"et\0"), (launch, b"made room\0")):
                peer.sendall(rest)
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            self.assertLess(time.monotonic() - begun, SOON)
        launches = [self.start_app("default", self.port, word) for word in "abc"]
        self.assertIsNone(self.second_launch(client=False).delivered)  # the port is held
        time.sleep(max(0.0, begun + 1.5 - time.monotonic()))  # the fault itself
        host.write("feed\n")
        for launch in launches:
            self.finish(launch)
            self.assertEqual(launch.lines, [], "it became a host beside a host")
        for word in "abc":
            host.expect(f"got {word}")
        used = float(wait_until(lambda: [x for x in host.lines if x.startswith("cpu ")], "figures")[0][4:])
        self.assertLess(used, 0.5, "it was spinning")
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("got later")
        host.write("\n")
        return self.finish(host)


@unittest.skipUnless(os.path.isdir("/proc/self/task"), "this system does not show its threads")
class TestIdle(HostTestCase):
    """A host costs nothing while nobody comes."""

    def test_one_thread_that_never_wakes(self):
        before = set(os.listdir("/proc/self/task"))
        self.singleton()
        threads = set(os.listdir("/proc/self/task")) - before
        self.assertEqual(len(threads), 1)
        self.assert_sleeps(threads)

    def test_two_after_a_launch_and_peers_that_have_gone(self):
        before = set(os.listdir("/proc/self/task"))
        app = self.host()
        self.connect().close()
        self.assert_serves(app)
        threads = set(os.listdir("/proc/self/task")) - before
        self.assertEqual(len(threads), 2)
        self.assert_sleeps(threads)

    def assert_sleeps(self, threads) -> None:
        seen = []

        def settled():
            seen.append(self.look(threads))
            return len(seen) > 20 and seen[-1] == seen[-20] and "running" not in str(seen[-1])

        wait_until(settled, "the threads wait")
        time.sleep(1.0)  # what is looked at: a second in which nothing happens
        self.assertEqual(self.look(threads), seen[-1])

    @staticmethod
    def look(threads) -> list:
        """Return each thread's state, and how often it was switched to, by its own will or not."""
        found = []
        for thread in sorted(threads):
            with open(f"/proc/self/task/{thread}/status") as file:
                found += [line for line in file if "ctxt_switches" in line or line.startswith("State")]
        return found


class TestHostEnduresItsOwners(HostTestCase):
    def test_release_on_the_io_thread(self):
        """A finalizer may run on any thread, and may release."""
        app = self.host()
        with mock.patch.object(app._delivery, "hand_out", app.release):
            self.assertEqual(self.exchange(b"x\0"), ACK)
            app._host._thread.join(PATIENCE)
        self.assertFalse(app._host._thread.is_alive())
        self.singleton(strict=False)

    def test_release_tells_if_it_cannot_be_done(self):
        app = self.host()
        blocked, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def hand_out():
            blocked.set()
            go_on.wait(PATIENCE)

        with mock.patch.object(app._delivery, "hand_out", hand_out), mock.patch.object(
            _host, "_CLOSE_TIME", 0.05
        ):
            peer = self.connect()
            peer.sendall(b"x\0")
            peer.shutdown(socket.SHUT_WR)
            self.assertTrue(blocked.wait(PATIENCE))
            with self.assertRaises(RuntimeError):
                app.release()
            go_on.set()
        app.release()
        self.singleton(strict=False)

    def test_release_that_was_interrupted_is_made_up_for(self):
        """By a handler that raised, just when it knew that all is shut; and a forked child lives on."""
        app = self.host()
        copy = app._host._wakened.dup()  # as a child has it: what is closed here is not over there
        self.addCleanup(copy.close)
        with app._host._lock:
            app._host._waker.settimeout(PATIENCE)
            app._host._closing = True
            app._host._wake()
            self.assertTrue(app._host._is_shut())
            app._host._waker.settimeout(0.05)
            app.release()
        self.singleton(strict=False)


class TestHostEnduresObservers(HostTestCase):
    def test_no_observer_has_a_launch_before_that_was_told(self):
        """Else a host killed in between has delivered what then goes to the next host."""
        called, early = threading.Event(), []
        answer = _host._answer

        def slow_answer(sock, word=b""):
            app._delivery.wake()  # as an earlier launch, or `trace`, may
            early.append(called.wait(0.2))
            answer(sock, word)

        app = self.singleton()
        app.trace(lambda args: called.set())
        with mock.patch.object(_host, "_answer", slow_answer):
            self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertTrue(called.wait(PATIENCE))
        self.assertEqual(early, [False])

    def test_launches_are_delivered_though_there_is_always_more_to_do(self):
        app = self.host()
        select, listening = app._host._selector.select, app._host._selector.get_key(app._host._listener)
        with mock.patch.object(app._host._selector, "select", lambda wait: select(0) or [(listening, 1)]):
            self.assertEqual(self.exchange(b"word\0"), ACK)  # so it has looked, and is busy from now on
            self.assertEqual(self.exchange(b"word\0"), ACK)
            self.observer.wait_for(("word",), ("word",))

    def test_release_comes_between_a_launch_and_its_observer(self):
        """Whatever the observer thread was about to do: none is called, and nothing is lost."""
        self.kind = Socket_Singleton
        self.check_release_in_between()

    def test_release_comes_between_a_launch_and_an_override(self):
        class Override(Socket_Singleton):
            def _append_args(inner, args):
                self.observer(args)

        self.kind = Override
        self.check_release_in_between()

    def test_release_comes_between_the_taking_of_a_launch_and_its_first_call(self):
        """It is no longer in the queue, so it must reach the observer, or it is nowhere."""

        class Released(Socket_Singleton):
            def _deliver(self, args, begin, again):
                def begin_and_release():
                    begun = begin()
                    self.release()
                    return begun

                return super()._deliver(args, begin_and_release, again)

        app, second = Released(port=self.port), Collector()
        self.addCleanup(app.release)
        app.trace(self.observer)
        app.trace(second)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.observer.wait_for(("word",))
        app._delivery._thread.join(PATIENCE)
        self.assertEqual((second.calls, app.arguments), ([], ()))

    def test_untrace_comes_between_a_look_and_the_launch(self):
        """The observer thread saw that somebody wants launches; when it gets to them, nobody does."""
        delivered = []

        class Late(Socket_Singleton):
            def _wants_launches(self):
                return True

            def _deliver(self, *args):
                delivered.append(super()._deliver(*args))
                return delivered[-1]

        app = Late(port=self.port)
        self.addCleanup(app.release)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        wait_until(lambda: delivered, "it was tried")
        self.assertEqual(app.arguments, (("word",),))
        app.trace(self.observer)
        self.observer.wait_for(("word",))
        wait_until(lambda: len(delivered) == 2, "it was tried again, once")
        self.assertEqual(delivered, [False, True])

    def check_release_in_between(self):
        about_to, go_on, done = threading.Event(), threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        class Slow(self.kind):
            def _deliver(self, *args, **named):
                about_to.set()
                go_on.wait(PATIENCE)
                try:
                    return super()._deliver(*args, **named)
                finally:
                    done.set()

        app = Slow(port=self.port)
        app.trace(self.observer)
        self.assertEqual(self.exchange(b"word\0"), ACK)
        self.assertTrue(about_to.wait(PATIENCE))
        app.release()
        app.trace(self.observer)  # not even one that comes now
        self.assertEqual(app.arguments, (("word",),))
        go_on.set()
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(self.observer.calls, [])
        self.assertEqual(app.arguments, (("word",),))

    def test_a_launch_that_was_told_is_in_arguments(self):
        app = self.singleton()
        for number in range(200):
            self.assertEqual(self.exchange(b"%d\0" % number), ACK)
            self.assertEqual(app.arguments[-1], (str(number),))

    def test_any_exception(self):
        class Odd(BaseException):
            pass

        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, Odd, ValueError):
            with self.subTest(kind=kind):
                self.port = free_port()
                app = self.singleton()

                def raise_it(args, kind=kind):
                    raise kind("out of an observer")

                app.trace(raise_it)
                app.trace(self.observer)
                self.assertIs(self.second_launch("one").delivered, True)
                wait_until(lambda: self.observer.calls, "the observer after it is called")
                self.assert_serves_again(app)

    def assert_serves_again(self, app) -> None:
        self.observer.calls.clear()
        self.assert_serves(app)

    def test_launches_do_not_wait_for_a_slow_observer(self):
        app = self.singleton()
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def slow(args):
            entered.set()
            go_on.wait(PATIENCE)
            self.observer(args)

        app.trace(slow)
        words = [f"launch {number}" for number in range(20)]
        self.assertIs(self.second_launch(words[0]).delivered, True)
        self.assertTrue(entered.wait(PATIENCE))
        for word in words[1:]:
            begun = time.monotonic()
            self.assertIs(self.second_launch(word).delivered, True)
            self.assertLess(time.monotonic() - begun, SOON)
        self.assertEqual(app.arguments, tuple((word,) for word in words[1:]))
        go_on.set()
        self.observer.wait_for(*[(word,) for word in words])

    def test_without_any_observer_memory_is_bounded(self):
        app = self.singleton()
        packet = b"x" * 9_999 + b"\0"
        count = 3 * _delivery.MAX_WAITING // len(packet)
        for number in range(count):
            self.assertEqual(self.exchange(b"%d\0" % number + packet), ACK)
        waiting = app.arguments
        self.assertLessEqual(app._delivery._size(), _delivery.MAX_WAITING)
        self.assertGreater(len(waiting), 1000)
        # The oldest went first: what is left are the last ones, in order.
        first = count - len(waiting)
        self.assertEqual([args[0] for args in waiting], [str(n) for n in range(first, count)])
        app.trace(self.observer)
        self.observer.wait_for(*waiting)

    def test_one_launch_larger_than_all_that_may_wait_is_kept(self):
        with mock.patch.object(_delivery, "MAX_WAITING", 10):
            app = self.singleton()
            for word in (b"short", b"longer than the limit", b"another that is longer"):
                self.assertEqual(self.exchange(word + b"\0"), ACK)
            self.assertEqual(app.arguments, (("another that is longer",),))

    def test_too_many_go_later_if_somebody_looks_at_them_now(self):
        with mock.patch.object(_delivery, "MAX_WAITING", 10):
            app = self.singleton()
            with app._delivery._lock:
                for word in (b"one", b"two"):
                    self.assertEqual(self.exchange(word + b"\0"), ACK)
                self.assertEqual(app.arguments, (("one",), ("two",)))
            self.assertEqual(self.exchange(b"three\0"), ACK)
            self.assertEqual(app.arguments, (("three",),))

    def test_lines_of_verbose_hosts_do_not_hold_up_the_port(self):
        """stdout may be a pipe that nobody reads; and a peer can cause any number of lines."""
        blocked, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        class Clogged:
            def write(self, text):
                blocked.set()
                go_on.wait(PATIENCE)

            def flush(self):
                pass

        with contextlib.redirect_stdout(Clogged()):
            app = self.singleton(verbose=True, secret="right")
            for _ in range(50):
                self.assertEqual(self.exchange(b"wrong\0"), b"")
            self.assertTrue(blocked.wait(PATIENCE))
            self.assertEqual(self.exchange(b"right\0x\0"), ACK)
            go_on.set()
            wait_until(lambda: not app._delivery._lines, "the lines are printed")

    def test_lines_do_not_hold_up_launches(self):
        """A peer can cause lines without end; each launch waits for one at most."""
        app, left = self.singleton(verbose=True), []
        app.trace(lambda args: left.append(len(app._delivery._lines)))
        with contextlib.redirect_stdout(io.StringIO()):
            with app._delivery._lock:
                app._delivery._lines.extend(["line"] * 100)
                self.assertEqual(self.exchange(b"word\0"), ACK)
                wait_until(lambda: not app._delivery._kept, "it may be delivered")
            wait_until(lambda: left, "the launch reaches the observer")
        self.assertGreater(left[0], 90)

    def test_decoding_any_payload_never_fails(self):
        rng = random.Random(5)
        for _ in range(2000):
            payload = bytearray(rng.randrange(256) for _ in range(rng.randrange(30)))
            again = "\0".join(decode(payload)).encode("utf-8", "surrogateescape")
            self.assertEqual(again, payload)
