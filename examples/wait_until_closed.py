"""An editor whose launches wait until their documents are closed, as git expects of $EDITOR.

Run `python examples/wait_until_closed.py a.txt` in one shell, and
`python examples/wait_until_closed.py b.txt` in another one, which waits. Then type b.txt
in the first shell to close that document.
"""

import os
import sys
import threading
from concurrent.futures import Future

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

waiting = {}  # maps the future of each launch to its documents that are still open
lock = threading.Lock()  # guards `waiting`, because observers run on another thread


def open_documents(launch):
    paths = {os.path.normpath(os.path.join(launch.cwd or "", name)) for name in launch}
    closed = Future()
    with lock:
        waiting[closed] = set(paths)
    for path in sorted(paths):
        print(path, "is open", flush=True)
    return closed  # the launch waits until this is done


def close_document(path):
    with lock:
        for paths in waiting.values():
            paths.discard(path)
        done = [closed for closed, paths in waiting.items() if not paths]
        for closed in done:
            del waiting[closed]
    for closed in done:
        closed.set_result(0)  # the exit status of the launch; a text would be printed instead


with Socket_Singleton(name="org.example.documents", answer=True) as app:  # a second launch waits here
    open_documents(Launch())
    app.trace(open_documents)
    print("Running. Type a name to close that document, or just Enter to quit.", flush=True)
    for line in iter(input, ""):
        close_document(os.path.abspath(line))
# Launches that are still waiting fail with a message and status 1, because their documents were not closed.
