"""A program that leaves SIGPIPE at its default, like command-line tools: a host, or a launch.

dies_of_sigpipe.py OPTIONS    the constructor's, as JSON; "argv" may be the length of an argument
"""

import json
import signal
import sys

from saying import say

from Socket_Singleton import Socket_Singleton

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
options = json.loads(sys.argv[1])
if "argv" in options:
    options["argv"] = ["x" * options["argv"]]
app = Socket_Singleton(**options)
app.trace(lambda args: say("got", *args))
say("ready")
sys.stdin.readline()
app.release()
