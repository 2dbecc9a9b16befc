"""For programs in which several threads or processes speak: no two lines mix.

Nor does a child of a fork wait for ever, as with print, if another thread had the lock of stdout.
"""

import os


def say(*words):
    """Write a line to stdout in one step, which print does not."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
