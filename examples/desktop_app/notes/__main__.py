"""The entry point: `python -m notes FILE ...`, or `notes FILE ...` once it is installed."""

import argparse
import os
import queue
import sys

from Socket_Singleton import Launch, MultipleSingletonsError, Socket_Singleton

# Desktops set one of these for the programs that they start. A window with the token may come to the front.
TOKENS = ("XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID")


def parse():
    parser = argparse.ArgumentParser(prog="notes", description="Edit text files in one window.")
    parser.add_argument("--data-folder", default=os.path.join("~", ".notes"), help="where notes are kept")
    parser.add_argument("--wait", action="store_true", help="wait until the files are closed")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    options.data_folder = os.path.realpath(os.path.expanduser(options.data_folder))
    sys.argv[1:] = options.files  # what a second launch forwards, and what `Launch()` holds
    return options


def claim(options, dispatch):
    """Return the host, or None if the user wants to continue without it; a second launch exits here."""
    try:
        return Socket_Singleton(
            name=f"org.example.notes {os.path.normcase(options.data_folder)}",  # one for each data folder
            notify_empty=True,
            answer=options.wait,
            environ=TOKENS,
            dispatch=dispatch,
            strict=False,
        )
    except MultipleSingletonsError as error:
        if error.outcome in ("delivered", "answered"):
            sys.exit(error.answer)
        if options.wait and error.delivered:  # the connection ended without an answer
            sys.exit(str(error))
        problem = str(error)
    except OSError as error:  # the key cannot be written or read, for example because the home is read-only
        problem = f"Cannot find out whether another instance is running: {error}"
    from .window import ask_whether_to_go_on

    if not ask_whether_to_go_on(problem):
        sys.exit(1)
    return None


def main():
    options = parse()  # first, so that `--help` works whether another instance is running or not
    calls = queue.Queue()
    app = claim(options, calls.put)

    # This is now the only instance for its data folder, so it may use the files there. A second launch has
    # exited without importing the toolkit. Launches that arrive before `trace` wait in `app.arguments`.
    from .window import Window

    window = Window(app, calls, options.data_folder, Launch())
    window.root.mainloop()
    if app is None:
        return
    app.release()
    env = {name: value for name, value in os.environ.items() if name not in TOKENS}
    for launch in app.arguments:  # arrived while the window was closing; one of them is the next host
        words = ["--data-folder", options.data_folder, *window.paths_of(launch)]
        Socket_Singleton.relaunch(words, env={**env, **launch.environ})


if __name__ == "__main__":
    main()
