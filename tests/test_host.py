"""The host: peers, owning and answering, limits, thresholds, timeouts, starvation, idleness."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import selectors
import socket
import statistics
import sys
import threading
import time
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import (
    ACK,
    MAX_PACKET,
    NOTHING,
    PATIENCE,
    PROGRAMS,
    Collector,
    SingletonTestCase,
    Stopwatch,
    activity_of_thread,
    descriptors,
    expect_lines,
    free_port,
    host_clock_ahead,
    inside,
    left_behind,
    needs_resets,
    needs_unix_descriptors,
    read_to_end,
    wait_until,
)
from .support.sockets import close_resets, ends_in_order, failing, failing_as_it_closes, hooked
from .test_wire import CASES, WRONG

try:
    import resource
except ImportError:  # Windows
    resource = None


# The first byte of a refusal.
NAK = b"\x15"


# Seconds in which a launch is served beside any number of bad peers: half of what each of them may take, and
# far more than the milliseconds that it needs.
SOON = 2.5


# Seconds by which a timeout may be late.
SLACK = 0.5


RELEASED_BY_OBSERVER = """
import sys
from src.Socket_Singleton import Socket_Singleton
app = Socket_Singleton(port=int(sys.argv.pop(1)), timeout=1000)
app.trace(lambda args: app.release())
print("ready", flush=True)
"""


LAUNCH = """
import sys
from Socket_Singleton import Socket_Singleton
Socket_Singleton(port=sys.argv[1], secret=sys.argv[2], argv=["word"])
"""


def allow_descriptors(number: int) -> None:
    """Raise this process's limit to ``number`` descriptors, or skip the test if that is impossible."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            raise unittest.SkipTest(f"this needs {number} descriptors; the system allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class HostTestCase(SingletonTestCase):
    """A host in this process, its observer, and peers that misbehave."""

    def setUp(self):
        super().setUp()
        self.enter(inside.limits(PEER_TIME=PATIENCE))  # however slow this machine is

    def host(self, **options):
        self.app, self.observer = self.observed(**options)
        return self.app

    @contextlib.contextmanager
    def host_in_steps(self, **options):
        """Have a host take one turn for each call of the yielded function, and any number afterwards."""
        turns, done = threading.Semaphore(0), []

        def wait_for_a_turn():
            if not done:
                turns.acquire(timeout=PATIENCE)

        with inside.at("turn", wait_for_a_turn):
            self.host(**options)
            try:
                yield turns.release
            finally:
                done.append(True)
                turns.release()

    @contextlib.contextmanager
    def record_of_reads(self):
        """Have hosts read 4 bytes at a time; yield the list of the peers read, each by its letter."""
        readers = []

        def tell(data):
            readers.append(data.decode().strip("\0")[-1:] or readers[-1])

        with inside.limits(READ_SIZE=4), inside.at("read", tell):
            yield readers

    @contextlib.contextmanager
    def no_reads_of_dropped_peers(self):
        """Check that hosts do not read from a connection that they have closed."""
        reads = []
        kind = hooked("recv", before=lambda ours, *_: reads.append(ours.fileno() >= 0))
        with inside.sockets_of_peers(kind):
            yield
        self.assertEqual(set(reads), {True})

    def say(self, packet: bytes) -> socket.socket:
        """Return a peer that has sent a whole packet and ended its stream, unless the host was faster."""
        peer = self.connect()
        peer.sendall(packet)
        with contextlib.suppress(OSError):  # the host has reset it
            peer.shutdown(socket.SHUT_WR)
        return peer

    def assert_serves(self, app) -> None:
        """Check that one more launch is owned soon, and that the host still has its port."""
        with Stopwatch() as took:
            self.assertEqual(self.exchange(b"still there\0"), ACK)
        self.assertLess(took.seconds, SOON)
        wait_until(lambda: ("still there",) in self.observer.calls, "the launch reaches the observer")
        self.observer.calls.remove(("still there",))
        self.assertTrue(app._listening)


