"""Every crash point: each program is killed at every single message boundary of three steps, and all pairs within one step.

python -m tests.simulation.crash_points            all of it, with counts
python -m tests.simulation.crash_points --every 7  every seventh point
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time
from dataclasses import dataclass

from coordinator.core.run_plan import RunPlan
from tests.networks import settings_of, xor_data
from tests.simulation.dice import Dice
from tests.simulation.invariants import Violation, Watch
from tests.simulation.plans import reference_of, simulated
from tests.simulation.run_seed import check_success
from tests.simulation.world import World

STEPS = 4
SWEPT_STEPS = 3
THE_PAIRS_STEP = 3
BROKER, COORDINATOR = "the broker", "the coordinator"
RESTART_MS = 5.0
EVENTS_AT_MOST = 5_000
Death = tuple[int, str]
"""After how many events, and who."""


@functools.cache
def plan() -> RunPlan:
    """2-3-1 on exclusive or, one sample a step, a snapshot after every second step."""
    network = settings_of((2, 3, 1), batch_size=1, epochs=1)
    return simulated(network, xor_data(), snapshot_interval_steps=2)


@dataclass(frozen=True)
class Points:
    """Where an undisturbed run can be cut: between which events each step lies."""

    first: int
    """The first event of the first step."""
    ends: tuple[int, ...]
    """After how many events each step was done."""

    def of_step(self, step: int) -> range:
        """The boundaries of a step, counted from 1."""
        return range(self.first if step == 1 else self.ends[step - 2], self.ends[step - 1])


def programs() -> list[str]:
    """Everybody who can be killed."""
    return [COORDINATOR, BROKER, *(f"node-{number}" for number in plan().topology().groups)]


def world_of(*, joins: bool) -> World:
    """The run before its first event, on a network that loses nothing and treats everybody alike.

    The broker is a relay that `joins` frames, or a proxy, with which there are more boundaries.
    """
    world = World(plan(), Dice(0, "crash points"), Watch(reference_of(plan())))
    world.conditions.joined_ms = world.conditions.joined_ms if joins else None
    world.conditions.restart_at_most_ms = RESTART_MS
    world.start_coordinator()
    for number in world.topology.groups:
        world.nodes[f"node-{number}"] = world.start_node(f"node-{number}")
    return world


@functools.cache
def points(*, joins: bool) -> Points:
    """From the undisturbed run."""
    world, first, ends = world_of(joins=joins), 0, list[int]()
    while world.code is None:
        world.run_next()
        if not first and world.watch.begun:
            first = world.happened
        if len(ends) < world.watch.steps:
            ends.append(world.happened)
    check_success(world)
    return Points(first, tuple(ends))


def kill(world: World, who: str) -> None:
    """kill -9, and a restart soon after."""
    if who == BROKER:
        if world.broker_up:
            world.kill_broker(RESTART_MS)
    elif who == COORDINATOR:
        if world.coordinator is not None and world.coordinator.alive:
            world.kill(world.coordinator)
    elif world.nodes[who].alive:
        world.kill(world.nodes[who])


def trouble_with(deaths: list[Death], *, joins: bool) -> str | None:
    """What goes wrong when these die; None if the run ends as the undisturbed one."""
    world = world_of(joins=joins)
    left = sorted(deaths)
    try:
        while world.code is None:
            while left and world.happened >= left[0][0]:
                kill(world, left.pop(0)[1])
            world.run_next()
            if world.happened > EVENTS_AT_MOST:
                return f"it has not finished after {EVENTS_AT_MOST} events"
        check_success(world)
    except Violation as violation:
        return str(violation)
    return None


def single_deaths(*, joins: bool) -> list[list[Death]]:
    """Each program at every boundary of three steps."""
    boundaries = [at for step in range(1, SWEPT_STEPS + 1) for at in points(joins=joins).of_step(step)]
    return [[(at, who)] for who in programs() for at in boundaries]


def pairs_of_deaths(*, joins: bool) -> list[list[Death]]:
    """Any two programs, one after the other or at once, within one step."""
    boundaries = points(joins=joins).of_step(THE_PAIRS_STEP)
    return [
        [(at, who), (later, other)]
        for at in boundaries
        for later in boundaries
        if later >= at
        for who in programs()
        for other in programs()
        if other != who and (later > at or other > who)
    ]


def sweep(cases: list[list[Death]], *, joins: bool) -> list[str]:
    """What goes wrong in any of the cases."""
    quiet = logging.getLogger("exmachina")
    quiet.disabled, before = True, quiet.disabled
    try:
        found = [(deaths, trouble) for deaths in cases if (trouble := trouble_with(deaths, joins=joins)) is not None]
    finally:
        quiet.disabled = before
    return [f"{' and '.join(f'{who} after event {at}' for at, who in deaths)}: {trouble}" for deaths, trouble in found]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 if any crash leaves a trace."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.crash_points", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try every so manieth point only")
    options = parser.parse_args(arguments)
    bad = 0
    sweeps = [
        ("one death, frames joined", single_deaths(joins=True), True),
        ("one death, through a proxy", single_deaths(joins=False), False),
        ("two deaths, frames joined", pairs_of_deaths(joins=True), True),
        ("two deaths, through a proxy", pairs_of_deaths(joins=False), False),
    ]
    for name, cases, joins in sweeps:
        begun, chosen = time.perf_counter(), cases[:: options.every]
        troubles = sweep(chosen, joins=joins)
        bad += len(troubles)
        print(f"{name}: {len(chosen):,} crash points, {len(troubles)} divergences, {time.perf_counter() - begun:.1f} s")
        for trouble in troubles[:20]:
            print(f"  {trouble}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
