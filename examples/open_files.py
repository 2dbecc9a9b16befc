"""Relative paths mean what they meant where the second launch was started.

The first launch may have another current directory, so a second one hands over
absolute paths, with `argv`. Start it in one directory with the name of a file, and
again in another directory with another name.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14176"))


def open_files(paths):
    for path in paths:
        print("opening", path, flush=True)


paths = [os.path.abspath(name) for name in sys.argv[1:]]
app = Socket_Singleton(port=PORT, argv=paths)
open_files(paths)
app.trace(open_files)

print("Running. Press Enter to end.", flush=True)
input()
app.release()
for paths in app.arguments:  # came while this was ending
    open_files(paths)