class TestHostEnduresPeers(HostTestCase):
    """Whatever a peer does, other launches are served meanwhile."""

    # -- what is not a packet --

    def test_reset_before_during_and_after_a_packet(self):
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
                self.assertLessEqual(inside.count_peers(app), inside.limit("MAX_PEERS"))
                for peer in peers:
                    peer.close()
                app.release()

    def test_the_oldest_of_too_many_peers_is_dropped_first(self):
        with inside.limits(MAX_PEERS=3):
            app = self.host()
            peers = [self.connect() for _ in range(4)]
            self.assert_reset(peers[0])
            for peer in peers[1:]:
                peer.sendall(b"patient\0")
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            self.observer.wait_for(*[("patient",)] * 3)
            self.assertTrue(app._listening)

    def test_endless_stream_is_reset_at_the_limit(self):
        app = self.host()
        peer = self.connect()
        sent = 0
        with self.assertRaises(ConnectionError):
            while True:
                sent += peer.send(b"x" * 65536)
        self.assertGreater(sent, MAX_PACKET)
        self.assert_serves(app)
        wait_until(lambda: inside.count_buffered(app) == 0, "nothing of it is kept")
        self.assertEqual(self.observer.calls, [])

    def test_packet_over_the_limit_is_reset_and_one_within_is_owned(self):
        with inside.limits(MAX_PACKET=1000):
            app = self.host()
            self.assertEqual(self.exchange(b"x" * 999 + b"\0"), ACK)
            peer = self.connect()
            peer.sendall(b"x" * 1000 + b"\0")
            with Stopwatch() as took:
                self.assert_reset(peer)
            self.assertLess(took.seconds, SOON, "only its deadline ended it")
            self.observer.wait_for(("x" * 999,))
            self.assert_serves(app)

    def test_wrong_secrets_with_megabytes_are_not_kept(self):
        self.enter(inside.limits(LEAVE_TIME=PATIENCE))  # however slow this machine is
        app = self.host(secret="right")
        peers = [self.connect() for _ in range(20)]
        for peer in peers:
            peer.sendall(b"wrong!\0" + b"x" * 4_000_000)
            wait_until(lambda: inside.count_buffered(app) == 0, "nothing of them is kept")
        # An orderly end without an ACK, although megabytes came after the verdict:
        # after a reset, the launch would try again.
        for peer in peers:
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(peer), inside.OTHER_SECRET)
        self.assertEqual(self.exchange(b"right\0hello\0"), ACK)
        self.observer.wait_for(("hello",))
        self.assertEqual(app.clients, 21)

    def test_wrong_secret_with_an_endless_stream_is_reset(self):
        app = self.host(secret="right")
        peer = self.connect()
        sent = 0
        with self.assertRaises(ConnectionError):
            while True:
                sent += peer.send(b"x" * 65536)
        self.assertLess(sent, 10 * MAX_PACKET, "only its deadline ended it")
        self.assertEqual(self.exchange(b"right\0hello\0"), ACK)
        wait_until(lambda: inside.count_buffered(app) == 0, "nothing of them is kept")

    def test_five_thousand_launches_leave_nothing_behind(self):
        if sys.platform != "linux" or not os.path.exists("/proc/self/statm"):
            self.skipTest("this system does not show its memory")
        self.host()

        def launches(count):
            for _ in range(count):
                self.exchange_quietly(b"some\0arguments\0")
            wait_until(lambda: len(self.observer.calls) == count, f"{count} launches are delivered")
            self.observer.calls.clear()
            # Until it collects, PyPy takes memory that was never touched, as much as fits into the
            # processor's cache; only from here on does it use the same memory again.
            gc.collect()

        for _ in range(2):
            launches(500)
        before = (len(descriptors()), threading.active_count())
        growth = []
        for _ in range(10):
            memory = resident_bytes()
            launches(500)
            growth.append(resident_bytes() - memory)
        self.assertEqual((len(descriptors()), threading.active_count()), before)
        # If launches leave something behind, all of them do: here, 64 bytes each. PyPy stops
        # compiling at some time, and takes memory from the system in large steps.
        self.assertLess(statistics.median(growth[-5:]), 500 * 64, growth)

    def exchange_quietly(self, data: bytes) -> None:
        # Without `exchange`, whose clean-ups would grow themselves.
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(peer), ACK)

    # -- deadlines --

    def test_silent_peer_is_reset_at_its_deadline(self):
        with inside.limits(PEER_TIME=0.2):
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

    def test_what_came_before_the_host_looked_is_not_cut_off(self):
        """It paused beyond the deadline, and more is in the system's buffer than it reads at a time."""
        with inside.limits(PEER_TIME=0.0, READ_SIZE=4):
            with self.host_in_steps():
                peer = self.say(b"one\0two\0three\0")
            self.assertEqual(read_to_end(peer), ACK)
        self.observer.wait_for(("one", "two", "three"))

    def test_what_came_before_the_host_looked_can_be_too_much(self):
        """Then the largest peer is dropped, here one whose deadline is over as well."""
        self.enter(self.no_reads_of_dropped_peers())
        with inside.limits(MAX_BUFFERED=110, READ_SIZE=20):
            app, gate = self.host(), self.gate()
            grows, large = self.connect(), self.connect()
            grows.sendall(b"x" * 10)
            large.sendall(b"x" * 55)
            wait_until(lambda: inside.count_buffered(app) == 65, "both are read")
            with inside.at("turn", gate):
                inside.wake(app)
                gate.wait_for_somebody()  # otherwise it might look at its clock before more is sent
                with host_clock_ahead():
                    grows.sendall(b"x" * 48)  # 40 are read in any turn, and the rest because it is late
                    gate.open()
                    self.assert_reset(large)
                    self.assert_reset(grows)
            self.assert_serves(app)

    def test_deadline_is_from_accept_and_not_from_the_last_byte(self):
        with inside.limits(PEER_TIME=0.5):
            self.host()
            peer = self.connect()
            begun = time.monotonic()
            with self.assertRaises(ConnectionError):
                while time.monotonic() - begun < PATIENCE:
                    peer.sendall(b"x")
                    time.sleep(0.01)  # the fault itself: one byte every 10 ms
            self.assertLess(time.monotonic() - begun, PATIENCE / 2)

    def test_peer_that_keeps_sending_is_dropped_at_its_deadline(self):
        """Between two turns it sends as much as the host reads in one and in two more reads."""
        peers = []

        def send_more():
            for peer in peers:
                with contextlib.suppress(OSError):  # it was dropped, or closed
                    peer.sendall(b"x" * 18)

        why = f"incomplete after {inside.limit('PEER_TIME'):g} seconds"
        line = f"Failed to decode data from client on port {self.port} ({why})"
        with inside.limits(READ_SIZE=1), inside.at("turn", send_more), expect_lines(line):
            app = self.host(verbose=True)
            peers.append(self.connect())
            peers[0].sendall(b"x")
            wait_until(lambda: inside.count_received(app) > 18, "each turn has something to read")
            with host_clock_ahead():
                wait_until(lambda: inside.count_peers(app) == 0, "it is dropped")
            peers.clear()

    def test_slow_peer_is_owned_and_delays_nobody(self):
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
        self.enter(inside.limits(LEAVE_TIME=0.1))
        app = self.host()
        peer = self.connect()
        peer.sendall(b"whole\0packet\0")
        with self.peers_out_of_time(app, 13):
            self.assertEqual(read_to_end(peer), ACK)
        self.observer.wait_for(("whole", "packet"))

    def test_wrong_secret_that_never_hangs_up(self):
        self.enter(inside.limits(LEAVE_TIME=0.1))
        app = self.host(secret="longer than that")
        peer = self.connect()
        peer.sendall(b"short\0")
        with self.peers_out_of_time(app, 6):
            self.assertEqual(read_to_end(peer), inside.OTHER_SECRET)
        self.assertEqual(app.clients, 1)
        self.assertTrue(app._listening)

    # -- much at once --

    def test_all_packets_together_are_bounded_and_the_quietest_is_dropped(self):
        limits = inside.limits(MAX_BUFFERED=300_000)
        with limits:
            app = self.host()
            small, large, last = self.connect(), self.connect(), self.connect()
            buffered = 0
            for peer, size in ((small, 100_000), (large, 150_000)):
                peer.sendall(b"x" * size)
                buffered += size
                wait_until(lambda so_far=buffered: inside.count_buffered(app) == so_far, "it is buffered")
            # The first one has been quiet for longest, although it is not the largest.
            last.sendall(b"y" * 60_000)
            self.assert_reset(small)
            for peer in (large, last):
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            wait_until(lambda: len(self.observer.calls) == 2, "the others are owned")
            wait_until(lambda: inside.count_buffered(app) == 0, "nothing of them is kept")

    def test_two_hundred_peers_that_park_half_a_megabyte_each(self):
        sizes = [0]
        app = self.host()
        with inside.at("read", lambda _: sizes.append(inside.count_buffered(app))):
            peers = [self.connect() for _ in range(200)]
            for peer in peers:
                with contextlib.suppress(ConnectionError, socket.timeout):
                    peer.settimeout(0.2)
                    peer.sendall(b"x" * 512 * 1024)
            self.assert_serves(app)
            wait_until(lambda: max(sizes) > inside.limit("MAX_BUFFERED") / 2, "much was parked")
        self.assertLessEqual(max(sizes), inside.limit("MAX_BUFFERED"))
        self.assert_serves(app)

    def test_large_launches_at_once(self):
        """Together they are several times as large as what may wait."""
        packet, answers = b"x" * 1_000_000 + b"\0", []
        self.host()
        launches = [threading.Thread(target=lambda: answers.append(self.exchange(packet))) for _ in range(60)]
        for launch in launches:
            launch.start()
        for launch in launches:
            launch.join(PATIENCE)
        self.assertEqual(answers, [ACK] * 60)

    # -- whose turn it is --

    def test_launch_is_not_delayed_much_by_those_before_it(self):
        """It waits one turn for several of them, and not one, which can be long, for each of them."""
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
        with self.record_of_reads() as readers:
            with self.host_in_steps():
                launches = [self.say(word * 40 + b"\0") for word in (b"a", b"b", b"c")]
            for launch in launches:
                self.assertEqual(read_to_end(launch), ACK)
        # Two reads of each when it arrives, and then at most 16 of one.
        self.assertEqual("".join(readers), "aabbcc" + "a" * 9 + "b" * 9 + "c" * 9)

    def test_the_oldest_of_large_launches_from_one_clock_tick(self):
        peers, (first, second, third) = inside.peers_with_one_deadline(3)
        self.assertIs(peers.next_long([third, second]), second)
        self.assertIs(peers.next_long([second, third, first]), first)

    def test_ignored_launches_wait_for_the_others(self):
        with self.record_of_reads() as readers:
            with self.host_in_steps(secret="x") as take_turn:
                ignored = self.say(b"i" * 500)
                take_turn()
                wait_until(lambda: len(readers) == 2, "it is ignored by now")
                launch = self.say(b"x\0" + b"l" * 40 + b"\0")
            self.assertEqual(read_to_end(launch), ACK)
            wait_until(lambda: readers.count("i") == 125, "what is ignored is read to its end")
        order = "".join(readers)
        self.assertLess(order.rindex("l"), order.rindex("i"))
        self.assertEqual(read_to_end(ignored), inside.OTHER_SECRET)

    def test_short_packet_does_not_wait_for_a_long_one(self):
        with self.record_of_reads() as readers:
            with self.host_in_steps() as take_turn:
                long, short = self.say(b"l" * 500 + b"\0"), self.connect()
                take_turn()
                wait_until(lambda: len(readers) == 2, "the long one has been read")
                short.sendall(b"s\0")
                short.shutdown(socket.SHUT_WR)
                take_turn()
                self.assertEqual(read_to_end(short), ACK)
            self.assertEqual(read_to_end(long), ACK)

    @contextlib.contextmanager
    def peer_that_sends_much(self, **options):
        """Have a host in steps before the last turn of a peer; yield the peer, and how to take that turn."""
        with self.record_of_reads() as readers, self.host_in_steps(**options) as take_turn:
            long = self.say(b"l" * 100 + b"\0")
            take_turn()
            take_turn()
            wait_until(lambda: len(readers) == 18, "it has had one turn")
            # The system reports newer connections after the one that was there.
            yield long, take_turn

    def test_peer_that_sends_much_is_dropped_before_its_turn(self):
        self.enter(self.no_reads_of_dropped_peers())
        with inside.limits(MAX_PEERS=1), self.peer_that_sends_much() as (long, take_turn):
            self.connect()
            take_turn()
            self.assert_reset(long)
        # One more than a turn accepts: the last of them comes after that turn.
        more = inside.limit("ACCEPTS_PER_TURN") + 1
        self.assertEqual([self.exchange(b"after it\0") for _ in range(more)], [ACK] * more)
        self.observer.wait_for(*[("after it",)] * more)

    def test_port_is_given_up_before_the_turn_of_a_peer_that_sends_much(self):
        with self.peer_that_sends_much(release_threshold=1) as (long, take_turn):
            last = self.say(b"end\0")  # whole on arrival
            take_turn()
            self.assertEqual(read_to_end(last), ACK)
            self.assert_reset(long)
        self.observer.wait_for(("end",))

    def test_release_while_several_connections_are_accepted(self):
        """Launches that come after it are not owned, and find the port free."""
        releases, woken = [], threading.Event()

        def release():
            if not releases:
                releases.append(self.in_background(self.app.release))
                self.assertTrue(woken.wait(PATIENCE), "the release is under way")

        wakers = inside.sockets_of_wakers(hooked("send", after=lambda *_: woken.set()))
        with inside.at("admitted", release), wakers:
            with self.host_in_steps():
                half, launch = self.connect(), self.connect()
                half.sendall(b"half a pack")
                launch.sendall(b"too late\0")
                launch.shutdown(socket.SHUT_WR)
            self.assert_reset(half)
            self.assert_reset(launch)
            self.join(releases[0])


