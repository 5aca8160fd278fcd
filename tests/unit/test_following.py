"""Steps that are sent without waiting for the end of the one before: each group takes one after the other, and no number changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.machine.passes import Flight
from coordinator.machine.steps import Sent, Steps
from coordinator.machine.under_way import UnderWay, first_patience_ms
from coordinator.topology import Topology
from neuron_node.activations import quiet
from neuron_node.addresses import error_address, group_address
from neuron_node.chain import FOLLOWED, FOLLOWS, HELD_AT_MOST, Held
from neuron_node.codec import decode, encode
from neuron_node.errors import Unexpected
from neuron_node.events import Send
from neuron_node.machine import NodeMachine
from neuron_node.messages import Axon, Error, Header, Input, InputError, Mode, Output, Signal, Target
from neuron_node.role import OUTSIDE, Block, Sender
from tests.networks import RUN as NETWORK_RUN
from tests.networks import numbers, plan_of, settings_of, trained, weights_sha256, xor_data
from tests.roles import OTHER_LIFE, RUN, input_role, output_role, role_of, working

ROWS = 2
STEPS = 3
INPUT = input_role(blocks=(Block(2, 1, -1.0, 1.0), Block(3, 1, -1.0, 1.0)))
OUTPUT = output_role()


def chain_of(step: int) -> int:
    """Of steps 1 to `STEPS`, which follow each other."""
    return (FOLLOWS if step > 1 else 0) | (FOLLOWED if step < STEPS else 0)


def frames_of(step: int) -> tuple[bytes, list[bytes]]:
    """What the coordinator sends an input group in a step, and what comes back to it."""
    header, said = Header(RUN, 1, step, OTHER_LIFE), (0, Mode.TRAIN)
    begins = Input(header, *said, OUTSIDE, numbers(f"input {step}", ROWS, 1), chain=chain_of(step))
    errors = [
        Error(header, *said, group, numbers(f"error {step} {group}", ROWS, 1), chain=chain_of(step)) for group in (2, 3)
    ]
    return group_address(1) + encode(begins), [error_address(error.sender) + encode(error) for error in errors]


def sent(machine: NodeMachine, frames: list[bytes]) -> list[bytes]:
    """What a node sends when it has been given these frames, and all that it has put off is done."""
    with quiet():
        actions = [*machine.take(frames, 0.0)]
        while machine.intake.postponed:
            actions += machine.take([], 0.0)
    return [action.frame for action in actions if isinstance(action, Send)]


def one_after_the_other() -> tuple[NodeMachine, list[bytes]]:
    """An input group that gets each input when the step before is over, and what it sends."""
    machine, does = working(INPUT), []
    for step in range(1, STEPS + 1):
        begins, errors = frames_of(step)
        for frame in (begins, *errors):
            does += sent(machine, [frame])
    return machine, does


@settings(max_examples=200)
@given(data=st.data())
def test_an_input_may_come_early(data: st.DataObject) -> None:
    """At any moment of the step before, alone or with others: the same messages in the same order, and the same weights."""
    should, does = one_after_the_other()
    sequence: list[bytes] = [frames_of(1)[0]]
    for step in range(1, STEPS + 1):
        errors = data.draw(st.permutations(frames_of(step)[1]))
        ahead = [frames_of(step + 1)[0]] if step < STEPS else []
        place = data.draw(st.integers(0, len(errors)))
        sequence += [*errors[:place], *ahead, *errors[place:]]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sequence) - 1))))
    machine = working(INPUT)
    found: list[bytes] = []
    for start, stop in itertools.pairwise([0, *cuts, len(sequence)]):
        found += sent(machine, sequence[start:stop])
    assert found == does
    assert machine.workers[1].step == STEPS
    assert machine.workers[1].neurons.weights.tobytes() == should.workers[1].neurons.weights.tobytes()
    assert machine.drops.counts.total() == 0


def test_the_group_waits_for_the_next_input_too() -> None:
    """So that it is woken up once a step; but not where none follows, or it is here already."""
    machine = working(INPUT)
    due = []
    for step in range(1, STEPS + 1):
        begins, errors = frames_of(step)
        if step == 1:
            sent(machine, [begins])
        due.append(machine.intake.due)
        ahead = [frames_of(step + 1)[0]] if step < STEPS else []
        sent(machine, [*ahead, *errors])
    assert due == [3, 3, 2]


def test_after_a_step_that_none_follows_nothing_is_waited_for() -> None:
    """A question may come instead, as from `verify` after every step: it is heard at once."""
    machine = working(role_of(senders=(Sender(1, 1), Sender(4, 1))))
    header, said = Header(RUN, 1, 1, OTHER_LIFE), (0, Mode.TRAIN)
    for group in (1, 4):
        sent(machine, [group_address(2) + encode(Signal(header, *said, group, numbers("signal", ROWS, 1)))])
    sent(machine, [error_address(3) + encode(Error(header, *said, 3, numbers("error", ROWS, 1)))])
    assert machine.workers[2].step == 1 and machine.intake.due == 1


def test_an_output_group_tells_the_next_target_from_a_signal() -> None:
    """Both have the same shape; the target that comes early waits until its step begins."""
    machine = working(OUTPUT)

    def frame(kind: type[Signal | Target], step: int) -> bytes:
        sender = OUTSIDE if kind is Target else 2
        values = numbers(f"{kind.__name__} {step}", ROWS, 1)
        message = kind(Header(RUN, 1, step, OTHER_LIFE), 0, Mode.TRAIN, sender, values, chain=chain_of(step))
        return group_address(3) + encode(message)

    assert sent(machine, [frame(Target, 1)]) == []
    assert len(sent(machine, [frame(Target, 2), frame(Signal, 1)])) == 2
    assert len(sent(machine, [frame(Target, 3), frame(Signal, 2)])) == 2
    assert len(sent(machine, [frame(Signal, 3)])) == 2
    assert machine.workers[3].step == STEPS and machine.drops.counts.total() == 0


def test_a_step_that_follows_one_that_was_never_heard_of_does_not_begin() -> None:
    """Its input was lost: the next one waits until the coordinator has sent it again."""
    machine = working(INPUT)
    assert sent(machine, [frames_of(2)[0]]) == []
    assert len(sent(machine, [frames_of(1)[0]])) == 1
    assert [type(decode(frame)) for frame in sent(machine, frames_of(1)[1])] == [InputError, Axon]


def test_a_group_that_has_gone_on_still_repeats_the_step_before() -> None:
    """Another one may lack a message of it; what is sent again is what was sent."""
    machine, first = working(INPUT), []
    first += sent(machine, [frames_of(1)[0]])
    first += sent(machine, [frames_of(2)[0], *frames_of(1)[1]])[:1]
    begins = decode(frames_of(1)[0])
    assert isinstance(begins, Input)
    again = sent(machine, [group_address(1) + encode(begins._replace(attempt=1))])
    values = [decode(frame).values.tolist() for frame in (*first, *again)]  # type: ignore[union-attr]
    assert len(first) == 2 and values[:2] == values[2:]


def test_only_the_coordinator_may_be_early() -> None:
    """Signals of a step that follows come when the one before is over here; any other is a peer's fault."""
    worker = working(role_of()).workers[2]
    header = Header(RUN, 1, 2, OTHER_LIFE)
    with pytest.raises(Unexpected, match="before the step is over"):
        worker.hear(Signal(header, 0, Mode.TRAIN, 1, numbers("signal", ROWS, 1), chain=FOLLOWS))


