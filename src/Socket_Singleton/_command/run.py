"""``python -m Socket_Singleton run``: a command that runs while this process is the host."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading

from .. import MultipleSingletonsError, Socket_Singleton
from .._host import exits
from .._outcome import shown
from .._system import NO_SIGNAL, sockets
from .._wakeup import WokenBySignals
from . import signals
from .shell import SIGNALLED, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from typing_extensions import Self

    from .. import Launch

# Seconds of waiting after which a person wants to know what for.
_SIGN_OF_LIFE_TIME = 1.0

# As shells have them: what cannot be executed, what is not found.
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


def run(words: list[str], wait: float, forward: bool, exit_code: int | None, **place: Any) -> int:
    """Run the command ``words`` as the host, or hand them over; return the exit status."""
    signals.handle_signals(signals.end)
    sign_of_life = threading.Timer(_SIGN_OF_LIFE_TIME, _say_that_it_waits, (wait, place))
    sign_of_life.daemon = True
    try:
        if wait > _SIGN_OF_LIFE_TIME and sys.stderr is not None and sys.stderr.isatty():
            sign_of_life.start()
        app = Socket_Singleton(**place, argv=words, client=forward, wait=wait, strict=False)
    except MultipleSingletonsError as error:
        if error.delivered is False:
            return fail(str(error))
        if forward and error.delivered is None:
            return fail(f"not confirmed: {error}")
        return exit_code if exit_code is not None else int(not forward)
    finally:
        sign_of_life.cancel()
    with app:
        app.trace(_discard)  # launches do not pile up
        # The command shares the port: it goes on holding it if this process is killed.
        listener = exits.hosts()[-1].listener
        code = _execute(words, listener)
        # What the command left behind may have the listener too; this is the end of it for all.
        with contextlib.suppress(OSError):
            listener.shutdown(sockets.SHUT_RDWR)
        return code


def _discard(launch: Launch) -> int:
    """Take a launch, and do nothing with it; if it waits for an answer, it fails with a message."""
    said = "Socket_Singleton: the running instance is a command, which accepts no launches"
    print(said, file=launch.stderr)
    return 1


def _say_that_it_waits(wait: float, place: dict[str, Any]) -> None:
    whom = f"{place['address']} port {place['port']}" if place["name"] is None else shown(place["name"])
    pid = None
    if place["name"] is not None:
        with contextlib.suppress(OSError):
            pid = Socket_Singleton.pid_of(**place)
    if pid is not None:
        whom += f" (process {pid})"
    limit = "" if wait == float("inf") else f", for {wait:g} seconds at most"
    fail(f"waiting for {whom} to end{limit}")


def _execute(command: list[str], listener: sockets.socket) -> int:
    """Run ``command``, which inherits ``listener``, to its end; return its status as a shell would."""
    early: list[int] = []  # signals that came before there was a process
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        # The terminal has sent it to both of us, and many programs take a second Ctrl-C for "at once".
        elif number != signal.SIGINT or not signals.terminal_tells_group():
            _kill(process, number)

    signals.handle_signals(pass_on)
    signals.count_on_child_status()
    # All that is needed to wait comes first, because there may be no thread or socket to be had.
    with WokenBySignals() as (wakened, waker), _Waiter(waker) as waiter:
        try:
            process = subprocess.Popen(command, pass_fds=signals.descriptors_to_inherit(listener))
        except OSError as error:
            fail(f"{command[0]}: {error.strerror}")
            return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
        waiter.wait_for(process)
        for number in early:
            _kill(process, number)
        while process.returncode is None:
            wakened.recv(64)  # handlers of signals run meanwhile
    code = int(process.returncode)
    return code if code >= 0 else SIGNALLED - code


class _Waiter:
    """A thread that waits for a process, and then sends a byte to ``waker``."""

    def __init__(self, waker: sockets.socket) -> None:
        self._waker = waker
        self._processes: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.put(None)
        self._thread.join()

    def wait_for(self, process: subprocess.Popen[bytes]) -> None:
        self._processes.put(process)

    def _run(self) -> None:
        process = self._processes.get()
        if process is not None:
            process.wait()
            with contextlib.suppress(BlockingIOError):  # it is full, so it wakes
                self._waker.send(b"\0", NO_SIGNAL)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):  # it has just ended, or is another user's
        try:
            process.send_signal(number)
        except ValueError:  # Windows sends a process no SIGINT of ours, but can end it
            process.terminate()