class TestOwning(SingletonTestCase):
    """What the host owns, and how it answers: a plain socket stands for the launch."""

    def test_table_through_a_host(self):
        """Whole and in two pieces; the answer is an ACK or a NAK and an orderly end, or only the end."""
        self.enter(inside.limits(LEAVE_TIME=PATIENCE))  # for peers that end later than they are refused
        for secret in sorted({secret for _, secret, _ in CASES}, key=repr):
            app = Socket_Singleton(
                port=self.port, secret=secret and secret.decode("utf-8", "surrogateescape"), strict=False
            )
            self.addCleanup(app.release)
            observer = Collector()
            app.trace(observer)
            delivered, clients = [], 0
            for data, its_secret, expected in CASES:
                if its_secret != secret:
                    continue
                clients += 2 * (expected is not None)
                delivered += [expected] * 2 * bool(expected not in (None, WRONG) and expected)
                with self.subTest(data=data, secret=secret):
                    answer = {None: b"", WRONG: inside.OTHER_SECRET}.get(expected, ACK)
                    self.assertEqual(self.exchange(data), answer)
                    with self.connect() as peer:
                        cut = (len(data) + 1) // 2
                        for piece in filter(None, (data[:cut], data[cut:])):
                            peer.sendall(piece)
                        peer.shutdown(socket.SHUT_WR)
                        self.assertEqual(read_to_end(peer), answer)
            observer.wait_for(*delivered)
            self.assertEqual(app.clients, clients)
            app.release()

    def test_answer_to_a_wrong_secret_comes_before_the_peer_ends(self):
        self.singleton(secret="right")
        peer = self.connect()
        peer.sendall(b"wrong\0word\0")
        peer.settimeout(PATIENCE)
        self.assertEqual(peer.recv(9), inside.OTHER_SECRET)  # the peer has not hung up

    def test_no_answer_before_the_peer_ends_its_stream(self):
        app = self.singleton()
        peer = self.connect()
        peer.sendall(b"a\0")
        # Another whole exchange: by its end, the host has long since seen the first bytes.
        self.assertEqual(self.exchange(b"b\0"), ACK)
        peer.setblocking(False)
        with self.assertRaises(BlockingIOError):
            peer.recv(1)
        peer.settimeout(PATIENCE)
        peer.sendall(b"c\0")
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(read_to_end(peer), ACK)
        self.assertEqual(app.arguments, (("b",), ("a", "c")))

    def test_host_owns_a_packet_whose_peer_does_not_wait_for_the_answer(self):
        """Like a launch of 2.0.0: it sends, hangs up and never reads."""
        _, observer = self.observed()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as peer:
            peer.sendall(b"old\0")
        observer.wait_for(("old",))

    @needs_resets
    def test_packet_that_ends_in_a_reset_is_not_owned(self):
        app, observer = self.observed()
        peer = self.connect()
        peer.sendall(b"half a pack")
        close_resets(peer)
        peer.close()
        self.assertEqual(self.exchange(b"whole\0"), ACK)
        observer.wait_for(("whole",))
        self.assertEqual(app.clients, 1)

    def test_launch_that_hands_nothing_over_does_not_count(self):
        app = self.singleton()
        self.assertIsNone(self.second_launch("word", client=False).delivered)
        self.second_launch("later")
        self.assertEqual((app.clients, app.arguments), (1, (("later",),)))

    def test_secret_that_only_one_side_has(self):
        app = self.singleton()
        # Without a secret of its own, the host cannot recognize one: it is an argument, as in 2.0.0.
        self.assertIs(self.second_launch("a", secret="key").delivered, True)
        self.assertEqual(app.arguments, (("key", "a"),))
        app.release()
        app = self.singleton(secret="key")
        self.assertIs(self.second_launch("a").delivered, False)
        self.assertEqual((app.clients, app.arguments), (1, ()))


