"""From a launch that is made to the call of the observer: hand-off, rates, sizes, growth."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any, Callable, Sequence

from benchmarks.plan import MIB, Cannot, Metric, Plan, short
from benchmarks.processes import Bench, Child, peak, status
from benchmarks.subjects import SUBJECTS

from .starts import SILENCE

SENDER_TIME = 60  # seconds for senders, and per launch
LAUNCH_TIME = 0.01

TRICKLE = 1_000_000  # nanoseconds from launch to launch
LAST = 200  # launches that are measured of many
SMALL = 64  # bytes of a launch where its size is not what matters: one file name
BESIDE = 4  # senders, beside stalled peers

HAND_OFF = [Metric("p50", "p50", "us"), Metric("p99", "p99", "us")]


def columns(values: Sequence[int], key: str, title: str, unit: str, higher: bool = False) -> list[Metric]:
    return [Metric(f"{key} {value}", title.format(value), unit, higher) for value in values]


def rates(plan: Plan) -> list[Metric]:
    return columns(plan.senders, "senders", "senders: {}", "launches/s", True)


def beside_stalled(plan: Plan) -> list[Metric]:
    return columns(plan.stalled, "stalled", "stalled peers: {}", "launches/s", True)


def sizes(plan: Plan) -> list[Metric]:
    times = [Metric(f"size {size}", short(size), "ms") for size in plan.sizes]
    # The kernel counts pages: of 1,000 bytes they say nothing.
    copies = [Metric(f"copies {size}", f"{short(size)}, peak", "copies") for size in plan.sizes[1:]]
    return [*times, *copies]


def growth(plan: Plan) -> list[Metric]:
    last = columns(plan.growth, "growth", "last of {:,}", "us")
    return [*last, *columns(plan.growth, "memory", "memory after {:,}", "MiB")]


def hand_over(
    host: Child, sender: Child, count: int, size: int, period: int = 0, keep: int = 0
) -> dict[str, Any]:
    """Have one sender send ``count`` launches; return what the host has to say of them."""
    host.ask("expect", count, size, keep or count)
    sender.ask("send", count, period, size, seconds=SENDER_TIME + count * LAUNCH_TIME)
    return settled(host, count)


def settled(host: Child, count: int) -> dict[str, Any]:
    """Return what has come, when all has or nothing more comes."""
    before, seen = -1, {"count": 0}
    while before < seen["count"] < count:
        before, seen = seen["count"], host.ask("wait", SILENCE)
    return seen


def only_who_hands_over(subject: str) -> None:
    if not SUBJECTS[subject].hands_over:
        raise Cannot("hands nothing over")


def step_hand_off(bench: Bench, subject: str, _: None) -> dict[str, float]:
    only_who_hands_over(subject)
    count, place = bench.plan.trickle, bench.place()
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        sender = bench.ready("sender", subject, place, stack)
        hand_over(host, sender, 1, SMALL)  # what is done only once is not what is measured
        seen = hand_over(host, sender, count, SMALL, period=TRICKLE)
    for metric in ("p50", "p99"):
        bench.missed(subject, metric, count - seen["count"])
    if seen["count"] < 2:
        raise Cannot("serves nothing")
    hundredths = statistics.quantiles(seen["delays"], n=100)
    return {"p50": hundredths[49] / 1e3, "p99": hundredths[98] / 1e3}


def rate(bench: Bench, subject: str, metric: str, senders: int, stalled: int = 0) -> float:
    """Return the launches per second from ``senders`` senders beside ``stalled`` peers."""
    each, place = bench.plan.burst // senders, bench.place()
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        hands = [stack.enter_context(bench.agent("sender", subject, place)) for _ in range(senders)]
        for hand in hands:
            hand.answer()
        host.ask("expect", each * senders, SMALL, 1)
        peers = bench.ready("staller", subject, place, stack) if stalled else None
        if peers:
            peers.ask("connect", stalled)
        begin = time.monotonic_ns()
        for hand in hands:
            hand.tell("send", each, 0, SMALL)
        if not host.ask("wait", SILENCE)["count"]:
            raise Cannot(
                f"serves nothing within {SILENCE} s" + f" beside {stalled} stalled peers" * bool(stalled)
            )
        for hand in hands:
            hand.answer(SENDER_TIME)
        seen = settled(host, each * senders)
        left = peers.ask("left") if peers else stalled
    if left < stalled:
        bench.notes.append(f"{subject}: {left} of {stalled} stalled peers were there at the end")
    bench.missed(subject, metric, each * senders - seen["count"])
    return seen["count"] / (seen["last"] - begin) * 1e9


def for_each(
    bench: Bench, subject: str, metric: str, values: Sequence[int], figure: Callable[[str, int], float]
) -> dict[str, Any]:
    """Return a figure, or why there is none, for each of ``values``."""
    only_who_hands_over(subject)
    figures: dict[str, Any] = {}
    for value in values:
        key = f"{metric} {value}"
        try:
            if (subject, key) in bench.hopeless:
                raise bench.hopeless[subject, key]
            figures[key] = figure(key, value)
        except Cannot as error:
            figures[key] = bench.hopeless[subject, key] = error
    return figures


def step_rate(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    def figure(key: str, senders: int) -> float:
        return rate(bench, subject, key, senders)

    return for_each(bench, subject, "senders", bench.plan.senders, figure)


def step_stalled(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    if not SUBJECTS[subject].stallers:
        raise Cannot("its name says where it is")

    def figure(key: str, stalled: int) -> float:
        return rate(bench, subject, key, BESIDE, stalled)

    return for_each(bench, subject, "stalled", bench.plan.stalled, figure)


def step_size(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    copies: dict[str, Any] = {}

    def figure(key: str, size: int) -> float:
        place = bench.place()
        with contextlib.ExitStack() as stack:
            host = bench.ready("host", subject, place, stack)
            sender = bench.ready("sender", subject, place, stack)
            hand_over(host, sender, 1, SMALL)
            copies[f"copies {size}"] = copies_of(size, host, sender)
            seen = hand_over(host, sender, bench.plan.each, size)
        if seen["wrong"] or not seen["count"]:
            raise Cannot(f"of {short(size)} something else arrives")
        bench.missed(subject, key, bench.plan.each - seen["count"])
        return statistics.median(seen["delays"]) / 1e6

    figures = for_each(bench, subject, "size", bench.plan.sizes, figure)
    for size in bench.plan.sizes[1:]:
        time_ = figures[f"size {size}"]
        figures[f"copies {size}"] = time_ if isinstance(time_, Cannot) else copies[f"copies {size}"]
    return figures


def copies_of(size: int, host: Child, sender: Child) -> Any:
    """Return what the next launch adds to the peak of the host's memory, in sizes of that launch."""
    host.ask("expect", 1, size, 1)  # what it compares with is in its memory before
    try:
        before = peak(host.pid, reset=True)
        sender.ask("send", 1, 0, size, seconds=SENDER_TIME)
        settled(host, 1)
        return (peak(host.pid) - before) / size
    except Cannot as error:
        return error


def step_growth(bench: Bench, subject: str, _: None) -> dict[str, Any]:
    only_who_hands_over(subject)
    place, sent, figures = bench.place(), 0, {}
    with contextlib.ExitStack() as stack:
        host = bench.ready("host", subject, place, stack)
        sender = bench.ready("sender", subject, place, stack)
        for count in bench.plan.growth:
            last = min(count - sent, LAST)
            others = count - sent - last
            seen = hand_over(host, sender, others, SMALL, keep=1) if others else {"count": 0}
            lost = others - seen["count"]
            seen = hand_over(host, sender, last, SMALL, period=TRICKLE)
            bench.missed(subject, f"growth {count}", lost + last - seen["count"])
            sent = count
            figures[f"growth {count}"] = statistics.median(seen["delays"]) / 1e3
            try:
                figures[f"memory {count}"] = status(host.pid, "VmRSS") / MIB
            except Cannot as error:
                figures[f"memory {count}"] = error
    return figures
