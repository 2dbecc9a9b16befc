"""The judge of the soak is judged: forged logs with one mistake each, and one without."""

from __future__ import annotations

import collections
import re
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from verification import handover, mutations, system_calls
from verification.soak.judge import LAUNCH_TIME, OWNED_AND_LOST, STALLS_EXCUSE, STOP_EXCUSES, Judge
from verification.soak.record import Child, Record, Span
from verification.soak.rounds import Round
from verification.soak.schedule import EXIT_STATUS, Event, Role, Setting, digest, schedule
from verification.soak.series import GROWTH, MEASURED, SPAN, Plan, judge_record

from .support import ROOT

KILL = -9


def setting(seed="forged", name="", secret="", rough=True) -> Setting:
    return Setting(seed, "", "127.0.0.1", 1, name, secret, rough)


class Forged:
    """A round that never was: its processes, and what they wrote. Times are in seconds from its begin."""

    def __init__(self, **options) -> None:
        self.children: dict = {}
        self.lines: list = []
        self.stops: list = []
        self.stalls: list = []
        self.port_error = ""
        self.setting = setting(**options)

    def child(
        self, kind="forked", began=0.0, ended=1.0, ending="release", observer="quick", asks=False, **more
    ) -> int:
        """Add a process, and return its number."""
        number = len(self.children)
        role = Role(number, "", "127.0.0.1", 1, "", "", ending, 0.5, 3, observer, 0.0, 0.005, asks)
        event = Event(role, kind, (f"launch {number};",), b"", 1, 0.0, 0.0, 0.0, 0.0, False, 0.0)
        child = self.children[number] = Child(event, began)
        child.ended = ended
        for name, value in more.items():
            assert hasattr(child, name)
            setattr(child, name, value)
        return number

    def write(self, what: str, number: int, when: float, *more: object) -> None:
        self.lines.append(" ".join(map(str, [what, number, f"{when:.9f}", *more])))

    def host(self, since=0.1, leaves=0.9, **more) -> int:
        number = self.child(began=since - 0.1, ended=leaves + 0.1, **more)
        self.write("begins", number, since - 0.05)
        self.write("host", number, since, since - 0.04)
        if more.get("status") != KILL:
            self.write("leaves", number, leaves)
        return number

    def launch(self, began=0.2, answered=0.3, answer="True", **more) -> int:
        number = self.child(began=began, ended=answered + 0.01, **more)
        self.write("begins", number, began + 0.01)
        if answer:
            self.write("second", number, answered, answer)
        return number

    def told(self, **more) -> int:
        words = "Socket_Singleton: nobody confirms\n"
        return self.launch(answer="False", status=1, err=words, **more)

    def arrives(self, host: int, number: int, owned=0.25, got=0.27, what="got", content=None) -> None:
        content = content or digest((f"launch {number};",))
        if owned:
            self.write("owned", host, owned, number, content)
        if got:
            self.write(what, host, got, number, content)

    def found(self) -> list:
        """Return what the judge says of it, without the explanations."""
        record = Record(self.setting, self.children, self.lines, self.stalls, self.stops, self.port_error)
        judge = Judge(record, collections.defaultdict(int))
        judge.judge()
        self.counts = dict(judge.counts)
        return [
            re.sub(r"^round forged: ([^:]+).*", r"\1", text, flags=re.DOTALL) for text in judge.violations
        ]


