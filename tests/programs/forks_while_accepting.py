"""A host that forks just when its I/O thread has accepted a connection; the child goes on.

forks_while_accepting.py PORT
"""

import os
import sys
import threading

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

accepted, forked = threading.Event(), threading.Event()


class Fresh(inside.LaunchSocket):
    """A connection that nobody knows yet; it stays so until the fork, unless that waits for it."""

    def __init__(self, *args):
        super().__init__(*args)
        accepted.set()
        forked.wait(0.2)


app = Socket_Singleton(port=int(sys.argv[1]))
app.trace(print)
with inside.sockets_of_peers(Fresh):
    say("ready")
    accepted.wait()
    child = os.fork()
    forked.set()
    if child:
        say("child", child)
    sys.stdin.readline()
