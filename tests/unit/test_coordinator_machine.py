"""The coordinator as a state machine: what it does with every kind of message in every state, and who takes part."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import msgpack
import pytest

from coordinator.machine.machine import CoordinatorMachine
from coordinator.machine.state import CoordinatorState
from neuron_node.addresses import COORDINATOR, node_address
from neuron_node.codec import encode
from neuron_node.events import End, Log, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.messages import (
    PROTOCOL_VERSION,
    Echo,
    Enquire,
    Heartbeat,
    Input,
    InputError,
    Message,
    Mode,
    Output,
    Probe,
    Refuse,
    Register,
    Request,
    Target,
    Welcome,
)
from tests.coordinators import (
    NO_TRAFFIC,
    THREE,
    by,
    finish_step,
    grants,
    in_state,
    life,
    linked,
    on_disk,
    ready,
    register,
    reports,
    tell,
    wired,
)
from tests.every_kind import of_every_kind
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import header, matrix, messages, sent

PLAN = THREE


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(life(1)), ids=lambda message: type(message).__name__)
def test_every_message_in_every_state_is_obeyed_or_counted(state: CoordinatorState, message: Message) -> None:
    """From a member: something comes of it or a drop is counted; never an exception. What has ended stays so."""
    machine = in_state(state)
    before = machine.dropped.total()
    actions = tell(machine, message)
    assert machine.dropped.total() <= before + 1
    if machine.dropped.total() > before:
        assert machine.state is state
    if state is CoordinatorState.ENDED:
        assert machine.state is state and not any(isinstance(action, End) for action in actions)


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(life(99)), ids=lambda message: type(message).__name__)
def test_a_stranger_is_asked_who_it_is(state: CoordinatorState, message: Message) -> None:
    """Whatever it says, but for a registration, a request, a probe or its echo: nothing comes of it but the question."""
    if isinstance(message, Register | Request | Probe | Echo):
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
        COORDINATOR
        + msgpack.packb([PROTOCOL_VERSION, 24, *header(1, incarnation=life(3)), 0, 1, 3, [1, 1, b"\xff" * 8]]),
        COORDINATOR + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 3, matrix((1.0, 2.0)))),
        COORDINATOR
        + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 1, matrix((1.0,), (1.0,), (1.0,), (1.0,)))),
        COORDINATOR + encode(Output(header(1, incarnation=life(3)), 0, Mode.TRAIN, 77, matrix((1.0,)))),
        COORDINATOR
        + encode(InputError(header(1, incarnation=life(3)), 0, Mode.TRAIN, 3, matrix((1.0,), (1.0,), (1.0,), (1.0,)))),
    ],
    ids=[
        "nothing",
        "no body",
        "garbage",
        "unknown kind",
        "NaN",
        "shape",
        "an input's output",
        "no such group",
        "an output's error",
    ],
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


# Gathering and wiring.


def test_the_own_link_is_proved_before_anything_else() -> None:
    """Subscribes to its address, then to a fresh one, and sends there until it comes back; only then are groups granted."""
    machine = CoordinatorMachine(PLAN)
    actions = on_disk(machine, machine.start(0.0))
    subscriptions = [action.address for action in actions if isinstance(action, Subscribe)]
    [(probe_address, probe)] = sent(actions)
    assert subscriptions == [COORDINATOR, probe_address] and isinstance(probe, Probe)
    assert not any(grants(register(machine, number)) for number in (1, 2, 3))
    assert sent(machine.handle(Tick(), 1_000.0)) == [(probe_address, probe)]
    proved = machine.handle(Received(probe_address + encode(probe)), 1_000.0)
    assert Unsubscribe(probe_address) in proved
    assert set(grants(proved)) == {life(1), life(2), life(3)}


def test_the_own_probe_is_repeated_sooner_than_other_control() -> None:
    """Nothing can begin before it is back, and it is easily lost: it may reach the broker before the subscription to it."""
    machine = CoordinatorMachine(PLAN)
    [(address, probe)] = sent(on_disk(machine, machine.start(0.0)))
    times = [now_ms for now_ms in range(50, 1_001, 50) if sent(machine.handle(Tick(), float(now_ms)))]
    assert max(later - sooner for sooner, later in itertools.pairwise([0, *times])) <= 100
    machine.handle(Received(address + encode(probe)), 1_000.0)
    assert not [kind for now_ms in range(1_050, 3_001, 50) for kind in sent(machine.handle(Tick(), float(now_ms)))]


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


def test_so_many_nodes_are_needed_as_were_asked_for() -> None:
    """It is said how many are missing; then each gets its share of every layer, the first by name the first of each."""
    machine = linked(plan_of(settings_of((4, 2, 1)), nodes=2))
    register(machine, 2)
    said = [fact for now_ms in range(0, 3_000, 50) for fact in reports(machine.handle(Tick(), now_ms), "waiting")]
    assert said == [{"have": 1, "need": 2}]
    actions = register(machine, 1, now_ms=3_000)
    given = {
        incarnation: [place.role.group for place in grant.placements] for incarnation, grant in grants(actions).items()
    }
    assert given == {life(1): [1, 2, 5, 7], life(2): [3, 4, 6]}


def test_each_node_gets_one_group_in_the_order_of_their_names() -> None:
    """Whoever came first: node-2 before node-10. A spare gets none."""
    machine = linked(plan_of(settings_of((2, 2, 1))))
    actions: list[Any] = []
    for number in (10, 3, 2, 7, 1):
        actions = register(machine, number)
    given = {
        int.from_bytes(incarnation, "big"): [place.role.names for place in grant.placements]
        for incarnation, grant in grants(actions).items()
    }
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
