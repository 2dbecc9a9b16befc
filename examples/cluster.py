"""One instance in a whole cluster: PostgreSQL has the lock and the queue; see docs/cluster.md.

Needs PostgreSQL 14 or newer, and `pip install "psycopg[binary] >= 3.2.4"`. On two machines, with
PGHOST, PGUSER and so on set: `python examples/cluster.py a.txt`, `python examples/cluster.py b.txt`,
and `python examples/cluster.py quit`.
"""

import hashlib
import json
import logging
import sys
import time
import uuid

import psycopg
from psycopg.pq import TransactionStatus

LOOK = 0.03  # seconds between two looks of a waiting launch, so that a lost host is replaced soon
LOST = (psycopg.OperationalError, psycopg.InternalError)  # the session is lost, or the server failed
TABLES = """
SELECT pg_advisory_xact_lock(hashtext('singleton'));  -- if several launches start at once, one creates them
CREATE SEQUENCE IF NOT EXISTS singleton_epoch;
CREATE TABLE IF NOT EXISTS singleton_launches (id uuid PRIMARY KEY, number bigserial, name text NOT NULL,
    args json NOT NULL, taken timestamptz);
CREATE INDEX IF NOT EXISTS singleton_queue ON singleton_launches (name, taken, number)"""
ENTER = "INSERT INTO singleton_launches (id, name, args) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
WAITING = "SELECT id FROM singleton_launches WHERE id = %s AND taken IS NULL"
WITHDRAW = f"DELETE FROM singleton_launches WHERE id = ({WAITING} FOR UPDATE SKIP LOCKED) RETURNING id"
# Rows that were taken stay for a day, so that a launch whose connection broke can see that it is done.
TAKE = """
WITH swept AS (DELETE FROM singleton_launches WHERE name = %(name)s AND taken < now() - interval '1 day')
UPDATE singleton_launches SET taken = now() WHERE id = (SELECT id FROM singleton_launches
    WHERE name = %(name)s AND taken IS NULL ORDER BY number LIMIT 1 FOR UPDATE) RETURNING id, args"""


class ClusterSingleton:
    """The first launch with this name is the host; later ones exit here, once a host has processed them.

    A host that is silent for `lease` seconds is cut off by the server. A launch that no host
    has processed within `wait` seconds is withdrawn, and exits with a message and status 1.
    """

    def __init__(self, name, server="", *, argv=None, wait=30.0, lease=3.0):
        self.name, self.server, self.wait, self.lease = name, server, wait, lease
        self.key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        self.args = sys.argv[1:] if argv is None else argv
        self.launch = uuid.uuid4()  # later that of the launch being processed, also when it is repeated
        self.connection, self.epoch, self.observers, self.is_released = None, None, [], False
        self._become_host()

    def trace(self, observer, *args, **kwargs):
        """Call `observer(arguments, *args, **kwargs)` for each launch, including this one."""
        self.observers.append((observer, args, kwargs))

    def release(self):
        """Make `run` return after the current launch."""
        self.is_released = True

    def run(self):
        """Pass launches to the observers until `release`; end the program if its session is lost."""
        try:
            while not self.is_released:
                if not self._take():  # looking without a NOTIFY keeps the session alive
                    list(self.connection.notifies(timeout=self.lease / 3, stop_after=1))
        except LOST as error:
            sys.exit(f"{self.name}: the session is lost, and the lock with it: {error}")
        self.connection.close()

    def _take(self):
        """Process the oldest launch in one transaction with the observers' writes; return if there is one."""
        with self.connection.transaction():
            row = self._ask(TAKE, {"name": self.name})
            if row is None:
                return False
            self.launch, words = row
            for observer, args, kwargs in self.observers:
                try:
                    with self.connection.transaction():  # a savepoint: its writes are undone if it raises
                        observer(tuple(words), *args, **kwargs)
                except Exception:
                    logging.exception("%s: %r failed with %r", self.name, observer, words)
                    if self.connection.info.transaction_status != TransactionStatus.INTRANS:
                        raise  # the session is lost, or this transaction cannot continue
        return True

    def _become_host(self):
        """Return as the host; or end the program, with a message unless this launch has been processed."""
        deadline = time.monotonic() + self.wait
        while True:
            is_late = time.monotonic() > deadline
            try:
                if self.connection is None or self.connection.closed:
                    self._enter()
                if is_late and self._ask(WITHDRAW, [self.launch]):
                    sys.exit(f"{self.name}: no host took it within {self.wait:g} s; it is withdrawn.")
                if self._is_host():
                    return
                trouble = "a host is still working on it"
            except LOST as error:
                trouble = error
                if self.connection is not None:
                    self.connection.close()
            if is_late:
                sys.exit(f"{self.name}: {trouble}; the result is not known.")
            time.sleep(LOOK)

    def _enter(self):
        """Open a session that the server ends after a lease of silence, and enter this launch."""
        self.connection = psycopg.connect(self.server, autocommit=True, connect_timeout=3)
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            self.connection.execute(f"SET {setting} = {self.lease * 1000:.0f}")
        if self._ask("SELECT to_regclass('singleton_queue')") == (None,):
            self.connection.execute(TABLES)
        # This is repeated if a session broke; entering it twice changes nothing.
        self.connection.execute(ENTER, [self.launch, self.name, json.dumps(self.args)])
        self.connection.execute(f'NOTIFY "singleton {self.key}"')

    def _is_host(self):
        """Return whether this session has the lock now; end the program if this launch has been processed."""
        [is_host] = self._ask("SELECT pg_try_advisory_lock(%s)", [self.key])
        if not self._ask(WAITING, [self.launch]):  # after the lock: no host can be working on it
            sys.exit()
        if is_host:
            self.connection.execute(f'LISTEN "singleton {self.key}"')  # before the first look at the table
            [self.epoch] = self._ask("SELECT nextval('singleton_epoch')")
        return is_host

    def _ask(self, query, parameters=()):
        return self.connection.execute(query, parameters).fetchone()


def work(args, app):
    """Write with `app.connection`, in the transaction that takes the launch, so that it happens once."""
    if args == ("quit",):
        app.release()
    for name in args:
        print(f"host {app.epoch} works on {name}", flush=True)
        app.connection.execute("INSERT INTO example_work VALUES (%s, %s)", [name, app.epoch])


if __name__ == "__main__":
    app = ClusterSingleton("org.example.cluster")  # a second launch exits here
    app.connection.execute("CREATE TABLE IF NOT EXISTS example_work (name text, epoch bigint)")
    app.trace(work, app)
    print("Running. The word quit ends it.", flush=True)
    app.run()
