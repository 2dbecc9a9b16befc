"""``python -m Socket_Singleton``: one instance of any command, and words to a host, from a shell.

The first line of a subcommand's docstring is its summary; all of it is its help.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading

from . import MultipleSingletonsError, Socket_Singleton, _platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Iterator, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGNALLED = 128  # and the signal's number: the status of its death, as shells have it
READER_GONE = SIGNALLED + 13  # SIGPIPE, which Python itself ignores


def run(words: list[str], wait: float, forward: bool, exit_code: int | None, **place: Any) -> int:
    """Run a command, if the port is free.

    The exit status is that of COMMAND: 128+n if signal n ended it, 127 if it is
    not found, 126 if it cannot be executed. SIGINT and SIGTERM are passed on
    to it. The port is free when COMMAND has ended. Should this program be
    killed, COMMAND, with all that it started, goes on holding the port (but
    not on Windows).

    If the port is taken, COMMAND is not run: its words are handed to the host.
    Another "run" discards them; "watch" and applications get them. If nobody
    confirms that (with --no-forward: if nobody accepts connections there), a
    line on stderr says so, and the status is 1.
    """
    try:
        app = Socket_Singleton(**place, argv=words, client=forward, wait=wait, strict=False)
    except MultipleSingletonsError as error:
        if error.delivered is False:
            return _fail(str(error))
        if forward and error.delivered is None:
            return _fail(f"not confirmed: {error}")
        return exit_code if exit_code is not None else int(not forward)
    with app:
        app.trace(len)  # takes launches and does nothing with them: they do not pile up
        assert app._host is not None
        listener = app._host._listener
        code = _execute(words, listener)
        # What the command left behind may have the listener too; this is the end of it for all.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    return code


def send(words: list[str], **place: Any) -> int:
    """Hand words to the host, as a second launch does.

    The status is 0 when the host has them. It is 1, with a line on stderr, if
    nobody is there, or somebody who does not confirm: another program, a host
    with another secret, or one of version 2.0.0, which cannot confirm.
    """
    Socket_Singleton.send(words, **place)
    return 0


def status(_: list[str], address: str, port: str, **__: Any) -> int:
    """Say whether somebody listens on the port.

    The status is 0 if so, 1 if not. No secret is needed, and a host does not
    count it as a client. Another program that listens there looks the same.
    """
    there = Socket_Singleton.is_running(address, port)
    sys.stdout.write(f"{address} port {port}: {'somebody' if there else 'nobody'} listens\n")
    return int(not there)


def watch(_: list[str], **place: Any) -> int:
    """Be the host, and print each launch as a line of JSON.

    A line is an array of strings, all of it ASCII; [] is a launch without
    arguments. It ends by SIGINT (status 130), by SIGTERM (143), and when nobody
    reads its output any more (141). If the port is taken, a line on stderr says
    so, and the status is 1; another program there looks like another instance.
    """
    if sys.stdout is None:
        return _fail("stdout is closed")
    try:
        app = Socket_Singleton(**place, client=False, notify_empty=True, strict=False)
    except MultipleSingletonsError as error:
        return _fail(str(error))
    with app:
        output = sys.stdout.fileno()
        app.trace(_print_json, output)
        with _wakened_by_signals() as pair:
            _platform.wait_for_reader_to_go(output, pair[0])
    return READER_GONE


def _print_json(args: tuple[str, ...], output: int) -> None:
    """Write one line, past the buffer of stdout: the exit must not wait for it."""
    line = json.dumps(args).encode() + b"\n"
    try:
        while line:
            line = line[os.write(output, line) :]
    except OSError as error:
        # The main thread waits where nothing that this thread raises can reach it.
        os._exit(READER_GONE if isinstance(error, BrokenPipeError) else _fail(str(error)))


def _execute(command: list[str], listener: socket.socket) -> int:
    """Run ``command``, which inherits ``listener``, to its end; return its status as a shell would."""
    early: list[int] = []  # signals that came before there was a process
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        # The terminal has told both of us, and many take a second Ctrl-C for "at once".
        elif number != signal.SIGINT or not _platform.terminal_tells_group():
            _kill(process, number)

    _handle_signals(pass_on)
    _platform.count_on_child_status()
    try:
        process = subprocess.Popen(command, pass_fds=_platform.descriptors_to_inherit(listener))
    except OSError as error:
        _fail(f"{command[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    for number in early:
        _kill(process, number)
    code = _wait_for(process)
    return code if code >= 0 else SIGNALLED - code


def _wait_for(process: subprocess.Popen[bytes]) -> int:
    """Return the exit status of ``process``; handlers of signals run meanwhile."""
    with _wakened_by_signals() as (wakened, waker):

        def wait() -> None:
            process.wait()
            with contextlib.suppress(BlockingIOError):  # it is full, so it wakes
                waker.send(b"\0")

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        while process.returncode is None:
            wakened.recv(64)
        waiter.join()
        return int(process.returncode)


@contextlib.contextmanager
def _wakened_by_signals() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Have a byte from the second socket make the first one readable whenever a signal comes.

    A signal that comes just before a blocking call does not end it, and its
    handler, being Python, would run when something else does: perhaps never.
    """
    wakened, waker = socket.socketpair()
    with wakened, waker:
        waker.setblocking(False)
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield wakened, waker
        finally:
            signal.set_wakeup_fd(before)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):  # it has just ended, or is another user's
        process.send_signal(number)


