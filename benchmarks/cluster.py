"""How many launches examples/cluster.py can serve, and how soon a lost host is replaced.

    python benchmarks/cluster.py [--quick]

This needs psycopg and PostgreSQL, of which it starts a server of its own. Launches are forked children with
a connection each, so the figures do not include the start of an interpreter. The exit status is 1 if a launch
was lost, done twice, or done by an old host. All figures are from this machine, with client and server on it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

import cluster

from tests.postgres import HELD, KEY, Server, missing
from tests.support import wait_until

LEASE = 3.0  # seconds
AT_ONCE = 16  # launches that are on their way at the same time
LOST_AFTER = 15  # effects of a host before it is killed or stopped
LOOK = 0.005  # seconds between two checks whether launches have ended

EFFECTS = "CREATE TABLE effects (number bigserial, name text, launch uuid, epoch bigint, pid int, at float8)"
HOSTS = f"SELECT application_name FROM ({HELD}) AS held JOIN pg_stat_activity USING (pid) WHERE key = {KEY}"
READY_TO_BE_LOST = """
SELECT pid FROM effects WHERE epoch = (SELECT max(epoch) FROM effects WHERE name = %s)
GROUP BY pid HAVING count(*) >= %s"""


def work(args, app):
    app.connection.execute(
        "INSERT INTO effects (name, launch, epoch, pid, at) VALUES (%s, %s, %s, %s, %s)",
        [app.name, app.launch, app.epoch, os.getpid(), time.monotonic()],
    )
    if args == ("quit",):
        app.release()


class Launches:
    """Forked launches of one name, several at the same time, while hosts are killed or stopped."""

    def __init__(self, server, name):
        self.server, self.name, self.connection = server, name, server.connect()
        self.begun, self.ended, self.lost = {}, {}, {}  # pid: when; ended: with which status, and when

    def begin(self, *args):
        pid = os.fork()
        if pid:
            self.begun[pid] = time.monotonic()
            return
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # lost hosts would fill it with messages
            dsn = f"{self.server.dsn} application_name={os.getpid()}"
            app = cluster.ClusterSingleton(self.name, dsn, argv=args, lease=LEASE)
            app.trace(work, app)
            app.run()
            status = 0
        except SystemExit as end:
            status = 1 if end.code else 0
        finally:
            os._exit(status)

    def reap(self):
        """Record which launches have ended; return whether all have."""
        for pid in self.begun.keys() - self.ended.keys():
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                self.ended[pid] = status, time.monotonic()
        return len(self.ended) == len(self.begun)

    def run(self, count, how=None, times=0):
        """Return the time until ``count`` launches have ended or are hosts; send signals to some hosts."""
        start = time.monotonic()
        while len(self.ended) + len(self.held()) < count:
            while len(self.begun) < count and len(self.begun) - len(self.ended) - len(self.held()) < AT_ONCE:
                self.begin(str(len(self.begun)))
            self.reap()
            for (pid,) in self.connection.execute(READY_TO_BE_LOST, [self.name, LOST_AFTER]).fetchall():
                if len(self.lost) < times and pid not in self.lost:
                    self.lost[pid] = time.monotonic()
                    os.kill(pid, how)
            time.sleep(LOOK)
        return time.monotonic() - start

    def held(self):
        """Return the processes that do not end by themselves: the present host and stopped ones."""
        hosts = {int(pid) for (pid,) in self.connection.execute(HOSTS, [self.name])}
        return (hosts | self.lost.keys()) & (self.begun.keys() - self.ended.keys())

    def end(self):
        """Continue stopped hosts, and end the last one; check what all of them have done.

        Return the seconds from the loss of each host to the first effect of another one.
        """
        for pid in self.lost.keys() - self.ended.keys():
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: self.reap() or self.ended.keys() >= self.lost.keys(), "stopped hosts end")
        self.begin("quit")
        wait_until(self.reap, "all have ended")
        query = "SELECT launch, epoch, pid, at FROM effects WHERE name = %s ORDER BY number"
        rows = self.connection.execute(query, [self.name]).fetchall()
        launches, epochs = {row[0] for row in rows}, [row[1] for row in rows]
        for is_so, what in (
            (len(launches) < len(self.begun), "launches were lost"),
            (len(launches) < len(rows), "launches were done twice"),
            (epochs != sorted(epochs), "an old host has done something"),
            (any(self.ended[pid][0] for pid in self.ended.keys() - self.lost.keys()), "launches have failed"),
        ):
            if is_so:
                sys.exit(f"{self.name}: {what}: {len(self.begun)} launches, {len(rows)} effects")
        return [
            min(row[3] for row in rows if row[2] != pid and row[3] > at) - at for pid, at in self.lost.items()
        ]


def milliseconds(values):
    least, middle, most = (1000 * pick(values) for pick in (min, statistics.median, max))
    return f"{least:.0f} to {most:.0f} ms, median {middle:.0f}"


def measure_takeover(server, launches, hosts):
    for name, how, times in (("killed", signal.SIGKILL, hosts), ("stopped", signal.SIGSTOP, hosts // 6 or 1)):
        several = Launches(server, name)
        several.run(launches, how, times)
        gaps = several.end()
        print(f"{len(gaps)} hosts {name}, {len(several.begun)} launches, each done once;", end=" ")
        print(f"the next one's first effect after {milliseconds(gaps)}")


def measure_launches(server, launches, queue):
    several, last = Launches(server, "several"), Launches(server, "queue")
    taken = several.run(launches)
    each = milliseconds([end - several.begun[pid] for pid, (_, end) in several.ended.items()])
    several.end()
    print(f"launches, {AT_ONCE} at a time: {launches / taken:.0f} a second; each {each}")
    row = "INSERT INTO singleton_launches (id, name, args) SELECT gen_random_uuid(), %s, '[]'"
    last.connection.execute(f"{row} FROM generate_series(1, %s)", [last.name, queue])
    start = time.monotonic()
    last.begin("quit")
    wait_until(last.reap, "the queue is empty")
    print(f"one host, from a queue of {queue}: {queue / (time.monotonic() - start):.0f} a second")
    size = "SELECT pg_total_relation_size('singleton_launches') / count(*) FROM singleton_launches"
    bytes_of_a_row = last.connection.execute(size).fetchone()[0]
    print(f"a row takes {bytes_of_a_row} bytes on disk, indexes included, for a day")


def main():
    sys.stdout.reconfigure(line_buffering=True)  # show each figure at once
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure little: a test that everything works")
    quick = parser.parse_args().quick
    if missing():
        sys.exit(missing())
    server = Server()
    try:
        with server.connect() as connection:
            connection.execute(EFFECTS)
        launches, hosts = (60, 2) if quick else (600, 24)
        measure_takeover(server, launches, hosts)
        measure_launches(server, launches, 200 if quick else 2000)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
