"""A host with a backlog of one, which is soon full."""

import sys

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1])
app._host._listener.listen(0)
app.trace(lambda args: print("got", *args))
print("ready")
sys.stdin.readline()
