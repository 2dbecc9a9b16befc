"""Tests of the soak's judge: forged logs with one mistake each, and one without."""

from __future__ import annotations

import collections
import re

from verification.soak.judge import LAUNCH_TIME, OWNED_AND_LOST, STALLS_EXCUSE, STOP_EXCUSES, Judge
from verification.soak.record import Child, Record, Span
from verification.soak.schedule import STATUSES, Event, Role, Setting, digest
from verification.soak.series import GROWTH, MEASURED, SPAN, Plan, judge_record

from .support import SilentTestCase

KILL = -9


def setting(seed="forged", name="", secret="", rough=True) -> Setting:
    return Setting(seed, "", "127.0.0.1", 1, name, secret, rough)


class ForgedLog:
    """What the processes of an imaginary round wrote. Times are in seconds since its beginning."""

    def __init__(self) -> None:
        self.children: dict = {}
        self.lines: list = []

    def add(self, number: int, event: Event, began: float, ended: float, **more) -> None:
        child = self.children[number] = Child(event, began)
        child.ended = ended
        for name, value in more.items():
            assert hasattr(child, name)
            setattr(child, name, value)

    def write(self, what: str, number: int, when: float, *more: object) -> None:
        self.lines.append(" ".join(map(str, [what, number, f"{when:.9f}", *more])))

    def found(self) -> list:
        """Return the judge's findings, without the explanations."""
        counts: dict = collections.defaultdict(int)
        found = self.judge(counts)
        self.counts = dict(counts)
        return [re.sub(r"^round forged: ([^:]+).*", r"\1", text, flags=re.DOTALL) for text in found]


class ForgedCase(SilentTestCase):
    """Lets the judge judge ``round``."""

    round: ForgedLog

    def assert_found(self, *expected: str) -> None:
        self.assertEqual(sorted(self.round.found()), sorted(expected))


class Forged(ForgedLog):
    def __init__(self, **options) -> None:
        super().__init__()
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
        self.add(number, event, began, ended, **more)
        return number

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

    def failed(self, **more) -> int:
        words = "Socket_Singleton: nobody confirms\n"
        return self.launch(answer="False", status=1, err=words, **more)

    def arrives(self, host: int, number: int, owned=0.25, got=0.27, what="got", content=None) -> None:
        content = content or digest((f"launch {number};",))
        if owned:
            self.write("owned", host, owned, number, content)
        if got:
            self.write(what, host, got, number, content)

    def judge(self, counts: dict) -> list:
        record = Record(self.setting, self.children, self.lines, self.stalls, self.stops, self.port_error)
        judge = Judge(record, counts)
        judge.judge()
        return judge.violations


