"""The coordinator as a state machine: what it does with every kind of message in every state, and who takes part."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import msgpack
import pytest

from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from neuron_node.addresses import COORDINATOR, node_address, stage_address
from neuron_node.codec import encode
from neuron_node.events import End, Log, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.frames import PROTOCOL_VERSION, DataFrame, DataKind, framed
from neuron_node.protocol import Echo, Heartbeat, Message, Probe, Register, Reject, Reregister, Welcome
from neuron_node.role import OUTSIDE
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
    output,
    ready,
    register,
    reports,
    result,
    results_of_step,
    tell,
    to_coordinator,
    wired,
)
from tests.every_kind import control_of_every_kind, of_every_kind
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import encoded, header, kinds, matrix, messages, sent

PLAN = THREE
RESULTS = stage_address(OUTSIDE)


def name_of(message: Message | DataFrame) -> str:
    """The name of its kind."""
    return DataKind(message.kind).name if isinstance(message, DataFrame) else type(message).__name__


@pytest.mark.parametrize("state", CoordinatorState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(life(1)), ids=name_of)
def test_every_message_in_every_state_is_obeyed_or_counted(
    state: CoordinatorState, message: Message | DataFrame
) -> None:
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
@pytest.mark.parametrize("message", control_of_every_kind(life(99)), ids=name_of)
def test_a_stranger_is_asked_who_it_is(state: CoordinatorState, message: Message) -> None:
    """The coordinator answers every other kind of message with a request to register, and changes nothing."""
    if isinstance(message, Register | Reject | Probe | Echo):
        return
    machine = in_state(state)
    actions = tell(machine, message)
    assert machine.state is state
    if state is not CoordinatorState.ENDED:
        assert [type(answer) for answer in messages(actions)] == [Reregister]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (framed(b"\xc1"), "malformed"),
        (framed(msgpack.packb([PROTOCOL_VERSION, 99, *header()])), "malformed"),
        (encode(Heartbeat(header(incarnation=life(3)), "working", NO_TRAFFIC))[:-1], "malformed"),
    ],
    ids=["nothing but its address", "no length", "garbage", "unknown kind", "another length"],
)
def test_bad_control_messages_are_counted_logged_once_and_dropped(frame: bytes, reason: str) -> None:
    """A thousand of them make one line, and the step goes on as if they had not come."""
    machine, _ = wired(PLAN)
    check_dropped(machine, COORDINATOR + (frame or b"\0"), reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": matrix((float("nan"),), (1.0,), (1.0,), (1.0,))}, "not finite"),
        ({"values": matrix((1.0, 2.0))}, "shape"),
        ({"mode": 0}, "shape"),
        ({"parts": 2}, "shape"),
        ({"sender": 1}, "unexpected"),
        ({"sender": 77}, "unexpected"),
        ({"receiver": 2}, "unexpected"),
        ({"kind": DataKind.INPUT_ERROR}, "unexpected"),
        ({"kind": DataKind.AXON}, "unexpected"),
        ({"high": 0}, "malformed"),
        ({"low": 2}, "malformed"),
        ({"high": 1_000}, "malformed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.replace(" ", "_"),
)
def test_bad_results_are_counted_logged_once_and_dropped(changes: dict[str, Any], reason: str) -> None:
    """So are results; no step counts."""
    machine, _ = wired(PLAN)
    good = output(machine, 1, rows=4)
    check_dropped(machine, to_coordinator(good._replace(**changes)), reason)


@pytest.mark.parametrize("at", [0, 5, 20, 50])
def test_a_result_in_another_encoding_or_with_another_length_is_dropped(at: int) -> None:
    """A wrong length, version, head or window."""
    machine, _ = wired(PLAN)
    frame = bytearray(output(machine, 1, rows=4).encode())
    frame[at] ^= 0x80
    check_dropped(machine, RESULTS + bytes(frame), "malformed")


def check_dropped(machine: CoordinatorMachine, message: bytes, reason: str) -> None:
    """A thousand such messages make one line, all are counted, and the step goes on."""
    actions = [action for _ in range(1_000) for action in machine.handle(Received(message), 0.0)]
    assert len([action for action in actions if isinstance(action, Log) and action.level == logging.WARNING]) == 1
    assert machine.dropped == {reason: 1_000}
    assert not [action for action in actions if isinstance(action, Send)]
    finish_step(machine)
    assert machine.trainer.training.progress.step == 1


def test_results_that_were_joined_on_their_way_are_all_taken() -> None:
    """Frames of three senders, one of them twice and one of an earlier generation, in one message."""
    machine, _ = wired(PLAN)
    frames = [frame.encode() for frame in results_of_step(machine, 1, rows=4)]
    old = result(machine, DataKind.OUTPUT, 3, 1, matrix((9.0,), (9.0,), (9.0,), (9.0,)), generation=0).encode()
    again = result(machine, DataKind.OUTPUT, 3, 1, matrix((9.0,), (9.0,), (9.0,), (9.0,))).encode()
    machine.receive([RESULTS + old + frames[0] + again + frames[1] + frames[2]], 0.0)
    machine.handle(Tick(), 0.0)
    assert machine.dropped == {"stale": 1, "duplicate": 1}
    assert machine.trainer.training.progress.step == 1
    assert machine.trainer.facts()["loss"] == 0.125


# Gathering and wiring.


def test_the_own_link_is_proved_before_anything_else() -> None:
    """Subscribes to its address, then to a fresh one, and sends there until it comes back; only then are groups granted."""
    machine = CoordinatorMachine(PLAN)
    actions = on_disk(machine, machine.start(0.0))
    subscriptions = [action.address for action in actions if isinstance(action, Subscribe)]
    [(probe_address, probe)] = sent(actions)
    assert subscriptions == [COORDINATOR, RESULTS, probe_address] and isinstance(probe, Probe)
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
    machine.handle(Received(address + encoded(probe)), 1_000.0)
    assert not [kind for now_ms in range(1_050, 3_001, 50) for kind in sent(machine.handle(Tick(), float(now_ms)))]


def test_too_few_nodes_are_reported_with_what_is_needed() -> None:
    """When nothing has changed for a while, and again every five seconds and when the number has changed."""
    machine = linked(PLAN)
    said = []
    for now_ms in range(0, 20_000, 50):
        if now_ms == 12_000:
            register(machine, 1, now_ms=now_ms)
        if now_ms > 12_000:
            tell(machine, Heartbeat(by(machine, 1), "spare", NO_TRAFFIC), now_ms)
        said += [(now_ms, facts["have"]) for facts in reports(machine.handle(Tick(), now_ms), "waiting")]
    assert said == [(1_000, 0), (6_000, 0), (11_000, 0), (13_000, 1), (18_000, 1)]
    assert machine.state is CoordinatorState.GATHERING


def test_a_start_says_every_five_seconds_what_it_waits_for() -> None:
    """First for the broker; then, with every node there, for the proof of their links."""
    machine = CoordinatorMachine(PLAN)
    actions = machine.start(0.0)
    for now_ms in range(50, 12_000, 50):
        actions += machine.handle(Tick(), now_ms)
    assert len(reports(actions, "no_broker")) == 2
    machine = linked(PLAN)
    for number in (1, 2, 3):
        register(machine, number)
    ready(machine, 2)
    said = [reports(machine.handle(Tick(), now_ms), "wiring") for now_ms in (1_000.0, 5_000.0)]
    assert said == [[], [{"nodes": 3, "ready": 1}]]


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
    assert kinds(actions) == ["AXON", "TARGET"]


def test_a_repeated_registration_is_answered_and_changes_nothing() -> None:
    """The welcome was lost."""
    machine = linked(PLAN)
    for _ in range(2):
        assert [type(message) for message in messages(register(machine, 1))] == [Welcome]
    assert len(machine.membership.members) == 1 and machine.outbox.generation == 1


def test_another_arithmetic_is_refused_with_the_reason() -> None:
    """Logged once, however often it comes; it is no member."""
    machine = linked(PLAN)
    lines = []
    for _ in range(3):
        actions = register(machine, 1, fingerprint="numpy 9")
        lines += [action for action in actions if isinstance(action, Log)]
        [(address, refusal)] = sent(actions)
        assert address == node_address(life(1)) and isinstance(refusal, Reject)
        assert "numpy 9" in refusal.reason and PLAN.fingerprint in refusal.reason
    assert len(lines) == 1 and not machine.membership.members


def test_another_arithmetic_is_accepted_where_the_plan_says_so() -> None:
    """A run that may mix."""
    machine = linked(plan_of(settings_of((2, 1)), xor_data(), mixed_arithmetic=True))
    assert [type(message) for message in messages(register(machine, 1, fingerprint="numpy 9"))] == [Welcome]


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION + 1])
def test_another_protocol_version_is_refused_with_the_reason(version: int) -> None:
    """In words that every version can read."""
    machine = linked(PLAN)
    frame = COORDINATOR + framed(msgpack.packb([version, 1, *header(incarnation=life(5)), "who", "knows", "what"]))
    lines = []
    for _ in range(3):
        actions = machine.handle(Received(frame), 0.0)
        lines += [action for action in actions if isinstance(action, Log)]
        [(address, refusal)] = sent(actions)
        assert address == node_address(life(5)) and isinstance(refusal, Reject)
        assert str(version) in refusal.reason and str(PROTOCOL_VERSION) in refusal.reason
    assert len(lines) == 1 and machine.dropped["version"] == 3
