"""Training steps that are sent one ahead, from the coordinator's side: they are over in their order, and none is late in vain."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.inflight import InFlight, first_timeout_ms
from coordinator.core.passes import InFlightPass
from coordinator.core.steps import SentStep, Steps
from coordinator.topology import Topology
from neuron_node.events import Send
from neuron_node.frames import DataFrame, Mode
from neuron_node.protocol import Header
from tests.roles import COORDINATOR_LIFE, RUN, input_error_from, output_from, sent

ROW = np.zeros((1, 1))


def flight(number: int, part: int = 0, parts: int = 1) -> InFlightPass:
    """One that is done."""
    return InFlightPass(number, Mode.TRAIN, ROW, ROW, 0.0, 0.0, part=part, parts=parts)


@given(st.permutations([(step, part) for step in (1, 2) for part in (0, 1, 2)]))
def test_steps_are_over_in_their_order(order: list[tuple[int, int]]) -> None:
    """Whichever part of which step is done first, with its parts in order."""
    steps = Steps(0)
    for step in (1, 2):
        steps.send(SentStep(step, 3 * step, 3, slowed=False), followed=step == 1)
    over = []
    for step, part in order:
        over += [
            (ended.step, [one.part for one in parts]) for ended, parts in steps.finish(flight(3 * step + part, part, 3))
        ]
    assert over == [(1, [0, 1, 2]), (2, [0, 1, 2])]


def under_way(sends: list[Send]) -> InFlight:
    """Of a network of an input and an output, in generation 1."""
    topology = Topology((1, 1), 1)
    return InFlight(topology, lambda number: Header(RUN, 1, number, COORDINATOR_LIFE), sends.extend)


def test_a_step_that_waits_for_its_turn_is_not_late() -> None:
    """Only the step that the network works at is repeated; the next one's time begins when that one is over."""
    steps, late_ms = under_way([]), first_timeout_ms(Topology((1, 1), 1)) + 1.0
    steps.begin_generation(1)
    [first] = steps.launch_step(ROW, ROW, Mode.TRAIN, 0.0, next_rows=1)
    [second] = steps.launch_step(ROW, ROW, Mode.TRAIN, 0.0)
    assert steps.repeat(late_ms) is None
    assert (first.attempt, second.attempt) == (1, 0)
    for message in (output_from(2, ROW, attempt=1), input_error_from(1, np.zeros((1, 0)), attempt=1)):
        assert steps.receive(message) == []
    assert steps.finish(late_ms) == [first]
    assert not steps.is_late(late_ms + (late_ms - 1.0) / 2)
    assert steps.is_late(late_ms + late_ms - 1.0)


def test_window_in_frames_names_the_passes_under_way() -> None:
    """`high` announces the next step before it is sent; `low` follows when a step is over."""
    sends: list[Send] = []
    steps = under_way(sends)
    steps.begin_generation(1)
    windows = []
    steps.launch_step(ROW, ROW, Mode.TRAIN, 0.0, next_rows=1)
    steps.launch_step(ROW, ROW, Mode.TRAIN, 0.0, next_rows=1)
    for message in (output_from(2, ROW, high=2), input_error_from(1, np.zeros((1, 0)), high=2)):
        assert steps.receive(message) == []
    steps.finish(1.0)
    steps.launch_step(ROW, ROW, Mode.TRAIN, 1.0)
    for _, frame in sent(sends):
        assert isinstance(frame, DataFrame)
        windows.append((frame.pass_number, frame.low, frame.high))
    assert windows == [(1, 1, 2)] * 2 + [(2, 1, 3)] * 2 + [(3, 2, 3)] * 2