def _handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in SIGNALS:
        # What we were started to ignore (`&` in a script), the command ignores too.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(SIGNALLED + number)


def _fail(message: str) -> int:
    prefix = "" if message.startswith("Socket_Singleton: ") else "Socket_Singleton: "
    sys.stderr.write(f"{prefix}{message}\n")
    return 1


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"Socket_Singleton: {message} ({self.prog} --help tells more)\n")


def _exit_code(text: str) -> int:
    if text not in map(str, range(256)):
        raise argparse.ArgumentTypeError(f"must be from 0 to 255, not {text!r}")
    return int(text)


def _make_parser() -> _Parser:
    # No defaults here: after the subcommand they would undo an option before it.
    place = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    place.add_argument("--address", metavar="A", help="of the host (default: 127.0.0.1)")
    place.add_argument("--port", metavar="P", help="of the host, best 1024 to 32767 (default: 1337)")
    parser = _Parser(
        prog="python -m Socket_Singleton",
        parents=[place],
        description="Runs a command as a single instance, and talks to applications that are one.",
        epilog="The secret, if any, is the environment variable SOCKET_SINGLETON_SECRET.",
    )
    subcommands = parser.add_subparsers(metavar="SUBCOMMAND", required=True)

    def add(function: Callable[..., int], words: str, example: str) -> argparse.ArgumentParser:
        text, name = inspect.cleandoc(function.__doc__ or ""), function.__name__
        example = f"example:\n  {parser.prog} {name} --port 14180 {example}"
        usage = f"%(prog)s [options]{words}"
        added: argparse.ArgumentParser = subcommands.add_parser(
            name, parents=[place], help=text.split("\n")[0], description=text, epilog=example, usage=usage
        )
        added.set_defaults(function=function, parser=added, follows=words)
        return added

    option = add(run, " -- COMMAND [ARG ...]", "-- rsync -a notes/ backup/").add_argument
    option("--wait", metavar="S", type=float, default=0, help="seconds to wait for the port; inf: for ever")
    option("--exit-code", metavar="N", type=_exit_code, help="if it is taken (0; with --no-forward 1)")
    option("--no-forward", dest="forward", action="store_false", help="if it is taken, hand nothing over")
    add(send, " -- [ARG ...]", "-- open 'my file.txt'")
    add(status, "", "|| echo nobody")
    add(watch, "", '| while read -r line; do echo "$line"; done')
    return parser


def main(argv: list[str]) -> int:
    """Do what the command line ``argv`` says; return the exit status."""
    _handle_signals(_end)
    # argparse does not see what follows "--": its versions differ in what they do to a second one.
    split = argv.index("--") if "--" in argv else len(argv)
    options, words = argv[:split], argv[split + 1 :]
    defaults = argparse.Namespace(address="127.0.0.1", port="1337")
    found, unknown = _make_parser().parse_known_args(options, defaults)
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
    except OSError as error:
        seen = f"{given['address']} port {given['port']}: {error.strerror}"
        return _fail(seen if error.strerror else str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
