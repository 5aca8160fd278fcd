"""A node that hosts several groups: they receive from each other without the link, and no number changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.assignment import groups_by_node
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.in_memory import MemoryNetwork, add_run, network_of
from neuron_node import group as group_module
from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS, group_address, node_address, stage_address
from neuron_node.codec import encode
from neuron_node.events import Received, Send
from neuron_node.frames import DataFrame, DataKind
from neuron_node.group import Group
from neuron_node.local_delivery import LocalDelivery, addressed_only_here, joined, joined_in_turn
from neuron_node.node import Node
from neuron_node.protocol import LATEST_STEP, Fetch, GroupState, Placement
from neuron_node.role import OUTSIDE, Block, Sender
from tests.networks import plan_of, settings_of, trained, weights_sha256
from tests.roles import (
    NODE_LIFE,
    axon_to,
    error_from,
    frames_of,
    header,
    input_role,
    kinds,
    matrix,
    messages,
    output_role,
    role_of,
    sent,
    targets_to,
    working,
)

LAYERS = (5, 4, 3, 2)


def plan_with(nodes: int | None, group_size: int = 1, **changes: Any) -> RunPlan:
    """Three layers of synapses, so that some groups are neither first nor last."""
    return plan_of(
        settings_of(LAYERS, epochs=2, batch_size=changes.pop("batch_size", 4)),
        group_size=group_size,
        nodes=nodes,
        **changes,
    )


class ShellNetwork(MemoryNetwork):
    """Messages reach a node as its shell would give them: with so many frames at once as it wants."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        super().__init__(choose)
        self.left_waiting: list[list[bytes]] = []
        """What a node had when no program could go on, though nothing was under way: it waited for too much."""
        self.messages: list[bytes] = []
        self.deferred = 0
        """How often a machine put work off."""

    def send(self, frame: bytes) -> None:
        """Note what is on the wire."""
        self.messages.append(frame)
        super().send(frame)

    def _deliver(self) -> None:
        programs = sorted(self._waiting)
        ready = [number for number in programs if self._count(number) >= self._wanted(number)]
        if not ready:
            self.left_waiting += [list(self._waiting[number]) for number in programs]
        program = (ready or programs)[self._choose(len(ready or programs))]
        waiting, taken, wanted = self._waiting[program], list[bytes](), self._wanted(program)
        while waiting and sum(len(frames_of(message)) for message in taken) < wanted:
            taken.append(waiting.popleft())
        if not waiting:
            del self._waiting[program]
        if program in self._ended:
            return
        machine: Any = self._machines[program]
        self._perform(program, machine.receive(taken, self.now_ms))
        while machine.has_deferred_work:
            self.deferred += 1
            self._perform(program, machine.run_deferred(self.now_ms))

    def _count(self, program: int) -> int:
        return sum(len(frames_of(message)) for message in self._waiting[program])

    def _wanted(self, program: int) -> int:
        machine: Any = self._machines[program]
        return 1 if program in self._ended else int(machine.wanted)


def run_as_shells_do(plan: RunPlan, choose: Callable[[int], int]) -> tuple[ShellNetwork, CoordinatorMachine]:
    """A run that has finished."""
    network = ShellNetwork(choose)
    coordinator = add_run(network, plan)
    with quiet():
        network.run_until(lambda: coordinator.finished is not None)
    return network, coordinator


def digest_of(size: int, batch: int, parts: int = 1) -> str:
    """With one group per node."""
    key = (size, batch, parts)
    if key not in DIGESTS:
        DIGESTS[key] = weights_sha256(trained(plan_with(None, size, batch_size=batch, microbatches=parts)))
    return DIGESTS[key]


DIGESTS: dict[tuple[int, int, int], str] = {}
sizes, node_counts, batches = st.sampled_from([1, 2, 5]), st.integers(1, 4), st.sampled_from([1, 4])


