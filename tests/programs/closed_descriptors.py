"""A host whose descriptors are closed by others, and whose numbers are reused for sockets of the application.

closed_descriptors.py PORT same     by the program itself, like tools that close all they find
closed_descriptors.py PORT child    by a forked child that goes on as a daemon, and whose parent ends
closed_descriptors.py PORT peer     as "same", with a peer whose time is soon over, so the I/O thread looks
closed_descriptors.py PORT open     not at all

After a line on stdin it prints whether it listens; after another one it releases; and after a third one it
prints whether everything that the application has opened is unchanged.
"""

import fcntl
import os
import socket
import sys
import time

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

# The application's sockets have the numbers up to this one, and their other ends have higher ones.
HIGHEST = 32
port, how = sys.argv[1:]
keep = fcntl.fcntl(0, fcntl.F_DUPFD, 200)
# Long enough for all of them to be closed by then, even on a busy machine: between a look at a descriptor and
# its close, another thread can always give its number away, and no program can prevent that.
with inside.limits(PEER_TIME=2):
    app = Socket_Singleton(port=port)
    app.trace(lambda args: say("got", *args))
    if how == "peer":
        peer = fcntl.fcntl(socket.create_connection(("127.0.0.1", int(port))).detach(), fcntl.F_DUPFD, 201)
        while inside.count_peers(app) != 1:
            time.sleep(0.002)
if how == "child" and os.fork():
    os._exit(0)

pairs = []
if how != "open":
    os.closerange(3, keep)
    while not pairs or pairs[-1][0].fileno() < HIGHEST:
        mine, other = socket.socketpair()
        with other:  # the next one gets its number
            pairs.append((mine, socket.socket(fileno=fcntl.fcntl(other, fcntl.F_DUPFD, HIGHEST + 1))))


def is_untouched(mine, other):
    """Whether nothing was sent to ``mine`` or over it, and it is still open."""
    other.setblocking(False)
    mine.setblocking(False)
    try:
        for end in (mine, other):
            try:
                end.recv(1)
                return False
            except BlockingIOError:
                pass
        return mine.send(b"x") == 1 and other.recv(1) == b"x"
    except OSError:
        return False


say("ready", os.getpid())
os.read(keep, 1)
say("listens", app._listening)
os.read(keep, 1)
begun = time.monotonic()
app.release()
say("released", "at once" if time.monotonic() - begun < 3 else "late", app._listening, app.join(0))
os.read(keep, 1)
say("untouched", all(is_untouched(*pair) for pair in pairs))
os.read(keep, 1)
