"""A host that a signal handler releases in the middle of a fork, while a launch is just arriving.

releases_while_forking.py PORT
"""

import os
import signal
import socket
import sys

from saying import say

from Socket_Singleton import Socket_Singleton

PORT = int(sys.argv[1])


def before_fork():
    """Run after what the library does before a fork, since it was registered earlier."""
    with socket.create_connection(("127.0.0.1", PORT)) as peer:
        peer.sendall(b"word\0")
        os.kill(os.getpid(), signal.SIGUSR1)


os.register_at_fork(before=before_fork)
app = Socket_Singleton(port=PORT)
app.trace(lambda launch: None)
signal.signal(signal.SIGUSR1, lambda *_: app.release() or say("released"))
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