@settings(max_examples=25)
@given(size=sizes, nodes=node_counts, batch=batches, random=st.randoms(use_true_random=False))
def test_how_many_nodes_there_are_changes_no_weight(size: int, nodes: int, batch: int, random: Any) -> None:
    """In any order of delivery: the bits are those of separate nodes, and nothing but a late welcome is dropped."""
    network, coordinator = network_of(plan_with(nodes, size, batch_size=batch), random.randrange)
    network.run_until(lambda: coordinator.finished is not None)
    assert weights_sha256(coordinator) == digest_of(size, batch)
    for machine in network._machines:
        assert isinstance(machine, Node | CoordinatorMachine) and {*machine.drops.counts} <= {"stale"}


@settings(max_examples=20)
@given(
    size=sizes,
    nodes=node_counts,
    batch=batches,
    measured=st.sampled_from([2, 256]),
    parts=st.sampled_from([1, 3]),
    random=st.randoms(use_true_random=False),
)
def test_a_node_never_waits_for_more_than_comes(
    size: int, nodes: int, batch: int, measured: int, parts: int, random: Any
) -> None:
    """As shells do it, with so many frames at once as a machine wants; in steps of several parts, and with several forward
    passes at once; and no number changes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordinator.core.trainer.MEASURED_ROWS_AT_ONCE", measured)
        plan = plan_with(nodes, size, batch_size=batch, microbatches=parts)
        network, coordinator = run_as_shells_do(plan, random.randrange)
    assert weights_sha256(coordinator) == digest_of(size, batch, parts)
    assert network.left_waiting == []


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_frame_for_groups_of_one_node_does_not_leave_it(nodes: int) -> None:
    """On the wire is only what another program receives; with one node nothing but what coordinator and groups say."""
    network, coordinator = run_as_shells_do(plan_with(nodes), lambda _ready: 0)
    topology = coordinator.topology
    home = {
        group: node
        for node, share in enumerate(groups_by_node(topology, coordinator.run.plan.nodes))
        for group in share
    }
    on_the_wire = [
        frame
        for message in network.messages
        if message[0] in DATA_LETTERS
        for frame in frames_of(message)
        if isinstance(frame, DataFrame) and OUTSIDE not in (frame.sender, frame.receiver)
    ]
    assert bool(on_the_wire) == (nodes > 1)
    for frame in on_the_wire:
        receivers = [frame.receiver]
        if frame.kind != DataKind.SIGNAL:
            receivers = [
                group.number for group in topology.groups.values() if topology.stage_of(group) == frame.receiver
            ]
        assert any(home[receiver] != home[frame.sender] for receiver in receivers)


# A node with two input groups and one of the two hidden groups below them.

BELOW = (Block(3, 2, 1, -1.0, 1.0), Block(4, 2, 1, -1.0, 1.0))
INPUTS = [input_role(group=group, first=group - 1, width=2, blocks=BELOW) for group in (1, 2)]
HIDDEN = role_of(group=3, width=2, senders=(Sender(1, 1, 1), Sender(2, 1, 1)), blocks=(Block(5, 3, 1, -1.0, 1.0),))
ROW = matrix((0.5, 0.25))


def inputs_of(step: int, **said: Any) -> bytes:
    return axon_to(1, OUTSIDE, ROW, step, **said)


def errors_of(step: int, **said: Any) -> list[bytes]:
    """Of the output group, and of the hidden group that another node hosts."""
    return [error_from(5, matrix((0.5,)), step, stage=2, **said), error_from(4, matrix((0.5,)), step, stage=1, **said)]


def acted(machine: Node, *given_messages: bytes) -> list[Any]:
    """What a node does with messages, and then with what it has put off."""
    with quiet():
        actions = [*machine.receive(list(given_messages), 0.0)]
        while machine.has_deferred_work:
            actions += machine.run_deferred(0.0)
    return actions


def test_frame_for_other_nodes_too_leaves_the_node() -> None:
    """Signals go to a hidden group here and to one elsewhere; its error to input groups, which are all here, goes nowhere."""
    machine = working(*INPUTS, HIDDEN)
    for step in (1, 2):
        fired = acted(machine, inputs_of(step))
        assert [
            (address, message.kind, message.sender)
            for address, message in sent(fired)
            if isinstance(message, DataFrame)
        ] == [
            (stage_address(2), DataKind.AXON, 1),
            (stage_address(2), DataKind.AXON, 2),
            (group_address(5), DataKind.SIGNAL, 3),
        ]
        replied = acted(machine, *errors_of(step))
        assert [address for address, _ in sent(replied)] == [stage_address(OUTSIDE)] * 2
        assert kinds(replied) == ["INPUT_ERROR"] * 2
    assert {group.step for group in machine.hosting.groups.values()} == {2}
    assert machine.drops.counts.total() == 0


def test_its_own_frames_that_come_back_are_not_counted() -> None:
    """The broker returns them where the stage is shared with another node; a second copy of another node's frame counts."""
    machine = working(*INPUTS, HIDDEN)
    fired = [action.message for action in acted(machine, inputs_of(1)) if isinstance(action, Send)]
    assert acted(machine, *fired[:2]) == [] and machine.drops.counts.total() == 0
    for message in errors_of(1)[:1] * 2:
        acted(machine, message)
    assert machine.drops.counts == {"duplicate": 1}


