"""A host that has no free descriptor on demand, and prints how many turns it took meanwhile.

starved_host.py PORT [no-memory]    with it, the selector also fails once when accepting resumes
"""

import errno
import os
import resource
import selectors
import sys

import inside
from saying import say

from Socket_Singleton import Socket_Singleton


class Failing(selectors.DefaultSelector):
    paused = failed = False

    def unregister(self, fileobj):
        self.paused = True
        return super().unregister(fileobj)

    def register(self, fileobj, *more):
        if self.paused and not self.failed:
            Failing.failed = True
            raise OSError(errno.ENOMEM, "no memory")
        return super().register(fileobj, *more)


if "no-memory" in sys.argv:
    selectors.DefaultSelector = Failing

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
turns = []
counting = inside.at("turn", lambda: turns.append(None))
counting.__enter__()
app = Socket_Singleton(port=sys.argv[1])
app.trace(lambda args: say("got", *args))
say("ready")

sys.stdin.readline()
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
turns.clear()
say("starved")

sys.stdin.readline()
taken_turns = len(turns)
for descriptor in taken:
    os.close(descriptor)
say("turns", taken_turns)
if "no-memory" in sys.argv:
    say("failed", Failing.failed)
sys.stdin.readline()
