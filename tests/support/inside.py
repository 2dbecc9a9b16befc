"""What tests know of the inside of the package. They reach for no private name themselves.

Each function is named for what it tells or does; where a private name changes, the change
belongs here alone. Names that code for 2.0.0 leans on (``_listening``, ``_observers``,
``_arguments``, ``_clients``, ``_append_args``) are no inside: tests use them as they are.
Programs that tests start import this module too, as ``inside``.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import threading
import time
import types
from unittest import mock

from Socket_Singleton import (
    __main__,
    _client,
    _delivery,
    _host,
    _identity,
    _inbox,
    _peers,
    _platform,
    _proof,
    _run,
    _settings,
    _singleton,
    _watch,
    _wire,
)

# The constants that tests lower or look at, and where they are.
_LIMITS = {
    "ACCEPTS_PER_TURN": (_host, "_ACCEPTS"),
    "ANSWER_TIME": (_client, "_ANSWER_TIME"),
    "CLOSE_TIME": (_host, "_CLOSE_TIME"),
    "DENIED_TIME": (_platform, "DENIED_TIME"),
    "EXIT_TIME": (_singleton, "EXIT_TIME"),
    "HOLD_TIME": (_peers, "HOLD_TIME"),
    "HAND_OVER_TIME": (_client, "HAND_OVER_TIME"),
    "LAST_WORDS_TIME": (_host, "_LAST_WORDS_TIME"),
    "LOOK_TIME": (_platform, "LOOK_TIME"),
    "LONGEST_WAIT": (_client, "_LONGEST_WAIT"),
    "MAX_ASKING": (_peers, "MAX_ASKING"),
    "MAX_BUFFERED": (_peers, "MAX_BUFFERED"),
    "MAX_PACKET": (_wire, "MAX_PACKET"),
    "MAX_PEERS": (_peers, "MAX_PEERS"),
    "MAX_WAITING": (_inbox, "MAX_WAITING"),
    "OWN_TIME": (_platform, "_OWN_TIME"),
    "PAUSE": (_host, "_PAUSE"),
    "PEER_TIME": (_peers, "PEER_TIME"),
    "READ_SIZE": (_host, "_READ_SIZE"),
    "SHORT": (_peers, "SHORT"),
    "STARTS_HERE": (_platform, "STARTS_HERE"),
    "WAIT_STEP": (_client, "_WAIT_STEP"),
}

ACK, MAX_PACKET = _wire.ACK, _wire.MAX_PACKET
OTHER_SECRET, ENOUGH_CLIENTS = _wire.NAK + _wire.OTHER_SECRET, _wire.NAK + _wire.ENOUGH_CLIENTS

# How launches with a name begin, and how hosts refuse.
HELLO, NAK = _wire.HELLO, _wire.NAK

# The port of who gives none.
PORT = _settings.PORT

# The class of the sockets that a launch makes; tests make subclasses of it that fail.
LaunchSocket = _platform.sockets.socket


def failing(method: str, error: BaseException, times: float = 1, when=lambda *_: True):
    """Return a class of sockets whose ``method`` raises ``error`` instead, ``times`` times in all.

    Args:
        when: called with the arguments; only calls for which it is true fail.
    """
    failed = []

    def fail_or_do(self, *args):
        if len(failed) < times and when(*args):
            failed.append(args)
            raise error
        return getattr(LaunchSocket, method)(self, *args)

    return type("Failing", (LaunchSocket,), {method: fail_or_do, "failed": failed})


def failing_as_it_closes():
    """Return a class of sockets whose first `close` raises, and has closed, as it is with Python's own."""
    kind = failing("close", OSError(errno.EIO, "it failed"))
    fail_or_close = kind.close

    def close_and_fail(sock):
        LaunchSocket.close(sock)
        fail_or_close(sock)

    kind.close = close_and_fail
    return kind


def limit(name: str):
    """Return one of the package's constants."""
    module, attribute = _LIMITS[name]
    return getattr(module, attribute)


@contextlib.contextmanager
def limits(**values):
    """Have constants of the package be others meanwhile: ``limits(MAX_PEERS=3)``."""
    with contextlib.ExitStack() as stack:
        if "READ_SIZE" in values:
            values["SHORT"] = values["READ_SIZE"]
        for name, value in values.items():
            stack.enter_context(mock.patch.object(*_LIMITS[name], value))
        yield


