"""Workers that import a module which constructs, when they unpickle their first task.

late_import.py PORT METHOD KIND    KIND: pool or executor
"""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from saying import say


def main():
    os.environ["PORT"] = sys.argv[1]
    context = multiprocessing.get_context(sys.argv[2])
    if sys.argv[3] == "pool":
        with context.Pool(2) as pool:
            import constructs_at_top  # the workers already exist, and have not imported it

            results = pool.map_async(constructs_at_top.double, range(4)).get(20)
    else:
        with ProcessPoolExecutor(2, context) as executor:
            executor.submit(abs, 1).result(20)
            import constructs_at_top

            results = [executor.submit(constructs_at_top.double, number).result(20) for number in range(4)]
    say("doubled", *[value for value, _ in results])
    say("inert", all(inert for _, inert in results))
    say("clients", constructs_at_top.app.clients)
    say("listening", constructs_at_top.app._listening)


if __name__ == "__main__":
    main()
