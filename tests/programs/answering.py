"""A host that answers each launch as that one says; or a launch that asks for an answer.

    answering.py NAME [WORD ...]

A host prints "host", then "got ARGUMENTS" for each launch, and answers by the first of them:

    text T, number N, exit CODE, exit-text T, raise T   what the observer returns or raises
    bool, bytes                                         what is no answer
    never                                               a future that is never done
    later T                                             a future that is done at the launch "now"
    release T                                           release, then return T
    end, kill                                           the program ends; it kills itself

Whatever else: None. PLACE in the environment is a port to use; ENCODING one for stdout.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import Future

from Socket_Singleton import Socket_Singleton

later = []
over = threading.Event()


def answer(args):
    print("got", args, flush=True)
    kind, text = (*args, "", "")[:2]
    if kind == "exit":
        raise SystemExit(int(text))
    if kind == "exit-text":
        raise SystemExit(text)
    if kind == "raise":
        raise ValueError(text)
    if kind == "now":
        for future, result in later:
            future.set_result(result)
    if kind in ("later", "never"):
        future = Future()
        if kind == "later":
            later.append((future, text))
        return future
    if kind == "release":
        app.release()
        return text
    if kind == "end":
        over.set()
        return Future()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    values = {"text": text, "number": int(text) if kind == "number" else 0, "bool": True, "bytes": b""}
    return values.get(kind)


app = Socket_Singleton(
    name=sys.argv.pop(1),
    port=os.environ.get("PLACE", "1337"),
    secret=os.environ.get("KEY"),
    answer="ANSWER" in os.environ,
    wait=float(os.environ.get("WAIT", "0")),
)
print("host", flush=True)
app.trace(answer)
over.wait()
