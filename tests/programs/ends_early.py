"""A host whose main module ends at once, with a timeout.

ends_early.py PORT SECONDS [release]
"""

import sys

from saying import say

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1], timeout=sys.argv[2])
app.trace(lambda args: say("got", *args))
if "release" in sys.argv:
    app.release()
say("main ends")
