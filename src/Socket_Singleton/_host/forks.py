"""What happens in a forked child, and why it does not keep the port."""

from __future__ import annotations

import os
import sys
import threading


class ForkAware:
    """Something that has to know that it is in a forked child.

    Between `follow_forks` and `forget_forks`, the child of any fork calls `forked`, and a
    multiprocessing worker then also calls `in_worker`.
    """

    def forked(self) -> None:
        """Called in the child, in its only thread, before anything else runs there."""
        raise NotImplementedError

    def in_worker(self) -> None:
        """Called in a multiprocessing worker, before its function."""
        raise NotImplementedError


# Written by hosts when they start and end, on any thread, in a single step each. Read in the
# child of a fork, where no other thread is left to change it. None was in the middle of a step:
# with a GIL the forking thread holds it, and builds without one stop all threads before a fork
# (CPython, issue 116522).
_followers: set[ForkAware] = set()
_hooked = False
_worker_hooked = False

# Held by a thread that forks, and by an I/O thread from the system's call that accepts a connection until the
# connection is known: otherwise, the child would keep a copy that it does not know. An I/O thread waits only
# for a moment, and then tries again. Reentrant, for a signal handler that forks. Replaced in a child.
lock = threading.RLock()

# Seconds that a fork waits for an I/O thread, which takes microseconds. In a child that was forked in C,
# without our hooks, the thread that held the lock may not exist.
_ACCEPT_TIME = 1.0


def follow_forks(follower: ForkAware) -> None:
    """Notify ``follower`` of forks from now on; do nothing on a system without fork."""
    global _hooked
    if not hasattr(os, "register_at_fork"):
        return
    _followers.add(follower)
    if not _hooked:
        # Once per process: the system's hooks cannot be taken back. Two hosts that start in the same
        # moment may both do it; being notified twice of a fork does no harm.
        _hooked = True
        os.register_at_fork(before=_before_fork, after_in_parent=_end_fork, after_in_child=_after_fork)


def forget_forks(follower: ForkAware) -> None:
    """End `follow_forks`; harmless if it never began."""
    _followers.discard(follower)


def _before_fork() -> None:
    # To the system's hook, a bare fork and a multiprocessing worker look alike, but
    # multiprocessing also runs its own hooks, only in its workers. Registering one here,
    # at the first fork that finds it loaded, saves us from importing it.
    global _worker_hooked
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _worker_hooked:
        _worker_hooked = True  # two forks at once may both come here; that does no harm either
        util.register_after_fork(ForkAware, _in_worker)
    lock.acquire(timeout=_ACCEPT_TIME)


def _end_fork() -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # `_before_fork` did not get it: it waited too long, was interrupted, or was not hooked yet


def _after_fork() -> None:
    global lock
    lock = threading.RLock()
    for follower in list(_followers):
        follower.forked()


def _in_worker(_: type[ForkAware]) -> None:
    for follower in list(_followers):
        follower.in_worker()
