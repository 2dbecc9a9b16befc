"""The first launch is a worker: its main loop takes each launch, its own included, from a queue.

In one shell `python examples/queue_worker.py a.txt`, in another one
`python examples/queue_worker.py b.txt c.txt`, and `python examples/queue_worker.py quit`.
"""

import os
import queue
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14175"))

app = Socket_Singleton(port=PORT)  # a second launch ends here

launches = queue.Queue()
launches.put(tuple(sys.argv[1:]))
app.trace(launches.put)

print("Running. The word quit ends it.", flush=True)
for args in iter(launches.get, ("quit",)):
    for name in args:
        print("working on", name, flush=True)
