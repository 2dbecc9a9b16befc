"""The running instance is a worker: its main loop handles each launch, including its own.

Run `python examples/queue_worker.py a.txt` in one shell, and in another one
`python examples/queue_worker.py b.txt c.txt` and then `python examples/queue_worker.py quit`.
"""

import os
import queue
import sys
import threading

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

calls = queue.Queue()
quitting = threading.Event()


def work(launch):
    if launch == ("quit",):
        quitting.set()
        return
    for name in launch:
        print("working on", name, flush=True)


with Socket_Singleton(name="org.example.queue-worker", dispatch=calls.put) as app:
    print("Running. The word quit ends it.", flush=True)
    work(Launch())
    app.trace(work)
    while not quitting.is_set():
        calls.get()()  # calls `work` with the next launch, on the main thread
for launch in app.arguments:  # arrived after the word quit, or while the program was closing
    work(launch)
