"""One instance at a time for part of a program: the name is free after the `with` block.

Start it in two shells. The second launch exits at once. After you press Enter in the
first shell it can start, although the first program is still running.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton


def show(launch):
    print("Another launch had:", *launch, flush=True)


with Socket_Singleton(name="org.example.context-manager") as app:
    app.trace(show)
    print("This is the only instance. Press Enter to release the name.", flush=True)
    input()
for launch in app.arguments:  # arrived while the block was ending
    show(launch)

print("Released. Press Enter to quit.", flush=True)
input()
