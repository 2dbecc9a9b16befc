"""A singleton at the top of the main module, and a multiprocessing pool.

pool.py PORT METHOD
"""

import multiprocessing
import sys

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

app = Socket_Singleton(port=sys.argv[1])


def square(number):
    # In a spawned worker, `app` is the worker's own, made while it imported this module.
    return number * number, app.clients, not inside.is_inert(app)


def main():
    app.trace(lambda args: say("got", *args))
    say("ready")
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        squares = pool.map(square, range(10))
    say("squares", *[value for value, _, _ in squares])
    inherited = {host for _, _, host in squares}
    say("workers with a host object:", *sorted(inherited))
    say("clients", app.clients)
    say("listening", app._listening)


if __name__ == "__main__":
    main()
