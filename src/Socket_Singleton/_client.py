"""What a launch does on the network: claim the port, or hand over its arguments.

==========================  ==============================  ==========================
the host's answer           what it means                   the launch
==========================  ==============================  ==========================
``ACK``                     the host owns the packet        ends
``ACK``, then no answer     it ended, or took too long      fails
``NAK``, enough clients     it accepts no more              ends
``NAK``, another reason     it rejects this launch          fails
orderly end, no byte        2.0.0 took it, or our host      claims once more, then
                            has died                        ends
refused, reset, connected   nobody owns it                  claims, asks again, until
to itself, backlog is full                                  the deadline
reset of more than 1,024    2.0.0 took the part that it     fails
bytes, and an orderly end   reads, and would do so each
of a connection with a NUL  time
other bytes                 not a Socket_Singleton          fails
silence after sending       it hangs, or is another         fails; never sends
                            program                         again
==========================  ==============================  ==========================

"Fails" means with a message on stderr and status 1, or with an exception; see
`Socket_Singleton.__end`.

If the first packet was only late, a second one would be a second delivery. So a launch sends
again only when it knows that nobody owns what it sent: it looks once more for an answer, and
then lets its connection end with a reset.
"""

import time

from . import _system
from ._packet import Answer, Parcel, encode
from ._system import SIGNALS_END_WAITS, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Protocol, Sequence

    from ._proof import Identity

    class Talk(Protocol):
        """The launch's side of one connection; `_packet.Parcel` or `_proof.LaunchSide`."""

        ends_stream: bool  # whether to end the stream once everything is sent
        committed: bool  # everything is sent, so the host may own the launch even if it does not answer
        asks: bool  # whether the launch waits for an answer
        owned: bool  # the host owns the launch, and has not answered yet
        answer: Any  # the frame with the answer, for `_answers.read`
        found: str | None  # an `Answer`, once it is known
        seen: str  # a description of it

        def open(self, remote: Any) -> bytes: ...
        def feed(self, data: bytes) -> bytes: ...


# Seconds that a second launch has for everything: long enough for a host that
# is busy or just starting, short enough for a person who double-clicked.
HAND_OVER_TIME = 2.0

# Seconds between two claims of a launch that waits. It should get the port within 50 ms
# after the host has gone, and cost less than 1 % of a core: waking up and claiming
# takes 0.05 to 0.2 ms.
_WAIT_STEP = 0.04

# Seconds between two tries, doubling from the first to the last. A host that is just
# starting answers within milliseconds, and one that never answers costs little.
_FIRST_PAUSE = 0.001
_LAST_PAUSE = 0.05

# Seconds that must be left for the answer to another try, or a quarter of the whole time
# if that is less: a packet that is sent later might be delivered after its launch has given
# up. An answer takes well under a millisecond, but far more if the host is just starting on
# a busy machine.
_ANSWER_TIME = 0.5

# Bytes that a host of 2.0.0 reads of a launch; with more, its end is a reset.
_OLD_READ = 1024

# Seconds within which such a host would end a connection after one byte, unless it is
# busy with an observer. Our host waits for more bytes during that time.
_OLD_TIME = 0.5

# Bytes read at a time. With more, a launch whose stdout is slow would not read anything for too long.
_READ = 32 * 1024

# The longest time in seconds for which a socket is asked to wait.
_LONGEST_WAIT = 24 * 60 * 60.0


