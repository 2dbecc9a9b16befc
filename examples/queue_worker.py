"""The first launch is a worker: its main loop takes each launch, its own included, from a queue.

In one shell `python examples/queue_worker.py a.txt`, in another one
`python examples/queue_worker.py b.txt c.txt`, and `python examples/queue_worker.py quit`.
"""

import os
import queue
import sys
import threading

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14175"))

calls = queue.Queue()
app = Socket_Singleton(port=PORT, dispatch=calls.put)  # a second launch ends here
quitting = threading.Event()


def work(args):
    if args == ("quit",):
        quitting.set()
        return
    for name in args:
        print("working on", name, flush=True)


print("Running. The word quit ends it.", flush=True)
work(tuple(sys.argv[1:]))
app.trace(work)
while not quitting.is_set():
    calls.get()()  # calls `work` with the next launch, here, on the main thread
app.release()
for args in app.arguments:  # came behind the word quit, or while this was ending
    work(args)
