"""Both sides of a conversation with a name, without sockets: fed in every way in which data may arrive.

`verification/fuzz.py` tries what else can happen between them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import sys
import unittest
from contextlib import contextmanager
from unittest import mock

from Socket_Singleton._host.packet import LONGEST_LINE, Foreign, Packet, PacketTooLong, Refused
from Socket_Singleton._host.proof import HostSide, decode_launch
from Socket_Singleton._packet import HELLO, NAK, NEEDS_A_NAME, NEEDS_NO_NAME, NO_PROOF, Answer
from Socket_Singleton._proof import (
    NONCE_SIZE,
    PROOF_SIZE,
    Identity,
    LaunchSide,
    encode_launch,
    place_bytes,
)

from .support import ACK, MAX_PACKET, ROOT, SilentTestCase, inside
from .test_wire import byte_by_byte, in_two_pieces, whole

WIRE_PAGE = ROOT / "docs" / "wire.md"

NETWORK = b"4b2c1a7e-0000-4000-8000-000000000000 net:[4026531840]"
EDITOR = Identity(b"org.example.editor", bytes(range(32)), NETWORK)
PLACE = ("127.0.0.1", 14172)
WORDS = ("open", "two words", "", "\u00e9\udcff\n")

HOST_HELLO_SIZE = 1 + NONCE_SIZE + 4 + PROOF_SIZE
CLAIM_SIZE = 1 + 4 + PROOF_SIZE + PROOF_SIZE


def launch(identity=EDITOR, place=PLACE, argv=WORDS, asks=False):
    """Return the side of a launch, and its hello."""
    packet = None if argv is None else encode_launch(argv)
    side = LaunchSide(identity, packet, (lambda *_: None) if asks else None)
    return side, side.open(place)


def fed(side, pieces) -> bytes:
    """Feed ``side``; return its reply."""
    return b"".join(side.feed(piece) for piece in pieces)


def in_long_pieces(data: bytes) -> list:
    return [data[start : start + 65536] for start in range(0, len(data), 65536)]


def conversation(host, launch_side, hello, cut=whole) -> bytes:
    """Have both sides say everything; return what the launch said in its second turn."""
    answer = fed(host, cut(hello))
    claim = fed(launch_side, cut(answer))
    fed(host, cut(claim))
    return claim


def refusal(side: HostSide, pieces, end: bool = False):
    """Return why ``side`` refuses what it is fed: a reason, the class of an error, or None."""
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
    """Make these the next nonces, and this process's id."""
    given = list(nonces)
    with mock.patch.object(os, "urandom", lambda size: given.pop(0)), mock.patch.object(
        os, "getpid", lambda: pid
    ):
        yield


