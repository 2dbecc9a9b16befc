"""portalocker: a lock, which hands nothing over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lock_file import LockFile

if TYPE_CHECKING:
    from .base import Place


class PortaLocker(LockFile):
    name = "portalocker"
    IMPORT = "import portalocker"
    TAKE = "lock = portalocker.Lock({path!r}, timeout=0, fail_when_locked=True)\nlock.acquire()"
    LAUNCH = """\
try:
    portalocker.Lock({path!r}, timeout=0, fail_when_locked=True).acquire()
except portalocker.LockException:
    pass"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import portalocker

        self._class, self._taken = portalocker.Lock, portalocker.LockException

    def make(self):
        return self._class(self.place.path, timeout=0, fail_when_locked=True)
