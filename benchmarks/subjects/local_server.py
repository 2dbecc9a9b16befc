"""QLocalServer, that of PySide6, without a window."""

from __future__ import annotations

import socket
import threading
from typing import Callable

from .base import ACK, BACKLOG, Observer, Place, Sender, Subject, Taken, split

ANSWER_TIME = 10_000  # milliseconds that Qt's client waits for each step


class LocalServer(Subject):
    """Qt's own: a local socket, served by the event loop; the length goes first, since it has no half-close.

    A killed host leaves the socket's file behind, so who finds it tries whether
    somebody answers there, and else removes it: the recipe in Qt's documentation.
    """

    name = "QLocalServer"
    on_port = False
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
        from PySide6.QtCore import QCoreApplication
        from PySide6.QtNetwork import QLocalServer, QLocalSocket

        self._app = QCoreApplication.instance() or QCoreApplication([])
        self._server_class, self._socket_class = QLocalServer, QLocalSocket

    def take(self) -> None:
        self._server = self._server_class()
        if hasattr(self._server, "setListenBacklogSize"):
            self._server.setListenBacklogSize(BACKLOG)
        if self._server.listen(self.place.path):
            return
        sock = self._socket_class()
        sock.connectToServer(self.place.path)
        if not sock.waitForConnected(ANSWER_TIME):
            self._server_class.removeServer(self.place.path)
            if self._server.listen(self.place.path):
                return
        raise Taken

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
        sock.setParent(None)  # or else the server's wrapper would keep that of each connection
        sock.deleteLater()

    def sender(self) -> Sender:
        return LocalSender(self.place)

    def where(self) -> tuple[int, object]:
        return socket.AF_UNIX, self.place.path


class LocalSender(Sender):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from PySide6.QtCore import QCoreApplication
        from PySide6.QtNetwork import QLocalSocket

        self._app, self._class = QCoreApplication.instance() or QCoreApplication([]), QLocalSocket

    def send(self) -> None:
        sock = self._class()
        self.stamp()
        sock.connectToServer(self.place.path)
        if not sock.waitForConnected(ANSWER_TIME):
            raise ConnectionError(sock.errorString())
        sock.write(len(self._packet).to_bytes(4, "big") + self._packet)
        while sock.bytesToWrite():
            if not sock.waitForBytesWritten(ANSWER_TIME):
                raise ConnectionError(sock.errorString())
        if not (sock.bytesAvailable() or sock.waitForReadyRead(ANSWER_TIME)):
            raise ConnectionError(sock.errorString())
