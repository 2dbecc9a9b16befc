"""What is measured. A step with one subject gives a figure for each metric, or says that it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.plan import Measurement

from . import hand_off, hosts, starts

if TYPE_CHECKING:
    from benchmarks.processes import Bench


def measurements(bench: Bench) -> list[Measurement]:
    """Return all of them: first what a person notices."""
    plan, n = bench.plan, bench.plan.rounds
    p, host = plan.processes, starts.running_host
    beside = f"Beside stalled peers, from {hand_off.BESIDE} senders"
    idle_n, growth_n = min(plan.idle_rounds, n), min(plan.growth_rounds, n)
    launch, elsewhere = starts.step_launch, starts.step_launch_elsewhere
    rows = [
        (1, "A second launch", starts.LAUNCH, launch, n, p, host),
        (2, "A second launch on other interpreters", starts.on_others(bench), elsewhere, n, p, host),
        (3, "Import", starts.IMPORT, starts.step_import, n, p),
        (4, "Command line", starts.COMMANDS, starts.step_command, n, p, host),
        (5, "Hand-off, one launch per millisecond", hand_off.HAND_OFF, hand_off.step_hand_off, n),
        (6, "Launches per second", hand_off.rates(plan), hand_off.step_rate, n),
        (7, beside, hand_off.beside_stalled(plan), hand_off.step_stalled, n),
        (8, "Taking the lock", starts.LOCK, starts.step_lock, n, p),
        (9, "Size: hand-off, and copies in memory", hand_off.sizes(plan), hand_off.step_size, n),
        (10, "Idle host", hosts.IDLE, hosts.step_idle, idle_n, 1, hosts.idle_host),
        (11, "Growth: hand-off, and memory", hand_off.growth(plan), hand_off.step_growth, growth_n),
        (12, "Change of host", hosts.CHANGE, hosts.step_change, n),
    ]
    return [Measurement(*row) for row in rows if row[2]]
