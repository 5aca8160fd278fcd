"""The whole network of machines against matrices, against loops over single neurons, and against numbers of differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from coordinator.core.events import Inspected, Snapshot
from coordinator.core.journal import Entry
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from coordinator.core.training import LOSSES, Progress
from coordinator.defaults import NetworkSettings
from coordinator.errors import InternalError
from coordinator.in_memory import network_of
from coordinator.schedule import Schedule
from coordinator.topology import Parameters, layer_names
from coordinator.verify import textbook
from coordinator.verify.watching import watch_steps
from neuron_node.activations import ACTIVATIONS, Array
from neuron_node.initializers import uniform
from tests.networks import made_data, parameters, plan_of, seed_settings, settings_of, trained, xor_data

SHAPES = [(2, 1), (3, 4, 2), (4, 3, 3, 2), (1, 5, 1)]
WHOLE_LAYER = 5


def compared(plan: RunPlan) -> dict[str, Any]:
    """The comparison of every step of a run in memory with the textbook's."""
    network, coordinator = network_of(plan)
    look, last = watch_steps(plan), {}
    network.run_until(lambda: coordinator.finished is not None)
    for action in network.actions:
        if isinstance(action, Inspected):
            last = look(action)
    return last


def check(network: NetworkSettings, group_size: int, *, classes: bool = True) -> None:
    data = made_data(10, network.layers[0], network.layers[-1], classes=classes)
    plan = plan_of(network, data, group_size=group_size, inspect_every_step=True)
    comparison = compared(plan)
    assert comparison["steps"] == plan.schedule().steps > 3
    assert comparison["first_beyond"] is None, comparison
    assert comparison["largest"]["difference"] < 1e-12
    # Of every neuron bias, and an activity and an error a sample, and every weight; each step.
    parameters_a_step = sum(network.layers) + sum(
        a * b for a, b in zip(network.layers, network.layers[1:], strict=False)
    )
    samples = len(data.train_inputs) * network.epochs
    assert comparison["numbers"] == comparison["steps"] * parameters_a_step + 2 * samples * sum(network.layers)


@pytest.mark.parametrize("group_size", [1, 4, WHOLE_LAYER])
@pytest.mark.parametrize("layers", SHAPES, ids=str)
def test_every_number_of_every_step_is_the_textbooks(layers: tuple[int, ...], group_size: int) -> None:
    """Activities, errors, weights and biases within 1e-12, whatever the shape and the group size; the last batch is smaller."""
    check(settings_of(layers), group_size)


@pytest.mark.parametrize("group_size", [1, WHOLE_LAYER])
@pytest.mark.parametrize("output", sorted(ACTIVATIONS))
@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
def test_every_activation_is_the_textbooks(hidden: str, output: str, group_size: int) -> None:
    """In hidden and output layers, with squared error."""
    check(
        settings_of((3, 4, 2), hidden_activation=hidden, output_activation=output, learning_rate=0.1),
        group_size,
        classes=False,
    )


@pytest.mark.parametrize("group_size", [1, 4, WHOLE_LAYER])
@pytest.mark.parametrize("hidden", sorted(ACTIVATIONS))
def test_cross_entropy_is_the_textbooks(hidden: str, group_size: int) -> None:
    """With logistic outputs, the only ones that it is for."""
    check(settings_of((3, 4, 2), hidden_activation=hidden, loss="cross_entropy"), group_size)


@pytest.mark.parametrize("group_size", [1, 4, WHOLE_LAYER])
def test_the_preset_exmachina_is_the_textbooks(group_size: int) -> None:
    """Input neurons with a bias, biases that are never learned, one sample at a time."""
    check(seed_settings((3, 4, 2)), group_size)


def test_a_batch_of_all_samples_and_one_larger_than_the_data_are_the_textbooks() -> None:
    """A step an epoch."""
    for batch_size in (10, 64):
        check(settings_of((3, 4, 2), batch_size=batch_size, epochs=4), 1)


