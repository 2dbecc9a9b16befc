"""One instance at a time: a second launch exits before it does any work.

Start it in two shells.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

Socket_Singleton(name="org.example.minimal")  # a second launch exits here
print("Running. Press Enter to quit.", flush=True)
input()
