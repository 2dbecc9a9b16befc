"""What tests observe: calls of an observer, and what is printed."""

from __future__ import annotations

import contextlib
import gc
import io
import threading

from .waiting import PATIENCE, wait_until


class Collector:
    """An observer that keeps what it is called with, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, args) -> None:
        self.calls.append(args)

    def wait_for(self, *calls) -> None:
        """Wait until there have been this many calls, and check that they were these."""
        wait_until(lambda: len(self.calls) >= len(calls), f"{len(calls)} calls of an observer")
        if self.calls != list(calls):
            got, wanted = str(self.calls)[:1000], str(list(calls))[:1000]
            raise AssertionError(f"observer was called with {got}, not {wanted}")


class Shelf:
    """A dispatch that keeps the functions that it gets until the test runs them."""

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, call) -> None:
        self.calls.append(call)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.calls) >= count, f"{count} calls of dispatch")
        if len(self.calls) != count:
            raise AssertionError(f"dispatch was called {len(self.calls)} times, not {count}")

    def run(self) -> None:
        """Run what is there now; what arrives meanwhile stays."""
        for _ in range(len(self.calls)):
            self.calls.pop(0)()

    def throw_away(self) -> None:
        self.calls.clear()
        gc.collect()  # for PyPy, which finalizes only then


class Gate:
    """A function, such as an observer, that blocks its callers until it is opened."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self, *_) -> None:
        self._reached.set()
        self._opened.wait(PATIENCE)

    def wait_for_somebody(self) -> None:
        if not self._reached.wait(PATIENCE):
            raise AssertionError("the gate was never called")

    def open(self) -> None:
        self._opened.set()


class Printed:
    """Captures what any thread of this process prints to stdout while it is entered."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self._redirection = contextlib.redirect_stdout(self._out)

    def __enter__(self):
        self._redirection.__enter__()
        return self

    def __exit__(self, *_) -> None:
        self._redirection.__exit__(*_)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    def wait_for(self, part: str) -> None:
        """Wait until ``part`` was printed to stdout."""
        wait_until(lambda: part in self.out, f"{part!r} on stdout")


@contextlib.contextmanager
def expect_lines(*expected: str):
    """Check what hosts and launches print to stdout meanwhile: these lines, soon, and nothing else."""
    with Printed() as printed:
        yield
        wait_until(lambda: printed.out.count("\n") >= len(expected), f"lines {expected}")
    if printed.out.splitlines() != [f"Socket_Singleton: {line}" for line in expected]:
        raise AssertionError(f"it printed {printed.out!r}, not {expected}")