def test_what_is_held_is_bounded() -> None:
    """However many inputs come early; and of one, the latest attempt is kept."""
    held, values = Held(), numbers("input", 1, 1)
    for number in range(2, 2 * HELD_AT_MOST):
        for attempt in (0, 2, 1):
            held.keep(Input(Header(RUN, 1, number, OTHER_LIFE), attempt, Mode.TRAIN, OUTSIDE, values, chain=FOLLOWS))
    assert len(held._messages) == HELD_AT_MOST
    assert all(message.attempt == 2 for message in held._messages.values())


def flight(number: int, part: int = 0, parts: int = 1) -> Flight:
    """One that is done."""
    row = np.zeros((1, 1))
    return Flight(number, Mode.TRAIN, row, row, 0.0, 0.0, part=part, parts=parts)


@given(st.permutations([(step, part) for step in (1, 2) for part in (0, 1, 2)]))
def test_steps_are_over_in_their_order(order: list[tuple[int, int]]) -> None:
    """Whichever part of which step is done first, with its parts in order."""
    steps = Steps(0)
    for step in (1, 2):
        steps.send(Sent(step, 3 * step, 3, slowed=False), followed=step == 1)
    over = []
    for step, part in order:
        over += [
            (sent.step, [one.part for one in parts]) for sent, parts in steps.finish(flight(3 * step + part, part, 3))
        ]
    assert over == [(1, [0, 1, 2]), (2, [0, 1, 2])]


def test_who_waits_for_its_turn_is_not_late() -> None:
    """Only the step that the network works at is repeated; the next one's patience begins when it is over."""
    row, topology = np.zeros((1, 1)), Topology((1, 1), 1)
    under_way = UnderWay(topology, lambda number: Header(NETWORK_RUN, 1, number, b"coordin."), lambda _sends: None)
    [first] = under_way.launch_step(row, row, Mode.TRAIN, 0.0, chain=FOLLOWED)
    [second] = under_way.launch_step(row, row, Mode.TRAIN, 0.0, chain=FOLLOWS)
    late_ms = first_patience_ms(topology) + 1.0
    assert under_way.repeat(late_ms) is None
    assert (first.attempt, second.attempt) == (1, 0)
    under_way.hear(Output(Header(NETWORK_RUN, 1, 1, b"node-one"), 1, Mode.TRAIN, 2, row), late_ms)
    under_way.hear(InputError(Header(NETWORK_RUN, 1, 1, b"node-one"), 1, Mode.TRAIN, 1, row), late_ms)
    assert not under_way.is_late(late_ms + first_patience_ms(topology) / 2)
    assert under_way.is_late(late_ms + first_patience_ms(topology))


def test_following_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose steps are sent one at a time comes to the same bits."""
    plan = plan_of(settings_of((2, 3, 1), batch_size=1, epochs=3), xor_data())
    with_it = weights_sha256(trained(plan))
    monkeypatch.setattr("coordinator.machine.course.Course._may_be_followed", lambda _self, _step: False)
    assert weights_sha256(trained(plan)) == with_it
