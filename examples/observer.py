"""The arguments of every launch are dealt with by the first one.

In one shell `python examples/observer.py a.txt`, in another one
`python examples/observer.py b.txt "c d.txt"`.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14172"))


def open_files(args, source):
    for name in args:
        print(f"{source} asks for {name!r}", flush=True)


app = Socket_Singleton(port=PORT)  # a second launch ends here

open_files(sys.argv[1:], "this launch")
app.trace(open_files, source="another launch")  # called on a thread of its own

print("Running. Press Enter to end.", flush=True)
input()
app.release()
for args in app.arguments:  # came while this was ending
    open_files(args, "a late launch")
