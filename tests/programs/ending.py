"""A host whose interpreter ends, in one way or another, with launches in flight.

ending.py PORT HOW
"""

import atexit
import logging
import os
import queue
import signal
import sys
import threading
import time

import inside

from Socket_Singleton import Socket_Singleton

PORT, HOW = int(sys.argv[1]), sys.argv[2]
entered = threading.Event()


def slow(args):
    entered.set()
    threading.Event().wait(30)


def quick(args):
    os.write(1, "got {}\n".format(*args).encode())


if HOW == "no-stdout":
    sys.stdout = None
app = Socket_Singleton(port=PORT, verbose=True, secret="right" if HOW == "no-stdout" else None)
os.write(1, b"ready\n")

if HOW == "ctrl-c":
    # Without pause: it would miss a signal that arrives just before it.
    wakened, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    with app:
        app.trace(quick)
        os.write(1, b"inside\n")
        try:
            os.read(wakened, 1)
            os.write(1, b"not interrupted\n")
        except KeyboardInterrupt:
            os.write(1, b"interrupted\n")
elif HOW == "dispatched":
    calls = queue.Queue()

    def run_calls():
        app.join()  # until the interpreter ends
        while True:
            calls.get()()

    app.dispatch = calls.put
    app.trace(lambda args: time.sleep(0.02) or quick(args))
    limits = inside.limits(EXIT_TIME=30)
    limits.__enter__()
    sys.stdin.readline()
    threading.Thread(target=run_calls, daemon=True).start()
elif HOW == "two":

    class Failing(Socket_Singleton):
        def release(self):
            raise ValueError("its own release fails")

    other = Failing(port=0)
    sys.stdin.readline()
    app.trace(lambda args: app.join() and quick(args))
    limits = inside.limits(EXIT_TIME=30)
    limits.__enter__()
elif HOW == "slow-observer":
    app.trace(slow)
    entered.wait(30)
elif HOW == "owned":
    # Owned before the end, without an observer until the end has begun: later exit
    # handlers run first. The long limit is only for tests on a loaded machine.
    limits = inside.limits(EXIT_TIME=30)
    limits.__enter__()
    sys.stdin.readline()
    atexit.register(app.trace, lambda args: (time.sleep(0.05), quick(args)))
elif HOW == "printing":
    app.trace(lambda args: print("printing", *args))
    sys.stdin.readline()
else:
    logging.getLogger("Socket_Singleton").addHandler(logging.NullHandler())
    app.trace(lambda args: 1 / 0)
    sys.stdin.readline()
