"""A service without a window: the first launch is the service, and later ones are commands to it.

Run `python examples/service.py` in one shell. In another one, run
`python examples/service.py set colour blue`, and then the commands `get colour`,
`has size`, `--help` and `stop` in the same way.
"""

import argparse
import os
import sys

# Finds the package in a clone; has no effect once it is installed.
sys.path.append(os.path.join(os.path.dirname(__file__), "..", "src"))

from Socket_Singleton import Launch, Socket_Singleton

values = {}


class Parser(argparse.ArgumentParser):
    """Prints on the terminal of the launch that sent the command, and not on that of the service."""

    launch = None  # observers are called for one launch at a time

    def print_help(self, file=None):
        super().print_help(file or self.launch.stdout)

    def error(self, message):
        self.print_usage(self.launch.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def exit(self, status=0, message=None):
        print(message or "", end="", file=self.launch.stderr)
        sys.exit(status)  # the launch exits with this status; in the first launch, this ends the service


def set_value(_, key, value):
    values[key] = value


def get_value(launch, key):
    if key not in values:
        print(f"There is no {key}.", file=launch.stderr)
        return 1  # the exit status of the launch
    print(values[key], file=launch.stdout)
    return None


def has_value(_, key):
    return 0 if key in values else 1


def show_help(_):
    parser.print_help()
    sys.exit(0)


def stop(launch):
    app.release()
    print("The service has stopped.", file=launch.stdout)
    sys.exit(0)


parser = Parser()
parser.color = False  # since Python 3.14, it would depend on the terminal of the service
commands = parser.add_subparsers(metavar="command", required=True)
for name, act, *words in (
    ("set", set_value, "key", "value"),
    ("get", get_value, "key"),
    ("has", has_value, "key"),
    ("help", show_help),
    ("stop", stop),
):
    command = commands.add_parser(name)
    command.set_defaults(act=act)
    for word in words:
        command.add_argument(word)


def obey(launch):
    Parser.launch = launch
    options = vars(parser.parse_args(launch))
    return options.pop("act")(launch, **options)


app = Socket_Singleton(name="org.example.service", answer=True)  # a second launch exits here, when answered
if Launch():
    obey(Launch())  # the first launch may have a command too
print("The service is running. The command stop ends it.", flush=True)
app.trace(obey)
app.join()  # until release is called
