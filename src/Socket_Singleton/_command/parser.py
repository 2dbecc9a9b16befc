"""``python -m Socket_Singleton``: one instance of any command, and messages to a host, from a shell.

This module has the parser and the short subcommands; `.run` and `.watch` are imported when
they are needed.
"""

from __future__ import annotations

import argparse
import os
import sys

from .. import Socket_Singleton, __version__
from .._answers import forget
from .._settings import ADDRESS, PORT
from .shell import fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

PROGRAM = "python -m Socket_Singleton"

_WRONG_USAGE = 64  # EX_USAGE of sysexits.h; the 2 of argparse is an answer of `status`
_CANNOT_TELL = 2  # of `status`

# The width of a help text, where the environment does not say COLUMNS.
_COLUMNS = 80

# For each subcommand: a summary, what follows it, the rest of its help text, and an example.
RUN = (
    "Run a command if the name or the port is free.",
    " -- COMMAND [ARG ...]",
    """\
The exit status is that of COMMAND: 128+n if signal n ended it, 127 if it was
not found, 126 if it could not be executed. SIGINT and SIGTERM are passed on
to COMMAND. The port is free once COMMAND has ended. If this program is
killed, COMMAND and everything that it started continue to hold the port
(except on Windows).

If the port is taken, COMMAND is not run. Instead its words are passed to the
host: another "run" discards them, while "watch" and applications receive
them. If the host does not confirm that (with --no-forward: if nothing accepts
connections there), an error is printed and the status is 1. With --wait and
a terminal on stderr, a message after one second says what it is waiting for.""",
    "--name backup -- rsync -a notes/ backup/",
)
SEND = (
    "Pass arguments to the running instance, as a second launch does.",
    " -- [ARG ...]",
    """\
The status is 0 if the host has accepted them. It is 1, with an error message,
if nothing is listening there, or if whatever is there does not confirm it:
another program, a host with another secret, or a host of version 2.0.0, which
cannot confirm it.""",
    "--name org.example.editor -- open 'my file.txt'",
)
ASK = (
    "Pass arguments to the running instance, and print its answer.",
    " -- [ARG ...]",
    """\
This needs --name. What the application writes to this launch appears on stdout
and stderr at once. If its answer is a text, it is printed on stdout and the
status is 0; if it is a number, that is the status; if it is an error, it is
printed on stderr and the status is 1. The command waits as long as that takes,
or until Ctrl-C; with --timeout, it fails when that time is over. With --wait,
it also waits for an application that is still starting.""",
    "--name org.example.editor -- close 'my file.txt'",
)
STATUS = (
    "Say whether an instance is running.",
    "",
    """\
With --name, it says whether that application of this user is running, and
prints its process id. The host has to prove its identity; if it has a secret,
that is needed here too. The status is 0 if it is running; 1 if nothing is
listening, or only a program that is certainly not this application; and 2 if
there is no reply or no proof.

Without --name, the status is 0 if any program is listening on the port, 1 if
nothing is, and 2 if that is not certain. No secret is needed. In neither case
does the host count this as a client.""",
    '--name org.example.editor; [ $? = 1 ] && echo "not running"',
)
WATCH = (
    "Become the host, and print each launch as a line of JSON.",
    "",
    """\
Each line is an array of strings in ASCII; [] is a launch without arguments.
The command ends on SIGINT (status 130), on SIGTERM (143), and when nobody
reads its output any more (141). If the name or the port is taken, it prints an
error and exits with status 1. Without --name, any program that is listening on
the port is taken for another instance.""",
    '| while read -r line; do echo "$line"; done',
)


def run(words: list[str], **options: Any) -> int:
    """Implement the subcommand ``run``."""
    from .run import run

    return run(words, **options)


def watch(_: list[str], **place: Any) -> int:
    """Implement the subcommand ``watch``."""
    from .watch import watch

    return watch(**place)


def send(words: list[str], **place: Any) -> int:
    """Implement the subcommand ``send``."""
    Socket_Singleton.send(words, **place)
    return 0


