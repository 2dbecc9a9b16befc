"""The launches of `system_calls.py`: each follows lines on stdin, and reports on stdout what happened.

A template, started once, imports what they need; each launch is a fork of it. Otherwise each story would
start Python and import the package four times. The template serves the socket whose number is its argument.
One kind of message is a list of modules to import. The other one comes with a launch's stdin, stdout and
stderr, and is an object: ``home``, ``options`` (of the constructor), ``words`` (the arguments of this
launch), ``traced``, and ``pad`` (a system call's number, and how often to make it without effect). The
template replies with the process id. Its forks are orphans, which Linux gives to the tool.

Each line on stdin permits the next step: to construct, and, in the host, to release. The launch prints, each
on a line: ``ready``; ``host ADDRESS PORT`` or ``raised TYPE``; ``got WORDS`` for each launch that an observer
receives (and prints `LINES` to); ``left WORDS`` for each launch that is still in ``arguments`` after
`release`; ``released``. If requested, ``modules NAMES`` comes last.
"""

import ctypes
import importlib
import json
import os
import socket
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"

# The lines that an observer prints to a launch, which shows them if it asks.
LINES = 3


def say(*words: str) -> None:
    os.writev(1, [(" ".join(words) + "\n").encode()])


def leave() -> str:
    """Wait for the next line. Each is written only when it is awaited, so one read is one line.

    With readv here and writev in `say`, which the library does not use: strace counts only its calls.
    """
    line = bytearray(1 << 16)
    return line[: os.readv(0, [line])].decode()


def observe(launch) -> None:
    say("got", *launch)
    for number in range(LINES):
        print("printed", number, file=launch.stdout)


def fork_launches() -> dict:
    """Fork whenever the tool says so; return, in the fork, what it has to do. End when the tool does."""
    # The C library loads this when the interpreter ends a thread at its own end (CPython before 3.14); if
    # that fails, it prints an error and aborts. Like everything imported, that is not one of our cases.
    try:
        ctypes.CDLL("libgcc_s.so.1")
    except OSError:
        pass  # a C library that contains it
    tool = socket.socket(fileno=int(sys.argv[1]))
    while True:
        data, streams, _, _ = socket.recv_fds(tool, 1 << 20, 3)
        if not data:
            raise SystemExit
        message = json.loads(data)
        if not streams:
            for name in message:
                importlib.import_module(name)
            continue
        pid = fork_orphan()
        if not pid:
            tool.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return message
        tool.send(str(pid).encode())
        for stream in streams:
            os.close(stream)


def fork_orphan() -> int:
    """Fork, and return 0 in the child; return its number once its parent has ended."""
    begin, end = os.pipe()
    parent = os.fork()
    if not parent:
        child = os.fork()
        if not child:
            os.close(begin)
            os.close(end)
            return 0
        os.write(end, str(child).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(end)
    with open(begin) as number:
        return int(number.read())


def be_traced(number: int, times: int) -> None:
    """Let strace attach, then raise the count of a call: see `system_calls.pad_for`."""
    libc = ctypes.CDLL(None)
    # With Yama, only a parent may attach, which strace is not: PR_SET_PTRACER, PR_SET_PTRACER_ANY.
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    say("ready")
    leave()
    in_vain = [ctypes.c_long(-1)] * 6
    for _ in range(times):
        libc.syscall(ctypes.c_long(number), *in_vain)


def main() -> None:
    sys.path.insert(0, str(SOURCE))
    orders = fork_launches()
    from Socket_Singleton import Socket_Singleton

    os.environ["HOME"] = orders["home"]
    sys.argv = ["app", *orders["words"]]
    if orders["traced"]:
        be_traced(*orders["pad"])
    else:
        say("ready")
        leave()
    try:
        app = Socket_Singleton(**orders["options"])
    except Exception as error:
        # It stays for a while: whatever it left open would block the next launch.
        say("raised", type(error).__name__)
        leave()
        raise
    finally:
        if orders["list_modules"]:
            # For a second launch this is the last line; the host prints it again.
            say("modules", *sorted(sys.modules))
    app.trace(observe)
    say("host", app.address, str(app.port))
    leave()
    app.release()
    for words in app.arguments:
        say("left", *words)
    if orders["list_modules"]:
        say("modules", *sorted(sys.modules))
    say("released")
    # The port is checked now, before the end of this process could free it.
    leave()


if __name__ == "__main__":
    main()
