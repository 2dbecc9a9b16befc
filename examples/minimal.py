"""Only one at a time: a second launch ends before it does any work.

Start it in one shell, and again in another one.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14171"))  # choose one from 1024 to 32767

Socket_Singleton(port=PORT)
print("Running. Press Enter to end.", flush=True)
input()
