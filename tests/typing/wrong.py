"""What type checkers must reject, line by line: an ignore that mypy finds unused is an error.

Not a test of unittest, and never run: .ci/run has mypy read it.
"""

from Socket_Singleton import MultipleSingletonsError, Socket_Singleton, nothing  # type: ignore[attr-defined]

Socket_Singleton(address=None)  # type: ignore[arg-type]
Socket_Singleton(port=None)  # type: ignore[arg-type]
Socket_Singleton(port=1.5)  # type: ignore[arg-type]
Socket_Singleton(timeout=None)  # type: ignore[arg-type]
Socket_Singleton(client="no")  # type: ignore[arg-type]
Socket_Singleton(strict=None)  # type: ignore[arg-type]
Socket_Singleton(release_threshold=1.5)  # type: ignore[arg-type]
Socket_Singleton(max_clients=None)  # type: ignore[arg-type]
Socket_Singleton(verbose="yes")  # type: ignore[arg-type]
Socket_Singleton(secret=b"s")  # type: ignore[arg-type]
Socket_Singleton(host="127.0.0.1")  # type: ignore[call-arg]
Socket_Singleton(argv=[1])  # type: ignore[list-item]
Socket_Singleton(argv=5)  # type: ignore[arg-type]
Socket_Singleton(argv={"a"})  # type: ignore[arg-type]
Socket_Singleton(argv=b"bytes")  # type: ignore[arg-type]
Socket_Singleton(notify_empty=None)  # type: ignore[arg-type]
Socket_Singleton(dispatch="submit")  # type: ignore[arg-type]
Socket_Singleton(dispatch=lambda: None)  # type: ignore[arg-type,misc]
Socket_Singleton(wait=None)  # type: ignore[arg-type]
Socket_Singleton("127.0.0.1", 1337, 0, True, True, 0, 0, False, None, ["x"])  # type: ignore[call-arg]

Socket_Singleton.send()  # type: ignore[call-arg]
Socket_Singleton.send([b"x"])  # type: ignore[list-item]
Socket_Singleton.send(["x"], timeout=None)  # type: ignore[arg-type]
Socket_Singleton.send([5])  # type: ignore[list-item]
Socket_Singleton.send(["x"], address=None)  # type: ignore[arg-type]
Socket_Singleton.send(["x"], port=None)  # type: ignore[arg-type]
Socket_Singleton.send(["x"], secret=b"s")  # type: ignore[arg-type]
Socket_Singleton.send(["x"]).nothing  # type: ignore[attr-defined]
Socket_Singleton.is_running(5)  # type: ignore[arg-type]
Socket_Singleton.is_running(port=None)  # type: ignore[arg-type]

app = Socket_Singleton()
app.trace()  # type: ignore[call-arg]
app.trace("print")  # type: ignore[arg-type]
app.trace(None)  # type: ignore[arg-type]
app.untrace()  # type: ignore[call-arg]
app.release(1)  # type: ignore[call-arg]
app.arguments[0][0] = "x"  # type: ignore[index]
app.arguments = ()  # type: ignore[misc]
app.clients = 0  # type: ignore[misc]
app.clients + "1"  # type: ignore[operator]
app.dispatch = "submit"  # type: ignore[assignment]
app.notify_empty = None  # type: ignore[assignment]
app.argv[0] = "x"  # type: ignore[index]
app.nothing  # type: ignore[attr-defined]

MultipleSingletonsError("text", port="1337")  # type: ignore[arg-type]
MultipleSingletonsError("text", delivered="yes")  # type: ignore[arg-type]
MultipleSingletonsError().nothing  # type: ignore[attr-defined]


def strict_observer(args: tuple[str, ...], prefix: str, *, debug: bool = False) -> None: ...


def takes_a_word(word: str) -> None: ...


# An observer is called with the arguments, and with what `trace` is given besides.
app.trace(strict_observer)  # type: ignore[call-arg]
app.trace(strict_observer, 5)  # type: ignore[arg-type]
app.trace(strict_observer, "a", "b")  # type: ignore[arg-type,call-arg]
app.trace(strict_observer, "a", debug="yes")  # type: ignore[arg-type]
app.trace(strict_observer, "a", loud=True)  # type: ignore[call-arg]
app.trace(takes_a_word)  # type: ignore[arg-type]
Socket_Singleton(name=5)  # type: ignore[arg-type]
Socket_Singleton.ask(["a"])  # type: ignore[call-arg]
Socket_Singleton.pid_of()  # type: ignore[call-arg]
Socket_Singleton.pid_of(None)  # type: ignore[arg-type]
app.relaunch()  # type: ignore[call-arg]
app.relaunch([1])  # type: ignore[list-item]
app.join("soon")  # type: ignore[arg-type]
