"""Who is late is asked, who does not answer is lost, and a group whose node does not come back moves in with others."""

from __future__ import annotations

from coordinator.core.failure_detector import LEAST_ANSWER_MS
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.state import CoordinatorState
from coordinator.core.verdicts import Recover
from neuron_node.events import LinkLost, Tick
from neuron_node.protocol import (
    GroupState,
    Heartbeat,
    NodeStatus,
    NodeStatusRequest,
    SnapshotMissing,
    Stage,
    Stopped,
    Waits,
    state_of,
)
from tests.coordinators import (
    NO_TRAFFIC,
    by,
    finish_step,
    grants,
    handle,
    life,
    ready,
    register,
    reports,
    tell,
    wired,
)
from tests.networks import plan_of, settings_of, xor_data
from tests.roles import matrix, messages, sent

PLAN = plan_of(settings_of((2, 1), epochs=9, batch_size=1), xor_data(), snapshot_interval_steps=1, grace_ms=5_000)


def late() -> CoordinatorMachine:
    """Three nodes whose second step has been repeated in vain, and who were asked at 300 ms."""
    machine, _ = wired(PLAN)
    finish_step(machine, 1.0)
    assert not [
        message for message in messages(handle(machine, Tick(), 200.0)) if isinstance(message, NodeStatusRequest)
    ]
    asked = [message for message in messages(handle(machine, Tick(), 300.0)) if isinstance(message, NodeStatusRequest)]
    assert [message.header.pass_number for message in asked] == [machine.trainer.in_flight.oldest] * 3
    return machine


def answer(
    machine: CoordinatorMachine, number: int, now_ms: float, *groups: int, generation: int | None = None
) -> None:
    """A node says whom its groups wait for; its own group by default."""
    waits = tuple(Waits(group, Stage.LISTENING, ()) for group in groups or (number,))
    tell(machine, NodeStatus(by(machine, number, 2, generation), "working", waits), now_ms)


def test_member_that_does_not_answer_is_lost() -> None:
    """Though its heartbeats come: it may not hear us. It is asked again in between, and who answered is not lost."""
    machine = late()
    for number in (1, 3):
        answer(machine, number, 310.0)
    again = 0
    for now_ms in range(350, 800, 50):
        tell(machine, Heartbeat(by(machine, 2), "working", NO_TRAFFIC), now_ms)
        actions = handle(machine, Tick(), now_ms)
        again += sum(
            address[1:] == life(2) and isinstance(message, NodeStatusRequest) for address, message in sent(actions)
        )
        assert machine.outbox.generation == 1 and now_ms <= 300.0 + LEAST_ANSWER_MS
    assert again >= 3
    actions = handle(machine, Tick(), 310.0 + LEAST_ANSWER_MS)
    [facts] = reports(actions, "recovery")
    assert facts["reason"].startswith("input.1 (node-2) has not answered for ") and machine.outbox.generation == 2
    assert life(2) in machine.membership.gone


def test_limits_double_until_a_step_is_done() -> None:
    """So that a slow machine is not taken for a dead one for ever."""
    machine, _ = wired(PLAN)
    finish_step(machine, 1.0)
    usual_ms = machine.failure_detector.answer_ms(machine.membership.in_order()[0])
    for number in (4, 5):
        machine.apply(Recover("a test"))
        register(machine, number)
        for member in machine.membership.hosting():
            tell(machine, Heartbeat(by(machine, member.incarnation[-1]), "working", NO_TRAFFIC))
            ready(machine, member.incarnation[-1])
    assert machine.failure_detector.answer_ms(machine.membership.in_order()[0]) == 4 * usual_ms
    finish_step(machine, 2.0)
    assert machine.failure_detector.answer_ms(machine.membership.in_order()[0]) == usual_ms


def test_a_node_that_hosts_other_groups_than_it_should_has_lost_them() -> None:
    """It says so in its answer; one from an earlier generation came late."""
    machine = late()
    answer(machine, 2, 310.0, 2, generation=0)
    assert machine.outbox.generation == 1
    tell(machine, NodeStatus(by(machine, 2, 2), "spare", ()), 320.0)
    assert machine.outbox.generation == 2 and life(2) not in machine.membership.gone


def test_coordinator_without_links_counts_no_silence() -> None:
    """Until its own links are proved no time counts against the nodes."""
    machine = late()
    handle(machine, LinkLost(), 320.0)
    for now_ms in range(400, 2_500, 100):
        handle(machine, Tick(), now_ms)
    assert machine.outbox.generation == 1 and len(machine.membership.members) == 3