def ask(words: list[str], name: str | None, wait: float, timeout: float | None, **place: Any) -> int:
    """Implement the subcommand ``ask``."""
    if name is None:
        raise ValueError("ask needs --name: only an application with a name can answer")
    from .. import _remote
    from .._answers import Output, OutputError, end_of_output

    output = Output()
    try:
        answer = _remote.ask(_remote.Place(name=name, **place), words, timeout, wait, output)
        return int(output.show(answer) or 0)
    except RuntimeError as error:  # what the observer raised
        return fail(str(error), prefix="")
    except OutputError as error:
        code = end_of_output(error)
        return fail(code) if isinstance(code, str) else code


def status(_: list[str], name: str | None, address: str, port: str, secret: str | None) -> int:
    """Implement the subcommand ``status``."""
    from .._outcome import shown
    from .._remote import Place, look

    place = Place(address, port, secret, name)
    found = look(place)
    if name is None:
        line = f"{address} port {port}: {'a program' if found.is_there else 'nothing'} is listening"
    elif found.is_there:
        line = f"{shown(name)}: running (process {found.pid})"
    else:
        line = f"{shown(name)}: not running"
        if found.stranger:
            line += f"; another program is listening at {place.where}: {found.stranger}"
    try:
        print(line, flush=True)
    except (OSError, ValueError):  # closed, or full: the status says it all
        forget(sys.stdout)
    return int(not found.is_there)


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
        fail(f"{message} (see {self.prog} --help)")
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
        description="Runs a command as a single instance, and talks to single-instance applications.",
        epilog="A secret is read from the environment variable SOCKET_SINGLETON_SECRET.",
    )
    parser.add_argument("--version", action="version", version=f"Socket_Singleton {__version__}")
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
    option = parser.add_argument
    if function is ask:
        option(
            "--wait",
            metavar="S",
            type=float,
            default=0,
            help="how many seconds to wait for it to start (inf: for ever)",
        )
        option(
            "--timeout",
            metavar="S",
            type=float,
            help="how many seconds to wait in all (default: for ever)",
        )
    if function is run:
        option(
            "--wait",
            metavar="S",
            type=float,
            default=0,
            help="how many seconds to wait for the port (inf: for ever)",
        )
        option(
            "--exit-code",
            metavar="N",
            type=_exit_code,
            help="exit status if the port is taken (default: 0, with --no-forward 1)",
        )
        option(
            "--no-forward",
            dest="forward",
            action="store_false",
            help="hand nothing over if the port is taken",
        )


def _add_place(parser: argparse.ArgumentParser) -> None:
    # No defaults here: after the subcommand they would undo an option before it.
    for option, metavar, text in (
        ("--name", "N", "name of the application"),
        ("--address", "A", "address of the host (default: 127.0.0.1, or computed from the name)"),
        ("--port", "P", "port of the host (default: 1337, or computed from the name)"),
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
        hint = f"; put words after --, as in:{follows}" if follows else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if words and not follows:
        parser.error("nothing may follow --")
    if "COMMAND" in follows and not words:
        parser.error("a command must follow --")
    try:
        return int(function(words, secret=os.environ.get("SOCKET_SINGLETON_SECRET"), **given))
    except ValueError as error:  # what the library does not take
        parser.error(str(error))
    except KeyboardInterrupt:  # pragma: no cover (a process that a signal ends writes no data)
        from .signals import end_by_interrupt

        return end_by_interrupt()
    except (OSError, RuntimeError) as error:  # RuntimeError: the system is out of threads
        failed = fail(_text(error) if isinstance(error, OSError) else str(error))
        return _CANNOT_TELL if function is status else failed


def _text(error: OSError) -> str:
    """Return the text of an error for a shell, where a secret is given in another way than in Python."""
    from .._key_file import PARAMETER

    text = (error.strerror or str(error)).replace(PARAMETER, "(SOCKET_SINGLETON_SECRET)")
    return f"{error.filename}: {text}" if error.filename else text
