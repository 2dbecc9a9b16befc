"""An update: the new version asks the old one to quit, and takes over what that has not begun.

In one shell `python examples/restart.py a.txt`. Then, as an installer would,
`python examples/restart.py --take-over` in another one. There is never a moment
with two at work, and what is launched meanwhile is done by one of the two.
"""

import json
import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

NAME = os.environ.get("EXAMPLE_NAME", "org.example.worker")
VERSION = os.environ.get("EXAMPLE_VERSION", "1")
QUIT = ("--quit",)
PATIENCE = 30  # seconds for a launch that takes the place of the old version before this one does


def work(args):
    # On the observer thread: one launch at a time, in order.
    if args == QUIT:
        app.release()  # all earlier work is done; later launches stay in app.arguments
        return json.dumps(app.arguments)  # the answer to whoever asked
    for name in args:
        print(f"version {VERSION} works on {name}", flush=True)
    return None


def take_over():
    """Return as the host, with the launches that the old version has not begun."""
    late = "[]"
    try:
        late = Socket_Singleton.ask(QUIT, name=NAME)  # it has quit when this returns
    except ConnectionRefusedError:
        pass  # there is none
    try:
        return Socket_Singleton(name=NAME, wait=PATIENCE, client=False, strict=False), json.loads(late)
    except MultipleSingletonsError:
        sys.exit(f"After {PATIENCE} seconds there is still another instance. Not done: {late}")


if sys.argv[1:] == ["--take-over"]:
    app, launches = take_over()
else:
    # What a launch of these two words is answered is printed: what was not begun.
    app, launches = Socket_Singleton(name=NAME, answer=sys.argv[1:] == list(QUIT)), [sys.argv[1:]]
print(f"version {VERSION} runs", flush=True)
for args in launches:
    work(tuple(args))
app.trace(work)
app.join()
