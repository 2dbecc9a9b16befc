"""An asyncio program: a coroutine takes each launch, its own included, from an asyncio.Queue.

In one shell `python examples/asyncio_app.py a.txt`, in another one
`python examples/asyncio_app.py b.txt`, and `python examples/asyncio_app.py quit`.
"""

import asyncio
import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

PORT = int(os.environ.get("EXAMPLE_PORT", "14185"))


def open_files(args):
    for name in args:
        print("opening", name, flush=True)


async def each(launches):
    while True:
        yield await launches.get()


async def main():
    launches = asyncio.Queue()
    launches.put_nowait(tuple(sys.argv[1:]))
    app.trace(launches.put_nowait)  # called on the loop's thread, see `dispatch`
    async for args in each(launches):
        if args == ("quit",):
            break
        open_files(args)
    app.release()
    while not launches.empty():  # came behind the word quit
        open_files(launches.get_nowait())
    for args in app.arguments:  # came while this was ending
        open_files(args)


loop = asyncio.new_event_loop()
app = Socket_Singleton(port=PORT, dispatch=loop.call_soon_threadsafe)  # a second launch ends here
print("Running. The word quit ends it.", flush=True)
loop.run_until_complete(main())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
