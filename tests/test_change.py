"""The host changes while launches keep coming; and the next host follows at once."""

from __future__ import annotations

import collections
import os
import signal
import socket
import tempfile
import unittest
from pathlib import Path

from Socket_Singleton import Socket_Singleton
from Socket_Singleton._client import Endpoint
from Socket_Singleton._wire import ACK

from .support import PATIENCE, PROGRAMS, Collector, SingletonTestCase, read_to_end, wait_until

LAUNCHES = 300


@unittest.skipUnless(hasattr(os, "fork"), "the launches of these tests are forked")
class TestHostChanges(SingletonTestCase):
    """Every launch was a host, or was delivered exactly once; and never two hosts at a time."""

    def test_hosts_that_release(self):
        self.assertEqual(self.churn("release")["killed with its host"], 0)

    def test_hosts_that_time_out(self):
        self.assertEqual(self.churn("timeout")["killed with its host"], 0)

    def test_hosts_that_reach_their_threshold(self):
        self.assertEqual(self.churn("threshold")["killed with its host"], 0)

    def test_hosts_that_are_killed(self):
        # What a host has left in `arguments` dies with it, and what its observer
        # was just about to be called with: one launch for each host at most.
        counts = self.churn("kill")
        self.assertLessEqual(counts["killed with its host"], counts["host"])

    def churn(self, how: str) -> collections.Counter:
        with tempfile.TemporaryDirectory() as folder:
            program = self.start(PROGRAMS / "churn.py", self.port, LAUNCHES, how, Path(folder, "witness"))
            self.finish(program)
        self.assertEqual(program.err, "")
        self.assertEqual(program.lines.pop(), "done")
        lines = [line.split(" ", 2) for line in program.lines]
        counts = collections.Counter(line[0] for line in lines)
        for never in ("two", "told", "unsure"):
            self.assertEqual(counts[never], 0, [line for line in lines if line[0] == never])
        ended = {
            kind: [line[1] for line in lines if line[0] == kind]
            for kind in ("host", "delivered", "got", "left")
        }
        self.assertGreater(counts["host"], 2)
        self.assertGreater(counts["delivered"], LAUNCHES / 4)
        self.assertEqual(
            sorted(ended["host"] + ended["delivered"], key=int), [str(n) for n in range(LAUNCHES)]
        )
        self.assertEqual(len(set(ended["got"])), len(ended["got"]), "delivered twice")
        lost = set(ended["delivered"]) - set(ended["got"]) - set(ended["left"])
        # A launch that was killed with its host is none of the above; nobody else is.
        self.assertEqual(set(ended["got"]) - set(ended["delivered"]), set())
        counts["killed with its host"] = len(lost)
        return counts


class TestRestart(SingletonTestCase):
    """The port is free at once, whatever the last host left behind."""

    def test_after_a_kill_with_peers_still_connected(self):
        if os.name == "nt":
            self.skipTest("no SIGKILL there")
        host = self.start_app("trace", PATIENCE, self.port, ready="Singleton locked")
        peers = [self.connect() for _ in range(5)]
        for peer in peers:
            peer.sendall(b"half a pack")
        self.assertEqual(self.exchange(b"after them\0"), ACK)  # so these were read
        host.expect("after them")
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        app = Socket_Singleton(port=self.port, strict=False)
        app.release()
        # A reset also where the host had read all that there was: an orderly end
        # would tell a launch that it need not ask again.
        for peer in peers:
            with self.assertRaises(ConnectionError):
                read_to_end(peer)

    def test_after_the_host_closed_connections_first(self):
        self.leave_time_wait()
        self.singleton(strict=False)

    def test_release_then_bind_300_times(self):
        for _ in range(300):
            app = self.singleton(strict=False)
            self.assertEqual(self.exchange(b"x\0"), ACK)
            app.release()
            with socket.socket() as anyone:
                anyone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                anyone.bind(("127.0.0.1", self.port))
                anyone.listen(1)

    def test_release_resets_who_is_not_owned_and_they_take_over(self):
        app = self.singleton()
        halfway = self.connect()
        halfway.sendall(b"half a pack")
        wait_until(lambda: app._host._peers, "the peer is accepted")
        app.release()
        with self.assertRaises(ConnectionError):
            read_to_end(halfway)

    def test_whoever_connects_first_is_reset_too(self):
        """Also before there is a host to serve it: no moment at which its end would be an orderly one."""
        listener = Endpoint("127.0.0.1", self.port).claim()
        peer = self.connect()
        listener.accept()[0].close()
        listener.close()
        with self.assertRaises(ConnectionError):
            read_to_end(peer)

    def test_owned_and_not_delivered_stays_readable_after_release(self):
        app, observer = self.singleton(), Collector()
        self.assertEqual(self.exchange(b"one\0two\0"), ACK)
        app.release()
        self.assertEqual(app.arguments, (("one", "two"),))
        app.trace(observer)
        self.assertEqual(observer.calls, [])
