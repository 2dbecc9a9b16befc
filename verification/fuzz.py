"""The wire, the proof and the answers, fed with whatever hypothesis can think of.

    python -m verification.fuzz                              # a thousand examples of each property
    python -m verification.fuzz --examples 100000 Replies    # more, of one of them

Needs hypothesis (``pip install --group fuzz``). The examples are the same in each run; with more of them,
more is tried. An example that breaks a property is reduced as far as possible and printed; then it belongs
in the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import queue
import re
import socket
import sys
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._answers import (
    CUT,
    ERROR,
    FRAME_HEAD,
    NOTHING,
    STATUS,
    STDERR,
    STDOUT,
    TEXT,
    Output,
    frame,
    read,
)
from Socket_Singleton._host.packet import Foreign, PacketTooLong, Refused, decode
from Socket_Singleton._host.proof import HostSide, decode_launch
from Socket_Singleton._host.replies import Reply
from Socket_Singleton._host.streams import Stream
from Socket_Singleton._packet import HELLO, NAK, NEEDS_NO_NAME, OTHER_SECRET, Answer, Parcel, encode
from Socket_Singleton._proof import NONCE_SIZE, Identity, LaunchSide, encode_launch
from Socket_Singleton._settings import Settings
from tests.support import ACK, PATIENCE, free_port
from tests.test_proof import CLAIM_SIZE, EDITOR, HOST_HELLO_SIZE, NETWORK, PLACE, refusal
from tests.test_wire import FOREIGN, WRONG, byte_by_byte, result

# -- input --

SECRETS = st.sampled_from([None, b"key", "cl\u00e9".encode(), b"\xff", b"GET", HELLO[:5]])

# Beginnings of things that hosts recognize, and others.
SCRAPS = st.sampled_from(
    [
        *(b"\0", b"\0\0", b" ", b"\r\n", b"key", b"key\0", b"GET", b"/", b" HTTP/1.1", b"GET / HTTP/1.1\r\n"),
        *(
            HELLO,
            HELLO[:9],
            HELLO + bytes(NONCE_SIZE),
            b"\x16\x03\x01\0\0\x01",
            b"\x21\x12\xa4\x42",
            ACK,
            NAK,
        ),
        *(b"\1", b"\xc3", b"\xa9", b"\xff", b"\xed\xa0\x80", b"x" * 33, b"x" * 8192),
        *(b"C", b"N", b"U", b"P"),
    ]
)
BEGINNINGS = st.sampled_from(
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"GET /" + b"x" * 33 + b" HTTP/1.1\r\n",
        b"key\0",
        HELLO,
        HELLO + bytes(NONCE_SIZE),
    ]
)
BYTES = st.builds(
    bytes.__add__, BEGINNINGS, st.lists(SCRAPS | st.binary(max_size=8), max_size=8).map(b"".join)
)

TEXTS = st.text(st.characters(), max_size=8) | st.text("\udc80\udcff\ud800\n\r\u00e9x", max_size=8)
# Arguments: without surrogates that stand for no byte, which cannot be sent.
WORDS = st.lists(
    st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"0").decode("utf-8", "surrogateescape")),
    max_size=6,
)

# Where a stream is cut: the lengths of its pieces, in turn.
CUTS = st.lists(st.integers(1, 40), max_size=4)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Return the pieces of ``data``; the last piece is what remains after all sizes."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


def may_be_foreign(data: bytes) -> bool:
    """Whether a host may take this for another protocol; implemented differently than in the package."""
    line = rb"[!#-'*+.^-z|~\w-]{1,32} [^ ]+ HTTP/\d\.\d+\r\n"
    stun = b"\x21\x12\xa4\x42" in (data[4:8], data[6:10])
    return bool(re.match(line, data) or re.match(rb"\x16\x03...\x01", data, re.DOTALL)) or stun


# -- without a name --


@given(WORDS, SECRETS, CUTS, st.booleans())
def packets(argv, secret, sizes, hung_up):
    """What a launch sends is what its host receives."""
    data = Parcel(encode(argv, secret)).open(None)
    received = result(cut(data, sizes), secret, hung_up)
    if received == FOREIGN:
        assert may_be_foreign(data)
    else:
        assert received == (() if argv == [""] else tuple(argv))


@given(BYTES, SECRETS, CUTS, st.booleans())
def streams(data, secret, sizes, hung_up):
    """Any bytes mean the same to a host, however they are cut."""
    whole = result([data], secret, hung_up)
    assert whole == result(cut(data, sizes), secret, hung_up) == result(byte_by_byte(data), secret, hung_up)
    if whole == FOREIGN:
        assert may_be_foreign(data)
    elif whole not in (None, WRONG, NEEDS_NO_NAME):
        text = "\0".join(whole).encode("utf-8", "surrogateescape")
        assert (
            text == (data[:-1] if data.endswith(b"\0") else data)[len(secret or b"\0") + 1 if secret else 0 :]
        )


@given(st.binary())
def words(data):
    """Any bytes are arguments."""
    assert "\0".join(decode(data + b"\0")).encode("utf-8", "surrogateescape") == data


@given(BYTES, CUTS)
def responses(data, sizes):
    """Any response to a launch means the same, however it is cut."""
    found = set()
    for pieces in ([data], cut(data, sizes), byte_by_byte(data)):
        launch = Parcel(b"word\0")
        for piece in (*pieces, b""):
            if launch.found is None:
                launch.feed(piece)
        found.add(launch.found)
    assert len(found) == 1 and None not in found


# -- with a name --


@given(BYTES, CUTS)
def strangers(data, sizes):
    """Any bytes mean the same to a host with a name, however they are cut, and prove nothing."""
    found = set()
    for pieces in ([data], cut(data, sizes), byte_by_byte(data)):
        host = HostSide(EDITOR, PLACE)
        found.add(refusal(host, pieces, end=True))
        assert not host.proved and host.words is None
    assert len(found) == 1


LAUNCH, HOST = "launch", "host"
SIDES = st.sampled_from([LAUNCH, HOST])
HELLO_SIZE = len(HELLO) + NONCE_SIZE

# The host's identity: mostly the one that the launch looks for.
IDENTITIES = st.sampled_from(
    [EDITOR] * 3
    + [Identity(EDITOR.name, bytes(32), NETWORK), Identity(b"another.name", EDITOR.key, NETWORK)]
    + [Identity(EDITOR.name, EDITOR.key, b"another network")]
)


def as_frame(kind: int, body: bytes) -> bytes:
    return b"".join(frame(kind, [body]))


FRAMES = st.lists(st.builds(as_frame, st.integers(0, 7), BYTES), max_size=5).map(b"".join)
ANSWERS = FRAMES.map(lambda frames: ACK + frames) | st.binary(max_size=2).map(lambda reason: NAK + reason)


class Conversation(RuleBasedStateMachine):
    """A launch and a host with a name; somebody between them cuts, changes, repeats and invents data."""

    @initialize(identity=IDENTITIES, argv=st.none() | WORDS, asks=st.booleans())
    def begin(self, identity, argv, asks):
        self.knows = identity is EDITOR
        self.argv, self.output = argv, []
        packet = None if argv is None else encode_launch(argv)
        output = (lambda *written: self.output.append(written)) if asks else None
        self.launch, self.host = LaunchSide(EDITOR, packet, output), HostSide(identity, PLACE)
        self.said = {LAUNCH: self.launch.open(PLACE), HOST: b""}
        self.on_way = dict(self.said)
        self.heard = {LAUNCH: b"", HOST: b""}  # what has arrived from each of them, or seems to come from it
        self.over = False  # the host has refused it

    def hear(self, speaker, size=None):
        """Let the other side receive that much of what is on its way; None: all of it, and the end."""
        data, self.on_way[speaker] = self.on_way[speaker][:size], self.on_way[speaker][size or sys.maxsize :]
        self.heard[speaker] += data
        listener = HOST if speaker == LAUNCH else LAUNCH
        say = b""
        if listener == LAUNCH and self.launch.found is None and (data or size is None):
            say = self.launch.feed(data)
        elif listener == HOST and data and not self.over and self.host.words is None:
            try:
                say = self.host.feed(data)
            except (Refused, Foreign, PacketTooLong):
                self.over = True
        self.said[listener] += say
        self.on_way[listener] += say

    @rule(speaker=SIDES, size=st.integers(1, 200))
    def arrives(self, speaker, size):
        self.hear(speaker, size)

    @rule(speaker=SIDES)
    def all_arrives(self, speaker):
        if self.on_way[speaker]:
            self.hear(speaker, len(self.on_way[speaker]))

    @rule(speaker=SIDES, place=st.integers(0, 200), gone=st.integers(0, 2), more=BYTES)
    def changes(self, speaker, place, gone, more):
        """Part of what is on its way is removed, and something else inserted."""
        data = self.on_way[speaker]
        self.on_way[speaker] = data[:place] + more + data[place + gone :]

    @rule(speaker=SIDES, whom=SIDES)
    def comes_again(self, speaker, whom):
        """What one of them said before arrives again, as if one of them had said it."""
        self.on_way[speaker] += self.said[whom]

    @precondition(lambda self: self.host.words is not None)
    @rule(answer=ANSWERS)
    def answers_it(self, answer):
        self.said[HOST] += answer
        self.on_way[HOST] += answer

    @invariant()
    def what_was_changed_proves_nothing(self):
        said, heard, host = self.said, self.heard, self.host
        if host.proved:
            assert self.knows and said[LAUNCH].startswith(heard[LAUNCH][: HELLO_SIZE + CLAIM_SIZE])
            assert host.asks == self.launch.asks
        if host.words is not None:
            assert heard[LAUNCH].startswith(said[LAUNCH]) and decode_launch(host.words)[0] == tuple(self.argv)
        if self.launch.committed or self.launch.pid is not None:
            assert self.knows and said[HOST][:HOST_HELLO_SIZE] == heard[HOST][:HOST_HELLO_SIZE]
        if self.launch.owned or self.launch.found == Answer.OWNED:
            assert heard[HOST][HOST_HELLO_SIZE:].startswith(ACK)

    def teardown(self):
        """Everything else arrives. If nothing was changed, the launch becomes owned."""
        for _ in range(3):
            self.all_arrives(LAUNCH)
            self.all_arrives(HOST)
        untouched = all(self.heard[side] == self.said[side] for side in (LAUNCH, HOST))
        if untouched and self.knows and not self.over and self.argv is not None:
            assert self.host.words is not None and self.launch.committed
        self.hear(HOST)
        assert self.launch.found is not None
        self.what_was_changed_proves_nothing()


# -- the answer --


KINDS = (STDOUT, STDERR)


def asking() -> tuple[LaunchSide, list[tuple[int, bytes]]]:
    """Return a launch that a host owns, and the list of its output."""
    shown: list[tuple[int, bytes]] = []
    launch, host = (
        LaunchSide(EDITOR, encode_launch(()), lambda *written: shown.append(written)),
        HostSide(EDITOR, PLACE),
    )
    host.feed(launch.feed(host.feed(launch.open(PLACE))))
    return launch, shown


def bytes_of(output: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """Return each byte of ``output`` with its kind, since output is passed on in any pieces."""
    return [(kind, byte) for kind, body in output for byte in body]


@given(st.lists(st.tuples(st.integers(0, 8), BYTES), max_size=6), BYTES, CUTS)
def frames(sent, junk, sizes):
    """A launch reads the frames that it was sent, however they are cut, and nothing after the last one."""
    launch, shown = asking()
    data = ACK + b"".join(as_frame(*one) for one in sent)
    for piece in (*cut(data, sizes), junk, b""):
        if launch.found is None and (piece or piece is not junk):
            launch.feed(piece)
    ends = [one for one in sent if one[0] not in (STDOUT, STDERR)]
    before = sent[: sent.index(ends[0])] if ends else sent
    assert bytes_of(shown)[: len(bytes_of(before))] == bytes_of(before)
    if ends:
        assert bytes_of(shown) == bytes_of(before)
        assert (launch.found, launch.answer) == (
            (Answer.SEVERED, None) if ends[0][0] == CUT else (Answer.OWNED, ends[0])
        )
    if launch.answer is not None:
        answer, failure = read(launch.answer)
        assert answer is None or not failure


@given(st.lists(BYTES, max_size=6), st.sampled_from(["utf-8", "latin-1", "utf-16", ""]))
def terminals(written, encoding):
    """What observers write appears as the same bytes if possible, otherwise as the same text."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, newline="") if encoding else io.StringIO(newline="")
    output = Output(stdout=stream)
    for data in written:
        output.write(STDOUT, data)
    data = b"".join(written)
    if encoding == "utf-8":
        assert raw.getvalue() == data
    else:
        text = data.decode("utf-8", "surrogateescape")
        text = text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text
        shown = raw.getvalue().decode(encoding) if encoding else stream.getvalue()
        # The beginning of a character waits for its end.
        assert text.startswith(shown) and len(data.decode("utf-8", "surrogateescape")) - len(shown) <= 3