# -- names --


def place_of_name(name: str) -> tuple[str, int]:
    """Return where ``name`` of this user is."""
    return _identity.place_unless_given(name, _settings.ADDRESS, PORT)


def key_file() -> str:
    """Return the path of this user's key, which may not be there."""
    return os.path.join(_platform.state_base(_identity._FOLDER), "key")


def names_of_keys(error: BaseException):
    """Have a key that is being made not get its name, but ``error`` be raised."""
    return mock.patch.object(_platform, "give_name", side_effect=error)


def identity(name: str, secret: bytes | None = None):
    """Return who this user is as ``name``; the key is made if there is none."""
    return _identity.identify(name, secret, make_key=True)


def is_sending_an_answer(app) -> bool:
    """Whether a launch has not taken all of its answer yet."""
    return any(peer.outgoing for peer in app._host._peers.asking)


class LaunchThatDoesNotRead:
    """A launch that asks, and does not take the answer until it is told to."""

    def __init__(self, name: str, argv) -> None:
        side = _proof.LaunchSide(identity(name), _wire.encode(argv), asks=True)
        self._sock = socket.create_connection(place_of_name(name), 30)
        self.said = [side.open(self._sock.getpeername())]  # in its turns
        self._sock.sendall(self.said[0])
        self.heard, claim = b"", b""
        while not claim:
            self.heard += self._sock.recv(1)
            claim = side.feed(self.heard[-1:])
        self._say(claim)

    def _say(self, claim: bytes) -> None:
        self.said.append(claim)
        self._sock.sendall(claim)

    def read(self) -> bytes:
        """Return all that the host still says."""
        chunks = list(iter(lambda: self._sock.recv(1_000_000), b""))
        return b"".join(chunks)

    def close(self) -> None:
        self._sock.close()


class LaunchThatStopsHalfway(LaunchThatDoesNotRead):
    """A launch that has proved itself, and has said the half of its packet until `go_on`."""

    def __init__(self, name: str, word: str) -> None:
        super().__init__(name, (word,))

    def _say(self, claim: bytes) -> None:
        half = len(claim) // 2
        self.rest = claim[half:]
        super()._say(claim[:half])

    def go_on(self) -> None:
        self._sock.sendall(self.rest)


def count_kept(side) -> int:
    """Return the bytes that one side of a conversation keeps of what it was fed."""
    return len(side._data)


def count_proved(app) -> int:
    """Return the peers of the host that have proved themselves, and whose packets are not whole."""
    return sum(peer.talk.proved for peer in app._host._peers.reading)


# -- the host --


def is_inert(app) -> bool:
    """Whether it is no host, because it was constructed in a worker that imports the main module."""
    return app._host is None


def count_peers(app) -> int:
    """Return how many connections the host has whose packets are not whole."""
    return len(list(app._host._peers))


def count_held(app) -> int:
    """Return how many connections wait with a whole packet for room in the inbox."""
    return len(app._host._peers.held)


def count_asking(app) -> int:
    """Return the launches that wait for an answer."""
    return len(app._host._peers.asking)


def count_received(app) -> int:
    """Return the bytes that the host has read of all its peers."""
    return sum(peer.talk._received for peer in app._host._peers)


def count_buffered(app) -> int:
    """Return the bytes of incomplete packets in the host's sum."""
    return app._host._peers._buffered


def io_thread(app) -> threading.Thread:
    return app._host._thread


def listen_with_backlog(app, backlog: int) -> None:
    """Have the host's listener let so many launches wait from now on."""
    app._host.listener.listen(backlog)


def follows_forks(app) -> bool:
    """Whether the host is told of forks."""
    return app._host in _platform._followers


@contextlib.contextmanager
def host_clock(ahead: float):
    """Have the clock of hosts in this process be ``ahead`` seconds ahead meanwhile."""
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=time.sleep)
    with mock.patch.object(_host, "time", clock):
        yield


@contextlib.contextmanager
def turns_of_hosts(before):
    """Have hosts call ``before()`` before each turn, in their I/O threads."""
    next_events = _host.Host._next_events

    def next_events_when_told(host):
        before()
        return next_events(host)

    with mock.patch.object(_host.Host, "_next_events", next_events_when_told):
        yield


