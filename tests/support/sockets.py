"""Sockets that fail or call a function, and ends of connections.

`inside.sockets_of_launches` and similar functions make the package use them.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
from unittest import mock

from . import inside
from .inside import LaunchSocket


def failing(method: str, error: BaseException, times: float = 1, when=lambda *_: True):
    """Return a class of sockets whose ``method`` raises ``error`` instead, up to ``times`` times in all.

    Args:
        when: is called with the arguments; only calls for which it returns true fail.
    """
    failed = []

    def fail_or_do(self, *args):
        if len(failed) < times and when(*args):
            failed.append(args)
            raise error
        return getattr(LaunchSocket, method)(self, *args)

    return type("Failing", (LaunchSocket,), {method: fail_or_do, "failed": failed})


def failing_as_it_closes():
    """Return a class of sockets whose first `close` closes and then raises, as Python's own may."""
    kind = failing("close", OSError(errno.EIO, "it failed"))
    fail_or_close = kind.close

    def close_and_fail(sock):
        LaunchSocket.close(sock)
        fail_or_close(sock)

    kind.close = close_and_fail
    return kind


def hooked(method: str, before=lambda *_: None, after=lambda *_: None, kind=LaunchSocket):
    """Return a ``kind`` that calls ``before(sock, *args)`` and ``after(sock, *args)`` around ``method``."""
    do = getattr(kind, method)

    def call_and_do(sock, *args):
        before(sock, *args)
        done = do(sock, *args)
        after(sock, *args)
        return done

    return type("Recording", (kind,), {method: call_and_do})


def failing_to_watch(error: OSError):
    """Return a class of selectors that, after `arm`, raises ``error`` once instead of watching a socket."""

    class Selector(selectors.DefaultSelector):
        armed, failed = False, []

        @classmethod
        def arm(cls) -> None:
            cls.armed = True

        def register(self, *what):
            if self.armed and not self.failed:
                self.failed.append(error)
                raise error
            return super().register(*what)

    return Selector


def claims_of_launches(after, kind=LaunchSocket):
    """Have launches call ``after(error)`` after each attempt to bind a ``kind``; None means success."""

    class Claiming(kind):
        def bind(self, name):
            try:
                super().bind(name)
            except OSError as error:
                after(error)
                raise
            after(None)

    return inside.sockets_of_launches(Claiming)


def no_sockets_of_launches():
    """Fail if a launch makes a socket."""
    return inside.sockets_of_launches(mock.Mock(side_effect=AssertionError("a socket was opened")))


def close_resets(sock) -> None:
    """Make closing ``sock`` a reset from now on."""
    linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def ends_in_order(level: int, option: int, value: object) -> bool:
    """Whether this call of `setsockopt` makes a connection end in order again, and not with a reset."""
    return option == socket.SO_LINGER and not any(value)
