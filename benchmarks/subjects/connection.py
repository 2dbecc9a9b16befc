"""multiprocessing.connection, with an authkey."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time

from .base import ACK, BACKLOG, Observer, Place, Sender, Subject, Taken

AUTHKEY = b"open sesame"


class Connection(Subject):
    """multiprocessing.connection, on what it takes by default where there is one: a local socket.

    Over TCP each launch would wait for a delayed acknowledgement, 40 ms on Linux, since
    the handshake is of small packets and it does not set TCP_NODELAY.

    A killed host leaves the socket's file behind; who finds it and nobody there removes it.
    """

    name = "mp.connection"
    on_port = False
    IMPORT = "import sys\nfrom multiprocessing.connection import Client, Listener"
    TAKE = """\
import threading
lock = Listener({path!r}, authkey=b"open sesame")
threading.Thread(target=lock.accept, daemon=True).start()"""
    LAUNCH = """\
try:
    Listener({path!r}, authkey=b"open sesame")
except OSError:
    with Client({path!r}, authkey=b"open sesame") as connection:
        connection.send(sys.argv[1:])
        connection.recv_bytes()"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from multiprocessing import AuthenticationError
        from multiprocessing.connection import Listener

        self._class, self._strangers = Listener, (OSError, EOFError, AuthenticationError)

    def take(self) -> None:
        try:
            self._listen()
        except OSError as error:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                if sock.connect_ex(self.place.path) != errno.ECONNREFUSED:
                    raise Taken from error
            os.unlink(self.place.path)
            self._listen()

    def _listen(self) -> None:
        self._listener = self._class(self.place.path, backlog=BACKLOG, authkey=AUTHKEY)

    def release(self) -> None:
        self._listener.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._run, args=(observer,), daemon=True).start()

    def _run(self, observer: Observer) -> None:
        while True:
            try:
                with self._listener.accept() as connection:
                    argv = connection.recv()
                    connection.send_bytes(ACK)
            except self._strangers:
                continue  # as whoever listens for long must
            observer(tuple(argv))

    def sender(self) -> Sender:
        return ConnectionSender(self.place)

    def where(self) -> tuple[int, object]:
        return socket.AF_UNIX, self.place.path


class ConnectionSender(Sender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from multiprocessing.connection import Client

        self._class = Client

    def prepare(self, words: tuple[str, ...]) -> None:
        self._words = words

    def send(self) -> None:
        stamp = str(time.monotonic_ns())
        with self._class(self.place.path, authkey=AUTHKEY) as connection:
            connection.send((stamp, *self._words))
            connection.recv_bytes()