@contextlib.contextmanager
def reads_of_hosts(after):
    """Have hosts call ``after(data, buffered)`` for what they read, and the sum that it made."""
    take = _host.Host._take

    def take_and_tell(host, peer, data):
        take(host, peer, data)
        after(data, host._peers._buffered)

    with mock.patch.object(_host.Host, "_take", take_and_tell):
        yield


@contextlib.contextmanager
def admissions_of_hosts(after):
    """Have hosts call ``after()`` for each connection that they took from the backlog."""
    admit = _host.Host._admit

    def admit_and_tell(host, sock):
        admit(host, sock)
        after()

    with mock.patch.object(_host.Host, "_admit", admit_and_tell):
        yield


@contextlib.contextmanager
def sockets_of_peers(kind):
    """Have hosts take each connection as a ``kind``; see `failing`."""
    accept = _platform.accept

    def accept_as_that(listener):
        sock = accept(listener)
        return kind(listener.family, listener.type, listener.proto, sock.detach())

    with mock.patch.object(_platform, "accept", accept_as_that):
        yield


def peers_with_one_deadline(count: int):
    """Return the peers of no host, and ``count`` of them in the order in which they came."""
    peers, made = _peers.Peers(), []
    for _ in range(count):
        made.append(_peers.Peer(socket.socket(), _wire.Packet(), 5.0))
        made[-1].sock.close()
        peers.add(made[-1])
    return peers, made


@contextlib.contextmanager
def accepts_of_hosts(error):
    """Have the next `accept` of hosts in this process raise ``error``; yield the list of those that did."""
    accept, failed = _platform.accept, []

    def fail_or_accept(listener):
        if not failed:
            failed.append(listener)
            raise error
        return accept(listener)

    with mock.patch.object(_platform, "accept", fail_or_accept):
        yield failed


def ends_in_order(level: int, option: int, value: object) -> bool:
    """Whether a call of `setsockopt` has the end of a connection no longer be a reset."""
    return option == socket.SO_LINGER and value == _platform.linger(False)


def wake(app) -> None:
    """Have the I/O thread look, though there is nothing new."""
    app._host.wake()


def wake_by(app, kind) -> None:
    """Have the I/O thread be woken by a ``kind`` from now on; see `failing`."""
    waker = app._host._waker
    app._host._waker = kind(waker.family, waker.type, waker.proto, waker.detach())
    app._host._waker.setblocking(False)


@contextlib.contextmanager
def no_memory_to_decode(times: int):
    """Have the next ``times`` looks at what a launch said fail."""
    decode, left = _inbox.decode, [MemoryError("no memory for that")] * times

    def decode_or_fail(words):
        if left:
            raise left.pop()
        return decode(words)

    with mock.patch.object(_inbox, "decode", decode_or_fail):
        yield


def no_memory_to_keep(app) -> None:
    """Have there be no memory to put the next launch where it waits."""
    inbox, failed = app._delivery.inbox, []

    class Row(collections.deque):
        def append(self, launch):
            if not failed:
                failed.append(launch)
                raise MemoryError("no memory for one more")
            super().append(launch)

    inbox._waiting = Row(inbox._waiting)


@contextlib.contextmanager
def no_memory_to_watch(app):
    """Have the system fail, until then, to watch one more connection."""
    error = OSError(errno.ENOSPC, "too many are watched")  # Linux: fs.epoll.max_user_watches
    with mock.patch.object(app._host._selector, "register", side_effect=error) as register:
        yield register


def is_closing(app) -> bool:
    """Whether the I/O thread was told to end."""
    return app._host._closing


def end_with_answer(sock: socket.socket, answer: bytes) -> None:
    """End our side of a connection, as the host does for a launch that it owns."""
    if answer != ACK:
        raise AssertionError("only an ACK is sent so")
    host = _host.Host.__new__(_host.Host)
    host._acknowledge(_peers.Peer(sock, _wire.Packet(), 0.0))
    host._end_stream(sock)


@contextlib.contextmanager
def answers_of_hosts(before):
    """Have hosts call ``before()`` before they end a connection in order, with an answer or without."""
    acknowledge, refuse = _host.Host._acknowledge, _host.Host._refuse

    def acknowledge_when_told(*args):
        before()
        acknowledge(*args)

    def refuse_when_told(*args):
        before()
        refuse(*args)

    with mock.patch.multiple(_host.Host, _acknowledge=acknowledge_when_told, _refuse=refuse_when_told):
        yield


