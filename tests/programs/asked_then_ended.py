"""A host whose main thread ends while an observer works for a launch that asked: asked_then_ended.py NAME.

The interpreter waits for it for long, so that a busy machine makes no difference.
"""

import sys
import threading
import time

import inside
import main_thread

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(name=sys.argv[1])
entered = threading.Event()


def observe(args):
    entered.set()
    main_thread.wait_for_its_end()
    time.sleep(0.2)  # work: longer than an interpreter that does not wait takes to end
    return "done"


limits = inside.limits(EXIT_TIME=30)
limits.__enter__()
app.trace(observe)
print("host", flush=True)
entered.wait()
