"""What the libraries whose lock is a file share."""

from __future__ import annotations

from .base import Subject, Taken


class LockFile(Subject):
    """A library whose lock is an object with `acquire` and `release`; it hands nothing over."""

    hands_over = on_port = False
    _taken: type[Exception]  # what `acquire` raises

    def make(self):
        """Return a lock that is not taken yet, and does not wait."""
        raise NotImplementedError

    def take(self) -> None:
        self._lock = self.make()
        try:
            self._lock.acquire()
        except self._taken as error:
            raise Taken from error

    def release(self) -> None:
        self._lock.release()
