"""A host that answers each launch as the launch requests; or a launch with a name, which may ask.

    answering.py NAME [WORD ...]

A host prints "host", then "got ARGUMENTS" for each launch, and does what the first argument says
with the second:

    text T, number N, raise T, exit N, exit-text T   returns or raises that
    bool, bytes                                      returns something that is not an answer
    never                                            returns a future that is never done
    print T N                                        prints T to the launch, and returns N
    release T                                        releases, then returns T
    end, kill                                        the program ends, or kills itself

The answer to anything else is None. The environment may contain ADDRESS; PLACE, a port; KEY, a
secret; and ANSWER, if a launch should ask.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import Future

from Socket_Singleton import Socket_Singleton

# On Windows every signal except Ctrl-C ends a process silently.
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
    kind, text, status = (*args, "", "", "")[:3]
    if kind == "print":
        print(text, file=args.stdout)
        print(text, "on stderr", file=args.stderr)
        return int(status)
    way = WAYS.get(kind)
    return way(text) if way else None


app = Socket_Singleton(
    name=sys.argv.pop(1),
    address=os.environ.get("ADDRESS", "127.0.0.1"),
    port=os.environ.get("PLACE", "1337"),
    secret=os.environ.get("KEY"),
    answer="ANSWER" in os.environ,
)
print("host", flush=True)
app.trace(answer)
over.wait()
