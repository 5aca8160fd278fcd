"""What a coordinator does with messages whose sender shows no knowledge of the run: nothing to a member."""

from __future__ import annotations

from zlib import crc32

import pytest

from coordinator.core.failure_detector import FIRST_ANSWER_MS
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from neuron_node.addresses import COORDINATOR, EVERY_NODE, node_address
from neuron_node.codec import encode
from neuron_node.events import Received, Tick
from neuron_node.frames import LENGTH_BYTES, DataFrame
from neuron_node.protocol import (
    CALLED,
    NOBODY,
    Diverged,
    Header,
    Heartbeat,
    Message,
    NodeStatus,
    NodeStatusRequest,
    Probe,
    Register,
    Reject,
    Reregister,
    SnapshotMissing,
    Stop,
    Stopped,
    Waits,
    Welcome,
)
from tests.coordinators import NO_TRAFFIC, THREE, by, grants, handle, in_state, life, linked, register, tell, wired
from tests.networks import FINGERPRINT
from tests.roles import messages, sent

OPEN = (CoordinatorState.GATHERING, CoordinatorState.WIRING, CoordinatorState.TRAINING, CoordinatorState.IDLE)
OTHERS = b"another."


def unproved(run: bytes) -> list[Message]:
    """Return messages in the name of node-1 by a program that knows its incarnation and not the run."""
    about = Header(run, 1, 0, life(1))
    return [
        Stopped(about, NO_TRAFFIC),
        Heartbeat(about, "working", NO_TRAFFIC),
        NodeStatus(about, "spare", ()),
        Diverged(about, 1, "input.0", 3),
        SnapshotMissing(about, (1,)),
        Probe(about),
        Register(about, "node-1", "elsewhere", 1, "9", "another arithmetic"),
        Register(about, "node-1", "elsewhere", 1, "9", FINGERPRINT),
    ]


def standing(machine: CoordinatorMachine) -> object:
    """What must not change."""
    members = [(one.incarnation, one.groups, one.ready) for one in machine.membership.in_order()]
    return machine.state, machine.outbox.generation, machine.failure, members, machine.membership.gone


@pytest.mark.parametrize("other_version", [False, True], ids=["our version", "another version"])
@pytest.mark.parametrize("run", [NOBODY, OTHERS], ids=["no run", "another run"])
@pytest.mark.parametrize("state", OPEN, ids=lambda state: state.value)
@pytest.mark.parametrize("index", range(len(unproved(NOBODY))))
def test_an_incarnation_alone_proves_nothing(
    index: int, state: CoordinatorState, run: bytes, other_version: bool
) -> None:
    """Every member keeps its place and its groups after any message in its name without its run, in any version."""
    machine = in_state(state)
    before, message = standing(machine), unproved(run)[index]
    frame = bytearray(encode(message))
    frame[LENGTH_BYTES + 1] += other_version
    actions = messages(handle(machine, Received(COORDINATOR + bytes(frame)), 0.0))
    assert standing(machine) == before
    answers = [answer for answer in actions if not isinstance(answer, Welcome | Reject)]
    assert answers == []
    # A refusal names the frame that it refuses, which is not the node's registration.
    checks = [answer.header.pass_number for answer in actions if isinstance(answer, Reject)]
    assert checks in ([], [crc32(frame)])
    if other_version:
        assert actions == [] and machine.dropped == {"version": 1}


@pytest.mark.parametrize("run", [NOBODY, OTHERS], ids=["no run", "another run"])
@pytest.mark.parametrize("state", OPEN, ids=lambda state: state.value)
def test_any_program_can_take_a_name(state: CoordinatorState, run: bytes) -> None:
    """The member is asked, answers, and is asked no more; its namesake is not taken in."""
    machine = in_state(state)
    before = standing(machine)
    assert messages(register(machine, 77, name="node-1", run=run)) == []
    home, hosted = node_address(life(1)), machine.membership.members[life(1)].groups

    def asked(now_ms: float) -> bool:
        said = sent(handle(machine, Tick(), now_ms))
        return any(address == home and isinstance(message, NodeStatusRequest) for address, message in said)

    assert asked(1.0)
    tell(machine, NodeStatus(by(machine, 1), "spare", tuple(Waits(group, 0, ()) for group in hosted)), 2.0)
    assert standing(machine) == before
    assert state is CoordinatorState.WIRING or not asked(200.0)


def test_a_node_that_another_run_calls_is_asked() -> None:
    """The question tells the node that its coordinator is there."""
    machine = in_state(CoordinatorState.IDLE)
    tell(machine, Heartbeat(by(machine, 1), CALLED, NO_TRAFFIC), 1.0)
    said = sent(handle(machine, Tick(), 2.0))
    assert [address for address, message in said if isinstance(message, NodeStatusRequest)] == [node_address(life(1))]
    assert machine.membership.members[life(1)].state != CALLED


def test_a_namesake_is_taken_in_once_the_member_does_not_answer() -> None:
    """A container that was killed and has begun again knows no run: it is called when the earlier life is given up."""
    machine, _ = wired(THREE)
    refused: list[list[Message | DataFrame]] = []
    for now_ms in range(0, int(2 * FIRST_ANSWER_MS), 50):
        if now_ms % 250 == 0:
            refused.append(messages(register(machine, 77, name="node-2", run=NOBODY, now_ms=now_ms)))
        said = sent(handle(machine, Tick(), now_ms))
        if any(address == EVERY_NODE and isinstance(message, Reregister) for address, message in said):
            break
    assert life(2) in machine.membership.gone and machine.outbox.generation == 2 and not any(refused)
    actions = register(machine, 77, name="node-2", run=NOBODY, now_ms=now_ms)
    assert isinstance(messages(actions)[0], Welcome) and life(77) in grants(actions)


def test_a_registration_that_names_the_run_supersedes_at_once() -> None:
    """A supervisor has started it in place of one that has ended."""
    machine, _ = wired(THREE)
    register(machine, 77, name="node-2")
    assert life(2) in machine.membership.gone and machine.outbox.generation == 2
    # It was told the run, and has kept nothing of it.
    assert not machine.membership.members[life(77)].may_keep_snapshots


def test_a_late_registration_is_stopped_by_name() -> None:
    """While the run ends, the stop names the registration that it answers: such a node may know no run."""
    machine = in_state(CoordinatorState.STOPPING)
    message = Register(Header(NOBODY, 0, 0, life(9)), "late", "host", 1, "0", FINGERPRINT)
    [answer] = messages(tell(machine, message))
    assert isinstance(answer, Stop) and answer.header.pass_number == crc32(encode(message))


def test_another_arithmetic_is_refused_by_name() -> None:
    """The refusal names the registration that it refuses."""
    machine = linked(THREE)
    message = Register(Header(NOBODY, 0, 0, life(9)), "odd", "host", 1, "0", "another arithmetic")
    [answer] = messages(tell(machine, message))
    assert isinstance(answer, Reject) and answer.header.pass_number == crc32(encode(message))
