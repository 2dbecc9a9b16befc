"""A host that answers each launch as that one says; or a launch with a name, which may ask for an answer.

    answering.py NAME [WORD ...]

A host prints "host", then "got ARGUMENTS" for each launch, and does what the first of them says
with the second:

    text T, number N, raise T, exit N, exit-text T   returns or raises that
    bool, bytes                                      returns what is no answer
    never                                            returns a future that is never done
    release T                                        releases, then returns T
    end, kill                                        the program ends; it kills itself

Anything else is answered by None. The environment may have PLACE, a port; KEY, a secret; and
ANSWER, if a launch is to ask.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import Future

from Socket_Singleton import Socket_Singleton

# To Windows each signal but Ctrl-C is an end without a word.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

over = threading.Event()


def throw(error):
    raise error


def release(text):
    app.release()
    return text


def end():
    over.set()
    return Future()


WAYS = {
    "text": str,
    "number": int,
    "raise": lambda text: throw(ValueError(text)),
    "exit": lambda text: sys.exit(int(text)),
    "exit-text": sys.exit,
    "bool": lambda _: True,
    "bytes": str.encode,
    "never": lambda _: Future(),
    "release": release,
    "end": lambda _: end(),
    "kill": lambda _: os.kill(os.getpid(), KILL),
}


def answer(args):
    print("got", args, flush=True)
    kind, text = (*args, "", "")[:2]
    way = WAYS.get(kind)
    return way(text) if way else None


app = Socket_Singleton(
    name=sys.argv.pop(1),
    port=os.environ.get("PLACE", "1337"),
    secret=os.environ.get("KEY"),
    answer="ANSWER" in os.environ,
)
print("host", flush=True)
app.trace(answer)
over.wait()
