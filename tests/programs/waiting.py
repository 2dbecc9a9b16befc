"""A launch that waits for the port, which somebody has.

    waiting.py PORT SECONDS

Prints "waiting" when its first claim has failed; then what it becomes: "host"; "second DELIVERED";
or, by Ctrl-C, "interrupted" with the descriptors and threads that it has more than before.
Its argument is its process id. As the host it prints each launch, until a line on stdin; then it
releases.
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


told = []


def tell(error):
    if error is not None and not told:
        told.append(error)
        say("waiting")


claims = inside.claims_of_launches(tell)
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

# Not while the exception is handled: its traceback holds what a step was interrupted with.
if interrupted:
    gc.collect()
    say("interrupted", len(descriptors() - before), threading.active_count() - 1)