@contextlib.contextmanager
def hosts_die_before_the_answer():
    """Have the process seem to be killed as soon as the end of a connection would no longer be a reset."""
    close_ends = _platform.close_ends

    def close_ends_and_die(sock):
        close_ends(sock)
        sock.close()

    with mock.patch.object(_platform, "close_ends", close_ends_and_die):
        yield


@contextlib.contextmanager
def told_to_close_as_they_drain():
    """Have hosts be told to close just before they take the bytes that have woken them."""
    drain = _host.Host._drain_wakened

    def hear_and_drain(host):
        host._closing = True
        host._wake_to_close()
        drain(host)

    with mock.patch.object(_host.Host, "_drain_wakened", hear_and_drain):
        yield


@contextlib.contextmanager
def always_more_to_do(app):
    """Have the host find an event whenever it looks for one."""
    selector = app._host._selector
    select, listening = selector.select, selector.get_key(app._host.listener)
    with mock.patch.object(selector, "select", lambda wait: select(0) or [(listening, 1)]):
        yield


@contextlib.contextmanager
def on_the_io_thread(app, call):
    """Have the I/O thread call ``call()`` instead of handing out what it owns."""
    with mock.patch.object(app._made_delivery, "hand_out", call):
        yield


# -- releases that are interrupted by a signal handler --


def interrupt_release(app, handler) -> None:
    """Have ``handler()`` run once in the middle of the next release, while that holds its lock."""
    wake = app._host._wake_to_close

    def interrupted():
        wake()
        app._host._wake_to_close = wake
        handler()

    app._host._wake_to_close = interrupted


def constructor_code() -> types.CodeType:
    """Return the code of the constructor, as frames have it."""
    return _singleton.Socket_Singleton.__init__.__code__


def interrupt_news(app, handler):
    """Have ``handler()`` run once while the observer thread is told news; return whether it was told."""
    news = app._delivery._news

    def interrupted():
        app._delivery._news = news
        handler()
        return True

    app._delivery._news = mock.Mock(wraps=news, locked=interrupted)
    return lambda: not news.locked()


def wakened_socket_of_a_child(app) -> socket.socket:
    """Return what wakes the I/O thread, as a forked child has it: what is closed here is not over there."""
    return socket.socket(fileno=os.dup(app._host._wakened.fileno()))


@contextlib.contextmanager
def release_that_just_saw_the_end(app, patience: float):
    """Be where a release knows that all is shut, as a handler that raises may leave it."""
    host = app._host
    with host._lock:
        host._closing = True
        host._wake_to_close()
        if not host._ended.wait(patience):
            raise AssertionError("it is not shut")
        with limits(CLOSE_TIME=0.05):
            yield


# -- from the host to the observers --


def starts_observer_thread_early():
    """Have hosts start it with themselves, as they do on CPython 3.12."""
    return mock.patch.object(_platform, "THREADS_START_LATE", False)


def starts_observer_thread_late():
    """Have hosts start it for its first work, on CPython 3.12 too, which cannot do so at all times."""
    return mock.patch.object(_platform, "THREADS_START_LATE", True)


# What a host runs that never had a launch.
IDLE_THREADS = 1 if _platform.THREADS_START_LATE else 2


def observer_thread(app) -> threading.Thread | None:
    return app._delivery._thread


def run_as_observer_thread(app):
    """Return what an observer thread runs."""
    return app._delivery._run


def wake_observer_thread(app) -> None:
    """Have it look for work, as an earlier launch or `trace` may."""
    app._delivery.wake()


def count_waiting_bytes(app) -> int:
    """Return the bytes of the launches that wait, as the bound counts them."""
    return app._delivery.inbox.size


@contextlib.contextmanager
def when_the_delivery_is_made(call):
    """Have ``call()`` be what another thread does in the middle of it."""
    make = _delivery.Delivery

    def call_and_make(*arguments):
        patched.stop()
        call()
        return make(*arguments)

    patched = mock.patch.object(_delivery, "Delivery", call_and_make)
    patched.start()
    yield


def all_handed_out(app) -> bool:
    """Whether observers may have all the launches that wait."""
    inbox = app._delivery.inbox
    return inbox._told == inbox._number


