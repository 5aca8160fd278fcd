"""The coordinator as a state machine: what it does when somebody is lost, what it repeats, and how a run ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coordinator.core.events import Inspected, Persist
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from coordinator.core.timers import STOPPING_AT_MOST_MS, STOPPING_MS_A_NODE
from neuron_node.addresses import COORDINATOR, node_address
from neuron_node.codec import encode
from neuron_node.events import End, Interrupted, LinkLost, Received, Subscribe, Tick
from neuron_node.frames import DataFrame, DataKind, Mode
from neuron_node.protocol import (
    Diverged,
    Fetch,
    GroupState,
    Heartbeat,
    Probe,
    Stop,
    Stopped,
    Superseded,
    state_of,
)
from tests.coordinators import (
    NO_TRAFFIC,
    THREE,
    by,
    finish_step,
    grants,
    handle,
    in_state,
    input_done,
    life,
    output,
    ready,
    register,
    reports,
    results_of_step,
    tell,
    to_coordinator,
    wired,
)
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import matrix, messages, sent

PLAN = THREE


def data_in(actions: Sequence[Any]) -> list[DataFrame]:
    """The data frames among what is sent."""
    return [frame for frame in messages(actions) if isinstance(frame, DataFrame)]


def test_a_second_life_under_the_same_name_ends_the_first() -> None:
    """It had a group: another generation, everybody's grant again; the first life is told that it is over."""
    machine, _ = wired(PLAN)
    actions = register(machine, 22, name="node-2")
    assert machine.outbox.generation == 2
    assert set(grants(actions)) == {life(1), life(22), life(3)}
    assert all(grant.header.generation == 2 for grant in grants(actions).values())
    assert [facts["generation"] for facts in reports(actions, "recovery")] == [2]
    late = tell(machine, Heartbeat(by(machine, 2), "working", NO_TRAFFIC))
    assert [(address, type(message)) for address, message in sent(late)] == [(node_address(life(2)), Superseded)]
    assert [type(message) for message in messages(register(machine, 2, name="node-2"))] == [Superseded]
    assert machine.outbox.generation == 2


def test_a_spare_that_comes_back_disturbs_nobody() -> None:
    """It had no group."""
    machine, _ = wired(PLAN)
    register(machine, 4, name="spare")
    register(machine, 44, name="spare")
    assert machine.outbox.generation == 1 and machine.state is CoordinatorState.TRAINING


def test_a_node_that_is_not_heard_is_lost() -> None:
    """After its time of silence, and not before, even when nothing is under way; a spare takes its place."""
    machine = in_state(CoordinatorState.IDLE)
    machine.trainer.in_flight.restart()
    register(machine, 4)
    for now_ms in range(0, 10_001, 250):
        for node in (1, 3, 4):
            tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
        handle(machine, Tick(), now_ms)
    assert machine.outbox.generation == 1
    actions = handle(machine, Tick(), 10_250.0)
    assert machine.outbox.generation == 2
    assert [facts["reason"] for facts in reports(actions, "recovery")] == ["input.1 (node-2) was not heard for 10.2 s"]
    assert {place.role.names for place in grants(actions)[life(4)].placements} == {("input.1",)}


@pytest.mark.parametrize("ticked", [True, False])
def test_coordinator_that_slept_gives_every_node_time_again(ticked: bool) -> None:
    """The clock jumps by an hour, after a tick or before the first one: all nodes get their time again."""
    machine, _ = wired(PLAN)
    if ticked:
        handle(machine, Tick(), 100.0)
    handle(machine, Tick(), 3_600_000.0)
    assert machine.outbox.generation == 1 and len(machine.membership.members) == 3


def test_a_node_that_stops_is_lost_at_once() -> None:
    """It said so."""
    machine, _ = wired(PLAN)
    actions = tell(machine, Stopped(by(machine, 1), NO_TRAFFIC))
    assert machine.outbox.generation == 2 and machine.state is CoordinatorState.GATHERING
    assert [facts["step"] for facts in reports(actions, "recovery")] == [0]


def test_a_hosting_node_that_registers_again_has_lost_its_groups() -> None:
    """It is given them again, in another generation; a registration from before it hosted them only came late."""
    machine, _ = wired(PLAN)
    register(machine, 2)
    assert machine.outbox.generation == 1
    actions = register(machine, 2, generation=1)
    assert machine.outbox.generation == 2
    assert [place.role.names for place in grants(actions)[life(2)].placements] == [("input.1",)]


