"""One machine, several networks, one home: a proof is valid only in the network in which it was made.

In each of them, an address such as 127.1.2.3 is another place, so the port is another one too.
"""

from __future__ import annotations

import builtins
import errno
import os
import sys
import unittest
from unittest import mock

from Socket_Singleton import Socket_Singleton

from .support import NOTHING, PROGRAMS, AnotherUser, NamedTestCase, inside, left_behind
from .support.networks import Network, need

ANSWERING = PROGRAMS / "answering.py"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# Constructs in a thread that has left the network of its program (0x40000000 is CLONE_NEWNET), and
# starts another program there, as a launch.
THREAD_IN_A_NETWORK = """
import ctypes, fcntl, socket, struct, subprocess, sys, threading
from Socket_Singleton import Socket_Singleton
def be_host():
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    app = Socket_Singleton(name=sys.argv[1])
    app.trace(lambda args: print("got", args, flush=True) or "well done")
    print("status", subprocess.call([sys.executable, *sys.argv[2:]]), flush=True)
    print("itself", Socket_Singleton.ask(("b",), name=sys.argv[1]), flush=True)
    app.release()
thread = threading.Thread(target=be_host)
thread.start()
thread.join()
"""

# A host that moves to where there is no /proc once it is the host; a launch can give it another secret.
# PyPy warns on stderr if there is no cpuinfo.
WITHOUT_PROC = """
cpuinfo=$(cat /proc/cpuinfo) && mount -t tmpfs none /proc && echo "$cpuinfo" >/proc/cpuinfo && exec "$@"
"""

CHROOTS = """
import os, sys
from Socket_Singleton import Socket_Singleton
app = Socket_Singleton(name=sys.argv[1])
def observe(args):
    app.secret = args[0]
    print("got", *args, flush=True)
app.trace(observe)
os.chroot(sys.argv[2])
os.chdir("/")
print("host", flush=True)
app.join()
"""