class TestAnswer(SingletonTestCase):
    """A launch gets its ACK whatever happens in between, or it is reset."""

    def peer_of(self, kind) -> socket.socket:
        """Return a peer that has sent its packet and its end to a host with connections of ``kind``."""
        self.enter(inside.sockets_of_peers(kind))
        self.singleton()
        self.peer = self.connect()
        self.peer.sendall(b"word\0")
        self.peer.shutdown(socket.SHUT_WR)
        return self.peer

    @unittest.skipIf(os.name == "nt", "there a reset discards what was not read yet")
    def test_comes_although_something_was_not_read(self):
        """A peer that never hangs up may send more at the last moment: closing then causes a reset."""

        def send_more(ours, *_):
            self.peer.sendall(b"more")
            ours.setblocking(True)
            ours.recv(1, socket.MSG_PEEK)  # it is there
            ours.setblocking(False)

        self.enter(inside.sockets_of_peers(hooked("send", before=send_more)))
        app = self.singleton()
        self.peer = self.connect()
        self.peer.sendall(b"word\0")
        with self.peers_out_of_time(app, 5):
            self.assertEqual(self.peer.recv(1), ACK)

    @needs_unix_descriptors
    def test_comes_with_the_end_although_a_forked_child_has_the_connection(self):
        def fork(ours, *_):
            self.addCleanup(os.close, os.dup(ours.fileno()))

        peer = self.peer_of(hooked("send", before=fork))
        self.assertEqual(read_to_end(peer), ACK)

    def test_is_there_if_the_host_is_killed_just_after_it_turned_off_the_reset(self):
        """Without it, an orderly end would look like a 2.0.0 host, and the launch would not try again."""

        def be_killed(ours, *option):
            if ends_in_order(*option):
                ours.close()

        peer = self.peer_of(hooked("setsockopt", after=be_killed))
        self.assertEqual(read_to_end(peer), ACK)


class TestThresholds(HostTestCase):
    """`release_threshold` and `max_clients`, alone and together."""

    def launches(self, *words: str) -> list:
        return [self.second_launch(word).delivered for word in words]

    def test_port_is_free_at_the_threshold_and_the_last_launch_is_delivered(self):
        app = self.host(release_threshold=3)
        for number in range(3):
            self.assertTrue(app._listening)
            self.assertIs(self.outcome(str(number)), True)
        # Immediately: the third launch has its answer, so the port is free.
        self.assertEqual(self.outcome("fourth"), "host")
        self.observer.wait_for(("0",), ("1",), ("2",))
        self.assertFalse(app._listening)
        self.assertEqual(app.clients, 3)

    def test_real_launches(self):
        app = self.host(release_threshold=2)
        for word in ("a", "b"):
            self.run_app("default", self.port, word)
        self.assertEqual(self.run_app("default", self.port, "c").lines, ["Singleton locked"])
        self.observer.wait_for(("a",), ("b",))
        self.assertEqual(app.clients, 2)

    def test_launches_beyond_max_clients_are_ignored_and_counted(self):
        app = self.host(max_clients=2)
        self.assertEqual([self.outcome(str(number)) for number in range(4)], [True, True, False, False])
        self.observer.wait_for(("0",), ("1",))
        self.assertEqual(app.clients, 4)
        self.assertTrue(app._listening)
        self.assertEqual(app.arguments, ())

    def test_launches_beyond_max_clients_get_the_reason(self):
        self.host(max_clients=1)
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertEqual(self.exchange(b"x\0"), inside.ENOUGH_CLIENTS)

    def test_both(self):
        cases = (
            # release_threshold, max_clients, the outcomes of five launches
            (2, 4, [True, True, "host", "host", "host"]),
            (4, 2, [True, True, False, False, "host"]),
            (3, 3, [True, True, True, "host", "host"]),
        )
        for release_threshold, max_clients, expected in cases:
            with self.subTest(release_threshold=release_threshold, max_clients=max_clients):
                self.host(release_threshold=release_threshold, max_clients=max_clients)
                self.assertEqual([self.outcome(str(number)) for number in range(5)], expected)
                self.observer.wait_for(*[(str(n),) for n in range(expected.count(True))])

    def test_wrong_secrets_are_clients_but_reach_no_threshold(self):
        """Otherwise a stranger could free the port, or keep launches out."""
        app = self.host(secret="right", release_threshold=2, max_clients=2)
        for _ in range(3):
            self.assertEqual(self.exchange(b"wrong\0"), inside.OTHER_SECRET)
        self.assertEqual((app.clients, app._listening), (3, True))
        for word in (b"x", b"y"):
            self.assertEqual(self.exchange(b"right\0" + word + b"\0"), ACK)
        self.assertEqual((app.clients, app._listening), (5, False))
        self.observer.wait_for(("x",), ("y",))

    def test_questions_do_not_count_as_clients(self):
        app = self.host(release_threshold=1)
        self.connect().close()
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.assertTrue(Socket_Singleton.is_running(port=self.port))
        self.assertEqual(self.exchange(b""), b"")
        self.assertEqual(app.clients, 0)
        self.assertTrue(app._listening)

    def test_release_after_the_threshold_does_nothing_more(self):
        app = self.host(release_threshold=1)
        self.assertIs(self.outcome("x"), True)
        other = self.singleton(strict=False)
        app.release()
        self.assertTrue(other._listening)
        self.assertIs(self.outcome("y"), True)

    def test_port_is_free_once_the_last_launch_has_its_answer(self):
        for _ in range(100):
            app = self.singleton(release_threshold=1)
            self.assertEqual(self.exchange(b"x\0"), ACK)
            self.assert_free()
            self.assertEqual(app.arguments, (("x",),))

    def test_release_threshold_counts_launches_without_arguments(self):
        app = self.host(release_threshold=2)
        self.assertIs(self.second_launch().delivered, True)
        self.assertTrue(app._listening)
        self.assertIs(self.second_launch().delivered, True)
        self.assert_free()
        self.assertEqual(self.observer.calls, [])

    def test_release_threshold_ends_a_timeout(self):
        app = self.host(release_threshold=1, timeout=1000)
        self.launches("a")
        inside.io_thread(app).join(30)
        self.assertFalse(inside.io_thread(app).is_alive(), "it would keep the program alive")

    def test_release_threshold_lowered_below_the_count(self):
        app = self.host(release_threshold=100)
        self.launches("a", "b", "c")
        app.release_threshold = 2
        self.launches("d")
        self.assert_free()
        self.observer.wait_for(("a",), ("b",), ("c",), ("d",))

    def test_release_while_the_thread_is_ending(self):
        """There is nothing to wake any more, so it is not tried a second time after a pause."""
        ending, again, sent = threading.Event(), threading.Event(), []

        def end(*_):
            if not ending.is_set():
                ending.set()
                again.wait(0.3)  # nothing sets it

        def send(*_):
            if ending.is_set():
                sent.append(True)
                if len(sent) > 1:
                    again.set()

        kind = hooked("close", after=end, kind=hooked("send", before=send))
        with inside.sockets_of_wakers(kind):
            app = self.host(release_threshold=1)
            self.assertEqual(self.exchange(b"last\0"), ACK)
            self.assertTrue(ending.wait(PATIENCE))
            app.release()
        self.assertEqual(sent, [True])