def test_results_of_another_generation_or_an_earlier_pass_count_for_nothing() -> None:
    """Older or newer."""
    machine, _ = wired(PLAN)
    tell(machine, Stopped(by(machine, 1), NO_TRAFFIC))
    register(machine, 5)
    for number in (5, 2, 3):
        ready(machine, number)
    assert machine.state is CoordinatorState.TRAINING
    number = machine.trainer.in_flight.oldest
    assert number == 2
    for generation, pass_number in ((1, 2), (3, 2), (2, 1), (2, 9)):
        tell(machine, output(machine, pass_number, rows=4, generation=generation))
    assert machine.dropped == {"stale": 4}
    assert machine.trainer.in_flight.flights[2].missing == 3


def test_a_late_pass_is_repeated_and_a_result_applied_once() -> None:
    """With a higher attempt, under the same number; what comes twice is counted once."""
    machine, first = wired(PLAN)
    assert [frame.attempt for frame in data_in(first)] == [0, 0]
    again: list[DataFrame] = []
    for now_ms in range(50, 6_000, 50):
        for node in (1, 2, 3):
            tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
        again += data_in(handle(machine, Tick(), now_ms))
    assert [(frame.attempt, frame.pass_number) for frame in again] == [(1, 1)] * 2
    for _ in range(2):
        tell(machine, output(machine, 1, rows=4, attempt=1), 6_000.0)
        tell(machine, input_done(machine, 1, 1, rows=4, attempt=1), 6_000.0)
    assert machine.dropped == {"duplicate": 2}
    assert machine.trainer.training.progress.step == 0
    tell(machine, input_done(machine, 2, 1, rows=4), 6_000.0)
    assert machine.trainer.training.progress.step == 1
    tell(machine, input_done(machine, 2, 1, rows=4, attempt=1), 6_000.0)
    assert machine.trainer.training.progress.step == 1 and machine.dropped["stale"] == 1


def test_a_lost_link_is_proved_again_and_what_was_under_way_repeated() -> None:
    """At once, not after a time."""
    machine, _ = wired(PLAN)
    actions = handle(machine, LinkLost(), 10.0)
    assert Subscribe(COORDINATOR) in actions
    [(address, probe)] = sent(actions)
    assert isinstance(probe, Probe)
    repeated = data_in(machine.handle(Received(address + encode(probe)), 20.0))
    assert [(frame.kind, frame.attempt) for frame in repeated] == [(DataKind.AXON, 1), (DataKind.TARGET, 1)]


def test_one_late_pass_does_not_make_the_next_one_wait_longer() -> None:
    """How long a pass takes is learned from those that needed no repetition: patience does not feed on itself."""
    machine, _ = wired(plan_of(settings_of((2, 1), epochs=400), xor_data()))
    now_ms, waits = 0.0, []
    for _ in range(12):
        began_ms = now_ms
        while True:
            now_ms += 50.0
            for node in (1, 2, 3):
                tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
            if data_in(handle(machine, Tick(), now_ms)):
                break
        waits.append(now_ms - began_ms)
        finish_step(machine, now_ms)
        while machine.trainer.in_flight.flights and not machine.trainer.in_flight.training:
            [measured] = machine.trainer.in_flight.flights
            tell(machine, output(machine, measured, rows=4, mode=Mode.FORWARD), now_ms)
    assert max(waits[1:]) <= waits[0]


# The end.


def test_divergence_ends_the_run_and_names_neuron_step_and_what_to_try() -> None:
    """Every node is asked to stop; exit 1."""
    machine, _ = wired(PLAN)
    actions = tell(machine, Diverged(by(machine, 3, 1), 3, "output.0", 7))
    [facts] = reports(actions, "failed")
    line = facts["reason"]
    assert "output.0" in line and "step 7" in line and "learning rate" in line and "0.5" in line and "\n" not in line
    assert [type(message) for message in messages(actions)] == [Stop] * 3
    for node in (1, 2, 3):
        tell(machine, Stopped(by(machine, node), NO_TRAFFIC))
    assert End(1) in handle(machine, Tick(), 50.0)


@pytest.mark.parametrize(("event", "code"), [(Interrupted(True), 130), (Interrupted(False), 0)])
@pytest.mark.parametrize("state", [CoordinatorState.GATHERING, CoordinatorState.WIRING, CoordinatorState.TRAINING])
def test_an_interruption_stops_all_nodes_and_ends(state: CoordinatorState, event: Interrupted, code: int) -> None:
    """130 where a person did it; stop is repeated until a node has answered, and a node that never does is not waited for for ever."""
    machine = in_state(state)
    members = len(machine.membership.members)
    assert [type(message) for message in messages(machine.handle(event, 0.0))] == [Stop] * members
    tell(machine, Stopped(by(machine, 1), NO_TRAFFIC), 100.0)
    first = handle(machine, Tick(), 600.0)
    assert [type(message) for message in messages(first)] == [Stop] * (members - 1)
    assert (End(code) in first) == (members == 1)
    if members > 1:
        # A thousand nodes have more time than three.
        at_most_ms = STOPPING_AT_MOST_MS + STOPPING_MS_A_NODE * members
        assert End(code) not in handle(machine, Tick(), at_most_ms - 1.0)
        assert End(code) in handle(machine, Tick(), at_most_ms)
    assert handle(machine, Tick(), 10_000.0) == []


