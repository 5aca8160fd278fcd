"""The coordinator as a state machine: who takes part, what is repeated, what ends a run, and what never does."""

from __future__ import annotations

import logging
from typing import Any

import msgpack
import numpy as np
import pytest

from coordinator.machine.machine import CoordinatorMachine, CoordinatorState
from neuron_node.addresses import COORDINATOR, client_address, group_address, node_address
from neuron_node.codec import encode
from neuron_node.events import End, Interrupted, LinkLost, Log, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.messages import (
    PROTOCOL_VERSION,
    Diverged,
    Enquire,
    Fetch,
    GroupState,
    Heartbeat,
    Input,
    InputError,
    Message,
    Mode,
    Output,
    Probe,
    Refuse,
    Register,
    Reply,
    Request,
    State,
    Stop,
    Stopped,
    Superseded,
    Target,
    Welcome,
)
from tests.coordinators import NO_TRAFFIC, by, grants, life, linked, ready, register, reports, request, tell, wired
from tests.every_kind import of_every_kind
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import header, matrix, messages, sent

PLAN = plan_of(settings_of((2, 1)), xor_data())
"""Three groups of one neuron: node-1 and node-2 host the inputs, node-3 the output."""


def in_state(state: CoordinatorState) -> CoordinatorMachine:
    match state:
        case CoordinatorState.GATHERING:
            machine = linked(PLAN)
            register(machine, 1)
        case CoordinatorState.WIRING:
            machine = linked(PLAN)
            for number in (1, 2, 3):
                register(machine, number)
        case _:
            machine, _ = wired(PLAN)
    match state:
        case CoordinatorState.IDLE:
            machine.course.done = True
            tell(machine, Heartbeat(by(machine, 1), "working", NO_TRAFFIC))
            machine.state = CoordinatorState.IDLE
        case CoordinatorState.STOPPING | CoordinatorState.ENDED:
            machine.stop(0)
    if state is CoordinatorState.ENDED:
        machine.handle(Tick(), 1e6)
    assert machine.state is state
    return machine


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(life(1)), ids=lambda message: type(message).__name__)
def test_every_message_in_every_state_is_obeyed_or_counted(state: CoordinatorState, message: Message) -> None:
    """From a member: something comes of it or a drop is counted; never an exception. What has ended sends nothing."""
    machine = in_state(state)
    before = machine.dropped.total()
    actions = tell(machine, message)
    assert machine.dropped.total() <= before + 1
    if machine.dropped.total() > before:
        assert machine.state is state
    if state is CoordinatorState.ENDED:
        assert machine.state is state and messages(actions) == []


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(life(99)), ids=lambda message: type(message).__name__)
def test_a_stranger_is_asked_who_it_is(state: CoordinatorState, message: Message) -> None:
    """Whatever it says, but for a registration, a request or a probe: nothing comes of it but the question."""
    if isinstance(message, Register | Request | Probe):
        return
    machine = in_state(state)
    actions = tell(machine, message)
    assert machine.state is state
    if state is not CoordinatorState.ENDED:
        assert [type(answer) for answer in messages(actions)] == [Enquire]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        COORDINATOR,
        COORDINATOR + b"\xc1",
        COORDINATOR + msgpack.packb([PROTOCOL_VERSION, 99, *header()]),
        COORDINATOR + msgpack.packb([PROTOCOL_VERSION, 24, *header(1, incarnation=life(3)), 0, 1, 3, [1, 1, b"\xff" * 8]]),
        COORDINATOR + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 3, matrix((1.0, 2.0)))),
        COORDINATOR + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 1, matrix((1.0,), (1.0,), (1.0,), (1.0,)))),
        COORDINATOR + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 77, matrix((1.0,)))),
        COORDINATOR + encode(InputError(header(1, incarnation=life(3)), 0, Mode.TRAIN, 3, matrix((1.0,), (1.0,), (1.0,), (1.0,)))),
    ],
    ids=["nothing", "no body", "garbage", "unknown kind", "NaN", "shape", "an input's output", "no such group", "an output's error"],
)
def test_bad_messages_are_counted_logged_once_and_dropped(frame: bytes) -> None:
    """A thousand of them make one line, and the step goes on as if they had not come."""
    machine, _ = wired(PLAN)
    actions = [action for _ in range(1_000) for action in machine.handle(Received(frame), 0.0)]
    assert len([action for action in actions if isinstance(action, Log) and action.level == logging.WARNING]) == 1
    assert machine.dropped.total() == 1_000
    assert not [action for action in actions if isinstance(action, Send)]
    finish_step(machine)
    assert machine.course.training.progress.step == 1


