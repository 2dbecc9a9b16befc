"""Only launches that know a secret are listened to, and it is not in the source.

Set EXAMPLE_SECRET to the same value in two shells, and start it in both of them; then
start it once more with another value.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14178"))
SECRET = os.environ.get("EXAMPLE_SECRET")

if not SECRET:  # with an empty one, anybody would be listened to
    sys.exit("EXAMPLE_SECRET is not set.")

try:
    app = Socket_Singleton(port=PORT, secret=SECRET, strict=False)
except MultipleSingletonsError as error:
    sys.exit(None if error.delivered else "Another instance runs, and has not taken this launch.")


def show(args):
    print("Another launch had:", *args, flush=True)


app.trace(show)
print("Running. Press Enter to end.", flush=True)
input()
app.release()
for args in app.arguments:  # came while this was ending
    show(args)
