"""Socket_Singleton with a name: host and launch prove to each other whose they are."""

from __future__ import annotations

import time

from .base import Observer, Place, Sender, Taken
from .singleton import This


class Named(This):
    """The package in src, where its constructor has the parameter ``name``."""

    name = "named"
    on_port = False  # the name says where
    stallers = False  # who connects must know where that is
    CHECK = """\
import inspect
if "name" not in inspect.signature(Socket_Singleton).parameters:
    raise TypeError("it has no parameter name")"""
    TAKE = "app = Socket_Singleton(name='org.example.bench.{port}')\napp.trace(print)"
    LAUNCH = "Socket_Singleton(name='org.example.bench.{port}')"
    STATUS = ("-m", "Socket_Singleton", "--name", "org.example.bench.{port}", "status")
    RUN = ("-m", "Socket_Singleton", "--name", "org.example.bench.{port}", "run", "--", "true")

    def take(self) -> None:
        try:
            self._app = self._class(name=name_of(self.place), strict=False)
        except self._taken as error:
            raise Taken from error

    def serve(self, observer: Observer) -> None:
        self._app.trace(observer)

    def sender(self) -> Sender:
        return NamedSender(self.place)


class NamedSender(Sender):
    """The library's own `send`, in Python: it has a proof to make, and no bare socket knows how."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from Socket_Singleton import Socket_Singleton

        self._send = Socket_Singleton.send

    def prepare(self, words: tuple[str, ...]) -> None:
        self._words = words

    def send(self) -> None:
        self._send((str(time.monotonic_ns()), *self._words), name=name_of(self.place))


def name_of(place: Place) -> str:
    return f"org.example.bench.{place.port}"
