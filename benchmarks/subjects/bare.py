"""What the others are compared with: the interpreter alone, and bare sockets."""

from __future__ import annotations

import collections
import contextlib
import selectors
import socket
import struct
import threading
from typing import Callable, ClassVar, TextIO

from .base import ACK, ADDRESS, READ_SIZE, Observer, Subject, listen, split


class Interpreter(Subject):
    """``python -c pass``, which every launch contains."""

    name = "python"
    hands_over = False
    IMPORT = LAUNCH = "pass"
    COMMANDS: ClassVar = dict.fromkeys(("ask", "status", "run", "first"), ("-c", "pass"))


class Bare(Subject):
    """Bare sockets, and a host that serves many peers at once and whose observer delays nobody.

    It therefore has a selector on one thread, and the observer on another one. As with *this*, a launch
    is acknowledged before it is delivered, and the system resets what was not acknowledged. It has no
    deadlines, limits or counts, and does not handle errors.
    """

    name = "bare"
    stallers = prints = True
    IMPORT = "import socket, sys"
    TAKE = """\
import threading
lock = socket.create_server(("127.0.0.1", {port}))
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
    COMMANDS: ClassVar = {
        "status": ("-c", "import argparse, _socket"),
        "run": ("-c", "import argparse, subprocess, socket, threading\nsubprocess.call(['true'])"),
    }

    _MORE = getattr(socket, "MSG_MORE", 0)
    _RESET, _END = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)  # struct linger

    def take(self) -> None:
        self._listener = listen(self.place.port)
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

    def print_for(self, observer: Callable[..., None]) -> None:
        self._listener = listen(self.place.port)
        threading.Thread(target=self._print_for, args=(observer,), daemon=True).start()

    def _print_for(self, observer: Callable[..., None]) -> None:
        while True:
            sock, _ = self._listener.accept()
            with sock, sock.makefile("rw", encoding="utf-8", newline="\n") as stream:
                stream.reconfigure(line_buffering=True)
                observer(stream, *stream.read().split())

    def ask(self, words: tuple[str, ...], out: TextIO) -> None:
        with socket.create_connection((ADDRESS, self.place.port)) as sock:
            sock.sendall(" ".join(words).encode())
            sock.shutdown(socket.SHUT_WR)
            for data in iter(lambda: sock.recv(READ_SIZE), b""):
                out.buffer.write(data)

    def _serve_peers(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakened:
                    return
                if key.fileobj is self._listener:
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            self._accept()
                elif self._is_complete(key.fileobj, key.data):
                    self._selector.unregister(key.fileobj)
                    self._end(key.fileobj, key.data)
            # Once per turn, right before it sleeps, so that the two threads interfere least.
            if self._packets and self._news.locked():
                self._news.release()

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        packet = bytearray()
        if self._is_complete(sock, packet):
            self._end(sock, packet)
        else:
            self._selector.register(sock, selectors.EVENT_READ, packet)

    def _is_complete(self, sock: socket.socket, packet: bytearray) -> bool:
        """Read what has arrived; return whether the peer has sent everything."""
        with contextlib.suppress(BlockingIOError):
            for data in iter(lambda: sock.recv(READ_SIZE), b""):
                packet += data
            return True
        return False

    def _end(self, sock: socket.socket, packet: bytearray) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, self._END)
        sock.send(ACK, self._MORE)
        sock.close()
        if packet:  # a stalled peer has sent nothing
            self._packets.append(packet)

    def _deliver(self, observer: Observer) -> None:
        while True:
            self._news.acquire()
            while self._packets:
                observer(split(self._packets.popleft()))