def finish_step(machine: CoordinatorMachine, now_ms: float = 0.0) -> list[Any]:
    """Play all three nodes of one training step."""
    [number] = machine.course.under_way.flights
    batch = len(machine.course.under_way.flights[number].inputs)
    actions: list[Any] = []
    for kind, node in ((Output, 3), (InputError, 1), (InputError, 2)):
        actions = tell(machine, kind(by(machine, node, number), 0, Mode.TRAIN, node, np.full((batch, 1), 0.5)), now_ms)
    return actions


# Gathering and wiring.


def test_the_own_link_is_proved_before_anything_else() -> None:
    """Subscribes to its address, then to a fresh one, and sends there until it comes back; only then are groups granted."""
    machine = CoordinatorMachine(PLAN)
    actions = machine.start(0.0)
    subscriptions = [action.address for action in actions if isinstance(action, Subscribe)]
    [(probe_address, probe)] = sent(actions)
    assert subscriptions == [COORDINATOR, probe_address] and isinstance(probe, Probe)
    assert not any(grants(register(machine, number)) for number in (1, 2, 3))
    assert sent(machine.handle(Tick(), 1_000.0)) == [(probe_address, probe)]
    proved = machine.handle(Received(probe_address + encode(probe)), 1_000.0)
    assert Unsubscribe(probe_address) in proved
    assert set(grants(proved)) == {life(1), life(2), life(3)}


def test_too_few_nodes_are_reported_with_what_is_needed() -> None:
    """Once, when nothing has changed for a while, and again when the number has."""
    machine = linked(PLAN)
    said = []
    for now_ms in range(0, 20_000, 50):
        if now_ms == 10_000:
            register(machine, 1, now_ms=now_ms)
        if now_ms > 10_000:
            tell(machine, Heartbeat(by(machine, 1), "spare", NO_TRAFFIC), now_ms)
        said += reports(machine.handle(Tick(), now_ms), "waiting")
    assert said == [{"have": 0, "need": 3}, {"have": 1, "need": 3}]
    assert machine.state is CoordinatorState.GATHERING


def test_each_node_gets_one_group_in_the_order_of_their_names() -> None:
    """Whoever came first: node-2 before node-10. A spare gets none."""
    machine = linked(plan_of(settings_of((2, 2, 1))))
    actions: list[Any] = []
    for number in (10, 3, 2, 7, 1):
        actions = register(machine, number)
    given = {int.from_bytes(incarnation, "big"): [place.role.names for place in grant.placements] for incarnation, grant in grants(actions).items()}
    assert given == {1: [("input.0",)], 2: [("input.1",)], 3: [("hidden.0",)], 7: [("hidden.1",)], 10: [("output.0",)]}
    assert grants(register(machine, 11)) == {}


def test_grants_are_repeated_to_those_that_have_not_answered() -> None:
    """And to nobody else, until all have; then training begins."""
    machine = in_state(CoordinatorState.WIRING)
    ready(machine, 2)
    assert set(grants(machine.handle(Tick(), 600.0))) == {life(1), life(3)}
    ready(machine, 3, 700.0)
    assert set(grants(machine.handle(Tick(), 1_200.0))) == {life(1)}
    assert set(grants(machine.handle(Tick(), 1_300.0))) == set()
    actions = ready(machine, 1, 1_300.0)
    assert machine.state is CoordinatorState.TRAINING
    assert reports(actions, "wired") == [{"nodes": 3, "seconds": 1.3}]
    assert [type(message) for message in messages(actions)] == [Input, Input, Target]


def test_a_repeated_registration_is_answered_and_changes_nothing() -> None:
    """The welcome was lost."""
    machine = linked(PLAN)
    for _ in range(2):
        assert [type(message) for message in messages(register(machine, 1))] == [Welcome]
    assert len(machine.roster.members) == 1 and machine.outbox.generation == 1


def test_another_arithmetic_is_refused_with_the_reason() -> None:
    """Logged once, however often it comes; it is no member."""
    machine = linked(PLAN)
    lines = []
    for _ in range(3):
        actions = register(machine, 1, fingerprint="numpy 9")
        lines += [action for action in actions if isinstance(action, Log)]
        [(address, refusal)] = sent(actions)
        assert address == node_address(life(1)) and isinstance(refusal, Refuse)
        assert "numpy 9" in refusal.reason and PLAN.fingerprint in refusal.reason
    assert len(lines) == 1 and not machine.roster.members


