"""``python -m Socket_Singleton``: one instance of any command, and words to a host, from a shell.

Here are the parser and the short subcommands; `_run` and `_watch` are imported when
they are chosen.
"""

from __future__ import annotations

import argparse
import os
import sys

from . import Socket_Singleton
from ._settings import ADDRESS, PORT
from ._shell import INTERRUPTED, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PROGRAM = "python -m Socket_Singleton"

_WRONG_USAGE = 2  # as argparse has it

# The width of a help text, where the environment does not say COLUMNS.
_COLUMNS = 80

# What each subcommand does in a line, what follows it, all that its help says, and an example.
RUN = (
    "Run a command, if the port is free.",
    " -- COMMAND [ARG ...]",
    """\
The exit status is that of COMMAND: 128+n if signal n ended it, 127 if it is
not found, 126 if it cannot be executed. SIGINT and SIGTERM are passed on
to it. The port is free when COMMAND has ended. Should this program be
killed, COMMAND, with all that it started, goes on holding the port (but
not on Windows).

If the port is taken, COMMAND is not run: its words are handed to the host.
Another "run" discards them; "watch" and applications get them. If nobody
confirms that (with --no-forward: if nobody accepts connections there), a
line on stderr says so, and the status is 1. With --wait and a terminal on
stderr, a line says after a second whom it waits for.""",
    "--name backup -- rsync -a notes/ backup/",
)
SEND = (
    "Hand words to the host, as a second launch does.",
    " -- [ARG ...]",
    """\
The status is 0 when the host has them. It is 1, with a line on stderr, if
nobody is there, or somebody who does not confirm: another program, a host
with another secret, or one of version 2.0.0, which cannot confirm.""",
    "--name org.example.editor -- open 'my file.txt'",
)
ASK = (
    "Hand words to the host, and print what it answers.",
    " -- [ARG ...]",
    """\
It needs --name. A text is printed on stdout, with status 0; a number is the
status; an error is printed on stderr, with status 1. It waits for as long
as the host takes; Ctrl-C ends that.""",
    "--name org.example.editor -- close 'my file.txt'",
)
STATUS = (
    "Say whether somebody listens on the port.",
    "",
    """\
The status is 0 if so, 1 if not. No secret is needed, and a host does not
count it as a client. Another program that listens there looks the same.
With --name, it says whether that application of this user runs, and its
process id: the host has to prove that it is the one.""",
    "|| echo nobody",
)
WATCH = (
    "Be the host, and print each launch as a line of JSON.",
    "",
    """\
A line is an array of strings, all of it ASCII; [] is a launch without
arguments. It ends by SIGINT (status 130), by SIGTERM (143), and when nobody
reads its output any more (141). If the port is taken, a line on stderr says
so, and the status is 1; another program there looks like another instance.""",
    '| while read -r line; do echo "$line"; done',
)


def run(words: list[str], **options: Any) -> int:
    """Do as `RUN` says."""
    from ._run import run

    return run(words, **options)


def watch(_: list[str], **place: Any) -> int:
    """Do as `WATCH` says."""
    from ._watch import watch

    return watch(**place)


def send(words: list[str], **place: Any) -> int:
    """Do as `SEND` says."""
    Socket_Singleton.send(words, **place)
    return 0


def ask(words: list[str], name: str | None, **place: Any) -> int:
    """Do as `ASK` says."""
    if name is None:
        raise ValueError("ask needs --name: only a launch with a name can be answered")
    from ._answers import show

    try:
        code = show(Socket_Singleton.ask(words, name=name, **place))
    except RuntimeError as error:  # what the observer raised
        return fail(str(error), prefix="")
    return fail(code) if isinstance(code, str) else code or 0


def status(_: list[str], name: str | None, address: str, port: str, secret: str | None) -> int:
    """Do as `STATUS` says."""
    if name is None:
        there = Socket_Singleton.is_running(address, port)
        line = f"{address} port {port}: {'somebody' if there else 'nobody'} listens"
    else:
        pid = Socket_Singleton.pid_of(name, secret=secret, address=address, port=port)
        there = pid is not None
        line = f"{name}: process {pid}" if there else f"{name}: does not run"
    try:
        print(line, flush=True)
    except (OSError, ValueError):  # closed, or full: the status says it all
        _forget_stdout()
    return int(not there)


