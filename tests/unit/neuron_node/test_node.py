"""The node as a state machine: what it does with every kind of message in every state."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node.activations import quiet
from neuron_node.addresses import COORDINATOR, EVERY_NODE, group_address, node_address, stage_address
from neuron_node.codec import encode
from neuron_node.events import Action, End, Interrupted, LinkLost, Log, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.frames import LENGTH_BYTES, PROTOCOL_VERSION, DataFrame, DataKind, Mode, framed
from neuron_node.identity import BEGIN_AGAIN, NodeState
from neuron_node.node import STANDSTILL_MS, Node
from neuron_node.protocol import (
    CALLED,
    LATEST_STEP,
    NOBODY,
    Diverged,
    Fetch,
    Grant,
    GroupState,
    Heartbeat,
    Message,
    NodeStatus,
    NodeStatusRequest,
    Placement,
    Probe,
    Ready,
    Register,
    Reject,
    Reply,
    Request,
    Reregister,
    Stop,
    Stopped,
    Superseded,
    Welcome,
    state_of,
)
from neuron_node.role import Block, Sender
from tests.coordinators import NO_TRAFFIC
from tests.every_kind import NUMBERS, control_of_every_kind, of_every_kind
from tests.networks import numbers
from tests.roles import (
    NODE_LIFE,
    RUN,
    born,
    data,
    error_from,
    grant,
    header,
    heard,
    input_role,
    input_to,
    kinds,
    matrix,
    message_of,
    messages,
    output_role,
    prove,
    role_of,
    sent,
    signal_to,
    state_now,
    welcome,
    working,
)

HOME = node_address(NODE_LIFE)


def in_state(state: NodeState) -> Node:
    machine = Node(born())
    machine.start(0.0)
    match state:
        case NodeState.SPARE:
            welcome(machine)
            grant(machine)
        case NodeState.WIRING:
            welcome(machine)
            grant(machine, role_of())
        case NodeState.WORKING:
            machine = working(role_of())
        case NodeState.ENDED:
            machine.handle(Interrupted(), 0.0)
    assert state_now(machine) is state
    return machine


@pytest.mark.parametrize("state", NodeState, ids=lambda state: state.value)
@pytest.mark.parametrize("message", of_every_kind(), ids=lambda one: kind_of(one))  # noqa: PLW0108
def test_every_message_in_every_state_is_obeyed_or_counted(state: NodeState, message: Message | DataFrame) -> None:
    """Either something happens because of it, or a drop is counted; never an exception. What has ended obeys nothing.

    Data count at addresses of groups and stages alone, and control at all others: the address tells which of the two it is.
    """
    for address in (HOME, group_address(2), stage_address(2)):
        machine = in_state(state)
        before = machine.drops.counts.total()
        actions = heard(machine, address, message, 1.0)
        dropped = machine.drops.counts.total() - before
        if state is NodeState.ENDED:
            assert not [action for action in actions if not isinstance(action, Log)]
            assert state_now(machine) is NodeState.ENDED
        elif dropped:
            assert dropped == 1
            assert state_now(machine) is state and not any(isinstance(action, Send | End) for action in actions)
        if isinstance(message, DataFrame) == (address == HOME) and state is not NodeState.ENDED:
            assert dropped == 1


def kind_of(message: Message | DataFrame) -> str:
    return DataKind(message.kind).name if isinstance(message, DataFrame) else type(message).__name__


@pytest.mark.parametrize("state", [NodeState.SEEKING, NodeState.SPARE])
def test_data_count_for_nothing_where_no_group_is_hosted(state: NodeState) -> None:
    """They are stale, or what else is wrong with them."""
    machine = in_state(state)
    assert machine.handle(Received(signal_to(2, 1, NUMBERS)), 0.0) == []
    machine.handle(Received(group_address(2) + framed(b"no frame")), 0.0)
    assert machine.drops.counts == {"stale": 1, "malformed": 1}


@pytest.mark.parametrize("kind", [Register, Ready, Heartbeat, GroupState, Diverged, Stopped, Request, Reply])
def test_message_for_other_programs_is_dropped_and_counted(kind: type) -> None:
    """Kinds that no node ever gets are counted in every state of a life."""
    message = next(message for message in control_of_every_kind() if type(message) is kind)
    for state in (NodeState.SEEKING, NodeState.SPARE, NodeState.WIRING, NodeState.WORKING):
        machine = in_state(state)
        heard(machine, HOME, message)
        assert machine.drops.counts.total() == 1


@pytest.mark.parametrize("kind", [DataKind.OUTPUT, DataKind.INPUT_ERROR, DataKind.TARGET, DataKind.TARGETS])
def test_data_for_others_are_dropped(kind: DataKind) -> None:
    """Results, and targets for a group that is no output."""
    machine = in_state(NodeState.WORKING)
    message = next(one for one in of_every_kind() if isinstance(one, DataFrame) and one.kind == kind)
    heard(machine, stage_address(2), message)
    assert machine.drops.counts == {"unexpected": 1}


# A life.


def test_a_life_from_registration_to_work() -> None:
    """Registers, is a spare, gets a group, subscribes, proves its links, is ready; every message carries its name."""
    machine = Node(born())
    start = machine.start(0.0)
    assert Subscribe(HOME) in start
    [register] = messages(start)
    assert isinstance(register, Register)
    assert (register.host, register.process, register.name, register.fingerprint) == (
        "host",
        17,
        "node-1",
        "arithmetic",
    )
    assert start.index(Subscribe(HOME)) < next(index for index, action in enumerate(start) if isinstance(action, Send))
    welcome(machine)
    assert state_now(machine) is NodeState.SPARE
    granted = grant(machine, role_of(blocks=(Block(3, 3, 1, 0.0, 0.0), Block(4, 3, 1, 0.0, 0.0))))
    subscriptions = [action.address for action in granted if isinstance(action, Subscribe)]
    assert subscriptions[:-1] == [stage_address(2), group_address(2)]
    assert state_now(machine) is NodeState.WIRING
    [(probe_address, probe)] = sent(granted)
    assert isinstance(probe, Probe) and probe_address == subscriptions[-1]
    proved = prove(machine, granted)
    assert state_now(machine) is NodeState.WORKING
    assert Unsubscribe(probe_address) in proved
    [(address, ready)] = sent(proved)
    assert address == COORDINATOR and isinstance(ready, Ready)
    assert (ready.header.run, ready.header.generation, ready.header.incarnation) == (RUN, 1, NODE_LIFE)


def test_registrations_are_repeated_ever_more_slowly() -> None:
    """Over a minute without an answer: gaps that double up to a bound."""
    machine = Node(born())
    assert len(messages(machine.start(0.0))) == 1
    times = [now_ms for now_ms in range(50, 60_000, 50) if messages(machine.handle(Tick(), float(now_ms)))]
    gaps = np.diff([0, *times])
    assert gaps[0] <= 250 and (np.diff(gaps) >= 0).all() and gaps.max() <= 4_000
    assert len(times) >= 15


def test_a_node_without_an_answer_says_what_it_waits_for() -> None:
    """After 5 s, then at intervals that double, with the broker's endpoints; a welcome ends it."""
    machine = Node(born(), " at tcp://nowhere:1 and tcp://nowhere:2")
    machine.start(0.0)
    said = [
        (now_ms, action.text)
        for now_ms in range(250, 80_001, 250)
        for action in machine.handle(Tick(), float(now_ms))
        if isinstance(action, Log) and action.level == logging.WARNING
    ]
    assert [now_ms for now_ms, _ in said] == [5_000, 15_000, 35_000, 75_000]
    assert said[0][1] == (
        "no coordinator has answered for 5 s; waiting for a broker at tcp://nowhere:1 and tcp://nowhere:2 and a coordinator "
        "that uses it"
    )


