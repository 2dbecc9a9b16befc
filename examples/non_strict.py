"""A second launch that decides for itself what to do.

Start it in one shell, and then with some arguments in another one.
"""

import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton


def main():
    try:
        app = Socket_Singleton(name="org.example.non-strict", strict=False)
    except MultipleSingletonsError as error:
        if error.delivered:
            print("Another instance is running, and has accepted these arguments.")
            return
        sys.exit(str(error))
    with app:
        app.trace(print)
        print("Running. Press Enter to quit.", flush=True)
        input()
    for launch in app.arguments:  # arrived while the program was closing
        print(launch)


if __name__ == "__main__":
    main()
