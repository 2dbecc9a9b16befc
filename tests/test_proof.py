"""Both sides of a conversation with a name, without sockets: fed in every way it may arrive."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import re
import sys
import unittest
from contextlib import contextmanager
from unittest import mock

from Socket_Singleton._proof import NONCE_SIZE, PROOF_SIZE, HostSide, Identity, LaunchSide, place_bytes
from Socket_Singleton._wire import (
    HELLO,
    LONGEST_LINE,
    NAK,
    NEEDS_A_NAME,
    NEEDS_NO_NAME,
    NO_PROOF,
    Answer,
    Foreign,
    Packet,
    PacketTooLong,
    Refused,
    decode,
    encode,
)

from .support import ACK, MAX_PACKET, ROOT, inside
from .test_wire import byte_by_byte, seed, split, whole

WIRE_PAGE = ROOT / "docs" / "wire.md"

EDITOR = Identity(b"org.example.editor", bytes(range(32)))
PLACE = ("127.0.0.1", 14172)
WORDS = ("open", "two words", "", "\u00e9\udcff\n")

HOST_HELLO_SIZE = 1 + NONCE_SIZE + 4 + PROOF_SIZE
CLAIM_SIZE = 1 + 4 + PROOF_SIZE + PROOF_SIZE


def launch(identity=EDITOR, place=PLACE, argv=WORDS, asks=False):
    """Return the side of a launch, and its hello."""
    side = LaunchSide(identity, None if argv is None else encode(argv), asks)
    return side, side.open(place)


def fed(side, pieces) -> bytes:
    """Feed ``side``; return what it says to that."""
    return b"".join(side.feed(piece) for piece in pieces)


def in_long_pieces(data: bytes) -> list:
    return [data[start : start + 65536] for start in range(0, len(data), 65536)]


def conversation(host, launch_side, hello, cut=whole) -> bytes:
    """Have both sides say all that they have to say; return what the launch said in its second turn."""
    answer = fed(host, cut(hello))
    claim = fed(launch_side, cut(answer))
    fed(host, cut(claim))
    return claim


def refusal(side: HostSide, pieces, end: bool = False):
    """Return why ``side`` refuses what it is fed: a reason, or the class of an error; None if it does not."""
    try:
        fed(side, pieces)
        if end:
            side.end()
    except Refused as refused:
        return refused.reason
    except (Foreign, PacketTooLong) as error:
        return type(error)
    return None


@contextmanager
def fixed(pid: int, *nonces: bytes):
    """Have the next nonces, and this process's id, be these."""
    given = list(nonces)
    with mock.patch.object(os, "urandom", lambda size: given.pop(0)), mock.patch.object(
        os, "getpid", lambda: pid
    ):
        yield


