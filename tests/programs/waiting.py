"""A launch that waits for a port that is taken.

    waiting.py PORT SECONDS

Prints "waiting" when its first claim has failed; then its outcome: "host"; "second DELIVERED";
or, after Ctrl-C, "interrupted" with the numbers of additional descriptors and threads.
Its argument is its process id. As the host it prints each launch until a line arrives on stdin,
and then releases.
"""

import gc
import os
import sys
import threading

import inside
from descriptors import descriptors
from saying import say

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT, SECONDS = int(sys.argv[1]), float(sys.argv[2])
failures = []


class Recording(inside.LaunchSocket):
    def bind(self, place):
        try:
            super().bind(place)
        except OSError as error:
            if not failures:
                failures.append(error)
                say("waiting")
            raise


claims = inside.sockets_of_launches(Recording)
claims.__enter__()
before, interrupted = descriptors(), False
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

# Not while the exception is handled: its traceback keeps alive what the interrupted step was using.
if interrupted:
    gc.collect()
    say("interrupted", len(descriptors() - before), threading.active_count() - 1)
