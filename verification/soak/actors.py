"""What happens in a child: the launch, which may be the host, and the peers that are no launches."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

from .schedule import EXIT_STATUS, LONGEST_HOST, Event, Role, digest, to_bytes

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

ACK, NAK = b"\x06", b"\x15"
# How a launch with a name begins, and the bytes of what its host answers, of which the last are the proof.
HELLO = b"HELLO Socket_Singleton/1\r\n\r\n"
NONCE_SIZE = PROOF_SIZE = 32
HOST_HELLO_SIZE = 1 + NONCE_SIZE + 4 + PROOF_SIZE
ANSWERS = {ACK: "owned", NAK: "ignored", b"": "closed"}

KILL_TIME = 1.0  # seconds for the supervisor to kill whom it is to kill
# For the threads of a host to end after release: observers here sleep for 20 ms at most.
THREADS_TIME = 5.0
CONNECT_TIME = 3.0  # seconds that a peer waits for anything

# The first or the last argument of a launch; a piece of it is no name.
NAME = re.compile(r"launch (\d+);$")


def identity(role: Role) -> dict[str, Any]:
    """Return the parameters that say whose instance this is."""
    return {"name": role.name} if role.name else {"address": role.address, "port": role.port}


class Log:
    """Lines ``WHAT NUMBER TIME MORE``, each written in one step before it is done: so it survives SIGKILL."""

    def __init__(self, role: Role) -> None:
        self.number = role.number
        self._file = os.open(role.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, what: str, *more: object) -> None:
        words = [what, self.number, f"{time.monotonic():.9f}", *more]
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def launch(self, what: str, args: tuple[str, ...]) -> None:
        """Write that the launch with ``args`` arrived here."""
        names = [NAME.match(text) for text in (*args[:1], *args[-1:])]
        self(what, next((name[1] for name in names if name), "stray"), digest(args))


# -- the launch --


def interpreter_main() -> None:
    """Be a launch that is an interpreter of its own, with its arguments in `sys.argv`."""
    sys.exit(launch(Role(*json.loads(os.environ["SOAK_ROLE"])), strict=True))


def launch(role: Role, strict: bool) -> int:
    """Be one launch, from its begin to its end; return the exit status."""
    log = Log(role)
    sys.setswitchinterval(role.switch)
    ended_by_exit: list[Socket_Singleton] = []
    # Registered before the library's own, so that it runs after it.
    atexit.register(lambda: [account(app, log) for app in ended_by_exit])
    log("begins")
    before = time.monotonic()
    try:
        app = witnessed(log)(**parameters(role), strict=strict)
    except MultipleSingletonsError as error:
        log("second", error.delivered)
        if is_told(error):
            print(error, file=sys.stderr)
            return 1
        return error.answer or 0
    log("host", f"{before:.9f}")
    be_host(app, role, log)
    if role.ending == "exit":
        ended_by_exit.append(app)
    else:
        account_and_linger(app, role, log)
    return 0


def parameters(role: Role) -> dict[str, Any]:
    """Return what a launch of this role is constructed with."""
    return {
        **identity(role),
        "timeout": role.life if role.ending == "timeout" else 0,
        "release_threshold": role.threshold if role.ending == "threshold" else 0,
        "secret": role.secret,
        **({"answer": True} if role.asks else {}),
    }


def is_told(error: MultipleSingletonsError) -> bool:
    """Whether such a launch ends with status 1, and says why."""
    return error.delivered is False or str(error).startswith("Socket_Singleton: ")


def witnessed(log: Log) -> type[Socket_Singleton]:
    """Return the class, as a host logs what it owns before it tells so: what a kill takes along is known.

    This is the one place that reaches for private names of the package.
    """

    class Witnessed(Socket_Singleton):
        def _serve(self, *room: Any) -> None:
            from Socket_Singleton._inbox import Inbox

            put = Inbox.put

            def logged(inbox: Inbox, launch: Any, *more: Any) -> bool:
                has_room = put(inbox, launch, *more)
                if has_room:
                    log.launch("owned", launch.arguments)
                return has_room

            Inbox.put = logged
            super()._serve(*room)

    return Witnessed


def be_host(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Live as ``role`` says, and give up the port; each way says so in the log before it does."""
    over = threading.Event()
    end = time.monotonic() + role.life
    seen = 0

    def leave() -> None:
        log("leaves")
        app.release()
        over.set()

    def observe(args: tuple[str, ...]) -> None:
        nonlocal seen
        log.launch("got", args)
        seen += 1
        if role.ending == "dies" and seen == role.threshold:
            log("dies")
            os.kill(os.getpid(), signal.SIGKILL)
        if role.ending == "observer" and time.monotonic() > end - role.life / 2:
            leave()
        behave(role.observer)

    if role.observer == "raises":
        # What it raises is logged, and without a handler that is noise on stderr.
        import logging

        logging.getLogger("Socket_Singleton").addHandler(logging.NullHandler())
    if role.observer == "late":
        over.wait(role.life / 2)
    if role.observer != "none":
        app.trace(observe)
    live(app, role, log, over)
    if role.ending == "exit":
        log("leaves")
        return
    if role.ending == "threads":
        threading.Thread(target=leave).start()
    leave()


