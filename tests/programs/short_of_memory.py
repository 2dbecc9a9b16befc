"""A host that has hardly more memory than it uses already: short_of_memory.py PORT."""

import resource
import sys

from saying import say

from Socket_Singleton import Socket_Singleton

# Bytes: the longest packet fits several times; the 2.8 million str that it may consist of do not.
MORE = 80 * 1024 * 1024

app = Socket_Singleton(port=sys.argv[1])
app.trace(lambda args: say("got", *args[:5]))
Socket_Singleton.send(["first"], port=app.port)  # all threads are there now
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + MORE, resource.RLIM_INFINITY))
say("ready")
sys.stdin.readline()
