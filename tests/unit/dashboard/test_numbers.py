"""What the page concludes from telemetry equals the textbook: sums, inputs, targets. And the board of such a step."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from coordinator.dashboard.board import Board
from coordinator.dashboard.numbers import in_order, numbers_of_update
from coordinator.data.table import Floats
from coordinator.defaults import NetworkSettings
from coordinator.topology import Parameters
from coordinator.verify.textbook import Textbook
from coordinator.watching import Update
from neuron_node.telemetry import ShownNumbers
from tests.networks import settings_of, xor_data

LAYERS = (2, 3, 1)
COLUMNS = ((0, 0, 2), (1, 0, 1), (1, 1, 3), (2, 0, 1))
"""Layer, first neuron and end of each group: they have different sizes."""
WORDS = ("input", "hidden", "output")
GROUPS = {
    str(number): {"layer": layer, "neurons": [f"{WORDS[layer]}.{index}" for index in range(first, end)]}
    for number, (layer, first, end) in enumerate(COLUMNS)
}


class Step(NamedTuple):
    """A step of the textbook, and what the groups report of it."""

    update: Update
    before: Parameters
    activities: list[Floats]
    errors: list[Floats]


def step_of(network: NetworkSettings) -> Step:
    book, data = Textbook(network, 3), xor_data()
    before = Parameters(tuple(book.biases), tuple(book.weights))
    trace = book.step(data.train_inputs, data.train_targets)
    groups = {}
    for number, (layer, first, end) in enumerate(COLUMNS):
        some = slice(first, end)
        bias = before.biases[layer][some], trace.biases[layer][some]
        pairs = [(before.weights[layer][some], trace.weights[layer][some])] if layer < 2 else []
        old, new = pairs[0] if pairs else (np.empty((end - first, 0)),) * 2
        rate = network.learning_rate
        groups[number] = ShownNumbers(
            trace.activities[layer][:, some],
            trace.errors[layer][:, some],
            bias[0],
            (bias[0] - bias[1]) / rate,
            bias[1],
            old,
            (old - new) / rate,
            new,
        )
    facts = {
        "step": 7,
        "steps": 9,
        "epoch": 1,
        "epochs": 2,
        "pass": 8,
        "moment": "a step",
        "loss": 0.5,
        "accuracy": 0.75,
    }
    return Step(Update(facts, groups), before, list(trace.activities), list(trace.errors))


@pytest.mark.parametrize(
    ("loss", "output_activation"),
    [
        ("squared_error", "logistic"),
        ("squared_error", "tanh"),
        ("squared_error", "identity"),
        ("cross_entropy", "logistic"),
    ],
)
@pytest.mark.parametrize("preset", [False, True], ids=["identity inputs", "logistic inputs with a bias"])
def test_sums_inputs_and_targets_follow_from_what_neurons_report(
    loss: str, output_activation: str, preset: bool
) -> None:
    """For each loss, and for the input neurons of ExMachina."""
    inputs = {"input_activation": "logistic", "input_bias": True, "biases": (-0.5, 0.5)} if preset else {}
    network = settings_of(LAYERS, loss=loss, output_activation=output_activation, **inputs)
    step, data = step_of(network), xor_data()
    found = numbers_of_update(step.update, GROUPS, network)
    assert np.allclose(found.inputs, data.train_inputs, atol=1e-9)
    assert np.allclose(found.targets, data.train_targets, atol=1e-9)
    for layer in (1, 2):
        expected = step.activities[layer - 1][0] @ step.before.weights[layer - 1]
        assert np.allclose(found.sums[layer], expected, atol=1e-12)
    assert all(np.array_equal(a, b) for a, b in zip(in_order(found.parameters), in_order(step.before), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found.activities, step.activities, strict=True))


def test_an_output_that_is_saturated_has_reached_its_target() -> None:
    """Its slope and its error are 0 with every target: it counts as right, and nothing is divided by 0."""
    network = settings_of(LAYERS)
    update = step_of(network).update
    last = update.groups[3]
    saturated = last._replace(activity=np.ones_like(last.activity), own_error=np.zeros_like(last.own_error))
    found = numbers_of_update(update._replace(groups={**update.groups, 3: saturated}), GROUPS, network)
    assert found.targets.tolist() == [[1.0]] * 4


def board_of(run: str = "r", clock: Callable[[], float] = time.monotonic) -> Board:
    board, data = Board(clock), xor_data()
    network = settings_of(LAYERS)
    facts = {"network": network.to_json(), "encoding": data.encoding.to_json(), "held_out": len(data.test_inputs)}
    board.describe(run, facts, np.concatenate([data.test_inputs, data.test_targets, data.test_targets], axis=1))
    return board


def test_a_board_gives_each_value_once() -> None:
    """The network and its samples once, the numbers at each update."""
    board = board_of()
    assert board.take().keys() == {"network", "samples", "rows"}
    board.receive_update(step_of(settings_of(LAYERS)).update, GROUPS)
    first = board.take()
    assert {"numbers", "snapshots", "inputs", "passed", "weights_change", "live"} == first.keys()
    assert len(first["passed"]) == 4 * 3 * 6 and len(first["numbers"]) == 2 * (6 + 9)
    assert struct.unpack("<2f", first["inputs"]) == tuple(xor_data().train_inputs[0])
    assert first["live"]["source"] == "training" and first["live"]["step"] == 7
    assert board.take() == {}


def test_predictions_are_those_of_the_shown_rows() -> None:
    """With the right classes, which follow from the errors."""
    board = board_of()
    board.receive_update(step_of(settings_of(LAYERS)).update, GROUPS)
    assert [each.right for each in reversed(board.predictions.newest(4))] == [0, 1, 1, 0]
    assert board.training.points == [[7, 0.5, 0.75]]


def test_another_run_begins_with_an_empty_board() -> None:
    """Curves and predictions of the run before are gone; those of the same run stay when the coordinator starts again."""
    board = board_of("r")
    board.receive_update(step_of(settings_of(LAYERS)).update, GROUPS)
    data = xor_data()
    facts = {"network": settings_of(LAYERS).to_json(), "encoding": data.encoding.to_json(), "held_out": 0}
    rows = np.concatenate([data.test_inputs, data.test_targets, data.test_targets], axis=1)
    board.describe("r", facts, rows)
    assert board.training.points and board.predictions.count == 4
    board.describe("s", facts, rows)
    assert not board.training.points and board.predictions.count == 0
    assert board.measured == "all samples"
    # Browsers are told that the numbers of before are gone.
    assert board.take()["numbers"] is None


def listed(process: int | None, state: str = "working") -> dict[str, object]:
    row = {"neuron": "hidden.1", "layer": 1, "state": state, "host": "h", "process": process, "node": "n"}
    return {"neurons": [row], "nodes": []}


def test_a_killed_neuron_is_dead_until_another_process_hosts_it() -> None:
    """The coordinator may list the old process for a while."""
    times = [0.0]
    board = board_of(clock=lambda: times[0])
    board.receive_neurons(listed(5))
    board.receive_event("killed", {"neuron": "hidden.1", "node": "n", "process": 5})
    assert board.dead == ["hidden.1"]
    times[0] = 60.0
    board.receive_neurons(listed(5))
    assert board.dead == ["hidden.1"]
    board.receive_neurons(listed(None, "waiting for a node"))
    assert board.dead == ["hidden.1"]
    board.receive_neurons(listed(6))
    assert board.dead == []


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_short_death_is_shown_for_a_second(overtaken: bool) -> None:
    """Also if the list of neurons has overtaken the event, because each has a connection of its own."""
    times = [0.0]
    board = board_of(clock=lambda: times[0])
    board.receive_update(step_of(settings_of(LAYERS)).update, GROUPS)
    board.receive_neurons(listed(6 if overtaken else 5))
    board.receive_event("killed", {"neuron": "hidden.1", "node": "n", "process": 5})
    times[0] = 0.9
    board.receive_neurons(listed(6))
    assert board.dead == board.values["live"]["dead"] == ["hidden.1"]
    times[0] = 1.1
    board.receive_neurons(listed(6))
    assert board.dead == board.values["live"]["dead"] == []


def test_recoveries_and_interventions_are_marked() -> None:
    """With their steps; silent neurons are noted."""
    board = board_of()
    board.receive_event("recovery", {"step": 4, "reason": "a death", "generation": 2})
    board.receive_event("intervention", {"step": 6, "change": "silence", "neuron": "hidden.1"})
    board.receive_event("unknown", {})
    assert list(board.marks) == [(4, "recovery"), (6, "silence hidden.1")]
    board.receive_update(step_of(settings_of(LAYERS)).update, GROUPS)
    assert board.values["live"]["silent"] == ["hidden.1"]
    board.receive_event("intervention", {"step": 8, "change": "wake", "neuron": "hidden.1"})
    assert board.values["live"]["silent"] == []


def test_the_state_is_paused_when_the_last_step_is_done() -> None:
    """And absent while no coordinator answers."""
    board = board_of()
    status = {"state": "training", "pauses_after": 5, "step": 4, "samples_per_second": None}
    board.receive_status(status)
    assert board.state == "training"
    board.receive_status({**status, "step": 5})
    assert board.state == "paused"
    board.absent("no coordinator answers")
    assert board.state == "absent" and board.why_absent == "no coordinator answers"