def test_another_arithmetic_is_accepted_where_the_plan_says_so() -> None:
    """A run that may mix."""
    machine = linked(plan_of(settings_of((2, 1)), xor_data(), mixed_arithmetic=True))
    assert [type(message) for message in messages(register(machine, 1, fingerprint="numpy 9"))] == [Welcome]


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1])
def test_another_protocol_version_is_refused_with_the_reason(version: int) -> None:
    """In words that every version can read."""
    machine = linked(PLAN)
    frame = COORDINATOR + msgpack.packb([version, 1, *header(incarnation=life(5)), "who", "knows", "what"])
    lines = []
    for _ in range(3):
        actions = machine.handle(Received(frame), 0.0)
        lines += [action for action in actions if isinstance(action, Log)]
        [(address, refusal)] = sent(actions)
        assert address == node_address(life(5)) and isinstance(refusal, Refuse)
        assert str(version) in refusal.reason and str(PROTOCOL_VERSION) in refusal.reason
    assert len(lines) == 1 and machine.dropped["version"] == 3


# Recovery.


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
    """After its time of silence, and not before; a spare takes its place in the next generation."""
    machine, _ = wired(PLAN)
    register(machine, 4)
    for now_ms in range(0, 10_001, 250):
        for node in (1, 3, 4):
            tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
        machine.handle(Tick(), now_ms)
    assert machine.outbox.generation == 1
    actions = machine.handle(Tick(), 10_250.0)
    assert machine.outbox.generation == 2
    assert [facts["reason"] for facts in reports(actions, "recovery")] == ["node-2 was not heard for 10.2 s"]
    assert {place.role.names for place in grants(actions)[life(4)].placements} == {("input.1",)}


def test_who_was_asleep_itself_blames_nobody() -> None:
    """The clock jumps by an hour: everybody gets their time again."""
    machine, _ = wired(PLAN)
    machine.handle(Tick(), 100.0)
    machine.handle(Tick(), 3_600_000.0)
    assert machine.outbox.generation == 1 and len(machine.roster.members) == 3


def test_a_node_that_stops_is_lost_at_once() -> None:
    """It said so."""
    machine, _ = wired(PLAN)
    actions = tell(machine, Stopped(by(machine, 1), NO_TRAFFIC))
    assert machine.outbox.generation == 2 and machine.state is CoordinatorState.GATHERING
    assert [facts["step"] for facts in reports(actions, "recovery")] == [0]


def test_a_hosting_node_that_registers_again_has_lost_its_groups() -> None:
    """It is given them again, in another generation."""
    machine, _ = wired(PLAN)
    actions = register(machine, 2)
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
    [number] = machine.course.under_way.flights
    assert number == 2
    for generation, pass_number in ((1, 2), (3, 2), (2, 1), (2, 9)):
        tell(machine, Output(by(machine, 3, pass_number, generation), 0, Mode.TRAIN, 3, np.full((4, 1), 0.5)))
    assert machine.dropped["stale"] == 4
    assert machine.course.under_way.flights[2].outputs == {}


def test_a_late_pass_is_repeated_and_a_result_applied_once() -> None:
    """With a higher attempt, under the same number; what comes twice is counted once."""
    machine, first = wired(PLAN)
    assert [message.attempt for message in messages(first) if isinstance(message, Input | Target)] == [0, 0, 0]
    again: list[Any] = []
    for now_ms in range(50, 6_000, 50):
        for node in (1, 2, 3):
            tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
        again += messages(machine.handle(Tick(), now_ms))
    assert [(message.attempt, message.header.pass_number) for message in again if isinstance(message, Input | Target)] == [(1, 1)] * 3
    for _ in range(2):
        tell(machine, Output(by(machine, 3, 1), 1, Mode.TRAIN, 3, np.full((4, 1), 0.5)), 6_000.0)
        tell(machine, InputError(by(machine, 1, 1), 1, Mode.TRAIN, 1, np.full((4, 1), 0.5)), 6_000.0)
    assert machine.course.training.progress.step == 0
    tell(machine, InputError(by(machine, 2, 1), 0, Mode.TRAIN, 2, np.full((4, 1), 0.5)), 6_000.0)
    assert machine.course.training.progress.step == 1
    tell(machine, InputError(by(machine, 2, 1), 1, Mode.TRAIN, 2, np.full((4, 1), 0.5)), 6_000.0)
    assert machine.course.training.progress.step == 1


def test_a_lost_link_is_proved_again_and_what_was_under_way_repeated() -> None:
    """At once, not after a time."""
    machine, _ = wired(PLAN)
    actions = machine.handle(LinkLost(), 10.0)
    assert Subscribe(COORDINATOR) in actions
    [(address, probe)] = sent(actions)
    assert isinstance(probe, Probe)
    repeated = messages(machine.handle(Received(address + encode(probe)), 20.0))
    assert [(type(message), message.attempt) for message in repeated if isinstance(message, Input | Target)] == [(Input, 1), (Input, 1), (Target, 1)]


