"""A host whose first observer is added after its main thread has ended: late_trace.py PORT."""

import sys
import threading

import main_thread
from saying import say

from Socket_Singleton import Socket_Singleton


def observe(args):
    say("got", *args)
    app.release()


def trace_late():
    main_thread.wait_for_its_end()
    app.trace(observe)
    say("traced")


app = Socket_Singleton(port=sys.argv[1], timeout=600)
threading.Thread(target=trace_late).start()