def test_a_spare_and_a_worker_send_heartbeats_at_the_interval_of_the_welcome() -> None:
    """With their state and what they have counted."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine, interval_ms=200)
    beats = [message for now_ms in range(0, 1_001, 50) for message in messages(machine.handle(Tick(), float(now_ms)))]
    assert [type(beat) for beat in beats] == [Heartbeat] * 5
    assert isinstance(beats[-1], Heartbeat) and beats[-1].state == "spare" and beats[-1].traffic.sent == 5
    prove(machine, grant(machine, role_of()))
    beat = messages(machine.handle(Tick(), 5_000.0))[0]
    assert isinstance(beat, Heartbeat) and beat.state == "working"


def test_a_node_of_a_large_network_looks_at_the_time_less_often() -> None:
    """A thousand programs that wake up four times a second to find that nothing is due keep a machine busy."""
    machine = Node(born())
    machine.start(0.0)
    assert machine.tick_interval_ms == 250.0
    welcome(machine, interval_ms=1_000)
    assert machine.tick_interval_ms == 250.0
    machine = Node(born())
    machine.start(0.0)
    welcome(machine, interval_ms=5_000)
    assert machine.tick_interval_ms == 1_250.0


def test_a_probe_is_sent_again_until_it_comes_back() -> None:
    """And only the latest one proves anything."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    first = grant(machine, role_of())
    again = messages(machine.handle(Tick(), 1_000.0))
    assert [type(message) for message in again] == [Probe]
    renewed = machine.handle(LinkLost(), 2_000.0)
    assert sent(first) != sent(renewed)
    assert prove(machine, first) == [] and state_now(machine) is NodeState.WIRING
    prove(machine, renewed)
    assert state_now(machine) is NodeState.WORKING