def _forget_stdout() -> None:
    """Have the interpreter not try again, as it ends, to write what cannot be written."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # argparse asks for a formatter while options are added, and then for the width of the
        # terminal: by shutil, which takes a tenth of `status` to import.
        columns = os.environ.get("COLUMNS", "")
        super().__init__(prog, width=int(columns) if columns.isdigit() else _COLUMNS)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        # Not by `exit`: without a stderr that fails before Python 3.9.
        fail(f"{message} ({self.prog} --help tells more)")
        raise SystemExit(_WRONG_USAGE)


def _exit_code(text: str) -> int:
    if text not in map(str, range(256)):
        raise argparse.ArgumentTypeError(f"must be from 0 to 255, not {text!r}")
    return int(text)


SUBCOMMANDS = {
    "run": (run, RUN),
    "send": (send, SEND),
    "ask": (ask, ASK),
    "status": (status, STATUS),
    "watch": (watch, WATCH),
}


def _make_parser() -> _Parser:
    """Return the parser of all subcommands."""
    parser = _Parser(
        prog=PROGRAM,
        description="Runs a command as a single instance, and talks to applications that are one.",
        epilog="The secret, if any, is the environment variable SOCKET_SINGLETON_SECRET.",
    )
    _add_place(parser)
    subcommands = parser.add_subparsers(metavar="SUBCOMMAND", required=True, prog=PROGRAM)
    for name, (_, (summary, *_)) in SUBCOMMANDS.items():
        _fill(subcommands.add_parser(name, help=summary), name)
    return parser


def _fill(parser: argparse.ArgumentParser, name: str) -> None:
    """Make ``parser`` that of one subcommand."""
    function, (summary, words, text, example) = SUBCOMMANDS[name]
    parser.usage = f"%(prog)s [options]{words}"
    parser.description = f"{summary}\n\n{text}"
    parser.epilog = f"example:\n  {PROGRAM} {name} {example}"
    parser.set_defaults(function=function, parser=parser, follows=words)
    _add_place(parser)
    if function is run:
        option = parser.add_argument
        option(
            "--wait", metavar="S", type=float, default=0, help="seconds to wait for the port; inf: for ever"
        )
        option("--exit-code", metavar="N", type=_exit_code, help="if it is taken (0; with --no-forward 1)")
        option("--no-forward", dest="forward", action="store_false", help="if it is taken, hand nothing over")


def _add_place(parser: argparse.ArgumentParser) -> None:
    # No defaults here: after the subcommand they would undo an option before it.
    for option, metavar, text in (
        ("--name", "N", "of the application; address and port follow from it"),
        ("--address", "A", "of the host (default: 127.0.0.1)"),
        ("--port", "P", "of the host, best 1024 to 32767 (default: 1337)"),
    ):
        parser.add_argument(option, metavar=metavar, help=text, default=argparse.SUPPRESS)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    defaults = argparse.Namespace(address=ADDRESS, port=str(PORT), name=None)
    name = argv[0] if argv else ""
    if name not in SUBCOMMANDS:
        return _make_parser().parse_known_args(argv, defaults)
    # To make the parsers of all the others takes longer than to ask a host.
    parser = _Parser(prog=f"{PROGRAM} {name}")
    _fill(parser, name)
    return parser.parse_known_args(argv[1:], defaults)


def main(argv: list[str]) -> int:
    """Do what the command line ``argv`` says; return the exit status."""
    # argparse does not see what follows "--": its versions differ in what they do to a second one.
    split = argv.index("--") if "--" in argv else len(argv)
    options, words = argv[:split], argv[split + 1 :]
    found, unknown = _parse(options)
    given = vars(found)
    function, follows = given.pop("function"), given.pop("follows")
    parser: _Parser = given.pop("parser")
    if unknown:
        hint = f", words go behind --:{follows}" if follows else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if words and not follows:
        parser.error("nothing may follow --")
    if "COMMAND" in follows and not words:
        parser.error("a command must follow --")
    try:
        return int(function(words, secret=os.environ.get("SOCKET_SINGLETON_SECRET"), **given))
    except ValueError as error:  # what the library does not take
        parser.error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return fail(error.strerror or str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
