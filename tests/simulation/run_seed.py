"""One seed's run, from the first program to the last figure: what befell it, and whether it kept every promise."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neuron_node.activations import quiet
from tests.simulation.client import ABSURD, Client
from tests.simulation.dice import Dice
from tests.simulation.faults import befall
from tests.simulation.forgers import Forger
from tests.simulation.invariants import Violation, Watch
from tests.simulation.person import Person
from tests.simulation.plans import (
    LARGE,
    LARGE_ROWS,
    SHAPES,
    diverging_plan,
    large_plan,
    plan_number,
    reference_of,
)
from tests.simulation.world import World

DIVERGE = 0.02
"""The share of seeds whose run can't succeed, whatever happens: it must say so, and nothing else."""
SERVE = 0.25
"""The share of seeds whose coordinator stays when it has finished, and is asked to end in the end."""
DIRECT = 0.5
"""The share of seeds in which data go straight from program to program."""
SHARED = 0.3
"""The share of seeds with fewer nodes than groups."""
SUPERVISED = 0.7
"""The share of seeds whose nodes are told the run by a supervisor; in the others they are containers."""
JOINS = 0.7
"""The share of seeds whose broker is a relay that joins frames; in the others it is a proxy."""
SIGNED = 0.5
"""The share of seeds whose coordinator signs its messages to nodes; there, a forger is at the broker."""
OF_LARGE = 0.01
"""The share of seeds with a larger network and more steps."""
INTERVENED = (5, 17, 18, 19)
"""In each twenty seeds, those in which a person intervenes."""
FULL = 0.3
"""The share of seeds whose queues have a high-water mark."""
CALM = 0.1
"""The share of seeds whose network loses nothing."""
HARMLESS = (0.0, 0.1)
"""Shares of copies with other numbers in a network that loses nothing: these alone make no repetition necessary."""
LEAST_SNAPSHOTS = 2
DRAWN_AGAIN = 5
NEVER = 10**9
CLIENT_TICK_MS = 100.0
EVENTS_AT_MOST = 60_000
MENDED_WITHIN_MS = 240_000.0


@dataclass
class Outcome:
    """What became of a seed."""

    seed: int
    trouble: str | None
    trace_sha256: str
    steps: int
    snapshots: int
    recoveries: int
    counts: Counter[str]
    story: list[tuple[float, str]]
    events: int
    now_ms: float
    diverges: bool


def run_seed(seed: int, *, signs: bool | None = None) -> Outcome:
    """Simulate one seed. A run that by chance had no snapshot before its last says little, and is drawn again.

    `signs` says whether the coordinator signs, and a forger is there; with None, the dice decide.
    """
    outcome = _drawn(seed, "simulation", signs)
    for again in range(DRAWN_AGAIN):
        if outcome.trouble is not None or outcome.diverges or outcome.snapshots >= LEAST_SNAPSHOTS:
            break
        outcome = _drawn(seed, f"simulation, again {again}", signs)
    return outcome


def _drawn(seed: int, name: str, signs: bool | None) -> Outcome:
    dice = Dice(seed, name)
    diverges = dice.falls(DIVERGE)
    sizes = Dice(seed, f"size of {name}")
    plan = diverging_plan() if diverges else plan_number(dice.below(len(SHAPES)))
    if not diverges and sizes.falls(OF_LARGE):
        plan = large_plan(sizes.below(len(LARGE)))
    watch = Watch(reference_of(plan))
    if not diverges and dice.falls(SERVE):
        plan = replace(plan, stop_when_finished=False)
    large = len(plan.data.train_inputs) == LARGE_ROWS
    sharing = Dice(seed, f"how {name} is shared out")
    if sharing.falls(SHARED):
        plan = replace(plan, nodes=sharing.between(1, len(plan.topology().groups) - 1))
    world = World(plan, dice, watch)
    world.direct = Dice(seed, f"wiring of {name}").falls(DIRECT)
    world.supervised = Dice(seed, f"supervisor of {name}").falls(SUPERVISED)
    if Dice(seed, f"keys of {name}").falls(SIGNED) if signs is None else signs:
        world.forger = Forger(world, Dice(seed, f"forger of {name}"))
        world.forger.start()
    meddling = Dice(seed, f"interventions of {name}")
    if not diverges and seed % 20 in INTERVENED:
        world.person = Person(meddling, world.topology, world.kept_steps)
    log = logging.getLogger("exmachina")
    log.disabled, before = True, log.disabled
    trouble = None
    try:
        with quiet():
            _run(world, dice, 5 if large else 1)
        if diverges:
            check_divergence(world)
        else:
            check_success(world)
    except Violation as violation:
        trouble = str(violation)
    except Exception:  # What a machine raises is what is looked for.
        trouble = traceback.format_exc(limit=-6)
    finally:
        log.disabled = before
    return Outcome(
        seed,
        trouble,
        world.trace(),
        watch.steps,
        watch.snapshots,
        watch.recoveries,
        world.counts,
        world.story,
        world.happened,
        world.now_ms,
        diverges,
    )