class TestProof(unittest.TestCase):
    # -- what goes well --

    def test_whole_byte_by_byte_and_in_random_pieces(self):
        number = seed()
        rng = random.Random(number)
        cuts = [whole, byte_by_byte, *[lambda data: split(data, rng)] * 50]
        for cut in cuts:
            for argv in ((), ("",), ("a",), WORDS):
                with self.subTest(seed=number, cut=cut, argv=argv):
                    host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=argv)
                    conversation(host, side, hello, cut)
                    self.assertEqual(decode(host.words), argv)
                    self.assertTrue(host.proved)
                    self.assertEqual((side.pid, side.found, side.committed), (os.getpid(), None, True))
                    fed(side, cut(ACK))
                    self.assertEqual(side.found, Answer.OWNED)

    def test_launch_says_whether_it_asks(self):
        for asks in (True, False):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=asks)
            conversation(host, side, hello)
            self.assertIs(host.asks, asks)

    def test_answers_byte_by_byte(self):
        frames = (b"\0\0\0\0\0", b"\1\0\0\0\1\7", b"\2\0\0\0\2hi", b"\3\0\0\0\0")
        for cut in (whole, byte_by_byte):
            for frame in frames:
                with self.subTest(frame=frame, cut=cut):
                    host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=True)
                    conversation(host, side, hello)
                    fed(side, cut(ACK + frame[:-1]))
                    self.assertEqual((side.found, side.owned), (None, True))
                    side.feed(frame[-1:])
                    self.assertEqual((side.found, side.answer), (Answer.OWNED, (frame[0], frame[5:])))

    def test_end_while_it_waits(self):
        for said, found in ((b"", Answer.SILENT), (ACK, Answer.LOST), (ACK + b"\2\0\0\0\2h", Answer.LOST)):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=True)
            conversation(host, side, hello)
            fed(side, [*byte_by_byte(said), b""])
            self.assertEqual(side.found, found)

    def test_question_says_no_more_once_it_is_answered(self):
        host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=None)
        self.assertEqual(side.feed(host.feed(hello)), b"")
        self.assertEqual((side.found, side.pid, side.committed), (Answer.FOUND, os.getpid(), False))
        self.assertFalse(host.end())
        self.assertIsNone(host.words)

    def test_longest_packet(self):
        argv = ("x" * (MAX_PACKET - 1),)
        host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=argv)
        conversation(host, side, hello, in_long_pieces)
        self.assertEqual(decode(host.words), argv)

    def test_packet_that_does_not_end_in_a_nul(self):
        """A launch of this version ends it so; another program may not."""
        for packet, words in ((b"open\0a file", ("open", "a file")), (b"x", ("x",)), (b"", ())):
            host, side = HostSide(EDITOR, PLACE), LaunchSide(EDITOR, packet)
            conversation(host, side, side.open(PLACE))
            self.assertEqual(decode(host.words), words)

    def test_without_the_module_of_blake2(self):
        """`_blake2` is an implementation module; where it is missing, `hashlib` has the same."""
        spec = importlib.util.find_spec("Socket_Singleton._proof")
        other = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, {"_blake2": None}):
            spec.loader.exec_module(other)
        self.assertIs(other.blake2b, hashlib.blake2b)
        host, (side, hello) = other.HostSide(EDITOR, PLACE), launch()
        conversation(host, side, hello)
        self.assertEqual(decode(host.words), WORDS)

    def test_place_has_one_form(self):
        for name, expected in (
            (("127.0.0.1", 5), b"127.0.0.1 5"),
            (("::1", 5, 0, 0), b"::1 5"),
            (("::ffff:127.0.0.1", 5, 0, 0), b"127.0.0.1 5"),
            (("fe80::1%eth0", 5, 0, 2), b"fe80::1 5"),
        ):
            self.assertEqual(place_bytes(name), expected)

    # -- who is somebody else --

    def strangers(self):
        """Yield who is not the same as `EDITOR` at `PLACE`, and where it is."""
        yield Identity(EDITOR.name, bytes(32)), PLACE
        yield Identity(EDITOR.name, EDITOR.key[:-1] + b"\0"), PLACE
        yield Identity(b"org.example.Editor", EDITOR.key), PLACE
        yield Identity(EDITOR.name + b" ", EDITOR.key), PLACE
        yield EDITOR, ("127.0.0.1", 14173)
        yield EDITOR, ("127.0.0.2", 14172)
        yield EDITOR, ("::1", 14172)

    def test_host_that_is_another_one_gets_nothing(self):
        for identity, place in self.strangers():
            for cut in (whole, byte_by_byte):
                with self.subTest(name=identity.name, place=place):
                    side, hello = launch()
                    self.assertEqual(fed(side, cut(HostSide(identity, place).feed(hello))), b"")
                    self.assertEqual((side.found, side.pid), (Answer.FOREIGN, None))
                    self.assertIn("did not prove", side.seen)

    def test_launch_that_is_another_one_is_refused(self):
        """Even if it takes no notice of the host's proof."""
        for identity, place in self.strangers():
            with self.subTest(name=identity.name, place=place):
                host, (side, hello) = HostSide(EDITOR, PLACE), launch(identity, place)
                answer = host.feed(hello)
                said = hello + answer[:-PROOF_SIZE]
                answer = answer[:-PROOF_SIZE] + identity.prove(b"host\0", said, place_bytes(place))
                claim = side.feed(answer)
                self.assertGreater(len(claim), CLAIM_SIZE)
                self.assertEqual(refusal(host, [claim]), NO_PROOF)
                self.assertIsNone(host.words)

    def test_echo(self):
        """The launch's own words, and the host's, prove nothing when they are sent back."""
        side, hello = launch()
        side.feed(hello)
        self.assertEqual(side.found, Answer.FOREIGN)
        host = HostSide(EDITOR, PLACE)
        answer = host.feed(launch()[1])
        for claim in (answer, answer[-CLAIM_SIZE:], answer[:CLAIM_SIZE], bytes(CLAIM_SIZE)):
            host = HostSide(EDITOR, PLACE)
            host.feed(launch()[1])
            self.assertEqual(refusal(host, [claim]), NO_PROOF)

    def test_two_hosts_prove_nothing_to_each_other(self):
        """A host's proof, sent on to another host as that of a launch."""
        first, second = HostSide(EDITOR, PLACE), HostSide(EDITOR, PLACE)
        hello = launch()[1]
        first.feed(hello)
        proof = second.feed(hello)[-PROOF_SIZE:]
        self.assertEqual(refusal(first, [bytes(CLAIM_SIZE - PROOF_SIZE) + proof]), NO_PROOF)

    def test_replay(self):
        host, (side, hello) = HostSide(EDITOR, PLACE), launch()
        answer = host.feed(hello)
        claim = side.feed(answer)
        host.feed(claim)
        self.assertEqual(decode(host.words), WORDS)
        again = HostSide(EDITOR, PLACE)
        self.assertNotEqual(again.feed(hello), answer)
        self.assertEqual(refusal(again, [claim]), NO_PROOF)
        other, _ = launch()
        self.assertEqual(other.feed(answer), b"")
        self.assertEqual(other.found, Answer.FOREIGN)

    def test_each_bit_counts(self):
        """Of what is said, none can be changed on its way."""
        hello_size = len(HELLO) + NONCE_SIZE
        rng = random.Random(seed())
        for turn, size in ((0, hello_size), (1, HOST_HELLO_SIZE), (2, CLAIM_SIZE + len(encode(WORDS)))):
            for place in range(len(HELLO) if turn == 0 else 0, size):
                bit = 1 << rng.randrange(8)

                def changed(data, now, turn=turn, place=place, bit=bit):
                    if now != turn:
                        return data
                    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]

                host, (side, hello) = HostSide(EDITOR, PLACE), launch()
                claim = side.feed(changed(host.feed(changed(hello, 0)), 1))
                if turn < 2:
                    self.assertEqual((claim, side.found), (b"", Answer.FOREIGN), (turn, place))
                else:
                    self.assertEqual(refusal(host, [changed(claim, 2)]), NO_PROOF, place)
                self.assertIsNone(host.words)

    def test_truncated(self):
        host, (side, hello) = HostSide(EDITOR, PLACE), launch()
        answer = host.feed(hello)
        claim = side.feed(answer)
        for size in range(1, len(HELLO) + NONCE_SIZE):
            with self.subTest(hello=size):
                self.assertEqual(refusal(HostSide(EDITOR, PLACE), [hello[:size]], end=True), NEEDS_A_NAME)
        for size in range(HOST_HELLO_SIZE):
            with self.subTest(answer=size):
                other, _ = launch()
                self.assertEqual(fed(other, [answer[:size], b""] if size else [b""]), b"")
                self.assertEqual(other.found, Answer.FOREIGN)
        for size in range(len(claim)):
            with self.subTest(claim=size):
                with fixed(os.getpid(), answer[1 : 1 + NONCE_SIZE]):
                    host = HostSide(EDITOR, PLACE)
                    self.assertEqual(host.feed(hello), answer)
                self.assertIsNone(refusal(host, [claim[:size]]))
                self.assertFalse(host.end())
                self.assertIsNone(host.words)

    def test_trailing_data(self):
        for trailing in (b"x", b"\0", b"x" * 100_000):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch()
            claim = side.feed(host.feed(hello))
            self.assertIs(refusal(host, [claim + trailing]), PacketTooLong)
            other, hello = launch()
            answer = HostSide(EDITOR, PLACE).feed(hello)
            self.assertEqual(other.feed(answer + trailing), b"")
            self.assertEqual(other.found, Answer.FOREIGN)

    def test_claim_of_too_much(self):
        host, side = HostSide(EDITOR, PLACE), LaunchSide(EDITOR, bytes(MAX_PACKET + 1))
        hello = side.open(PLACE)
        claim = side.feed(host.feed(hello))
        self.assertIs(refusal(host, [claim[:CLAIM_SIZE]]), PacketTooLong)
        self.assertFalse(host.proved)

    # -- who is no launch with a name --

    def test_packets_without_a_name(self):
        for packet in (b"\0", b"a\0", b"a", b"key\0a\0", b"open\0my file\0", b"H\0", b"HELLO\0", b"x" * 9):
            for cut in (whole, byte_by_byte):
                with self.subTest(packet=packet, cut=cut):
                    self.assertEqual(refusal(HostSide(EDITOR, PLACE), cut(packet), end=True), NEEDS_A_NAME)

    def test_packet_without_a_name_is_refused_as_soon_as_it_is_one(self):
        self.assertEqual(refusal(HostSide(EDITOR, PLACE), [b"open\0my file"]), NEEDS_A_NAME)
        self.assertEqual(refusal(HostSide(EDITOR, PLACE), [b"x" * (LONGEST_LINE + 1)]), NEEDS_A_NAME)

    def test_other_protocols(self):
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"POST /a\0b HTTP/1.0\r\n"[:6] + b" HTTP/1.0\r\n",
            b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HELLO / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01" + bytes(20),
            b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12),
            b"\0\x14\0\1\0\0\x21\x12\xa4\x42" + bytes(12),
        ):
            for cut in (whole, byte_by_byte):
                with self.subTest(data=data, cut=cut):
                    self.assertIs(refusal(HostSide(EDITOR, PLACE), cut(data), end=True), Foreign)

    def test_what_begins_like_a_hello_is_the_same_however_it_comes(self):
        """Of both kinds of hosts."""
        number = seed()
        rng = random.Random(number)
        for _ in range(300):
            kept = rng.randrange(len(HELLO))
            data = HELLO[:kept] + rng.choice(
                (b"X HTTP/1.1\r\n\0", b" / HTTP/1.1\r\n", b"\r\n\0 HTTP/1.1\r\n", b"\0\r\n", b"a" * 20)
            )
            for make in (lambda: HostSide(EDITOR, PLACE), Packet):
                expected = refusal(make(), [data], end=True)
                for pieces in (byte_by_byte(data), split(data, rng)):
                    with self.subTest(seed=number, data=data, pieces=pieces):
                        self.assertEqual(refusal(make(), pieces, end=True), expected)

    def test_hello_to_a_host_without_a_name(self):
        hello = launch()[1]
        for secret in (None, b"key", b"HELLO Socket_Singleton/2"):
            for cut in (whole, byte_by_byte):
                self.assertEqual(refusal(Packet(secret), cut(hello)), NEEDS_NO_NAME)

    def test_refusals_in_place_of_a_hello(self):
        """Whoever has not proved itself cannot have a launch end quietly, say by "no more clients"."""
        for said, found in (
            (NAK + NEEDS_NO_NAME, Answer.REJECTED),
            (NAK + b"C", Answer.FOREIGN),
            (NAK + b"S", Answer.FOREIGN),
            (NAK, Answer.FOREIGN),
            (NAK + b"\0" * 200, Answer.FOREIGN),
            (ACK, Answer.FOREIGN),
            (ACK + b"\0\0\0\0\0", Answer.FOREIGN),
            (b"", Answer.FOREIGN),
            (b"220 mail.example ESMTP\r\n", Answer.FOREIGN),
            (b"\1", Answer.FOREIGN),
        ):
            for cut in (whole, byte_by_byte):
                with self.subTest(said=said, cut=cut):
                    side, _ = launch(asks=True)
                    for piece in [*cut(said), b""]:
                        if side.found is None:
                            self.assertEqual(side.feed(piece), b"")
                    self.assertEqual(side.found, found)

    def test_refusals_of_a_host_that_has_proved_itself(self):
        for reason, found in ((b"C", Answer.ENOUGH), (b"W", Answer.REJECTED), (b"P", Answer.REJECTED)):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=True)
            conversation(host, side, hello)
            fed(side, byte_by_byte(NAK + reason))
            self.assertEqual(side.found, found)

    # -- bounds --

    def test_nothing_is_kept_before_the_proof_beyond_the_bounds(self):
        chunk = 16 * 1024
        for data, bound in (
            (b"x" * 1_000_000, LONGEST_LINE),
            (b"GET " + b"x" * 1_000_000, LONGEST_LINE),
            (launch()[1] + b"x" * 1_000_000, CLAIM_SIZE),
        ):
            for size in (1000, chunk):
                host = HostSide(EDITOR, PLACE)
                most = 0
                with self.assertRaises(Refused):
                    for start in range(0, len(data), size):
                        host.feed(data[start : start + size])
                        most = max(most, inside.count_kept(host))
                self.assertLessEqual(most, bound)
                self.assertFalse(host.proved)

    def test_launch_keeps_no_more_than_a_proof(self):
        side, _ = launch()
        side.feed(b"\1" + b"x" * 1_000_000)
        self.assertEqual(side.found, Answer.FOREIGN)
        self.assertLess(len(side.seen), 300)

    # -- the page --

    @unittest.skipUnless(WIRE_PAGE.is_file(), "no docs here")
    def test_conversation_of_the_page(self):
        text = WIRE_PAGE.read_text(encoding="utf-8")
        rows = dict(re.findall(r"^(\w[\w ]*):\n((?:    [0-9a-f ]+\n)+)", text, re.MULTILINE))
        got = {name: bytes.fromhex("".join(row.split())) for name, row in rows.items()}
        identity, place = Identity(b"org.example.editor", got["key"]), ("127.120.88.227", 30078)
        with fixed(4711, got["nonce of the launch"], got["nonce of the host"]):
            host = HostSide(identity, place)
            side, hello = launch(identity, place, ("open", "two words", "\u00e9"), asks=True)
            answer = host.feed(hello)
        claim = side.feed(answer)
        host.feed(claim)
        self.assertEqual(hello, got["hello of the launch"])
        self.assertEqual(answer, got["hello of the host"])
        self.assertEqual(claim, got["claim"] + got["packet"])
        self.assertEqual(decode(host.words), ("open", "two words", "\u00e9"))
        side.feed(got["answer"])
        self.assertEqual((side.found, side.answer), (Answer.OWNED, (2, b"opened")))
