"""A host of whichever Socket_Singleton is on the path: in these tests, the released 2.0.0.

old_host.py PORT [SECRET]
"""

import sys

from Socket_Singleton import Socket_Singleton

secret = sys.argv[2] if len(sys.argv) > 2 else None
app = Socket_Singleton(port=int(sys.argv[1]), secret=secret, verbose=True)
app.trace(lambda args: print("got " + " ".join(args), flush=True))
print("ready", flush=True)
sys.stdin.readline()
app.release()
