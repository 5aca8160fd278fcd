"""A step that comes in parts is the step of its whole batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.topology import Parameters
from neuron_node.addresses import error_address, group_address
from neuron_node.codec import decode, encode
from neuron_node.errors import Unexpected
from neuron_node.memory import Memory
from neuron_node.messages import Error, Mode, Placement, Signal
from neuron_node.parts import Parts
from neuron_node.role import Block, Sender
from neuron_node.worker import Worker
from tests.networks import numbers, plan_of, settings_of, trained
from tests.roles import NODE_LIFE, OTHER_LIFE, RUN, header, role_of

ROLE = role_of(("a.0", "a.1"), senders=(Sender(1, 1),), blocks=(Block(3, 2, -1.0, 1.0),), bias_high=1.0)
PARTS = 4
ROWS = 3


def of_part(part: int) -> Memory:
    """Made up; each part has one row more than the one before it."""
    rows = part + 1
    columns = {"activity": 3, "errors": 2, "own_error": 3}
    return Memory(rows, **{name: numbers(f"{name} {part}", rows, width) for name, width in columns.items()})  # type: ignore[arg-type]


@given(st.permutations(range(PARTS)))
def test_parts_are_put_together_in_order(order: list[int]) -> None:
    """Whichever part comes first, the whole has the rows of all of them in their order, and it comes with the last one, once."""
    parts = Parts(1, PARTS)
    wholes = [parts.add(part, of_part(part)) for part in order]
    assert wholes[:-1] == [None] * (PARTS - 1)
    whole = wholes[-1]
    assert whole is not None and whole.batch == 1 + 2 + 3 + 4
    for name in ("activity", "errors", "own_error"):
        rows = np.concatenate([getattr(of_part(part), name) for part in range(PARTS)])
        assert getattr(whole, name).tobytes() == rows.tobytes()


def group() -> Worker:
    """At the beginning of a run."""
    return Worker(Placement(ROLE, 0, None), RUN, 1, NODE_LIFE)


def frames(part: int, parts: int) -> tuple[bytes, bytes]:
    """The signal and the error of one part of the first step."""
    said = header(1 + part, incarnation=OTHER_LIFE)
    signal = Signal(said, 0, Mode.TRAIN, 1, numbers(f"signal {part}", ROWS, 2), part, parts)
    error = Error(said, 0, Mode.TRAIN, 3, numbers(f"error {part}", ROWS, 2), part, parts)
    return group_address(2) + encode(signal), error_address(3) + encode(error)


@given(st.permutations([(way, part) for part in range(PARTS) for way in (0, 1)]))
def test_parts_may_overlap_as_they_will(order: list[tuple[int, int]]) -> None:
    """In whatever order signals and errors of a step's parts reach a group, it ends with the same weights and one step."""
    straight, mixed = group(), group()
    for part in range(PARTS):
        for frame in frames(part, PARTS):
            straight.hear(decode(frame))  # type: ignore[arg-type]
    for way, part in order:
        mixed.hear(decode(frames(part, PARTS)[way]))  # type: ignore[arg-type]
    assert straight.step == mixed.step == 1
    assert straight.neurons.weights.tobytes() == mixed.neurons.weights.tobytes()
    assert straight.neurons.bias.tobytes() == mixed.neurons.bias.tobytes()
    assert straight.last_activity.tolist() == mixed.last_activity.tolist() and len(mixed.last_activity) == PARTS * ROWS
    assert straight.last_error.tolist() == mixed.last_error.tolist()


def test_nothing_is_learned_before_the_last_part() -> None:
    """All parts of a step are answered with the weights that it began with."""
    worker, before = group(), group()
    for part in range(PARTS - 1):
        for frame in frames(part, PARTS):
            worker.hear(decode(frame))  # type: ignore[arg-type]
    assert worker.step == 0 and worker.neurons.weights.tobytes() == before.neurons.weights.tobytes()


@pytest.mark.parametrize(("part", "parts"), [(4, 4), (1, 1), (0, 3), (1, 4)])
def test_a_part_that_can_not_be_is_refused(part: int, parts: int) -> None:
    """The last is one less than their number, and all that comes in one pass is of the same part."""
    worker = group()
    worker.hear(decode(frames(0, PARTS)[0]))  # type: ignore[arg-type]
    said = header(1, incarnation=OTHER_LIFE)
    with pytest.raises(Unexpected):
        worker.hear(Error(said, 0, Mode.TRAIN, 3, np.zeros((ROWS, 2)), part, parts))


def learned(group_size: int, microbatches: int) -> Parameters:
    """What a small network comes to; its batches of 10 rows end with one of 6."""
    plan = plan_of(settings_of((4, 5, 3), epochs=3, batch_size=10), group_size=group_size, microbatches=microbatches)
    coordinator = trained(plan)
    assert coordinator.course.snapshot is not None
    return coordinator.topology.assemble(coordinator.course.snapshot.states)


@pytest.mark.parametrize("group_size", [1, 2, 5])
@pytest.mark.parametrize("microbatches", [2, 3, 7, 64])
def test_a_batch_in_parts_is_the_whole_batch_within_rounding(group_size: int, microbatches: int) -> None:
    """At every group size; with more parts than samples too. And twice the same is the same to the bit."""
    whole, parts = learned(group_size, 1), learned(group_size, microbatches)
    for ours, theirs in zip((*whole.weights, *whole.biases), (*parts.weights, *parts.biases), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
    assert parts.sha256() == learned(group_size, microbatches).sha256()