class Neuron:
    """bigfive/ExMachina's neuron, in numbers instead of messages."""

    def __init__(self, seed: int, name: str, axon: int) -> None:
        draws = uniform(seed, name, 1 + axon).tolist()
        self.bias = -3.0 + 2.0 * draws[0]
        self.weights = [-1.0 + 2.0 * draw for draw in draws[1:]]
        self.activity = 0.0
        self.error = 0.0


def test_the_preset_exmachina_is_what_loops_over_single_neurons_give() -> None:
    """No matrix, no NumPy in the arithmetic: sums, products and one exponential for one sample after the other."""
    settings, data = seed_settings((3, 4, 2), epochs=2), made_data(8, 3, 2)
    layers = [
        [Neuron(1, name, (*settings.layers, 0)[layer + 1]) for name in layer_names(settings.layers, layer)]
        for layer in range(3)
    ]
    schedule = Schedule(1, 8, 1, 2)
    for step in range(schedule.steps):
        sample = int(schedule.samples_of(step)[0])
        for index, neuron in enumerate(layers[0]):
            neuron.activity = 1.0 / (1.0 + math.exp(-(float(data.train_inputs[sample, index]) + neuron.bias)))
        for above, below in ((layers[0], layers[1]), (layers[1], layers[2])):
            for index, neuron in enumerate(below):
                total = sum(sender.weights[index] * sender.activity for sender in above) + neuron.bias
                neuron.activity = 1.0 / (1.0 + math.exp(-total))
        for index, neuron in enumerate(layers[2]):
            a, target = neuron.activity, float(data.train_targets[sample, index])
            neuron.error = (a - target) * a * (1.0 - a)
        for above, below in ((layers[1], layers[2]), (layers[0], layers[1])):
            for neuron in above:
                a = neuron.activity
                back = sum(weight * receiver.error for weight, receiver in zip(neuron.weights, below, strict=True))
                neuron.error = back * a * (1.0 - a)
                neuron.weights = [
                    weight - 2.0 * receiver.error * a for weight, receiver in zip(neuron.weights, below, strict=True)
                ]
    found = parameters(trained(plan_of(settings, data)))
    for layer, neurons in enumerate(layers):
        assert found.biases[layer] == pytest.approx([neuron.bias for neuron in neurons], rel=1e-15)
        if layer < 2:
            assert found.weights[layer] == pytest.approx(np.array([neuron.weights for neuron in neurons]), rel=1e-12)


def loss_of(plan: RunPlan, changed: Parameters) -> float:
    """The loss that the network of machines has on its training samples with these numbers."""
    states = plan.topology().divide(changed)
    network, coordinator = network_of(plan_of(plan.network, plan.data, trained=Snapshot(0, states, Progress())))
    network.run_until(lambda: coordinator.state is CoordinatorState.IDLE)
    answers: list[Array] = []
    coordinator.trainer.forward(plan.data.train_inputs, answers.append, pytest.fail)
    network.run_until(lambda: bool(answers))
    return LOSSES[plan.network.loss](answers[0], plan.data.train_targets)


