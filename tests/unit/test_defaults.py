"""What is taken where nothing is asked for learns: checked with the network's own streams and textbook matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coordinator.data import PreparedData
from coordinator.defaults import DATASETS, NetworkSettings
from coordinator.schedule import Schedule
from coordinator.scores import accuracy
from coordinator.settings import LearnSettings, prepare_data, resolve_network, resolve_settings
from coordinator.topology import layer_names, weight_range
from neuron_node.activations import Array
from neuron_node.initializers import uniform

SEMEION = Path(__file__).resolve().parents[3] / "shared" / "data" / "semeion.data"


def first_weights(network: NetworkSettings, seed: int) -> list[Array]:
    weights = []
    for layer, (above, below) in enumerate(zip(network.layers, network.layers[1:], strict=False)):
        low, high = weight_range(network, above, below)
        draws = np.stack([uniform(seed, name, 1 + below)[1:] for name in layer_names(network.layers, layer)])
        weights.append(low + (high - low) * draws)
    return weights


def outputs_of(inputs: Array, weights: list[Array], biases: list[Array]) -> list[Array]:
    activities = [inputs]
    for weight, bias in zip(weights, biases, strict=True):
        activities.append(1.0 / (1.0 + np.exp(-(activities[-1] @ weight + bias))))
    return activities


def learn(settings: LearnSettings, prepared: PreparedData) -> float:
    """Held-out accuracy of a logistic network under plain gradient descent on half the squared error."""
    network = resolve_network(settings, prepared)
    assert network.activations == ("identity", "logistic", "logistic")
    assert network.loss == "squared_error"
    schedule = Schedule(settings.seed, len(prepared.train_inputs), network.batch_size, network.epochs)
    weights = first_weights(network, settings.seed)
    biases = [np.zeros(size) for size in network.layers[1:]]
    for step in range(schedule.steps):
        rows = schedule.samples_of(step)
        activities = outputs_of(prepared.train_inputs[rows], weights, biases)
        error = (activities[-1] - prepared.train_targets[rows]) * activities[-1] * (1.0 - activities[-1])
        for layer in (1, 0):
            below = activities[layer]
            gradient, bias_gradient = below.T @ error / len(rows), error.mean(axis=0)
            error = (error @ weights[layer].T) * below * (1.0 - below)
            weights[layer] = weights[layer] - network.learning_rate * gradient
            biases[layer] = biases[layer] - network.learning_rate * bias_gradient
    answers = outputs_of(prepared.test_inputs, weights, biases)[-1]
    result = accuracy(prepared.encoding, answers, prepared.test_targets)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("name", "layers", "least", "seeds"),
    [
        ("digits", (64, 12, 10), 0.955, range(5)),
        ("iris", (4, 8, 3), 0.93, range(5)),
        ("wine", (13, 8, 3), 0.94, range(5)),
        ("breast_cancer", (30, 8, 2), 0.955, range(5)),
        ("xor", (2, 3, 1), 1.0, range(10)),
        ("circle", (2, 4, 1), 0.9, range(3)),
        ("gauss", (2, 2, 1), 0.95, range(3)),
        ("spiral", (2, 16, 1), 0.8, range(2)),
    ],
)
def test_the_defaults_learn(name: str, layers: tuple[int, ...], least: float, seeds: range) -> None:
    """With no settings but the seed, each set is learned to the accuracy that is promised for it."""
    for seed in seeds:
        settings = resolve_settings({"dataset": name, "seed": seed}, {}, None)
        prepared = prepare_data(settings)
        assert resolve_network(settings, prepared).layers == layers
        assert learn(settings, prepared) >= least, f"{name}, seed {seed}"


def test_digits_need_no_more_than_fifteen_epochs() -> None:
    """The promise for digits is one about 15 epochs."""
    assert DATASETS["digits"]["epochs"] <= 15


@pytest.mark.data
@pytest.mark.skipif(not SEMEION.exists(), reason="semeion.data does not come with the project")
def test_the_defaults_learn_semeion() -> None:
    """Semeion's 256-8-10 is learned to the accuracy that ExMachina reaches after twice as many passes."""
    for seed in range(3):
        settings = resolve_settings({"dataset": "semeion", "data": SEMEION, "seed": seed}, {}, None)
        assert learn(settings, prepare_data(settings)) >= 0.85
