"""A host whose observer releases, and returns when the main thread has ended: released_then_ended.py NAME.

The interpreter waits long for it, so that a busy machine makes no difference.
"""

import sys
import threading
import time

import inside
import main_thread

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(name=sys.argv[1])
released = threading.Event()


def observe(args):
    with inside.limits(EXIT_TIME=30):
        app.release()
    released.set()
    main_thread.wait_for_its_end()
    time.sleep(0.2)  # work: longer than an interpreter takes to end that waits for nobody
    return "released"


app.trace(observe)
print("host", flush=True)
app.join()
released.wait()
