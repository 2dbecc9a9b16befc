"""What a launch does on the network: claim the port, or hand its arguments over.

==========================  ==============================  ==========================
the host's answer           what it means                   the launch
==========================  ==============================  ==========================
``ACK``                     the host owns the packet        ends
``ACK``, then no answer     it ended, or took too long      ends, told
``NAK``, enough clients     it takes no more                ends
``NAK``, another reason     it does not take this launch    ends, told
orderly end, no byte        2.0.0 took it, or our host      claims once more, then
                            has died                        ends
refused, reset, met itself, nobody owns it                  claims, asks again, until
no room in the backlog                                      the deadline
reset of more than 1,024    2.0.0 took what it reads of     ends, told
bytes, and an orderly end   it, and would each time
of a connection with a NUL
other bytes                 not a Socket_Singleton          ends, told
silence after sending       it hangs, or is another         ends, told; never sends
                            program                         again
==========================  ==============================  ==========================

"Told": with words on stderr and status 1, or as an error; `Socket_Singleton._end` does it.

A second packet would be a second delivery if the first one was only late;
so a launch sends again only when it knows that nobody owns what it sent: it
looks once more for an answer, and then has its connection end by a reset.
"""

from __future__ import annotations

import time

from . import _platform
from ._platform import sockets
from ._wire import Answer, Parcel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Protocol

    class Talk(Protocol):
        """The launch's side of one connection; `_wire.Parcel` or `_proof.LaunchSide`."""

        ends_stream: bool  # when it has said what it has to say
        committed: bool  # all is said, so the host may own it, though no answer comes
        owned: bool  # the host owns it, and has not answered yet
        answer: Any  # the frame in which it did; `_answers.read`
        found: str | None  # an `Answer`, once it is known
        seen: str  # the words for it

        def open(self, remote: Any) -> bytes: ...
        def feed(self, data: bytes) -> bytes: ...


# Seconds that a second launch has for everything: long enough for a host that
# is busy or just starting, short enough for a person who double-clicked.
HAND_OVER_TIME = 2.0

# Seconds between two claims of a launch that waits. It is to have the port within
# 50 ms after the host went, and to cost less than 1 % of a core: to wake up and to
# claim takes 0.05 to 0.2 ms.
_WAIT_STEP = 0.04

# Seconds between two tries, doubling from the first to the last: a host that is
# just starting answers within milliseconds, one that never does costs little.
_FIRST_PAUSE = 0.001
_LAST_PAUSE = 0.05

# Seconds that must be left for the answer to another try, or a quarter of the whole
# time if that is less: a packet that is sent later may be delivered though its launch
# has given up. An answer takes well under a millisecond, that of a host which is just
# starting on a busy machine far more.
_ANSWER_TIME = 0.5

# Bytes that a host of 2.0.0 reads of a launch; with more, its end is a reset.
_OLD_READ = 1024

# Seconds in which such a host would end a connection after one byte, if it is not
# busy with an observer. Ours waits for more, and uses them up.
_OLD_TIME = 0.5

# Bytes read of an answer at a time.
_READ_SIZE = 64 * 1024

# Seconds, the longest that a socket is asked to wait at once.
_LONGEST_WAIT = 24 * 60 * 60.0


