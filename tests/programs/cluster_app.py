"""An application that uses examples/cluster.py, and records what it does in a table of effects.

    cluster_app.py NAME LEASE WAIT [ARG ...]

The argument `hold` makes its observer wait for a line on stdin, if HOLD is in the environment; `fail` and
`divide` make it raise after it has written; `hide` makes it hide an error of the database, if HIDE is set;
`quit` ends the host. With CUT_COMMIT, the connection of a launch breaks after it was entered and taken,
but before the launch learns that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "examples"))

import cluster
import psycopg


def effect(args, app):
    app.connection.execute(
        "INSERT INTO effects (name, launch, args, epoch, pid) VALUES (%s, %s, %s, %s, %s)",
        [app.name, app.launch, list(map(ascii, args)), app.epoch, os.getpid()],
    )
    if "hold" in args and "HOLD" in os.environ:
        print("holding", flush=True)
        sys.stdin.readline()
    if "fail" in args:
        raise ValueError("the observer fails")
    if "divide" in args:
        app.connection.execute("SELECT 1 / 0")
    if "hide" in args and "HIDE" in os.environ:
        with contextlib.suppress(psycopg.Error):
            app.connection.execute("SELECT 1 / 0")
    if "quit" in args:
        app.release()


class CutCommit(cluster.ClusterSingleton):
    """The server has committed the launch, and a host has done it, but the launch is not notified."""

    def _enter(self):
        super()._enter()
        if os.environ.pop("CUT_COMMIT", None):
            while self._ask(cluster.WAITING, [self.launch]):
                time.sleep(0.001)
            self.connection.close()
            raise psycopg.OperationalError("cut off in its commit")


name, lease, wait = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
app = CutCommit(name, argv=sys.argv[4:], lease=lease, wait=wait)
print("host", flush=True)
app.trace(effect, app)
app.run()
