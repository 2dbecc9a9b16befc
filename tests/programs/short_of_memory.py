"""A host without the memory for a launch of many short arguments, and then another launch: short_of_memory.py PORT."""

import resource
import sys
import threading

from saying import say

from Socket_Singleton import Socket_Singleton

# Bytes beyond what it has: the packet itself fits several times; its 2.8 million str do not.
MORE = 80 * 1024 * 1024

app = Socket_Singleton(port=sys.argv[1])
done = threading.Event()


def observe(args):
    if len(args) < 5:
        say("got", *args)
        done.set()


app.trace(observe)
Socket_Singleton.send(["later"] * 5, port=app.port)  # all threads are there now
many = ["ab"] * (8 * 1024 * 1024 // 3)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + MORE, resource.RLIM_INFINITY))
Socket_Singleton.send(many, port=app.port, timeout=30)
Socket_Singleton.send(["later"], port=app.port, timeout=30)
done.wait(30)
