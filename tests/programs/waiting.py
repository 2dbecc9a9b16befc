"""A launch that waits for the port, which somebody has.

    waiting.py PORT SECONDS

Prints "waiting" when its first claim has failed; then what it becomes: "host"; "second DELIVERED";
or, by Ctrl-C, "interrupted" with the descriptors and threads that it has more than before.
Its argument is its process id. As the host it prints each launch, until a line on stdin; then it
releases.
"""

import gc
import os
import signal
import socket
import sys
import threading

from saying import say

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT, SECONDS = int(sys.argv[1]), float(sys.argv[2])


def count_open():
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


def watched_bind(sock, name):
    try:
        bind(sock, name)
    except OSError:
        socket.socket.bind = bind
        say("waiting")
        raise


bind = socket.socket.bind
socket.socket.bind = watched_bind
# A shell's background jobs begin with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
before, interrupted = count_open(), False
try:
    app = Socket_Singleton(port=PORT, strict=False, wait=SECONDS, argv=[str(os.getpid())])
except MultipleSingletonsError as error:
    say("second", error.delivered)
except KeyboardInterrupt:
    interrupted = True
else:
    app.trace(lambda args: say("got", *args))
    say("host")
    sys.stdin.readline()
    app.release()
    say("released")

# Not while the exception is handled: its traceback holds what a step was interrupted with.
if interrupted:
    gc.collect()
    say("interrupted", count_open() - before, threading.active_count() - 1)
