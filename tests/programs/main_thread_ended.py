"""A host whose main thread ends at once, and whose `timeout` keeps it alive: main_thread_ended.py PORT.

Its `dispatch` is an executor. Once it has refused a launch, it is removed.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import main_thread
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
    main_thread.wait_for_its_end()
    say("ended")


app = Socket_Singleton(port=sys.argv[1], timeout=600, dispatch=submit)
app.trace(observe)
threading.Thread(target=say_end).start()
