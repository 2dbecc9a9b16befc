"""What a launch does on the network: claim the port, or hand its arguments over.

==========================  ==============================  ==========================
the host's answer           what it means                   the launch
==========================  ==============================  ==========================
``ACK``                     the host owns the packet        ends
orderly end, no byte        2.0.0 took it, or our host      claims once more, then
                            ignored it                      ends
refused, reset, met itself  nobody owns it                  claims, asks again, until
                                                            the deadline
the same to a long packet,  2.0.0 took what it reads of     ends, told
and an end after one byte   it, and would each time
other bytes                 not a Socket_Singleton          ends, told
silence after sending       it hangs, or is another         ends, told; never sends
                            program                         again
==========================  ==============================  ==========================

A second packet would be a second delivery if the first one was only late;
so a launch sends again only when it knows that nobody owns what it sent.
"""

from __future__ import annotations

import socket
import time

from . import _platform
from ._wire import ACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

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

# Bytes of a foreign answer that are read, and shown.
_GLIMPSE = 32


class Answer:
    """What was found on a port that is taken; the table above, row by row."""

    # Not an Enum: to make one takes longer than to ask.
    OWNED = "owned"
    CLOSED = "closed"
    REFUSED = "refused"
    RESET = "reset"
    UNREACHED = "unreached"  # it listens, but its backlog is full
    CUT = "cut"  # 2.0.0, and the packet was too long for it
    FOREIGN = "foreign"
    SILENT = "silent"
    FOUND = "found"  # somebody listens, and was not asked for more


class Endpoint:
    """One address and port, resolved: where a launch claims, and where it asks."""

    def __init__(self, address: str, port: int) -> None:
        """Resolve ``address``; no socket is opened.

        Raises:
            TypeError: ``address`` is not a ``str``.
            OSError: ``address`` is not known (``socket.gaierror``).
        """
        if not isinstance(address, str):
            raise TypeError(f"address must be a str, not {type(address).__name__}")
        self.address, self.port = address, port
        self.family, self.name = _resolve(address or "0.0.0.0", port)  # "" is a wildcard, as in 2.0.0
        # Nobody can be reached at a wildcard; its host also listens on loopback.
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(self.name[0]), self.name[0])
        self._reach = (loopback, *self.name[1:])
        self._looked = False  # whether it is of 2.0.0, which is done once

    def claim(self, wait: float = 0.0) -> socket.socket | None:
        """Return a socket that listens here; None if the port is still taken after ``wait`` seconds.

        bind and listen are one step: with SO_REUSEADDR two processes can both
        bind on Linux, and it is ``listen`` that the second one fails.

        Raises:
            OSError: neither: the address is not this machine's, the port is privileged ...
        """
        until = time.monotonic() + wait
        while True:
            listener = socket.socket(self.family, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, _platform.exclusive_option(), 1)
                # For its peers, which inherit this from the first moment on.
                _platform.close_resets(listener)
                self._bind(listener, until)
                listener.listen(_platform.BACKLOG)
                return listener
            except BaseException as error:
                listener.close()
                if not (isinstance(error, OSError) and _platform.is_in_use(error)):
                    raise
            if time.monotonic() >= until:
                return None

    def _bind(self, listener: socket.socket, until: float) -> None:
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

    def ask(self, packet: bytes | None, deadline: float) -> tuple[str, str]:
        """Give ``packet`` to whoever listens here and return the answer, and what was seen.

        With ``packet=None``, only find out whether somebody listens.
        """
        answer, seen = self._exchange(packet, deadline)
        if answer == Answer.RESET and packet and len(packet) > _OLD_READ and not self._looked:
            self._looked = True
            if self._ends_after_a_byte(deadline):
                return Answer.CUT, f"it is of version 2.0.0, which took the first {_OLD_READ} bytes"
        return answer, seen

    def _exchange(self, packet: bytes | None, deadline: float) -> tuple[str, str]:
        sent = False
        with socket.socket(self.family, socket.SOCK_STREAM) as sock:
            try:
                sock.settimeout(_left(deadline))
                sock.connect(self._reach)
                # On an ephemeral port nobody listens on, a connection can get
                # that very port as its own end.
                if sock.getsockname() == sock.getpeername():
                    # An orderly end of such a one keeps the port from everybody for a minute.
                    _platform.close_resets(sock)
                    return Answer.REFUSED, "the connection met itself"
                if packet is None:
                    return Answer.FOUND, ""
                # Whatever ends this launch halfway, the host must see a reset:
                # an orderly end would make half a packet look like a whole one.
                _platform.close_resets(sock)
                sock.settimeout(_left(deadline))
                sock.sendall(packet)
                # Before the shutdown: macOS takes no option once both sides have ended.
                _platform.close_ends(sock)
                sock.shutdown(socket.SHUT_WR)
                sent = True
                sock.settimeout(_left(deadline))
                reply = sock.recv(_GLIMPSE)
            except ConnectionRefusedError as error:
                return Answer.REFUSED, str(error.strerror)
            except ConnectionError as error:
                return Answer.RESET, str(error.strerror)
            except socket.timeout:
                return (Answer.SILENT if sent else Answer.UNREACHED), "no answer in time"
            except OSError as error:
                # No local port, no route ...: it may pass, and nothing was owned unless all was sent.
                return (Answer.SILENT if sent else Answer.RESET), str(error)
        if not reply:
            return Answer.CLOSED, "it is of version 2.0.0, or ignores this launch"
        if reply.startswith(ACK):
            return Answer.OWNED, ""
        return Answer.FOREIGN, f"it answers {reply!r} and is not a Socket_Singleton"

    def _ends_after_a_byte(self, deadline: float) -> bool:
        """Whether a NUL is answered by an orderly end: to 2.0.0 it is a whole launch, without words."""
        with socket.socket(self.family, socket.SOCK_STREAM) as sock:
            try:
                sock.settimeout(min(_OLD_TIME, _left(deadline)))
                sock.connect(self._reach)
                _platform.close_resets(sock)  # to our host it then was no launch
                sock.sendall(b"\0")
                return not sock.recv(1)
            except OSError:
                return False