def set_conditions(world: World, dice: Dice) -> None:
    """What the network is like in this run."""
    conditions = world.conditions
    conditions.lost = dice.spread(0.001, 0.3)
    conditions.doubled = 0.5 * dice.random() ** 2 if dice.falls(0.5) else 0.0
    conditions.delayed = dice.spread(0.001, 0.3) if dice.falls(0.5) else 0.0
    conditions.delay_at_most_ms = dice.spread(1.0, 2_000.0)
    conditions.latency_ms = dice.spread(0.05, 5.0)
    conditions.jitter_ms = dice.spread(0.05, 10.0)
    conditions.coordinator_tick_ms = dice.pick((50.0, 125.0, 250.0, 250.0))
    conditions.restart_at_most_ms = dice.spread(5.0, 1_500.0)
    conditions.joined_ms = dice.spread(0.02, 2.0) if dice.falls(JOINS) else None
    conditions.hurry_ms = dice.spread(0.2, 100.0)
    world.restarts = not dice.falls(0.2)
    conditions.high_water = dice.between(4, 60) if dice.falls(FULL) else None
    if dice.falls(CALM):
        conditions.lost = conditions.doubled = conditions.delayed = 0.0
        conditions.high_water = None
        conditions.altered, conditions.not_finite = dice.pick(HARMLESS), dice.pick(HARMLESS)
        world.watch.calm = world.watch.alone = True


def _run(world: World, dice: Dice, times: int) -> None:
    """`times` as many frames as usual between faults, for a run with so many more of them."""
    set_conditions(world, dice)
    world.start_coordinator()
    for number in range(1, world.plan.node_count() + 1):
        world.nodes[f"node-{number}"] = world.start_node(f"node-{number}")
    for _ in range(dice.below(3)):
        world.start_spare()
    serves = not world.plan.stop_when_finished
    if serves or dice.falls(0.2):
        world.client = Client(dice, world.plan.network.layers[0], world.plan.network.layers[-1])
        world.client.absurd = serves
        life = world.begin("the client", world.client, CLIENT_TICK_MS)
        world.perform(life, world.client.start(0.0))
    if world.person is not None:
        life = world.begin("the person", world.person, CLIENT_TICK_MS)
        world.perform(life, world.person.start(0.0))
    mended_at_ms = dice.spread(5_000.0, 20_000.0)
    faults_left = dice.between(7, 17)
    gap_at_most = times * int(dice.spread(12, 60))
    due, any_due = times * dice.below(70), NEVER
    mended_ms: float | None = None
    while world.code is None:
        world.run_next()
        if mended_ms is None:
            finished = world.watch.finished is not None
            if world.data_heard >= due or world.happened >= any_due or (finished and any_due == NEVER):
                due = world.data_heard + 1 + dice.below(gap_at_most)
                any_due = world.happened + 1 + dice.below(100) if finished or dice.falls(0.25) else NEVER
                faults_left -= 1
                if faults_left >= 0:
                    befall(world, dice)
            if faults_left < 0 or world.now_ms > mended_at_ms:
                mended_ms = world.now_ms
                world.heal()
        elif world.client is not None and serves:
            world.client.stops = world.watch.finished is not None
        if mended_ms is not None and world.now_ms - mended_ms > MENDED_WITHIN_MS:
            raise Violation(f"it has not finished {MENDED_WITHIN_MS / 1000:.0f} s after all was mended")
        if world.happened > times * EVENTS_AT_MOST:
            raise Violation(f"it has not finished after {times * EVENTS_AT_MOST} events")


def check_success(world: World) -> None:
    """The run has finished as the undisturbed one. (Its figures were compared when it said so.)"""
    if world.watch.failure is not None:
        raise Violation(f"the run failed: {world.watch.failure}")
    if world.watch.finished is None or world.code != 0:
        raise Violation(f"the coordinator ended with {world.code}, and had not finished")
    world.watch.at_the_end()
    if world.client is not None:
        check_answers(world.client, world.watch, calm=world.watch.calm)
    if world.person is not None:
        check_interventions(world)


