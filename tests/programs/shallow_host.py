"""A host with a backlog of one, which is soon full."""

import sys

import inside

from Socket_Singleton import Socket_Singleton

with inside.limits(BACKLOG=0):
    app = Socket_Singleton(port=sys.argv[1])
app.trace(lambda args: print("got", *args))
print("ready")
sys.stdin.readline()
