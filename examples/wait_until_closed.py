"""An editor: a launch ends when the documents that it asked for are closed, as git wants it of $EDITOR.

In one shell `python examples/wait_until_closed.py a.txt`, in another one
`python examples/wait_until_closed.py b.txt`, which waits. Then type b.txt in the
first shell: that closes it.
"""

import os
import sys
import threading
from concurrent.futures import Future

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

NAME = os.environ.get("EXAMPLE_NAME", "org.example.editor")

waiting = {}  # the future of each launch: the documents that are still open of those it asked for
lock = threading.Lock()  # observers have a thread of their own


def open_documents(paths):
    closed = Future()
    with lock:
        waiting[closed] = set(paths)
    for path in paths:
        print(path, "is open", flush=True)
    return closed  # the launch waits until it is done


def close_document(path):
    with lock:
        for paths in waiting.values():
            paths.discard(path)
        done = [closed for closed, paths in waiting.items() if not paths]
        for closed in done:
            del waiting[closed]
    for closed in done:
        closed.set_result(0)  # the status of the launch; a text would be printed there


paths = [os.path.abspath(name) for name in sys.argv[1:]]
app = Socket_Singleton(name=NAME, argv=paths, answer=True)  # a second launch ends here, once it is answered
open_documents(paths)
app.trace(open_documents)

print("Running. A name closes that document, Enter alone ends all.", flush=True)
for line in iter(input, ""):
    close_document(os.path.abspath(line))
app.release()  # whoever waits still is told so, with status 1: that document was not closed
