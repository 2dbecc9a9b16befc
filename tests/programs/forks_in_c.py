"""A host with a child that was forked in C, without Python's hooks: forks_in_c.py PORT.

Such a child gives up its copy of the port and says so; its parent is the host until a line arrives on stdin.
"""

import ctypes
import os
import sys
import time

from saying import say

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1])
app.trace(lambda args: say("got", *args))
child = ctypes.PyDLL(None).fork()
if not child:
    begun = time.monotonic()
    app.release()
    say("child released", "at once" if time.monotonic() - begun < 3 else "late", app._listening)
    os._exit(0)
os.waitpid(child, 0)
say("ready")
sys.stdin.readline()
app.release()
