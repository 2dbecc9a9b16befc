"""A host on the given port, constructed with 0, 1, 2 ... free descriptors until that succeeds.

few_descriptors.py PORT [imported]    with it, everything that a host imports is loaded before

Prints ``failed N`` for each number that was too small, after checking that
nothing is left open, and ``host N`` for the first one that was enough.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading

from descriptors import descriptors
from saying import say

from Socket_Singleton import Socket_Singleton

LIMIT = 64
PORT = int(sys.argv.pop(1))
if sys.argv[1:] == ["imported"]:
    import inside  # noqa: F401 (it imports every room)


def construct(free):
    """Return what the constructor returns or raises with that many descriptors available."""
    fillers = []
    try:
        while True:
            fillers.append(os.dup(0))
    except OSError:
        pass
    for _ in range(free):
        os.close(fillers.pop())
    before = descriptors()
    try:
        return Socket_Singleton(port=PORT, strict=False)
    except Exception as error:
        # Checked while the traceback is alive: nothing may be left to the
        # garbage collector.
        left = sorted(descriptors() - before)
        assert not left, f"{free} free: {error!r} left {len(left)} open"
        assert threading.active_count() == 1, f"{free} free: {error!r} left a thread"
        return error
    finally:
        for number in fillers:
            os.close(number)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
for number in range(LIMIT):
    result = construct(number)
    if isinstance(result, Socket_Singleton):
        break
    assert isinstance(result, OSError), f"{number} free: {result!r}"
    say("failed", number)
    with socket.socket() as anyone:
        anyone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        anyone.bind(("127.0.0.1", PORT))
        anyone.listen(1)
result.trace(lambda args: say("got", *args))
say("host", number)
sys.stdin.readline()