class TestJudge(unittest.TestCase):
    def setUp(self) -> None:
        self.round = Forged()

    def assert_found(self, *expected: str) -> None:
        self.assertEqual(sorted(self.round.found()), sorted(expected))

    # -- nothing to find --

    def test_a_clean_log_passes(self):
        """One launch of each kind, friend included, two hosts after each other, and one that is killed."""
        first = self.round.host()
        self.round.arrives(first, self.round.launch())
        self.round.arrives(first, self.round.launch(), what="left", got=0.95)
        friend = self.round.child("friend")
        self.round.write("friend", friend, 0.3, "owned")
        self.round.arrives(first, friend)
        self.round.write("friend", self.round.child("friend"), 0.5, "nobody")
        self.round.arrives(first, self.round.child("interpreter"))
        self.round.host(since=0.91, leaves=1.5)
        killed = self.round.host(since=1.6, leaves=2, ending="killed", killed=1.9, status=KILL)
        self.round.arrives(killed, self.round.launch(began=1.7, answered=1.8), owned=1.75, got=0)
        self.assert_found()
        self.assertEqual(self.round.counts["hosts whose time was checked"], 3)
        self.assertEqual(self.round.counts["delivered"], 4)
        self.assertEqual(self.round.counts["lost with a killed host"], 1)

    # -- two hosts --

    def test_two_tenures_that_overlap(self):
        self.round.host(since=0.1, leaves=0.9)
        self.round.host(since=0.89, leaves=1.5)
        self.assert_found("two hosts")

    def test_a_long_tenure_that_covers_two(self):
        self.round.host(since=0.1, leaves=0.9)
        self.round.host(since=0.2, leaves=0.3)
        self.round.host(since=0.4, leaves=0.5)
        self.assert_found("two hosts", "two hosts")

    def test_a_kill_ends_a_tenure(self):
        for killed, found in ((0.49, ()), (0.51, ("two hosts",))):
            with self.subTest(killed=killed):
                self.round = Forged()
                self.round.host(leaves=0.6, killed=killed, status=KILL, ending="killed")
                self.round.host(since=0.5)
                self.assert_found(*found)

    def test_a_host_that_dies_in_its_observer_says_so(self):
        host = self.round.host(leaves=0.6, status=KILL, ending="dies")
        self.round.write("dies", host, 0.49)
        self.round.host(since=0.5)
        self.assert_found()

    # -- launches --

    def test_a_launch_delivered_twice(self):
        """By one host, and by two hosts after each other."""
        for since in (0.1, 0.91):
            with self.subTest(since=since):
                self.round = Forged()
                first, launch = self.round.host(), self.round.launch()
                self.round.arrives(first, launch)
                second = self.round.host(since=since, leaves=1.5) if since > 0.5 else first
                self.round.arrives(second, launch, owned=since + 0.2, got=since + 0.3)
                self.assert_found("delivered twice")

    def test_a_launch_that_vanished(self):
        self.round.host()
        self.round.launch()
        self.assert_found("vanished", "told before it was owned")

    def test_a_launch_that_vanished_with_a_host_that_was_not_killed(self):
        self.round.arrives(self.round.host(), self.round.launch(), got=0)
        self.assert_found("vanished")

    def test_a_kill_excuses_only_what_that_host_owned(self):
        self.round.host(leaves=0.4, ending="killed", killed=0.35, status=KILL)
        self.round.arrives(self.round.host(since=0.5, leaves=1.5), self.round.launch(), got=0)
        self.assert_found("vanished")

    def test_a_host_that_was_delivered_too(self):
        first = self.round.host()
        self.round.arrives(first, self.round.host(since=0.91, leaves=1.5))
        self.assert_found("host, and delivered")

    def test_a_launch_that_was_told(self):
        self.round.host()
        self.round.told()
        self.assert_found("told")

    def test_a_launch_that_was_told_and_delivered_all_the_same(self):
        self.round.arrives(self.round.host(), self.round.told())
        self.assert_found("told, and delivered")

    def test_only_a_long_stop_excuses_who_was_told(self):
        for length, found in ((STOP_EXCUSES - 0.1, ["told"]), (STOP_EXCUSES + 0.1, [])):
            with self.subTest(length=length):
                self.round = Forged()
                self.round.host(leaves=3)
                self.round.told(began=0.2, answered=2.2)
                self.round.stops.append(Span(0.3, 0.3 + length))
                self.assert_found(*found)

    def test_a_stop_excuses_nobody_who_is_delivered_twice(self):
        host, launch = self.round.host(leaves=3), self.round.told(began=0.2, answered=2.2)
        self.round.stops.append(Span(0.3, 2.4))
        self.round.arrives(host, launch, owned=2.5, got=2.6)
        self.round.arrives(host, launch, owned=2.5, got=2.6)
        self.assert_found("delivered twice")

    def test_a_stall_of_the_machine_excuses_who_was_told(self):
        for length, found in ((STALLS_EXCUSE - 0.1, ["told"]), (STALLS_EXCUSE + 0.1, [])):
            with self.subTest(length=length):
                self.round = Forged()
                self.round.host(leaves=3)
                self.round.told(began=0.2, answered=2.2)
                self.round.stalls += [Span(0.3, 0.4), Span(1.0, 0.9 + length)]
                self.assert_found(*found)

    def test_a_launch_that_was_told_that_it_is_owned_too_early(self):
        self.round.arrives(self.round.host(), self.round.launch(answered=0.3), owned=0.301, got=0.302)
        self.assert_found("told before it was owned")

    def test_an_orderly_end_without_an_answer(self):
        """Also near a kill: that ends what is not owned by a reset."""
        self.round.host(leaves=0.4, ending="killed", killed=0.35, status=KILL)
        self.round.launch(answer="None")
        self.round.write("friend", self.round.child("friend"), 0.4, "closed")
        self.assert_found(*["an orderly end without an answer"] * 2)

    def test_a_launch_that_is_late(self):
        host = self.round.host(leaves=9)
        self.round.arrives(host, self.round.launch(answered=0.3 + LAUNCH_TIME))
        self.assert_found("late")

    def test_a_launch_that_was_changed(self):
        self.round.arrives(self.round.host(), self.round.launch(), content="1:1:00000000")
        self.assert_found("changed on the way")

    def test_a_launch_that_arrives_after_release(self):
        self.round.arrives(self.round.host(), self.round.launch(), got=1.0, what="late")
        self.assert_found("delivered after release")

    # -- launches that ask --

    def test_an_answer_is_what_the_observer_of_its_owner_said(self):
        for observer, found in (("raises", []), ("quick", ["a strange status", "told, and delivered"])):
            with self.subTest(observer=observer):
                self.round = Forged(name="org.example.soak")
                host = self.round.host(observer=observer)
                self.round.arrives(host, self.round.launch(asks=True, status=EXIT_STATUS))
                self.assert_found(*found)

    def test_only_the_end_of_its_owner_leaves_a_launch_without_an_answer(self):
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        for leaves, found in ((0.25, []), (0.9, ["left without an answer by a host that lived on"])):
            with self.subTest(leaves=leaves):
                self.round = Forged(name="org.example.soak")
                host = self.round.host(leaves=leaves)
                launch = self.round.launch(asks=True, status=1, err=words)
                self.round.arrives(host, launch, owned=0.22, got=0.23)
                self.assert_found(*found)

    def test_an_owner_that_was_killed_before_it_said_that_it_was_the_host(self):
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        for killed, found in ((0.25, []), (0.9, ["left without an answer by a host that lived on"])):
            with self.subTest(killed=killed):
                self.round = Forged(name="org.example.soak")
                host = self.round.child(ending="killed", killed=killed, status=KILL)
                launch = self.round.launch(asks=True, status=1, err=words)
                self.round.arrives(host, launch, owned=0.22, got=0)
                self.assert_found(*found)

    def test_one_that_asks_and_vanished(self):
        self.round = Forged(name="org.example.soak")
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        host = self.round.host(leaves=0.25)
        self.round.arrives(host, self.round.launch(asks=True, status=1, err=words), owned=0.22, got=0)
        self.assert_found("vanished")

    # -- peers --

    def test_a_packet_that_was_reset_and_delivered(self):
        friend = self.round.child("friend")
        self.round.arrives(self.round.host(), friend)
        self.round.write("friend", friend, 0.5, "nobody")
        self.assert_found("answered by nobody, and delivered")

    def test_a_good_packet_that_is_ignored_or_meets_silence(self):
        for answer in ("ignored", "silent", "other"):
            with self.subTest(answer=answer):
                self.round = Forged()
                self.round.write("friend", self.round.child("friend"), 0.5, answer)
                self.assert_found("a packet had the wrong answer")

    def test_a_host_with_a_name_owns_no_plain_packet(self):
        self.round = Forged(name="org.example.soak")
        self.round.write("friend", self.round.child("friend"), 0.3, "ignored")
        self.assert_found()
        friend = self.round.child("friend")
        self.round.arrives(self.round.host(), friend)
        self.round.write("friend", friend, 0.5, "owned")
        self.assert_found("a packet had the wrong answer")

    def test_what_was_no_packet_and_is_delivered(self):
        self.round.arrives(self.round.host(), self.round.child("reset"))
        self.assert_found("delivered, and never was a whole packet")

    def test_a_false_proof_that_is_not_refused(self):
        wrong = ["a false proof had the wrong answer"]
        for answer, found in (("ignored", []), ("owned", wrong), ("closed", wrong)):
            with self.subTest(answer=answer):
                self.round = Forged(name="org.example.soak")
                self.round.write("proof", self.round.child("hello"), 0.5, answer)
                self.assert_found(*found)

    def test_strangers_are_owned_only_where_nothing_keeps_them_out(self):
        for more, found in (({}, []), ({"secret": "s"}, ["a stranger was owned"])):
            with self.subTest(**more):
                self.round = Forged(**more)
                self.round.write("owned", self.round.host(), 0.5, "stray", "1:1:00000000")
                self.assert_found(*found)

    # -- ends --

    def test_noise_a_strange_status_and_a_process_that_does_not_end(self):
        for what, more in (
            ("noise on stderr", {"err": "Traceback\n"}),
            ("a strange status", {"status": 70}),
            ("does not end", {"ended": 21.0}),
        ):
            with self.subTest(what):
                self.round = Forged()
                self.round.child("garbage", **more)
                self.assert_found(what)

    def test_a_launch_may_be_killed_when_it_has_said_why(self):
        words = "Socket_Singleton: nobody confirms\n"
        for err, found in (
            (words, ()),
            (words * 2, ("noise on stderr",)),
            ("Traceback\n", ("noise on stderr",)),
        ):
            with self.subTest(err=err):
                self.round = Forged()
                self.round.launch(answer=None, err=err, killed=0.3, status=KILL)
                self.assert_found(*found)

    def test_a_thread_that_outlives_release(self):
        self.round.write("stuck", self.round.host(), 0.95, "observers")
        self.assert_found("a thread outlives release")

    def test_a_port_that_is_not_free(self):
        self.round.port_error = "in use"
        self.assert_found("the port is not free after a round: in use")


