"""A host with a name and few descriptors that can still open files while launches wait for an answer.

few_askers.py NAME LIMIT COUNT    after each line on stdin it opens COUNT files, and says how many it could
"""

import contextlib
import os
import resource
import sys

from saying import say

from Socket_Singleton import Socket_Singleton


class Never:
    """An answer that never comes."""

    def add_done_callback(self, call):
        self.call = call


name, limit, count = sys.argv[1:]
app = Socket_Singleton(name=name)
kept = []
app.trace(lambda args: kept.append(Never()) or kept[-1])
Socket_Singleton.send(["first"], name=name)  # now everything that a host imports is loaded
resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
say("ready")
while sys.stdin.readline():
    files = []
    with contextlib.suppress(OSError):
        while len(files) < int(count):
            files.append(os.open(os.devnull, os.O_RDONLY))
    say("opened", len(files))
    for number in files:
        os.close(number)
