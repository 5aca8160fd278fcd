"""The runs that are simulated, and what each comes to when nothing happens to it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coordinator.core.events import Inspected, Persist
from coordinator.core.journal import REWIND, Entry
from coordinator.core.run_plan import RunPlan
from coordinator.core.training import Progress
from coordinator.data.prepared import PreparedData
from coordinator.in_memory import network_of
from coordinator.verify.watching import Reader
from neuron_node.activations import Array
from neuron_node.protocol import State, state_of
from tests.networks import made_data, plan_of, settings_of, xor_data
from tests.simulation.client import client_rows

# Layers, group size, batch size, steps between snapshots, the seed, and the parts of a batch. Four rows make an epoch.
SHAPES: tuple[tuple[tuple[int, ...], int, int, int, int, int], ...] = (
    ((2, 2, 1), 1, 1, 2, 1, 1),
    ((2, 2, 1), 1, 1, 3, 2, 1),
    ((2, 2, 1), 1, 2, 4, 3, 2),
    ((2, 2, 1), 1, 1, 5, 4, 1),
    ((2, 2, 1), 1, 2, 6, 5, 1),
    ((2, 1, 1), 1, 1, 3, 6, 1),
    ((2, 1, 1), 1, 2, 5, 7, 1),
    ((2, 2, 1), 2, 1, 3, 8, 1),
    ((2, 2, 1), 2, 3, 4, 9, 2),
    ((2, 3, 1), 1, 1, 3, 10, 1),
    ((2, 3, 1), 2, 1, 4, 11, 1),
    ((2, 2, 2, 1), 2, 1, 5, 12, 1),
)
LARGE: tuple[tuple[tuple[int, ...], int, int, int, int, int], ...] = (
    ((5, 4, 3, 2), 1, 1, 9, 21, 1),
    ((5, 4, 3, 2), 2, 1, 7, 22, 1),
    ((4, 4, 3, 2), 3, 2, 10, 23, 2),
    ((3, 5, 2), 1, 1, 6, 24, 1),
)
"""Of these only a small share is simulated: they take ten times as long."""
LARGE_STEPS, LARGE_ROWS = 60, 20
STEPS = 12
HEARTBEAT_INTERVAL_MS = 1_000
SILENCE_MS = 4_000


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    plan: RunPlan
    finished: dict[str, Any]
    progress: tuple[Progress, ...]
    """After each step, from none on, before the epoch's samples are looked at."""
    states: tuple[dict[int, State], ...]
    """Every group's after each step from the first on."""
    losses: tuple[float, ...]
    samples: tuple[tuple[int, ...], ...]
    """The samples of each step."""
    at_the_end: Progress
    activities: tuple[Array, ...] = ()
    """What the client's rows give before the first step, and after each."""
    failure: str | None = None
    """The line that it ends with, if it can't succeed."""