def as_bytes(text):
    """Return the bytes of a text on a terminal: characters, bytes, and the rest escaped with a backslash."""
    if text.isascii():
        return text.encode()
    return b"".join(
        char.encode("utf-8", "surrogateescape" if "\udc80" <= char <= "\udcff" else "backslashreplace")
        for char in text
    )


class Sender:
    """A host that sends only when the test makes it send."""

    def __init__(self):
        self.claims = {}

    def send(self, reply):
        pass

    def unsent(self):
        return 0

    def may_wait(self):
        return False


class Replies(RuleBasedStateMachine):
    """An observer writes and answers; its host sends; the launch may disappear."""

    @initialize()
    def begin(self):
        self.reply = Reply(Settings(verbose=False), Sender())
        self.streams = {kind: Stream(self.reply, kind) for kind in KINDS}
        self.written = dict.fromkeys(KINDS, b"")
        self.sent, self.ends = b"", False
        self.answer: tuple[int, bytes] | None = None
        self.reply.begin()

    def write(self, kind, what, write, data):
        is_open = not (self.reply.gone or self.reply.discards())
        try:
            assert write(what) == len(what)
        except BrokenPipeError:
            assert self.reply.gone
        if is_open:
            self.written[kind] += data

    @rule(kind=st.sampled_from(KINDS), text=TEXTS | st.sampled_from(["\n", "x" * 70_000]))
    def writes(self, kind, text):
        self.write(kind, text, self.streams[kind].write, as_bytes(text))

    @rule(kind=st.sampled_from(KINDS), data=BYTES)
    def writes_bytes(self, kind, data):
        self.write(kind, data, self.streams[kind].buffer.write, data)

    @rule(kind=st.sampled_from(KINDS))
    def flushes(self, kind):
        self.write(kind, "", lambda _: self.streams[kind].flush() or 0, b"")
        self.sends()
        if not self.reply.gone:
            assert self.received()[kind] == self.written[kind]

    @rule()
    def sends(self):
        while self.reply.unsent and not self.ends:
            self.sends_once()

    @rule()
    def sends_once(self):
        if not self.ends:
            data, self.ends = self.reply.take()
            self.sent += data
            self.reply.count_sent(len(data))
            self.reply.make_room()

    @rule()
    def goes(self):
        self.reply.end()

    @precondition(lambda self: self.answer is None)
    @rule(returned=st.none() | st.integers(-1, 256) | TEXTS | st.booleans())
    def answers(self, returned):
        self.reply.answer(returned)
        assert self.reply.discards()
        self.answer = NOTHING, b""
        if isinstance(returned, str):
            self.answer = TEXT, as_bytes(returned)
        elif returned is not None:
            is_status = not isinstance(returned, bool) and 0 <= returned <= 255
            self.answer = (STATUS, bytes([returned])) if is_status else (ERROR, b"")

    def received(self):
        """Return what the launch would show; check that the answer is the given one and comes last."""
        got, rest = dict.fromkeys(KINDS, b""), self.sent
        while rest:
            kind, size = rest[0], FRAME_HEAD + int.from_bytes(rest[1:FRAME_HEAD], "big")
            body, rest = rest[FRAME_HEAD:size], rest[size:]
            if kind in got:
                got[kind] += body
            else:
                assert not rest and (kind, b"" if kind == ERROR else body) == self.answer
        return got

    @invariant()
    def nothing_is_made_up(self):
        for kind, data in self.received().items():
            assert self.written[kind].startswith(data)

    def teardown(self):
        if self.answer is None:
            self.answers(None)
        while not self.ends:
            self.sends_once()
        if not self.reply.gone:
            assert self.received() == self.written