def test_a_node_that_never_gets_ready_is_lost() -> None:
    """It answers all questions, but its links are not proved."""
    machine = late()
    tell(machine, Stopped(by(machine, 1), NO_TRAFFIC), 310.0)
    register(machine, 4, now_ms=320.0)
    assert machine.state is CoordinatorState.WIRING
    for number in (2, 3):
        ready(machine, number, 330.0)
    now_ms = 330.0
    while machine.outbox.generation == 2 and now_ms < 60_000.0:
        now_ms += 50.0
        tell(machine, NodeStatus(by(machine, 4, 0), "wiring", ()), now_ms)
        actions = handle(machine, Tick(), now_ms)
    assert [facts["reason"] for facts in reports(actions, "recovery")] == [
        "input.0 (node-4) does not get its links proved"
    ]


def snapshot(machine: CoordinatorMachine) -> None:
    """The parts of the snapshot after the first step come in, which is then done."""
    for group in (1, 2, 3):
        weights = matrix((0.25,)) if group < 3 else matrix((0.25,))[:, :0]
        state = state_of(matrix((group / 8,)), weights)
        empty = matrix((0.0,))
        tell(machine, GroupState(by(machine, group), group, 1, state, empty, empty, NO_TRAFFIC))
    finish_step(machine)
    assert machine.trainer.snapshot is not None and machine.trainer.snapshot.step == 1


def test_only_a_lost_groups_state_travels() -> None:
    """The others are granted theirs by its digest, and get it in full if they say that they lack it."""
    machine, _ = wired(PLAN)
    snapshot(machine)
    tell(machine, Stopped(by(machine, 1), NO_TRAFFIC))
    given = {node: grant.placements[0] for node, grant in grants(register(machine, 4)).items()}
    assert given[life(4)].state is not None and given[life(4)].digest is None
    for number in (2, 3):
        assert given[life(number)].state is None and given[life(number)].digest is not None
    [place] = grants(tell(machine, SnapshotMissing(by(machine, 2), (2,))))[life(2)].placements
    assert place.state is not None and place.state.bias.tolist() == [[0.25]]


def test_after_the_grace_a_group_moves_in_with_another_node() -> None:
    """And not before; a node that comes later is a spare."""
    machine, _ = wired(PLAN)
    snapshot(machine)
    tell(machine, Stopped(by(machine, 3), NO_TRAFFIC), 100.0)
    for now_ms in range(200, 5_100, 100):
        assert not grants(handle(machine, Tick(), now_ms))
    actions = handle(machine, Tick(), 5_200.0)
    assert [facts["node"] for facts in reports(actions, "regrouped")] == ["node-1"]
    assert [place.role.group for place in grants(actions)[life(1)].placements] == [1, 3]
    register(machine, 4, now_ms=5_300.0)
    assert [member.groups for member in machine.membership.in_order()] == [[1, 3], [2], []]


def test_a_network_that_has_never_stood_waits_for_all_its_nodes() -> None:
    """However long it takes."""
    machine, _ = wired(PLAN)
    fresh = CoordinatorMachine(PLAN)
    handle(fresh, LinkLost(), 0.0)
    register(fresh, 1)
    for now_ms in range(0, 60_000, 1_000):
        tell(fresh, Heartbeat(by(fresh, 1), "spare", NO_TRAFFIC), now_ms)
        assert not grants(handle(fresh, Tick(), now_ms))
    assert machine.state is CoordinatorState.TRAINING and fresh.state is CoordinatorState.GATHERING


def test_recoveries_are_timed_until_the_interrupted_step_is_done() -> None:
    """From when it was noticed, through a second one in between, each until the very step that it interrupted."""
    machine, _ = wired(PLAN)
    snapshot(machine)
    finish_step(machine, 10.0)
    for at_ms, number in ((1_000.0, 4), (1_500.0, 5)):
        machine.run.now_ms = at_ms
        machine.apply(Recover("a test"))
        register(machine, number, now_ms=at_ms)
        for member in (1, 2, 3):
            ready(machine, member, at_ms)
    found = [facts for now_ms in (2_000.0, 2_250.0) for facts in reports(finish_step(machine, now_ms), "recovered")]
    assert [(facts["step"], facts["seconds"]) for facts in found] == [(2, 0.5), (3, 1.25)]
    assert machine.recovery_stats.seconds_within(0.5) == 0.5 and machine.recovery_stats.seconds_within(0.99) == 1.25
