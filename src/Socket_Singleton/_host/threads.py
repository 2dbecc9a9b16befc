"""How threads are started, on each version of Python."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# False where no thread can be started once the main thread has ended, although
# other threads may keep the program alive for hours: on CPython 3.12
# ("can't create new thread at interpreter shutdown"). 3.11 can, and so can 3.13 to 3.15.
THREADS_START_LATE = sys.version_info[:2] != (3, 12)

# Seconds for a new thread to start. It takes microseconds; the limit only ensures that no wait is endless.
_OWN_TIME = 10.0

# Whether a daemon thread is started by the thread that wants it. A signal handler that raises at the
# beginning or end of a ``with`` block may leave the block's lock held, here one of `threading` that all
# threads need: before CPython 3.10, and on 3.14 (issues 74174 and 148874; 3.15, where this is fixed, is
# treated the same, because another thread costs a host little). But before 3.9.6, a thread that ends while
# the system has no descriptor left aborts the program (bpo-44434), which is worse.
STARTS_HERE = sys.implementation.name == "cpython" and (
    sys.version_info < (3, 9) or (3, 10) <= sys.version_info < (3, 14)
)


def start_thread(thread: Any) -> None:
    """Start ``thread``; if a signal handler raises meanwhile, raise its exception.

    While `threading` waits for the new thread, such an exception makes it keep a lock that the new
    thread then waits for for ever, or release a lock that it does not hold, and raise RuntimeError.
    With a daemon thread this does no harm. A thread that the program waits for at its end is started
    by another thread, since handlers only run in the main thread; without `STARTS_HERE`, every thread is.
    """
    if not (thread.daemon and STARTS_HERE):
        _start_elsewhere(thread)
        return
    handled = sys.exc_info()[1]
    try:
        thread.start()
    except RuntimeError as error:
        if error.__context__ is None or error.__context__ is handled:
            raise
        raise error.__context__ from None


def _start_elsewhere(thread: Any) -> None:
    import _thread

    errors: list[BaseException] = []
    begun = _thread.allocate_lock()
    begun.acquire()

    def start() -> None:  # pragma: no cover (nothing traces a thread that `threading` has not started)
        try:
            thread.start()
        except BaseException as error:  # noqa: BLE001 (raised where it was asked for)
            errors.append(error)
        finally:
            begun.release()

    _thread.start_new_thread(start, ())
    if not begun.acquire(timeout=_OWN_TIME):
        raise RuntimeError("the I/O thread of Socket_Singleton did not start")
    if errors:
        raise errors[0]
