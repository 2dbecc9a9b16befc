"""A second launch that finds out, and decides itself what to do.

Start it in one shell, and again with some arguments in another one.
"""

import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14174"))


def main():
    try:
        app = Socket_Singleton(port=PORT, strict=False)
    except MultipleSingletonsError as error:
        if error.delivered:
            print("Another instance runs, and has taken these arguments over.")
            return
        sys.exit(str(error))
    with app:
        app.trace(print)
        print("Running. Press Enter to end.", flush=True)
        input()
    for args in app.arguments:  # came while this was ending
        print(args)


if __name__ == "__main__":
    main()
