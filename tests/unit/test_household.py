"""A node that hosts several groups: they hear each other without the link, and no number changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.machine.machine import CoordinatorMachine
from coordinator.machine.plan import Plan
from coordinator.memory_network import MemoryNetwork, add_run
from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, axon_address, error_address, group_address, node_address
from neuron_node.chain import FOLLOWED, FOLLOWS
from neuron_node.codec import decode, encode
from neuron_node.events import Send
from neuron_node.machine import NodeMachine
from neuron_node.messages import (
    LATEST_STEP,
    Axon,
    Data,
    Error,
    Fetch,
    GroupState,
    Header,
    Input,
    InputError,
    Mode,
    Signal,
    Target,
)
from neuron_node.role import OUTSIDE, Block, Sender
from tests.networks import plan_of, settings_of, trained, weights_sha256
from tests.roles import COORDINATOR_LIFE, OTHER_LIFE, RUN, input_role, output_role, role_of, working

LAYERS = (5, 4, 3, 2)


def plan_with(nodes: int | None, group_size: int = 1, **changes: Any) -> Plan:
    """Three layers of synapses, so that some groups are neither first nor last."""
    network = settings_of(LAYERS, epochs=2, batch_size=4)
    return plan_of(network, group_size=group_size, nodes=nodes, **changes)


class ChunkNetwork(MemoryNetwork):
    """Frames reach a node as its shell would give them: so many at once as it says are due."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        super().__init__(choose)
        self.left_waiting: list[list[bytes]] = []
        """What a node had when nobody could move any more, though nothing was under way: it waited for too many."""
        self.frames: list[bytes] = []
        self.put_off = 0
        """How often something was."""

    def send(self, frame: bytes) -> None:
        """Note what is on the wire."""
        self.frames.append(frame)
        super().send(frame)

    def _deliver(self) -> None:
        programs = sorted(self._waiting)
        ready = [number for number in programs if len(self._waiting[number]) >= self._due(number)]
        if not ready:
            self.left_waiting += [list(self._waiting[number]) for number in programs]
        program = (ready or programs)[self._choose(len(ready or programs))]
        waiting, due = self._waiting[program], self._due(program)
        frames = [waiting.popleft() for _ in range(min(due, len(waiting)))]
        if not waiting:
            del self._waiting[program]
        machine = self._machines[program]
        if program in self._ended:
            return
        if not isinstance(machine, NodeMachine):
            for frame in frames:
                self._perform(program, machine.receive(frame, self.now_ms))
            return
        self._perform(program, machine.take(frames, self.now_ms))
        while machine.intake.postponed:
            self.put_off += 1
            self._perform(program, machine.take([], self.now_ms))

    def _due(self, program: int) -> int:
        machine = self._machines[program]
        return machine.intake.due if isinstance(machine, NodeMachine) and program not in self._ended else 1


def run_in_chunks(plan: Plan, choose: Callable[[int], int]) -> tuple[ChunkNetwork, CoordinatorMachine]:
    """A run that has finished."""
    network = ChunkNetwork(choose)
    coordinator = add_run(network, plan)
    with quiet():
        network.run_until(lambda: coordinator.finished is not None)
    return network, coordinator


DIGESTS = {size: weights_sha256(trained(plan_with(None, size))) for size in (1, 2, 5)}
"""With one group a node, by the size of the groups."""


@settings(max_examples=40)
@given(group_size=st.sampled_from(sorted(DIGESTS)), nodes=st.integers(1, 4), random=st.randoms(use_true_random=False))
def test_how_many_nodes_there_are_changes_no_weight(group_size: int, nodes: int, random: Any) -> None:
    """Whatever the order in which they get their messages."""
    coordinator = trained(plan_with(nodes, group_size), random.randrange)
    assert weights_sha256(coordinator) == DIGESTS[group_size]
    assert coordinator.drops.counts.total() == 0


@settings(max_examples=40)
@given(group_size=st.sampled_from(sorted(DIGESTS)), nodes=st.integers(1, 4), random=st.randoms(use_true_random=False))
def test_a_node_never_waits_for_more_than_comes(group_size: int, nodes: int, random: Any) -> None:
    """As its shell does it, with so many frames at once as it says are due; and no number changes."""
    network, coordinator = run_in_chunks(plan_with(nodes, group_size), random.randrange)
    assert weights_sha256(coordinator) == DIGESTS[group_size]
    assert network.left_waiting == []


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_what_only_groups_of_one_node_hear_does_not_leave_it(nodes: int) -> None:
    """On the wire is only what somebody elsewhere hears, and with one node nothing but what coordinator and groups say."""
    network, coordinator = run_in_chunks(plan_with(nodes), lambda _ready: 0)
    topology = coordinator.topology
    home = {group: node for node, share in enumerate(coordinator.plan.shares(topology)) for group in share}
    spoken = [
        (frame[:ADDRESS_LENGTH], message)
        for frame in network.frames
        if isinstance(message := decode(frame), Signal | Axon | Error)
    ]
    assert bool(spoken) == (nodes > 1)
    for address, message in spoken:
        above, below = topology.senders[message.sender], topology.receivers[message.sender]
        hearers = above if address == error_address(message.sender) else below
        assert any(home[hearer] != home[message.sender] for hearer in hearers)


