"""How examples/cluster.py grows, and how soon a host is followed: on a PostgreSQL server of its own.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --quick

Needs psycopg and PostgreSQL. Launches are forked children, each with a connection of its
own: what a launch costs without the start of an interpreter. The hosts of many names are connections of this
process. Ends with status 1 if a launch was lost, or done twice, or by an old host. All figures are of this
machine, with client and server on it.
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
LOST_AFTER = 15  # effects that a host has before it is lost

EFFECTS = """
CREATE TABLE effects (number bigserial, name text, launch uuid, epoch bigint, pid int, at float8)"""


def work(args, app):
    app.connection.execute(
        "INSERT INTO effects (name, launch, epoch, pid, at) VALUES (%s, %s, %s, %s, %s)",
        [app.name, app.launch, app.epoch, os.getpid(), time.monotonic()],
    )
    if args == ("quit",):
        app.release()


def launch(server, name, *args, database="postgres"):
    """Fork a launch; return its process id, which is the name of its session as well."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        # What hosts that are lost say of it is no news here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        dsn = f"{server.dsn} dbname={database} application_name={os.getpid()}"
        app = cluster.ClusterSingleton(name, dsn, argv=args, lease=LEASE)
        app.trace(work, app)
        app.run()
        status = 0
    except SystemExit as end:
        status = 1 if end.code else 0
    finally:
        os._exit(status)


class Stream:
    """Launches of one name, some at once, and hosts that are lost meanwhile."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.begun, self.ended, self.lost, self.stopped = {}, {}, [], []
        self.connection = server.connect()

    def run(self, count, lose=None, times=0):
        """Return how long it took until `count` launches had ended, or were the host."""
        start = time.monotonic()
        while len(self.ended) < count:
            while len(self.begun) < count and len(self.begun) - len(self.ended) - len(self.held()) < AT_ONCE:
                self.begun[launch(self.server, self.name, str(len(self.begun)))] = time.monotonic()
            self.reap()
            if len(self.lost) < times:
                for (pid,) in self.ready_to_be_lost():
                    self.lost.append((pid, time.monotonic()))
                    lose(pid)
            if len(self.begun) == count and len(self.ended) + len(self.held()) == count:
                break
            time.sleep(0.005)  # between two looks
        return time.monotonic() - start

    def held(self):
        """Return who does not end by itself: hosts, the present one and those that are stopped."""
        query = (
            f"SELECT application_name FROM ({HELD}) AS held JOIN pg_stat_activity USING (pid)"
            f" WHERE key = {KEY}"
        )
        hosts = [int(pid) for (pid,) in self.connection.execute(query, [self.name])]
        return {pid for pid in [*hosts, *self.stopped] if pid in self.begun and pid not in self.ended}

    def ready_to_be_lost(self):
        query = (
            "SELECT pid FROM effects WHERE epoch = (SELECT max(epoch) FROM effects WHERE name = %s)"
            " GROUP BY pid HAVING count(*) >= %s"
        )
        rows = self.connection.execute(query, [self.name, LOST_AFTER]).fetchall()
        return [row for row in rows if row[0] not in {pid for pid, _ in self.lost}]

    def reap(self):
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            while pid:
                self.ended[pid] = (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1, time.monotonic())
                pid, status = os.waitpid(-1, os.WNOHANG)

    def end(self):
        """Have stopped hosts go on, and then the last host end; check what all of them have done."""
        for pid in self.stopped:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: self.reap() or self.ended.keys() >= set(self.stopped), "stopped hosts end")
        self.begun[launch(self.server, self.name, "quit")] = time.monotonic()
        wait_until(lambda: self.reap() or len(self.ended) == len(self.begun), "all have ended")
        rows = self.connection.execute(
            "SELECT launch, epoch, pid, at FROM effects WHERE name = %s ORDER BY number", [self.name]
        ).fetchall()
        lost = {pid for pid, _ in self.lost}
        problems = [
            (len({row[0] for row in rows}) < len(self.begun), "launches were lost"),
            (len({row[0] for row in rows}) < len(rows), "launches were done twice"),
            ([row[1] for row in rows] != sorted(row[1] for row in rows), "an old host has done something"),
            (
                any(status for pid, (status, _) in self.ended.items() if pid not in lost),
                "launches have failed",
            ),
        ]
        for is_so, what in problems:
            if is_so:
                sys.exit(f"{self.name}: {what}: {len(self.begun)} launches, {len(rows)} effects")
        gaps = []
        for pid, at in self.lost:
            gaps += [min(row[3] for row in rows if row[2] != pid and row[3] > at) - at]
        return len(rows), gaps


def milliseconds(values):
    least, middle, most = (1000 * pick(values) for pick in (min, statistics.median, max))
    return f"{least:.0f} to {most:.0f} ms, median {middle:.0f}"


def measure_takeover(server, launches, hosts):
    for name, how in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        stream = Stream(server, name)

        def lose(pid, stream=stream, how=how):
            os.kill(pid, how)
            if how == signal.SIGSTOP:
                stream.stopped.append(pid)

        times = hosts if name == "killed" else max(1, hosts // 6)
        stream.run(launches, lose, times)
        effects, gaps = stream.end()
        print(f"{len(gaps)} hosts {name}: {len(stream.begun)} launches, {effects} effects;", end=" ")
        print(f"the next one's first effect after {milliseconds(gaps)}")


def measure_launches(server, launches, queue):
    stream = Stream(server, "stream")
    taken = stream.run(launches)
    times = sorted(end - stream.begun[pid] for pid, (_, end) in stream.ended.items())
    stream.end()
    print(f"launches, {AT_ONCE} at a time: {launches / taken:.0f} a second; each {milliseconds(times)}")
    with server.connect() as connection:
        row = "INSERT INTO singleton_launches (id, name, args) SELECT gen_random_uuid(), %s, '[]'"
        connection.execute(f"{row} FROM generate_series(1, %s)", ["queue", queue])
        start = time.monotonic()
        os.waitpid(launch(server, "queue", "quit"), 0)
        print(f"one host, from a queue of {queue}: {queue / (time.monotonic() - start):.0f} a second")
        size = connection.execute("SELECT pg_total_relation_size('singleton_launches')").fetchone()[0]
        rows = connection.execute("SELECT count(*) FROM singleton_launches").fetchone()[0]
        print(f"a row takes {size / rows:.0f} bytes on disk, indexes included, for a day")


def memory_of(folder):
    """Return the server's bytes: what each of its processes has, what they share being split among them."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/smaps_rollup"):
        with contextlib.suppress(OSError):
            if os.readlink(path.parent / "cwd").startswith(str(folder)):
                total += int(re.search(r"^Pss: +(\d+)", path.read_text(), re.MULTILINE).group(1)) * 1024
    return total


