"""The floor of a host that serves many at once."""

from __future__ import annotations

import collections
import selectors
import socket
import struct
import threading

from .base import ACK, READ_SIZE, Observer, split
from .floor import Floor


class BareHost(Floor):
    """The floor of a host which serves many peers at once, and whose observer holds up nobody.

    So: a selector on one thread, and the observer on another. As in *this*, a launch is
    told before it is delivered, and the system resets what was not told. There are no
    deadlines, no limits, no counts, and no faults are expected. It is no program of its own.
    """

    name = "bare host"
    IMPORT = TAKE = LAUNCH = ""
    STATUS = RUN = ()
    on_others = False

    _MORE = getattr(socket, "MSG_MORE", 0)
    _RESET, _END = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger

    def take(self) -> None:
        super().take()
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, self._RESET)
        self._packets: collections.deque[bytearray] = collections.deque()
        self._news = threading.Lock()
        self._news.acquire()
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        for sock in (self._listener, self._wakened):
            self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve_peers, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._waker.send(b"\0")
        self._thread.join()
        for each in (self._listener, self._selector, self._waker, self._wakened):
            each.close()

    def serve(self, observer: Observer) -> None:
        threading.Thread(target=self._deliver, args=(observer,), daemon=True).start()

    def _serve_peers(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakened:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif self._read(key.fileobj, key.data):
                    self._selector.unregister(key.fileobj)
                    self._end(key.fileobj, key.data)
            # Once a turn, as the last before it sleeps: so the two threads meet least.
            if self._packets and self._news.locked():
                self._news.release()

    def _accept(self) -> None:
        try:
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                packet = bytearray()
                if self._read(sock, packet):
                    self._end(sock, packet)
                else:
                    self._selector.register(sock, selectors.EVENT_READ, packet)
        except BlockingIOError:
            pass

    def _read(self, sock: socket.socket, packet: bytearray) -> bool:
        """Take what is there; return whether that was the end."""
        try:
            while True:
                data = sock.recv(READ_SIZE)
                if not data:
                    return True
                packet += data
        except BlockingIOError:
            return False

    def _end(self, sock: socket.socket, packet: bytearray) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, self._END)
        sock.send(ACK, self._MORE)
        sock.close()
        if packet:  # a stalled peer has none
            self._packets.append(packet)

    def _deliver(self, observer: Observer) -> None:
        while True:
            self._news.acquire()
            while self._packets:
                observer(split(self._packets.popleft()))