INPUTS = [input_role(group=group, blocks=(Block(3, 1, -1.0, 1.0), Block(4, 1, -1.0, 1.0))) for group in (1, 2)]
ABOVE = (Sender(1, 1, 0, 2), Sender(2, 1, 0, 2))
HIDDEN = role_of(group=3, senders=ABOVE, blocks=(Block(5, 1, -1.0, 1.0),))


def house() -> NodeMachine:
    """A node with two input groups and one of the two hidden groups that hear them."""
    return working(*INPUTS, HIDDEN)


def acted(machine: NodeMachine, frames: Sequence[bytes]) -> list[tuple[bytes, Data]]:
    """What leaves a node that takes these frames, and then does what it has put off."""
    with quiet():
        actions = [*machine.take(list(frames), 0.0)]
        while machine.intake.postponed:
            actions += machine.take([], 0.0)
    found = [(action.frame[:ADDRESS_LENGTH], decode(action.frame)) for action in actions if isinstance(action, Send)]
    return [(address, message) for address, message in found if isinstance(message, Data)]


def frame_of(kind: type[Any], address: bytes, sender: int, step: int, value: float = 0.5, **changes: Any) -> bytes:
    """Data of one row and one number."""
    header = Header(RUN, 1, step, OTHER_LIFE)
    return address + encode(kind(header, 0, Mode.TRAIN, sender, np.array([[value]]), **changes))


def inputs_of(step: int) -> list[bytes]:
    """Of both input groups."""
    return [frame_of(Input, group_address(group), OUTSIDE, step) for group in (1, 2)]


def errors_of(step: int) -> list[bytes]:
    """Of the output group, and of the hidden group that lives elsewhere."""
    return [frame_of(Error, error_address(group), group, step) for group in (5, 4)]


def test_what_others_hear_too_leaves_the_node_as_well() -> None:
    """An axon goes to a hidden group here and to one elsewhere; its error to input groups, which all live here, goes nowhere."""
    machine = house()
    for step in (1, 2):
        fired = acted(machine, inputs_of(step))
        assert [(address, type(message)) for address, message in fired] == [
            (axon_address(1), Axon),
            (axon_address(2), Axon),
            (group_address(5), Signal),
        ]
        replied = acted(machine, errors_of(step))
        assert [(address, type(message)) for address, message in replied] == [(COORDINATOR, InputError)] * 2
    assert {worker.step for worker in machine.workers.values()} == {2}
    assert machine.dropped.total() == 0


def test_a_node_does_not_listen_where_its_own_groups_speak_to_several() -> None:
    """Or it would take what it has handed on once more; where a group is spoken to, it listens."""
    heard = set(house().hosting.subscriptions)
    assert heard >= {error_address(4), error_address(5), *map(group_address, (1, 2, 3))}
    assert not heard & {axon_address(1), axon_address(2), error_address(3)}


def test_so_many_frames_are_due_as_the_first_stage_lacks() -> None:
    """Of a step that is known to come: both inputs, then the hidden group's errors, then those that only input groups lack."""
    blocks = tuple(Block(group, 1, -1.0, 1.0) for group in (3, 4, 7))
    outputs = (Block(5, 1, -1.0, 1.0), Block(6, 1, -1.0, 1.0), Block(8, 1, -1.0, 1.0))
    above = tuple(sender._replace(fan_out=3) for sender in ABOVE)
    machine = working(
        *[role._replace(blocks=blocks) for role in INPUTS], HIDDEN._replace(senders=above, blocks=outputs)
    )
    due = []
    for step, chain in ((1, FOLLOWED), (2, FOLLOWS)):
        inputs = [frame_of(Input, group_address(group), OUTSIDE, step, chain=chain) for group in (1, 2)]
        errors = [frame_of(Error, error_address(group), group, step, chain=chain) for group in (5, 6, 8, 4, 7)]
        for frame in (*inputs, *errors):
            due.append(machine.intake.due)
            acted(machine, [frame])
    # At the first frame of all, nobody knows how large a step is.
    assert due == [1, 1, 3, 2, 1, 2, 1, 2, 1, 3, 2, 1, 2, 1]
    assert {worker.step for worker in machine.workers.values()} == {2} and machine.intake.due == 1


