"""tendo: a lock, which hands nothing over."""

from __future__ import annotations

from .base import Place, Subject, Taken


class Tendo(Subject):
    name = "tendo"
    hands_over = on_port = False
    IMPORT = "from tendo import singleton"
    TAKE = "lock = singleton.SingleInstance(lockfile={path!r})"
    LAUNCH = """\
try:
    singleton.SingleInstance(lockfile={path!r})
except singleton.SingleInstanceException:
    pass"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        from tendo import singleton

        self._module = singleton

    def take(self) -> None:
        try:
            self._lock = self._module.SingleInstance(lockfile=self.place.path)
        except self._module.SingleInstanceException as error:
            raise Taken from error

    def release(self) -> None:
        del self._lock  # it has no other way
