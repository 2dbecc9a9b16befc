"""The running instance receives the arguments of every launch.

Run `python examples/observer.py a.txt` in one shell, and
`python examples/observer.py b.txt "c d.txt"` in another one.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton


def open_files(launch, source):
    for name in launch:
        print(f"{source} asks for {name!r}", flush=True)


with Socket_Singleton(name="org.example.observer") as app:  # a second launch exits here
    open_files(Launch(), "this launch")
    app.trace(open_files, source="another launch")  # called on a thread of its own
    print("Running. Press Enter to quit.", flush=True)
    input()
for launch in app.arguments:  # arrived while the program was closing
    open_files(launch, "a late launch")
