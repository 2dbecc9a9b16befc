"""A host whose observer releases, and returns after the main thread has ended: released_then_ended.py NAME.

The interpreter waits for it for long, so that a busy machine makes no difference.
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
    app.release()
    released.set()
    main_thread.wait_for_its_end()
    time.sleep(0.2)  # work: longer than an interpreter that does not wait takes to end
    return "released"


patient = inside.limits(EXIT_TIME=30)
patient.__enter__()
app.trace(observe)
print("host", flush=True)
app.join()
released.wait()