def test_one_late_pass_does_not_make_the_next_one_wait_longer() -> None:
    """How long a pass takes is learned from those that needed no repetition: patience does not feed on itself."""
    machine, _ = wired(plan_of(settings_of((2, 1), epochs=400), xor_data()))
    now_ms, waits = 0.0, []
    for _ in range(12):
        [number] = machine.course.under_way.flights
        began_ms = now_ms
        while True:
            now_ms += 50.0
            for node in (1, 2, 3):
                tell(machine, Heartbeat(by(machine, node), "working", NO_TRAFFIC), now_ms)
            if any(isinstance(message, Input) for message in messages(machine.handle(Tick(), now_ms))):
                break
        waits.append(now_ms - began_ms)
        finish_step(machine, now_ms)
        while machine.course.under_way.flights and not machine.course.under_way.training:
            [measured] = machine.course.under_way.flights
            tell(machine, Output(by(machine, 3, measured), 0, Mode.FORWARD, 3, np.full((4, 1), 0.5)), now_ms)
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
    assert End(1) in machine.handle(Tick(), 50.0)


@pytest.mark.parametrize(("event", "code"), [(Interrupted(True), 130), (Interrupted(False), 0)])
@pytest.mark.parametrize("state", [CoordinatorState.GATHERING, CoordinatorState.WIRING, CoordinatorState.TRAINING])
def test_an_interruption_stops_all_nodes_and_ends(state: CoordinatorState, event: Interrupted, code: int) -> None:
    """130 where a person did it; stop is repeated until a node has answered, and a node that never does is not waited for for ever."""
    machine = in_state(state)
    members = len(machine.roster.members)
    assert [type(message) for message in messages(machine.handle(event, 0.0))] == [Stop] * members
    tell(machine, Stopped(by(machine, 1), NO_TRAFFIC), 100.0)
    assert [type(message) for message in messages(machine.handle(Tick(), 600.0))] == [Stop] * (members - 1)
    if members > 1:
        assert End(code) not in machine.handle(Tick(), 2_900.0)
    assert End(code) in machine.handle(Tick(), 3_100.0)
    assert machine.handle(Tick(), 4_000.0) == []


def test_a_node_that_comes_while_the_run_ends_is_told_to_stop() -> None:
    """Nothing is left behind."""
    machine = in_state(CoordinatorState.STOPPING)
    assert [(address, type(message)) for address, message in sent(register(machine, 9))] == [(node_address(life(9)), Stop)]


def test_snapshot_parts_are_asked_for_until_they_have_come() -> None:
    """After the step that is marked for it; those that came are not asked again, and parts of another step or shape are none."""
    machine, _ = wired(plan_of(settings_of((2, 1)), xor_data(), snapshot_interval_steps=1))
    asked = [message for message in messages(finish_step(machine)) if isinstance(message, Fetch)]
    assert [(message.group, message.step) for message in asked] == [(1, 1), (2, 1), (3, 1)]
    give(machine, 1, step=1)
    give(machine, 2, step=0)
    give(machine, 3, step=1, columns=2)
    for now_ms in (600.0, 1_200.0):
        again = [(address, message) for address, message in sent(machine.handle(Tick(), now_ms)) if isinstance(message, Fetch)]
        assert [address for address, _ in again] == [group_address(2), group_address(3)]
    give(machine, 2, step=1)
    assert machine.course.snapshot is None
    give(machine, 3, step=1)
    assert machine.course.snapshot is not None and machine.course.snapshot.step == 1


def give(machine: CoordinatorMachine, group: int, step: int, columns: int = 1) -> list[Any]:
    weights = matrix((0.25,)) if group < 3 else np.empty((1, 0))
    state = State(np.full((1, columns), 0.5), weights)
    return tell(machine, GroupState(by(machine, group), group, step, state, matrix((0.0,)), matrix((0.0,)), NO_TRAFFIC))


@pytest.mark.parametrize(("activity", "error"), [(matrix((0.0, 1.0)), matrix((0.0,))), (np.empty((1, 0)), matrix((0.0,))), (matrix((0.0,)), np.empty((1, 0)))])
def test_a_state_with_numbers_of_another_shape_ends_nobody(activity: np.ndarray, error: np.ndarray) -> None:
    """It is dropped; the question stands until a right answer comes."""
    machine, _ = wired(PLAN)
    request(machine, "neuron", '{"neuron": "output.0"}')
    for group in (1, 2):
        give(machine, group, step=0)
    state = State(matrix((0.5,)), np.empty((1, 0)))
    tell(machine, GroupState(by(machine, 3), 3, 0, state, activity, error, NO_TRAFFIC))
    assert machine.dropped["shape"] == 1
    [(address, reply)] = sent(give(machine, 3, step=0))
    assert address == client_address(b"a client") and isinstance(reply, Reply) and reply.good
