"""What tests know of the inside of the package. They do not use private names themselves.

The first parts offer the ways in which tests change what the package does: its constants (`limits`), the
named points in a host's threads (`at`), the sockets that it makes (`sockets_of_...`) and its clocks. The
others look at a host or a launch and change nothing, except for a few that say so.

If a private name changes, only this file has to be changed. The names that code for 2.0.0 relies on
(``_listening``, ``_observers``, ``_arguments``, ``_clients``, ``_append_args``) are not private: tests
use them directly. Programs that tests start import this module too, as ``inside``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
import types

from Socket_Singleton import (
    _answers,
    _client,
    _identity,
    _key_file,
    _packet,
    _proof,
    _remote,
    _settings,
    _singleton,
    _system,
)
from Socket_Singleton._command import parser as _parser
from Socket_Singleton._command import watch as _watch
from Socket_Singleton._host import delivery as _delivery
from Socket_Singleton._host import forks as _forks
from Socket_Singleton._host import host as _host
from Socket_Singleton._host import inbox as _inbox
from Socket_Singleton._host import packet as _host_packet
from Socket_Singleton._host import peers as _peers
from Socket_Singleton._host import points as _points
from Socket_Singleton._host import proof as _host_proof
from Socket_Singleton._host import replies as _replies
from Socket_Singleton._host import sockets as _host_sockets
from Socket_Singleton._host import threads as _threads

# -- constants --

# Those that tests change or read, and where they are.
_LIMITS = {
    "ACCEPTS_PER_TURN": (_host, "_ACCEPTS"),
    "ANSWER_TIME": (_client, "_ANSWER_TIME"),
    "BACKLOG": (_system, "BACKLOG"),
    "CLOSE_TIME": (_host, "_CLOSE_TIME"),
    "DENIED_TIME": (_key_file, "DENIED_TIME"),
    "DESCRIPTORS_KEPT": (_host_sockets, "DESCRIPTORS_KEPT"),
    "EXIT_TIME": (_singleton, "EXIT_TIME"),
    "HAND_OVER_TIME": (_client, "HAND_OVER_TIME"),
    "TAKE_TIME": (_host, "_TAKE_TIME"),
    "TERMINALS_TAKE_TEXT": (_answers, "TERMINALS_TAKE_TEXT"),
    "RETRY_TIME": (_delivery, "RETRY_TIME"),
    "STALL_TIME": (_replies, "STALL_TIME"),
    "MAX_UNSENT": (_replies, "MAX_UNSENT"),
    "MAX_UNSENT_IN_ALL": (_replies, "MAX_UNSENT_IN_ALL"),
    "KEEPS_PORT_TIME": (_host_sockets, "KEEPS_PORT_TIME"),
    "LOOK_TIME": (_system, "LOOK_TIME"),
    "LEAVE_TIME": (_peers, "LEAVE_TIME"),
    "LONGEST_WAIT": (_client, "_LONGEST_WAIT"),
    "MAX_ASKING": (_peers, "MAX_ASKING"),
    "MAX_BODY": (_replies, "MAX_BODY"),
    "MAX_BUFFERED": (_peers, "MAX_BUFFERED"),
    "MAX_PACKET": (_host_packet, "MAX_PACKET"),
    "MAX_PEERS": (_peers, "MAX_PEERS"),
    "MAX_WAITING": (_inbox, "MAX_WAITING"),
    "OWN_TIME": (_threads, "_OWN_TIME"),
    "PACKET_TO_SEND": (_proof, "MAX_PACKET"),
    "PAUSE": (_host, "_PAUSE"),
    "PEER_TIME": (_peers, "PEER_TIME"),
    "READ_SIZE": (_host, "_READ_SIZE"),
    "SHARE": (_replies, "SHARE"),
    "SHORT": (_peers, "SHORT"),
    "STARTS_HERE": (_threads, "STARTS_HERE"),
    "THREADS_START_LATE": (_threads, "THREADS_START_LATE"),
    "WAIT_STEP": (_client, "_WAIT_STEP"),
}

# Bytes on the wire; see docs/wire.md.
ACK, NAK, HELLO, MAX_PACKET = _packet.ACK, _packet.NAK, _packet.HELLO, _packet.MAX_PACKET
OTHER_SECRET, ENOUGH_CLIENTS = NAK + _packet.OTHER_SECRET, NAK + _packet.ENOUGH_CLIENTS
TOO_MANY_WAIT = NAK + _packet.TOO_MANY_WAIT

# The default port.
PORT = _settings.PORT

# The socket option that gives a port only one listener.
exclusive_option = _system.exclusive_option


def limit(name: str):
    """Return one of the package's constants."""
    module, attribute = _LIMITS[name]
    return getattr(module, attribute)