class TestNetworks(NamedTestCase):
    def launch_in(self, network: Network, *words: str, status: int = 0, env=None):
        """Run a launch that asks for an answer to its end in ``network``."""
        program = self.start_program(
            network.command(sys.executable, ANSWERING, self.name, *words),
            env={"ANSWER": "yes", **(env or {})},
        )
        return self.finish(program, status)

    def host_in(self, network: Network, **options):
        return self.start_program(network.command(sys.executable, ANSWERING, self.name), "host", **options)

    def begin_status(self, network: Network, *options):
        command = (sys.executable, "-m", "Socket_Singleton", "status", "--name", self.name, *options)
        return self.start_program(network.command(*command))

    def status_in(self, network: Network, status: int, *options):
        return self.finish(self.begin_status(network, *options), status)

    def relay_into(self, network: Network, place: str):
        """Have another user listen in ``network`` at this test's place, and pass all on to ``place``."""
        folder = self.make_folder()
        folder.chmod(0o755)
        path = folder / "between"
        self.start(PROGRAMS / "relay.py", path, place, ready="listens")
        relay = AnotherUser(self.make_folder()).command("relay.py", f"{self.address}:{self.port}", path)
        return self.start_program(network.command(*relay), "listens")

    # -- a relay --

    def test_relay_between_two_networks_learns_nothing(self):
        """The host is here; a launch there reaches another user, who passes everything on to the host."""
        host = self.start(ANSWERING, self.name, ready="host")
        network = Network(self)
        relay = self.relay_into(network, f"{self.address}:{self.port}")
        launch = self.launch_in(network, "text", "a private word", status=1)
        self.assertEqual(launch.out, "")
        for word in (
            self.name,
            str(self.port),
            "did not prove that it is this application",
            "another machine",
        ):
            self.assertIn(word, launch.err)
        self.assertIn("cannot tell", self.status_in(network, 2).err)
        for program in (relay, host):
            program.kill()  # so that everything that it printed is read
        self.assertEqual(host.lines, ["host"])
        self.assertTrue(any(line.startswith("host 01") for line in relay.lines), "the host was asked")
        self.assertNotIn(b"private".hex(), relay.out)

    def test_relay_from_a_host_in_another_network(self):
        """The other way round: the host is there, and its launch is here."""
        network = Network(self)
        folder = self.make_folder()
        host = self.host_in(network)
        relay_there = (
            sys.executable,
            PROGRAMS / "relay.py",
            folder / "between",
            f"{self.address}:{self.port}",
        )
        self.start_program(network.command(*relay_there), "listens")
        self.start(PROGRAMS / "relay.py", f"{self.address}:{self.port}", folder / "between", ready="listens")
        error = self.named_launch("a private word")
        self.assertIs(error.delivered, False)
        self.assertIn("another machine", str(error))
        with self.assertRaisesRegex(ConnectionError, "another machine"):
            Socket_Singleton.send(("a private word",), name=self.name)
        self.assertEqual(host.lines, ["host"])

    def test_relay_passes_on_launches_without_a_name(self):
        """So it is the proof that ends the other connections, and not the relay."""
        app, network = self.singleton(address=self.address), Network(self)
        self.relay_into(network, f"{self.address}:{self.port}")
        send = (sys.executable, "-m", "Socket_Singleton", "send", "--address", self.address)
        self.finish(self.start_program(network.command(*send, "--port", self.port, "--", "a word")))
        self.assertEqual(app.arguments, (("a word",),))

    # -- one network --

    def test_each_network_has_a_host(self):
        here, network = self.start(ANSWERING, self.name, ready="host"), Network(self)
        there = self.host_in(network)
        self.assertEqual(self.launch_in(network, "text", "from there").out, "from there")
        self.assertEqual(Socket_Singleton.ask(("text", "from here"), name=self.name), "from here")
        here.expect("got ('text', 'from here')")
        there.expect("got ('text', 'from there')")
        self.assertEqual((len(here.lines), len(there.lines)), (2, 2))
        self.assertEqual(self.status_in(network, 0).out, f"{self.name}: running (process {there.pid})")
        self.assertEqual(Socket_Singleton.pid_of(self.name), here.pid)

    def test_thread_in_a_network_of_its_own(self):
        """A program is in as many networks as its threads; a host is in that of the thread that made it."""
        need("unshare", "--net", "true")
        launch = (ANSWERING, self.name, "a")
        program = self.start("-c", THREAD_IN_A_NETWORK, self.name, *launch, env={"ANSWER": "yes"})
        self.finish(program)
        self.assertEqual(program.err, "")
        self.assertEqual(
            sorted(program.lines),
            ["got ('a',)", "got ('b',)", "itself well done", "status 0", "well done"],
        )

    @unittest.skipIf(sys.implementation.name == "pypy", "os.urandom of PyPy needs /dev/urandom there")
    def test_host_that_moves_to_where_there_is_no_proc(self):
        need("unshare", "--net", "true")
        host = self.start("-c", CHROOTS, self.name, self.make_folder(), ready="host")
        self.assertIs(self.named_launch("first").delivered, True)
        host.expect("got first")
        self.assertIs(self.named_launch("second", secret="first").delivered, True)
        host.expect("got second")

    # -- networks that cannot be determined --

    def without_proc(self, *command) -> list:
        """Return a command that runs ``command`` without /proc."""
        need("unshare", "--mount", "true")
        return ["unshare", "--mount", "sh", "-c", WITHOUT_PROC, "sh", *command]

    def test_launch_that_cannot_determine_its_network(self):
        host = self.start(ANSWERING, self.name, ready="host")
        command = self.without_proc(sys.executable, ANSWERING, self.name, "word")
        launch = self.finish(self.start_program(command), 1)
        for word in (self.name, "did not prove", "/proc/self/ns/net", BOOT_ID, os.strerror(2)):
            self.assertIn(word, launch.err)
        question = (sys.executable, "-m", "Socket_Singleton", "status", "--name", self.name)
        status = self.finish(self.start_program(self.without_proc(*question)), 2)
        self.assertIn("/proc/self/ns/net", status.err)
        self.assertEqual(host.lines, ["host"])

    def test_host_that_cannot_determine_its_network(self):
        self.start_program(self.without_proc(sys.executable, ANSWERING, self.name), "host")
        error = self.named_launch("word")
        self.assertIs(error.delivered, False)
        self.assertIn("another machine", str(error))
        self.assertNotIn(BOOT_ID, str(error))

    def test_neither_can_determine_it(self):
        self.start_program(self.without_proc(sys.executable, ANSWERING, self.name), "host")
        launch = self.without_proc(sys.executable, ANSWERING, self.name, "text", "hello")
        self.assertEqual(self.finish(self.start_program(launch, env={"ANSWER": "yes"})).out, "hello")

    @unittest.skipUnless(sys.platform == "linux", "this system has no such networks")
    def test_temporary_failure_makes_no_host(self):
        """Otherwise nobody could hand anything over to that host for as long as it runs."""
        before = left_behind()
        for module, name in ((os, "readlink"), (builtins, "open")):
            failing = mock.patch.object(module, name, side_effect=OSError(errno.ENOMEM, "no memory"))
            with self.subTest(name), failing, self.assertRaisesRegex(OSError, "no memory"):
                self.named(secret="a long one")
        self.assertEqual(left_behind(before), NOTHING)
        self.named()

    def test_another_boot_is_another_machine(self):
        """Two machines that share a home may have the same number for their first network."""
        need("unshare", "--mount", "true")
        folder = self.make_folder()
        (folder / "boot_id").write_text("4b2c1a7e-0000-4000-8000-000000000000\n")
        elsewhere = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {BOOT_ID} && exec "$@"']
        host = self.start(ANSWERING, self.name, ready="host")
        command = [*elsewhere, folder / "boot_id", sys.executable, ANSWERING, self.name, "word"]
        launch = self.finish(self.start_program(command), 1)
        self.assertIn("another machine", launch.err)
        self.assertEqual(host.lines, ["host"])

    # -- an address that is not only this machine's --

    def test_address_that_others_can_reach_is_the_same_in_all_networks(self):
        one, other = Network(self), Network(self)
        need("ip", "-V")
        self.finish(
            self.start_program(
                one.command("ip", "link", "add", "wire", "type", "veth", "peer", "wire", "netns", other.pid)
            )
        )
        for network, address in ((one, "192.0.2.1/24"), (other, "192.0.2.2/24")):
            for command in (
                ("ip", "addr", "add", address, "dev", "wire"),
                ("ip", "link", "set", "wire", "up"),
            ):
                self.finish(self.start_program(network.command(*command)))
        self.host_in(one, env={"ADDRESS": "192.0.2.1"})
        ask = (sys.executable, "-m", "Socket_Singleton", "ask", "--name", self.name, "--address", "192.0.2.1")
        for network in (one, other):
            command = network.command(*ask, "--", "text", "hello")
            self.assertEqual(self.finish(self.start_program(command)).out, "hello")

    # -- without a network --

    def test_loopback_that_is_down_does_not_mean_not_running(self):
        inside.identity(self.name)
        network = Network(self, loopback=False)
        for status in [self.begin_status(network, *options) for options in ((), ("--port", self.port))]:
            self.finish(status, 2)
            self.assertEqual(status.out, "")
            self.assertIn(f"cannot tell whether {self.name} is running", status.err)
            self.assertIn(os.strerror(errno.ENETUNREACH), status.err)
