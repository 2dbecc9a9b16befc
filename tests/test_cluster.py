"""examples/cluster.py on its own PostgreSQL server: nothing lost, done twice, or done by an old host."""

from __future__ import annotations

import itertools
import os
import re
import runpy
import signal
import unittest
import uuid
from collections import Counter

from .postgres import HELD, KEY, Server, missing
from .support import PATIENCE, PROGRAMS, ROOT, SingletonTestCase, wait_until

EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "cluster.md"

# Seconds. Short for a test that waits for its end; long enough for a busy machine to keep it.
LEASE = 2.0
# For a host that a test wants to keep, or that only a NOTIFY can wake in time.
LONG_LEASE = 600.0
WAIT = 60.0

EFFECTS = """CREATE TABLE effects (number bigserial, name text, launch uuid, args text[],
                                   epoch bigint, pid int)"""


@unittest.skipUnless(EXAMPLES.is_dir(), "no examples here")
@unittest.skipIf(missing(), missing())
class TestCluster(SingletonTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.remove)
        with cls.server.connect() as connection:
            connection.execute(EFFECTS)

    def setUp(self):
        super().setUp()
        self.name = f"org.example.{self.id()}.{uuid.uuid4()}"
        self.connect()

    # -- what the tests share --

    def connect(self):
        """Keep a connection for `ask`: to make one takes longer than a query."""
        self.connection = self.server.connect()
        self.addCleanup(self.connection.close)

    def restart(self, how=signal.SIGINT):
        self.server.restart(how)
        self.connect()

    def ask(self, query, *parameters):
        return self.connection.execute(query, parameters).fetchall()

    def launch(self, *args, lease=LONG_LEASE, wait=WAIT, ready=None, env=None, name=None):
        env = {**self.server.env, **(env or {})}
        words = (PROGRAMS / "cluster_app.py", name or self.name, lease, wait, *args)
        return self.start(*words, ready=ready, env=env)

    def effects(self):
        """Return (args, epoch, pid) of everything done under this name, in order."""
        query = "SELECT args, epoch, pid FROM effects WHERE name = %s ORDER BY number"
        return [
            (tuple(eval(word) for word in args), epoch, pid)
            for args, epoch, pid in self.ask(query, self.name)
        ]

    def done(self):
        return [args for args, _, _ in self.effects()]

    def ends_quietly(self, program):
        self.finish(program)
        self.assertEqual((program.out, program.err), ("", ""))

    def end_host(self):
        """End the current host with a launch that is the last one in the queue."""
        self.finish(self.launch("quit"))

    def disturb(self, lose, launches=24, every=4):
        """Start launches, four at a time, and call `lose(pid)` once per host when it has done `every`."""
        started, running, lost = [], [], {}
        busy = "SELECT epoch, pid FROM effects WHERE name = %s GROUP BY epoch, pid HAVING count(*) >= %s"

        def all_ended():
            running[:] = [program for program in running if self.is_waited_for(program)]
            if len(started) < launches:
                if len(running) < 4:
                    started.append(self.launch(f"launch {len(started)}", lease=LEASE))
                    running.append(started[-1])
                for epoch, pid in self.ask(busy, self.name, every):
                    if epoch not in lost:
                        lost[epoch] = pid
                        lose(pid)
            return len(started) == launches and not running

        wait_until(all_ended, "all launches have ended or are the host", timeout=2 * PATIENCE)
        return started, lost

    def is_waited_for(self, program):
        return program.process.poll() is None and not any(line.startswith("host") for line in program.lines)

    def check(self, launches, lost, least=3):
        """All was done once, and nothing by an old host; launches that were not lost exited with status 0."""
        self.end_host()
        self.assertGreaterEqual(len(lost), least, "hosts were lost")
        done = Counter(self.done())
        del done[("quit",)]
        self.assertEqual(done, Counter((f"launch {number}",) for number in range(len(launches))))
        epochs = [(epoch, pid) for _, epoch, pid in self.effects()]
        self.assertEqual([epoch for epoch, _ in epochs], sorted(epoch for epoch, _ in epochs))
        self.assertEqual(len(set(epochs)), len({epoch for epoch, _ in epochs}))
        for program in launches:
            status = program.wait()
            if status == 1:  # it was the host, and learned that it no longer is
                self.assertTrue(any(line.startswith("host") for line in program.lines), program.describe())
                self.assertIn(f"{self.name}: the session is lost, and the lock with it: ", program.err)
            elif status != -signal.SIGKILL or program.pid not in lost.values():
                self.assertEqual(status, 0, program.describe())

    def effects_by_rank(self):
        """Return (first argument, rank of the host) of everything done: 1 for the first host, and so on."""
        effects = self.effects()
        ranks = {epoch: rank for rank, epoch in enumerate(sorted({epoch for _, epoch, _ in effects}), 1)}
        return [(args[0], ranks[epoch]) for args, epoch, _ in effects]

    # -- what users see --

    def test_the_example(self):
        first = self.start(EXAMPLES / "cluster.py", "a.txt", env=self.server.env)
        first.expect("Running. The word quit ends it.")
        self.ends_quietly(self.start(EXAMPLES / "cluster.py", "b.txt", "c d.txt", env=self.server.env))
        self.ends_quietly(self.start(EXAMPLES / "cluster.py", "quit", env=self.server.env))
        self.finish(first)
        works = self.ask("SELECT name, epoch FROM example_work")
        self.assertEqual([name for name, _ in works], ["a.txt", "b.txt", "c d.txt", "quit"])
        self.assertEqual(first.lines[1:], [f"host {epoch} works on {name}" for name, epoch in works])
        self.assertEqual(len({epoch for _, epoch in works}), 1)

    def test_what_was_typed_arrives_and_is_done_when_the_launch_ends(self):
        """The host looks by itself only every 200 seconds, so it must be NOTIFY that makes it act at once."""
        words = (
            "two words",
            "",
            "a\nb",
            "\u00fc\U0001f600",
            "\\x41 {\"a\",'b'}",
            b"\xff\xfe".decode("utf-8", "surrogateescape"),
        )
        host = self.launch("first", ready="host")
        wait_until(lambda: self.done() == [("first",)], "the host's own launch")
        for launch in (words, (), ("",)):
            self.ends_quietly(self.launch(*[os.fsencode(word) for word in launch]))
            self.assertEqual(self.done()[-1], launch)
        self.end_host()
        self.finish(host)

    def test_two_names_do_not_meet(self):
        one = self.launch("one", ready="host")
        other = self.launch("other", "quit", name=self.name + "2", ready="host")
        self.finish(other)
        self.end_host()
        self.finish(one)
        self.assertEqual(self.done(), [("one",), ("quit",)])

    def test_the_key_is_the_one_in_the_documentation(self):
        page = PAGE.read_text(encoding="utf-8")
        rows = re.findall(r"^\| `([^`]+)` \| `(-?\d+)` \|$", page, re.MULTILINE)
        [who_is_host] = re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        self.assertGreater(len(rows), 1)
        for name, key in rows:
            self.assertEqual(self.ask(f"SELECT {KEY}", name), [(int(key),)])
            host = self.launch("hold", name=name, env={"HOLD": "1"}, ready="holding")
            self.assertIn(int(key), [key for key, _ in self.ask(HELD)])
            self.assertEqual(len(self.ask(who_is_host)), key in who_is_host)
            host.kill()

    def test_two_simultaneous_first_launches(self):
        """Ten times, each with a database that has no tables yet."""
        for number in range(10):
            database = f"fresh{number}"
            self.connection.execute(f"CREATE DATABASE {database}")
            with self.subTest(database):
                env = {**self.server.env, "PGDATABASE": database}
                launches = [
                    self.start("-c", FIRST, self.name, number, word, env=env) for word in ("one", "other")
                ]
                for program in launches:
                    self.finish(program)
                said = sorted(line for program in launches for line in program.lines)
                self.assertEqual(said, ["does one", "does other", "host 1"], launches[0].describe())
            self.connection.execute(f"DROP DATABASE {database}")

    def test_a_first_launch_while_another_one_makes_the_tables(self):
        self.connection.execute("CREATE DATABASE half_made")
        env = {**self.server.env, "PGDATABASE": "half_made"}
        with self.server.connect("half_made") as other, other.transaction():
            other.execute(runpy.run_path(str(EXAMPLES / "cluster.py"))["TABLES"])
            launch = self.start("-c", FIRST, self.name, 0, "one", env=env)
            wait_until(lambda: self.ask("SELECT pid FROM pg_locks WHERE NOT granted"), "the launch waits")
        launch.expect("does one")
        launch.kill()

    # -- hosts that are lost --

    def test_hosts_are_killed(self):
        self.check(*self.disturb(lambda pid: os.kill(pid, signal.SIGKILL)))

    def test_sessions_of_hosts_are_terminated(self):
        def terminate(_):
            held = f"SELECT pid FROM ({HELD}) AS held WHERE key = {KEY}"
            self.ask(f"SELECT pg_terminate_backend(pid) FROM ({held}) AS host", self.name)

        self.check(*self.disturb(terminate))

    def test_the_server_is_restarted(self):
        """First with an orderly restart, then as after a crash."""
        hows = itertools.cycle([signal.SIGINT, signal.SIGQUIT])

        def restart(_):
            self.restart(next(hows))

        self.check(*self.disturb(restart, launches=30, every=6))

    def test_hosts_are_stopped_under_load_and_continue_later(self):
        stopped = []

        def stop(pid):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

        launches, lost = self.disturb(stop, launches=30, every=9)
        before = self.effects()
        for program in launches:
            if program.pid in stopped:
                os.kill(program.pid, signal.SIGCONT)
                self.finish(program, status=1)
        self.assertEqual(self.effects(), before)
        self.check(launches, lost, least=2)

    def test_a_host_that_is_stopped_when_idle(self):
        host = self.launch("first", lease=LEASE, ready="host")
        wait_until(self.done, "its own launch")
        os.kill(host.pid, signal.SIGSTOP)
        second = self.launch("second", ready="host")
        os.kill(host.pid, signal.SIGCONT)
        self.finish(host, status=1)
        self.assertIn(f"{self.name}: the session is lost, and the lock with it: ", host.err)
        self.end_host()
        self.finish(second)
        self.assertEqual(self.effects_by_rank(), [("first", 1), ("second", 2), ("quit", 2)])

    def test_a_host_that_is_stopped_within_a_transaction(self):
        """What it had written is undone, and is written once by the next host."""
        host = self.launch("hold", lease=LEASE, env={"HOLD": "1"}, ready="holding")
        [(old,)] = self.ask("SELECT last_value FROM singleton_epoch")
        os.kill(host.pid, signal.SIGSTOP)
        second = self.launch("second", ready="host")
        os.kill(host.pid, signal.SIGCONT)
        host.write("\n")
        self.finish(host, status=1)
        self.assertIn(f"{self.name}: the session is lost, and the lock with it: ", host.err)
        self.end_host()
        self.finish(second)
        self.assertEqual(self.effects_by_rank(), [("hold", 1), ("second", 1), ("quit", 1)])
        self.assertGreater(self.effects()[0][1], old)

    def test_a_host_without_a_rival_also_ends_when_its_session_is_lost(self):
        """The next launch becomes the host."""
        host = self.launch("first", ready="host")
        wait_until(self.done, "its own launch")
        self.restart()
        self.finish(host, status=1)
        self.assertIn(f"{self.name}: the session is lost, and the lock with it: ", host.err)
        self.finish(self.launch("quit", ready="host"))
        self.assertEqual(self.effects_by_rank(), [("first", 1), ("quit", 2)])

    def test_an_idle_host_keeps_its_session(self):
        """It reads the table within each lease, so the server does not consider it stopped."""
        host = self.launch("first", lease=2 * LEASE, ready="host")
        held_for_longer = (
            f"SELECT pid FROM ({HELD}) AS held JOIN pg_stat_activity USING (pid)"
            f" WHERE key = {KEY} AND now() - backend_start > make_interval(secs => %s)"
        )
        wait_until(
            lambda: self.ask(held_for_longer, self.name, 2.5 * LEASE), "its session is older than a lease"
        )
        self.end_host()
        self.finish(host)

    # -- launches --

    def test_a_launch_that_is_cut_off_during_its_commit_is_not_done_twice(self):
        host = self.launch("first", ready="host")
        self.ends_quietly(self.launch("second", env={"CUT_COMMIT": "1"}))
        self.end_host()
        self.finish(host)
        self.assertEqual(self.done(), [("first",), ("second",), ("quit",)])

    def test_a_launch_that_nobody_takes_is_withdrawn(self):
        host = self.launch("hold", env={"HOLD": "1"}, ready="holding")
        launch = self.finish(self.launch("second", wait=0.5), status=1)
        self.assertEqual(launch.err, f"{self.name}: no host took it within 0.5 s; it is withdrawn.")
        host.write("\n")
        self.end_host()
        self.finish(host)
        self.assertEqual(self.done(), [("hold",), ("quit",)])

    def test_a_launch_that_is_still_being_done_reports_an_unknown_result(self):
        host = self.launch("first", env={"HOLD": "1"}, ready="host")
        launch = self.launch("hold", wait=3)
        host.expect("holding")
        self.finish(launch, status=1)
        self.assertEqual(launch.err, f"{self.name}: a host is still working on it; the result is not known.")
        host.write("\n")
        self.end_host()
        self.finish(host)

    def test_a_launch_without_a_server_fails_with_a_message(self):
        launch = self.finish(
            self.launch(wait=0.5, env={"PGHOST": str(self.server.folder / "none")}), status=1
        )
        self.assertRegex(launch.err, r"(?s)No such file.*; the result is not known\.\Z")

    # -- observers --

    def test_an_observer_that_raises_ends_only_that_call(self):
        """Even if it is the database that raises."""
        host = self.launch("first", ready="host")
        self.ends_quietly(self.launch("fail"))
        self.ends_quietly(self.launch("divide"))
        self.ends_quietly(self.launch("second"))
        self.end_host()
        self.finish(host)
        self.assertEqual(self.done(), [("first",), ("second",), ("quit",)])  # what it wrote is undone
        self.assertIn("ValueError: the observer fails", host.err)
        self.assertIn("DivisionByZero: division by zero", host.err)

    def test_an_observer_that_hides_an_error_of_the_database_ends_the_host(self):
        """The server does nothing more in that transaction, and the next host does the launch."""
        host = self.launch("hide", env={"HIDE": "1"})
        self.finish(host, status=1)
        self.assertIn("current transaction is aborted", host.err)
        second = self.launch("second", ready="host")
        self.end_host()
        self.finish(second)
        self.assertEqual(self.done(), [("hide",), ("second",), ("quit",)])

    # -- the table --

    def test_rows_are_deleted_after_a_day(self):
        host = self.launch("first", ready="host")
        self.ends_quietly(self.launch("second"))
        query = "SELECT count(*) FROM singleton_launches WHERE name = %s"
        self.assertEqual(self.ask(query, self.name), [(2,)])
        self.ask(
            "UPDATE singleton_launches SET taken = taken - interval '25 hours' WHERE name = %s RETURNING 1",
            self.name,
        )
        self.end_host()
        self.finish(host)
        self.assertEqual(self.ask(query, self.name), [(1,)])


# Both get their launch done, and the host ends once it has done both.
FIRST = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
import cluster
done = []
def work(args):
    print("does", *args, flush=True)
    done.append(args)
    if len(done) == 2:
        app.release()
app = cluster.ClusterSingleton(sys.argv[1], argv=sys.argv[3:])
print("host", app.epoch, flush=True)
app.trace(work)
app.run()
"""
