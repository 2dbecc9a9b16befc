"""An asyncio program: a coroutine takes each launch, including its own, from a queue.

Run `python examples/asyncio_app.py a.txt` in one shell, and in another one
`python examples/asyncio_app.py b.txt` and then `python examples/asyncio_app.py quit`.
"""

import asyncio
import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton


def open_files(launch):
    for name in launch:
        print("opening", name, flush=True)


async def main():
    launches = asyncio.Queue()
    launches.put_nowait(Launch())
    app.dispatch = asyncio.get_running_loop().call_soon_threadsafe
    app.trace(launches.put_nowait)  # called on the loop's thread
    print("Running. The word quit ends it.", flush=True)
    while True:
        launch = await launches.get()
        if launch == ("quit",):
            break
        open_files(launch)
    app.release()
    while not launches.empty():  # arrived after the word quit
        open_files(launches.get_nowait())


with Socket_Singleton(name="org.example.asyncio-app") as app:  # a second launch exits here
    asyncio.run(main())
for launch in app.arguments:  # arrived while the program was closing
    open_files(launch)
