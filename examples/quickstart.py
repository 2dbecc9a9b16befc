"""The whole of it in one command: a first launch, and a second one that hands it its arguments.

    python examples/quickstart.py [PORT]

Both launches are processes of their own, and run the program APP.
"""

import os
import subprocess
import sys
import tempfile
import threading
from socket import socket

SRC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 14170
SECONDS = 30  # the first launch is ended after so long, should anything hang

APP = f"""\
from Socket_Singleton import Socket_Singleton

def show(args):
    print("a second launch was started with", args, flush=True)

app = Socket_Singleton(port={PORT})
app.trace(show)
print("running, as the only one", flush=True)
input()
"""


def launch(app, *args):
    env = dict(os.environ)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, env.get("PYTHONPATH")]))
    print("\n$ python app.py", *(repr(arg) if " " in arg else arg for arg in args))
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, app, *args], stdin=pipe, stdout=pipe, stderr=pipe, env=env, universal_newlines=True
    )


def show_line(process, who):
    """Wait for the next line that ``process`` prints, and show it."""
    line = process.stdout.readline().rstrip()
    print(f"  {who} prints: {line}")
    if not line:
        process.kill()
        sys.exit(f"{who} was to print something:\n{process.communicate()[1]}")


def show_end(process, who, text=None):
    out, err = process.communicate(text)
    print(f"  {who} ends with status {process.returncode}{'' if out + err else ' and prints nothing'}")
    if process.returncode or out or err:
        sys.exit(f"{who} was to end quietly:\n{out}{err}")


def main():
    with socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            sys.exit(
                f"Port {PORT} is taken by another program."
                " Name another one: python examples/quickstart.py PORT (1024 to 32767)"
            )
    with tempfile.TemporaryDirectory() as folder:
        app = os.path.join(folder, "app.py")
        with open(app, "w") as file:
            file.write(APP)
        print("app.py:", *APP.splitlines(), sep="\n  | ")

        first = launch(app)
        watchdog = threading.Timer(SECONDS, first.kill)
        watchdog.daemon = True
        watchdog.start()
        show_line(first, "the first launch")

        second = launch(app, "report.txt", "my notes.txt")
        show_end(second, "the second launch")
        show_line(first, "the first launch")

        print("\n(Enter in the first shell)")
        show_end(first, "the first launch", "\n")
        watchdog.cancel()


if __name__ == "__main__":
    main()