@contextlib.contextmanager
def replaced(owner, name: str, value):
    """Have ``owner.name`` be ``value`` meanwhile.

    `unittest.mock` can do that too, but its import would make programs that use this module start three times
    as slowly.
    """
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def raising(error: BaseException):
    """Return a function that raises ``error``."""

    def fail(*_, **__):
        raise error

    return fail


@contextlib.contextmanager
def limits(**values):
    """Change constants of the package meanwhile: ``limits(MAX_PEERS=3)``."""
    with contextlib.ExitStack() as stack:
        if "READ_SIZE" in values:
            values["SHORT"] = values["READ_SIZE"]
        for name, value in values.items():
            stack.enter_context(replaced(*_LIMITS[name], value))
        yield


# -- points --


@contextlib.contextmanager
def at(point: str, call):
    """Have hosts call ``call(*details)`` meanwhile whenever one of their threads is at ``point``.

    `Socket_Singleton._host.points` lists all points and their details.
    """
    if f'\n"{point}"' not in _points.__doc__:
        raise ValueError(f"there is no point {point!r}")
    reach = _points.reach

    def reach_and_call(reached, *details):
        reach(reached, *details)
        if reached == point:
            call(*details)

    with replaced(_points, "reach", reach_and_call):
        yield


# -- sockets --

# The class of the sockets that are made; `.sockets` has subclasses that fail or call a function.
LaunchSocket = _system.sockets.socket


@contextlib.contextmanager
def sockets_of_launches(factory):
    """Have launches make their sockets with ``factory``, and hosts the one for their port."""

    def new_socket(family):
        return _system.above_stdio(lambda: factory(family, socket.SOCK_STREAM))

    with replaced(_system, "new_socket", new_socket):
        yield


@contextlib.contextmanager
def sockets_of_peers(kind):
    """Have each connection that hosts accept be a ``kind``."""
    accept = _host_sockets.accept
    with replaced(_host_sockets, "accept", lambda listener: _as_kind(kind, accept(listener))):
        yield


@contextlib.contextmanager
def sockets_of_wakers(kind):
    """Have a pair of ``kind`` wake the I/O threads of hosts that begin meanwhile."""
    pair = _host.socket_pair
    with replaced(_host, "socket_pair", lambda: [_as_kind(kind, sock) for sock in pair()]):
        yield


def _as_kind(kind, sock):
    return kind(sock.family, sock.type, sock.proto, sock.detach())


def claim(port: int, wait: float = 0.0) -> socket.socket | None:
    """Return a listener like that of a host, or None if the port is still taken after ``wait`` seconds."""
    endpoint = _client.Endpoint("127.0.0.1", port)
    return socket.socket(fileno=endpoint.listener.detach()) if endpoint.claim(wait) else None


# -- clocks --


def clock_of_hosts(ahead: float):
    """Have the clock of hosts in this process be ``ahead`` seconds ahead meanwhile."""
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=time.sleep)
    return replaced(_host, "time", clock)


@contextlib.contextmanager
def clock_of_launches(monotonic=time.monotonic, sleep=time.sleep):
    """Have launches in this process use this clock meanwhile, and this function to sleep between attempts."""
    clock = types.SimpleNamespace(monotonic=monotonic, sleep=sleep)
    with contextlib.ExitStack() as stack:
        for module in (_client, _remote, _singleton):
            stack.enter_context(replaced(module, "time", clock))
        yield