def send(endpoint: Endpoint, packet: bytes, deadline: float) -> None:
    """Return when a host owns ``packet``; the errors are those of `Socket_Singleton.send`."""
    pause, last = 0.0, _last_try(deadline)
    while True:
        answer, seen = endpoint.ask(packet, deadline)
        if answer == Answer.OWNED:
            return
        where = f"{endpoint.address} port {endpoint.port}"
        if answer == Answer.REFUSED:
            raise ConnectionRefusedError(f"nobody listens at {where} ({seen})")
        if answer in (Answer.CLOSED, Answer.CUT, Answer.FOREIGN):
            raise ConnectionError(f"not confirmed by {where}: {seen}")
        pause = min(pause * 2 or _FIRST_PAUSE, _LAST_PAUSE)
        if answer != Answer.RESET or time.monotonic() + pause >= last:
            raise TimeoutError(f"not confirmed in time by {where} ({seen})")
        time.sleep(pause)


def hand_over(
    endpoint: Endpoint, packet: bytes | None, deadline: float, report: Callable[[str], None]
) -> tuple[socket.socket | None, str, str]:
    """Work down the table for a launch that found the port taken.

    Args:
        deadline: on the monotonic clock, for everything.
        report: called with what was seen, the first time that nobody answers.

    Returns:
        The listener if the port came free, and this launch is the host; else
        None; and the last answer with the words for it.
    """
    pause, last = 0.0, _last_try(deadline)
    while True:
        answer, seen = endpoint.ask(packet, deadline)
        if answer in (Answer.OWNED, Answer.CUT, Answer.FOREIGN, Answer.SILENT, Answer.FOUND):
            return None, answer, seen
        listener = endpoint.claim()
        if listener is not None or answer == Answer.CLOSED:
            return listener, answer, seen
        if not pause:
            report(seen)
        pause = min(pause * 2 or _FIRST_PAUSE, _LAST_PAUSE)
        if time.monotonic() + pause >= last:
            return None, answer, seen
        time.sleep(pause)


def _resolve(host: str, port: int) -> tuple[int, Any]:
    """Return the family and the socket address of ``host``, the same in every launch."""
    try:
        # The resolver takes longer than to bind.
        socket.inet_pton(socket.AF_INET, host)
        return socket.AF_INET, (host, port)
    except (OSError, ValueError):
        pass  # a name, IPv6, or not known
    # Bytes, because a str goes through the idna codec, whose import alone takes
    # longer than the rest of a launch.
    found = socket.getaddrinfo(host.encode() if host.isascii() else host, port, 0, socket.SOCK_STREAM)
    # Whatever order the resolver gives; IPv4 first, because 2.0.0 knows no other.
    found.sort(key=lambda info: (info[0] != socket.AF_INET, info[4]))
    return found[0][0], found[0][4]


def _last_try(deadline: float) -> float:
    """Return until when a try may begin."""
    return deadline - min(_ANSWER_TIME, _left(deadline) / 4)


def _left(deadline: float) -> float:
    """Return the seconds until ``deadline``, as a socket takes them: not 0 ("do not wait"), not for ever."""
    return min(max(deadline - time.monotonic(), 0.001), 24 * 60 * 60.0)