def behave(observer: str) -> None:
    if observer == "slow":
        time.sleep(0.02)
    if observer == "raises":
        raise SystemExit(EXIT_STATUS)


def live(app: Socket_Singleton, role: Role, log: Log, over: threading.Event) -> None:
    if role.ending == "threshold":
        watch_threshold(app, role, log)
    elif role.ending == "timeout":
        over.wait(role.life + 0.05)  # until the host has closed by itself
    else:
        over.wait(KILL_TIME if role.ending in ("killed", "dies") else role.life)


def watch_threshold(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Wait until the threshold is reached, or for `LONGEST_HOST`; log that it is not, again and again."""
    end = time.monotonic() + LONGEST_HOST
    while True:
        now = time.monotonic()
        if app.clients >= role.threshold or now > end:
            return
        # Below the threshold after `now` was read: the port was held then.
        log("holds", f"{now:.9f}")
        time.sleep(0.005)


def account(app: Socket_Singleton, log: Log) -> int:
    """Log what a host that has released owns and no observer was given; return how many that are."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREADS_TIME)
            if thread.is_alive():
                log("stuck", thread.name.replace(" ", "_"))
    left = app.arguments
    for args in left:
        log.launch("left", args)
    return len(left)


def account_and_linger(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Do as `account`; and log what still comes, which nothing must."""
    accounted = account(app, log)
    time.sleep(role.linger)
    for args in app.arguments[accounted:]:
        log.launch("late", args)


# -- the peers --


def be_peer(event: Event) -> None:
    """Be a peer of ``event.kind``; the host may drop any of them, and a friend looks for itself."""
    kinds = {"friend": friend, "reset": reset, "stall": stall, "wrong": wrong, "garbage": garbage}
    kinds["hello"] = hello
    with contextlib.suppress(OSError):
        kinds[event.kind](event)


def connect(event: Event, resets: bool = False) -> socket.socket:
    sock = socket.create_connection((event.role.address, event.role.port), CONNECT_TIME)
    if resets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return sock


def packet(event: Event, secret: str) -> bytes:
    return (secret + "\0" if secret else "").encode() + to_bytes(event.args) + b"\0"


def friend(event: Event) -> None:
    """Send a good packet slowly, wait before the end of the stream, and log what the answer is."""
    data = packet(event, event.role.secret)
    log = Log(event.role)
    try:
        with connect(event) as sock:
            step = len(data) // 20 + 1
            for start in range(0, len(data), step):
                sock.sendall(data[start : start + step])
                time.sleep(event.hold / 200)
            # An answer now is that of a host that ends the connection.
            if not select.select([sock], [], [], event.dawdle)[0]:
                sock.shutdown(socket.SHUT_WR)
            log("friend", ANSWERS.get(sock.recv(1), "other"))
    except ConnectionError:
        log("friend", "nobody")
    except socket.timeout:
        log("friend", "silent")


def reset(event: Event) -> None:
    """Send some of a good packet, or all of it but its end; then reset."""
    data = packet(event, event.role.secret)
    with connect(event, resets=True) as sock:
        sock.sendall(data[: len(data) * event.role.threshold // 8] if event.peers > 1 else b"")
        time.sleep(event.hold / 20)


def stall(event: Event) -> None:
    """Say nothing on some connections, half a packet on others, and hold them; then reset."""
    data = packet(event, event.role.secret)[:5000].rstrip(b"\0")
    with contextlib.ExitStack() as held:
        for number in range(event.peers):
            sock = held.enter_context(connect(event, resets=True))
            if number % 2:
                with contextlib.suppress(OSError):  # over a limit, or the host went
                    sock.sendall(data)
        # Sometimes longer than a launch can wait for its turn, and than a peer is given.
        time.sleep(event.hold * (4 if event.role.threshold > 4 else 1))


def wrong(event: Event) -> None:
    """Show a wrong secret; where none is asked for, end in the middle of a packet."""
    with connect(event, resets=not event.role.secret) as sock:
        sock.sendall(packet(event, "open barley"))
        if event.role.secret:
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)


def hello(event: Event) -> None:
    """Begin as a launch with a name, and go no further; or show a false proof, or the host's own."""
    import hashlib  # not for each interpreter that is a launch

    data = packet(event, "")
    step = event.role.threshold % 4
    with connect(event, resets=True) as sock:
        said = HELLO + event.payload[:NONCE_SIZE]
        sock.sendall(said[: len(said) // 2] if step == 0 else said)
        if step < 2:
            time.sleep(event.hold / 4)
            return
        answer = sock.recv(HOST_HELLO_SIZE, socket.MSG_WAITALL)
        if len(answer) == HOST_HELLO_SIZE:
            proof = answer[-PROOF_SIZE:] if step == 2 else bytes(PROOF_SIZE)
            digest = hashlib.blake2b(data, digest_size=PROOF_SIZE).digest()
            sock.sendall(b"\0" + len(data).to_bytes(4, "big") + digest + proof + data)
            answer = sock.recv(1)
        Log(event.role)("proof", ANSWERS.get(answer[:1], "other"))


def garbage(event: Event) -> None:
    """Send anything and end in order; or without end, for a while, and then reset."""
    endless = event.peers > 10
    end = time.monotonic() + event.hold / 5
    with connect(event, resets=endless) as sock:
        sock.sendall(event.payload.rstrip(b"\0"))
        for _ in range(150):
            if not endless or time.monotonic() > end:
                break
            sock.sendall(event.payload)


# -- from the fork on --


def act(event: Event) -> int:
    """Be what ``event`` says; return the exit status."""
    if event.kind == "interpreter":
        execute(event)
    if event.kind == "forked":
        sys.argv[1:] = event.args
        return launch(event.role, strict=False)
    be_peer(event)
    return 0


def run_child(work: Callable[[], int], err: str, seconds: int) -> None:
    """Be the child of a fork, for ``seconds`` at most; does not return."""
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(seconds)  # whatever becomes of the supervisor
        os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        status = work()
    except BaseException:  # noqa: BLE001 - shown, and a violation
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def execute(event: Event) -> NoReturn:
    """Become an interpreter that runs `interpreter_main` with ``event.args`` on its command line."""
    folder = os.path.dirname(event.role.log)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from verification.soak import actors; actors.interpreter_main()"
    )
    options = ["-I", "-S", "-X", "utf8", "-X", f"pycache_prefix={folder}/pycache", "-c", program]
    command = [text.encode("utf-8", "surrogateescape") for text in (sys.executable, *options, *event.args)]
    os.execve(sys.executable, command, {"SOAK_ROLE": json.dumps(event.role), "HOME": folder})