class TestTimeouts(SingletonTestCase):
    """`timeout`: the host holds the port until then, and gives it up by itself."""

    def test_port_is_free_after_the_timeout_and_not_before(self):
        begun = time.monotonic()
        app = self.singleton(timeout=0.3)
        self.wait_for_release(app)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        app = self.singleton(timeout=PATIENCE, strict=False)
        self.assertIsNone(self.second_launch(client=False).delivered)
        self.expire(app)
        self.singleton(strict=False)

    def test_fractions_count(self):
        for seconds in (0.05, "0.15", 0.25):
            with self.subTest(seconds=seconds):
                begun = time.monotonic()
                with Stopwatch() as took:
                    app = self.singleton(timeout=seconds)
                    self.assertEqual(app.timeout, float(seconds))
                    self.wait_for_release(app)
                self.assertGreaterEqual(time.monotonic() - begun, float(seconds))
                self.assertLess(took.seconds, float(seconds) + SLACK)

    def test_zero_means_no_timeout(self):
        app = self.singleton(timeout=0)
        following = self.singleton(port=0, timeout=0.1)
        self.wait_for_release(following)
        self.assertTrue(app._listening)
        self.assertIs(self.second_launch("x").delivered, True)

    def test_timeout_longer_than_a_selector_can_wait(self):
        app = self.singleton(timeout=1e12)
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.assertTrue(app._listening)

    def test_a_script_that_ends_early_lives_and_serves_until_the_timeout(self):
        program = self.start(PROGRAMS / "ends_early.py", self.port, 1000, ready="main ends")
        self.assertEqual(self.exchange(b"late\0launch\0"), ACK)
        program.expect("got late launch")
        self.assertIsNone(program.process.poll())
        self.assertEqual(self.exchange(b"time is over\0"), ACK)
        program.expect("got time is over")
        with contextlib.suppress(ConnectionError):
            self.connect()  # an event, which makes the host look at its clock
        self.finish(program)
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
        app, observer = self.singleton(timeout=PATIENCE), self.gate()
        app.trace(observer)
        self.assertEqual(self.exchange(b"x\0"), ACK)
        observer.wait_for_somebody()
        self.expire(app)
        self.singleton(strict=False)

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
        self.assertLessEqual(late, 1, "it looks at the clock whatever happens")
        self.assertEqual(len(app.arguments), 20 + late)

    def test_what_was_owned_before_the_timeout_is_delivered_after_it(self):
        app, observer = self.singleton(timeout=PATIENCE), Collector()
        self.assertEqual(self.exchange(b"x\0"), ACK)
        self.expire(app)
        self.assertEqual(app.arguments, (("x",),))
        app.trace(observer)
        observer.wait_for(("x",))

    def test_owned_launches_are_delivered_after_the_timeout(self):
        """If a host releases by itself, it discards nothing: the observers were not asked to stop."""
        app, gate, observer = self.singleton(timeout=PATIENCE), self.gate(), Collector()

        def slow(args):
            gate()
            observer(args)

        app.trace(slow)
        for word in "ab":
            self.assertIs(self.second_launch(word).delivered, True)
        gate.wait_for_somebody()
        self.expire(app)
        gate.open()
        observer.wait_for(("a",), ("b",))

    def test_nothing_stays_open(self):
        """Even before somebody calls `release`."""
        before = descriptors()
        app = self.singleton(timeout=PATIENCE)
        self.expire(app)
        inside.io_thread(app).join(PATIENCE)
        self.assertEqual(descriptors() - before, frozenset())

    def test_release_ends_the_thread_that_waits_for_the_timeout(self):
        before = set(threading.enumerate())
        app = self.singleton(timeout=PATIENCE)
        made = set(threading.enumerate()) - before
        self.assertEqual(len([thread for thread in made if not thread.daemon]), 1, "it keeps Python alive")
        app.release()
        self.assertEqual(made & set(threading.enumerate()), set())

    def test_release_from_an_observer_cancels_after_the_script_ended(self):
        host = self.start("-c", RELEASED_BY_OBSERVER, self.port, ready="ready")
        self.assertIs(self.second_launch("x").delivered, True)
        self.finish(host)
        self.assertEqual(host.err, "")

    def test_released_host_does_not_take_the_port_from_the_next(self):
        before = set(threading.enumerate())
        with Socket_Singleton(port=self.port, timeout=0.1):
            pass
        # What waits for observers ends by itself a moment later; on 3.12 there is one from the start.
        wait_until(lambda: set(threading.enumerate()) <= before, "no timer is left")
        following = self.singleton(strict=False)
        other = self.singleton(port=0, timeout=0.2)
        self.wait_for_release(other)
        self.assertTrue(following._listening)


class TestDescriptorsThatTheApplicationCloses(SingletonTestCase):
    @needs_unix_descriptors
    def test_connection_with_the_descriptor_of_another_one(self):
        """Only the connection ends whose descriptor was closed by mistake."""
        app, observer = self.observed()
        waiting = socket.socket()  # before a number is free
        self.addCleanup(waiting.close)
        self.connect().sendall(b"never who")
        wait_until(lambda: inside.count_received(app) == 9, "it has arrived")
        [number] = inside.descriptors_of_peers(app)
        os.close(number)
        waiting.connect((self.address, self.port))
        waiting.sendall(b"wo")
        wait_until(lambda: inside.count_received(app) == 2, "it has arrived, and the other one is gone")
        self.assertEqual(inside.descriptors_of_peers(app), [number])
        waiting.sendall(b"rd\0")
        waiting.shutdown(socket.SHUT_WR)
        self.assertEqual(read_to_end(waiting), ACK)
        self.assertIs(self.second_launch("later").delivered, True)
        observer.wait_for(("word",), ("later",))