class TestJudge(ForgedCase):
    def setUp(self) -> None:
        self.round = Forged()

    # -- nothing to find --

    def test_a_clean_log_passes(self):
        """One launch of each kind, including a friend, two successive hosts, and one that is killed."""
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

    def test_a_host_that_dies_in_its_observer_logs_it(self):
        host = self.round.host(leaves=0.6, status=KILL, ending="dies")
        self.round.write("dies", host, 0.49)
        self.round.host(since=0.5)
        self.assert_found()

    # -- launches --

    def test_a_launch_delivered_twice(self):
        """By one host, and by two successive hosts."""
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
        self.assert_found("vanished", "acknowledged before it was owned")

    def test_a_launch_that_vanished_with_a_host_that_was_not_killed(self):
        self.round.arrives(self.round.host(), self.round.launch(), got=0)
        self.assert_found("vanished")

    def test_a_kill_excuses_only_what_that_host_owned(self):
        self.round.host(leaves=0.4, ending="killed", killed=0.35, status=KILL)
        self.round.arrives(self.round.host(since=0.5, leaves=1.5), self.round.launch(), got=0)
        self.assert_found("vanished")

    def test_a_host_that_was_also_delivered(self):
        first = self.round.host()
        self.round.arrives(first, self.round.host(since=0.91, leaves=1.5))
        self.assert_found("host, and delivered")

    def test_a_launch_that_failed(self):
        self.round.host()
        self.round.failed()
        self.assert_found("failed with a message")

    def test_a_launch_that_failed_and_was_delivered_all_the_same(self):
        self.round.arrives(self.round.host(), self.round.failed())
        self.assert_found("failed with a message, and delivered")

    def test_only_a_long_stop_excuses_a_launch_that_failed(self):
        for length, found in ((STOP_EXCUSES - 0.1, ["failed with a message"]), (STOP_EXCUSES + 0.1, [])):
            with self.subTest(length=length):
                self.round = Forged()
                self.round.host(leaves=3)
                self.round.failed(began=0.2, answered=2.2)
                self.round.stops.append(Span(0.3, 0.3 + length))
                self.assert_found(*found)

    def test_a_stop_does_not_excuse_a_second_delivery(self):
        host, launch = self.round.host(leaves=3), self.round.failed(began=0.2, answered=2.2)
        self.round.stops.append(Span(0.3, 2.4))
        self.round.arrives(host, launch, owned=2.5, got=2.6)
        self.round.arrives(host, launch, owned=2.5, got=2.6)
        self.assert_found("delivered twice")

    def test_a_stall_of_the_machine_excuses_a_launch_that_failed(self):
        for length, found in ((STALLS_EXCUSE - 0.1, ["failed with a message"]), (STALLS_EXCUSE + 0.1, [])):
            with self.subTest(length=length):
                self.round = Forged()
                self.round.host(leaves=3)
                self.round.failed(began=0.2, answered=2.2)
                self.round.stalls += [Span(0.3, 0.4), Span(1.0, 0.9 + length)]
                self.assert_found(*found)

    def test_a_launch_that_was_acknowledged_too_early(self):
        self.round.arrives(self.round.host(), self.round.launch(answered=0.3), owned=0.301, got=0.302)
        self.assert_found("acknowledged before it was owned")

    def test_an_orderly_end_without_an_answer(self):
        """Even near a kill, which ends what is not owned with a reset."""
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

    def test_an_answer_is_what_its_owners_observer_returned(self):
        for observer, found in (
            ("raises", []),
            ("quick", ["a strange status", "failed with a message, and delivered"]),
        ):
            with self.subTest(observer=observer):
                self.round = Forged(name="org.example.soak")
                host = self.round.host(observer=observer)
                self.round.arrives(host, self.round.launch(asks=True, status=STATUSES["raises"]))
                self.assert_found(*found)

    def test_only_the_end_of_its_owner_leaves_a_launch_without_an_answer(self):
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        for leaves, found in ((0.225, []), (0.9, ["left without an answer by a host that lived on"])):
            with self.subTest(leaves=leaves):
                self.round = Forged(name="org.example.soak")
                host = self.round.host(leaves=leaves)
                launch = self.round.launch(asks=True, status=1, err=words)
                self.round.arrives(host, launch, owned=0.22, got=0.23)
                self.assert_found(*found)

    def test_an_observer_that_has_begun_answers_even_after_the_release(self):
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        begun = ["left without an answer by an observer that had begun"]
        for got, ending, found in ((0.24, "release", begun), (0.26, "release", []), (0.24, "exit", [])):
            with self.subTest(got=got, ending=ending):
                self.round = Forged(name="org.example.soak")
                host = self.round.host(leaves=0.25, ending=ending)
                launch = self.round.launch(asks=True, status=1, err=words)
                self.round.arrives(host, launch, owned=0.22, got=got)
                self.assert_found(*found)

    def test_an_owner_that_was_killed_before_it_reported_being_the_host(self):
        words = f"Socket_Singleton: it {OWNED_AND_LOST}\n"
        for killed, found in ((0.25, []), (0.9, ["left without an answer by a host that lived on"])):
            with self.subTest(killed=killed):
                self.round = Forged(name="org.example.soak")
                host = self.round.child(ending="killed", killed=killed, status=KILL)
                launch = self.round.launch(asks=True, status=1, err=words)
                self.round.arrives(host, launch, owned=0.22, got=0)
                self.assert_found(*found)

    def test_a_launch_that_asked_and_vanished(self):
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

    def test_a_host_with_a_name_owns_no_packet_without_one(self):
        self.round = Forged(name="org.example.soak")
        self.round.write("friend", self.round.child("friend"), 0.3, "ignored")
        self.assert_found()
        friend = self.round.child("friend")
        self.round.arrives(self.round.host(), friend)
        self.round.write("friend", friend, 0.5, "owned")
        self.assert_found("a packet had the wrong answer")

    def test_an_incomplete_packet_that_is_delivered(self):
        self.round.arrives(self.round.host(), self.round.child("reset"))
        self.assert_found("delivered, and never was a whole packet")

    def test_a_false_proof_that_is_not_refused(self):
        wrong = ["a false proof had the wrong answer"]
        for answer, found in (("ignored", []), ("owned", wrong), ("closed", wrong)):
            with self.subTest(answer=answer):
                self.round = Forged(name="org.example.soak")
                self.round.write("proof", self.round.child("hello"), 0.5, answer)
                self.assert_found(*found)

    def test_strangers_are_owned_only_if_nothing_keeps_them_out(self):
        for more, found in (({}, []), ({"secret": "s"}, ["a stranger was owned"])):
            with self.subTest(**more):
                self.round = Forged(**more)
                self.round.write("owned", self.round.host(), 0.5, "stray", "1:1:00000000")
                self.assert_found(*found)

    # -- ends --

    def test_noise_strange_statuses_and_processes_that_do_not_end(self):
        for what, more in (
            ("noise on stderr", {"err": "Traceback\n"}),
            ("a strange status", {"status": 70}),
            ("does not end", {"ended": 21.0}),
        ):
            with self.subTest(what):
                self.round = Forged()
                self.round.child("garbage", **more)
                self.assert_found(what)

    def test_a_launch_may_be_killed_after_it_gave_the_reason(self):
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