def test_a_repeated_grant_asks_whether_the_node_is_ready() -> None:
    """Nothing is made anew: what was learned stays."""
    machine = working(input_role(), state=state_of(matrix((0.0,)), matrix((2.0,))))
    train(machine)
    weights = fetched(machine, 1).state.weights
    actions = grant(machine, input_role(), state=state_of(matrix((0.0,)), matrix((2.0,))))
    assert [type(message) for message in messages(actions)] == [Ready]
    assert np.array_equal(fetched(machine, 1).state.weights, weights)


def train(machine: Node, number: int = 1, mode: Mode = Mode.TRAIN) -> Sequence[Action]:
    machine.handle(Received(input_to(1, matrix((1.0,)), number, mode=mode)), 0.0)
    return machine.handle(Received(error_from(2, matrix((0.5,)), number, stage=1, mode=mode)), 0.0)


def fetched(machine: Node, group: int, step: int = LATEST_STEP) -> GroupState:
    [message] = messages(heard(machine, HOME, Fetch(header(generation=machine.generation), group, step)))
    assert isinstance(message, GroupState)
    return message


def test_a_grant_of_a_later_generation_takes_the_group_back_to_the_given_state() -> None:
    """Weights, step and open passes of the earlier generation are gone."""
    machine = working(input_role(), state=state_of(matrix((0.0,)), matrix((2.0,))))
    train(machine)
    actions = grant(machine, input_role(), generation=2, step=0, state=state_of(matrix((0.0,)), matrix((2.0,))))
    # Its addresses are the same and were proved: it is ready at once.
    assert [type(message) for message in messages(actions)] == [Ready]
    answer = fetched(machine, 1)
    assert (answer.step, answer.state.weights.tolist(), answer.header.generation) == (0, [[2.0]], 2)


def test_a_grant_of_an_earlier_generation_counts_for_nothing() -> None:
    """It came late."""
    machine = working(input_role())
    grant(machine, input_role(), generation=3)
    assert grant(machine, output_role(), generation=2) == []
    assert machine.generation == 3 and set(machine.hosting.groups) == {1} and machine.drops.counts["stale"] == 1


def test_a_grant_without_groups_makes_a_spare() -> None:
    """It hears its own address alone."""
    machine = working(input_role())
    actions = grant(machine, generation=2)
    assert state_now(machine) is NodeState.SPARE
    assert {action.address for action in actions if isinstance(action, Unsubscribe)} == {
        group_address(1),
        stage_address(1),
    }