class TestHostEnduresStarvation(SingletonTestCase):
    """No free descriptor, no thread, no memory."""

    def test_launches_wait_and_are_served_afterwards(self):
        self.check(0)

    def test_an_incomplete_peer_makes_room(self):
        self.check(3)

    def test_no_memory_to_resume_either(self):
        host = self.check(0, "no-memory")
        self.assertIn("failed True", host.lines)

    def check(self, parked_peers: int, *how: str):
        if resource is None:
            self.skipTest("this system has no limit to set")
        host = self.start(PROGRAMS / "starved_host.py", self.port, *how, ready="ready")
        parked = [self.connect() for _ in range(parked_peers)]
        for peer in parked:
            peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"after them\0"), ACK)  # so the others have been accepted
        host.expect("got after them")  # and the descriptor of that connection is closed
        host.write("starve\n")
        host.expect("starved")
        begun = time.monotonic()
        if parked:
            # Room is made for a launch at once, and for it alone, not only when the peers' time is over.
            launch = self.connect()
            self.assert_reset(parked[0])
            for peer, rest in ((parked[1], b"et\0"), (parked[2], b"et\0"), (launch, b"made room\0")):
                peer.sendall(rest)
                peer.shutdown(socket.SHUT_WR)
                self.assertEqual(read_to_end(peer), ACK)
            self.assertLess(time.monotonic() - begun, inside.limit("PEER_TIME") / 2)
        launches = [self.start_app("default", self.port, word) for word in "abc"]
        self.assertIsNone(self.second_launch(client=False).delivered)  # the port is held
        # The fault itself. The launches have 2 s; half of that is left for a busy machine.
        time.sleep(max(0.0, begun + 1.0 - time.monotonic()))
        starved = time.monotonic() - begun
        host.write("feed\n")
        for launch in launches:
            self.finish(launch)
            self.assertEqual(launch.lines, [], "it became a second host")
        for word in "abc":
            host.expect(f"got {word}")
        (line,) = wait_until(lambda: [x for x in host.lines if x.startswith("turns ")], "the number of turns")
        # One turn at the end of each pause, and one in which there is still no descriptor.
        self.assertLess(int(line.split()[1]), 10 + 4 * starved / inside.limit("PAUSE"), "it was spinning")
        self.assertEqual(self.exchange(b"later\0"), ACK)
        host.expect("got later")
        host.write("\n")
        return self.finish(host)

    def test_every_shortage_of_descriptors(self):
        if resource is None:
            self.skipTest("this system has no limit to set")
        for words in ((), ("imported",)):
            with self.subTest(words=words):
                self.check_shortages(*words)

    def check_shortages(self, *words: str) -> None:
        self.port = free_port()
        program = self.start(PROGRAMS / "few_descriptors.py", self.port, *words)
        wait_until(lambda: "host" in program.out or program.process.poll() is not None, "a host at last")
        failed = len(program.lines) - 1
        self.assertEqual(
            program.lines, [*(f"failed {n}" for n in range(failed)), f"host {failed}"], program.describe()
        )
        self.assertGreater(failed, 1, "one is enough for the listener, but not for the rest")
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
                self.fail("it became a host without a thread")
        self.assertEqual(self.singleton(strict=False).port, self.port)


@unittest.skipUnless(
    sys.platform == "linux" and os.path.isdir("/proc/self/task"), "this system does not show threads"
)
class TestIdle(HostTestCase):
    """A host costs nothing while nothing happens."""

    def test_one_thread_that_never_wakes(self):
        before = set(os.listdir("/proc/self/task"))
        self.singleton()

        def threads():
            return set(os.listdir("/proc/self/task")) - before

        # If another thread started it, that one ends after it.
        count = 1 if inside.limit("THREADS_START_LATE") else 2
        wait_until(lambda: len(threads()) == count, "only one thread is left")
        self.assert_sleeps(threads())

    def test_two_threads_after_a_launch_and_peers_that_have_gone(self):
        before = set(os.listdir("/proc/self/task"))
        app = self.host()
        self.connect().close()
        self.assert_serves(app)

        def threads():
            return set(os.listdir("/proc/self/task")) - before

        # The stopwatch's thread may remain for a moment although it was joined.
        wait_until(lambda: len(threads()) == 2, "there are two")
        self.assert_sleeps(threads())

    def assert_sleeps(self, threads) -> None:
        seen = []

        def settled():
            seen.append(self.look(threads))
            return len(seen) > 20 and seen[-1] == seen[-20] and "running" not in str(seen[-1])

        wait_until(settled, "the threads wait")
        time.sleep(1.0)  # what is tested: a second in which nothing happens
        self.assertEqual(self.look(threads), seen[-1])

    @staticmethod
    def look(threads) -> list:
        return [activity_of_thread("self", thread) for thread in sorted(threads)]