class TestProof(SilentTestCase):
    # -- what succeeds --

    def test_whole_and_byte_by_byte(self):
        for cut in (whole, byte_by_byte):
            for argv in ((), ("",), ("a",), WORDS):
                with self.subTest(cut=cut, argv=argv):
                    host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=argv)
                    conversation(host, side, hello, cut)
                    self.assertEqual(decode_launch(host.words)[0], argv)
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

    def test_output_is_shown_as_it_arrives(self):
        """Even output from an incomplete frame, however the data is cut."""
        frames = b"\4\0\0\0\4some" + b"\5\0\0\0\0" + b"\5\0\0\0\3bad" + b"\4\0\0\0\3 on" + b"\1\0\0\0\1\7"
        for cut in (whole, byte_by_byte):
            with self.subTest(cut=cut):
                shown = {4: b"", 5: b""}

                def show(kind, data, shown=shown):
                    shown[kind] += data

                host, side = HostSide(EDITOR, PLACE), LaunchSide(EDITOR, encode_launch(WORDS), show)
                conversation(host, side, side.open(PLACE))
                fed(side, cut(ACK + frames[:7]))
                self.assertEqual(shown, {4: b"so", 5: b""})
                fed(side, cut(frames[7:]))
                self.assertEqual(shown, {4: b"some on", 5: b"bad"})
                self.assertEqual((side.found, side.answer), (Answer.OWNED, (1, b"\7")))

    def test_end_while_it_waits(self):
        for said, found in ((b"", Answer.SILENT), (ACK, Answer.LOST), (ACK + b"\2\0\0\0\2h", Answer.LOST)):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=True)
            conversation(host, side, hello)
            fed(side, [*byte_by_byte(said), b""])
            self.assertEqual(side.found, found)

    def test_question_says_nothing_more_once_it_is_answered(self):
        host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=None)
        self.assertEqual(side.feed(host.feed(hello)), b"")
        self.assertEqual((side.found, side.pid, side.committed), (Answer.FOUND, os.getpid(), False))
        self.assertFalse(host.end())
        self.assertIsNone(host.words)

    def test_longest_packet(self):
        argv = ("x" * (MAX_PACKET - len(encode_launch(("",)))),)
        host, (side, hello) = HostSide(EDITOR, PLACE), launch(argv=argv)
        conversation(host, side, hello, in_long_pieces)
        self.assertEqual(decode_launch(host.words)[0], argv)

    def test_packet_that_does_not_end_in_a_nul(self):
        """A launch of this version ends it with a NUL; another program may not."""
        cases = (
            (b"/\0\0open\0a file", ("open", "a file")),
            (b"/\0\0x", ("x",)),
            (b"/\0\0", ()),
            (b"", ()),
            (b"/\0A=1", ()),
        )
        for packet, words in cases:
            host, side = HostSide(EDITOR, PLACE), LaunchSide(EDITOR, packet)
            conversation(host, side, side.open(PLACE))
            self.assertEqual(decode_launch(host.words)[0], words)

    def test_without_the_module_of_blake2(self):
        """`_blake2` is an implementation module; if it is missing, `hashlib` has the same function."""
        spec = importlib.util.find_spec("Socket_Singleton._proof")
        other = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, {"_blake2": None}):
            spec.loader.exec_module(other)
        self.assertIs(other.blake2b, hashlib.blake2b)
        host, (side, hello) = HostSide(other.Identity(EDITOR.name, EDITOR.key, NETWORK), PLACE), launch()
        conversation(host, side, hello)
        self.assertEqual(decode_launch(host.words)[0], WORDS)

    def test_place_has_one_form(self):
        for name, expected in (
            (("127.0.0.1", 5), b"127.0.0.1 5"),
            (("::1", 5, 0, 0), b"::1 5"),
            (("::ffff:127.0.0.1", 5, 0, 0), b"127.0.0.1 5"),
            (("fe80::1%eth0", 5, 0, 2), b"fe80::1 5"),
        ):
            self.assertEqual(place_bytes(name, b""), expected)

    def test_loopback_address_is_a_place_in_one_network(self):
        for address in ("127.0.0.1", "127.120.88.227", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(place_bytes((address, 5), NETWORK).endswith(b" 5 " + NETWORK), address)
        for address in ("192.0.2.1", "12.7.0.1", "::2", "fe80::1%lo", "::ffff:192.0.2.1", "::12"):
            self.assertEqual(place_bytes((address, 5), NETWORK), place_bytes((address, 5), b""))

    def test_another_network_at_an_address_of_all_networks(self):
        elsewhere, place = Identity(EDITOR.name, EDITOR.key, b"another one"), ("192.0.2.1", 5)
        host, (side, hello) = HostSide(EDITOR, place), launch(elsewhere, place)
        conversation(host, side, hello)
        self.assertEqual(decode_launch(host.words)[0], WORDS)

    def test_problem_of_this_side_is_mentioned(self):
        """Only if nobody has proved anything: for every other outcome it is not the reason."""
        doubtful = Identity(EDITOR.name, EDITOR.key, b" ", "this process could not read its network")
        side, hello = launch(doubtful)
        side.feed(HostSide(EDITOR, PLACE).feed(hello))
        self.assertEqual(side.found, Answer.UNPROVEN)
        self.assertTrue(side.seen.endswith("; this process could not read its network"), side.seen)
        side, _ = launch(doubtful)
        side.feed(b"220 mail.example ESMTP\r\n")
        self.assertNotIn("this process", side.seen)

    # -- other applications and places --

    def strangers(self):
        """Yield identities or places that differ from `EDITOR` at `PLACE`."""
        yield Identity(EDITOR.name, bytes(32)), PLACE
        yield Identity(EDITOR.name, EDITOR.key[:-1] + b"\0"), PLACE
        yield Identity(b"org.example.Editor", EDITOR.key), PLACE
        yield Identity(EDITOR.name + b" ", EDITOR.key), PLACE
        yield EDITOR, ("127.0.0.1", 14173)
        yield EDITOR, ("127.0.0.2", 14172)
        yield EDITOR, ("::1", 14172)
        yield Identity(EDITOR.name, EDITOR.key, NETWORK[:-2] + b"1]"), PLACE
        yield Identity(EDITOR.name, EDITOR.key, b"0" + NETWORK[1:]), PLACE
        yield Identity(EDITOR.name, EDITOR.key), PLACE

    def test_other_host_gets_nothing(self):
        for identity, place in self.strangers():
            for cut in (whole, byte_by_byte):
                with self.subTest(name=identity.name, place=place):
                    side, hello = launch()
                    self.assertEqual(fed(side, cut(HostSide(identity, place).feed(hello))), b"")
                    self.assertEqual((side.found, side.pid), (Answer.UNPROVEN, None))
                    self.assertIn("did not prove", side.seen)

    def test_other_launch_is_refused(self):
        """Even if it ignores the host's proof."""
        for identity, place in self.strangers():
            with self.subTest(name=identity.name, place=place):
                host, (side, hello) = HostSide(EDITOR, PLACE), launch(identity, place)
                answer = host.feed(hello)
                said = hello + answer[:-PROOF_SIZE]
                answer = answer[:-PROOF_SIZE] + identity.prove(
                    b"host\0", said, place_bytes(place, identity.network)
                )
                claim = side.feed(answer)
                self.assertGreater(len(claim), CLAIM_SIZE)
                self.assertEqual(refusal(host, [claim]), NO_PROOF)
                self.assertIsNone(host.words)

    def test_echo(self):
        """The launch's own words prove nothing when they are sent back, nor do the host's."""
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
        """A host's proof, passed on to another host as that of a launch."""
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
        self.assertEqual(decode_launch(host.words)[0], WORDS)
        again = HostSide(EDITOR, PLACE)
        self.assertNotEqual(again.feed(hello), answer)
        self.assertEqual(refusal(again, [claim]), NO_PROOF)
        other, _ = launch()
        self.assertEqual(other.feed(answer), b"")
        self.assertEqual(other.found, Answer.UNPROVEN)

    def test_each_bit_counts(self):
        """No bit of what is said can be changed on its way."""
        hello_size = len(HELLO) + NONCE_SIZE
        for turn, size in (
            (0, hello_size),
            (1, HOST_HELLO_SIZE),
            (2, CLAIM_SIZE + len(encode_launch(WORDS))),
        ):
            for place in range(len(HELLO) if turn == 0 else 0, size):
                bit = 1 << place % 8

                def changed(data, now, turn=turn, place=place, bit=bit):
                    if now != turn:
                        return data
                    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]

                host, (side, hello) = HostSide(EDITOR, PLACE), launch()
                claim = side.feed(changed(host.feed(changed(hello, 0)), 1))
                if turn < 2:
                    # What begins with a byte other than a hello's is another protocol.
                    found = Answer.FOREIGN if (turn, place) == (1, 0) else Answer.UNPROVEN
                    self.assertEqual((claim, side.found), (b"", found), (turn, place))
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
                self.assertEqual(other.found, Answer.UNPROVEN)
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
            self.assertEqual(other.found, Answer.UNPROVEN)

    def test_claim_of_too_much(self):
        host, side = HostSide(EDITOR, PLACE), LaunchSide(EDITOR, bytes(MAX_PACKET + 1))
        hello = side.open(PLACE)
        claim = side.feed(host.feed(hello))
        self.assertIs(refusal(host, [claim[:CLAIM_SIZE]]), PacketTooLong)
        self.assertFalse(host.proved)

    # -- peers other than launches with a name --

    def test_packets_without_a_name(self):
        for packet in (b"\0", b"a\0", b"a", b"key\0a\0", b"open\0my file\0", b"H\0", b"HELLO\0", b"x" * 9):
            for cut in (whole, byte_by_byte):
                with self.subTest(packet=packet, cut=cut):
                    self.assertEqual(refusal(HostSide(EDITOR, PLACE), cut(packet), end=True), NEEDS_A_NAME)

    def test_packet_without_a_name_is_refused_as_soon_as_it_is_recognized(self):
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

    def test_judgement_does_not_depend_on_the_pieces(self):
        parts = (b"\r\n", b"\0\0", b"\0\1", b"GE", b"\x16\x03", b"\x21\x12\xa4\x42", b" / HTTP/1.1\r\n")
        for chosen in itertools.product(parts, repeat=4):
            data = b"".join(chosen)
            for kind in (lambda: HostSide(EDITOR, PLACE), lambda: Packet(b"key")):
                expected = refusal(kind(), [data], end=True)
                for pieces in (byte_by_byte(data), *in_two_pieces(data)[:10]):
                    if refusal(kind(), pieces, end=True) != expected:
                        self.fail(f"{kind()} judges {pieces} differently")

    def test_lines_of_other_protocols_are_refused_at_once(self):
        for line in (b"QUIT\r\n", b"HELP\r\n", b"EHLO a\r\n"):
            self.assertEqual(refusal(HostSide(EDITOR, PLACE), [line]), NEEDS_A_NAME)

    def test_result_for_an_incomplete_hello_does_not_depend_on_the_pieces(self):
        """For both kinds of hosts."""
        ends = (b"X HTTP/1.1\r\n\0", b" / HTTP/1.1\r\n", b"\r\n\0 HTTP/1.1\r\n", b"\0\r\n", b"a" * 20)
        for kept in range(len(HELLO)):
            for data in (HELLO[:kept] + end for end in ends):
                for make in (lambda: HostSide(EDITOR, PLACE), Packet):
                    expected = refusal(make(), [data], end=True)
                    for pieces in (byte_by_byte(data), *in_two_pieces(data)):
                        with self.subTest(data=data, pieces=pieces):
                            self.assertEqual(refusal(make(), pieces, end=True), expected)

    def test_hello_to_a_host_without_a_name(self):
        hello = launch()[1]
        for secret in (None, b"key", b"HELLO Socket_Singleton/2"):
            for cut in (whole, byte_by_byte):
                self.assertEqual(refusal(Packet(secret), cut(hello)), NEEDS_NO_NAME)

    def test_refusals_in_place_of_a_hello(self):
        """A peer that has not proved itself cannot make a launch end quietly, say by "no more clients"."""
        for said, found in (
            (NAK + NEEDS_NO_NAME, Answer.REJECTED),
            (NAK + b"C", Answer.FOREIGN),
            (NAK + b"S", Answer.FOREIGN),
            (NAK, Answer.FOREIGN),
            (NAK + b"\0" * 200, Answer.FOREIGN),
            (ACK, Answer.FOREIGN),
            (ACK + b"\0\0\0\0\0", Answer.FOREIGN),
            (b"", Answer.UNPROVEN),
            (NAK + NEEDS_A_NAME, Answer.UNPROVEN),
            (b"220 mail.example ESMTP\r\n", Answer.FOREIGN),
            (b"\1", Answer.UNPROVEN),
        ):
            for cut in (whole, byte_by_byte):
                with self.subTest(said=said, cut=cut):
                    side, _ = launch(asks=True)
                    for piece in [*cut(said), b""]:
                        if side.found is None:
                            self.assertEqual(side.feed(piece), b"")
                    self.assertEqual(side.found, found)

    def test_refusals_of_a_host_that_has_proved_itself(self):
        for reason, found in ((b"C", Answer.ENOUGH), (b"W", Answer.FULL), (b"P", Answer.REJECTED)):
            host, (side, hello) = HostSide(EDITOR, PLACE), launch(asks=True)
            conversation(host, side, hello)
            fed(side, byte_by_byte(NAK + reason))
            self.assertEqual(side.found, found)

    # -- bounds --

    def test_nothing_beyond_the_bounds_is_kept_before_the_proof(self):
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
        self.assertEqual(side.found, Answer.UNPROVEN)
        self.assertLess(len(side.seen), 300)

    # -- the documentation --

    @unittest.skipUnless(WIRE_PAGE.is_file(), "no docs here")
    def test_conversation_in_the_documentation(self):
        text = WIRE_PAGE.read_text(encoding="utf-8")
        rows = dict(re.findall(r"^(\w[\w ]*):\n((?:    [0-9a-f ]+\n)+)", text, re.MULTILINE))
        got = {name: bytes.fromhex("".join(row.split())) for name, row in rows.items()}
        network = re.search(r"in the network\s`([^`]+)`", text).group(1).encode()
        identity, place = Identity(b"org.example.editor", got["key"], network), ("127.120.88.227", 30078)
        here = mock.patch.object(os, "getcwd", lambda: "/home/ada")
        with here, fixed(4711, got["nonce of the launch"], got["nonce of the host"]):
            host = HostSide(identity, place)
            side, hello = launch(identity, place, ("open", "two words", "\u00e9"), asks=True)
            answer = host.feed(hello)
        claim = side.feed(answer)
        host.feed(claim)
        self.assertEqual(hello, got["hello of the launch"])
        self.assertEqual(answer, got["hello of the host"])
        self.assertEqual(claim, got["claim"] + got["packet"])
        self.assertEqual(decode_launch(host.words)[0], ("open", "two words", "\u00e9"))
        side.feed(got["answer"])
        self.assertEqual((side.found, side.answer), (Answer.OWNED, (2, b"opened")))
