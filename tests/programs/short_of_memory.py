"""A host with hardly more memory than it already uses: short_of_memory.py PORT."""

import resource
import sys
import threading

from saying import say

from Socket_Singleton import Socket_Singleton

# Bytes: enough for the longest packet several times, but not for the 2.8 million str it may consist of.
MORE = 80 * 1024 * 1024

app = Socket_Singleton(port=sys.argv[1])
observed = threading.Event()


def observe(launch):
    say("got", *launch[:5])
    observed.set()


app.trace(observe)
Socket_Singleton.send(["first"], port=app.port)
# Now all threads exist. While one starts, malloc briefly maps twice what it keeps.
observed.wait()
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + MORE, resource.RLIM_INFINITY))
say("ready")
sys.stdin.readline()
