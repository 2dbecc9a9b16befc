"""One launch, started by `system_calls.py`: it follows lines on stdin, and reports on stdout what happened.

The first line is a JSON object: ``path`` (where the package is), ``preload``
(modules to import before anything is counted), ``options`` (of the
constructor), ``words`` (the arguments of this launch), ``traced``, and ``pad`` (a
system call's number, and how often to make it without effect). Each further line
permits the next step: to construct, and, in the host, to release.

It prints, each on a line: ``ready``; ``host ADDRESS PORT`` or ``raised TYPE``; ``got
WORDS`` for each launch that an observer receives (and prints `LINES` to); ``left WORDS`` for each launch that
is still in ``arguments`` after `release`; ``released``. If requested, ``modules
NAMES`` comes last.
"""

import importlib
import json
import os
import sys

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


def be_traced(number: int, times: int) -> None:
    """Let strace attach, then raise the count of a call: see `system_calls.pad_for`."""
    import ctypes

    libc = ctypes.CDLL(None)
    # With Yama, only a parent may attach, which strace is not: PR_SET_PTRACER, PR_SET_PTRACER_ANY.
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    # The C library loads this when the interpreter ends a thread at its own end (CPython before 3.14); if
    # that fails, it prints an error and aborts. Like everything imported, that is not one of our cases.
    try:
        ctypes.CDLL("libgcc_s.so.1")
    except OSError:
        pass  # a C library that contains it
    say("ready")
    leave()
    in_vain = [ctypes.c_long(-1)] * 6
    for _ in range(times):
        libc.syscall(ctypes.c_long(number), *in_vain)


def main() -> None:
    orders = json.loads(leave())
    sys.path.insert(0, orders["path"])
    for name in orders["preload"]:
        importlib.import_module(name)
    from Socket_Singleton import Socket_Singleton

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
