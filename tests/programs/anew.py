"""Prints how it was started, and starts itself again according to a plan.

    anew.py PLAN

PLAN is JSON: the ``argv`` for the new process, or a plan for it, and what to do before. With other
arguments, it only prints. Each process prints one line of JSON. A process that starts another one waits for
it and exits with its status, unless its plan says not to ``wait``.

The tests copy this file as a script, a package, an archive and a console script.
"""

import json
import os
import sys


def main():
    report = {
        "argv": sys.argv[1:],
        "command": getattr(sys, "orig_argv", None),
        "cwd": current_folder(),
        "executable": sys.executable,
        "file": os.path.abspath(sys.modules["__main__"].__file__),
        "flags": str(sys.flags),
        "mark": os.environ.get("MARK"),
        "module": getattr(sys.modules["__main__"].__spec__, "name", None),
        "path": [os.path.abspath(folder) for folder in sys.path],
        "prefix": sys.prefix,
        "pythonpath": os.environ.get("PYTHONPATH"),
        "unbuffered": sys.stdout.write_through,
        "unpacked": getattr(sys, "_MEIPASS", None),
        "libraries": os.environ.get("LD_LIBRARY_PATH"),
        "warnings": sys.warnoptions,
        "xoptions": sys._xoptions,
    }
    print(json.dumps(report), flush=True)
    is_plan = len(sys.argv) == 2 and sys.argv[1].startswith("{")
    return follow(json.loads(sys.argv[1])) if is_plan else None


def current_folder():
    try:
        return os.getcwd()
    except OSError:
        return None  # it was deleted


def follow(plan):
    if "read" in plan:  # this is a later process, and the first one has ended
        sys.stdin.readline()
        print(json.dumps(os.path.isdir(sys._MEIPASS)), flush=True)
        return None
    if "go_before_import" in plan:
        os.chdir(plan["go_before_import"])
    if "PACKAGE_PARENT" in os.environ:
        sys.path.append(os.environ["PACKAGE_PARENT"])  # with -I and -E there is no PYTHONPATH
    from Socket_Singleton import Launch, Socket_Singleton

    if "hold" in plan:
        hold(Socket_Singleton, **plan["hold"])
    if "go" in plan:
        os.chdir(plan["go"])
    if "remove" in plan:
        (os.rmdir if os.path.isdir(plan["remove"]) else os.remove)(plan["remove"])
    for module in ("sys", "__main__"):
        for name, value in plan.get(module, {}).items():
            setattr(sys.modules[module], name, value)
    popen = plan.get("popen", {})
    if popen.get("env"):
        popen["env"] = {**os.environ, **popen["env"]}
    new = Socket_Singleton.relaunch(arguments(Launch, plan), **popen)
    return new.wait() if plan.get("wait", True) else None


def arguments(kind, plan):
    argv = plan["argv"]
    words = [json.dumps(argv)] if isinstance(argv, dict) else argv
    return kind(words, **plan["launch"]) if "launch" in plan else words


def hold(kind, port, released_by):
    if released_by == "release":
        kind(port=port).release()
    elif released_by == "release_threshold":
        app = kind(port=port, release_threshold=1)
        kind.send(["x"], port=port)
        app.join()
    else:
        kind(port=port)  # without keeping a reference, as in many programs


if __name__ == "__main__":
    sys.exit(main())
