"""What happens in a child: the launch, which may become the host, and the peers, which are not launches."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import re
import select
import signal
import socket
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Callable, NoReturn

from .schedule import LONGEST_HOST, STATUSES, Event, Role, digest, to_bytes

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "src"))

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

ACK, NAK = b"\x06", b"\x15"
# The hello of a launch with a name, and the sizes in its host's answer, which ends with the proof.
HELLO = b"HELLO Socket_Singleton/1\r\n\r\n"
NONCE_SIZE = PROOF_SIZE = 32
HOST_HELLO_SIZE = 1 + NONCE_SIZE + 4 + PROOF_SIZE
ANSWERS = {ACK: "owned", NAK: "ignored", b"": "closed"}

KILL_TIME = 1.0  # seconds that the supervisor has to kill this process
# For the threads of a host to end after release: observers here sleep for at most 20 ms.
THREADS_TIME = 5.0
CONNECT_TIME = 3.0  # seconds that a peer waits for anything

# The first or the last argument of a launch; a part of it identifies nothing.
NAME = re.compile(r"launch (\d+);$")


def identity(role: Role) -> dict[str, Any]:
    """Return the parameters that say whose instance this is."""
    return {"name": role.name} if role.name else {"address": role.address, "port": role.port}


class Log:
    """Writes lines ``WHAT NUMBER TIME MORE``, each in one step and in advance, so they survive SIGKILL."""

    def __init__(self, role: Role) -> None:
        self.number = role.number
        self._file = os.open(role.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, what: str, *more: object) -> None:
        words = [what, self.number, f"{time.monotonic():.9f}", *more]
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def launch(self, what: str, args: tuple[str, ...]) -> None:
        """Record that the launch with ``args`` arrived here."""
        names = [NAME.match(text) for text in (*args[:1], *args[-1:])]
        self(what, next((name[1] for name in names if name), "stray"), digest(args))


# -- the launch --


def interpreter_main() -> None:
    """Be a launch in its own interpreter, with its arguments in `sys.argv`."""
    sys.exit(launch(Role(*json.loads(os.environ["SOAK_ROLE"])), strict=True))


def launch(role: Role, strict: bool) -> int:
    """Be one launch, from beginning to end; return the exit status."""
    log = Log(role)
    sys.setswitchinterval(role.switch)
    ended_by_exit: list[Socket_Singleton] = []
    # Registered before the library's own handler, so that it runs after it.
    atexit.register(lambda: [account(app, log) for app in ended_by_exit])
    log("begins")
    before = time.monotonic()
    stdout, shown = sys.stdout, io.StringIO()  # for a launch that asks: what the observers of its host write
    sys.stdout = shown
    try:
        app = witnessed(log)(**parameters(role), strict=strict)
    except MultipleSingletonsError as error:
        log("second", error.delivered)
        check_output(shown.getvalue(), error)
        if fails(error):
            print(error, file=sys.stderr)
            return 1
        return error.answer or 0
    sys.stdout = stdout
    log("host", f"{before:.9f}")
    be_host(app, role, log)
    if role.ending == "exit":
        ended_by_exit.append(app)
    else:
        account_and_linger(app, role, log)
    return 0


def write_output(launch: Any) -> None:
    """Write output to a launch that `check_output` can check: little of it, or more than may wait."""
    lines = zlib.crc32(repr(launch).encode("utf-8", "replace")) % 40 + 1
    size = 60_000 if lines > 37 else 100
    try:
        for number in range(lines):
            print(number, "of", lines, "x" * size, file=launch.stdout)
    except BrokenPipeError:
        pass  # it was killed, or its time was over


def check_output(text: str, error: MultipleSingletonsError) -> None:
    """Print an error, which is a violation, if the observers' output has a gap, has no end or is missing."""
    is_whole = error.outcome in ("answered", "refused")
    lines = text.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    for place, line in enumerate(whole):
        number, _, rest = line.partition(" of ")
        if number != str(place) or rest.split(" ")[1].strip("x") != "\n":
            print(f"line {place} of the output is {line[:60]!r}", file=sys.stderr)
            return
    count = int(whole[0].split(" ")[2]) if whole else int(error.answer == STATUSES["writes"])
    if is_whole and (len(lines), len(whole)) != (count, count):
        print(
            f"{len(whole)} lines of {count} came, and {len(lines) - len(whole)} without end", file=sys.stderr
        )


def parameters(role: Role) -> dict[str, Any]:
    """Return the constructor's parameters for this role."""
    return {
        **identity(role),
        "timeout": role.life if role.ending == "timeout" else 0,
        "release_threshold": role.threshold if role.ending == "threshold" else 0,
        "secret": role.secret,
        **({"answer": True} if role.asks else {}),
    }


def fails(error: MultipleSingletonsError) -> bool:
    """Whether a launch with this error ends with status 1 and a message."""
    return error.delivered is False or str(error).startswith("Socket_Singleton: ")


def witnessed(log: Log) -> type[Socket_Singleton]:
    """Return a class that, as a host, logs what it owns before it acknowledges it: a kill hides nothing.

    This is the only place that uses private names of the package.
    """

    class Witnessed(Socket_Singleton):
        def _Socket_Singleton__serve(self, *room: Any) -> None:
            from Socket_Singleton._host.inbox import Inbox

            put = Inbox.put

            def logged(inbox: Inbox, entry: Any, *more: Any) -> bool:
                has_room = put(inbox, entry, *more)
                if has_room:
                    log.launch("owned", entry.launch)
                return has_room

            Inbox.put = logged
            super()._Socket_Singleton__serve(*room)

    return Witnessed