def test_messages_within_the_node_are_not_counted() -> None:
    """`sent` is what left it, `received` what came to it."""
    machine = working(*INPUTS, HIDDEN)
    sent_before, received = machine.sent, machine.received
    for step in (1, 2):
        acted(machine, inputs_of(step))
        acted(machine, *errors_of(step))
    assert (machine.sent - sent_before, machine.received - received) == (2 * 5, 2 * 3)


def test_so_many_frames_are_wanted_as_the_first_stage_lacks() -> None:
    """Of the oldest pass: the inputs, then the errors of the groups below the hidden one, then those for the inputs."""
    below = (Block(5, 3, 1, -1.0, 1.0), Block(6, 3, 1, -1.0, 1.0), Block(8, 3, 1, -1.0, 1.0))
    wider = (*BELOW, Block(7, 2, 1, -1.0, 1.0))
    inputs = [role._replace(blocks=wider) for role in INPUTS]
    machine, wanted = working(*inputs, HIDDEN._replace(width=3, blocks=below)), list[int]()
    errors = [(5, 2), (6, 2), (8, 2), (4, 1), (7, 1)]
    for step in (1, 2):
        said = {"low": step, "high": 2}
        come = [
            inputs_of(step, **said),
            *[error_from(one, matrix((0.5,)), step, stage=stage, **said) for one, stage in errors],
        ]
        for message in come:
            wanted.append(machine.wanted)
            acted(machine, message)
    # Before the first frame of all, no pass is announced. Before the last error of step 1, the next input may be here too.
    assert wanted == [1, 3, 2, 1, 3, 2, 1, 3, 2, 1, 2, 1]
    assert machine.wanted == 1


def test_targets_are_wanted_beside_the_signals() -> None:
    """Both groups of outputs are in one stage: an axon and the targets are for both. The next targets come after the signals."""
    senders = (Sender(3, 2, 1), Sender(4, 2, 1))
    machine = working(*[output_role(group=group, first=group - 5, width=2, senders=senders) for group in (5, 6)])
    wanted = []
    for step in (1, 2):
        said = {"low": step, "high": 2}
        for message in (
            targets_to(3, ROW, step, **said),
            *[axon_to(3, sender, ROW, step, **said) for sender in (3, 4)],
        ):
            wanted.append(machine.wanted)
            acted(machine, message)
    assert wanted == [1, 2, 1, 3, 2, 1]


