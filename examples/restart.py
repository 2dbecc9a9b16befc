"""A program that restarts, for example after an update, without losing a launch.

Run `python examples/restart.py a.txt` in one shell, and `python examples/restart.py b.txt`
in another one. After an update, an installer would run
`python examples/restart.py --restart`: the running instance ends, and starts the new
version with the launches that it has not begun. `python examples/restart.py --quit` ends
it for good.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

VERSION = "1"
RESTART, QUIT = ("--restart",), ("--quit",)

commands = []


def work(launch):
    # On the observer thread: one launch at a time, in order.
    if launch in (RESTART, QUIT):
        commands.append(launch)
        app.release()  # all earlier work is done; later launches stay in app.arguments
        return
    for name in launch:
        print(f"version {VERSION} works on {name}", flush=True)


app = Socket_Singleton(name="org.example.restart")  # a second launch exits here
print(f"version {VERSION} is running", flush=True)
work(Launch())
if not commands:
    app.trace(work)
app.join()
if commands == [RESTART]:
    # Start each launch again, as it was. One of these processes becomes the host, unless another
    # launch already has; the others hand over to the host.
    for launch in app.arguments or [Launch(())]:
        app.relaunch(launch)
else:
    for launch in app.arguments:
        work(launch)