# -- names --


def place_of_name(name: str) -> tuple[str, int]:
    """Return the place of ``name`` for this user."""
    return _identity.place_unless_given(name, _settings.ADDRESS, PORT)


def key_file() -> str:
    """Return the path of this user's key, which may not exist."""
    return os.path.join(_key_file.state_base(_key_file._FOLDER), "key")


def names_of_keys(error: BaseException):
    """Have ``error`` raised instead of giving a new key its name."""
    return replaced(_key_file, "give_place", raising(error))


def identity(name: str, secret: bytes | None = None):
    """Return this user's identity as ``name``; the key is made if there is none."""
    return _identity.identify(name, secret, make_key=True)


def hello_of_host(name: str, place: tuple[str, int], hello: bytes) -> bytes:
    """Return the answer of a host at ``place``, with this name and the right key, to a launch's ``hello``."""
    return _host_proof.HostSide(identity(name), place).feed(hello)


def launch_side(name: str, argv, asks: bool):
    """Return the side of a launch to a host of this ``name``: its `open` and `feed` return what it sends."""
    output = (lambda *_: None) if asks else None
    return _proof.LaunchSide(identity(name), _proof.encode_launch(argv), output=output)


def count_kept(side) -> int:
    """Return how many bytes one side of a conversation keeps of what it was fed."""
    return len(side._data)


# -- a host, and its connections --


def _host_of(app):
    return app._Socket_Singleton__host


def _delivery_of(app):
    return app._Socket_Singleton__delivery


def is_inert(app) -> bool:
    """Whether it is not a host because it was constructed in a worker that imports the main module."""
    return _host_of(app) is None


def io_thread(app):
    return _host_of(app)._thread


def wake(app) -> None:
    """Have the I/O thread look although nothing is new. This only adds a turn."""
    _host_of(app).wake()


def is_notified_of_forks(app) -> bool:
    """Whether the host is notified of forks."""
    return _host_of(app) in _forks._followers


def lock_of_forks():
    """Return the lock that is held during a fork, and while a connection is being accepted."""
    return _forks.lock


def keep_alive_options() -> list[tuple[int, int]]:
    """Return the options (level and number) that detect a vanished peer on a quiet connection."""
    timed = [getattr(socket, name) for name, _ in _system._KEEP_ALIVE if hasattr(socket, name)]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *((socket.IPPROTO_TCP, option) for option in timed)]


@contextlib.contextmanager
def talks_that_fail(part: str, error: BaseException, times: int = 2):
    """Have the first ``times`` connections without a name raise ``error``; yield the list of them."""
    failed, feed = [], getattr(_host_packet.Packet, part)

    def fail_or_feed(talk, *said):
        if len(failed) < times:
            failed.append(talk)
            raise error
        return feed(talk, *said)

    with replaced(_host_packet.Packet, part, fail_or_feed):
        yield failed


def system_that_cannot_count_unacknowledged_bytes():
    """Have the system not say how many of the sent bytes are acknowledged."""
    return replaced(_host_sockets.fcntl, "ioctl", raising(OSError(errno.EPERM, "not permitted")))


def count_peers(app) -> int:
    """Return the number of the host's connections."""
    return len(list(_host_of(app)._peers))


def descriptors_of_peers(app) -> list[int]:
    """Return the descriptors of the host's connections."""
    return [peer.sock.fileno() for peer in _host_of(app)._peers]


def count_proved(app) -> int:
    """Return the number of the host's peers that have proved themselves but have not sent a whole packet."""
    return sum(peer.talk.proved for peer in _host_of(app)._peers.reading)


def count_asking(app) -> int:
    """Return the number of launches that wait for an answer."""
    return len(_host_of(app)._peers.asking)