class Names:
    """Many names, spread over databases of the server; the hosts are connections of this process."""

    def __init__(self, server, names, databases):
        self.server = server
        self.databases = [f"names{databases}_{number}" for number in range(databases)]
        with server.connect() as connection:
            for database in self.databases:
                connection.execute(f"CREATE DATABASE {database}")
        for database in self.databases:
            self.ask(database, EFFECTS)
        self.places = [(f"name {number}", self.databases[number % databases]) for number in range(names)]
        self.hosts = [self.hold(name, database) for name, database in self.places]

    def hold(self, name, database):
        dsn = f"{self.server.dsn} dbname={database}"
        app = cluster.ClusterSingleton(name, dsn, argv=[], lease=600)  # seconds: it is not looked after
        app._take()  # its own launch, without an observer
        app.trace(work, app)
        return app

    def ask(self, database, query):
        with self.server.connect(database) as connection:
            cursor = connection.execute(query)
            return cursor.fetchone()[0] if cursor.description else None

    def held(self):
        return self.ask("postgres", f"SELECT count(*) FROM ({HELD}) AS held")

    def launch(self, count):
        """Return how long each of `count` launches of these names took, and all of them together."""
        places = itertools.cycle(random.sample(self.places, len(self.places)))
        begun, times, start = {}, [], time.monotonic()
        with selectors.DefaultSelector() as selector:
            for app in self.hosts:
                selector.register(app.connection.fileno(), selectors.EVENT_READ, app)
            while len(times) < count:
                while len(begun) < AT_ONCE and len(begun) + len(times) < count:
                    name, database = next(places)
                    begun[launch(self.server, name, "a word", database=database)] = time.monotonic()
                for key, _ in selector.select(0.005):  # seconds until it looks for launches that ended
                    while key.data._take():
                        pass
                pid, status = os.waitpid(-1, os.WNOHANG)
                while pid:
                    if status:
                        sys.exit("a launch has failed")
                    times.append(time.monotonic() - begun.pop(pid))
                    pid, status = os.waitpid(-1, os.WNOHANG) if begun else (0, 0)
        return times, time.monotonic() - start

    def close(self):
        for app in self.hosts:
            app.connection.close()
        with self.server.connect() as connection:
            for database in self.databases:
                connection.execute(f"DROP DATABASE {database} WITH (FORCE)")


def measure_names(server, names, databases, launches):
    before, start = memory_of(server.folder), time.monotonic()
    all_names = Names(server, names, databases)
    opened = time.monotonic() - start
    held, each = all_names.held(), (memory_of(server.folder) - before) / names
    print(f"{held} names held, by as many connections, in {databases} databases:", end=" ")
    print(f"{names / opened:.0f} opened a second; {each / 2**20:.1f} MiB of the server's memory for each")
    times, taken = all_names.launch(launches)
    print(f"    launches to them, {AT_ONCE} at a time: {launches / taken:.0f} a second;", end=" ")
    print(f"each {milliseconds(times)}")
    start = time.monotonic()
    for app in all_names.hosts:
        app._take()
    print(f"    a host's look, once in {LEASE / 3:g} s: {(time.monotonic() - start) / names * 1000:.1f} ms")
    done = sum(all_names.ask(database, "SELECT count(*) FROM effects") for database in all_names.databases)
    if (held, all_names.held(), done) != (names, names, launches):
        sys.exit(f"{held} of {names} names were held; of {launches} launches, {done} effects")
    all_names.close()


def let_many_files_be_open():
    """A connection is a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    sys.stdout.reconfigure(line_buffering=True)  # each figure when it is there
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="that it works, not what it measures")
    parser.add_argument("--names", type=int, help="how many to hold; 2500, or 50 if quick")
    parser.add_argument("--databases", type=int, default=50, help="over how many the names are spread")
    options = parser.parse_args()
    quick = options.quick
    if missing():
        sys.exit(missing())
    names = options.names or (50 if quick else 2500)
    let_many_files_be_open()
    server = Server(max_connections=names + 100)
    try:
        with server.connect() as connection:
            connection.execute(EFFECTS)
        launches, hosts = (150, 4) if quick else (600, 24)
        measure_takeover(server, launches, hosts)
        measure_launches(server, launches, 200 if quick else 2000)
        for held, databases in ((max(1, names // 10), 1), (names, options.databases)):
            measure_names(server, held, databases, 50 if quick else 300)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
