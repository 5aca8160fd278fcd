"""Passes under way: who has still to answer, what is repeated, and jobs of many batches."""

from __future__ import annotations

import numpy as np
import pytest

from coordinator.machine import under_way
from coordinator.machine.passes import Flight, ForwardJob
from coordinator.machine.under_way import ATTEMPTS, FORWARD_AT_FIRST, FORWARD_AT_ONCE, UnderWay, first_patience_ms
from coordinator.topology import Topology
from neuron_node.activations import Array
from neuron_node.codec import decode
from neuron_node.errors import PeerError, Stale
from neuron_node.events import Send
from neuron_node.messages import Header, Input, InputError, Mode, Output, Target
from tests.coordinators import life
from tests.networks import RUN

TOPOLOGY = Topology((2, 3, 2), 1)
FIRST_OUTPUT, SECOND_OUTPUT = 6, 7
ROWS = np.arange(8.0).reshape(4, 2)


class Wire:
    """What was sent, and passes under way that send there."""

    def __init__(self) -> None:
        self.sent: list[Send] = []
        self.under_way = UnderWay(TOPOLOGY, lambda number: Header(RUN, 1, number, b"coordin."), self.sent.extend)

    def take(self) -> list[tuple[str, int, int, list[list[float]]]]:
        """(kind, pass, attempt, numbers) of what was sent since the last time."""
        messages = [decode(send.frame) for send in self.sent]
        self.sent.clear()
        return [
            (type(message).__name__, message.header.pass_number, message.attempt, message.values.tolist())
            for message in messages
            if isinstance(message, Input | Target)
        ]

    def training(self) -> bool:
        return self.under_way.training

    def output(self, number: int, group: int, values: Array, now_ms: float = 0.0) -> Flight | None:
        return self.under_way.hear(Output(Header(RUN, 1, number, life(group)), 0, 0, group, values), now_ms)

    def input_error(
        self, number: int, group: int, rows: int = 4, now_ms: float = 0.0, attempt: int = 0
    ) -> Flight | None:
        return self.under_way.hear(
            InputError(Header(RUN, 1, number, life(group)), attempt, 1, group, np.zeros((rows, 1))), now_ms
        )


def column(*numbers: float) -> Array:
    return np.array(numbers)[:, None]


def test_a_step_sends_each_group_its_own_columns() -> None:
    """Inputs to input groups, targets to output groups."""
    wire = Wire()
    wire.under_way.launch_step(ROWS, -ROWS, Mode.TRAIN, 0.0)
    assert wire.take() == [
        ("Input", 1, 0, [[0.0], [2.0], [4.0], [6.0]]),
        ("Input", 1, 0, [[1.0], [3.0], [5.0], [7.0]]),
        ("Target", 1, 0, [[0.0], [-2.0], [-4.0], [-6.0]]),
        ("Target", 1, 0, [[-1.0], [-3.0], [-5.0], [-7.0]]),
    ]


def test_a_step_is_done_when_all_outputs_and_all_input_errors_have_come() -> None:
    """In any order, each once; the activities stand in the order of the outputs."""
    wire = Wire()
    wire.under_way.launch_step(ROWS, -ROWS, Mode.TRAIN, 0.0)
    assert wire.output(1, SECOND_OUTPUT, column(5, 6, 7, 8)) is None
    assert wire.input_error(1, 2) is None and wire.input_error(1, 2) is None
    assert wire.training() and wire.input_error(1, 1) is None
    done = wire.output(1, FIRST_OUTPUT, column(1, 2, 3, 4))
    assert done is not None and done.activities(TOPOLOGY).tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert not wire.training()
    with pytest.raises(Stale):
        wire.input_error(1, 1)