def is_sending_an_answer(app) -> bool:
    """Whether a launch has not read all of its answer yet."""
    return any(peer.outgoing for peer in _host_of(app)._peers.asking)


def waits_until_a_launch_reads(app) -> bool:
    """Whether the system takes no more for a launch, which does not read."""
    return any(peer.watched & selectors.EVENT_WRITE for peer in _host_of(app)._peers.asking)


def is_found_to_stall(app) -> bool:
    """Whether a writer has waited for too long for a launch to read."""
    return any(peer.reply.stalls for peer in _host_of(app)._peers.asking)


def interrupt_begin(app, handler) -> None:
    """Have ``handler()`` run in the middle of the step that begins a launch, as a signal handler might."""

    class Interrupted(dict):
        def __delitem__(self, entry):
            handler()
            super().__delitem__(entry)

    inbox = _delivery_of(app).inbox
    inbox._in_hand = Interrupted(inbox._in_hand)


def count_unsent(app) -> int:
    """Return how many bytes of output are waiting, as the host counts them."""
    return _host_of(app).unsent()


@contextlib.contextmanager
def after_counting_unsent(app, call):
    """Have each thread that has counted what is waiting for all launches call ``call()`` meanwhile."""
    host = _host_of(app)
    count = host.unsent

    def count_and_call():
        counted = count()
        call()
        return counted

    with replaced(host, "unsent", count_and_call):
        yield


def count_received(app) -> int:
    """Return how many bytes the host has read from all its peers."""
    return sum(peer.talk._received for peer in _host_of(app)._peers)


def count_buffered(app) -> int:
    """Return the bytes of incomplete packets as the host counts them."""
    return _host_of(app)._peers._buffered


def peers_with_one_deadline(count: int):
    """Return a collection of peers, and ``count`` peers in it, in the order in which they came."""
    peers, made = _peers.Peers(), []
    for _ in range(count):
        with socket.socket() as sock:
            made.append(_peers.Peer(sock, _host_packet.Packet(), 5.0))
        peers.add(made[-1])
    return peers, made


# -- from the host to the observers --

Inbox, Entry = _inbox.Inbox, _inbox.Entry


def observer_thread(app):
    return _delivery_of(app)._thread


def waits_for_a_thread(app) -> bool:
    """Whether the observer thread could not be started, and will be tried again."""
    return _delivery_of(app)._unstarted is not None


def count_waiting_bytes(app) -> int:
    """Return the bytes of the waiting launches as the bound counts them."""
    return _delivery_of(app).inbox.size


def inbox_lock(app):
    """Return the lock that is held while `arguments` is read and while a launch is taken."""
    return _delivery_of(app).inbox._lock


def inbox_with(row, payloads, acknowledged: int):
    """Return an inbox whose launches wait in ``row``, and these, the first of which are acknowledged."""
    inbox, entries = Inbox(), [Entry(bytearray(payload)) for payload in payloads]
    inbox._waiting = row
    for number, entry in enumerate(entries, 1):
        inbox.put(entry, True, False)
        entry.acknowledged = number <= acknowledged
    return inbox, entries


def interrupt_news(app, handler):
    """Have ``handler()`` run once while the observer thread is notified; return whether it was notified.

    Notifying takes several steps, and a signal handler may run in between.
    """
    news = _delivery_of(app)._news

    def interrupted():
        _delivery_of(app)._news = news
        handler()
        return True

    _delivery_of(app)._news = types.SimpleNamespace(
        locked=interrupted, release=news.release, acquire=news.acquire
    )
    return lambda: not news.locked()


@contextlib.contextmanager
def while_the_delivery_is_made(call):
    """Have ``call()`` run in the middle of it, as another thread might."""
    make = _delivery.Delivery

    def call_and_make(*arguments):
        patched.__exit__(None, None, None)
        call()
        return make(*arguments)

    patched = replaced(_delivery, "Delivery", call_and_make)
    patched.__enter__()
    yield


# -- the command line --

command = _parser.main
print_launch = _watch._print_json
