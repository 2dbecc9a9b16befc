"""Ports that never collide: neither with those of a parallel run nor with an outgoing connection."""

from __future__ import annotations

import atexit
import itertools
import os
import socket
import threading

# Below every system's ephemeral range (Linux: from 32768), so that the kernel
# never uses one of them for an outgoing connection.
_FIRST_PORT, _LAST_PORT, _BLOCK = 10_000, 32_000, 500


def is_free(address: str, port: int) -> bool:
    """Whether any program can have this port.

    Without SO_REUSEADDR, so that no port has a TIME_WAIT from an earlier test: some tests start programs that
    do not set that option.
    """
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _lease_ports():
    """Yield ports that no other run of these tests uses, for as long as this process lives.

    A block of ports belongs to the process that holds its first port. The rest
    of the block is given out in turn, without the ports that other programs hold.
    """
    blocks = list(range(_FIRST_PORT, _LAST_PORT, _BLOCK))
    start = os.getpid() % len(blocks)
    for base in blocks[start:] + blocks[:start]:
        holder = socket.socket()
        try:
            holder.bind(("127.0.0.1", base))
            holder.listen(1)
        except OSError:
            holder.close()
            continue
        atexit.register(holder.close)
        break
    else:
        raise RuntimeError("no free block of ports")
    taken = 0
    for port in itertools.cycle(range(base + 1, base + _BLOCK)):
        if is_free("127.0.0.1", port):
            taken = 0
            yield port
            continue
        taken += 1
        if taken == _BLOCK:
            raise RuntimeError("no free port in the block")


_ports = _lease_ports()
_ports_lock = threading.Lock()


def free_port() -> int:
    """Return a port that nobody uses, and that no other test, of this or a parallel run, gets."""
    with _ports_lock:
        return next(_ports)
