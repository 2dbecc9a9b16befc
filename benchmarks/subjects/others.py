"""Other libraries: two locks, and two that hand launches over."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import Callable

from .base import ACK, BACKLOG, STAMP_LENGTH, Observer, Place, Subject, join, split, stamp

AUTHKEY = b"open sesame"


def remove_if_nobody_listens(path: str) -> None:
    """Remove the local socket that a killed host has left behind, or raise BlockingIOError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        if sock.connect_ex(path) != errno.ECONNREFUSED:
            raise BlockingIOError
    os.unlink(path)


class FileLock(Subject):
    """A lock, which hands nothing over."""

    name = "filelock"
    package = "filelock >= 3.12, < 5"  # 4 no longer runs on the oldest Python that compare.py uses
    every_python = hands_over = on_port = False
    IMPORT = "import filelock"
    TAKE = "lock = filelock.FileLock({path!r})\nlock.acquire(timeout=0)"
    LAUNCH = "try:\n    filelock.FileLock({path!r}).acquire(timeout=0)\nexcept filelock.Timeout:\n    pass"

    def take(self) -> None:
        import filelock

        self._lock = filelock.FileLock(self.place.path, timeout=0)
        self._lock.acquire()  # its exception is an OSError

    def release(self) -> None:
        self._lock.release()


class Tendo(Subject):
    """Another lock."""

    name = "tendo"
    package = "tendo ~= 0.3"
    every_python = hands_over = on_port = False
    IMPORT = "from tendo import singleton"
    TAKE = "lock = singleton.SingleInstance(lockfile={path!r})"
    LAUNCH = f"try:\n    {TAKE}\nexcept singleton.SingleInstanceException:\n    pass"

    def take(self) -> None:
        from tendo import singleton

        try:
            self._lock = singleton.SingleInstance(lockfile=self.place.path)
        except singleton.SingleInstanceException as error:
            raise BlockingIOError from error

    def release(self) -> None:
        del self._lock  # it has no other way


class Connection(Subject):
    """multiprocessing.connection, on what it uses by default where that exists: a local socket.

    Over TCP each launch would wait for a delayed acknowledgement, 40 ms on Linux, since
    the handshake consists of small packets and TCP_NODELAY is not set.
    """

    name = "mp.connection"
    on_port = False
    stallers = True
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

    def take(self) -> None:
        try:
            self._listen()
        except OSError:
            remove_if_nobody_listens(self.place.path)
            self._listen()

    def _listen(self) -> None:
        from multiprocessing.connection import Listener

        self._listener = Listener(self.place.path, backlog=BACKLOG, authkey=AUTHKEY)

    def release(self) -> None:
        self._listener.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._run, args=(observer,), daemon=True).start()

    def _run(self, observer: Observer) -> None:
        from multiprocessing import AuthenticationError

        while True:
            try:
                with self._listener.accept() as connection:
                    argv = connection.recv()
                    connection.send_bytes(ACK)
            except (OSError, EOFError, AuthenticationError):
                continue  # as every host must that runs for long
            observer(tuple(argv))

    def sender(self, words: tuple[str, ...]) -> Callable[[], None]:
        from multiprocessing.connection import Client

        def send() -> None:
            stamped = (str(time.monotonic_ns()), *words)
            with Client(self.place.path, authkey=AUTHKEY) as connection:
                connection.send(stamped)
                connection.recv_bytes()

        return send


class LocalServer(Subject):
    """Qt's local socket, served by the event loop.

    It cannot be closed for one direction, so the length is sent first. Qt's documentation advises to remove
    what a killed host has left behind.
    """

    name = "QLocalServer"
    # 6.12.0 loses a reference to None with each call of a slot. Before Python 3.12 this ends the
    # process after some thousand launches.
    package = "PySide6-Essentials >= 6.5, != 6.12.0, < 7"
    every_python = on_port = False
    stallers = True
    IMPORT = """\
import sys
from PySide6.QtCore import QCoreApplication
from PySide6.QtNetwork import QLocalServer, QLocalSocket"""
    TAKE = "app = QCoreApplication([])\nlock = QLocalServer()\nlock.listen({path!r})"
    STAY = "print(0, flush=True)\napp.exec()"
    LAUNCH = """\
app = QCoreApplication([])
sock = QLocalSocket()
sock.connectToServer({path!r})
if not sock.waitForConnected(10000):
    sys.exit(sock.errorString())
packet = "".join(word + "\\0" for word in sys.argv[1:]).encode()
sock.write(len(packet).to_bytes(4, "big") + packet)
sock.waitForBytesWritten(10000)
sock.waitForReadyRead(10000)"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from PySide6 import QtCore, QtNetwork

        self._app = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
        self._network = QtNetwork

    def take(self) -> None:
        self._server = self._network.QLocalServer()
        self._server.setListenBacklogSize(BACKLOG)
        if not self._server.listen(self.place.path):
            remove_if_nobody_listens(self.place.path)
            if not self._server.listen(self.place.path):
                raise BlockingIOError

    def release(self) -> None:
        self._server.close()

    def serve(self, observer: Observer) -> None:
        self._observer = observer
        self._packets: dict[object, bytearray] = {}
        self._server.newConnection.connect(self._accept)

    def stay(self, commands: Callable[[], None]) -> None:
        threading.Thread(target=commands, daemon=True).start()
        self._app.exec()

    def _accept(self) -> None:
        while self._server.hasPendingConnections():
            sock = self._server.nextPendingConnection()
            self._packets[sock] = bytearray()
            sock.readyRead.connect(lambda sock=sock: self._read(sock))
            sock.disconnected.connect(lambda sock=sock: self._forget(sock))
            self._read(sock)

    def _read(self, sock) -> None:
        packet = self._packets.get(sock)
        if packet is None:
            return
        packet += sock.readAll().data()
        if len(packet) < 4 or len(packet) < 4 + int.from_bytes(packet[:4], "big"):
            return
        del packet[:4], self._packets[sock]
        sock.write(ACK)
        sock.flush()
        sock.disconnectFromServer()
        self._observer(split(packet))

    def _forget(self, sock) -> None:
        self._packets.pop(sock, None)
        sock.setParent(None)  # otherwise the Python object of the server keeps the one of each connection
        sock.deleteLater()

    def sender(self, words: tuple[str, ...]) -> Callable[[], None]:
        packet = join(("0" * STAMP_LENGTH, *words))

        def send() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                stamp(packet)
                sock.connect(self.place.path)
                sock.sendall(len(packet).to_bytes(4, "big") + packet)
                sock.recv(1)

        return send