class TestOwnedAndAnswered(HostTestCase):
    """Both or neither, although each system call on the way can fail."""

    @needs_resets
    def test_launch_that_cannot_be_answered_is_not_owned(self):
        """It is reset and tries again, so it is delivered once."""
        for error in (
            OSError(errno.ENOBUFS, "no buffers"),
            OSError(errno.ENOMEM, "no memory"),
            BlockingIOError(errno.EAGAIN, "no room"),
            MemoryError(),
        ):
            kind = failing("send", error)
            with self.subTest(error=error), inside.sockets_of_peers(kind):
                app = self.host()
                self.assert_reset(self.say(b"plain\0"))
                self.assertEqual((app.clients, app.arguments), (0, ()))
                kind.failed.clear()
                self.assertIs(self.second_launch("word").delivered, True)
                self.assertEqual(len(kind.failed), 1)
                self.assertEqual(app.clients, 1)
                self.observer.wait_for(("word",))
                app.release()
                self.assertEqual((self.observer.calls, app.arguments), ([("word",)], ()))

    @needs_resets
    def test_launch_without_arguments_that_cannot_be_answered_does_not_count(self):
        kind = failing("send", OSError(errno.ENOBUFS, "no buffers"))
        with inside.sockets_of_peers(kind):
            app = self.host()
            self.assertIs(self.second_launch().delivered, True)
            self.assertEqual((len(kind.failed), app.clients), (1, 1))
            self.assert_serves(app)

    @needs_resets
    def test_launch_is_not_owned_without_memory_to_keep_it(self):
        app, error = self.host(), MemoryError("no memory for one more")
        failures = [error]

        def fail_once():
            if failures:
                raise failures.pop()

        with inside.at("put", fail_once):
            self.assertIs(self.second_launch("word").delivered, True)
            self.observer.wait_for(("word",))
            self.assertEqual((app.clients, app.arguments, inside.count_waiting_bytes(app)), (1, (), 0))
            # A peer that never hangs up: the host looks at it when its time is over.
            failures.append(error)
            peer = self.connect()
            peer.sendall(b"late\0")
            with self.peers_out_of_time(app, 5):
                self.assert_ended(peer)
        self.assert_serves(app)
        self.assertEqual((app.clients, app.arguments, inside.count_waiting_bytes(app)), (2, (), 0))

    def test_launch_whose_connection_cannot_be_closed_is_owned(self):
        kind = failing_as_it_closes()
        with inside.sockets_of_peers(kind):
            app = self.host()
            self.assertEqual(self.exchange(b"word\0"), ACK)
            self.observer.wait_for(("word",))
            self.assertEqual((len(kind.failed), app.clients), (1, 1))
            self.assert_serves(app)

    @needs_resets
    def test_launch_with_a_name_that_has_gone_is_not_owned(self):
        """It waits for its answer; without one it tries again, or says that it was not taken."""
        for error in (ConnectionResetError(), BrokenPipeError()):
            kind = failing("send", error, when=lambda data, *_: data == ACK)
            with self.subTest(error=error), inside.sockets_of_peers(kind):
                app = self.host(name="test", secret="key")
                self.assertIs(self.second_launch("word", name="test", secret="key").delivered, True)
                self.assertEqual((len(kind.failed), app.clients), (1, 1))
                self.observer.wait_for(("word",))
                app.release()
                self.assertEqual((self.observer.calls, app.arguments), ([("word",)], ()))

    def test_launch_that_has_gone_when_it_is_answered_is_owned(self):
        """A tool that sends and leaves does not try again."""
        for error in (ConnectionResetError(), BrokenPipeError()):
            kind = failing("send", error)
            with self.subTest(error=error), inside.sockets_of_peers(kind):
                app = self.host()
                self.say(b"word\0")
                self.observer.wait_for(("word",))
                self.assertEqual((len(kind.failed), app.clients), (1, 1))
                app.release()

    def test_failures_after_the_answer_change_nothing(self):
        error = OSError(errno.ENOBUFS, "no buffers")
        for kind in (
            failing("setsockopt", error, when=ends_in_order),
            failing("shutdown", error),
        ):
            with inside.sockets_of_peers(kind):
                app = self.host()
                self.assertIs(self.second_launch("word").delivered, True)
                wait_until(lambda failed=kind.failed: len(failed) == 1, "it has failed")
                self.assertEqual(app.clients, 1)
                self.observer.wait_for(("word",))
                app.release()

    def test_last_launch_that_cannot_be_answered_becomes_the_next_host(self):
        """It counts all the same: `clients` then shows an application why the port is free."""
        kind = failing("send", OSError(errno.ENOBUFS, "no buffers"))
        with inside.sockets_of_peers(kind):
            app = self.host(release_threshold=1)
            self.assertEqual(self.outcome("word"), "host")
        self.assertEqual((len(kind.failed), app.clients, app.arguments), (1, 1, ()))

    def test_last_launch_is_not_owned_if_the_port_cannot_be_closed(self):
        for kind in (
            failing("close", OSError(errno.EIO, "it failed")),
            failing_as_it_closes(),
        ):
            with self.subTest(kind=kind.close):
                with inside.sockets_of_launches(kind):
                    app = self.host(release_threshold=2)
                self.assertEqual(self.exchange(b"first\0"), ACK)
                self.assert_reset(self.say(b"word\0"))
                self.assertIs(app.join(PATIENCE), True)
                self.assertEqual((len(kind.failed), app.clients), (1, 1))
                self.observer.wait_for(("first",))
                app.release()
                self.assertEqual((self.observer.calls, app.arguments), ([("first",)], ()))
                self.assert_free()

    def test_refusal_that_cannot_be_sent_is_a_reset(self):
        for secret, packet in ((None, b"later\0"), ("right", b"wrong\0")):
            kind = failing("send", OSError(errno.ENOMEM, "no memory"), when=lambda data, *_: data[:1] == NAK)
            with self.subTest(packet=packet), inside.sockets_of_peers(kind):
                app = self.host(max_clients=1, secret=secret)
                self.assertEqual(self.exchange((secret + "\0" if secret else "").encode() + b"first\0"), ACK)
                self.assert_reset(self.say(packet))
                self.assertEqual(len(kind.failed), 1)
                app.release()


class TestWhichLaunchesCount(HostTestCase):
    """A stranger neither frees the port nor uses up what is meant for launches."""

    def test_peers_without_the_secret_reach_no_threshold(self):
        app = self.host(secret="right", release_threshold=2, max_clients=2)
        for number in range(1, 6):
            self.assertEqual(self.exchange(b"wrong\0word\0")[:1], NAK)
            self.assertEqual(app.clients, number)  # as in 2.0.0
        self.assertTrue(app._listening)
        for word in ("a", "b"):
            self.assertIs(self.second_launch(word, secret="right").delivered, True)
        self.assertEqual(app.clients, 7)
        self.assert_free()
        self.observer.wait_for(("a",), ("b",))

    def test_launch_with_a_wrong_secret_fails_with_a_message(self):
        self.host(secret="right")
        launch = self.start("-c", LAUNCH, self.port, "wrong")
        self.finish(launch, status=1)
        self.assertIn(f"127.0.0.1 port {self.port}", launch.err)
        self.assertIn("it has another secret", launch.err)

    def test_launch_beyond_max_clients_ends_quietly(self):
        app = self.host(max_clients=1, secret="right")
        for count in (1, 2):
            launch = self.finish(self.start("-c", LAUNCH, self.port, "right"))
            self.assertEqual((launch.out, launch.err, app.clients), ("", "", count))
        self.assertIs(self.second_launch("word", secret="right").delivered, False)
        self.observer.wait_for(("word",))

    def test_many_small_idle_peers_keep_no_launch_out(self):
        allow_descriptors(700)
        self.host()
        for _ in range(250):
            self.connect().sendall(b"x" * 66_000)
        wait_until(lambda: inside.count_buffered(self.app) > 15_000_000, "they hold as much as they may")
        for _ in range(10):
            self.assertEqual(self.exchange(b"y" * 300_000 + b"\0"), ACK)
        answers = self.at_once(20, lambda _: self.exchange(b"y" * 300_000 + b"\0"))
        self.assertEqual(answers, [ACK] * 20)


# How the I/O thread ends after an unexpected error.
FAULT = "RuntimeError: a fault of ours"


