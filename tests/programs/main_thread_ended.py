"""A host whose main thread ends at once, and whose `timeout` keeps it alive: main_thread_ended.py PORT.

Its `dispatch` is an executor. When that has refused a launch, it is left out.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from saying import say

from Socket_Singleton import Socket_Singleton

executor = ThreadPoolExecutor(max_workers=1)


def submit(function):
    try:
        return executor.submit(function)
    except RuntimeError:
        app.dispatch = None  # for the next launch
        say(app.arguments[0], "waits")
        raise


def observe(args):
    say(args)
    if args == ("second",):
        app.release()


def say_end():
    main.join()
    say("ended")


main = threading.main_thread()
app = Socket_Singleton(port=sys.argv[1], timeout=600, dispatch=submit)
app.trace(observe)
threading.Thread(target=say_end).start()
