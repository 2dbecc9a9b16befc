"""A host that forks.

forked.py PORT worker    a multiprocessing worker that outlives the host
forked.py PORT with      a bare child that leaves the host's `with` block
forked.py PORT daemon    a bare child that outlives the host: a daemonizer
"""

import multiprocessing
import os
import sys

from saying import say

from Socket_Singleton import Socket_Singleton

PORT, HOW = int(sys.argv[1]), sys.argv[2]


def main():
    with Socket_Singleton(port=PORT) as app:
        app.trace(lambda args: say("got", *args))
        if HOW == "worker":
            say("ready")
            sys.stdin.readline()
            # multiprocessing gives its workers another stdin.
            keep = os.dup(0)
            multiprocessing.get_context("fork").Process(target=stay, args=(keep,)).start()
        elif os.fork() == 0:
            if HOW == "daemon":
                stay(0)
                os._exit(0)
            return
        if HOW == "with":
            os.wait()
            say("child left", app._listening)
        sys.stdin.readline()


def stay(keep):
    say("child", os.getpid())
    os.read(keep, 1)


main()