# -- sockets --


RESET = b"a reset"


def serves(**options):
    """Return a property of a host: it treats any bytes as `result` does."""
    port, came = free_port(), queue.Queue()
    app = Socket_Singleton(port=port, strict=False, **options)
    app.trace(came.put)

    @given(BYTES, CUTS)
    def hosts(data, sizes):
        """A host answers any bytes, and delivers the launch that they contain."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            said = b""
            try:
                for piece in cut(data, sizes):
                    peer.sendall(piece)
                with contextlib.suppress(OSError):  # it was reset already
                    peer.shutdown(socket.SHUT_WR)
                said = b"".join(iter(lambda: peer.recv(9), b""))
            except ConnectionError:
                said = RESET
        expected = result([data], app.secret and app.secret.encode())
        refusals = {None: b"", WRONG: NAK + OTHER_SECRET, FOREIGN: RESET, NEEDS_NO_NAME: NAK + NEEDS_NO_NAME}
        assert said == (refusals[expected] if not isinstance(expected, tuple) else ACK)
        if expected and isinstance(expected, tuple):
            assert came.get(timeout=PATIENCE) == expected

    return hosts


# -- the command --

PROPERTIES = (packets, streams, words, responses, strangers, Conversation, frames, terminals, Replies)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=1000, help="of each property (1000)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, or some of them")
    chosen = parser.parse_args()
    logging.getLogger("Socket_Singleton").addHandler(logging.NullHandler())
    options = settings(
        max_examples=chosen.examples, stateful_step_count=15, derandomize=True, deadline=None, database=None
    )
    for one in (*PROPERTIES, serves(), serves(secret="key")):
        if not chosen.names or one.__name__ in chosen.names:
            began = time.monotonic()
            check(one, options)
            print(f"{one.__name__}: {chosen.examples} examples, {time.monotonic() - began:.0f} s", flush=True)
    return 0


def check(one, options: settings) -> None:
    """Try a property with examples; raise if it is broken."""
    if isinstance(one, type):
        run_state_machine_as_test(one, settings=options)
    else:
        options(one)()


if __name__ == "__main__":
    sys.exit(main())
