"""What nothing in Python can do without."""

from __future__ import annotations

import threading

from .base import ACK, READ_SIZE, Observer, Subject, Taken, listen, split


class Floor(Subject):
    """What nothing in Python can do without: bare sockets, one thread, one connection at a time."""

    name = "floor"
    on_others = True
    STATUS = ("-c", "import argparse, _socket")
    RUN = ("-c", "import argparse, subprocess, socket, threading\nsubprocess.call(['true'])")
    IMPORT = "import socket, sys"
    TAKE = """\
import threading
lock = socket.socket()
lock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
lock.bind(("127.0.0.1", {port}))
lock.listen()
threading.Thread(target=lock.accept, daemon=True).start()"""
    LAUNCH = """\
with socket.socket() as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", {port}))
    except OSError:
        sock.connect(("127.0.0.1", {port}))
        sock.sendall("".join(word + "\\0" for word in sys.argv[1:]).encode())
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)"""

    def take(self) -> None:
        try:
            self._listener = listen(self.place.port)
        except OSError as error:
            raise Taken from error

    def release(self) -> None:
        self._listener.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._run, args=(observer,), daemon=True).start()

    def _run(self, observer: Observer) -> None:
        while True:
            sock, _ = self._listener.accept()
            packet = bytearray()
            with sock:
                while True:
                    data = sock.recv(READ_SIZE)
                    if not data:
                        break
                    packet += data
                sock.sendall(ACK)
                observer(split(packet))  # not after the close, which takes its time