def test_targets_are_due_beside_the_first_stage() -> None:
    """The coordinator sends them with the inputs, each to one group; an axon is for both groups here."""
    senders = (Sender(3, 1, 0, 2), Sender(4, 1, 0, 2))
    machine = working(*[output_role(group=group, senders=senders) for group in (5, 6)])
    due = []
    for step, chain in ((1, FOLLOWED), (2, FOLLOWS)):
        targets = [frame_of(Target, group_address(group), OUTSIDE, step, chain=chain) for group in (5, 6)]
        header = Header(RUN, 1, step, OTHER_LIFE)
        axons = [
            axon_address(group) + encode(Axon(header, 0, Mode.TRAIN, group, np.ones((1, 2)), chain=chain))
            for group in (3, 4)
        ]
        for frame in (*targets, *axons):
            due.append(machine.intake.due)
            acted(machine, [frame])
    assert due == [1, 1, 2, 1, 4, 3, 2, 1]


def test_messages_within_the_node_are_not_counted() -> None:
    """`sent` is what left it, `received` what came to it."""
    machine = house()
    sent, received = machine.sent, machine.received
    for step in (1, 2):
        acted(machine, inputs_of(step))
        acted(machine, errors_of(step))
    assert (machine.sent - sent, machine.received - received) == (2 * 5, 2 * 4)


def test_one_group_has_use_for_what_another_has_to_refuse() -> None:
    """Both hear the same error; it is counted as dropped once, and the one that can takes it."""
    machine = working(*[role._replace(blocks=(Block(3, 1, -1.0, 1.0),)) for role in INPUTS])
    acted(machine, inputs_of(1)[:1])
    [(_, message)] = acted(machine, [frame_of(Error, error_address(3), 3, 1)])
    assert isinstance(message, InputError) and message.sender == 1
    wrong = frame_of(Error, error_address(3), 3, 1, part=1, parts=2)
    assert acted(machine, [wrong]) == []
    assert machine.dropped.total() == 1


def test_a_message_that_one_group_refuses_is_still_heard_by_the_next() -> None:
    """An error of a pass that the first group has in another shape, and the second does not know yet."""
    machine = working(*[role._replace(blocks=(Block(3, 1, -1.0, 1.0),)) for role in INPUTS])
    acted(machine, inputs_of(1)[:1])
    acted(machine, [frame_of(Error, error_address(3), 3, 1, part=0, parts=2)])
    said = acted(machine, [frame_of(Input, group_address(2), OUTSIDE, 1, part=0, parts=2)])
    assert [message.sender for _, message in said if isinstance(message, InputError)] == [2]
    assert machine.dropped.total() == 1


@pytest.mark.parametrize("nodes", [1, 2])
def test_learning_may_be_put_off_until_errors_are_on_their_way(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with large weights: every group then learns once what the groups say to each other has come to rest."""
    monkeypatch.setattr("neuron_node.worker.REPLIES_FIRST_FROM_BYTES", -1)
    network, coordinator = run_in_chunks(plan_with(nodes), lambda _ready: 0)
    assert weights_sha256(coordinator) == DIGESTS[1]
    assert network.put_off > 0


def test_what_was_put_off_is_done_before_a_question_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and a question in one chunk: the state is that after the step."""
    monkeypatch.setattr("neuron_node.worker.REPLIES_FIRST_FROM_BYTES", -1)
    machine = house()
    for frames in (inputs_of(1), errors_of(1), inputs_of(2)):
        acted(machine, frames)
    fetch = node_address(machine.born.incarnation) + encode(Fetch(Header(RUN, 1, 0, COORDINATOR_LIFE), 3, LATEST_STEP))
    actions = machine.take([*errors_of(2), fetch], 0.0)
    states = [decode(action.frame) for action in actions if isinstance(action, Send) and action.address == COORDINATOR]
    assert [message.step for message in states if isinstance(message, GroupState)] == [2]


def test_what_a_person_asks_for_between_data_is_answered_after_them() -> None:
    """A chunk may hold both: the state is that after the step whose last messages come before the question."""
    machine = house()
    acted(machine, inputs_of(1))
    fetch = node_address(machine.born.incarnation) + encode(Fetch(Header(RUN, 1, 0, COORDINATOR_LIFE), 3, LATEST_STEP))
    actions = machine.take([*errors_of(1), fetch], 0.0)
    states = [decode(action.frame) for action in actions if isinstance(action, Send) and action.address == COORDINATOR]
    assert [message.step for message in states if isinstance(message, GroupState)] == [1]
