"""A web page is no launch: what a browser sends to the port, by a real one and by the bytes that one sent."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import unittest
from pathlib import Path

from Socket_Singleton import _wire

from .support import PATIENCE, Collector, Program, SingletonTestCase, free_port, inside

HERE = Path(__file__).resolve().parent
PAGE = HERE / "web_page.html"

# What Chromium 156 sent for each attempt of the page, byte for byte; a character is a byte.
# `python -m tests.test_web` makes it anew.
RECORDED = HERE / "web_bytes.json"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Nothing of its own goes out, and it keeps nothing.
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--password-store=basic",
]

# The only port of ours that browsers refuse to go to (WHATWG Fetch, "bad port").
BAD_PORTS = {10080}


def open_port() -> int:
    """Return a free port that a browser goes to."""
    return next(port for port in iter(free_port, None) if port not in BAD_PORTS)


class Site:
    """Serves the page, and is told by it what came of its attempts."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}
        self.over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = PAGE.read_bytes() if self.path.startswith("/?") else b""
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                site.results.update(json.loads(body))
                site.over.set()

            def log_message(self, *args):
                pass

        self.port = open_port()
        self.server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Browser:
    """Chromium without a window, at a page that makes its attempts at a port."""

    def __init__(self, site: Site, port: int, only: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="chromium")
        page = f"http://127.0.0.1:{site.port}/?port={port}&only={only}"
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={self.folder}", page]
        # What it keeps elsewhere (crash reports, a socket) goes with its folder.
        env = {"HOME": self.folder, "TMPDIR": self.folder}
        self.program = Program(command, env=env, start_new_session=True)

    def end(self) -> None:
        """End all of its processes; when this returns they are gone, and their connections with them."""
        # `Program.kill` reads to the end of its output, which each of its processes has.
        try:
            os.killpg(self.program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was there already
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def recorded() -> dict[str, bytes]:
    """Return what Chromium sent, by the name of the attempt."""
    found = json.loads(RECORDED.read_text(encoding="ascii"))
    return {name: data.encode("latin-1") for name, data in found.items()}


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
class TestWebPage(SingletonTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = open_port()

    def visit(self) -> None:
        """Have the page make its attempts at this test's port; when this returns the browser is gone."""
        site = Site()
        self.addCleanup(site.close)
        browser = Browser(site, self.port)
        self.addCleanup(browser.end)
        self.assertTrue(site.over.wait(PATIENCE), browser.program.describe())
        browser.end()
        self.assertEqual(set(site.results), set(recorded()))

    def test_each_attempt_comes_as_it_was_recorded(self):
        """So that the next test is about something: a browser might not go to the port at all."""
        seen = set()

        def serve():
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        inside.close_resets(peer)
                        peer.settimeout(PATIENCE)
                        with contextlib.suppress(OSError):
                            seen.add(beginning(peer.recv(1 << 16)))

        with socket.socket() as listener:
            listener.bind(("127.0.0.1", self.port))
            listener.listen(50)
            server = threading.Thread(target=serve)
            server.start()
            self.visit()
            listener.shutdown(socket.SHUT_RDWR)
            server.join(PATIENCE)
        self.assertFalse(server.is_alive())
        self.assertGreaterEqual(seen, set(map(beginning, recorded().values())))

    def test_no_attempt_of_a_page_is_a_launch(self):
        # Not possible at all: HTTP/2 in clear, which no browser speaks; its preface is in TestWebBytes.
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.visit()
        # Handed out in order: what the page has sent would come before it.
        self.assertIs(self.second_launch("an ordinary launch").delivered, True)
        observer.wait_for(("an ordinary launch",))
        self.assertEqual(app.clients, 1)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A binding request: type, length, cookie, transaction.
STUN = b"\0\x01\0\0" + b"\x21\x12\xa4\x42" + b"transaction!"
FRAMED_STUN = len(STUN).to_bytes(2, "big") + STUN  # RFC 4571


def foreign() -> dict[str, tuple[bytes, int]]:
    """Return what is no packet, and with how many bytes that is certain at the latest."""
    found = {name: (data, certain_after(data)) for name, data in recorded().items()}
    for method in (b"GET", b"OPTIONS", b"CONNECT", b"PROPFIND", b"M-SEARCH"):
        for version in (b"1.0", b"1.1"):
            request = method + b" /a%00b?c=d HTTP/" + version + b"\r\n\r\n"
            found[f"{method} {version}"] = (request, certain_after(request))
    found["preface"] = (PREFACE, certain_after(PREFACE))
    found["STUN"] = (STUN, 8)
    found["framed STUN"] = (FRAMED_STUN, 10)
    return found


def certain_after(data: bytes) -> int:
    if data.startswith(b"\x16\x03"):
        return 6  # type, version, length, and the type of the handshake: ClientHello
    if b" HTTP/" in data:
        return data.index(b"\r\n") + 2
    return 8  # STUN: type, length, cookie


# Arguments that speak of the like.
ORDINARY = (
    ("GET",),
    ("POST / HTTP",),
    ("POST / HTTP/1.1",),
    ("POST / HTTP/1.1", "--run"),
    ("POST / HTTP/1.1\r",),
    ("POST / HTTP/1.1\n",),
    ("GET / HTTP/one\r\n",),
    ("GET", "/", "HTTP/1.1\r\n"),
    ("say", "GET / HTTP/1.1\r\n"),
    ("", "GET / HTTP/1.1\r\n"),
    ("PRI * HTTP/2.0",),
    ("\x16",),
    ("\x16", "\x03\x01"),
    ("1234", "!\x12\udca4B"),
    ("!\x12\udca4B",),
    ("notes", "https://example.org/"),
)


def beginning(data: bytes) -> bytes:
    """Return the part that is the same each time."""
    return data[: 2 if data.startswith(b"\x16") else certain_after(data)]


def feed(packet, data: bytes, size: int) -> int:
    """Feed ``data`` in pieces of that size; return how many bytes were taken without an error."""
    for start in range(0, len(data), size):
        try:
            packet.feed(data[start : start + size])
        except _wire.Foreign:
            return start
    return len(data)


class TestWebBytes(SingletonTestCase):
    def test_what_browsers_send_is_no_packet(self):
        for name, (data, certain) in foreign().items():
            with self.subTest(name=name):
                self.assertEqual(feed(_wire.Packet(None), data, len(data)), 0)
                self.assertLess(feed(_wire.Packet(None), data, 1), certain)
                # In two pieces, cut where something is half there.
                for cut in range(1, certain):
                    packet = _wire.Packet(None)
                    if feed(packet, data[:cut], cut) == cut:
                        self.assertEqual(feed(packet, data[cut:], len(data)), 0)

    def test_arguments_that_speak_of_the_web_arrive(self):
        for args in ORDINARY:
            data = _wire.encode(args)
            for size in (1, len(data)):
                with self.subTest(args=args, size=size):
                    packet = _wire.Packet(None)
                    self.assertEqual(feed(packet, data, size), len(data))
                    self.assertTrue(packet.end())
                    self.assertEqual(_wire.decode(packet.words), args)

    def test_a_host_resets_it_and_counts_nothing(self):
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        for name, (data, certain) in foreign().items():
            for cut in (len(data), certain - 1):
                with self.subTest(name=name, cut=cut):
                    peer = self.connect()
                    with contextlib.suppress(ConnectionError):  # it was reset already
                        for piece in filter(None, (data[:cut], data[cut:])):
                            peer.sendall(piece)
                    self.assert_reset(peer)  # and nobody had to end the stream for it
        delivered = []
        for args in ORDINARY:
            self.assertIs(self.second_launch(*args).delivered, True)
            delivered.append(args)
        observer.wait_for(*delivered)
        self.assertEqual(app.clients, len(ORDINARY))


def record() -> None:
    """Have Chromium make each attempt alone at a port that only listens, and keep what it sends."""
    site, found = Site(), {}
    with socket.socket() as listener:
        port = open_port()
        listener.bind(("127.0.0.1", port))
        listener.listen(16)
        for name in re.findall(r"^attempts\.(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
            browser = Browser(site, port, only=name)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(2.0)  # until it waits for an answer; STUN it says again
                data = b""
                with contextlib.suppress(socket.timeout):
                    for piece in iter(lambda peer=peer: peer.recv(1 << 16), b""):
                        data += piece
            browser.end()
            found[name] = data.decode("latin-1")
    site.close()
    RECORDED.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    record()
