r"""A fixed port instead of a name: for clients in other languages, and for version 2.0.0.

Any program and any user of this machine can send a launch here. Run
`python examples/port.py` in one shell, and in another one
`python examples/port.py a.txt` or, in bash,
`printf 'a.txt\0' > /dev/tcp/127.0.0.1/14172`.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton


def show(launch):
    print("Another launch had:", *launch, flush=True)


# Choose a port from 1024 to 32767, a different one for each application.
with Socket_Singleton(port=14172) as app:
    app.trace(show)
    print("Running. Press Enter to quit.", flush=True)
    input()
for launch in app.arguments:  # arrived while the program was closing
    show(launch)