class Endpoint:
    """One address and port, resolved: where a launch claims, and where it asks."""

    def __init__(self, address: str, port: int) -> None:
        """Resolve ``address``; no socket is opened.

        Raises:
            OSError: ``address`` is not known (``socket.gaierror``).
        """
        self.address, self.port = address, port
        try:
            self.family, self.name = _resolve(address or "0.0.0.0", port)  # "" is a wildcard, as in 2.0.0
        except OSError as error:
            self._named(error)
            hint = "if that is the name of an application, give it as the name, not as the address"
            error.strerror = f"{error.strerror}; {hint}"
            raise
        # Nobody can be reached at a wildcard; its host also listens on loopback.
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(self.name[0]), self.name[0])
        self._reach = (loopback, *self.name[1:])
        # The socket that is being bound. It is kept here from the start, so that it can be closed
        # whatever interrupts the launch; None once it has another owner.
        self.listener: sockets.socket | None = None
        # Why the last claim found the port in use.
        self.refusal: OSError | None = None
        self._looked_for_old_host = False  # this is done only once
        # Whether this was computed from a name, so that hardly anybody else is here; None without a name.
        self.is_derived: bool | None = None

    def claim(self, wait: float = 0.0) -> bool:
        """Make `listener` listen here; return False if the port is still taken after ``wait`` seconds.

        bind and listen count as one step: on Linux, with SO_REUSEADDR, two processes can both
        bind, and the second one fails in ``listen``.

        Raises:
            OSError: another error, because the address is not one of this machine, the port is
                privileged, and so on. Its text names the address and port.
        """
        until = time.monotonic() + wait
        while True:
            try:
                self.listener = listener = _system.new_socket(self.family)
                listener.setsockopt(sockets.SOL_SOCKET, _system.exclusive_option(), 1)
                # For its peers, which inherit this from the first moment on.
                _system.close_resets(listener)
                self._bind(listener, until)
                listener.listen(_system.BACKLOG)
                return True
            except BaseException as error:
                self.drop_listener()
                if not isinstance(error, OSError):
                    raise
                if not _system.is_in_use(error):
                    raise self._named(error) from None
                self.refusal = error
            if time.monotonic() >= until:
                return False

    def drop_listener(self) -> None:
        """Close the socket that was being bound."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def _bind(self, listener: sockets.socket, until: float) -> None:
        """Bind ``listener`` as soon as possible; if that fails until then, raise the error."""
        while True:
            try:
                listener.bind(self.name)
                return
            except OSError as error:
                left = until - time.monotonic()
                if left <= 0 or not _system.is_in_use(error):
                    raise
            # The same socket again: a new one each time would double the cost of a wait.
            time.sleep(min(_WAIT_STEP, left))

    def _named(self, error: OSError) -> OSError:
        """Return ``error`` with the address and port in its text."""
        if error.strerror:
            hint = _system.without_ipv4_hint(error, self.name[0]) if hasattr(self, "name") else ""
            error.strerror = f"{error.strerror}: {self.address} port {self.port}{hint}"
        return error

    def find(self, deadline: float) -> "tuple[str, str]":
        """Find out whether a program listens here; return the `Answer` and a description of it."""
        sock = _system.new_socket(self.family)
        try:
            return self._connect(sock, deadline) or (Answer.FOUND, "")
        finally:
            sock.close()

    def ask(self, talk: "Talk", deadline: float, patience: float = 0.0) -> "tuple[str, str]":
        """Have ``talk`` with whoever listens here; return the `Answer` and a description of it.

        Args:
            deadline: the time on the monotonic clock until which to hand over.
            patience: the same for the answer, if the talk waits for one. While output is shown,
                this clock stands still.
        """
        found, seen = self._converse(talk, deadline, patience)
        long = isinstance(talk, Parcel) and len(talk.packet) > _OLD_READ
        if found == Answer.RESET and long and not self._looked_for_old_host:
            self._looked_for_old_host = True
            if self._ends_after_a_byte(deadline):
                return Answer.CUT, f"it is of version 2.0.0, which took the first {_OLD_READ} bytes"
        return found, seen

    def _connect(self, sock: sockets.socket, deadline: float) -> "tuple[str, str] | None":
        """Connect; return None if that succeeded, otherwise what was found."""
        try:
            sock.settimeout(_left(deadline))
            sock.connect(self._reach)
            # If nothing listens on an ephemeral port, a connection to it can be given that
            # very port as its own end.
            if sock.getsockname() == sock.getpeername():
                # An orderly end of such a connection would block the port for a minute.
                _system.close_resets(sock)
                return Answer.REFUSED, "the launch was connected to itself"
        except ConnectionRefusedError as error:
            return Answer.REFUSED, str(error.strerror)
        except sockets.timeout:
            return Answer.UNREACHED, "no answer in time"
        except OSError as error:  # a reset; no local port, no route ...: it may pass
            return Answer.RESET, _system.why_no_connection(error, self._reach[0])
        return None

    def _converse(self, talk: "Talk", deadline: float, patience: float) -> "tuple[str, str]":
        sock = _system.new_socket(self.family)
        try:
            return self._connect(sock, deadline) or _exchange(sock, talk, deadline, patience)
        finally:
            sock.close()

    def _ends_after_a_byte(self, deadline: float) -> bool:
        """Whether a NUL is answered by an orderly end: to 2.0.0 it is a whole launch without arguments."""
        deadline = min(deadline, time.monotonic() + _OLD_TIME)
        sock = _system.new_socket(self.family)
        try:
            if self._connect(sock, deadline) is not None:
                return False
            _system.close_resets(sock)  # so that our host does not take it for a launch
            sock.sendall(b"\0", _system.NO_SIGNAL)
            return not sock.recv(1)
        except OSError:
            return False
        finally:
            sock.close()


def _exchange(sock: sockets.socket, talk: "Talk", deadline: float, patience: float) -> "tuple[str, str]":
    """Send what ``talk`` wants to send and feed it what arrives, until it knows what it has found."""
    said = False  # whether everything that there is to send so far is on its way
    try:
        # If anything ends this launch halfway, the host must see a reset: an orderly end
        # would make half a packet look like a whole one.
        _system.close_resets(sock)
        if talk.asks:
            _system.keep_alive(sock)
            _system.limit_buffer(sock, sockets.SO_RCVBUF)
        say = talk.open(sock.getpeername())
        while talk.found is None:
            if say:
                said = False
                _say(sock, say, talk.ends_stream, deadline)
            said = True
            received = _receive(sock, patience, True) if talk.owned else _receive(sock, deadline)
            begun = time.monotonic()
            say = talk.feed(received)
            # To show output may take long, and is no wait for the host: it may have answered meanwhile.
            patience += time.monotonic() - begun
    except OSError as error:
        # Whatever failed here, the other side may have answered.
        received = _receive_once_more(sock, error, said, deadline)
        if received:
            talk.feed(received)
        if talk.found is None:
            return _failure(error, said and talk.committed, talk.owned)
    assert talk.found is not None
    return talk.found, talk.seen


def _say(sock: sockets.socket, data: bytes, all_of_it: bool, deadline: float) -> None:
    sock.settimeout(_left(deadline))
    sock.sendall(data, _system.NO_SIGNAL)
    if all_of_it:
        sock.shutdown(sockets.SHUT_WR)


def _receive(sock: sockets.socket, deadline: float, is_long: bool = False) -> bytes:
    while True:
        left = _left(deadline)
        sock.settimeout(left)
        try:
            if is_long and not SIGNALS_END_WAITS:  # pragma: no cover (Windows)
                from ._wakeup import wait_to_receive

                wait_to_receive(sock, left)
            return sock.recv(_READ)
        except sockets.timeout:
            # Trust the system, and not the clock of this program, which a test may have stopped, unless the
            # system was asked to wait for less time, or a signal ended the wait.
            is_over = left < _LONGEST_WAIT and (SIGNALS_END_WAITS or not is_long)
            if is_over or time.monotonic() >= deadline:
                raise


def _receive_once_more(sock: sockets.socket, error: OSError, said: bool, deadline: float) -> bytes:
    """Return what the other side sent before ``error``, if anything."""
    if isinstance(error, sockets.timeout):
        return b""
    # After a reset, or if something is still unsent, nothing more will come.
    wait = said and not isinstance(error, ConnectionError)
    try:
        return _receive(sock, deadline if wait else 0.0)
    except OSError:
        return b""


def _failure(error: OSError, committed: bool, owned: bool) -> "tuple[str, str]":
    """Return what an error means.

    Args:
        committed: whether everything was sent, so that the host may come to own the launch.
        owned: whether the host owns the launch.
    """
    late = isinstance(error, sockets.timeout)
    seen = "no answer in time" if late else str(error.strerror)
    if owned:
        return (Answer.LATE if late else Answer.LOST), seen
    if late or (committed and not isinstance(error, ConnectionError)):
        return Answer.SILENT, seen
    return Answer.RESET, seen


class Outcome:
    """The outcome of a launch that found the port taken."""

    __slots__ = ("claimed", "found", "seen", "talk")

    def __init__(self, claimed: bool, found: str, seen: str, talk: "Talk | None") -> None:
        self.claimed = claimed  # the port became free, and the endpoint's listener has it
        self.found = found  # an `Answer`
        self.seen = seen  # a description of it
        self.talk = talk


# Answers after which the port may become free.
_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED)


def hand_over(
    endpoint: Endpoint,
    new_talk: "Callable[[], Talk] | None",
    deadline: float,
    patience: float,
    report: "Callable[[str], None]",
) -> Outcome:
    """Work down the table for a launch that found the port taken.

    Args:
        new_talk: makes the talk for each try; None: only look whether a program listens.
        deadline: the time on the monotonic clock until which to hand over.
        patience: the same for the answer, if the launch waits for one, as for `Endpoint.ask`.
        report: called with what was seen, the first time that nobody answers.
    """
    last, first = last_try(deadline), True
    for pause in pauses():
        talk = new_talk() if new_talk else None
        found, seen = endpoint.ask(talk, deadline, patience) if talk else endpoint.find(deadline)
        if found not in _PASSING:
            break
        claimed = endpoint.claim()
        if claimed or found == Answer.CLOSED:
            return Outcome(claimed, found, seen, talk)
        if first:
            report(seen)
        first = False
        if time.monotonic() + pause >= last:
            break
        time.sleep(pause)
    return Outcome(False, found, seen, talk)


def pauses() -> "Iterator[float]":
    """Yield the seconds to wait after each try, without end."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LAST_PAUSE)