class ForgedSeries(ForgedLog):
    """A round of series; its children are the processes that run them."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def process(self) -> int:
        """Add a process, and return the number of its first launch."""
        number = (len(self.children) + 1) * SPAN
        self.add(number, self.plan.event(number)._replace(kind="series"), 0.0, 9.0)
        return number + 1

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

    def judge(self, counts: dict) -> list:
        return judge_record(self.plan, Record(setting(), self.children, self.lines, [], []), counts)


class TestSeries(ForgedCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.plan = Plan(setting(), long=False)

    def setUp(self) -> None:
        self.round = ForgedSeries(self.plan)
        # With roles that end neither by a timeout nor by a threshold, which report their end differently.
        self.hosts = [self.number_of("release"), self.number_of("release")]
        self.launches = self.round.process()

    def number_of(self, *endings: str) -> int:
        number = self.round.process()
        while self.round.plan.event(number).role.ending not in endings:
            number += 1
        return number

    def kill(self, number: int, when: float) -> None:
        process = self.round.children[number // SPAN * SPAN]
        process.killed, process.ended, process.status = when, when + 0.01, KILL

    def test_a_clean_log_passes(self):
        """Two successive hosts, the second of which is killed, and a launch of each kind."""
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

    def test_a_host_exists_until_its_process_is_killed(self):
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
        self.round.children[host // SPAN * SPAN].status = KILL
        self.round.host(self.hosts[1], since=0.41, leaves=1.5)
        self.assert_found()

    def test_a_launch_delivered_twice(self):
        """By one host, and by two successive hosts."""
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
        self.assert_found("vanished", "vanished", "acknowledged before it was owned")

    def test_a_launch_that_failed(self):
        words = "False 1 Socket_Singleton: nobody confirms"
        for delivered, found in (
            (False, "failed with a message"),
            (True, "failed with a message, and delivered"),
        ):
            with self.subTest(delivered=delivered):
                self.setUp()
                self.round.host(self.hosts[0], since=0.1, leaves=0.9)
                self.round.launch(self.launches, 0.2, delivered and self.hosts[0], answer=words)
                self.assert_found(found)

    def test_a_host_that_was_also_a_second_launch(self):
        self.round.host(self.hosts[0], since=0.1, leaves=0.5)
        self.round.host(self.hosts[1], since=0.6, leaves=0.9)
        self.round.write("second", self.hosts[1], 0.91, "True 0 ")
        self.assert_found("host, and delivered", "acknowledged before it was owned")

    def test_a_launch_without_an_end(self):
        """Its process ended in the middle of it without being killed."""
        for status, found in ((0, ["vanished"]), (70, ["failed with a message", *["a strange status"] * 2])):
            with self.subTest(status=status):
                self.setUp()
                self.round.launch(self.launches, 0.2, answer="")
                process = self.round.children[self.launches - 1]
                process.status, process.ended = status, 0.3
                self.assert_found(*found)

    def test_a_launch_that_takes_too_long(self):
        self.round.launch(self.launches, 0.2, answer="")
        self.round.children[self.launches - 1].ended = 21.0
        self.kill(self.launches, 20.9)
        self.assert_found("late", *["does not end"] * 2)

    def test_memory_that_grows(self):
        """Memory from before the first measurement does not count, nor does a host with few launches."""
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
