"""The first launch runs long jobs for later ones, which see the progress and can stop their job.

Run `python examples/progress.py` in one shell, and `python examples/progress.py 100` in
others: each is a job of 100 steps, and Ctrl-C stops it. Press Enter in the first shell
to end the program.
"""

import contextlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton


def work(launch):
    for steps in map(int, launch):
        for step in range(1, steps + 1):
            time.sleep(0.1)  # the work
            with contextlib.suppress(BrokenPipeError):
                # Appears on the terminal of the launch at once.
                print(f"step {step} of {steps}", file=launch.stdout, flush=True)
            if launch.gone:  # because of Ctrl-C, or because its terminal was closed
                # This appears on the terminal of the first launch.
                print(f"stopped after step {step} of {steps}", flush=True)
                return


# Up to four jobs run at once, each on its own thread, and further ones wait. Without `dispatch` they would
# all run on the observer thread, one after the other.
executor = ThreadPoolExecutor(4)
try:
    app = Socket_Singleton(name="org.example.progress", answer=True, dispatch=executor.submit)
except KeyboardInterrupt:
    sys.exit(130)  # Ctrl-C in a second launch
work(Launch())  # the first launch may have a job too
app.trace(work)
print("Running. Press Enter to quit.", flush=True)
input()
app.release()  # launches whose job has not started fail with a message
executor.shutdown()  # jobs that have started run to their end, and answer their launches
