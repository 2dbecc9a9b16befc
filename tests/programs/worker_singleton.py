"""A worker whose own function constructs a singleton: a launch like any other.

    worker_singleton.py PORT METHOD ROLE

ROLE: second, if this program is the host; first, if nobody is.
"""

import multiprocessing
import sys
import threading

from saying import say

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton


def work(port):
    sys.argv = ["worker", "from a", "worker"]
    try:
        app = Socket_Singleton(port=port, strict=False)
    except MultipleSingletonsError as error:
        say("worker delivered", error.delivered)
    else:
        say("worker is the host", app._listening)
        app.release()


def main():
    port, method, role = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    delivered = threading.Event()
    if role == "second":
        app = Socket_Singleton(port=port)
        app.trace(lambda args: (say("got", *args), delivered.set()))
    worker = multiprocessing.get_context(method).Process(target=work, args=(port,))
    worker.start()
    worker.join()
    if role == "second":
        delivered.wait(30)
        app.release()
    say("exit code", worker.exitcode)


if __name__ == "__main__":
    main()