class TestUnexpectedError(HostTestCase):
    """An error of ours on the I/O thread ends the service, but never the exclusion."""

    def failed_host(self, **options):
        """Return a host whose I/O thread has failed, after it answered a launch and with a peer connected."""
        due = []

        def fail_if_due():
            if due:
                raise due.pop()

        with self.expect_end_of_thread(FAULT), inside.at("turn", fail_if_due):
            app = self.host(**options)
            with self.connect() as peer:
                peer.sendall(b"half a pack")
                wait_until(lambda: inside.count_received(app) == 11, "the peer is read")
                with inside.at("answer", lambda: due.append(RuntimeError("a fault of ours"))):
                    self.assertEqual(self.exchange(b"answered\0"), ACK)
                self.join(inside.io_thread(app))
                self.assert_ended(peer)
        return app

    def test_port_is_held_until_release(self):
        for timeout in (0, PATIENCE):
            with self.subTest(timeout=timeout), contextlib.ExitStack() as over:
                before = left_behind()
                app = self.failed_host(timeout=timeout)
                over.enter_context(host_clock_ahead())
                # Its thread has ended: no timeout will fire, and nothing keeps the program alive.
                self.observer.wait_for(("answered",))
                self.assertTrue(app._listening)
                self.assertIsNone(inside.claim(self.port))
                self.assertFalse(app.join(0))
                app.release()
                self.assertFalse(app._listening)
                self.assertTrue(app.join(0))
                self.assert_free()
                self.assertFalse(inside.is_notified_of_forks(app))
                wait_until(lambda before=before: not left_behind(before)[0], "no thread is left")
                self.assertEqual(left_behind(before), NOTHING)

    def test_launch_that_was_not_acknowledged_is_not_handed_out(self):
        """It is reset with the other peers, and tries again."""
        kind = failing("send", RuntimeError("a fault of ours"), when=lambda data, *_: data == ACK)
        with self.expect_end_of_thread(FAULT), inside.sockets_of_peers(kind):
            app = self.host()
            with self.connect() as peer:
                peer.sendall(b"word\0")
                peer.shutdown(socket.SHUT_WR)
                self.join(inside.io_thread(app))
                self.assert_ended(peer)
        self.assertEqual((len(kind.failed), app.clients, app.arguments), (1, 0, ()))
        app.release()
        self.assertEqual(self.observer.calls, [])
        self.assert_free()

    def test_port_that_was_about_to_be_freed(self):
        """A host whose time is over frees it, although something fails as it ends."""
        kind, before = failing_as_it_closes(), left_behind()
        with self.expect_end_of_thread(r"OSError: \[Errno 5\] it failed"):
            with inside.sockets_of_launches(kind):
                app = self.host(timeout=PATIENCE)
            thread = inside.io_thread(app)
            with host_clock_ahead():
                inside.wake(app)
                self.join(thread)
        self.assertEqual(len(kind.failed), 1)
        self.assertFalse(app._listening)
        self.assertTrue(app.join(0))
        self.assert_free()
        app.release()
        wait_until(lambda: not left_behind(before)[0], "no thread is left")
        self.assertEqual(left_behind(before), NOTHING)

    def test_port_that_was_free_already(self):
        """The last launch that the host takes frees it; then the error occurs, before the answer."""
        fault = mock.Mock(side_effect=RuntimeError("a fault of ours"))
        before = left_behind()
        with self.expect_end_of_thread(FAULT), inside.at("answer", fault):
            app = self.host(release_threshold=1)
            thread = inside.io_thread(app)
            with self.connect() as peer:
                peer.sendall(b"word\0")
                peer.shutdown(socket.SHUT_WR)
                self.join(thread)
                self.assert_ended(peer)
        fault.assert_called_once()
        self.assertFalse(app._listening)
        self.assertTrue(app.join(0))
        self.assert_free()
        self.assertFalse(inside.is_notified_of_forks(app))
        app.release()
        wait_until(lambda: not left_behind(before)[0], "no thread is left")
        self.assertEqual(left_behind(before), NOTHING)

    def test_in_one_conversation(self):
        """It ends only that connection, and is logged once although the launch tries again."""
        text = "Conversation with a launch raised exception: ValueError: a fault of ours"
        for part in ("feed", "end"):
            with self.subTest(part=part):
                app = self.host()
                with self.expect_log(text), inside.talks_that_fail(
                    part, ValueError("a fault of ours")
                ) as failed:
                    for _ in range(2):
                        with self.connect() as peer:
                            peer.sendall(b"word\0")
                            with contextlib.suppress(OSError):  # it was reset already
                                peer.shutdown(socket.SHUT_WR)
                            self.assert_ended(peer)
                    self.assert_serves(app)
                self.assertEqual(len(failed), 2)
                app.release()

    def test_release_from_an_observer(self):
        app = self.failed_host()
        app.trace(lambda _: app.release())
        app._append_args(("word",))
        self.assert_free()


@unittest.skipUnless(hasattr(os, "fork"), "this system has a different kind of descriptors")
class TestDescriptors(HostTestCase):
    """Sockets have numbers above 2: what a program prints, or reopens as stdout, does not reach them."""

    def test_no_socket_becomes_stdio(self):
        program = self.start(PROGRAMS / "without_stdio.py", self.port, ready="host []")
        peers = [self.connect() for _ in range(5)]
        for peer in peers:
            peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"word\0"), ACK)
        program.expect("got word []")
        program.write("\n")
        program.expect("got from here []")
        program.expect("delivered True")
        program.write("\n")
        self.finish(program)
        self.assertIn("launch [] True", program.lines)

    def test_wake_ups_that_do_not_end_it_are_drained(self):
        turns = []
        with inside.at("turn", lambda: turns.append(None)):
            self.host()
            for number in range(1, 51):
                inside.wake(self.app)
                self.assertEqual(self.exchange(b"word\0"), ACK)
                # Its wake-up, the accept, a packet and its end, and a check before each sleep.
                self.assertLess(len(turns), 20 * number, "it spins")

    def test_no_memory_for_a_wake_up(self):
        error, waits = OSError(errno.ENOBUFS, "no buffers"), []

        class Selector(selectors.DefaultSelector):
            def select(self, timeout=None):
                waits.append(timeout)
                try:
                    return super().select(timeout)
                finally:
                    waits.pop()

        for times in (1, 2):
            kind = failing("send", error, times)
            kind.shutdown = failing("shutdown", error).shutdown
            with inside.sockets_of_wakers(kind), mock.patch.object(selectors, "DefaultSelector", Selector):
                app = self.host()
            self.exchange(b"word\0")
            wait_until(lambda: waits == [None], "its thread sleeps, and only `release` can wake it")
            with self.subTest(times=times), Stopwatch() as took:
                app.release()
            self.assertLess(took.seconds, SOON)
            self.assertEqual(len(kind.failed), times)
            self.assert_free()

    def test_never_any_memory_for_a_wake_up(self):
        """The thread that wakes it continues; the host looks when the next launch comes."""
        kind = failing("send", OSError(errno.ENOBUFS, "no buffers"), times=1000)
        with inside.sockets_of_wakers(kind):
            self.host()
        with Stopwatch() as took:
            inside.wake(self.app)
        self.assertLess(took.seconds, SOON)
        self.assertIn(len(kind.failed), range(2, 10))
        self.assert_serves(self.app)

    def test_no_memory_to_receive_a_wake_up(self):
        kind = failing("recv", OSError(errno.ENOBUFS, "no buffers"), times=3)
        with inside.sockets_of_wakers(kind):
            self.host()
        inside.wake(self.app)
        wait_until(lambda: len(kind.failed) == 3, "it tries again")
        self.assert_serves(self.app)

    def test_wake_up_of_a_host_that_has_not_looked_for_long(self):
        """The system accepts no more bytes for it; nobody waits for room, since it wakes up anyway."""
        refused = []

        class Waker(inside.LaunchSocket):
            def send(self, data, *flags):
                try:
                    return super().send(data, *flags)
                except BlockingIOError:
                    refused.append(data)
                    raise

        with inside.sockets_of_wakers(Waker), self.host_in_steps():
            while not refused:
                inside.wake(self.app)
        self.assertEqual(len(refused), 2, "it was tried once more, at once")
        self.assert_serves(self.app)
