"""For programs in which several threads or processes print: lines do not mix.

Nor does a forked child wait for ever, as it may with print if another thread held the lock of stdout.
"""

import os


def say(*words):
    """Write a line to stdout in one step, unlike print."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
