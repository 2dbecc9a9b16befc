"""Only one at a time in a part of the program: the port is free after the `with` block.

Start it in two shells. The second one ends at once; after Enter in the first
one it can start, though the first one still runs.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14173"))


def show(args):
    print("Another launch had:", *args, flush=True)


with Socket_Singleton(port=PORT) as app:
    app.trace(show)
    print("The only one. Press Enter to release the port.", flush=True)
    input()
for args in app.arguments:  # came while the block was ending
    show(args)

print("Released. Press Enter to end.", flush=True)
input()
