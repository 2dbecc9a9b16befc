"""Launches are dealt with by the worker processes of a pool.

Workers are no launches. In one shell `python examples/multiprocessing_pool.py`, in
another one `python examples/multiprocessing_pool.py 27 28`.
"""

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14179"))


def square(text):
    return f"{text} squared is {int(text) ** 2}, says {multiprocessing.current_process().name}"


def share_out(args, pool):
    for line in pool.map(square, args):
        print(line, flush=True)


if __name__ == "__main__":
    multiprocessing.freeze_support()  # in a frozen application, workers go no further
    app = Socket_Singleton(port=PORT)  # a second launch ends here, before it starts any worker
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        with ThreadPoolExecutor(1) as observers:  # its end waits for the launch that is at work
            app.dispatch = observers.submit
            app.trace(share_out, pool)
            print("Running. Press Enter to end.", flush=True)
            input()
            app.release()
        for args in app.arguments:  # came while this was ending
            share_out(args, pool)
