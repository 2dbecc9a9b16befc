"""An application that uses examples/cluster.py, and writes what it does into a table of effects.

    cluster_app.py NAME LEASE WAIT [ARG ...]

The argument `hold` has its observer wait for a line on stdin, if there is one to come; `fail` has
it raise when it has written; `quit` ends the host. In the environment: CUT_COMMIT breaks
the connection after the launch was entered and taken, before it is told so.
"""

from __future__ import annotations

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
    if "deadlock" in args and "HOLD" in os.environ:
        del os.environ["HOLD"]
        raise psycopg.errors.DeadlockDetected("as the server would say it")
    if "quit" in args:
        app.release()


class CutCommit(cluster.ClusterSingleton):
    """The server has committed the launch, and a host has done it; but nobody tells the launch."""

    def _ask(self, query, parameters=()):
        answer = super()._ask(query, parameters)
        if query == cluster.ENTER and os.environ.pop("CUT_COMMIT", None):
            while super()._ask(
                "SELECT FROM singleton_launches WHERE id = %s AND taken IS NULL", [self.launch]
            ):
                time.sleep(0.001)
            self.connection.close()
            raise psycopg.OperationalError("cut off in its commit")
        return answer


name, lease, wait = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
app = CutCommit(name, argv=sys.argv[4:], lease=lease, wait=wait)
print("host", app.epoch, flush=True)
app.trace(effect, app)
app.run()
