"""Relative paths are resolved in the folder where the second launch was started.

Start it in one folder with a file name, and in another folder with another file name.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton


def open_files(launch):
    for name in launch:
        print("opening", os.path.normpath(os.path.join(launch.cwd or "", name)), flush=True)


with Socket_Singleton(name="org.example.open-files") as app:  # a second launch exits here
    open_files(Launch())
    app.trace(open_files)
    print("Running. Press Enter to quit.", flush=True)
    input()
for launch in app.arguments:  # arrived while the program was closing
    open_files(launch)
