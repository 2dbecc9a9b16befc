"""A host whose main module ends at once, with a timeout.

ends_early.py PORT SECONDS [release]
"""

import sys

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1], timeout=sys.argv[2])


def observe(args):
    if args == ("time is over",):
        clock.__enter__()
    say("got", *args)


clock = inside.clock_of_hosts(2 * app.timeout)
app.trace(observe)
if "release" in sys.argv:
    app.release()
say("main ends")
