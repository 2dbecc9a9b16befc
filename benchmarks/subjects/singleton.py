"""Socket_Singleton: the package in src, with and without a name, the one in another tree, and 2.0.0."""

from __future__ import annotations

import socket
import time
from typing import Callable, ClassVar, TextIO

from .base import ADDRESS, Observer, Place, Subject

NAME = "org.example.bench.{port}"


class This(Subject):
    name = "this"
    stallers = True
    IMPORT = "from Socket_Singleton import Socket_Singleton"
    TAKE = "app = Socket_Singleton(port={port})\napp.trace(print)"
    LAUNCH = "Socket_Singleton(port={port})"
    COMMANDS: ClassVar = {
        "status": ("-m", "Socket_Singleton", "status", "--port", "{port}"),
        "run": ("-m", "Socket_Singleton", "run", "--port", "{port}", "--", "true"),
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

        self.library, self._taken = Socket_Singleton, MultipleSingletonsError
        self.which = {"port": place.port}

    def take(self) -> None:
        try:
            self._app = self.library(**self.which, strict=False)
        except self._taken as error:
            raise BlockingIOError from error

    def release(self) -> None:
        self._app.release()

    def serve(self, observer: Observer) -> None:
        self._app.trace(observer)
        # 2.0.0 may not listen yet when its constructor returns. A connection without any data
        # is not a launch for either version.
        with socket.socket() as sock:
            while self.on_port and sock.connect_ex((ADDRESS, self.place.port)):
                pass


class Beside(This):
    """The package in the tree that --beside names."""

    name = "beside"


class Released(This):
    """The released version."""

    name = "2.0.0"
    package = "Socket_Singleton == 2.0.0"
    COMMANDS: ClassVar = {}  # it has no command line


class Named(This):
    """With a name, host and launch prove to each other that they have the same key."""

    name = "named"
    on_port = False  # the name determines the address
    prints = True
    stallers = False  # a bare socket does not know that address
    TAKE = f"app = Socket_Singleton(name='{NAME}')\napp.trace(print)"
    LAUNCH = f"Socket_Singleton(name='{NAME}')"
    COMMANDS: ClassVar = {
        "ask": ("-c", f"{This.IMPORT}\nSocket_Singleton(name='{NAME}', answer=True)"),
        "status": ("-m", "Socket_Singleton", "--name", NAME, "status"),
        "run": ("-m", "Socket_Singleton", "--name", NAME, "run", "--", "true"),
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.which = {"name": NAME.format(port=place.port)}

    def sender(self, words: tuple[str, ...]) -> Callable[[], None]:
        """Return the library's own `send`: no bare socket can make the proof."""
        return lambda: self.library.send((str(time.monotonic_ns()), *words), **self.which)

    def print_for(self, observer: Callable[..., None]) -> None:
        self.take()
        self._app.trace(lambda launch: observer(launch.stdout, *launch))

    def ask(self, words: tuple[str, ...], out: TextIO) -> None:
        self.library.ask(words, **self.which, stdout=out)
