"""Every public thing, used as it should be: mypy --strict must find nothing here.

Not a test of unittest, and never run: .ci/run has mypy read it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import queue
import sys
from typing import Callable, Optional, Tuple, Union

from typing_extensions import assert_type

from Socket_Singleton import Launch, MultipleSingletonsError, Socket_Singleton, __version__

assert_type(__version__, str)

# Bare, by position, by name; a number may be a string.
assert_type(Socket_Singleton(), Socket_Singleton)
Socket_Singleton("127.0.0.1", 1337, 0, True, True, 0, 0, False, None)
app = Socket_Singleton(
    address="::1",
    port="1337",
    timeout=1.5,
    client=False,
    strict=False,
    release_threshold="10",
    max_clients=5,
    verbose=True,
    secret="s",
    argv=["a", "b"],
    notify_empty=True,
    dispatch=concurrent.futures.ThreadPoolExecutor().submit,
    wait=float("inf"),
)
Socket_Singleton(argv=None, notify_empty=False, dispatch=None, wait=0)
Socket_Singleton(argv=("a", "b"), dispatch=asyncio.new_event_loop().call_soon_threadsafe, wait="1.5")

assert_type(app.address, str)
assert_type(app.port, int)
assert_type(app.timeout, float)
assert_type(app.client, bool)
assert_type(app.strict, bool)
assert_type(app.release_threshold, int)
assert_type(app.max_clients, int)
assert_type(app.verbose, bool)
assert_type(app.secret, Optional[str])
assert_type(app.argv, Optional[Tuple[str, ...]])
assert_type(app.notify_empty, bool)
assert_type(app.dispatch, Optional[Callable[[Callable[[], object]], object]])
assert_type(app.wait, float)
assert_type(app.arguments, Tuple[Launch, ...])
assert_type(app.clients, int)
assert_type(str(app) + repr(app), str)


def bare(args: tuple[str, ...]) -> None: ...


def extended(args: tuple[str, ...], prefix: str, *, debug: bool = False) -> int:
    return len(prefix)


class Window:
    def __call__(self, args: tuple[str, ...]) -> None: ...

    def open(self, args: tuple[str, ...]) -> None: ...


launches: queue.Queue[tuple[str, ...]] = queue.Queue()
seen: list[tuple[str, ...]] = []

calls: queue.Queue[Callable[[], object]] = queue.Queue()


def run_at_once(call: Callable[[], object]) -> None:
    call()


def idle_add(call: Callable[..., object], *args: object) -> int:
    return 0


# May be set while the host runs.
app.dispatch = calls.put
app.dispatch = run_at_once
app.dispatch = idle_add
app.dispatch = lambda call: call()
app.dispatch = None
app.notify_empty = False

app.trace(bare)
app.trace(extended, ">>>", debug=True)
app.trace(Window())
app.trace(Window().open)
app.trace(lambda args: print(*args))
app.trace(functools.partial(extended, prefix=">"))
app.trace(launches.put)
app.trace(seen.append)
app.untrace(bare)
app.release()
Socket_Singleton.send(["a"], address="::1", port="1337", secret=None, timeout=0.5)
Socket_Singleton.send(("a", "b"))
app.send([])
Socket_Singleton.send(sys.argv[1:], "127.0.0.1", 1337, "s", 2)
assert_type(Socket_Singleton.is_running(), bool)
assert_type(Socket_Singleton.is_running("127.0.0.1", port=1337), bool)
app.close()

with Socket_Singleton() as entered:
    assert_type(entered, Socket_Singleton)


class Mine(Socket_Singleton):
    def greet(self) -> None: ...


with Mine() as mine:
    mine.greet()

try:
    Socket_Singleton(strict=False)
except MultipleSingletonsError as error:
    assert_type(error.address, str)
    assert_type(error.port, int)
    assert_type(error.delivered, Optional[bool])
    raise MultipleSingletonsError(str(error), address="127.0.0.1", port=1, delivered=None) from error


def by_name(args: tuple[str, ...], *, color: str) -> str | None:
    return color


def with_a_launch(launch: Launch) -> int:
    print(*launch, launch.cwd, launch.environ.get("DISPLAY", ""), file=launch.stdout)
    launch.stderr.write("")
    return 2 if launch.gone else 0


app.trace(with_a_launch)
assert_type(Launch().cwd, Optional[str])
assert_type(Launch(["a"], cwd="/x", environ={"A": "b"})[0], str)
for waiting in app.arguments:
    assert_type(waiting, Launch)
limited = Socket_Singleton(name="org.example.editor", answer=2.5, environ=["DISPLAY"])
Socket_Singleton.ask(["a"], name="n", wait=5, stdout=sys.stdout, stderr=sys.stderr)

# A name, an answer, and the functions that find the host.
named = Socket_Singleton(name="org.example.editor", answer=True)
assert_type(named.name, Optional[str])
assert_type(named.answer, Union[bool, float])
assert_type(Socket_Singleton.ask(["a"], name="n"), Union[str, int, None])
assert_type(
    Socket_Singleton.ask(["a"], name="n", secret="s", timeout=1.5, address="::1", port=1),
    Union[str, int, None],
)
assert_type(Socket_Singleton.pid_of("n"), Optional[int])
assert_type(Socket_Singleton.pid_of("n", secret="s"), Optional[int])
assert_type(Socket_Singleton.is_running(name="n", secret="s"), bool)
Socket_Singleton.send(["a"], name="n")
assert_type(named.relaunch(["a"], cwd=None, env={"A": "b"}).wait(), int)
assert_type(named.join(), bool)
assert_type(named.join(timeout=0.5), bool)
named.trace(by_name, color="red")
named.trace(print)
named.trace(print, "more", sep=", ")

try:
    Socket_Singleton(strict=False)
except MultipleSingletonsError as error:
    assert_type(error.pid, Optional[int])
    assert_type(error.answer, Union[str, int, None])