def test_a_node_that_comes_while_the_run_ends_is_told_to_stop() -> None:
    """Nothing is left behind."""
    machine = in_state(CoordinatorState.STOPPING)
    assert [(address, type(message)) for address, message in sent(register(machine, 9))] == [
        (node_address(life(9)), Stop)
    ]


def test_snapshot_parts_are_asked_for_until_they_have_come() -> None:
    """After the step that is marked for it; those that came are not asked again, and parts of another step or shape are none."""
    machine, _ = wired(plan_of(settings_of((2, 1)), xor_data(), snapshot_interval_steps=1))
    give(machine, 1, step=1)
    assert not [message for message in messages(handle(machine, Tick(), 550.0)) if isinstance(message, Fetch)]
    finish_step(machine)
    give(machine, 2, step=0)
    give(machine, 3, step=1, columns=2)
    for now_ms in (1_060.0, 1_560.0):
        again = [
            (address, message)
            for address, message in sent(handle(machine, Tick(), now_ms))
            if isinstance(message, Fetch)
        ]
        assert [(address, fetch.group) for address, fetch in again] == [
            (node_address(life(2)), 2),
            (node_address(life(3)), 3),
        ]
    give(machine, 2, step=1)
    assert not [action for action in give(machine, 2, step=1) if isinstance(action, Persist)]
    [keep] = [action for action in give(machine, 3, step=1) if isinstance(action, Persist)]
    assert keep.snapshot.step == 1 and set(keep.snapshot.states) == {1, 2, 3}


def give(machine: CoordinatorMachine, group: int, step: int, columns: int = 1) -> list[Any]:
    weights = matrix((0.25,)) if group < 3 else np.empty((1, 0))
    state = state_of(np.full((1, columns), 0.5), weights)
    return tell(machine, GroupState(by(machine, group), group, step, state, matrix((0.0,)), matrix((0.0,)), NO_TRAFFIC))


@pytest.mark.parametrize(
    ("activity", "error"),
    [(matrix((0.0, 1.0)), matrix((0.0,))), (np.empty((1, 0)), matrix((0.0,))), (matrix((0.0,)), np.empty((1, 0)))],
)
def test_a_state_with_numbers_of_another_shape_ends_nobody(activity: np.ndarray, error: np.ndarray) -> None:
    """It is dropped; the coordinator waits until a right state comes."""
    machine, _ = wired(replace(PLAN, inspect_every_step=True))
    finish_step(machine)
    for group in (1, 2):
        give(machine, group, step=1)
    state = state_of(matrix((0.5,)), np.empty((1, 0)))
    tell(machine, GroupState(by(machine, 3), 3, 1, state, activity, error, NO_TRAFFIC))
    assert machine.dropped["shape"] == 1
    [inspected] = [action for action in give(machine, 3, step=1) if isinstance(action, Inspected)]
    assert inspected.states.keys() == {1, 2, 3}


def test_a_step_that_was_done_before_a_rollback_counts_once() -> None:
    """Its last result and the news that ends the generation come together: the step is not counted after the rollback."""
    machine, _ = wired(plan_of(settings_of((2, 1), batch_size=1), xor_data()))
    results = results_of_step(machine, machine.trainer.in_flight.oldest, rows=1)
    gone = Stopped(by(machine, 1), NO_TRAFFIC)
    machine.receive([*map(to_coordinator, results), to_coordinator(gone)], 0.0)
    assert not machine.has_deferred_work
    assert machine.outbox.generation == 2 and machine.trainer.steps_done == 1
    assert machine.trainer.training.progress.step == 0


def test_time_goes_on_in_the_metrics_when_a_step_is_done_again_faster() -> None:
    """A step took 9 s, its repetition 1 s, and so did the next step: after 1 s and 2 s of training, not after 9 s and 2 s."""
    machine, _ = wired(plan_of(settings_of((2, 1), batch_size=1), xor_data(), snapshot_interval_steps=2))
    finish_step(machine, 9_000.0)
    register(machine, 1, now_ms=9_000.0, generation=1)
    for number in (1, 2, 3):
        ready(machine, number, 9_000.0)
    finish_step(machine, 10_000.0)
    finish_step(machine, 11_000.0)
    kept: list[Any] = []
    for group in (1, 2, 3):
        kept += [action for action in give(machine, group, step=2) if isinstance(action, Persist)]
    [persist] = kept
    assert [(row.step, row.seconds) for row in persist.rows] == [(1, 1.0), (2, 2.0)]
