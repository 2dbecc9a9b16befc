"""filelock: a lock, which hands nothing over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lock_file import LockFile

if TYPE_CHECKING:
    from .base import Place


class FileLock(LockFile):
    name = "filelock"
    IMPORT = "import filelock"
    TAKE = "lock = filelock.FileLock({path!r})\nlock.acquire(timeout=0)"
    LAUNCH = "try:\n    filelock.FileLock({path!r}).acquire(timeout=0)\nexcept filelock.Timeout:\n    pass"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        import filelock

        self._class, self._taken = filelock.FileLock, filelock.Timeout

    def make(self):
        return self._class(self.place.path, timeout=0)
