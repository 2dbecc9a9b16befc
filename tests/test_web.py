"""A web page is not a launch: what a browser sends to the port, from a real one and as recorded bytes."""

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

from Socket_Singleton._host.packet import Foreign, Packet, decode
from Socket_Singleton._packet import encode

from .support import PATIENCE, Collector, Program, SingletonTestCase, free_port
from .support.sockets import close_resets

HERE = Path(__file__).resolve().parent
PAGE = HERE / "web_page.html"

# What Chromium 156 sent for each attempt of the page, byte for byte; each character is a byte.
# `python -m tests.test_web` creates it again.
RECORDED = HERE / "web_bytes.json"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# It makes no connections of its own, and stores nothing.
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

# The only one of our ports that browsers refuse (WHATWG Fetch, "bad port").
BAD_PORTS = {10080}


def open_port() -> int:
    """Return a free port that browsers do not refuse."""
    return next(port for port in iter(free_port, None) if port not in BAD_PORTS)


class Site:
    """Serves the page, which reports the results of its attempts."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}
        self.over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle(self):
                with contextlib.suppress(ConnectionError):  # the browser may have been ended meanwhile
                    super().handle()

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
    """Chromium without a window, showing a page that makes its attempts at a port."""

    def __init__(self, site: Site, port: int, only: str = "") -> None:
        self.folder = tempfile.mkdtemp(prefix="chromium")
        page = f"http://127.0.0.1:{site.port}/?port={port}&only={only}"
        command = [CHROMIUM, *OPTIONS, f"--user-data-dir={self.folder}", page]
        # What it stores elsewhere (crash reports, a socket) is removed with its folder.
        env = {"HOME": self.folder, "TMPDIR": self.folder}
        self.program = Program(command, env=env, start_new_session=True)

    def end(self) -> None:
        """End all its processes; on return they and their connections are gone."""
        # `Program.kill` reads to the end of the output, which each of its processes holds open.
        try:
            os.killpg(self.program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has already ended
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
        """Have the page make its attempts at this test's port; on return the browser is gone."""
        site = Site()
        self.addCleanup(site.close)
        browser = Browser(site, self.port)
        self.addCleanup(browser.end)
        self.assertTrue(site.over.wait(PATIENCE), browser.program.describe())
        browser.end()
        self.assertEqual(set(site.results), set(recorded()))

    def test_each_attempt_arrives_as_recorded(self):
        """So that the next test tests something: a browser might not connect to the port at all."""
        seen = set()

        def serve():
            with contextlib.suppress(OSError):  # the test is over
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        close_resets(peer)
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
        # Unencrypted HTTP/2 cannot be tried, as no browser speaks it; its preface is in TestWebBytes.
        app, observer = self.singleton(), Collector()
        app.trace(observer)
        self.visit()
        # Launches are handed out in order: what the page has sent would come first.
        self.assertIs(self.second_launch("an ordinary launch").delivered, True)
        observer.wait_for(("an ordinary launch",))
        self.assertEqual(app.clients, 1)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# A binding request: type, length, cookie, transaction.
STUN = b"\0\x01\0\0" + b"\x21\x12\xa4\x42" + b"transaction!"
FRAMED_STUN = len(STUN).to_bytes(2, "big") + STUN  # RFC 4571

# Lengths that look like the end of a line.
TLS_WITH_A_LINE = b"\x16\x03\x01" + b"\r\n" + b"\x01" + bytes(20)
STUN_WITH_A_LINE = b"\r\n" + b"\0\x01\x0c\xf4" + STUN[4:]


def foreign() -> dict[str, tuple[bytes, int]]:
    """Return what is not a packet, and after how many bytes that is certain at the latest."""
    found = {name: (data, certain_after(data)) for name, data in recorded().items()}
    for method in (b"GET", b"OPTIONS", b"CONNECT", b"PROPFIND", b"M-SEARCH"):
        for version in (b"1.0", b"1.1"):
            request = method + b" /a%00b?c=d HTTP/" + version + b"\r\n\r\n"
            found[f"{method} {version}"] = (request, certain_after(request))
    found["preface"] = (PREFACE, certain_after(PREFACE))
    found["STUN"] = (STUN, 8)
    found["framed STUN"] = (FRAMED_STUN, 10)
    found["TLS with a line"] = (TLS_WITH_A_LINE, 6)
    found["STUN with a line"] = (STUN_WITH_A_LINE, 10)
    return found


def certain_after(data: bytes) -> int:
    if data.startswith(b"\x16\x03"):
        return 6  # type, version, length, and the type of the handshake: ClientHello
    if b" HTTP/" in data:
        return data.index(b"\r\n") + 2
    return 8  # STUN: type, length, cookie


# Arguments that look similar.
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
    """Return the part that is the same every time."""
    return data[: 2 if data.startswith(b"\x16") else certain_after(data)]


def feed(packet, data: bytes, size: int) -> int:
    """Feed ``data`` in pieces of that size; return how many bytes were accepted without an error."""
    for start in range(0, len(data), size):
        try:
            packet.feed(data[start : start + size])
        except Foreign:
            return start
    return len(data)


class TestWebBytes(SingletonTestCase):
    def test_what_browsers_send_is_not_a_packet(self):
        for name, (data, certain) in foreign().items():
            with self.subTest(name=name):
                self.assertEqual(feed(Packet(None), data, len(data)), 0)
                self.assertLess(feed(Packet(None), data, 1), certain)
                # In two pieces, cut in the middle of something.
                for cut in range(1, certain):
                    packet = Packet(None)
                    if feed(packet, data[:cut], cut) == cut:
                        self.assertEqual(feed(packet, data[cut:], len(data)), 0)

    def test_arguments_that_look_like_requests_arrive(self):
        for args in ORDINARY:
            data = encode(args)
            for size in (1, len(data)):
                with self.subTest(args=args, size=size):
                    packet = Packet(None)
                    self.assertEqual(feed(packet, data, size), len(data))
                    self.assertTrue(packet.end())
                    self.assertEqual(decode(packet.words), args)

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
                    self.assert_reset(peer)  # without an end of the stream
        delivered = []
        for args in ORDINARY:
            self.assertIs(self.second_launch(*args).delivered, True)
            delivered.append(args)
        observer.wait_for(*delivered)
        self.assertEqual(app.clients, len(ORDINARY))


def record() -> None:
    """Have Chromium make each attempt alone, at a port that only listens, and save what it sends."""
    site, found = Site(), {}
    with socket.socket() as listener:
        port = open_port()
        listener.bind(("127.0.0.1", port))
        listener.listen(16)
        for name in re.findall(r"^attempts\.(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
            browser = Browser(site, port, only=name)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(2.0)  # until it waits for an answer; it repeats STUN
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
