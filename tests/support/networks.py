"""Other networks on this machine: network namespaces that programs can run in. For root, on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unittest

from .processes import Program

# Brings up the loopback of the network that it is in, and lives until its input ends.
# 0x8914 is SIOCSIFFLAGS; the flags are IFF_UP and IFF_RUNNING.
_LOOPBACK_UP = """
import fcntl, socket, struct, sys
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
print("up", flush=True)
sys.stdin.read()
"""
_LOOPBACK_DOWN = "import sys; print('up', flush=True); sys.stdin.read()"


class Network:
    """A network with its own loopback, where all ports are free."""

    def __init__(self, test, loopback: bool = True) -> None:
        """Make it for as long as ``test`` runs; skip the test if that is impossible."""
        need("unshare", "--net", "true")
        need("nsenter", "--net=/proc/self/ns/net", "true")
        program = Program(
            ["unshare", "--net", sys.executable, "-c", _LOOPBACK_UP if loopback else _LOOPBACK_DOWN]
        )
        test.addCleanup(program.kill)
        program.expect("up")
        self.pid = program.pid

    def command(self, *command) -> list:
        """Return a command that runs ``command`` there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]


def need(*command: str) -> None:
    """Skip the test if ``command`` fails."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise unittest.SkipTest("only root, on Linux, can have another network")
    if not shutil.which(command[0]):
        raise unittest.SkipTest(f"there is no {command[0]}")
    tried = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if tried.returncode:
        raise unittest.SkipTest(f"{' '.join(command)}: {tried.stderr.decode(errors='replace').strip()}")
