"""Hosts that live for some tens of milliseconds and end in various ways, during a stream of launches.

    churn.py PORT COUNT HOW WITNESS

HOW: release, timeout, threshold or kill. Each launch is a process of its own and
writes its outcome to the pipe, each line in one step, so that SIGKILL leaves
whole lines: "host N", "got N" (by an observer, or found in `arguments` after the
end), "left N" (in `arguments`, by a host that is about to be killed), "delivered
N", "unsure N", "failed N TEXT", "two". A host also holds the lock on the file
WITNESS while it is certainly a host; one that does not get it is a second host ("two").
"""

import fcntl
import os
import select
import signal
import sys
import threading
import time

import inside

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT, COUNT, HOW, WITNESS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
AT_ONCE = 8
LIFE = 0.06  # seconds
ENDINGS = {"timeout": {"timeout": LIFE}, "threshold": {"release_threshold": 3}}


def say(report, *words):
    os.write(report, (" ".join(map(str, words)) + "\n").encode())


def launch(number, report):
    sys.argv[1:] = [str(number)]
    # A POSIX lock: the system releases it as soon as it closes the descriptors of a
    # killed host, and only after that closes their files, including the listener. It
    # would release a lock of flock's kind with the file, in any order.
    witness = os.open(WITNESS, os.O_RDWR | os.O_CREAT)
    try:
        app = Socket_Singleton(port=PORT, strict=False, **ENDINGS.get(HOW, {}))
    except MultipleSingletonsError as error:
        if error.delivered is False:
            say(report, "failed", number, error)
        else:
            say(report, "delivered" if error.delivered else "unsure", number)
        return
    ends_by_itself = HOW in ENDINGS
    if not ends_by_itself:
        try:
            fcntl.lockf(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(report, "two")
    say(report, "host", number)
    app.trace(lambda args: say(report, "got", args[0]))
    end = time.monotonic() + LIFE
    while app._listening and time.monotonic() < end + (10 if ends_by_itself else 0):
        time.sleep(0.002)
    if HOW == "kill":
        # From here on nothing more is owned, and under the lock no delivery begins.
        with inside.at("put", lambda: threading.Event().wait(30)), inside.inbox_lock(app):
            for args in app.arguments:
                say(report, "left", args[0])
            os.kill(os.getpid(), signal.SIGKILL)
    fcntl.lockf(witness, fcntl.LOCK_UN)
    app.release()
    thread = inside.observer_thread(app)
    if thread is not None:
        thread.join()
    for args in app.arguments:
        say(report, "got", args[0])


def main():
    results, report = os.pipe()
    running = set()
    for number in range(COUNT):
        pid = os.fork()
        if not pid:
            try:
                launch(number, report)
            finally:
                os._exit(0)
        running.add(pid)
        while len(running) >= AT_ONCE:
            running.discard(os.wait()[0])
            pass_on(results)
    # The processes that are left may be hosts that wait for their threshold.
    while running:
        running.discard(os.wait()[0])
        pass_on(results)
    print("done", flush=True)


def pass_on(results):
    while select.select([results], [], [], 0)[0]:
        sys.stdout.write(os.read(results, 65536).decode())


main()
