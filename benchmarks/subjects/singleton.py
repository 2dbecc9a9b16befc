"""Socket_Singleton: the package in src, an older tree of it, and the released 2.0.0."""

from __future__ import annotations

import socket

from .base import ADDRESS, Observer, Place, Subject, Taken


class This(Subject):
    """The package in src, as it is now."""

    name = "this"
    on_others = True
    IMPORT = "from Socket_Singleton import Socket_Singleton"
    TAKE = "app = Socket_Singleton(port={port})\napp.trace(print)"
    LAUNCH = "Socket_Singleton(port={port})"
    STATUS = ("-m", "Socket_Singleton", "status", "--port", "{port}")
    RUN = ("-m", "Socket_Singleton", "run", "--port", "{port}", "--", "true")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from Socket_Singleton import MultipleSingletonsError, Socket_Singleton

        self._class, self._taken = Socket_Singleton, MultipleSingletonsError

    def take(self) -> None:
        try:
            self._app = self._class(port=self.place.port, strict=False)
        except self._taken as error:
            raise Taken from error

    def release(self) -> None:
        self._app.release()

    def serve(self, observer: Observer) -> None:
        self._app.trace(observer)
        # 2.0.0 may not listen yet when its constructor returns. To connect and
        # say nothing is no launch to either.
        with socket.socket() as sock:
            while sock.connect_ex((ADDRESS, self.place.port)):
                pass


class Beside(This):
    """The package in the tree that --beside names; only PYTHONPATH makes the difference."""

    name = "beside"


class Released(This):
    """Socket_Singleton 2.0.0; only PYTHONPATH makes the difference."""

    name = "2.0.0"
    STATUS = RUN = ()  # it has no command line
