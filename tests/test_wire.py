"""The wire: bytes to arguments and back, fed in every way in which they may arrive.

`verification/fuzz.py` tries arbitrary bytes, cut anywhere.
"""

from __future__ import annotations

import itertools

from Socket_Singleton._host.packet import Foreign, Packet, PacketTooLong, Refused, decode
from Socket_Singleton._packet import NAK, OTHER_SECRET, Answer, Parcel, encode, encode_text

from .support import MAX_PACKET, SilentTestCase

WRONG = "wrong secret"
FOREIGN = "another protocol"


# What a peer sends until it ends its stream, the secret that the host asks for,
# and the result: arguments, None if there is no packet at all, or WRONG.
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
    (b"key\0!\x12\xa4B\0", b"key", ("!\x12\udca4B",)),  # STUN's cookie, in its place in STUN
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


def in_two_pieces(data: bytes) -> list:
    """Return all ways to cut ``data`` in two."""
    return [[data[:n], data[n:]] for n in range(1, len(data))]


def result(chunks, secret=None, hung_up: bool = True):
    """Return what a host makes of ``chunks``: arguments, None or WRONG."""
    packet = Packet(secret)
    try:
        for chunk in chunks:
            packet.feed(chunk)
        whole = packet.end(hung_up)
    except Refused as refusal:
        return WRONG if refusal.reason == OTHER_SECRET else refusal.reason
    except Foreign:
        return FOREIGN
    return decode(packet.words) if whole else None


class TestWire(SilentTestCase):
    # -- the table, in every way in which it may arrive --

    def test_whole(self):
        for data, secret, expected in CASES:
            with self.subTest(data=data, secret=secret):
                self.assertEqual(result(whole(data), secret), expected)

    def test_byte_by_byte(self):
        for data, secret, expected in CASES:
            with self.subTest(data=data, secret=secret):
                self.assertEqual(result(byte_by_byte(data), secret), expected)

    def test_in_two_pieces(self):
        for data, secret, expected in CASES:
            for pieces in in_two_pieces(data):
                with self.subTest(pieces=pieces, secret=secret):
                    self.assertEqual(result(pieces, secret), expected)

    def test_without_the_terminator(self):
        """A 2.0.0 launch may leave it out; the end of the stream then ends the last argument."""
        for data, secret, expected in CASES:
            # If the last argument is empty, it consists only of its terminator.
            if expected in (None, WRONG) or not expected or not expected[-1]:
                continue
            for feed in (whole, byte_by_byte):
                with self.subTest(data=data[:-1], secret=secret):
                    self.assertEqual(result(feed(data[:-1]), secret), expected)
        for data, expected in ((b"a\0", ("a",)), (b"a\0\0", ("a", "")), (b"key", ()), (b"key\0", ())):
            secret = b"key" if data.startswith(b"key") else None
            self.assertEqual(result([data], secret), expected)

    def test_with_trailing_data(self):
        """Only the stream has an end: whatever follows a terminator is another argument."""
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
            # Data that is merely too short may still become the right secret.
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

    def test_wrong_secret_is_detected_as_soon_as_the_right_one_could_be_complete(self):
        for data, secret, expected in CASES:
            if expected != WRONG:
                continue
            with self.subTest(data=data, secret=secret):
                packet, fed = Packet(secret), 0
                try:
                    for byte in byte_by_byte(data + b"x" * 100):
                        fed += 1
                        packet.feed(byte)
                except Refused:
                    pass
                # What may be a web page or STUN is read until that is certain.
                certain = 10 if b"\0" in data else 33
                self.assertLessEqual(fed, max(len(secret) + 1, data.find(b"\0") + 1, certain))

    def test_wrong_secret_is_never_kept(self):
        for data in (b"wrong\0word\0", b"x" * 1_000_000):
            packet = Packet(b"right")
            with self.assertRaises(Refused):
                packet.feed(data)

    def test_prefix_of_the_secret_is_refused_at_the_end_of_the_stream(self):
        for data in (b"r", b"righ", b"\0", b"righ\0"):
            with self.subTest(data=data):
                packet = Packet(b"right")
                packet.feed(data)
                with self.assertRaises(Refused):
                    packet.end()

    def test_secret_is_not_an_argument(self):
        packet = Packet(b"key")
        packet.feed(b"key\0a")
        self.assertTrue(packet.end())
        self.assertEqual(packet.words, b"a\0")

    # -- limits --

    def fed(self, data: bytes, secret=None, size: int = 65536):
        packet = Packet(secret)
        for start in range(0, len(data), size):
            packet.feed(data[start : start + size])
        self.assertTrue(packet.end())
        return packet.words

    def test_packet_of_exactly_the_limit(self):
        data = b"x" * (MAX_PACKET - 1) + b"\0"
        for size in (65536, 65537, MAX_PACKET):
            self.assertEqual(self.fed(data, size=size), data)

    def test_one_byte_more_than_the_limit(self):
        data = b"x" * MAX_PACKET + b"\0"
        for size in (65536, 65537, MAX_PACKET, MAX_PACKET + 1):
            with self.assertRaises(PacketTooLong):
                self.fed(data, size=size)

    def test_limit_includes_the_secret_however_it_is_fed(self):
        data = b"key\0" + b"x" * (MAX_PACKET - 5) + b"\0"
        for size in (4096, 65536, MAX_PACKET + 1):
            with self.subTest(size=size):
                self.assertEqual(len(self.fed(data, b"key", size)), MAX_PACKET - 4)
                with self.assertRaises(PacketTooLong):
                    self.fed(data + b"\0", b"key", size)

    def test_encode_up_to_the_limit(self):
        self.assertEqual(len(encode(["x" * (MAX_PACKET - 1)])), MAX_PACKET)
        for argv, secret in (
            (["x" * MAX_PACKET], None),
            (["x" * (MAX_PACKET - 4)], b"key"),
            (["\u00e9" * (MAX_PACKET // 2)], None),
        ):
            with self.assertRaisesRegex(ValueError, f"the limit is {MAX_PACKET}"):
                encode(argv, secret)

    # -- encode --

    def test_encode(self):
        for argv, secret, expected in (
            ([], None, b""),
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
        for secret in (None, b"key"):
            for argv in ([], [""]):
                sent = Parcel(encode(argv, secret)).open(None)
                self.assertEqual(result([sent], secret), ())

    def test_encode_refuses_what_cannot_be_sent(self):
        for argv, kind, text in (
            (["a", 5], TypeError, "argv[1] must be a str, not int"),
            ([b"a"], TypeError, "argv[0] must be a str, not bytes"),
            ([None], TypeError, "argv[0] must be a str, not NoneType"),
            (["a", "b", "c\0d"], ValueError, "argv[2] must not contain a NUL character"),
        ):
            with self.subTest(argv=argv), self.assertRaises(kind) as caught:
                encode(argv)
            self.assertEqual(str(caught.exception), text)
        # These stand for no byte (PEP 383 uses U+DC80 to U+DCFF).
        for lone in ("\ud800", "a\udfff", "\udc7f", "\udd00"):
            with self.assertRaises(UnicodeEncodeError):
                encode([lone])
        with self.assertRaisesRegex(ValueError, "^secret must not contain a NUL character$"):
            encode_text("secret", "a\0b")

    def test_refusal_in_two_pieces(self):
        launch = Parcel(b"word\0")
        launch.feed(NAK)
        self.assertIsNone(launch.found)
        launch.feed(OTHER_SECRET)
        self.assertEqual((launch.found, launch.seen), (Answer.REJECTED, "it has another secret"))
