"""A host in a second interpreter, which ends while the process lives on, as in mod_wsgi.

sub_interpreter.py PORT HOW    release: it releases first; leave: it does not;
                               isolated, send: a host or a launch in one without daemon threads
"""

import sys

CODE = """
import sys
sys.path[:] = {path}
from Socket_Singleton import Socket_Singleton
import threading
called = threading.Event()
def observer(launch):
    print("got", *launch, flush=True)
    called.set()
app = Socket_Singleton(port={port})
app.trace(observer)
Socket_Singleton.send(["word"], port={port})
called.wait()
if {releases}:
    app.release()
"""

ISOLATED = """
import sys
sys.path[:] = {path}
import os
from Socket_Singleton import Socket_Singleton
before = os.listdir("/proc/self/fd")
try:
    Socket_Singleton(port={port})
except RuntimeError as error:
    print("refused:", error, flush=True)
print("left open:", len(os.listdir("/proc/self/fd")) - len(before), flush=True)
"""

SEND = """
import sys
sys.path[:] = {path}
from Socket_Singleton import Socket_Singleton
Socket_Singleton.send(["word"], port={port})
"""


def run(code, isolated):
    """Run ``code`` in a new interpreter, and end that."""
    if not isolated:
        import _testcapi  # which does the same as a program that embeds Python

        _testcapi.run_in_subinterp(code)
        return
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters
    else:
        import _xxsubinterpreters as interpreters
    number = interpreters.create()
    error = interpreters.run_string(number, code)
    if error is not None:
        print(error.formatted, flush=True)
    interpreters.destroy(number)


port, how = sys.argv[1:]
code = {"isolated": ISOLATED, "send": SEND}.get(how, CODE)
run(code.format(path=sys.path, port=port, releases=how == "release"), how in ("isolated", "send"))
print("the interpreter has ended", flush=True)
