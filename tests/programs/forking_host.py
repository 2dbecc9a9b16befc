"""A host that forks a child once a launch waits for its answer; the child lives as long as its input.

forking_host.py NAME
"""

import os
import sys
from concurrent.futures import Future

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(name=sys.argv[1])
asked = Future()
app.trace(lambda args: asked.set_result(args) or Future())
print("host", flush=True)
asked.result()
if not os.fork():
    sys.stdin.read()
    os._exit(0)
print("forked", flush=True)
sys.stdin.read()