@pytest.mark.parametrize(
    "message",
    [
        Output(Header(RUN, 1, 1, life(1)), 0, 0, 1, column(1, 2, 3, 4)),
        Output(Header(RUN, 1, 1, life(3)), 0, 0, 3, column(1, 2, 3, 4)),
        Output(Header(RUN, 1, 1, life(9)), 0, 0, 99, column(1, 2, 3, 4)),
        Output(Header(RUN, 1, 1, life(6)), 0, 0, 6, column(1, 2, 3)),
        Output(Header(RUN, 1, 1, life(6)), 0, 0, 6, np.zeros((4, 2))),
        Output(Header(RUN, 1, 2, life(6)), 0, 0, 6, column(1, 2, 3, 4)),
        Output(Header(RUN, 1, 1, life(6)), 1, 0, 6, column(1, 2, 3, 4)),
        InputError(Header(RUN, 1, 1, life(6)), 0, 1, 6, column(1, 2, 3, 4)),
    ],
)
def test_a_result_that_does_not_fit_is_a_peers_fault(message: Output | InputError) -> None:
    """Of a group that has none, of another shape, of a pass or an attempt that never was."""
    wire = Wire()
    wire.under_way.launch_step(ROWS, -ROWS, Mode.TRAIN, 0.0)
    with pytest.raises(PeerError):
        wire.under_way.hear(message, 0.0)
    assert wire.under_way.flights[1].missing(TOPOLOGY) == ["output.0", "output.1", "input.0", "input.1"]


