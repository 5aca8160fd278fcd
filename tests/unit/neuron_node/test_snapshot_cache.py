"""A rollback needs no state to travel to who kept a copy; who kept none says so, and gets it."""

from __future__ import annotations

from neuron_node.addresses import node_address
from neuron_node.events import Received
from neuron_node.frames import Mode
from neuron_node.identity import NodeState
from neuron_node.node import Node
from neuron_node.protocol import (
    Grant,
    GroupState,
    NodeStatus,
    NodeStatusRequest,
    Placement,
    Ready,
    SnapshotMissing,
    Stage,
    State,
    Welcome,
    state_of,
)
from neuron_node.snapshot_cache import SnapshotCache, digest_of
from tests.roles import (
    NODE_LIFE,
    error_from,
    header,
    heard,
    input_role,
    input_to,
    matrix,
    messages,
    welcome,
    working,
)

WEIGHT_2 = state_of(matrix((0.0,)), matrix((2.0,)))


def step(machine: Node, number: int, mode: Mode = Mode.TRAIN) -> list[object]:
    """One training step of the input group; what it sends."""
    sent = messages(machine.handle(Received(input_to(1, matrix((1.0,)), number, mode=mode)), 0.0))
    sent += messages(machine.handle(Received(error_from(2, matrix((0.5,)), number, stage=1, mode=mode)), 0.0))
    return list(sent)


def offer(machine: Node, state: State, at_step: int, generation: int) -> list[object]:
    """A grant that names a state by its digest."""
    place = Placement(input_role(), at_step, None, digest_of(state))
    return list(messages(heard(machine, node_address(NODE_LIFE), Grant(header(generation=generation), (place,)))))


def test_a_copy_is_sent_unasked_and_kept() -> None:
    """At the end of the step that is marked for it, and of no other; later steps do not change it."""
    machine = working(input_role(), state=WEIGHT_2)
    assert not [message for message in step(machine, 1) if isinstance(message, GroupState)]
    [told] = [message for message in step(machine, 2, Mode.TRAIN_AND_COPY) if isinstance(message, GroupState)]
    assert told.step == 2
    step(machine, 3)
    [ready] = offer(machine, told.state, 2, generation=2)
    assert isinstance(ready, Ready) and machine.generation == 2
    group = machine.hosting.groups[1]
    state = group.state_after(2)
    assert group.step == 2 and state is not None and state.weights.tolist() == told.state.weights.tolist()


def test_node_without_a_copy_says_so_and_keeps_its_state() -> None:
    """Another step, or other numbers: nothing is hosted on trust."""
    machine = working(input_role(), state=WEIGHT_2)
    [told] = [message for message in step(machine, 1, Mode.TRAIN_AND_COPY) if isinstance(message, GroupState)]
    other = state_of(told.state.bias, told.state.weights + 1e-16 * told.state.weights + 1e-9)
    for state, at_step in ((told.state, 7), (other, 1)):
        [lacking] = offer(machine, state, at_step, generation=2)
        assert isinstance(lacking, SnapshotMissing) and lacking.groups == (1,) and lacking.header.generation == 2
        assert machine.generation == 1 and machine.state is NodeState.WORKING
    place = Placement(input_role(), 1, other)
    assert [
        type(m) for m in messages(heard(machine, node_address(NODE_LIFE), Grant(header(generation=2), (place,))))
    ] == [Ready]


def test_copies_outlive_a_registration_but_not_another_run() -> None:
    """A coordinator that comes back finds them; one of another run does not."""
    machine = working(input_role(), state=WEIGHT_2)
    [told] = [message for message in step(machine, 1, Mode.TRAIN_AND_COPY) if isinstance(message, GroupState)]
    machine._seek()
    welcome(machine)
    assert not [
        message for message in offer(machine, told.state, 1, generation=5) if isinstance(message, SnapshotMissing)
    ]
    place = Placement(input_role(), 1, None, digest_of(told.state))
    machine._seek()
    heard(machine, node_address(NODE_LIFE), Welcome(header(run=b"another.", pass_number=machine.registration), 1_000))
    grant = Grant(header(generation=1, run=b"another."), (place,))
    [lacking] = messages(heard(machine, node_address(NODE_LIFE), grant))
    assert isinstance(lacking, SnapshotMissing)


def test_a_group_that_was_let_go_comes_back_in_another_generation_only() -> None:
    """A late repetition of its grant would bring it back without the steps that it has done since."""
    machine = working(input_role(), state=WEIGHT_2)
    machine._seek()
    welcome(machine)
    grant = Grant(header(generation=1), (Placement(input_role(), 0, WEIGHT_2),))
    assert messages(heard(machine, node_address(NODE_LIFE), grant)) == []
    assert not machine.hosting.groups and machine.drops.counts == {"stale": 1}


def test_the_last_two_copies_are_kept_and_later_ones_go_with_a_rollback() -> None:
    """By the step after which they were taken."""
    copies = SnapshotCache()
    for at_step in (10, 20, 30):
        copies.keep(1, at_step, state_of(matrix((float(at_step),)), matrix((0.0,))))
    assert copies.of(1, 10) is None and copies.of(1, 20) is not None and copies.of(2, 20) is None
    copies.roll_back(1, 20)
    assert copies.of(1, 30) is None and copies.of(1, 20) is not None
    copies.retain({2})
    assert copies.of(1, 20) is None


def test_a_question_is_answered_with_whom_each_group_waits_for() -> None:
    """In a pass that has not come, in one that waits for errors, and in one that is over."""

    def answer(number: int) -> NodeStatus:
        [told] = messages(heard(machine, node_address(NODE_LIFE), NodeStatusRequest(header(number))))
        assert isinstance(told, NodeStatus) and told.state == "working"
        return told

    machine = working(input_role())
    assert [tuple(wait) for wait in answer(1).waits] == [(1, Stage.UNHEARD, (0,))]
    machine.handle(Received(input_to(1, matrix((1.0,)), 1)), 0.0)
    assert [tuple(wait) for wait in answer(1).waits] == [(1, Stage.FIRED, (2,))]
    machine.handle(Received(error_from(2, matrix((0.5,)), 1, stage=1)), 0.0)
    assert [tuple(wait) for wait in answer(1).waits] == [(1, Stage.DONE, ())]
    assert answer(9).waits[0].stage == Stage.UNHEARD
