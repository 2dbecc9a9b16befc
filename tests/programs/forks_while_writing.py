"""A host whose observer forks while another thread writes to the same launch; the child just goes on.

forks_while_writing.py NAME SECRET
"""

import os
import sys
import threading
import time

from saying import say

from Socket_Singleton import Socket_Singleton

sys.setswitchinterval(1e-6)
children = []


def observe(launch):
    begun, over = threading.Event(), threading.Event()

    def write():
        while not over.is_set():
            try:
                launch.stdout.buffer.write(b"x")
            except BrokenPipeError:
                pass  # it has gone, and the lock was taken to find that out
            begun.set()

    while launch == ("goes",) and not launch.gone:
        time.sleep(0.001)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    begun.wait()
    child = os.fork()
    if child:
        children.append(child)
        over.set()
        for writer in writers:
            writer.join()
    return 0


with Socket_Singleton(name=sys.argv[1], secret=sys.argv[2]) as app:
    app.trace(observe)
    say("ready")
    sys.stdin.readline()
    for child in children:
        os.waitpid(child, 0)
    say(len(children), "children have ended")