@pytest.mark.parametrize("address", [group_address(2), stage_address(2)], ids=["group's", "stage's"])
@pytest.mark.parametrize(
    "message",
    [
        Grant(header(generation=9), ()),
        Stop(header()),
        Superseded(header()),
        Reject(header(), "no"),
        Reregister(header()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_control_holds_at_the_nodes_own_address_alone(message: Message, address: bytes) -> None:
    """What is sent to a group's address may be heard by a node whose generation is over: nothing there moves a node."""
    machine = working(role_of())
    heard(machine, address, message)
    assert state_now(machine) is NodeState.WORKING and machine.generation == 1 and machine.drops.counts.total() == 1


def test_one_node_can_host_several_groups() -> None:
    """An error for a stage reaches every group of it, a signal for a group that group alone."""
    one, two = input_role(width=2), input_role(group=4, first=1, width=2)
    machine = working(one, two._replace(names=("input.1",)))
    for group in (1, 4):
        [signal] = messages(machine.handle(Received(input_to(group, matrix((1.0,)))), 0.0))
        assert isinstance(signal, DataFrame) and (signal.kind, signal.sender) == (DataKind.SIGNAL, group)
    replies = messages(machine.handle(Received(error_from(2, matrix((0.5,)), stage=1)), 0.0))
    assert [(reply.kind, reply.sender) for reply in replies if isinstance(reply, DataFrame)] == [
        (DataKind.INPUT_ERROR, 1),
        (DataKind.INPUT_ERROR, 4),
    ]


# Links.


def test_after_a_lost_link_everything_is_subscribed_to_again_and_proved() -> None:
    """The group and its pass survive: what was lost is repeated, not rolled back."""
    machine = working(role_of(activation="identity"))
    machine.handle(Received(signal_to(2, 1, matrix((1.0,)))), 0.0)
    actions = machine.handle(LinkLost(), 10.0)
    assert {action.address for action in actions if isinstance(action, Subscribe)} >= {
        HOME,
        group_address(2),
        stage_address(2),
    }
    assert state_now(machine) is NodeState.WIRING
    assert [type(message) for message in messages(prove(machine, actions))] == [Ready]
    repeated = machine.handle(Received(signal_to(2, 1, matrix((1.0,)), attempt=1)), 20.0)
    assert kinds(repeated) == ["SIGNAL"]


def test_a_spare_that_lost_its_link_registers_again() -> None:
    """Under the same incarnation."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    actions = machine.handle(LinkLost(), 5.0)
    assert Subscribe(HOME) in actions
    [message] = messages(actions)
    assert isinstance(message, Register) and message.header.incarnation == NODE_LIFE


def test_node_that_is_asked_who_it_is_registers() -> None:
    """A coordinator that does not know it is a new one: the groups of the old one are forgotten."""
    machine = working(role_of())
    actions = heard(machine, HOME, Reregister(header(incarnation=b"new life")))
    assert [type(message) for message in messages(actions)] == [Register]
    assert state_now(machine) is NodeState.SEEKING and not machine.hosting.groups


@pytest.mark.parametrize("address", [HOME, EVERY_NODE])
def test_another_run_is_obeyed_only_where_the_own_one_stands_still(address: bytes) -> None:
    """Any program can call a node. A node that gets on with its run stays; a node whose coordinator is gone registers."""
    machine, call = working(role_of()), address + encode(Reregister(header(run=b"another.", incarnation=b"new life")))
    for number in range(1, 4):
        [asks] = messages(machine.handle(Received(call), number * STANDSTILL_MS))
        assert isinstance(asks, Heartbeat) and asks.state == CALLED and asks.header.run == RUN
        machine.handle(Received(signal_to(2, 1, matrix((1.0,)), number, mode=Mode.FORWARD)), number * STANDSTILL_MS)
    assert state_now(machine) is NodeState.WORKING and machine.drops.counts == {"stale": 3}
    machine.handle(Received(call), 4 * STANDSTILL_MS)
    assert messages(machine.handle(Received(call), 5 * STANDSTILL_MS - 1)) == []
    [message] = messages(machine.handle(Received(call), 5 * STANDSTILL_MS))
    assert isinstance(message, Register) and state_now(machine) is NodeState.SEEKING


def test_a_node_whose_coordinator_answers_obeys_no_other_run() -> None:
    """Also while no pass is under way."""
    machine, call = working(role_of()), HOME + encode(Reregister(header(run=b"another.", incarnation=b"new life")))
    for number in range(1, 5):
        [asks] = messages(machine.handle(Received(call), number * STANDSTILL_MS))
        assert isinstance(asks, Heartbeat) and asks.state == CALLED
        answer = machine.handle(Received(HOME + encode(NodeStatusRequest(header()))), number * STANDSTILL_MS + 1)
        assert [type(message) for message in messages(answer)] == [NodeStatus]
    assert state_now(machine) is NodeState.WORKING


@pytest.mark.parametrize("state", [NodeState.SEEKING, NodeState.SPARE, NodeState.WIRING], ids=lambda state: state.value)
def test_a_node_of_a_supervisor_obeys_no_other_run(state: NodeState) -> None:
    """The supervisor has told it the run, so no other coordinator can move it, in any state."""
    machine = Node(replace(born(), run=RUN))
    machine.start(0.0)
    if state is not NodeState.SEEKING:
        welcome(machine)
    if state is NodeState.WIRING:
        grant(machine, role_of())
    others = header(run=b"another.", pass_number=machine.registration, generation=9)
    calls: list[Message] = [Reregister(others), Welcome(others, 1), Grant(others, ()), Stop(others), Superseded(others)]
    for now_ms in (0.0, STANDSTILL_MS, 2 * STANDSTILL_MS):
        for message in calls:
            assert machine.handle(Received(HOME + encode(message)), now_ms) == []
    assert state_now(machine) is state and machine.run == RUN and machine.drops.counts == {"stale": 3 * len(calls)}


# Ends.


def test_a_superseded_life_ends_and_another_is_to_begin() -> None:
    """Without a word to anybody: it counts for nothing."""
    machine = working(role_of(senders=(Sender(1, 1, 1), Sender(4, 1, 1))))
    for sender, number in ((1, 1), (4, 1), (1, 2)):
        machine.handle(Received(signal_to(2, sender, NUMBERS, number, mode=Mode.FORWARD)), 0.0)
    actions = heard(machine, HOME, Superseded(header(generation=4)))
    assert End(BEGIN_AGAIN) in actions and messages(actions) == []
    # Not even a frame that would complete a pass is answered.
    assert list(machine.handle(Received(signal_to(2, 4, NUMBERS, 2, mode=Mode.FORWARD)), 0.0)) == []
    assert machine.handle(Received(signal_to(2, 1, NUMBERS)), 0.0) == [] and machine.handle(Tick(), 1e9) == []


def test_a_refused_node_says_why_and_ends_with_one() -> None:
    """In its log, at the level of an error."""
    machine = in_state(NodeState.SEEKING)
    refused = header(generation=0, run=NOBODY, pass_number=machine.registration)
    actions = heard(machine, HOME, Reject(refused, "other arithmetic"))
    assert End(1) in actions
    assert any(
        isinstance(action, Log) and action.level == logging.ERROR and "other arithmetic" in action.text
        for action in actions
    )


def test_a_refusal_of_another_version_is_understood() -> None:
    """The coordinator speaks another protocol; its refusal can still be read."""
    machine = Node(born())
    machine.start(0.0)
    ours = header(pass_number=machine.registration)
    frame = HOME + framed(msgpack.packb([PROTOCOL_VERSION + 1, 3, *ours, "speak another version"]))
    assert End(1) in machine.handle(Received(frame), 0.0)


UNPROVED = [
    message
    for about in (header(run=b"another.", generation=9), header(run=NOBODY, generation=0))
    for message in (
        Reject(about, "no"), Stop(about), Superseded(about), Grant(about, ()), Reregister(about), Welcome(about, 1),
        Fetch(about, 2, 0), Probe(about), Ready(about, NO_TRAFFIC), Stopped(about, NO_TRAFFIC),
    )
]  # fmt: skip


@pytest.mark.parametrize("other_version", [False, True], ids=["our version", "another version"])
@pytest.mark.parametrize("state", [NodeState.SPARE, NodeState.WIRING, NodeState.WORKING], ids=lambda state: state.value)
@pytest.mark.parametrize("message", UNPROVED, ids=lambda message: type(message).__name__)
def test_only_a_program_that_knows_its_run_moves_a_member(
    message: Message, state: NodeState, other_version: bool
) -> None:
    """The incarnation alone proves nothing: the frame is counted, and the node stays where it is."""
    if state is NodeState.SPARE and isinstance(message, Reregister) and not other_version:
        return  # It hosts nothing, and registers once more.
    machine = in_state(state)
    before, frame = (machine.run, machine.generation, [*machine.hosting.groups]), bytearray(encode(message))
    frame[LENGTH_BYTES + 1] += other_version
    actions = machine.handle(Received(HOME + bytes(frame)), 0.0)
    asks = [message for message in messages(actions) if isinstance(message, Heartbeat) and message.state == CALLED]
    assert not any(isinstance(action, End) for action in actions) and messages(actions) == asks
    assert state_now(machine) is state and before == (machine.run, machine.generation, [*machine.hosting.groups])
    assert machine.drops.counts.total() == 1


@pytest.mark.parametrize("kind", [Reject, Stop, Superseded, Welcome, Grant])
def test_a_node_that_seeks_obeys_only_answers_to_its_registration(kind: Any) -> None:
    """A message of a program that has not seen the registration changes nothing; the welcome is obeyed."""
    machine = Node(born())
    machine.start(0.0)
    for number in (0, machine.registration ^ 1):
        about = header(run=b"another.", pass_number=number)
        actions = heard(machine, HOME, kind(about, *{Reject: ("no",), Welcome: (1,), Grant: ((),)}.get(kind, ())))
        assert list(actions) == [] and state_now(machine) is NodeState.SEEKING
    assert machine.drops.counts == {"stale": 2}
    welcome(machine)
    assert state_now(machine) is NodeState.SPARE


def test_an_unheard_welcome_is_made_up_for_by_the_stop() -> None:
    """A run that ends stops a node that still registers: the node answers under the run of the stop."""
    machine = Node(born())
    machine.start(0.0)
    [message, *_] = messages(heard(machine, HOME, Stop(header(pass_number=machine.registration))))
    assert isinstance(message, Stopped) and message.header.run == header().run


@pytest.mark.parametrize("state", [NodeState.SEEKING, NodeState.SPARE, NodeState.WIRING, NodeState.WORKING])
def test_a_stop_and_a_signal_end_a_node_cleanly(state: NodeState) -> None:
    """It says that it stops, and ends with 0."""
    for stop in (
        lambda machine: heard(machine, HOME, Stop(header(pass_number=machine.registration))),
        lambda machine: machine.handle(Interrupted(True), 0.0),
    ):
        actions = stop(in_state(state))
        assert [type(message) for message in messages(actions)] == [Stopped]
        assert actions[-1] == End(0)


def test_an_overflow_ends_in_diverged_and_not_in_an_exception() -> None:
    """The node lives on and answers."""
    machine = working(input_role(), state=state_of(matrix((0.0,)), matrix((1e200,))))
    with quiet():
        [message] = messages(machine.handle(Received(input_to(1, matrix((1e200,)))), 0.0))
    assert isinstance(message, Diverged) and message.neuron == "input.0" and message.group == 1
    assert state_now(machine) is NodeState.WORKING


# Messages of several frames, and several messages at once.


def test_control_frames_may_be_joined() -> None:
    """A relay may join what is sent to one address: they are obeyed in order, and a bad one between them is counted."""
    machine = Node(born())
    machine.start(0.0)
    joined = [
        encode(Welcome(header(pass_number=machine.registration), 1_000)),
        framed(b"no frame"),
        encode(Grant(header(1), (Placement(role_of(), 0, None),))),
    ]
    actions = machine.handle(Received(HOME + b"".join(joined)), 0.0)
    assert state_now(machine) is NodeState.WIRING and kinds(actions) == ["Probe"]
    assert machine.drops.counts == {"malformed": 1}


@given(random=st.randoms(use_true_random=False))
def test_messages_may_be_taken_in_any_portions(random: Any) -> None:
    """One by one or many at once, joined or not, data and control among each other: the same is sent, in the same order."""

    def frames(step: int) -> list[bytes]:
        said = {"low": 1, "high": 3}
        copies = [signal_to(2, 1, numbers(f"signal {step}", 2, 1), step, **said)] * 2
        return [*copies, error_from(3, numbers(f"error {step}", 2, 1), step, **said)]

    fetch = HOME + encode(Fetch(header(), 2, LATEST_STEP))
    sequence = [*frames(1), fetch, *frames(2), group_address(2) + framed(b"no frame"), *frames(3), fetch]
    one_by_one, portions = working(role_of()), working(role_of())
    should = [message for one in sequence for message in plain(one_by_one.receive([one], 0.0))]
    found: list[Any] = []
    while sequence:
        some, sequence = sequence[: (count := random.randint(1, len(sequence)))], sequence[count:]
        found += plain(portions.receive(some, 0.0))
    assert sorted(map(str, found)) == sorted(map(str, should))
    assert portions.drops.counts == one_by_one.drops.counts == {"duplicate": 3, "malformed": 1}


@given(random=st.randoms(use_true_random=False), copies=st.integers(1, 12))
def test_altered_copies_in_one_portion_change_nothing(random: Any, copies: int) -> None:
    """However many messages a node takes at once, and however many frames each has: the first copy of a frame counts."""
    role = role_of(senders=(Sender(1, 1, 1), Sender(4, 1, 1)))
    said: dict[str, Any] = {"low": 1, "high": 3}
    frames = [
        frame
        for step in (1, 2, 3)
        for frame in (
            data(DataKind.SIGNAL, 2, 1, numbers(f"signal {step}", 1, 1), step, **said),
            data(DataKind.SIGNAL, 2, 4, numbers(f"signals {step}", 1, 1), step, **said),
            data(DataKind.ERROR, 2, 3, numbers(f"error {step}", 1, 1), step, **said),
        )
    ]
    should = working(role)
    expected = [one for frame in frames for one in plain(should.receive([message_of(frame)], 0.0))]
    for copy in range(copies):
        at = random.randrange(len(frames))
        altered = frames[at]._replace(values=numbers(f"copy {copy}", *frames[at].values.shape))
        frames.insert(random.randint(at + 1, len(frames)), altered)
    given_messages: list[bytes] = []
    while frames:
        some, frames = frames[: (count := random.randint(1, 3))], frames[count:]
        given_messages.append(stage_address(2) + b"".join(frame.encode() for frame in some))
    machine, found = working(role), list[Any]()
    while given_messages:
        portion, given_messages = given_messages[: (count := random.randint(1, 9))], given_messages[count:]
        found += plain(machine.receive(portion, 0.0))
    assert sorted(map(str, found)) == sorted(map(str, expected))


def plain(actions: Sequence[Action]) -> list[tuple[Any, ...]]:
    """What is sent, without what has been counted meanwhile."""
    found: list[tuple[Any, ...]] = []
    for message in messages(actions):
        if isinstance(message, DataFrame):
            found.append((message.kind, message.pass_number, message.values.tolist()))
        elif isinstance(message, GroupState):
            found.append((message.step, message.state.weights.tolist()))
    return found


def test_data_before_a_control_message_come_first() -> None:
    """A question is answered with the state after everything that came before it."""
    machine = working(input_role(), state=state_of(matrix((0.0,)), matrix((2.0,))))
    step = [input_to(1, matrix((1.0,))), error_from(2, matrix((0.5,)), stage=1)]
    fetch = HOME + encode(Fetch(header(), 1, LATEST_STEP))
    for place in range(3):
        machine = working(input_role(), state=state_of(matrix((0.0,)), matrix((2.0,))))
        actions = machine.receive([*step[:place], fetch, *step[place:]], 0.0)
        [answer] = [message for message in messages(actions) if isinstance(message, GroupState)]
        assert answer.step == (1 if place == 2 else 0)
