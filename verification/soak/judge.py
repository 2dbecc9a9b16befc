"""Judges a completed round: by its log, the exit statuses, and what was written to stderr.

1. *Never two hosts.* A host surely held the port from the moment its constructor
had returned to the earliest of these: it was about to release; it was about to
be killed; its timeout, counted from before the constructor; the last check at
which it was below its threshold. Two such times must not overlap. All of them
are read from the monotonic clock, which Linux shares between all processes.
2. *No launch vanishes.* A launch was the host; or it ended with status 0 and
its arguments are in the log exactly once, written by an observer or found in
`arguments` after `release`; or it ended with another status and gave the reason.
The last must not happen here, since there is always a host, or the port is
free. There are excuses: what a host owned when it was killed is lost with it, if
the log says that it owned it; and a launch that waited for stopped hosts for much
of its time may fail with a message, and still be delivered when that host continues.
Every other round has no kills and stops, and so none of these excuses. A launch that
asks ends with what its owner's observer returned, or with the message that this host
has gone; the latter only if that observer had not begun when the host released, or
did not live on.
3. *Owned, then acknowledged.* What was acknowledged had been owned before.
4. *Never twice, never changed.* No launch is in the log twice; each is there as
it was sent; nothing is there that did not end its stream, had the wrong secret,
showed a false proof (which is answered by NAK), or was answered by a reset.
5. *What is not owned ends with a reset.* No peer with a good packet sees an orderly
end without an answer, however the host ends.
6. *In time, and quietly.* Each launch ends within `LAUNCH_TIME`, and each host's
threads with its release; stderr is empty except for a launch that failed; the
port is free when all processes have ended.

The machine itself may stand still for a while, and a launch has only 2 seconds. If
the supervisor had to wait for long too, a launch that failed or was late is counted,
but is not a violation.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, NamedTuple

from .schedule import KILLED, LAUNCHES, STATUSES

if TYPE_CHECKING:
    from .record import Child, Record

# Seconds from the constructor of a launch to the end of its process, or until it is the
# host. It has 2 for the network; the rest is for an interpreter to end while two dozen
# of them share two busy cores.
LAUNCH_TIME = 3.5
# Seconds of its 2 that a launch must have waited for stopped hosts to fail: more than one
# stop, or one of the long ones. It begins no other attempt in the last half second; in the
# time left, a host that continues may have many others to answer first, or be killed and
# leave them to the next one, which is busy as well.
STOP_EXCUSES = 0.8
# Seconds of its 2 in which the machine had no time even for the supervisor, for a launch to fail
# or be late: as long as it has for an answer.
STALLS_EXCUSE = 0.5
# A child that takes longer is a violation; the supervisor then kills it.
CHILD_TIME = 20.0

LOST = "lost with a killed host"
# The message of a launch that asked when its host has gone.
OWNED_AND_LOST = "has accepted this launch, but the connection ended without an answer"


class Tenure:
    """The time in which a host surely held the port."""

    def __init__(self, child: Child, before: float, since: float) -> None:
        self.child = child
        self.before = before
        self.since = since
        self.leaves: list[float] = []
        self.holds = before

    @property
    def until(self) -> float:
        """The earliest moment at which it may have given up the port."""
        role = self.child.role
        ends = [*self.leaves, self.child.ended]
        if self.child.killed is not None:
            ends.append(self.child.killed)
        if role.ending == "timeout":
            ends.append(self.before + role.life)
        if role.ending == "threshold":
            ends.append(self.holds)
        return min(ends)


class Arrival(NamedTuple):
    """One launch at one host."""

    host: int
    time: float
    what: str  # got (by an observer), left (found in `arguments`), late (the same, long after release)
    digest: str


class Owner(NamedTuple):
    """A host that was about to own a launch."""

    host: Child
    time: float


class Answer(NamedTuple):
    """The outcome that a launch or a friend reported, and when."""

    time: float
    text: str


class Judge:
    """Judges a round; what it finds is in ``violations`` and ``counts``."""

    def __init__(self, record: Record, counts: dict[str, int]) -> None:
        self.counts = counts
        self.violations: list[str] = []
        self._record = record
        self._children = record.children
        self._launches = [child for child in record.children.values() if child.kind in LAUNCHES]
        self._tenures: dict[int, Tenure] = {}
        self._arrivals: dict[int, list[Arrival]] = collections.defaultdict(list)
        self._owners: dict[int, list[Owner]] = collections.defaultdict(list)
        self._answers: dict[int, Answer] = {}
        self._begins: dict[int, float] = {}  # when launches reached their constructor
        for line in record.lines:
            what, number, when, *more = line.split(" ")
            self._read(what, self._children[int(number)], float(when), more)

    def judge(self) -> None:
        self._never_two_hosts()
        self._no_launch_vanishes()
        self._friends_are_answered_truly()
        self._owned_then_acknowledged()
        self._never_twice_never_changed()
        self._nobody_is_late()
        self._no_noise()
        if self._record.port_error:
            self.violations.append(f"the port is not free after a round: {self._record.port_error}")
        self.counts["times that a host was stopped"] += len(self._record.stops)
        for child in self._children.values():
            self.counts[child.kind] += 1

    # -- the log --

    def _read(self, what: str, child: Child, when: float, more: list[str]) -> None:
        if what == "begins":
            self._begins[child.number] = when
        elif what == "host":
            self._tenures[child.number] = Tenure(child, float(more[0]), when)
        elif what == "leaves":
            self._tenures[child.number].leaves.append(when)
        elif what == "dies":
            child.killed = when
        elif what == "holds":
            self._tenures[child.number].holds = float(more[0])
        elif what in ("second", "friend"):
            self._answers[child.number] = Answer(when, more[0])
        elif what == "proof":
            self.counts[f"false proofs: {more[0]}"] += 1
            if more[0] != "ignored":
                self._violation("a false proof had the wrong answer", child, more[0])
        elif what == "stuck":
            self._violation("a thread outlives release", child, f"thread {more[0]}")
        else:
            self._read_launch(what, child, when, *more)

    def _read_launch(self, what: str, host: Child, when: float, name: str, content: str) -> None:
        if name == "stray":
            self.counts["strays"] += what != "owned"
            if self._record.setting.secret or self._record.setting.name:
                self._violation("a stranger was owned", host, content)
        elif what == "owned":
            self._owners[int(name)].append(Owner(host, when))
        else:
            self._arrivals[int(name)].append(Arrival(host.number, when, what, content))

    # -- the promises --

    def _never_two_hosts(self) -> None:
        last: Tenure | None = None
        for tenure in sorted(self._tenures.values(), key=lambda tenure: tenure.since):
            self.counts["hosts"] += 1
            self.counts[f"hosts, by {tenure.child.role.ending}"] += 1
            self.counts["killed hosts"] += tenure.child.killed is not None
            if tenure.until <= tenure.since:
                continue  # it may have given up the port before it could say that it had it
            self.counts["hosts whose time was checked"] += 1
            if last is not None and tenure.since < last.until:
                overlap = min(last.until, tenure.until) - tenure.since
                self._violation("two hosts", tenure.child, f"{overlap:.6f} s beside {last.child}")
            if last is None or tenure.until > last.until:
                last = tenure

    def _no_launch_vanishes(self) -> None:
        for child in self._launches:
            answer = self._answers.get(child.number)
            if child.number in self._tenures:
                if self._arrivals[child.number] or answer is not None:
                    self._violation("host, and delivered", child)
            elif child.killed is not None:
                self.counts["killed launches"] += 1
            elif child.role.asks and OWNED_AND_LOST in child.err:
                self._was_left_without_answer(child)
            elif child.status and not self._was_answered(child):
                self._failed(child)
            elif answer is not None and answer.text == "None":
                self._violation("an orderly end without an answer", child)
            else:
                self._was_owned(child)

    def _was_answered(self, child: Child) -> bool:
        """Whether the status is the one that the observer of its owner has returned."""
        owners = self._owners[child.number]
        return any(child.status == STATUSES.get(owner.host.role.observer) for owner in owners)

    def _was_left_without_answer(self, child: Child) -> None:
        """Judge a launch that asked and reports that its owner has gone."""
        self._was_owned(child)
        self.counts["owned, and left without an answer"] += 1
        if not any(self._end_of(owner.host) <= child.ended for owner in self._owners[child.number]):
            self._violation("left without an answer by a host that lived on", child)
        elif any(self._was_called(arrival) for arrival in self._arrivals[child.number]):
            self._violation("left without an answer by an observer that had begun", child)

    def _was_called(self, arrival: Arrival) -> bool:
        """Whether an observer had the launch before its host released, and then lived long enough."""
        host, tenure = self._children[arrival.host], self._tenures.get(arrival.host)
        if tenure is None or not tenure.leaves or host.killed or host.role.ending in ("exit", *KILLED):
            return False
        return arrival.what == "got" and arrival.time < min(tenure.leaves)

    def _end_of(self, host: Child) -> float:
        """Return the earliest moment at which a host may have ended."""
        tenure = self._tenures.get(host.number)
        if tenure is not None:
            return tenure.until
        # It serves before its constructor returns, and was killed before it could report being the host.
        return host.ended if host.killed is None else host.killed

    def _failed(self, child: Child) -> None:
        arrived = bool(self._arrivals[child.number])
        words = "failed with a message, and delivered" if arrived else "failed with a message"
        if self._waited_for_stopped(child):
            self.counts[f"{words}, as the host was stopped"] += 1
        elif self._stalled(child):
            self.counts[f"{words}, as the machine stalled"] += 1
        else:
            self._violation(words, child)

    def _was_owned(self, child: Child) -> None:
        if self._arrivals[child.number]:
            self.counts["delivered"] += 1
        elif any(owner.host.killed is not None for owner in self._owners[child.number]):
            self.counts[LOST] += 1
        else:
            self._violation("vanished", child)

    def _friends_are_answered_truly(self) -> None:
        named = bool(self._record.setting.name)  # such a host ignores peers without a proof
        for child in self._children.values():
            if child.kind != "friend" or child.number not in self._answers:
                continue
            answer = self._answers[child.number].text
            self.counts[f"friends: {answer}"] += 1
            if answer == "owned" and not named:
                self._was_owned(child)
            elif answer == "nobody" or (answer == "ignored" and named):
                if self._arrivals[child.number]:
                    self._violation(f"answered by {answer}, and delivered", child)
            elif answer == "closed":
                self._violation("an orderly end without an answer", child)
            elif not (answer == "silent" and (self._stalled(child) or self._was_stopped(child))):
                self._violation("a packet had the wrong answer", child, answer)

    def _owned_then_acknowledged(self) -> None:
        for number, answer in self._answers.items():
            if answer.text not in ("True", "owned"):
                continue
            if not any(owner.time <= answer.time for owner in self._owners[number]):
                self._violation("acknowledged before it was owned", self._children[number])

    def _never_twice_never_changed(self) -> None:
        for number, arrivals in self._arrivals.items():
            child = self._children[number]
            self.counts["found in arguments"] += arrivals[0].what == "left" if arrivals else 0
            if len(arrivals) > 1:
                self._violation("delivered twice", child, str(arrivals))
            for arrival in arrivals:
                if arrival.what == "late":
                    self._violation("delivered after release", child, str(arrival))
                if child.kind not in (*LAUNCHES, "friend"):
                    self._violation("delivered, and never was a whole packet", child, str(arrival))
                elif arrival.digest != child.digest:
                    self._violation("changed on the way", child, str(arrival))

    def _nobody_is_late(self) -> None:
        for child in self._launches:
            tenure = self._tenures.get(child.number)
            begin = self._begins.get(child.number, child.ended)
            if child.role.asks:  # it waits as long as its host lives
                begin = max([begin, *(owner.host.ended for owner in self._owners[child.number])])
            took = (tenure.since if tenure else child.ended) - begin
            name = "longest launch, ms"
            self.counts[name] = max(self.counts[name], round(took * 1000))
            if took > LAUNCH_TIME:
                if self._stalled(child):
                    self.counts["late as the machine stalled"] += 1
                else:
                    self._violation("late", child, f"{took:.3f} s")

    def _no_noise(self) -> None:
        for child in self._children.values():
            lines = child.err.splitlines()
            # It gives the reason just before it ends; a kill may come in between.
            failed = child.kind in LAUNCHES and (child.status == 1 or (child.killed is not None and lines))
            fine = len(lines) == 1 and lines[0].startswith("Socket_Singleton: ") if failed else not lines
            if not fine:
                self._violation("noise on stderr", child)
            strange = child.status and not failed and not (child.role.asks and self._was_answered(child))
            if strange and child.killed is None:
                self._violation("a strange status", child)
            if child.ended - child.began > CHILD_TIME:
                self._violation("does not end", child)

    # -- explanations and reports --

    def _stalled(self, child: Child) -> bool:
        return sum(stall.shared(child) for stall in self._record.stalls) >= STALLS_EXCUSE

    def _was_stopped(self, child: Child) -> bool:
        return any(stop.shared(child) for stop in self._record.stops)

    def _waited_for_stopped(self, child: Child) -> bool:
        return sum(stop.shared(child) for stop in self._record.stops) >= STOP_EXCUSES

    def _violation(self, what: str, child: Child, more: str = "") -> None:
        """Note a violation, with everything that may explain it; times are seconds since the child began."""

        def since(when: float) -> str:
            return f"{when - child.began:+.4f}"

        lines = [f"{what}: {child}", *([more] if more else []), *child.err.splitlines()[-5:]]
        lines += [
            f"owned by {owner.host.number} at {since(owner.time)}" for owner in self._owners[child.number]
        ]
        lines += [f"{a.what} by {a.host} at {since(a.time)}" for a in self._arrivals[child.number]]
        if child.number in self._answers:
            answer = self._answers[child.number]
            lines.append(f"answer: {answer.text} at {since(answer.time)}")
        for stop in self._record.stops:
            if stop.shared(child):
                lines.append(f"a host was stopped from {since(stop.start)} to {since(stop.end)}")
        for tenure in self._tenures.values():
            if tenure.since < child.ended + 0.1 and tenure.child.ended > child.began - 0.1:
                role = tenure.child.role
                held = (
                    f"from {since(tenure.since)} to {since(tenure.until)}, ended {since(tenure.child.ended)}"
                )
                lines.append(f"host {tenure.child.number} ({role.ending}, {role.observer}): {held}")
        self.violations.append(f"round {self._record.setting.seed}: " + "\n    ".join(lines))