def waiting_lines(app):
    """Return the verbose lines that are not printed yet; what is added is printed."""
    return app._delivery._lines


def inbox_lock(app):
    """Return what a look at `arguments` holds, and the taking of a launch."""
    return app._delivery.inbox._lock


def own_no_more(app) -> None:
    """Have the I/O thread stop for good before it owns another launch."""
    app._delivery.take_in = lambda _: threading.Event().wait(30)


def deliver_what_was_dropped(app, payload: bytes) -> bool:
    """Have a launch delivered that is no longer in the row; return whether that was no failure."""
    launch = _inbox.Launch(bytearray(payload))
    launch.state = _inbox.DROPPED
    return app._delivery._deliver(launch) is None


def before_each_delivery(app, call, after=lambda went: None) -> None:
    """Have the observer thread call ``call()`` when it has chosen a launch, and ``after(went)``."""
    deliver = app._delivery._deliver

    def deliver_when_told(launch):
        call()
        deliver(launch)
        after(launch.state == _inbox.BEGUN)

    app._delivery._deliver = deliver_when_told


def after_each_begin(app, call) -> None:
    """Have the observer thread call ``call()`` when a launch is taken, before its first observer."""
    begin = app._delivery.inbox.begin

    def begin_and_call(launch):
        begun = begin(launch)
        call()
        return begun

    app._delivery.inbox.begin = begin_and_call


def somebody_seems_to_want_launches(app) -> None:
    """Have the observer thread think so, as if an observer had gone since it looked."""
    inbox = app._delivery.inbox
    take = inbox.take

    def take_for_somebody(_, overridden):
        launch = take(True, overridden)
        if launch is not None:
            del inbox.take, inbox.has_for
        return launch

    inbox.take = take_for_somebody
    inbox.has_for = lambda *_: inbox._has_told()


class _Row(collections.deque):
    """What waits, with something that another thread does in the middle of a look at it."""

    happens = staticmethod(int)

    def __len__(self):
        found = super().__len__()
        self.happens()
        return found

    def __getitem__(self, place):
        found = super().__getitem__(place)
        self.happens()
        return found

    def copy(self):
        """Do as builds without a GIL may, where another thread appends meanwhile."""
        raise RuntimeError("deque mutated during iteration")


def inbox_of(payloads, told: int):
    """Return an inbox whose row is a `_Row`, and its launches, of which the first ones were told."""
    inbox = _inbox.Inbox()
    inbox._waiting = _Row()
    launches = [_inbox.Launch(bytearray(payload)) for payload in payloads]
    for number, launch in enumerate(launches, 1):
        inbox.put(launch, True, False)
        if number <= told:
            inbox.tell()
    return inbox, launches


def at_each_look(inbox, call) -> None:
    """Have ``call()`` be what another thread does in the middle of each look at what waits, from now on."""
    row = inbox._waiting

    def call_once():  # what it does looks, too
        row.happens = int
        call()
        row.happens = call_once

    row.happens = call_once


def when_room_is_wanted(inbox, call) -> None:
    """Have ``call()`` be what another thread does when a launch finds no room, just before that is noted."""

    class Watched(_inbox.Inbox):
        @property
        def _room_is_wanted(self):
            return vars(self)["_room_is_wanted"]

        @_room_is_wanted.setter
        def _room_is_wanted(self, wanted):
            if wanted:
                call()
            vars(self)["_room_is_wanted"] = wanted

    inbox.__class__ = Watched


def drop_in_the_middle_of_abandon() -> int:
    """Drop a launch while another thread abandons it, and then what is abandoned; return the bytes left."""

    class Launch(_inbox.Launch):
        __slots__ = ()

        @property
        def turn(self):  # looked at by `abandon` when it has seen that the launch is in hand
            inbox._drop_launch(self)
            return 1

        @turn.setter
        def turn(self, value):
            pass

    inbox, launch = _inbox.Inbox(), Launch(bytearray(b"x"))
    inbox.put(launch, True, False)
    inbox.tell()
    inbox._in_hand[inbox._waiting.popleft()] = None
    launch.state = _inbox.IN_HAND
    inbox.abandon(launch, 1)
    assert launch.state == _inbox.ABANDONED, launch.state
    inbox._drop_launch(inbox._abandoned.popleft())
    return inbox.size


# -- the launch --