class Endpoint:
    """One address and port, resolved: where a launch claims, and where it asks."""

    def __init__(self, address: str, port: int) -> None:
        """Resolve ``address``; no socket is opened.

        Raises:
            OSError: ``address`` is not known (``socket.gaierror``).
        """
        self.address, self.port = address, port
        self.whom = f"{address} port {port}"  # as errors say it
        try:
            self.family, self.name = _resolve(address or "0.0.0.0", port)  # "" is a wildcard, as in 2.0.0
        except OSError as error:
            self._named(error)
            error.strerror = f"{error.strerror}; if that is the name of an application: name={address!r}"
            raise
        # Nobody can be reached at a wildcard; its host also listens on loopback.
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(self.name[0]), self.name[0])
        self._reach = (loopback, *self.name[1:])
        # What is being bound. Kept here from its first moment on, so that whoever is
        # interrupted at any step can close it; None once another owner has it.
        self.listener: sockets.socket | None = None
        # Why the last claim found the port in use.
        self.refusal: OSError | None = None
        self._looked_for_old_host = False  # which is done once

    def claim(self, wait: float = 0.0) -> bool:
        """Have `listener` listen here; False if the port is still taken after ``wait`` seconds.

        bind and listen are one step: with SO_REUSEADDR two processes can both
        bind on Linux, and it is ``listen`` that the second one fails.

        Raises:
            OSError: neither: the address is not this machine's, the port is privileged ...
                Its text tells the address and port.
        """
        until = time.monotonic() + wait
        while True:
            try:
                self.listener = listener = _platform.new_socket(self.family)
                listener.setsockopt(sockets.SOL_SOCKET, _platform.exclusive_option(), 1)
                # For its peers, which inherit this from the first moment on.
                _platform.close_resets(listener)
                self._bind(listener, until)
                listener.listen(_platform.BACKLOG)
                return True
            except BaseException as error:
                self.drop_listener()
                if not isinstance(error, OSError):
                    raise
                if not _platform.is_in_use(error):
                    raise self._named(error) from None
                self.refusal = error
            if time.monotonic() >= until:
                return False

    def drop_listener(self) -> None:
        """Close what was being bound."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def _bind(self, listener: sockets.socket, until: float) -> None:
        """Bind ``listener`` as soon as that goes; if it does not until then, raise why."""
        while True:
            try:
                listener.bind(self.name)
                return
            except OSError as error:
                left = until - time.monotonic()
                if left <= 0 or not _platform.is_in_use(error):
                    raise
            # The same socket again: a new one each time would double the cost of a wait.
            time.sleep(min(_WAIT_STEP, left))

    def _named(self, error: OSError) -> OSError:
        """Return ``error`` with the address and port in its text."""
        if error.strerror:
            error.strerror = f"{error.strerror}: {self.address} port {self.port}"
        return error

    def hint(self, found: str) -> str:
        """Return more words on why the port cannot be had, where the system knows more."""
        reserved = found == Answer.REFUSED and self.refusal and _platform.is_reserved(self.refusal)
        return f"; {_platform.RESERVED_HINT}" if reserved else ""

    def find(self, deadline: float) -> tuple[str, str]:
        """Find out whether somebody listens here; return the `Answer`, and words for it."""
        sock = _platform.new_socket(self.family)
        try:
            return self._connect(sock, deadline) or (Answer.FOUND, "")
        finally:
            sock.close()

    def ask(self, talk: Talk, deadline: float, patience: float = 0.0) -> tuple[str, str]:
        """Have ``talk`` with whoever listens here; return the `Answer`, and words for it.

        Args:
            deadline: on the monotonic clock, for the hand-over.
            patience: the same for the answer, where the talk waits for one.
        """
        found, seen = self._converse(talk, deadline, patience)
        long = isinstance(talk, Parcel) and len(talk.packet) > _OLD_READ
        if found == Answer.RESET and long and not self._looked_for_old_host:
            self._looked_for_old_host = True
            if self._ends_after_a_byte(deadline):
                return Answer.CUT, f"it is of version 2.0.0, which took the first {_OLD_READ} bytes"
        return found, seen

    def _connect(self, sock: sockets.socket, deadline: float) -> tuple[str, str] | None:
        """Connect; return None if that went, else what was found."""
        try:
            sock.settimeout(_left(deadline))
            sock.connect(self._reach)
            # On an ephemeral port nobody listens on, a connection can get
            # that very port as its own end.
            if sock.getsockname() == sock.getpeername():
                # An orderly end of such a one keeps the port from everybody for a minute.
                _platform.close_resets(sock)
                return Answer.REFUSED, "the connection met itself"
        except ConnectionRefusedError as error:
            return Answer.REFUSED, str(error.strerror)
        except sockets.timeout:
            return Answer.UNREACHED, "no answer in time"
        except OSError as error:  # a reset; no local port, no route ...: it may pass
            return Answer.RESET, str(error.strerror)
        return None

    def _converse(self, talk: Talk, deadline: float, patience: float) -> tuple[str, str]:
        sock = _platform.new_socket(self.family)
        try:
            return self._connect(sock, deadline) or _exchange(sock, talk, deadline, patience)
        finally:
            sock.close()

    def _ends_after_a_byte(self, deadline: float) -> bool:
        """Whether a NUL is answered by an orderly end: to 2.0.0 it is a whole launch, without words."""
        deadline = min(deadline, time.monotonic() + _OLD_TIME)
        sock = _platform.new_socket(self.family)
        try:
            if self._connect(sock, deadline) is not None:
                return False
            _platform.close_resets(sock)  # to our host it then was no launch
            sock.sendall(b"\0")
            return not sock.recv(1)
        except OSError:
            return False
        finally:
            sock.close()


def _exchange(sock: sockets.socket, talk: Talk, deadline: float, patience: float) -> tuple[str, str]:
    """Say what ``talk`` has to say, and have it hear the other side, until it knows what it found."""
    said = False  # whether all that there is to say so far is on its way
    try:
        # Whatever ends this launch halfway, the host must see a reset: an orderly
        # end would make half a packet look like a whole one.
        _platform.close_resets(sock)
        say = talk.open(sock.getpeername())
        while talk.found is None:
            if say:
                said = False
                _say(sock, say, talk.ends_stream, deadline)
            said = True
            say = talk.feed(_receive(sock, patience, True) if talk.owned else _receive(sock, deadline))
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
    sock.sendall(data)
    if all_of_it:
        sock.shutdown(sockets.SHUT_WR)


def _receive(sock: sockets.socket, deadline: float, is_long: bool = False) -> bytes:
    while True:
        left = _left(deadline)
        sock.settimeout(left)
        try:
            if is_long:
                _platform.wait_to_receive(sock, left)
            return sock.recv(_READ_SIZE)
        except sockets.timeout:
            if time.monotonic() >= deadline:
                raise


def _receive_once_more(sock: sockets.socket, error: OSError, said: bool, deadline: float) -> bytes:
    """Return what the other side has said before ``error``; nothing if it did not."""
    if isinstance(error, sockets.timeout):
        return b""
    # After a reset, or with something unsaid, there is no more to come.
    wait = said and not isinstance(error, ConnectionError)
    try:
        return _receive(sock, deadline if wait else 0.0)
    except OSError:
        return b""


def _failure(error: OSError, committed: bool, owned: bool) -> tuple[str, str]:
    """Return what an error means.

    Args:
        committed: all was said, so the host may come to own it.
        owned: it does.
    """
    late = isinstance(error, sockets.timeout)
    seen = "no answer in time" if late else str(error.strerror)
    if owned:
        return (Answer.LATE if late else Answer.LOST), seen
    if late or (committed and not isinstance(error, ConnectionError)):
        return Answer.SILENT, seen
    return Answer.RESET, seen


class Outcome:
    """How a launch ended that found the port taken."""

    __slots__ = ("claimed", "found", "seen", "talk")

    def __init__(self, claimed: bool, found: str, seen: str, talk: Talk | None) -> None:
        self.claimed = claimed  # the port came free, and the endpoint's listener has it
        self.found = found  # an `Answer`
        self.seen = seen  # words for it
        self.talk = talk


def send(endpoint: Endpoint, new_talk: Callable[[], Talk], deadline: float, patience: float = 0.0) -> Talk:
    """Return the talk in which a host took the launch; the errors are those of `Socket_Singleton.send`."""
    pause, last = 0.0, _last_try(deadline)
    while True:
        talk = new_talk()
        found, seen = endpoint.ask(talk, deadline, patience)
        if found == Answer.OWNED:
            return talk
        where = endpoint.whom
        if found == Answer.REFUSED:
            raise ConnectionRefusedError(f"nobody listens at {where} ({seen})")
        if found == Answer.LATE:
            raise TimeoutError(f"{where} has taken it, and has not answered in time")
        if found == Answer.LOST:
            raise ConnectionError(f"{where} ended before it answered ({seen}); it may have acted upon it")
        if found not in (Answer.RESET, Answer.SILENT, Answer.UNREACHED):
            raise ConnectionError(f"not confirmed by {where}: {seen}")
        pause = min(pause * 2 or _FIRST_PAUSE, _LAST_PAUSE)
        if found != Answer.RESET or time.monotonic() + pause >= last:
            raise TimeoutError(f"not confirmed in time by {where} ({seen})")
        time.sleep(pause)


def look(endpoint: Endpoint, new_talk: Callable[[], Talk] | None, deadline: float) -> tuple[str, str]:
    """Find out who listens: somebody, or whoever proves to be the other side of ``new_talk``."""
    pause = 0.0
    while True:
        found, seen = endpoint.ask(new_talk(), deadline) if new_talk else endpoint.find(deadline)
        pause = min(pause * 2 or _FIRST_PAUSE, _LAST_PAUSE)
        if found != Answer.RESET or time.monotonic() + pause >= deadline:
            return found, seen
        time.sleep(pause)  # a host that ends; there may be another one


# What leaves open whether the port comes free, and who has it then.
_PASSING = (Answer.CLOSED, Answer.REFUSED, Answer.RESET, Answer.UNREACHED)


def hand_over(
    endpoint: Endpoint,
    new_talk: Callable[[], Talk] | None,
    deadline: float,
    patience: float,
    report: Callable[[str], None],
) -> Outcome:
    """Work down the table for a launch that found the port taken.

    Args:
        new_talk: makes what a try says; None: only look whether somebody listens.
        deadline: on the monotonic clock, for the hand-over.
        patience: the same for the answer, where one is asked for.
        report: called with what was seen, the first time that nobody answers.
    """
    pause, last = 0.0, _last_try(deadline)
    while True:
        talk = new_talk() if new_talk else None
        found, seen = endpoint.ask(talk, deadline, patience) if talk else endpoint.find(deadline)
        if found not in _PASSING:
            return Outcome(False, found, seen, talk)
        claimed = endpoint.claim()
        if claimed or found == Answer.CLOSED:
            return Outcome(claimed, found, seen, talk)
        if not pause:
            report(seen)
        pause = min(pause * 2 or _FIRST_PAUSE, _LAST_PAUSE)
        if time.monotonic() + pause >= last:
            return Outcome(False, found, seen + endpoint.hint(found), talk)
        time.sleep(pause)


def _resolve(host: str, port: int) -> tuple[int, Any]:
    """Return the family and the socket address of ``host``, the same in every launch."""
    try:
        # The resolver takes longer than to bind.
        sockets.inet_pton(sockets.AF_INET, host)
        return sockets.AF_INET, (host, port)
    except (OSError, ValueError):
        pass  # a name, IPv6, or not known
    # Bytes, because a str goes through the idna codec, whose import alone takes
    # longer than the rest of a launch.
    found = sockets.getaddrinfo(host.encode() if host.isascii() else host, port, 0, sockets.SOCK_STREAM)
    # Whatever order the resolver gives; IPv4 first, because 2.0.0 knows no other.
    found.sort(key=lambda info: (info[0] != sockets.AF_INET, info[4]))
    return found[0][0], found[0][4]


def _last_try(deadline: float) -> float:
    """Return until when a try may begin."""
    return deadline - min(_ANSWER_TIME, _left(deadline) / 4)


def _left(deadline: float) -> float:
    """Return the seconds until ``deadline``, as a socket takes them: not 0 ("do not wait"), not for ever."""
    return min(max(deadline - time.monotonic(), 0.001), _LONGEST_WAIT)
