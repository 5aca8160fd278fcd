"""One coordinator per broker: a second one is rejected before it takes a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.claim import CLAIM_MS
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from neuron_node.addresses import COORDINATOR, EVERY_NODE
from neuron_node.codec import decode, encode
from neuron_node.events import End, Received, Send, Tick
from neuron_node.protocol import Probe, Reject, Reregister, Welcome
from tests.coordinators import THREE, in_state, linked, register, reports
from tests.roles import messages

OWN, OTHER = b"\1" * 8, b"\2" * 8


def claiming(incarnation: bytes = OTHER) -> tuple[CoordinatorMachine, bytes]:
    """Return a coordinator whose link is proved and that claims the broker, and its message to all coordinators."""
    machine = CoordinatorMachine(replace(THREE, incarnation=incarnation, claims_broker=True, label="the run b"))
    probe = next(action for action in machine.start(0.0) if isinstance(action, Send))
    [claim] = sent_to_coordinators(machine.handle(Received(probe.message), 0.0))
    return machine, claim


def sent_to_coordinators(actions: list[Any]) -> list[bytes]:
    return [action.message for action in actions if isinstance(action, Send) and action.address == COORDINATOR]


@pytest.mark.parametrize("state", [state for state in CoordinatorState if state is not CoordinatorState.ENDED])
def test_a_coordinator_at_work_rejects_another(state: CoordinatorState) -> None:
    """The first coordinator keeps its state; the second one reports the reason, ends with 2, and has sent nothing to a node."""
    first = in_state(state)
    first.run.plan = replace(first.run.plan, label="the run a")
    second, claim = claiming()
    [rejection] = sent_to_coordinators(first.handle(Received(claim), 0.0))
    assert first.state is state
    # All coordinators receive it, also the one that sends it.
    assert first.handle(Received(rejection), 0.0) == [] and first.state is state
    actions = second.handle(Received(rejection), 10.0)
    assert [fact["reason"] for fact in reports(actions, "refused")] == ["the run a works at this broker already"]
    assert [action for action in actions if isinstance(action, End)] == [End(2)]
    assert not any(isinstance(action, Send) for action in actions)
    later = [*second.handle(Tick(), 5_000.0), *second.handle(Received(claim), 5_000.0)]
    assert not any(isinstance(action, Send) for action in later)


def test_without_another_coordinator_the_nodes_are_called_after_a_while() -> None:
    """A registration before the claim is ignored; after the claim, the coordinator asks all nodes to register."""
    machine, claim = claiming()
    assert sent_to_coordinators(machine.handle(Tick(), 600.0)) == [claim]
    machine.handle(Received(claim), 1_000.0)
    assert messages(register(machine, 1, now_ms=1_100.0)) == []
    assert not machine.membership.members
    assert not any(isinstance(m, Reregister) for m in messages(machine.handle(Tick(), 1_000.0 + CLAIM_MS - 1)))
    calls = [
        action
        for action in machine.handle(Tick(), 1_000.0 + CLAIM_MS)
        if isinstance(action, Send) and action.address == EVERY_NODE
    ]
    assert [type(decode(call.message[9:])) for call in calls] == [Reregister]
    assert any(isinstance(message, Welcome) for message in messages(register(machine, 1, now_ms=2_100.0)))


def test_of_two_that_begin_together_one_stays() -> None:
    """The coordinator with the smaller incarnation stays."""
    (small, from_small), (large, from_large) = claiming(OWN), claiming(OTHER)
    [rejection] = sent_to_coordinators(small.handle(Received(from_large), 0.0))
    assert sent_to_coordinators(large.handle(Received(from_small), 0.0)) == []
    large.handle(Received(rejection), 1.0)
    small.handle(Received(rejection), 1.0)
    assert (small.state, large.state) == (CoordinatorState.GATHERING, CoordinatorState.ENDED)


def test_a_rejection_of_another_probe_changes_nothing() -> None:
    """A rejection with the check of another frame is dropped, and so is one that a coordinator without a claim receives."""
    machine, claim = claiming()
    probe = decode(claim[9:])
    assert isinstance(probe, Probe)
    forged = COORDINATOR + encode(Reject(probe.header._replace(incarnation=OWN, pass_number=7), "go away"))
    for other in (machine, linked(THREE)):
        other.handle(Received(forged), 0.0)
        assert other.state is CoordinatorState.GATHERING and other.dropped["stale"] == 1
