"""A host that ends as soon as the launch has arrived that makes it give up the port.

reaches_threshold.py PORT
"""

import contextlib
import sys
import threading

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

ends, ended = threading.Event(), threading.Event()


class App(Socket_Singleton):
    def release(self):
        ends.set()
        super().release()
        ended.set()


app = App(port=int(sys.argv[1]), release_threshold=2)
app.trace(lambda launch: say("got", *launch))
Socket_Singleton.send(["first"], port=app.port)
say("ready")
# The port is free before the launch is acknowledged, and again later than that it begins: the end of the
# program should come only after that.
stops = contextlib.ExitStack()  # until the interpreter ends
stops.enter_context(inside.limits(EXIT_TIME=30))
stops.enter_context(inside.at("answer", lambda: ends.wait(0.2)))
stops.enter_context(inside.at("chosen", lambda: ended.wait(0.2)))
app.join()
