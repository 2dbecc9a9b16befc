"""Starts this program again, the way it was started itself: `Socket_Singleton.relaunch`.

=========================================  ========================================
how it was started                         what is started
=========================================  ========================================
a script; a console script                 its path
a directory; an archive: a zipapp, or the  its path
``.exe`` of a console script on Windows
``-m package``, ``-m module``              ``-m`` and the name
frozen, or compiled by Nuitka              the binary
``-c``, standard input, the prompt         nothing: `RuntimeError`
=========================================  ========================================

As in the reloaders of Django and Werkzeug, what is running is what the module ``__main__`` says
it is: `sys.argv` belongs to the program, which may have changed it. So a program that is run by
another one (`runpy`, a profiler, a debugger) is started directly.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from . import _settings
from ._system import STARTED_IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Mapping, Sequence

# One word of options: letters that take no value; a letter that takes one; its value, unless that
# is the next word. `-c` and `-m` end the options (CPython 3.10 to 3.14, Python/getopt.c, SHORT_OPTS).
_OPTION = re.compile(r"-([^cmWX]*)([cmWX]?)(.*)", re.DOTALL)

# Does what `-m` does, but finds the module where the program was started first: DIRECTORY MODULE [ARG ...].
# `-m` itself looks in the current directory. If that is now another one, such as the one that a later
# launch came from, the module is not there, and other files there could be imported instead.
_MODULE_FROM = (
    "exec('import sys; sys.path[0], module = sys.argv[1:3]; del sys.argv[1:3];"
    " import runpy; runpy._run_module_as_main(module)', {})"
)


def relaunch(argv: Sequence[str], popen_options: Mapping[str, Any]) -> subprocess.Popen[Any]:
    """Start this program again with ``argv``; ``popen_options`` are those of `subprocess.Popen`.

    Raises:
        RuntimeError: the program cannot be started again; the message says why.
        TypeError: ``argv`` is a single string.
        OSError, ValueError: those of `subprocess.Popen`.
    """
    from ._host.launch import Launch

    words = _settings.words(argv)
    main = sys.modules["__main__"]
    given_env, folder = popen_options.get("env"), popen_options.get("cwd")
    env = dict(os.environ if given_env is None else given_env)
    if isinstance(argv, Launch):
        if given_env is None:
            env.update(argv.environ)
        if folder is None:
            folder = _existing(argv.cwd)
    if _is_binary(main):
        command = [_binary(main)]
        _leave_bundle(env)
    else:
        command = [_interpreter(), *_interpreter_options(), *_program(main, elsewhere=folder is not None)]
        if folder is not None:
            _make_absolute(env)
    if folder is None:
        folder = _start_folder(_module(main)[1])
        if not os.path.isdir(folder):
            folder = None  # not known, or deleted
    return subprocess.Popen([*command, *words], **{**popen_options, "env": env, "cwd": folder})


def _existing(folder: str | None) -> str | None:
    """Return ``folder``, or the root directory if it was deleted.

    An error would cost the launches that are to follow, and in the directory of this process, a relative
    path might be another file. At the root there is hardly any.
    """
    return folder if folder is None or os.path.isdir(folder) else os.path.abspath(os.sep)


# -- frozen --


def _is_binary(main: ModuleType) -> bool:
    return hasattr(sys, "frozen") or hasattr(main, "__compiled__")


def _binary(main: ModuleType) -> str:
    if getattr(sys, "frozen", None) == "macosx_app":
        raise RuntimeError(_cannot("with py2app, sys.executable is a bare Python"))
    if not hasattr(main, "__compiled__"):
        return sys.executable
    # With Nuitka, sys.executable is a Python interpreter that need not exist.
    import shutil

    word = getattr(sys, "orig_argv", sys.argv)[0]
    return os.path.join(STARTED_IN, shutil.which(word) or word)


def _leave_bundle(env: dict[str, str]) -> None:  # pragma: no cover (coverage does not measure what is frozen)
    """Make the new process independent of this one, if PyInstaller has frozen the program.

    With ``--onefile`` it would otherwise use the files that this process has unpacked and deletes when
    it exits (PyInstaller's manual, "Independent subprocess launched from the frozen application").
    And each generation would add the directory of its libraries to LD_LIBRARY_PATH.
    """
    bundle = getattr(sys, "_MEIPASS", None)
    if bundle is None:
        return
    env["PYINSTALLER_RESET_ENVIRONMENT"] = "1"
    folders = env.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = [folder for folder in folders if folder not in ("", bundle)]
    if folders:
        env["LD_LIBRARY_PATH"] = os.pathsep.join(folders)


# -- what an interpreter runs --


def _program(main: ModuleType, elsewhere: bool) -> list[str]:
    """Return what follows the options of the interpreter, up to the arguments of the program."""
    module, found_in = _module(main)
    if not module:
        return [_path(main)]
    if elsewhere and _puts_folder_first():
        return ["-c", _MODULE_FROM, _start_folder(found_in), module]
    return ["-m", module]


def _module(main: ModuleType) -> tuple[str, str]:
    """Return the name that follows ``-m``, and the directory it was found in; "" if there was no ``-m``."""
    spec = getattr(main, "__spec__", None)
    if spec is None or spec.name == "__main__":
        return "", ""
    found_in = spec.origin or ""
    for _ in spec.name.split("."):
        found_in = os.path.dirname(found_in)
    package, _, last = spec.name.rpartition(".")
    return package if last == "__main__" else spec.name, found_in


def _path(main: ModuleType) -> str:
    """Return the absolute path of what was started: a script, a directory, an archive."""
    file = getattr(main, "__file__", None)
    if file is None or file == "<stdin>":
        raise RuntimeError(_cannot("it was started with `python -c`, at the prompt or from standard input"))
    path = os.path.join(STARTED_IN, file)  # since CPython 3.9, `file` is absolute
    folder, name = os.path.split(path)
    if getattr(main, "__spec__", None) is not None and os.path.splitext(name)[0] == "__main__":
        path = folder
    if not os.path.exists(path):
        raise RuntimeError(_cannot(f"{path} does not exist"))
    return path


def _start_folder(found_in: str) -> str:
    """Return the directory that this program was started in, as far as that is known."""
    # If `-m` found its module there, that is known even if the program went elsewhere before it
    # imported this package.
    is_first = found_in and _puts_folder_first() and sys.path[:1] == [found_in]
    return found_in if is_first else STARTED_IN


def _puts_folder_first() -> bool:
    """Whether ``-m`` looks for modules in the current directory first: not with -I or -P."""
    return not getattr(sys.flags, "safe_path", sys.flags.isolated)


def _make_absolute(env: dict[str, str]) -> None:
    """Make relative entries of PYTHONPATH mean the same directories as in this process."""
    if env.get("PYTHONPATH"):
        folders = env["PYTHONPATH"].split(os.pathsep)
        env["PYTHONPATH"] = os.pathsep.join(os.path.join(STARTED_IN, folder) for folder in folders)


# -- the interpreter, and its options --


def _interpreter() -> str:
    # Not orig_argv[0]: in a virtual environment that can be the base interpreter.
    if not sys.executable:
        raise RuntimeError(_cannot("sys.executable is not known"))
    return sys.executable


def _interpreter_options() -> list[str]:
    if hasattr(sys, "orig_argv"):
        return _options_among(sys.orig_argv[1:])
    return _options_of_flags()  # pragma: no cover (coverage runs on a later Python)


def _options_among(words: Sequence[str]) -> list[str]:
    """Return the options at the beginning of a command line, without ``-c`` and ``-m``."""
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word in ("-", "--"):
            break
        if word.startswith("--"):
            options += [word, next(rest, "")]  # --check-hash-based-pycs; others do not run a program
            continue
        letters, last, value = _OPTION.match(word).groups()  # type: ignore[union-attr]
        if last in ("c", "m"):
            options += [f"-{letters}"] if letters else []
            break
        options.append(word)
        if last and not value:
            options.append(next(rest, ""))
    return options


def _options_of_flags() -> list[str]:  # pragma: no cover (coverage runs on a later Python)
    """Return options that give an interpreter the flags of this one, before CPython 3.10."""
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    for word in os.environ.get("PYTHONWARNINGS", "").split(","):
        if f"-W{word}" in options:
            options.remove(f"-W{word}")  # it would be there once more in each generation
    for name, value in sys._xoptions.items():  # noqa: SLF001 (documented, in spite of its name)
        word = name if value is True else f"{name}={value}"
        if word not in options:
            options += ["-X", word]
    if getattr(sys.__stdout__, "write_through", False):
        options.append("-u")
    return options


def _cannot(why: str) -> str:
    return f"this program cannot be started again: {why}"
