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

LOOK = 0.03  # seconds between two looks of a launch that waits: so soon it follows a host that was lost
LOST = (psycopg.OperationalError, psycopg.InternalError)  # the session is gone, or the server could not
TABLES = """
SELECT pg_advisory_xact_lock(hashtext('singleton'));  -- of first launches at once, one creates them
CREATE SEQUENCE IF NOT EXISTS singleton_epoch;
CREATE TABLE IF NOT EXISTS singleton_launches (id uuid PRIMARY KEY, number bigserial, name text NOT NULL,
    args json NOT NULL, taken timestamptz);
CREATE INDEX IF NOT EXISTS singleton_queue ON singleton_launches (name, taken, number)"""
ENTER = "INSERT INTO singleton_launches (id, name, args) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
WAITING = "SELECT id FROM singleton_launches WHERE id = %s AND taken IS NULL"
WITHDRAW = f"DELETE FROM singleton_launches WHERE id = ({WAITING} FOR UPDATE SKIP LOCKED) RETURNING id"
# What was taken stays for a day: a launch whose connection broke can still see that it is done.
TAKE = """
WITH swept AS (DELETE FROM singleton_launches WHERE name = %(name)s AND taken < now() - interval '1 day')
UPDATE singleton_launches SET taken = now() WHERE id = (SELECT id FROM singleton_launches
    WHERE name = %(name)s AND taken IS NULL ORDER BY number LIMIT 1 FOR UPDATE) RETURNING id, args"""


class ClusterSingleton:
    """The first launch with this name is the host; each later one ends here, once a host has done it.

    A host that is silent for `lease` seconds is cut off by the server. A launch that
    no host has done after `wait` seconds is withdrawn, and says so with status 1.
    """

    def __init__(self, name, server="", *, argv=None, wait=30.0, lease=3.0):
        self.name, self.server, self.wait, self.lease = name, server, wait, lease
        self.key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        self.args = sys.argv[1:] if argv is None else argv
        self.launch = uuid.uuid4()  # later the launch that the host is at: the same, if it is done again
        self.connection, self.epoch, self.observers, self.is_released = None, None, [], False
        self._become_host()

    def trace(self, observer, *args, **kwargs):
        """Have `observer(arguments, *args, **kwargs)` called for each launch; its own, too."""
        self.observers.append((observer, args, kwargs))

    def release(self):
        """Have `run` return, once the launch that it is at is done."""
        self.is_released = True

    def run(self):
        """Give launches to the observers, until `release`; end the program if its session is lost."""
        try:
            while not self.is_released:
                if not self._take():  # it also looks without a NOTIFY: that keeps the session alive
                    list(self.connection.notifies(timeout=self.lease / 3, stop_after=1))
        except LOST as error:
            sys.exit(f"{self.name}: the session is lost, and the lock with it: {error}")
        self.connection.close()

    def _take(self):
        """Do the oldest launch, as one transaction with the observers' writes; or tell that there is none."""
        with self.connection.transaction():
            row = self._ask(TAKE, {"name": self.name})
            if row is None:
                return False
            self.launch, words = row
            for observer, args, kwargs in self.observers:
                try:
                    with self.connection.transaction():  # a savepoint: what it wrote goes, if it raises
                        observer(tuple(words), *args, **kwargs)
                except Exception:
                    logging.exception("%s: %r failed with %r", self.name, observer, words)
                    if self.connection.info.transaction_status != TransactionStatus.INTRANS:
                        raise  # the session is lost, or nothing more can be done in this transaction
        return True

    def _become_host(self):
        """Return as the host; end the program if this launch is done, or else say why it is not."""
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
                trouble = "a host is still at it"
            except LOST as error:
                trouble = error
                if self.connection is not None:
                    self.connection.close()
            if is_late:
                sys.exit(f"{self.name}: {trouble}; whether it will be done is not known.")
            time.sleep(LOOK)

    def _enter(self):
        """Open a session that the server ends if it is silent for a lease; enter this launch."""
        self.connection = psycopg.connect(self.server, autocommit=True, connect_timeout=3)
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            self.connection.execute(f"SET {setting} = {self.lease * 1000:.0f}")
        if self._ask("SELECT to_regclass('singleton_queue')") == (None,):
            self.connection.execute(TABLES)
        # Again, if a session broke: to enter it twice changes nothing.
        self.connection.execute(ENTER, [self.launch, self.name, json.dumps(self.args)])
        self.connection.execute(f'NOTIFY "singleton {self.key}"')

    def _is_host(self):
        """Tell if this session has the lock now; end the program if this launch is done."""
        [is_host] = self._ask("SELECT pg_try_advisory_lock(%s)", [self.key])
        if not self._ask(WAITING, [self.launch]):  # after the lock: no host can be at it
            sys.exit()
        if is_host:
            self.connection.execute(f'LISTEN "singleton {self.key}"')  # before it looks at the table
            [self.epoch] = self._ask("SELECT nextval('singleton_epoch')")
        return is_host

    def _ask(self, query, parameters=()):
        return self.connection.execute(query, parameters).fetchone()


def work(args, app):
    """Write where the launch is taken: with `app.connection`, so that it happens once."""
    if args == ("quit",):
        app.release()
    for name in args:
        print(f"host {app.epoch} works on {name}", flush=True)
        app.connection.execute("INSERT INTO example_work VALUES (%s, %s)", [name, app.epoch])


if __name__ == "__main__":
    app = ClusterSingleton("org.example.cluster")  # a second launch ends here
    app.connection.execute("CREATE TABLE IF NOT EXISTS example_work (name text, epoch bigint)")
    app.trace(work, app)
    print("Running. The word quit ends it.", flush=True)
    app.run()
