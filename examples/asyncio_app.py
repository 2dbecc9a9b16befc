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


async def each(launches):
    while True:
        yield await launches.get()


async def main():
    launches = asyncio.Queue()
    launches.put_nowait(tuple(sys.argv[1:]))
    app.trace(launches.put_nowait)  # called on the loop's thread, see `dispatch`
    async for args in each(launches):
        if args == ("quit",):
            return
        for name in args:
            print("opening", name, flush=True)


loop = asyncio.new_event_loop()
app = Socket_Singleton(port=PORT, dispatch=loop.call_soon_threadsafe)  # a second launch ends here
print("Running. The word quit ends it.", flush=True)
with app:
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