def _resolve(host: str, port: int) -> "tuple[int, Any]":
    """Return the family and the socket address of ``host``, the same in every launch."""
    try:
        # The resolver takes longer than bind does.
        sockets.inet_pton(sockets.AF_INET, host)
        return sockets.AF_INET, (host, port)
    except (OSError, ValueError):
        pass  # a name, IPv6, or not known
    # Bytes, because a str goes through the idna codec, whose import alone takes longer than
    # the rest of a launch.
    found = sockets.getaddrinfo(host.encode() if host.isascii() else host, port, 0, sockets.SOCK_STREAM)
    # Whatever order the resolver returns, IPv4 comes first, because 2.0.0 knows only IPv4.
    found.sort(key=lambda info: (info[0] != sockets.AF_INET, info[4]))
    return found[0][0], found[0][4]


def last_try(deadline: float) -> float:
    """Return the time until which a try may begin."""
    return deadline - min(_ANSWER_TIME, _left(deadline) / 4)


def _left(deadline: float) -> float:
    """Return the seconds until ``deadline`` for a socket: never 0 ("do not wait") and never infinite."""
    return min(max(deadline - time.monotonic(), 0.001), _LONGEST_WAIT)


def talks(
    argv: "Sequence[str]",
    identity: "Identity | None",
    secret: "bytes | None",
    environ: "Sequence[str]" = (),
    output: "Callable[[int, bytes], object] | None" = None,
) -> "Callable[[], Talk]":
    """Return a function that makes the launch's side of a connection that hands over ``argv``.

    Args:
        environ: the names of variables to hand over as well, if they are set.
        output: receives what observers write, if the launch waits for an answer.
    """
    if identity is None:
        packet = encode(argv, secret)
        return lambda: Parcel(packet)
    from ._proof import LaunchSide, encode_launch

    packet = encode_launch(argv, environ)
    return lambda: LaunchSide(identity, packet, output)
