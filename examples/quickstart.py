"""A demonstration in one command: a first launch, and a second one that hands over its arguments.

    python examples/quickstart.py

Each launch is a process of its own that runs the program in APP.
"""

import os
import subprocess
import sys
import tempfile
import threading

SRC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src")
SECONDS = 30  # if anything hangs, the first launch is killed after this time

APP = f"""\
from Socket_Singleton import Launch, Socket_Singleton

def open_files(launch):
    print("opening", *launch, flush=True)

with Socket_Singleton(name="org.example.quickstart {os.getpid()}") as app:
    open_files(Launch())
    app.trace(open_files)
    input()
"""


def launch(folder, *args):
    env = dict(os.environ, HOME=folder, LOCALAPPDATA=folder)  # where the key of the name is kept
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, env.get("PYTHONPATH")]))
    print("\n$ python app.py", *(repr(arg) if " " in arg else arg for arg in args))
    command = [sys.executable, os.path.join(folder, "app.py"), *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, universal_newlines=True)


def show_line(process, who):
    """Wait for the next line that ``process`` prints, and show it."""
    line = process.stdout.readline().rstrip()
    print(f"  {who} prints: {line}")
    if not line:
        process.kill()
        sys.exit(f"{who} should have printed something:\n{process.communicate()[1]}")


def show_end(process, who, text=None):
    out, err = process.communicate(text)
    print(f"  {who} exits with status {process.returncode}{'' if out + err else ' and prints nothing'}")
    if process.returncode or out or err:
        sys.exit(f"{who} should have exited silently:\n{out}{err}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "app.py"), "w") as file:
            file.write(APP)
        print("app.py:", *APP.splitlines(), sep="\n  | ")

        first = launch(folder, "report.txt")
        watchdog = threading.Timer(SECONDS, first.kill)
        watchdog.daemon = True
        watchdog.start()
        show_line(first, "the first launch")

        second = launch(folder, "letter.txt", "my notes.txt")
        show_end(second, "the second launch")
        show_line(first, "the first launch")

        print("\n(Enter in the first shell)")
        show_end(first, "the first launch", "\n")
        watchdog.cancel()


if __name__ == "__main__":
    main()
