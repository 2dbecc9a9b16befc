"""How many launches and names examples/cluster.py can serve, and how soon a lost host is replaced.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --quick

This needs psycopg and PostgreSQL, of which it starts a server of its own. Launches are forked children with
a connection each, so the figures do not include the start of an interpreter. The hosts of many names are
connections of this process. The exit status is 1 if a launch was lost, done twice, or done by an old host.
All figures are from this machine, with client and server on it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import re
import resource
import selectors
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

EFFECTS = """
CREATE TABLE effects (number bigserial, name text, launch uuid, epoch bigint, pid int, at float8)"""
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
    """Forked launches: when each began, and when and with which status it ended."""

    def __init__(self, server):
        self.server, self.begun, self.ended = server, {}, {}

    def begin(self, name, *args, database="postgres"):
        pid = os.fork()
        if pid:
            self.begun[pid] = time.monotonic()
            return
        status = 1
        try:
            # Lost hosts would fill stderr with messages.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            dsn = f"{self.server.dsn} dbname={database} application_name={os.getpid()}"
            app = cluster.ClusterSingleton(name, dsn, argv=args, lease=LEASE)
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

    def times(self):
        return [end - self.begun[pid] for pid, (_, end) in self.ended.items()]


class Stream(Launches):
    """Launches of one name, several at the same time, while hosts are killed or stopped."""

    def __init__(self, server, name):
        super().__init__(server)
        self.name, self.lost, self.connection = name, {}, server.connect()

    def run(self, count, how=None, times=0):
        """Return the time until ``count`` launches have ended or are hosts; send signals to some hosts."""
        start = time.monotonic()
        while len(self.ended) + len(self.held()) < count:
            while len(self.begun) < count and len(self.begun) - len(self.ended) - len(self.held()) < AT_ONCE:
                self.begin(self.name, str(len(self.begun)))
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
        wait_until(
            lambda: self.reap() or self.ended.keys() >= self.lost.keys(), "hosts that were stopped end"
        )
        self.begin(self.name, "quit")
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
    signals = ("killed", signal.SIGKILL, hosts), ("stopped", signal.SIGSTOP, max(1, hosts // 6))
    for name, how, times in signals:
        stream = Stream(server, name)
        stream.run(launches, how, times)
        gaps = stream.end()
        print(f"{len(gaps)} hosts {name}, {len(stream.begun)} launches, each done once;", end=" ")
        print(f"the next one's first effect after {milliseconds(gaps)}")


def measure_launches(server, launches, queue):
    stream = Stream(server, "stream")
    taken, times = stream.run(launches), stream.times()
    stream.end()
    print(f"launches, {AT_ONCE} at a time: {launches / taken:.0f} a second; each {milliseconds(times)}")
    with server.connect() as connection:
        row = "INSERT INTO singleton_launches (id, name, args) SELECT gen_random_uuid(), %s, '[]'"
        connection.execute(f"{row} FROM generate_series(1, %s)", ["queue", queue])
        start, last = time.monotonic(), Launches(server)
        last.begin("queue", "quit")
        wait_until(last.reap, "the queue is empty")
        print(f"one host, from a queue of {queue}: {queue / (time.monotonic() - start):.0f} a second")
        size = connection.execute("SELECT pg_total_relation_size('singleton_launches')").fetchone()[0]
        rows = connection.execute("SELECT count(*) FROM singleton_launches").fetchone()[0]
        print(f"a row takes {size / rows:.0f} bytes on disk, indexes included, for a day")


def memory_of(folder):
    """Return the bytes of the server's processes; what they share is counted once."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/smaps_rollup"):
        with contextlib.suppress(OSError):
            if os.readlink(path.parent / "cwd").startswith(str(folder)):
                total += int(re.search(r"^Pss: +(\d+)", path.read_text(), re.MULTILINE).group(1)) * 1024
    return total


def hold(server, name, database):
    """Return the host of a name; it is nothing but a connection of this process."""
    dsn = f"{server.dsn} dbname={database}"
    app = cluster.ClusterSingleton(name, dsn, argv=[], lease=600)  # seconds, since nothing renews it
    app._take()  # its own launch, without an observer
    app.trace(work, app)
    return app


def launch(server, hosts, places, count):
    """Return how long each of ``count`` launches of these hosts' names took, and all of them together."""
    shuffled = itertools.cycle(random.sample(places, len(places)))
    launches, start = Launches(server), time.monotonic()
    with selectors.DefaultSelector() as selector:
        for app in hosts:
            selector.register(app.connection.fileno(), selectors.EVENT_READ, app)
        while len(launches.ended) < count:
            while len(launches.begun) < min(count, len(launches.ended) + AT_ONCE):
                name, database = next(shuffled)
                launches.begin(name, "a word", database=database)
            for key, _ in selector.select(LOOK):
                while key.data._take():
                    pass
            launches.reap()
    if any(status for status, _ in launches.ended.values()):
        sys.exit("a launch has failed")
    return launches.times(), time.monotonic() - start


def count_rows(server, table, database="postgres"):
    with server.connect(database) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def measure_names(server, names, databases, launches):
    """Measure many names that are spread over several databases of the server."""
    spread = [f"names{databases}_{number}" for number in range(databases)]
    for database in spread:
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {database}")
        with server.connect(database) as connection:
            connection.execute(EFFECTS)
    places = [(f"name {number}", spread[number % databases]) for number in range(names)]
    before, start = memory_of(server.folder), time.monotonic()
    hosts = [hold(server, name, database) for name, database in places]
    opened = time.monotonic() - start
    held, each = count_rows(server, f"({HELD}) AS held"), (memory_of(server.folder) - before) / names
    print(f"{held} names held, by as many connections, in {databases} databases:", end=" ")
    print(f"{names / opened:.0f} opened a second; {each / 2**20:.1f} MiB of the server's memory for each")
    times, taken = launch(server, hosts, places, launches)
    print(f"    launches to them, {AT_ONCE} at a time: {launches / taken:.0f} a second;", end=" ")
    print(f"each {milliseconds(times)}")
    start = time.monotonic()
    for app in hosts:
        app._take()
    print(f"    a host's look, once in {LEASE / 3:g} s: {(time.monotonic() - start) / names * 1000:.1f} ms")
    done = sum(count_rows(server, "effects", database) for database in spread)
    if (held, count_rows(server, f"({HELD}) AS held"), done) != (names, names, launches):
        sys.exit(f"{held} of {names} names were held; of {launches} launches, {done} effects")
    for app in hosts:
        app.connection.close()


def main():
    sys.stdout.reconfigure(line_buffering=True)  # show each figure at once
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure little: a test that everything works")
    parser.add_argument("--names", type=int, help="how many to hold (2500, or 50 with --quick)")
    parser.add_argument("--databases", type=int, default=50, help="how many the names are spread over")
    options = parser.parse_args()
    quick = options.quick
    if missing():
        sys.exit(missing())
    names = options.names or (50 if quick else 2500)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    server = Server(max_connections=names + 100)
    try:
        with server.connect() as connection:
            connection.execute(EFFECTS)
        launches, hosts = (60, 2) if quick else (600, 24)
        measure_takeover(server, launches, hosts)
        measure_launches(server, launches, 200 if quick else 2000)
        for held, databases in ((max(1, names // 10), 1), (names, options.databases)):
            measure_names(server, held, databases, 50 if quick else 300)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