def be_host(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Live as ``role`` says, and give up the port; each way is logged in advance."""
    over = threading.Event()
    end = time.monotonic() + role.life
    seen = 0

    def leave() -> None:
        log("leaves")
        app.release()
        over.set()

    def observe(args: tuple[str, ...]) -> int | None:
        nonlocal seen
        log.launch("got", args)
        seen += 1
        if role.ending == "dies" and seen == role.threshold:
            log("dies")
            os.kill(os.getpid(), signal.SIGKILL)
        if role.ending == "observer" and time.monotonic() > end - role.life / 2:
            leave()
        return behave(role.observer, args)

    if role.observer == "raises":
        # Its errors are logged, and without a handler that would be noise on stderr.
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


def behave(observer: str, launch: Any) -> int | None:
    if observer == "writes":
        write_output(launch)
        return STATUSES[observer]
    if observer == "slow":
        time.sleep(0.02)
    if observer == "raises":
        raise SystemExit(STATUSES[observer])
    return None


def live(app: Socket_Singleton, role: Role, log: Log, over: threading.Event) -> None:
    if role.ending == "threshold":
        watch_threshold(app, role, log)
    elif role.ending == "timeout":
        over.wait(role.life + 0.05)  # until the host has closed by itself
    else:
        over.wait(KILL_TIME if role.ending in ("killed", "dies") else role.life)


def watch_threshold(app: Socket_Singleton, role: Role, log: Log) -> None:
    """Wait until the threshold is reached, at most for `LONGEST_HOST`; log repeatedly that it is not."""
    end = time.monotonic() + LONGEST_HOST
    while True:
        now = time.monotonic()
        if app.clients >= role.threshold or now > end:
            return
        # Below the threshold after `now` was read, so the port was held then.
        log("holds", f"{now:.9f}")
        time.sleep(0.005)


def account(app: Socket_Singleton, log: Log) -> int:
    """Log what a released host owns but no observer received; return how much that is."""
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
    """Do what `account` does, and log whatever arrives afterwards, which must be nothing."""
    accounted = account(app, log)
    time.sleep(role.linger)
    for args in app.arguments[accounted:]:
        log.launch("late", args)


# -- the peers --


def be_peer(event: Event) -> None:
    """Be a peer of ``event.kind``; the host may drop any of them, but a friend handles that itself."""
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
    """Send a good packet slowly, wait before the end of the stream, and log the answer."""
    data = packet(event, event.role.secret)
    log = Log(event.role)
    try:
        with connect(event) as sock:
            step = len(data) // 20 + 1
            for start in range(0, len(data), step):
                sock.sendall(data[start : start + step])
                time.sleep(event.hold / 200)
            # An early answer comes from a host that ends the connection.
            if not select.select([sock], [], [], event.dawdle)[0]:
                sock.shutdown(socket.SHUT_WR)
            log("friend", ANSWERS.get(sock.recv(1), "other"))
    except ConnectionError:
        log("friend", "nobody")
    except socket.timeout:
        log("friend", "silent")


def reset(event: Event) -> None:
    """Send part of a good packet, or all of it except its end; then reset."""
    data = packet(event, event.role.secret)
    with connect(event, resets=True) as sock:
        sock.sendall(data[: len(data) * event.role.threshold // 8] if event.peers > 1 else b"")
        time.sleep(event.hold / 20)


def stall(event: Event) -> None:
    """Send nothing on some connections, half a packet on others, and hold them; then reset."""
    data = packet(event, event.role.secret)[:5000].rstrip(b"\0")
    with contextlib.ExitStack() as held:
        for number in range(event.peers):
            sock = held.enter_context(connect(event, resets=True))
            if number % 2:
                with contextlib.suppress(OSError):  # over a limit, or the host is gone
                    sock.sendall(data)
        # Sometimes longer than a launch can wait for its turn, and than a peer may take.
        time.sleep(event.hold * (4 if event.role.threshold > 4 else 1))


def wrong(event: Event) -> None:
    """Show a wrong secret; if no secret is needed, end in the middle of a packet."""
    with connect(event, resets=not event.role.secret) as sock:
        sock.sendall(packet(event, "open barley"))
        if event.role.secret:
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)


def hello(event: Event) -> None:
    """Begin like a launch with a name and go no further, or show a false proof, or the host's own."""
    import hashlib  # not in every interpreter that is a launch

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
    """Send anything and end in order; or send endlessly, for a while, and then reset."""
    endless = event.peers > 10
    end = time.monotonic() + event.hold / 5
    with connect(event, resets=endless) as sock:
        sock.sendall(event.payload.rstrip(b"\0"))
        for _ in range(150):
            if not endless or time.monotonic() > end:
                break
            sock.sendall(event.payload)


# -- after the fork --


def act(event: Event) -> int:
    """Do what ``event`` says; return the exit status."""
    if event.kind == "interpreter":
        execute(event)
    if event.kind == "forked":
        sys.argv[1:] = event.args
        return launch(event.role, strict=False)
    be_peer(event)
    return 0


def run_child(work: Callable[[], int], err: str, seconds: int) -> None:
    """Be the child of a fork, for at most ``seconds``; does not return."""
    status = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor ends this process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(seconds)  # whatever happens to the supervisor
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