@pytest.mark.parametrize(
    ("changes", "classes"),
    [
        ({}, True),
        ({"hidden_activation": "tanh", "loss": "cross_entropy"}, True),
        ({"hidden_activation": "identity", "output_activation": "tanh"}, False),
        ({"hidden_activation": "relu", "output_activation": "identity"}, False),
        ({"input_activation": "logistic", "input_bias": True, "biases": (-0.5, 0.5)}, True),
    ],
    ids=["logistic", "cross-entropy", "tanh outputs", "relu", "input neurons with a bias"],
)
def test_a_step_goes_down_the_gradient_of_the_loss(changes: dict[str, Any], classes: bool) -> None:
    """Every weight and bias: what a step of the machines changes is the central difference of the loss of the machines."""
    settings = settings_of((2, 3, 2), batch_size=6, epochs=1, learning_rate=0.5, **changes)
    data = made_data(6, 2, 2, classes=classes)
    plan = plan_of(settings, data)
    before, after = (
        parameters(trained(plan_of(NetworkSettings(**{**vars(settings), "learning_rate": 0.0}), data))),
        parameters(trained(plan)),
    )
    step, checked = 1e-5, 0
    for kind in ("biases", "weights"):
        for layer, (old, new) in enumerate(zip(getattr(before, kind), getattr(after, kind), strict=True)):
            if kind == "biases" and layer == 0 and not settings.input_bias:
                assert old.tolist() == new.tolist() == [0.0, 0.0]
                continue
            for index in np.ndindex(old.shape):
                moved = [loss_of(plan, shifted(before, kind, layer, index, by)) for by in (step, -step)]
                slope = (moved[0] - moved[1]) / (2.0 * step)
                assert (old[index] - new[index]) / 0.5 == pytest.approx(slope, rel=1e-5, abs=1e-9), (kind, layer, index)
                checked += 1
    assert checked == 2 * 3 + 3 * 2 + 3 + 2 + (2 if settings.input_bias else 0)


def shifted(whole: Parameters, kind: str, layer: int, index: tuple[int, ...], by: float) -> Parameters:
    arrays = {"biases": [array.copy() for array in whole.biases], "weights": [array.copy() for array in whole.weights]}
    arrays[kind][layer][index] += by
    return Parameters(tuple(arrays["biases"]), tuple(arrays["weights"]))


def test_xor_is_learned() -> None:
    """Not only the right numbers: something is learned that no network without hidden neurons can."""
    coordinator = trained(plan_of(settings_of((2, 3, 1), learning_rate=12.0, epochs=500), xor_data(), group_size=3))
    assert coordinator.finished is not None
    assert coordinator.finished["test_accuracy"] == 1.0 and coordinator.finished["test_loss"] < 0.01


def test_textbook_has_a_formula_for_every_activation_and_loss() -> None:
    """A new activation or loss of the project cannot be verified before the textbook has it."""
    assert textbook.ACTIVATIONS.keys() == ACTIVATIONS.keys()
    assert textbook.OUTPUT_ERRORS.keys() == LOSSES.keys()


@pytest.mark.parametrize("unknown", [{"hidden_activation": "softplus"}, {"loss": "hinge"}], ids=str)
def test_textbook_refuses_an_activation_or_loss_without_formula(unknown: dict[str, str]) -> None:
    """It computes nothing in place of a formula that it does not have."""
    with pytest.raises(InternalError, match="no formula for"):
        textbook.Textbook(settings_of((3, 4, 2), **unknown), 1)


@pytest.mark.parametrize("group_size", [1, WHOLE_LAYER])
@pytest.mark.parametrize(("hidden", "loss"), [("tanh", "squared_error"), ("logistic", "cross_entropy")])
def test_every_number_with_interventions_is_the_textbooks(hidden: str, loss: str, group_size: int) -> None:
    """Before the first step, at the end of an epoch and between: rate, weight, bias, and silence in each layer until it ends."""
    journal = (
        Entry(1, 0, 0, "01", "weight", "input.1", "hidden.2", -0.75),
        Entry(2, 0, 1, "02", "silence", "hidden.1"),
        Entry(3, 0, 1, "03", "bias", "hidden.3", value=0.5),
        Entry(4, 0, 3, "04", "rate", value=0.05),
        Entry(5, 0, 3, "05", "silence", "input.0"),
        Entry(6, 0, 4, "06", "wake", "hidden.1"),
        Entry(7, 0, 4, "07", "silence", "output.1"),
    )
    network = settings_of((3, 4, 2), hidden_activation=hidden, loss=loss)
    plan = plan_of(network, made_data(10, 3, 2), group_size=group_size, inspect_every_step=True, journal=journal)
    comparison = compared(plan)
    assert comparison["steps"] == plan.schedule().steps == 6
    assert comparison["first_beyond"] is None, comparison
    assert comparison["largest"]["difference"] < 1e-12