@functools.cache
def plan_number(number: int) -> RunPlan:
    """One of the runs."""
    layers, group_size, batch, interval, seed, parts = SHAPES[number]
    data = xor_data()
    steps_per_epoch = -(-len(data.train_inputs) // batch)
    network = settings_of(
        layers,
        batch_size=batch,
        epochs=STEPS // steps_per_epoch,
        hidden_activation="tanh" if number % 2 else "logistic",
    )
    return simulated(
        network, data, group_size=group_size, snapshot_interval_steps=interval, seed=seed, microbatches=parts
    )


@functools.cache
def large_plan(number: int) -> RunPlan:
    """One of the larger runs."""
    layers, group_size, batch, interval, seed, parts = LARGE[number]
    data = made_data(LARGE_ROWS, layers[0], layers[-1])
    network = settings_of(layers, batch_size=batch, epochs=LARGE_STEPS * batch // LARGE_ROWS)
    return simulated(
        network, data, group_size=group_size, snapshot_interval_steps=interval, seed=seed, microbatches=parts
    )


@functools.cache
def diverging_plan() -> RunPlan:
    """A run that can't be finished: its numbers grow beyond all bounds."""
    network = settings_of((2, 2, 1), batch_size=1, epochs=10, learning_rate=1e4)
    network = replace(network, hidden_activation="identity", output_activation="identity")
    return simulated(network, xor_data(), snapshot_interval_steps=2)


def simulated(network: Any, data: PreparedData, **changes: Any) -> RunPlan:
    """A plan whose nodes are missed sooner than usual, so that a simulation need not wait."""
    usual = {"heartbeat_interval_ms": HEARTBEAT_INTERVAL_MS, "silence_ms": SILENCE_MS}
    return plan_of(network, data, **{**usual, **changes})


_references: dict[int, Reference] = {}
_with_journal: dict[tuple[int, tuple[Entry, ...]], Reference] = {}


def reference_of(plan: RunPlan) -> Reference:
    """What a run comes to when nothing happens to it; worked out once."""
    known = _references.get(id(plan))
    if known is None:
        known = _references[id(plan)] = _undisturbed(plan)
    return known


def reference_with(plan: RunPlan, journal: tuple[Entry, ...]) -> Reference:
    """What a run comes to with these interventions when nothing else happens to it."""
    # Without branches: what the run makes of them is to be checked, and not to be believed.
    path = tuple(
        entry._replace(number=number, branch=0, request=f"{number:016x}")
        for number, entry in enumerate(path_in(journal), start=1)
    )
    if not path:
        return reference_of(plan)
    known = _with_journal.get((id(plan), path))
    if known is None:
        known = _with_journal[id(plan), path] = _undisturbed(replace(plan, journal=path))
    return known


def path_in(journal: Sequence[Entry]) -> list[Entry]:
    """The changes that count in the last branch: from the last entry back, and at each rewind on with what it goes back to."""
    path: list[Entry] = []
    branch = next((entry.branch for entry in reversed(journal) if entry.kind == REWIND), 0)
    last = len(journal)
    for entry in reversed(journal):
        if entry.branch != branch or entry.number > last:
            continue
        if entry.kind == REWIND:
            branch, last = entry.origin, entry.applied
        else:
            path.append(entry)
    return path[::-1]


def _undisturbed(plan: RunPlan) -> Reference:
    network, coordinator = network_of(replace(plan, inspect_every_step=True))
    trainer, progress = coordinator.trainer, [coordinator.trainer.training.progress]
    schedule = plan.schedule()
    while len(progress) <= schedule.steps and coordinator.failure is None:
        network.run_until(lambda: trainer.steps_done == len(progress) or coordinator.failure is not None)
        progress.append(trainer.training.progress)
    network.run_until(lambda: coordinator.finished is not None or coordinator.failure is not None)
    inspected = {action.step: action.states for action in network.actions if isinstance(action, Inspected)}
    states = tuple(
        {
            group: state_of(np.array(answer.state.bias), np.array(answer.state.weights))
            for group, answer in states.items()
        }
        for _step, states in sorted(inspected.items())
    )
    assert len(states) == schedule.steps or coordinator.failure is not None
    rows = [row for action in network.actions if isinstance(action, Persist) for row in action.rows]
    samples = tuple(tuple(int(index) for index in schedule.samples_of(step)) for step in range(schedule.steps))
    return Reference(
        plan,
        coordinator.finished or {},
        tuple(progress),
        states,
        tuple(row.loss for row in rows),
        samples,
        trainer.training.progress,
        () if coordinator.failure else tuple(_activities(plan)),
        coordinator.failure,
    )


def _activities(plan: RunPlan) -> list[Array]:
    """What the client's rows give, by the textbook, before the first step and after each."""
    reader, schedule, asked = Reader(plan), plan.schedule(), client_rows(plan.network.layers[0])
    path = plan.journal
    given = [reader.textbook.forward(asked)[-1]]
    for step in range(schedule.steps + 1):
        if step:
            reader.trace_of(step, path)
            given.append(reader.textbook.forward(asked)[-1])
        for entry in path:
            if entry.step == step:
                reader.change([entry])
                given.append(reader.textbook.forward(asked)[-1])
    return given


def know_all_references() -> None:
    """Work all of them out: what is changed in the code afterwards does not change them."""
    for number in range(len(SHAPES)):
        reference_of(plan_number(number))
    for number in range(len(LARGE)):
        reference_of(large_plan(number))
    reference_of(diverging_plan())
