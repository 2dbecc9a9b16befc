"""A small application to try Socket_Singleton by hand, in two shells; the tests start it too.

    python test_app.py COMMAND ...

    default [PORT] [ARG ...]     be the only instance, say so, end
    no_client [PORT] [ARG ...]   the same, but a second launch hands nothing over
    no_strict [PORT]             say which of the two this launch is
    timeout SECONDS [PORT]       be the host for that long
    release SECONDS [PORT]       be the host, release, live on for that long
    context [PORT]               be the host inside a `with` block
    trace SECONDS [PORT]         be the host for that long and print each launch
    max_clients [PORT]           print the first three launches, until Enter
    verbose_host [PORT] SECONDS  be a verbose host whose observer raises

PORT is 1337 if not given. In the first shell `python test_app.py trace 60`, in
the second one `python test_app.py default 1337 hello world`.
"""

import sys
import time

from src.Socket_Singleton import MultipleSingletonsError, Socket_Singleton

PORT = 1337


def show(args):
    print(" ".join(args), flush=True)


def raise_error(args):
    raise ValueError("Intentional test exception")


def take_port():
    """Take the first argument off the command line; what follows is what a second launch hands over."""
    return sys.argv.pop(1) if len(sys.argv) > 1 else PORT


def default():
    Socket_Singleton(port=take_port())
    print("Singleton locked", flush=True)


def no_client():
    Socket_Singleton(port=take_port(), client=False)


def no_strict():
    try:
        Socket_Singleton(port=take_port(), strict=False)
    except MultipleSingletonsError:
        print("MultipleSingletonsError", flush=True)
    else:
        print("Singleton locked", flush=True)


def timeout():
    seconds = float(sys.argv.pop(1))
    Socket_Singleton(port=take_port(), timeout=seconds)


def release():
    seconds = float(sys.argv.pop(1))
    Socket_Singleton(port=take_port()).release()
    time.sleep(seconds)


def context():
    with Socket_Singleton(port=take_port()):
        print("Singleton locked", flush=True)


def trace():
    seconds = float(sys.argv.pop(1))
    app = Socket_Singleton(port=take_port())
    print("Singleton locked", flush=True)  # first: two threads' lines could mix
    app.trace(show)
    time.sleep(seconds)


def max_clients():
    app = Socket_Singleton(port=take_port(), max_clients=3)
    print("Singleton locked", flush=True)  # first: two threads' lines could mix
    app.trace(show)
    sys.stdin.readline()


def verbose_host():
    port = take_port()
    seconds = float(sys.argv.pop(1))
    app = Socket_Singleton(port=port, verbose=True)
    print("Host ready", flush=True)  # first: two threads' lines could mix
    app.trace(raise_error)
    time.sleep(seconds)


COMMANDS = {
    command.__name__: command
    for command in (
        default,
        no_client,
        no_strict,
        timeout,
        release,
        context,
        trace,
        max_clients,
        verbose_host,
    )
}


def main():
    name = sys.argv.pop(1) if len(sys.argv) > 1 else None
    if name not in COMMANDS:
        what = "a command is missing" if name is None else f"{name!r} is not a command"
        sys.exit(f"test_app.py: {what}; there are: {', '.join(COMMANDS)}")
    COMMANDS[name]()


if __name__ == "__main__":
    main()
