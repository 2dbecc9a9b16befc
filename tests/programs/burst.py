"""Launches that all construct at the same moment, each in its own process.

    burst.py PORT COUNT

Prints the outcome of each as JSON: ["host", what its observer got] or
["delivered", True | False | None, text of the error]; then it ends.
"""

import json
import os
import sys
import threading

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])


def launch(number, go, over):
    sys.argv[1:] = [str(number), "of", str(COUNT)]
    os.read(go, 1)
    try:
        app = Socket_Singleton(port=PORT, strict=False)
    except MultipleSingletonsError as error:
        return "delivered", error.delivered, str(error)
    got = []
    app.trace(lambda args: got.append(args))
    os.read(over, 1)
    app.release()
    for thread in threading.enumerate():  # one may be about to call the observer
        if thread is not threading.current_thread():
            thread.join()
    return "host", got + list(app.arguments)


def main():
    # A read at the end of a pipe returns for all its readers at once.
    go, start = os.pipe()
    over, end = os.pipe()
    results, report = os.pipe()
    children = []
    for number in range(COUNT):
        pid = os.fork()
        if not pid:
            os.close(start)
            os.close(end)
            try:
                line = json.dumps(launch(number, go, over))
                os.write(report, line.encode() + b"\n")
                # The end waits too: when coverage is measured, it takes longer than a launch, and
                # two hundred of them would take the 2 s that the other launches have.
                os.read(over, 1)
            finally:
                os._exit(0)
        children.append(pid)
    os.close(report)
    os.close(start)
    with os.fdopen(results) as lines:
        # All but a host, which waits until it is over; without a host, all.
        for _ in range(COUNT - 1):
            print(lines.readline(), end="")
        os.close(end)
        print(lines.read(), end="")
    for pid in children:
        os.waitpid(pid, 0)
    print("done", flush=True)


main()