def test_patience_grows_with_the_attempts_and_ends() -> None:
    """A step that nobody answers is repeated so many times, at first ever more slowly, and then given up."""
    wire = Wire()
    wire.under_way.launch_step(ROWS, -ROWS, Mode.TRAIN, 0.0)
    wire.take()
    repeated, given_up = [], None
    for now_ms in range(0, 1_000_000, 100):
        given_up = wire.under_way.repeat(now_ms)
        if given_up:
            break
        if messages := wire.take():
            assert len(messages) == 4
            repeated.append((now_ms, messages[0][2]))
    assert [attempt for _, attempt in repeated] == list(range(1, ATTEMPTS + 1))
    gaps = np.diff([0] + [now_ms for now_ms, _ in repeated])
    usual_ms = first_patience_ms(TOPOLOGY)
    assert gaps.tolist() == [pytest.approx(usual_ms * factor, abs=100) for factor in (1, 2, *[4] * (ATTEMPTS - 2))]
    assert given_up is not None and given_up.missing(TOPOLOGY) == ["output.0", "output.1", "input.0", "input.1"]


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 17])
def test_a_job_of_many_batches_comes_back_in_order(rows: int) -> None:
    """However its batches are answered, a few under way at a time, under numbers without gaps."""
    wire = Wire()
    answers: list[Array] = []
    given = np.arange(2.0 * rows).reshape(rows, 2)
    wire.under_way.add(ForwardJob(given, 2, answers.append))
    seen = []
    while not answers:
        wire.under_way.launch_forward(0.0)
        waiting = sorted(wire.under_way.flights)
        seen += [number for number in waiting if number not in seen]
        assert 0 < len(waiting) <= FORWARD_AT_ONCE
        number = waiting[-1]
        flight = wire.under_way.flights[number]
        wire.output(number, SECOND_OUTPUT, flight.inputs[:, [1]])
        wire.output(number, FIRST_OUTPUT, flight.inputs[:, [0]])
    assert answers[0].tolist() == given.tolist()
    assert seen == list(range(1, -(-rows // 2) + 1))
    assert not wire.under_way.jobs


def test_a_rolled_back_job_begins_again_under_new_numbers() -> None:
    """What had come is forgotten: it was of weights that are gone."""
    wire = Wire()
    answers: list[Array] = []
    wire.under_way.add(ForwardJob(ROWS, 2, answers.append))
    wire.under_way.launch_forward(0.0)
    for group in (FIRST_OUTPUT, SECOND_OUTPUT):
        wire.output(1, group, column(9, 9))
    wire.under_way.restart()
    wire.under_way.launch_forward(0.0)
    assert sorted(wire.under_way.flights) == [3, 4]
    with pytest.raises(Stale):
        wire.output(2, FIRST_OUTPUT, column(9, 9))
    for number in (3, 4):
        for group in (FIRST_OUTPUT, SECOND_OUTPUT):
            wire.output(number, group, column(number, number))
    assert answers[0].tolist() == [[3, 3], [3, 3], [4, 4], [4, 4]]


def sent_forward(wire: Wire, passes: int, now_ms: float = 0.0) -> list[int]:
    """A job of so many passes of two rows; how many were under way, before each was answered."""
    seen = []
    wire.under_way.add(ForwardJob(np.zeros((2 * passes, 2)), 2, lambda _: None))
    wire.under_way.launch_forward(now_ms)
    while wire.under_way.flights:
        seen.append(len(wire.under_way.flights))
        number = min(wire.under_way.flights)
        for group in (FIRST_OUTPUT, SECOND_OUTPUT):
            wire.output(number, group, column(0, 0), now_ms + 40.0 * len(seen))
        wire.under_way.launch_forward(now_ms + 40.0 * len(seen))
    return seen


def test_more_and_more_forward_passes_are_under_way() -> None:
    """A few at first, one more with each that is done, and never more than the most; for the next rows a few again."""
    for _ in range(2):
        seen = sent_forward(Wire(), 50)
        assert seen[:3] == [FORWARD_AT_FIRST, FORWARD_AT_FIRST + 1, FORWARD_AT_FIRST + 2]
        assert max(seen) == FORWARD_AT_ONCE and len(seen) == 50


def test_large_passes_are_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way is bounded in bytes, but for two passes, without which nothing overlaps."""
    monkeypatch.setattr(under_way, "FORWARD_BYTES_AT_ONCE", 1)
    assert max(sent_forward(Wire(), 10)) == 2
    monkeypatch.setattr(under_way, "FORWARD_BYTES_AT_ONCE", 9_000)
    assert 2 < max(sent_forward(Wire(), 50)) < FORWARD_AT_ONCE


def test_patience_with_forward_passes_is_their_own() -> None:
    """Many at once take longer than a step; neither is thought late, or waited for too long, because of the other."""
    wire = Wire()
    wire.under_way.launch_step(ROWS, ROWS, Mode.TRAIN, 0.0)
    for group in (FIRST_OUTPUT, SECOND_OUTPUT):
        wire.output(1, group, np.zeros((4, 1)), 1.0)
    for group in (1, 2):
        wire.input_error(1, group, now_ms=1.0)
    assert wire.under_way.recent_ms == 1.0
    wire.under_way.add(ForwardJob(ROWS, 1, lambda _: None))
    wire.under_way.launch_forward(10.0)
    assert not wire.under_way.is_late(10.0 + first_patience_ms(TOPOLOGY) - 1.0)
    assert wire.under_way.is_late(10.0 + first_patience_ms(TOPOLOGY))
    for number in sorted(wire.under_way.flights):
        for group in (FIRST_OUTPUT, SECOND_OUTPUT):
            wire.output(number, group, column(0), 1010.0)
    assert wire.under_way.recent_ms == 1000.0
    wire.under_way.launch_step(ROWS, ROWS, Mode.TRAIN, 2000.0)
    assert wire.under_way.recent_ms == 1.0 and wire.under_way.is_late(2000.0 + under_way.LEAST_PATIENCE_MS)


def test_patience_with_forward_passes_is_remembered_by_their_size() -> None:
    """The next evaluation knows what its passes take; those with other batches say nothing about it."""
    wire = Wire()
    for batch_size, took_ms in ((1, 300.0), (4, 20.0)):
        wire.under_way.add(ForwardJob(ROWS, batch_size, lambda _: None))
        wire.under_way.launch_forward(0.0)
        for number in sorted(wire.under_way.flights):
            for group in (FIRST_OUTPUT, SECOND_OUTPUT):
                wire.output(number, group, np.zeros((batch_size, 1)), took_ms)
    for batch_size, patience_ms in ((1, 3_000.0), (4, under_way.LEAST_PATIENCE_MS)):
        wire.under_way.flights.clear()
        wire.under_way.jobs.clear()
        wire.under_way.add(ForwardJob(ROWS, batch_size, lambda _: None))
        wire.under_way.launch_forward(0.0)
        assert not wire.under_way.is_late(patience_ms - 1.0) and wire.under_way.is_late(patience_ms)
