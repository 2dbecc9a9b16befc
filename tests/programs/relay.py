"""Passes everything on, in both directions, and prints what it has received from each side.

    relay.py FROM TO

Each is "ADDRESS:PORT", or the path of a socket in a folder, which can be reached from all networks of
a machine. It prints "listens"; then, for each piece of a conversation, "launch" or "host" and the bytes
in hexadecimal.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading


def open_socket(place):
    """Return a socket, and its address for `bind` and `connect`."""
    if place.startswith("/"):
        return socket.socket(socket.AF_UNIX), place
    address, _, port = place.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock, (address, int(port))


def pass_on(sender, source, target):
    with contextlib.suppress(OSError):
        while True:
            data = source.recv(65536)
            if not data:
                break
            print(f"{sender} {data.hex()}", flush=True)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def relay(launch):
    host, place = open_socket(sys.argv[2])
    with launch, host:
        host.connect(place)
        back = threading.Thread(target=pass_on, args=("host", host, launch), daemon=True)
        back.start()
        pass_on("launch", launch, host)
        back.join()


listener, here = open_socket(sys.argv[1])
listener.bind(here)
if isinstance(here, str):
    os.chmod(here, 0o666)  # the other end belongs to another user
listener.listen(50)
print("listens", flush=True)
while True:
    threading.Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()