@contextlib.contextmanager
def owned_launches(after):
    """Have launches that ask call ``after()`` when the host owns them, before they are answered."""
    judge = _proof.LaunchSide._judge_reply

    def judge_and_tell(side, over):
        judge(side, over)
        if side.owned:
            after()

    with mock.patch.object(_proof.LaunchSide, "_judge_reply", judge_and_tell):
        yield


def claim(port: int, wait: float = 0.0) -> socket.socket | None:
    """Return a listener as that of a host, or None if the port is still taken after ``wait`` seconds."""
    endpoint = _client.Endpoint("127.0.0.1", port)
    return socket.socket(fileno=endpoint.listener.detach()) if endpoint.claim(wait) else None


@contextlib.contextmanager
def claims_of_launches(after, kind=LaunchSocket):
    """Have launches call ``after(error)`` for each try to bind a ``kind``; it is None if that went."""

    class Telling(kind):
        def bind(self, name):
            try:
                super().bind(name)
            except OSError as error:
                after(error)
                raise
            after(None)

    with sockets_of_launches(Telling):
        yield


@contextlib.contextmanager
def sockets_of_launches(factory):
    """Have launches make their sockets by ``factory``."""
    with mock.patch.object(_platform, "new_socket", lambda family: factory(family, socket.SOCK_STREAM)):
        yield


@contextlib.contextmanager
def connections_of_launches(before):
    """Have launches in this process call ``before(sock)`` before each connection."""
    connect = _client.Endpoint._connect

    def tell_and_connect(endpoint, sock, deadline):
        before(sock)
        return connect(endpoint, sock, deadline)

    with mock.patch.object(_client.Endpoint, "_connect", tell_and_connect):
        yield


def no_sockets_of_launches():
    """Fail where a launch makes a socket."""
    return sockets_of_launches(mock.Mock(side_effect=AssertionError("a socket was opened")))


@contextlib.contextmanager
def sleeps_of_launches(sleep):
    """Have launches call ``sleep(seconds)`` instead of sleeping between two claims."""
    with mock.patch.object(_client.time, "sleep", sleep):
        yield


def time_left_for_an_answer(timeout: float) -> float:
    """Return the seconds before the end of ``timeout`` after which a launch does not ask again."""
    with mock.patch.object(_client, "time", types.SimpleNamespace(monotonic=lambda: 100.0)):
        return 100.0 + timeout - _client._last_try(100.0 + timeout)


def ask(port: int, packet: bytes, seconds: float) -> tuple[str, str]:
    """Hand ``packet`` over once; return the answer and what was seen."""
    talk = _wire.Parcel(packet)
    return _client.Endpoint("127.0.0.1", port).ask(talk, time.monotonic() + seconds)


class AnswersOf:
    """What a launch makes of what it finds; see the table in `_client`."""

    RESET, OWNED, REFUSED = _wire.Answer.RESET, _wire.Answer.OWNED, _wire.Answer.REFUSED


def send_and_tell(port: int, argv, seconds: float, after_each_try) -> tuple[list, list]:
    """Send ``argv``; return the answers, one for each try, and what each look for a host of 2.0.0 found."""
    endpoint = _client.Endpoint("127.0.0.1", port)
    exchange, look = endpoint._converse, endpoint._ends_after_a_byte
    answers, looks = [], []

    def exchange_and_tell(*args):
        found = exchange(*args)
        answers.append(found[0])
        after_each_try(len(answers))
        return found

    def look_and_tell(deadline):
        looks.append(look(deadline))
        return looks[-1]

    with mock.patch.multiple(endpoint, _converse=exchange_and_tell, _ends_after_a_byte=look_and_tell):
        _client.send(endpoint, lambda: _wire.Parcel(_wire.encode(argv)), time.monotonic() + seconds)
    return answers, looks


# -- the command line --


command = __main__.main
print_launch = _watch._print_json


def command_starts(popen):
    """Have `run` start its command by ``popen``."""
    return mock.patch.object(_run.subprocess, "Popen", popen)


def command_of(kind: type, execute):
    """Have the command line construct a ``kind``, and `run` call ``execute(words, listener)``."""

    class Runner(kind):
        def execute(self, command):
            return execute(command, self._host.listener)

    return mock.patch.object(_run, "_Runner", Runner)


# -- what differs between systems --

exclusive_option = _platform.exclusive_option
close_resets = _platform.close_resets
