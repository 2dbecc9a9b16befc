"""An update: the new version tells the old one to quit, and takes over as soon as it has.

In one shell `python examples/restart.py a.txt`. Then, as an installer would,
`python examples/restart.py --take-over` in another one. There is never a moment
with two at work, and what is launched meanwhile is done by one of the two.
"""

import os
import sys
import threading
import time

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14177"))
VERSION = os.environ.get("EXAMPLE_VERSION", "1")
QUIT = ("--quit",)
PATIENCE = 30  # seconds for the other version

quitting = threading.Event()


def take_over():
    """Return as the host, once the old version has ended."""
    try:
        Socket_Singleton.send(QUIT, port=PORT)
        print("The old version knows.", flush=True)
    except ConnectionRefusedError:
        pass  # there is none
    try:
        return Socket_Singleton(port=PORT, wait=PATIENCE, client=False, strict=False)
    except MultipleSingletonsError:
        sys.exit(f"After {PATIENCE} seconds there is still another instance.")


def work(args):
    # On the observer thread: one launch at a time, in order.
    if args == QUIT:
        app.release()  # all earlier work is done; later launches stay in app.arguments
        quitting.set()
        return
    for name in args:
        print(f"version {VERSION} works on {name}", flush=True)


def hand_on(args):
    """Give a launch that came too late for us to the new version."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return Socket_Singleton.send(args, port=PORT)
        except ConnectionRefusedError:  # it is about to take the port
            if time.monotonic() > end:
                sys.exit(f"Nobody takes over {args}")
            time.sleep(0.01)


if sys.argv[1:] == ["--take-over"]:
    app = take_over()
else:
    app = Socket_Singleton(port=PORT)
    work(tuple(sys.argv[1:]))
print(f"version {VERSION} runs", flush=True)
app.trace(work)
quitting.wait()
for late in app.arguments:
    hand_on(late)