def check_interventions(world: World) -> None:
    """Each change that was answered is in the journal, and no change that was refused."""
    assert world.person is not None
    kept = {entry.request for entry in world.watch.journal}
    for request, good in world.person.answered.items():
        if good is not (request in kept):
            raise Violation(
                f"the change {request} was {'carried out' if good else 'refused'}; the journal says otherwise"
            )
    world.counts["intervention"] += len(kept)
    world.counts["rewind"] += world.watch.rewinds


def check_divergence(world: World) -> None:
    """The run has failed, in the step in which the undisturbed one fails."""
    failure, expected = world.watch.failure or "", world.watch.reference.failure or ""
    if world.code != 1 or not failure.startswith("diverged: "):
        raise Violation(f"the coordinator ended with {world.code}: {failure or 'without a word'}")
    if failure.partition(" step ")[2] != expected.partition(" step ")[2]:
        raise Violation(f"it failed with {failure!r}, undisturbed with {expected!r}")


def check_answers(client: Client, watch: Watch, *, calm: bool) -> None:
    """Check that all numbers of an answer are those of the network after one of its steps.

    Unless the network is calm, a trace may be refused because a group did not report.
    """
    for command, good, values in client.answers:
        if command in ABSURD.values():
            continue
        if command == "nonsense":
            if good:
                raise Violation("nonsense was answered")
        elif not good and command != "why":
            given_up = command in ("neuron", "trace") and "did not report its numbers" in values["error"]
            if calm or not given_up:
                raise Violation(f"{command} was answered with {values}")
        elif command == "trace":
            _check_trace(values, watch)
        elif command == "neuron":
            _check_neuron(values, watch)
        if command == "forward" and not any(
            np.allclose(values, activities, rtol=0.0, atol=1e-9) for activities in watch.activities
        ):
            raise Violation(f"rows sent forward gave {values.tolist()}, as after no step at all")


def _check_trace(facts: dict[str, Any], watch: Watch) -> None:
    """Check that a trace went through the network after the step that it names, and shows the weights of that step."""
    step, neurons = facts["step"], facts["neurons"]
    last = watch.reference.plan.topology().last_layer
    outputs = [each["activity"][0] for each in neurons if each["layer"] == last]
    if not any(np.allclose(outputs, each[0], rtol=0.0, atol=1e-9) for each in watch.activities):
        raise Violation(f"a trace after step {step} gave {outputs}")
    for each in neurons:
        weights = [synapse["weight"] for synapse in each["axon"]]
        _check_learned(watch, step, each["neuron"], each["bias"], weights)


def _check_neuron(facts: dict[str, Any], watch: Watch) -> None:
    """Check that a neuron has the numbers of one training step: the weights before it and after it, and its rows."""
    step, name, axon = facts["step"], facts["neuron"], facts["axon"]
    _check_learned(watch, step, name, facts["bias"], [synapse["weight"] for synapse in axon])
    if facts["pass"] is None:
        return
    _check_learned(watch, step - 1, name, facts["bias_before"], [synapse["before"] for synapse in axon])
    rows = len(watch.reference.samples[step - 1])
    if {rows} != {facts["rows"], len(facts["last_activity"]), *(len(synapse["error"]) for synapse in axon)}:
        raise Violation(f"{name} has other numbers of rows than the {rows} of step {step}: {facts}")
    for synapse in facts["dendrites"]:
        products = np.array(synapse["activity"]) * np.array(facts["last_error"])
        if not np.isclose(synapse["gradient"], products.mean(), rtol=1e-9, atol=1e-12):
            raise Violation(f"the gradient from {synapse['neuron']} to {name} is of another pass: {facts}")


def _check_learned(watch: Watch, step: int, name: str, bias: float, weights: list[float]) -> None:
    """Check the bias and the weights of a neuron against those after a step, before or after a change."""
    topology = watch.reference.plan.topology()
    number = topology.group_of[name]
    index = topology.groups[number].names.index(name)
    for states in watch.states_after(step):
        state = states[number]
        if bias == state.bias[0, index] and weights == state.weights[index].tolist():
            return
    raise Violation(f"{name} has the bias {bias} and the weights {weights}, as not after step {step}")
