"""The wire: bytes to arguments and back, fed in every way they may arrive; and between real sockets."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._platform import close_resets
from Socket_Singleton._wire import (
    ACK,
    MAX_PACKET,
    Packet,
    PacketTooLong,
    WrongSecret,
    decode,
    encode,
    encode_text,
)

from .support import PATIENCE, Collector, SingletonTestCase, read_to_end

WRONG = "wrong secret"

# What a peer sends until it ends its stream, the secret that the host asks for,
# and what it comes to: arguments, None for no packet at all, or WRONG.
CASES = (
    (b"", None, None),
    (b"\0", None, ()),
    (b"a\0", None, ("a",)),
    (b"a\0b\0", None, ("a", "b")),
    (b"a\0\0", None, ("a", "")),
    (b"\0a\0", None, ("", "a")),
    (b"\0\0", None, ("", "")),
    (b"\0\0a\0\0\0", None, ("", "", "a", "", "")),
    (b"two words\0--x=1\0", None, ("two words", "--x=1")),
    (b"\n\r\n\t \0\x06\0\x1b[0m\0", None, ("\n\r\n\t ", "\x06", "\x1b[0m")),
    ("caf\u00e9\0\u05d0\u200f\0\U0001f600\0".encode(), None, ("caf\u00e9", "\u05d0\u200f", "\U0001f600")),
    (b"\xff\xfe\0caf\xe9\0", None, ("\udcff\udcfe", "caf\udce9")),
    (b"\xed\xa0\x80\0", None, ("\udced\udca0\udc80",)),
    (b"cut\xf0\x9f\0", None, ("cut\udcf0\udc9f",)),
    (b"\xc0\x80\0", None, ("\udcc0\udc80",)),
    (b"", b"key", None),
    (b"key\0", b"key", ()),
    (b"key\0\0", b"key", ()),
    (b"key\0a\0", b"key", ("a",)),
    (b"key\0a\0\0b\0", b"key", ("a", "", "b")),
    (b"key\0\0a\0", b"key", ("", "a")),
    (b"key\0key\0", b"key", ("key",)),
    ("cl\u00e9\0\u00e9\0".encode(), "cl\u00e9".encode(), ("\u00e9",)),
    (b"\xff\xfe\0a\0", b"\xff\xfe", ("a",)),
    (b"\0", b"key", WRONG),
    (b"\0\0\0\0\0", b"key", WRONG),
    (b"kez\0a\0", b"key", WRONG),
    (b"Key\0a\0", b"key", WRONG),
    (b"ke\0a\0", b"key", WRONG),
    (b"k", b"key", WRONG),
    (b"ke", b"key", WRONG),
    (b"keyx\0a\0", b"key", WRONG),
    (b"key2\0", b"key", WRONG),
    (b"keyx", b"key", WRONG),
    (b"k\0ey\0", b"key", WRONG),
    (b"\0key\0", b"key", WRONG),
    (b"a much longer one\0a\0", b"key", WRONG),
    (b"a\0b\0", "cl\u00e9".encode(), WRONG),
    ("cle\u0301\0a\0".encode(), "cl\u00e9".encode(), WRONG),
    ("\u00e9\0".encode("latin-1"), "\u00e9".encode(), WRONG),
)


def whole(data: bytes) -> list:
    return [data] if data else []


def byte_by_byte(data: bytes) -> list:
    return [data[n : n + 1] for n in range(len(data))]


def split(data: bytes, rng: random.Random) -> list:
    cuts = sorted({rng.randrange(len(data) + 1) for _ in range(rng.randrange(6))} | {0, len(data)})
    return [data[a:b] for a, b in zip(cuts, cuts[1:])]


def result(chunks, secret=None, hung_up: bool = True):
    """Return what a host makes of ``chunks``: arguments, None or WRONG."""
    packet = Packet(secret)
    try:
        for chunk in chunks:
            packet.feed(chunk)
        payload = packet.end(hung_up)
    except WrongSecret:
        return WRONG
    return None if payload is None else decode(payload)


def seed() -> int:
    """Return a seed; what is made with it shows it when it fails."""
    return random.SystemRandom().randrange(2**32)


class TestWire(SingletonTestCase):
    # -- the table, in every way it may arrive --

    def test_whole(self):
        for data, secret, expected in CASES:
            with self.subTest(data=data, secret=secret):
                self.assertEqual(result(whole(data), secret), expected)

    def test_byte_by_byte(self):
        for data, secret, expected in CASES:
            with self.subTest(data=data, secret=secret):
                self.assertEqual(result(byte_by_byte(data), secret), expected)

    def test_in_random_pieces(self):
        number = seed()
        rng = random.Random(number)
        for _ in range(50):
            for data, secret, expected in CASES:
                pieces = split(data, rng)
                with self.subTest(seed=number, pieces=pieces, secret=secret):
                    self.assertEqual(result(pieces, secret), expected)

    def test_without_the_terminator(self):
        """A 2.0.0 launch may leave it out; what ends the stream ends the last argument."""
        for data, secret, expected in CASES:
            # Where the last argument is empty, its terminator is all there is of it.
            if expected in (None, WRONG) or not expected or not expected[-1]:
                continue
            for feed in (whole, byte_by_byte):
                with self.subTest(data=data[:-1], secret=secret):
                    self.assertEqual(result(feed(data[:-1]), secret), expected)
        for data, expected in ((b"a\0", ("a",)), (b"a\0\0", ("a", "")), (b"key", ()), (b"key\0", ())):
            secret = b"key" if data.startswith(b"key") else None
            self.assertEqual(result([data], secret), expected)

    def test_with_trailing_data(self):
        """There is no end but that of the stream: what follows a terminator is more arguments."""
        for data, secret, expected in CASES:
            if expected in (None, WRONG):
                continue
            words = () if expected == () and data in (b"\0", b"key\0") else expected
            for trailing, more in ((b"x", ("x",)), (b"x\0", ("x",)), (b"x\0y\0", ("x", "y"))):
                # A lone NUL without a secret is an empty argument, once something follows.
                before = ("",) if data in (b"\0", b"key\0\0") else words
                for feed in (whole, byte_by_byte):
                    with self.subTest(data=data + trailing, secret=secret):
                        self.assertEqual(result(feed(data + trailing), secret), before + more)

    def test_trailing_data_after_a_wrong_secret_changes_nothing(self):
        for data, secret, expected in CASES:
            # What is only too short may yet become the right one.
            if expected != WRONG or secret.startswith(data):
                continue
            for feed, trailing in itertools.product(
                (whole, byte_by_byte), (b"\0", secret + b"\0", b"x" * 50)
            ):
                with self.subTest(data=data + trailing, secret=secret):
                    self.assertEqual(result(feed(data + trailing), secret), WRONG)

    # -- the end of a packet whose peer does not hang up --

    def test_silent_peer_counts_if_what_it_sent_ends_in_nul(self):
        for data, secret, expected in CASES:
            for feed in (whole, byte_by_byte):
                with self.subTest(data=data, secret=secret):
                    got = result(feed(data), secret, hung_up=False)
                    if data.endswith(b"\0") or not data:
                        self.assertEqual(got, expected)
                    elif expected == WRONG:
                        self.assertIn(got, (WRONG, None))
                    else:
                        self.assertIsNone(got)

    def test_silent_peer_in_the_middle_of_a_word(self):
        for data, secret in (
            (b"a", None),
            (b"a\0b", None),
            (b"key", b"key"),
            (b"ke", b"key"),
            (b"key\0a", b"key"),
        ):
            with self.subTest(data=data, secret=secret):
                self.assertIsNone(result([data], secret, hung_up=False))

    # -- secrets --

    def test_wrong_secret_is_judged_as_soon_as_the_right_one_could_be_there(self):
        for data, secret, expected in CASES:
            if expected != WRONG:
                continue
            with self.subTest(data=data, secret=secret):
                packet, fed = Packet(secret), 0
                try:
                    for byte in byte_by_byte(data + b"x" * 100):
                        fed += 1
                        packet.feed(byte)
                except WrongSecret:
                    pass
                self.assertLessEqual(fed, len(secret) + 1)

    def test_wrong_secret_is_never_kept(self):
        for data in (b"wrong\0", b"x" * 1_000_000):
            packet = Packet(b"right")
            with self.assertRaises(WrongSecret):
                packet.feed(data)

    def test_prefix_of_the_secret_is_judged_at_the_end_of_the_stream(self):
        for data in (b"r", b"righ", b"\0", b"righ\0"):
            with self.subTest(data=data):
                packet = Packet(b"right")
                packet.feed(data)
                with self.assertRaises(WrongSecret):
                    packet.end()

    def test_secret_is_no_argument(self):
        packet = Packet(b"key")
        packet.feed(b"key\0a")
        self.assertEqual(packet.end(), b"a")

    # -- limits --

    def fed(self, data: bytes, secret=None, size: int = 65536):
        packet = Packet(secret)
        for start in range(0, len(data), size):
            packet.feed(data[start : start + size])
        return packet.end()

    def test_packet_of_exactly_the_limit(self):
        data = b"x" * (MAX_PACKET - 1) + b"\0"
        for size in (65536, 65537, MAX_PACKET):
            self.assertEqual(self.fed(data, size=size), data[:-1])

    def test_one_byte_more_than_the_limit(self):
        data = b"x" * MAX_PACKET + b"\0"
        for size in (65536, 65537, MAX_PACKET, MAX_PACKET + 1):
            with self.assertRaises(PacketTooLong):
                self.fed(data, size=size)

    def test_limit_includes_the_secret_however_it_is_fed(self):
        data = b"key\0" + b"x" * (MAX_PACKET - 5) + b"\0"
        for size in (4096, 65536, MAX_PACKET + 1):
            with self.subTest(size=size):
                self.assertEqual(len(self.fed(data, b"key", size)), MAX_PACKET - 5)
                with self.assertRaises(PacketTooLong):
                    self.fed(data + b"\0", b"key", size)

    def test_encode_up_to_the_limit(self):
        self.assertEqual(len(encode(["x" * (MAX_PACKET - 1)])), MAX_PACKET)
        for argv, secret in (
            (["x" * MAX_PACKET], None),
            (["x" * (MAX_PACKET - 4)], b"key"),
            (["\u00e9" * (MAX_PACKET // 2)], None),
        ):
            with self.assertRaisesRegex(ValueError, f"a packet holds {MAX_PACKET}"):
                encode(argv, secret)

    # -- encode --

    def test_encode(self):
        for argv, secret, expected in (
            ([], None, b"\0"),
            (["a"], None, b"a\0"),
            (["a", "b c"], None, b"a\0b c\0"),
            (["", "a", ""], None, b"\0a\0\0"),
            (["\u00e9", "\udcff"], None, b"\xc3\xa9\0\xff\0"),
            ([], b"key", b"key\0"),
            (["a"], b"key", b"key\0a\0"),
            (("a", "b"), b"key", b"key\0a\0b\0"),
        ):
            with self.subTest(argv=argv, secret=secret):
                self.assertEqual(encode(argv, secret), expected)

    def test_the_one_case_that_the_wire_cannot_carry(self):
        self.assertEqual(encode([""]), encode([]))
        for secret in (None, b"key"):
            self.assertEqual(result([encode([""], secret)], secret), ())
            self.assertEqual(result([encode([], secret)], secret), ())

    def test_encode_refuses_what_cannot_travel(self):
        for argv, kind, text in (
            (["a", 5], TypeError, "argument 2 must be a str, not int"),
            ([b"a"], TypeError, "argument 1 must be a str, not bytes"),
            ([None], TypeError, "argument 1 must be a str, not NoneType"),
            (["a", "b", "c\0d"], ValueError, "argument 3 must not contain a NUL character"),
        ):
            with self.subTest(argv=argv), self.assertRaises(kind) as caught:
                encode(argv)
            self.assertEqual(str(caught.exception), text)
        # Stands for no byte (PEP 383 uses U+DC80 to U+DCFF).
        for lone in ("\ud800", "a\udfff", "\udc7f", "\udd00"):
            with self.assertRaises(UnicodeEncodeError):
                encode([lone])
        with self.assertRaisesRegex(ValueError, "^secret must not contain a NUL character$"):
            encode_text("secret", "a\0b")

    # -- random --

    def test_random_round_trips(self):
        number = seed()
        rng = random.Random(number)
        alphabets = (
            lambda: chr(rng.randrange(1, 128)).encode(),
            lambda: bytes([rng.randrange(1, 256)]),
            lambda: rng.choice("\u00e9\u05d0\u200f\uffff\U0001f600\U0010ffff\n\x06 ").encode(),
        )
        for _ in range(2000):
            make = rng.choice(alphabets)
            argv = [
                b"".join(make() for _ in range(rng.randrange(8))).decode("utf-8", "surrogateescape")
                for _ in range(rng.randrange(6))
            ]
            secret = rng.choice((None, b"key", "cl\u00e9".encode(), bytes([rng.randrange(1, 256)]) * 3))
            data = encode(argv, secret)
            pieces = rng.choice((whole(data), byte_by_byte(data), split(data, rng)))
            with self.subTest(seed=number, argv=argv, secret=secret, pieces=pieces):
                self.assertEqual(result(pieces, secret), () if argv == [""] else tuple(argv))
                self.assertEqual(result(pieces, secret, hung_up=False), () if argv == [""] else tuple(argv))

    def test_random_bytes_are_the_same_however_they_come(self):
        number = seed()
        rng = random.Random(number)
        for _ in range(2000):
            data = bytes(rng.choice(b"\0\0key\x06\xc3\xa9\xff") for _ in range(rng.randrange(12)))
            for secret in (None, b"key"):
                with self.subTest(seed=number, data=data, secret=secret):
                    expected = result(whole(data), secret)
                    self.assertEqual(result(byte_by_byte(data), secret), expected)
                    self.assertEqual(result(split(data, rng), secret), expected)
                    if secret is None and data:
                        text = data[:-1] if data.endswith(b"\0") else data
                        self.assertEqual("\0".join(expected).encode("utf-8", "surrogateescape"), text)

    # -- a second launch, and a plain socket for a host --

    def packet_of(self, *args: str, answer: bytes = ACK, **options) -> tuple:
        """Return what a second launch sends to whoever answers it with ``answer``, and its error."""
        received = []

        def serve():
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(PATIENCE)
                    received.append(read_to_end(peer))
                    peer.sendall(answer)

        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(5)
            listener.settimeout(PATIENCE)
            server = threading.Thread(target=serve)
            server.start()
            error = self.second_launch(*args, **options)
            server.join(PATIENCE)
            self.assertFalse(server.is_alive())
            listener.setblocking(False)
            with self.assertRaises(BlockingIOError):
                listener.accept()  # it came once
        return (*received, error)

    def test_bytes_of_a_second_launch(self):
        for args, secret, expected in (
            ((), None, b"\0"),
            (("a",), None, b"a\0"),
            (("foo", "", "b\u00e4r\n", "\udcff"), None, b"foo\0\0b\xc3\xa4r\n\0\xff\0"),
            ((), "key", b"key\0"),
            (("a", "b"), "cl\u00e9", b"cl\xc3\xa9\0a\0b\0"),
            (("a",), "", b"a\0"),
        ):
            with self.subTest(args=args, secret=secret):
                data, error = self.packet_of(*args, secret=secret)
                self.assertEqual(data, expected)
                self.assertIs(error.delivered, True)

    def test_launch_ignores_what_follows_the_ack(self):
        for more in (b"\x06", b"later", b"\0" * 100_000):
            with self.subTest(more=more[:5]):
                _, error = self.packet_of("a", answer=ACK + more)
                self.assertIs(error.delivered, True)

    def test_launch_takes_an_end_without_ack_for_a_host_of_2_0_0(self):
        data, error = self.packet_of("a", answer=b"")
        self.assertEqual(data, b"a\0")
        self.assertIsNone(error.delivered)
        self.assertIn("already bound & listening", str(error))

    def test_launch_takes_other_bytes_for_a_stranger(self):
        for answer in (b"\x15", b"later\x06", b"\0\x06"):
            with self.subTest(answer=answer):
                _, error = self.packet_of("a", answer=answer)
                self.assertIs(error.delivered, False)
                self.assertIn(repr(answer), str(error))

    # -- a host, and a plain socket for a launch --

    def test_table_through_a_host(self):
        """Whole and in two pieces; the answer is one ACK and an orderly end, or only that."""
        number = seed()
        rng = random.Random(number)
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
                with self.subTest(seed=number, data=data, secret=secret):
                    answer = b"" if expected in (None, WRONG) else ACK
                    self.assertEqual(self.exchange(data), answer)
                    with self.connect() as peer:
                        cut = rng.randrange(len(data) + 1)
                        for piece in filter(None, (data[:cut], data[cut:])):
                            peer.sendall(piece)
                        peer.shutdown(socket.SHUT_WR)
                        self.assertEqual(read_to_end(peer), answer)
            observer.wait_for(*delivered)
            self.assertEqual(app.clients, clients)
            app.release()

    def test_answer_to_a_wrong_secret_is_an_orderly_end_before_the_peer_ends(self):
        self.singleton(secret="right")
        peer = self.connect()
        peer.sendall(b"wrong\0")
        peer.settimeout(PATIENCE)
        self.assertEqual(peer.recv(1), b"")  # the peer has not hung up

    def test_no_answer_before_the_peer_ends_its_stream(self):
        app = self.singleton()
        peer = self.connect()
        peer.sendall(b"a\0")
        # Another whole exchange: by its end the host has long seen the first bytes.
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
        """As a launch of 2.0.0: it sends, hangs up and never reads."""
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as peer:
            peer.sendall(b"old\0")
        observer.wait_for(("old",))

    def test_packet_that_ends_in_a_reset_is_not_owned(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        peer = self.connect()
        peer.sendall(b"half a pack")
        close_resets(peer)
        peer.close()
        self.assertEqual(self.exchange(b"whole\0"), ACK)
        observer.wait_for(("whole",))
        self.assertEqual(app.clients, 1)

    def test_secret_that_only_one_side_has(self):
        app = self.singleton()
        # Without a secret of its own the host cannot know that it is one: an argument, as in 2.0.0.
        self.assertIs(self.second_launch("a", secret="key").delivered, True)
        self.assertEqual(app.arguments, (("key", "a"),))
        app.release()
        app = self.singleton(secret="key")
        self.assertIsNone(self.second_launch("a").delivered)
        self.assertEqual((app.clients, app.arguments), (1, ()))
