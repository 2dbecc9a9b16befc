"""A pool of worker processes handles each launch. The workers do not count as launches.

Run `python examples/multiprocessing_pool.py` in one shell, and
`python examples/multiprocessing_pool.py 27 28` in another one.
"""

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton


def square(text):
    return f"{text} squared is {int(text) ** 2}, says {multiprocessing.current_process().name}"


def share_out(launch, pool):
    for line in pool.map(square, launch):
        print(line, flush=True)


def main():
    app = Socket_Singleton(name="org.example.pool")  # a second launch exits here, before it starts workers
    with app, multiprocessing.get_context("spawn").Pool(2) as pool:
        observers = ThreadPoolExecutor(1)
        app.dispatch = observers.submit
        app.trace(share_out, pool)
        print("Running. Press Enter to quit.", flush=True)
        input()
        app.release()
        observers.shutdown()  # waits for the launch that is being processed
        for launch in app.arguments:  # arrived while the program was closing
            share_out(launch, pool)


if __name__ == "__main__":
    multiprocessing.freeze_support()  # in a frozen application, workers stop here
    main()
