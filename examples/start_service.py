"""A tool that starts its service if it is not running, so that nobody has to start it by hand.

Run `python examples/start_service.py set colour blue`, and then the command `get colour`
in the same way; `stop` ends the service. The commands are those of `service.py`, which
this tool starts.
"""

import os
import subprocess
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

NAME = "org.example.service"
SERVICE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "service.py")
START_TIME = 30  # seconds that the service has to start; it takes less than one, unless the machine is busy


def start_service():
    # The service outlives this tool and its terminal: neither Ctrl-C nor a hangup there reaches it. If
    # several tools start it at once, one process becomes the service, and the others find it and exit.
    if os.name == "nt":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    else:
        detached = {"start_new_session": True}
    nothing = subprocess.DEVNULL
    subprocess.Popen([sys.executable, SERVICE], stdin=nothing, stdout=nothing, stderr=nothing, **detached)


def ask(words):
    try:
        return Socket_Singleton.ask(words, name=NAME)
    except ConnectionRefusedError:
        start_service()
    return Socket_Singleton.ask(words, name=NAME, wait=START_TIME)


try:
    answer = ask(sys.argv[1:])  # meanwhile, the output of the service appears here
except ConnectionRefusedError:
    sys.exit(f"The service did not start within {START_TIME} seconds.")
except (OSError, RuntimeError) as error:
    sys.exit(f"The service cannot be asked: {error}")
sys.exit(answer)
