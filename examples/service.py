"""A service without a window: the first launch is the service, each later one a command that it answers.

In one shell `python examples/service.py`, in another one
`python examples/service.py set colour blue`, then `get colour`, `has size`, `help`
and `stop` in the same way.
"""

import argparse
import os
import sys

# Finds the package in a clone; of no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Socket_Singleton

NAME = os.environ.get("EXAMPLE_NAME", "org.example.service")

values = {}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        # Not on the stderr of the service: an observer's SystemExit is how the launch ends.
        sys.exit(f"{self.format_usage()}{self.prog}: error: {message}")


def set_value(key, value):
    values[key] = value


def get_value(key):
    if key not in values:
        sys.exit(f"There is no {key}.")  # on the stderr of the launch, status 1
    return values[key]  # on its stdout


def has_value(key):
    return 0 if key in values else 1  # its status


def show_help():
    return parser.format_help()


def stop():
    app.release()
    return "The service has stopped."


parser = Parser(add_help=False)  # which would be printed by the service
commands = parser.add_subparsers(metavar="command", required=True)
for name, act, *words in (
    ("set", set_value, "key", "value"),
    ("get", get_value, "key"),
    ("has", has_value, "key"),
    ("help", show_help),
    ("stop", stop),
):
    command = commands.add_parser(name, add_help=False)
    command.set_defaults(act=act)
    for word in words:
        command.add_argument(word)


def obey(args):
    options = vars(parser.parse_args(args))
    return options.pop("act")(**options)


app = Socket_Singleton(name=NAME, answer=True)  # a second launch ends here, once it is answered
if sys.argv[1:]:
    obey(sys.argv[1:])  # the first launch may bring a command, too
print("The service runs. The word stop ends it.", flush=True)
app.trace(obey)
app.join()  # until somebody calls release