class ForgedSeries:
    """A round of series that never was: its processes, and what their launches wrote."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processes: dict = {}
        self.lines: list = []

    def process(self, ended=9.0, **more) -> int:
        """Add a process, and return the number of its first launch."""
        number = (len(self.processes) + 1) * SPAN
        child = self.processes[number] = Child(self.plan.event(number)._replace(kind="series"), 0.0)
        child.ended = ended
        for name, value in more.items():
            assert hasattr(child, name)
            setattr(child, name, value)
        return number + 1

    def write(self, what: str, number: int, when: float, *more: object) -> None:
        self.lines.append(" ".join(map(str, [what, number, f"{when:.9f}", *more])))

    def host(self, number: int, since: float, leaves: float = 0.0) -> None:
        self.write("begins", number, since - 0.02)
        self.write("host", number, since, since - 0.01)
        if leaves:
            self.write("leaves", number, leaves)
            self.write("ends", number, leaves + 0.01)

    def launch(self, number: int, when: float, host: int = 0, got: str = "got", answer="True 0 ") -> None:
        self.write("begins", number, when)
        for what in filter(None, ("owned", got)) if host else ():
            self.write(what, host, when + 0.01, number, digest(self.plan.event(number).args))
        if answer:
            self.write("second", number, when + 0.02, answer)

    def found(self) -> list:
        record = Record(setting(), self.processes, self.lines, [], [])
        counts: dict = collections.defaultdict(int)
        violations = judge_record(self.plan, record, counts)
        self.counts = dict(counts)
        return [re.sub(r"^round forged: ([^:]+).*", r"\1", text, flags=re.DOTALL) for text in violations]


class TestSeries(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.plan = Plan(setting(), long=False)

    def setUp(self) -> None:
        self.round = ForgedSeries(self.plan)
        # Of roles that end neither by a timeout nor by a threshold, which say when in other ways.
        self.hosts = [self.number_of("release"), self.number_of("release")]
        self.launches = self.round.process()

    def number_of(self, *endings: str) -> int:
        number = self.round.process()
        while self.round.plan.event(number).role.ending not in endings:
            number += 1
        return number

    def kill(self, number: int, when: float) -> None:
        process = self.round.processes[number // SPAN * SPAN]
        process.killed, process.ended, process.status = when, when + 0.01, KILL

    def assert_found(self, *expected: str) -> None:
        self.assertEqual(sorted(self.round.found()), sorted(expected))

    def test_a_clean_log_passes(self):
        """Two hosts after each other, of which the second is killed; a launch of each kind."""
        first, second = self.hosts
        self.round.host(first, since=0.1, leaves=0.9)
        self.round.launch(self.launches, 0.2, first)
        self.round.launch(self.launches + 1, 0.3, first, got="left")
        self.round.host(second, since=0.91)
        self.round.launch(self.launches + 2, 1.0, second, got="")
        self.round.launch(self.launches + 3, 1.1, answer="")
        self.kill(second, 1.2)
        self.kill(self.launches, 1.3)
        self.assert_found()
        expected = {"delivered": 2, "lost with a killed host": 1, "killed launches": 1, "killed hosts": 1}
        self.assertEqual({name: self.round.counts[name] for name in expected}, expected)
        self.assertEqual((self.round.counts["launch"], self.round.counts["series"]), (6, 3))
        self.assertEqual(self.round.counts["hosts whose time was checked"], 2)

    def test_two_tenures_that_overlap(self):
        for since, found in ((0.901, []), (0.899, ["two hosts"])):
            with self.subTest(since=since):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1, leaves=0.9)
                self.round.host(self.hosts[1], since=since, leaves=1.5)
                self.assert_found(*found)

    def test_a_host_is_there_until_the_kill_of_its_process(self):
        for killed, found in ((0.49, []), (0.51, ["two hosts"])):
            with self.subTest(killed=killed):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1)
                self.kill(self.hosts[0], killed)
                self.round.host(self.hosts[1], since=0.5, leaves=1.5)
                self.assert_found(*found)

    def test_a_process_may_die_in_its_observer(self):
        host = self.number_of("dies")
        self.round.host(host, since=0.1)
        self.round.write("dies", host, 0.4)
        self.round.processes[host // SPAN * SPAN].status = KILL
        self.round.host(self.hosts[1], since=0.41, leaves=1.5)
        self.assert_found()

    def test_a_launch_delivered_twice(self):
        """By one host, and by two after each other."""
        for again in (0, 1):
            with self.subTest(again=again):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1, leaves=0.5)
                self.round.host(self.hosts[1], since=0.6, leaves=0.9)
                self.round.launch(self.launches, 0.2, self.hosts[0])
                content = digest(self.round.plan.event(self.launches).args)
                self.round.write("got", self.hosts[again], 0.7, self.launches, content)
                self.assert_found("delivered twice")

    def test_a_launch_that_vanished(self):
        first, second = self.hosts
        self.round.host(first, since=0.1, leaves=0.9)
        self.round.host(second, since=1.0)
        self.kill(second, 1.4)
        self.round.launch(self.launches, 0.2, first, got="")
        self.round.launch(self.launches + 1, 0.3)
        self.assert_found("vanished", "vanished", "told before it was owned")

    def test_a_launch_that_was_told(self):
        words = "False 1 Socket_Singleton: nobody confirms"
        for delivered, found in ((False, "told"), (True, "told, and delivered")):
            with self.subTest(delivered=delivered):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1, leaves=0.9)
                self.round.launch(self.launches, 0.2, delivered and self.hosts[0], answer=words)
                self.assert_found(found)

    def test_a_host_that_was_a_second_launch_too(self):
        self.round.host(self.hosts[0], since=0.1, leaves=0.5)
        self.round.host(self.hosts[1], since=0.6, leaves=0.9)
        self.round.write("second", self.hosts[1], 0.91, "True 0 ")
        self.assert_found("host, and delivered", "told before it was owned")

    def test_a_launch_without_an_end(self):
        """Its process ended in the middle of it, and nobody had killed that."""
        for status, found in ((0, ["vanished"]), (70, ["told", *["a strange status"] * 2])):
            with self.subTest(status=status):
                self.setUp()
                self.round.launch(self.launches, 0.2, answer="")
                process = self.round.processes[self.launches - 1]
                process.status, process.ended = status, 0.3
                self.assert_found(*found)

    def test_a_launch_that_takes_too_long(self):
        self.round.launch(self.launches, 0.2, answer="")
        self.round.processes[self.launches - 1].ended = 21.0
        self.kill(self.launches, 20.9)
        self.assert_found("late", *["does not end"] * 2)

    def test_memory_that_grows(self):
        """What was allocated before the first look does not count; nor does a host that took few."""
        for launches, grown, found in (
            (MEASURED, GROWTH, []),
            (MEASURED, GROWTH + 1, ["memory grew"]),
            (MEASURED - 1000, GROWTH + 1, []),
        ):
            with self.subTest(launches=launches, grown=grown):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1, leaves=8.0)
                for seen in (0, 1000, launches):
                    self.round.write("memory", self.hosts[0], 0.5, 1000 + seen, 10**7 + seen * grown)
                self.assert_found(*found)
                self.assertEqual(self.round.counts["memory: hosts measured"], int(launches >= MEASURED))

    def test_the_same_number_has_the_same_role_and_arguments(self):
        one, again, other = (Plan(setting(seed=seed), long=False) for seed in ("7/0", "7/0", "8/0"))
        events = [one.event(number) for number in range(SPAN, SPAN + 1000)]
        self.assertEqual(events, [again.event(event.role.number) for event in events])
        self.assertNotEqual(events, [other.event(event.role.number) for event in events])
        for event in events:
            self.assertIn(f"launch {event.role.number};", (event.args[0], event.args[-1]))

    @unittest.skipUnless(
        sys.platform == "linux" and hasattr(signal, "sigtimedwait"), "the soak does not run here"
    )
    def test_processes_do_make_series(self):
        """A short round of each kind, with real launches: nothing is found, and something happened."""
        command = [sys.executable, "-m", "verification.soak", "--launches", "400", "--seed", "7"]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("verdict: no violation (seed 7)", done.stdout)
        [launches] = re.findall(r"^ *(\d+) launch$", done.stdout, re.MULTILINE)
        self.assertGreaterEqual(int(launches), 400)


class TestRound(unittest.TestCase):
    @unittest.skipUnless(hasattr(signal, "SIGKILL"), "this system has no SIGKILL")
    def test_who_is_killed_again_was_killed_when_it_was_first(self):
        """The end of a stop may kill who is not waited for yet; others may have the port by then."""
        forged = Forged()
        child = forged.children[forged.child(ended=0.0)]
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.addCleanup(process.communicate)
        one = Round(setting(), report=lambda: None)
        one.running[process.pid] = child
        one.kill(process.pid)
        first = child.killed
        one.kill(process.pid)
        self.assertIsNotNone(first)
        self.assertEqual(child.killed, first)


class TestSchedule(unittest.TestCase):
    def test_the_same_seed_gives_the_same_events(self):
        one, again, other = (list(schedule(setting(seed=seed))) for seed in ("7/0", "7/0", "8/0"))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_hosts_are_stopped_and_killed_in_rough_rounds_alone(self):
        for rough in (True, False):
            events = [
                event for number in range(3) for event in schedule(setting(seed=str(number), rough=rough))
            ]
            self.assertEqual(any(event.kind == "stop" for event in events), rough)
            self.assertEqual(any(event.stop_kills for event in events if event.kind == "stop"), rough)
            self.assertEqual(any(event.kill_after for event in events), rough)
            self.assertEqual(any(event.role.ending == "dies" for event in events), rough)


class TestMutations(unittest.TestCase):
    def test_each_fits_the_code(self):
        """Else the soak would be shown to find what was never there."""
        if not (ROOT / mutations.PACKAGE).is_dir():
            self.skipTest("there is no source tree beside these tests")
        for name, changes in mutations.MUTATIONS.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                mutations.mutate(Path(folder), changes)
                for change in changes:
                    path = mutations.PACKAGE / change.file
                    before, after = (
                        (base / path).read_text(encoding="utf-8") for base in (ROOT, Path(folder))
                    )
                    self.assertNotEqual(before, after)
                    compile(after, change.file, "exec")

    def test_one_that_does_not_fit_is_told(self):
        change = mutations.Change("_host.py", "this text is nowhere in it", "")
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(mutations.Stale):
            mutations.mutate(Path(folder), [change])


class TestSystemCalls(unittest.TestCase):
    def test_which_calls_are_seen(self):
        """From the first look at the key or the first socket on; not the words of the program itself."""
        lines = [
            '7 [ 262] newfstatat(AT_FDCWD, "/usr/lib", {}, 0) = 0',
            '7 [  19] readv(0, [{"\\n"}], 1) = 1',
            '7 [ 257] openat(AT_FDCWD, "/home/.local/state/Socket_Singleton/key", O_RDONLY) = 3',
            '7 [   0] read(3, "", 33) = 32',
            "7 [  41] socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 3",
            '7 [   1] write(1, "ready\\n", 6) = 6',
            '8 [  44] sendto(5, "", 1, 0, NULL, 0) = 1',
        ]
        for home, seen in (
            ("/home", ["openat", "read", "socket", "sendto"]),
            ("/other", ["socket", "sendto"]),
        ):
            with self.subTest(home=home):
                calls = system_calls.read_calls("\n".join(lines), "host", home)
                self.assertEqual([call.name for call in calls], seen)
                self.assertEqual(
                    [call.thread for call in calls if call.name in ("socket", "sendto")], ["main", "thread"]
                )

    def test_each_call_of_the_key_can_fail(self):
        line = 'AT_FDCWD, "/home/.local/state/Socket_Singleton/key"'
        for name in ("newfstatat", "openat", "mkdir", "write", "fsync", "link", "unlink", "read"):
            call = system_calls.Call("host", "main", name, 1, 0, line)
            self.assertTrue(system_calls.errnos_of(call), name)


class TestModel(unittest.TestCase):
    def test_each_step_stands_for_a_function_that_there_is(self):
        if not (ROOT / mutations.PACKAGE).is_dir():
            self.skipTest("there is no source tree beside these tests")
        self.assertEqual(handover.missing_functions(), [])

    def test_a_function_that_is_gone_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder, "model.pml")
            model.write_text(
                "/* src: _client.Endpoint.claim */ /* src: _client.Endpoint.went */ // src: _gone.f\n"
            )
            self.assertEqual(handover.missing_functions(model), ["_client.Endpoint.went", "_gone.f"])
            model.write_text("")
            self.assertEqual(handover.missing_functions(model), ["(it names none)"])
