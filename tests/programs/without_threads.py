"""A host that cannot start a thread after its first one until a line arrives: without_threads.py PORT.

It runs as another user, because root's threads are not counted.
"""

import logging
import os
import resource
import sys
import time

import inside
from saying import say

from Socket_Singleton import Socket_Singleton

ANOTHER_USER = 65533
logging.basicConfig(stream=sys.stderr)
app = Socket_Singleton(port=sys.argv[1])
app.trace(lambda args: say("got", *args))
try:
    raise RuntimeError("an error")
except RuntimeError:
    logging.getLogger("another").exception("import this now: another user may not be able to read it")
if os.geteuid() == 0:
    os.setresuid(ANOTHER_USER, ANOTHER_USER, 0)
hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
say("ready")
sys.stdin.readline()
while not inside.waits_for_a_thread(app):
    time.sleep(0.002)
resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
say("threads")
sys.stdin.readline()
app.release()
say("left", *app.arguments)