def test_one_group_can_use_a_message_that_another_rejects() -> None:
    """Both receive the same errors; one of them has the pass in another shape."""
    machine = working(*[role._replace(blocks=BELOW[:1]) for role in INPUTS])
    machine.handle(Received(axon_to(1, OUTSIDE, ROW)), 0.0)
    two_parts: dict[str, Any] = {"part": 0, "parts": 2}
    assert acted(machine, error_from(3, matrix((0.5,)), stage=1, **two_parts))
    assert machine.drops.counts == {"shape": 2}
    assert kinds(acted(machine, error_from(3, matrix((0.5,)), stage=1))) == ["INPUT_ERROR"] * 2


@pytest.mark.parametrize("nodes", [1, 2])
def test_learning_may_be_put_off_until_errors_are_on_their_way(nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with large weights: every group then learns once all that the groups say to each other is done."""
    monkeypatch.setattr(group_module, "REPLIES_FIRST_FROM_BYTES", -1)
    network, coordinator = run_as_shells_do(plan_with(nodes), lambda _ready: 0)
    assert weights_sha256(coordinator) == digest_of(1, 4)
    assert network.deferred > 0


@pytest.mark.parametrize("put_off", [True, False])
def test_a_question_is_answered_after_the_data_before_it(put_off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wake-up may bring both: the state is that after the step whose last messages come before the question."""
    if put_off:
        monkeypatch.setattr(group_module, "REPLIES_FIRST_FROM_BYTES", -1)
    machine = working(*INPUTS, HIDDEN)
    acted(machine, inputs_of(1))
    fetch = node_address(machine.born.incarnation) + encode(Fetch(header(), 3, LATEST_STEP))
    answers = [
        message for message in messages(machine.receive([*errors_of(1), fetch], 0.0)) if isinstance(message, GroupState)
    ]
    assert [message.step for message in answers] == [1]


# Its parts.


def test_messages_of_one_address_and_length_are_joined() -> None:
    """In the order of the first of each; no frame is lost, and none is changed."""
    one, other = stage_address(1), group_address(1)
    given_messages = [one + b"ab", other + b"cd", one + b"ef", one + b"ghi", other + b"jk", one + b"lm"]
    assert joined(given_messages) == [one + b"abeflm", other + b"cdjk", one + b"ghi"]
    assert joined([]) == []


def test_messages_from_outside_are_joined_in_their_turn() -> None:
    """Only successive ones: no frame overtakes a copy of it that came before."""
    one, other = stage_address(1), group_address(1)
    given_messages = [one + b"ab", one + b"cd", other + b"ef", one + b"gh", one + b"ijk", one + b"lm", one + b"no"]
    assert joined_in_turn(given_messages) == [one + b"abcd", other + b"ef", one + b"gh", one + b"ijk", one + b"lmno"]
    assert joined_in_turn([]) == []


def test_which_addresses_are_those_of_this_node_alone() -> None:
    """Each group's own, and a stage's where all its neurons are here."""

    def group(number: int, **said: Any) -> Group:
        return Group(Placement(role_of(group=number, **said), 0, None), header(1), NODE_LIFE)

    half = [group(1, stage=1, width=2), group(3, stage=2, first=1, width=3)]
    assert addressed_only_here(half) == {group_address(1), group_address(3)}
    whole = [*half, group(2, stage=1, first=1, width=2)]
    assert addressed_only_here(whole) == {*map(group_address, (1, 2, 3)), stage_address(1)}
    assert set(LocalDelivery(whole).addresses) == {*map(group_address, (1, 2, 3)), *map(stage_address, (1, 2))}
    assert all(len(address) == ADDRESS_LENGTH for address in LocalDelivery(whole).addresses)


def test_a_message_for_another_node_reaches_no_group() -> None:
    """Nor is it counted: it has other receivers."""
    delivery = LocalDelivery([Group(Placement(role, 0, None), header(1), NODE_LIFE) for role in (*INPUTS, HIDDEN)])
    assert delivery.receive(error_from(5, matrix((0.5,)), stage=9)) == [] and delivery.run() == []
    assert delivery.receive(axon_to(1, OUTSIDE, np.ones((1, 2)))) == []
    assert [send.address for send in delivery.run()][-1] == group_address(5)
