"""On a port, accept only launches that know a secret, which is not in the source code.

All users of the machine can connect to a port; with a name, no secret is needed. Set
APP_SECRET to the same value in two shells and start the program in both of them; then
start it once more with a different value.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

SECRET = os.environ.get("APP_SECRET")

if not SECRET:  # an empty secret would let everybody in
    sys.exit("APP_SECRET is not set.")

try:
    app = Socket_Singleton(port=14178, secret=SECRET, strict=False)
except MultipleSingletonsError as error:
    sys.exit(None if error.delivered else str(error))


def show(launch):
    print("Another launch had:", *launch, flush=True)


with app:
    app.trace(show)
    print("Running. Press Enter to quit.", flush=True)
    input()
for launch in app.arguments:  # arrived while the program was closing
    show(launch)
