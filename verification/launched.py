"""One launch, as `system_calls.py` starts it: it acts on lines of stdin, and says on stdout what came of it.

The first line is a JSON object: ``path`` (where the package is), ``preload``
(modules to import before anything is counted), ``options`` (of the
constructor), ``words`` (what this launch hands over), ``traced``, and ``pad`` (a
system call's number, and how often to make it in vain). Each further line is
leave to go on: to construct, and, where this is the host, to release.

It says, a line each: ``ready``; ``host ADDRESS PORT`` or ``raised TYPE``; ``got
WORDS`` for each launch that an observer is given; ``left WORDS`` for each that
``arguments`` still has after `release`; ``released``. Where asked for, ``modules
NAMES`` comes last.
"""

import importlib
import json
import os
import sys


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def leave() -> str:
    """Wait for the next line. Each is written when it is waited for, so one read is one line.

    By readv, which the library does not use: strace counts its reads alone.
    """
    line = bytearray(1 << 16)
    return line[: os.readv(0, [line])].decode()


def be_traced(number: int, times: int) -> None:
    """Let strace attach; then count up: see `system_calls.pad_for`."""
    import ctypes

    libc = ctypes.CDLL(None)
    # Where Yama is, only a parent may attach, and strace is not ours: PR_SET_PTRACER, PR_SET_PTRACER_ANY.
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    # The C library loads this when the interpreter, at its own end, ends a thread (CPython before
    # 3.14). It says so on stderr and aborts, if that fails. No case of ours, as all that is imported.
    try:
        ctypes.CDLL("libgcc_s.so.1")
    except OSError:
        pass  # a C library that has it within
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
        # It stays for a while: whatever it left open would keep the next launch out.
        say("raised", type(error).__name__)
        leave()
        raise
    finally:
        if orders["list_modules"]:
            # For a second launch this is the last that it does; the host says it again.
            say("modules", *sorted(sys.modules))
    app.trace(lambda words: say("got", *words))
    say("host", app.address, str(app.port))
    leave()
    app.release()
    for words in app.arguments:
        say("left", *words)
    if orders["list_modules"]:
        say("modules", *sorted(sys.modules))
    say("released")
    # Whether the port is free is looked at here, before the end of this process frees it.
    leave()


if __name__ == "__main__":
    main()
