"""One instance in a whole cluster: PostgreSQL has the lock and the queue; see docs/cluster.md.

Needs PostgreSQL 14 or newer, and `pip install "psycopg[binary] >= 3.2.4"`. On two machines, with
PGHOST, PGUSER and so on set: `python examples/cluster.py a.txt`, `python examples/cluster.py b.txt`,
and `python examples/cluster.py quit`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import sys
import time
import uuid

import psycopg

LOOK = 0.03  # seconds between two looks of a launch that waits: so soon it follows a host that was lost
LOST = (psycopg.OperationalError, psycopg.InternalError)  # the session is gone, or the server could not

TABLES = """
SELECT pg_advisory_xact_lock(hashtext('singleton_hosts'));  -- of first launches at once, one creates them
CREATE TABLE IF NOT EXISTS singleton_hosts (name text PRIMARY KEY, epoch bigint NOT NULL, who text NOT NULL);
CREATE TABLE IF NOT EXISTS singleton_launches (id uuid PRIMARY KEY, number bigserial, name text NOT NULL,
    args bytea[] NOT NULL, epoch bigint, taken timestamptz);
CREATE INDEX IF NOT EXISTS singleton_queue ON singleton_launches (name, taken, number)"""
ENTER = """
WITH entered AS (INSERT INTO singleton_launches (id, name, args) VALUES (%s, %s, %s::bytea[])
    ON CONFLICT DO NOTHING)
SELECT pg_notify(%s, '')"""
WITHDRAW = """
DELETE FROM singleton_launches WHERE id = (SELECT id FROM singleton_launches
    WHERE id = %s AND taken IS NULL FOR UPDATE SKIP LOCKED) RETURNING true"""
HOST = """
INSERT INTO singleton_hosts AS host VALUES (%s, 1, %s)
ON CONFLICT (name) DO UPDATE SET epoch = host.epoch + 1, who = excluded.who RETURNING epoch"""
# What was taken stays for a day: a launch whose connection broke can still see that it is done.
TAKE = """
WITH swept AS (DELETE FROM singleton_launches WHERE name = %(name)s AND taken < now() - interval '1 day')
UPDATE singleton_launches SET taken = now(), epoch = %(epoch)s WHERE id = (SELECT id FROM singleton_launches
    WHERE name = %(name)s AND taken IS NULL ORDER BY number LIMIT 1 FOR UPDATE)
RETURNING id, args, pg_notify(id::text, '')"""


class ClusterSingleton:
    """The first launch with this name is the host; each later one ends here, once a host has done it.

    A host that is silent for `lease` seconds is cut off by the server. A launch that
    no host has done after `wait` seconds is withdrawn, and says so with status 1.
    """

    def __init__(self, name, server="", *, argv=None, wait=30.0, lease=3.0):
        digest = hashlib.sha256(name.encode()).digest()[:8]
        self.name, self.server, self.wait, self.lease = name, server, wait, lease
        self.key, self.channel = int.from_bytes(digest, "big", signed=True), f"singleton_{digest.hex()}"
        argv = sys.argv[1:] if argv is None else argv
        self.argv = [word.encode("utf-8", "surrogateescape") for word in argv]
        self.launch, self.is_entered = uuid.uuid4(), False
        self.epoch, self.observers, self.is_released = 0, {}, False
        self.connection = None
        self._become_host()

    def trace(self, observer, *args, **kwargs):
        """Have `observer(arguments, *args, **kwargs)` called for each launch; its own, too."""
        self.observers[observer] = args, kwargs

    def release(self):
        """Have `run` return, once the launch that it is at is done."""
        self.is_released = True

    def run(self):
        """Give launches to the observers, until `release`, or until another launch is the host."""
        while not self.is_released:
            try:
                if not self._take():
                    self._sleep(self.lease / 3)  # and then look again: that keeps the session alive
            except LOST as error:
                logging.warning("%s: looks for a new session: %s", self.name, error)
                self.connection.close()
                time.sleep(LOOK)  # launches that wait have their chance
                self._become_host()
        self.connection.close()

    def _take(self):
        """Do the oldest launch, as one transaction with the observers' writes; or tell that there is none."""
        with self.connection.transaction():
            row = self._ask(TAKE, {"name": self.name, "epoch": self.epoch})
            if row:
                self.launch = row[0]  # for observers that act elsewhere: the same, if they are called again
                args = tuple(word.decode("utf-8", "surrogateescape") for word in row[1])
                for observer, (more, named) in list(self.observers.items()):
                    self._call(observer, args, more, named)
        return row

    def _call(self, observer, args, more, named):
        try:
            with self.connection.transaction():  # a savepoint: what it wrote goes, if it raises
                observer(args, *more, **named)
        except LOST:
            raise
        except Exception:
            logging.exception("%s: %r failed with %r", self.name, observer, args)

    def _become_host(self):
        """Return as the host; end the program if this launch is done, or else say why it is not."""
        deadline, seen = time.monotonic() + self.wait, "no host took it"
        while time.monotonic() < deadline:
            try:
                if self.connection is None or self.connection.closed:
                    self._connect()
                [is_locked] = self._ask("SELECT pg_try_advisory_lock(%s)", [self.key])
                self._end_if_over(is_locked)  # after the lock: then no host can be at it
                if is_locked:
                    self.connection.execute(f'LISTEN "{self.channel}"')  # before it looks at the table
                    who = f"{socket.gethostname()}:{os.getpid()}"
                    [self.epoch] = self._ask(HOST, [self.name, who])
                    return
                self._sleep(LOOK)
            except LOST as error:
                seen = str(error)
                if self.connection is not None:
                    self.connection.close()
                time.sleep(LOOK)
        self._give_up(seen)

    def _connect(self):
        timeout = max(2, int(self.lease))  # what libpq takes for the least
        self.connection = psycopg.connect(self.server, autocommit=True, connect_timeout=timeout)
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            self._ask("SELECT set_config(%s, %s, false)", [setting, f"{self.lease * 1000:.0f}"])
        if self._ask("SELECT to_regclass('singleton_queue')") == (None,):
            self.connection.execute(TABLES)
        if not self.epoch:
            self.connection.execute(f'LISTEN "{self.launch}"')  # before it can be taken
            if not self.is_entered:  # as far as it knows: to enter it twice changes nothing
                self._ask(ENTER, [self.launch, self.name, self.argv, self.channel])
                self.is_entered = True

    def _end_if_over(self, is_locked):
        if not self.epoch:
            if (
                self._ask("SELECT FROM singleton_launches WHERE id = %s AND taken IS NULL", [self.launch])
                is None
            ):
                self._end()
        elif not is_locked:
            epoch, who = self._ask("SELECT epoch, who FROM singleton_hosts WHERE name = %s", [self.name])
            if epoch > self.epoch:
                self._end(f"{self.name}: {who} is the host now.")

    def _give_up(self, seen):
        state = "whether it will be done is not known"
        try:
            if self.connection is None:
                state = "it was not entered"
            elif self.is_entered and not self.epoch and self._ask(WITHDRAW, [self.launch]):
                state = "it is withdrawn"
            else:
                self._end_if_over(is_locked=False)
        except LOST as error:
            seen = str(error)
        self._end(f"{self.name}: not done within {self.wait:g} s ({seen}); {state}.")

    def _ask(self, query, parameters=()):
        return self.connection.execute(query, parameters).fetchone()

    def _sleep(self, seconds):
        list(self.connection.notifies(timeout=seconds, stop_after=1))  # or until there is one

    def _end(self, message=None):
        if self.connection is not None:
            self.connection.close()
        sys.exit(message)


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
