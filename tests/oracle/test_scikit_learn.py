"""The network of machines against scikit-learn's multi-layer perceptrons: the same steps from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.topology import Parameters
from tests.networks import data_of, made_data, numbers, parameters, plan_of, settings_of, trained

SAMPLES, STEPS, RATE = 12, 8, 0.5


def steps_of_ours(settings: NetworkSettings, data: PreparedData, group_size: int) -> tuple[Parameters, Parameters]:
    """The first weights and biases, and those after some steps with all samples."""
    still = NetworkSettings(**{**vars(settings), "learning_rate": 0.0, "epochs": 1})
    return parameters(trained(plan_of(still, data))), parameters(
        trained(plan_of(settings, data, group_size=group_size))
    )


def steps_of_theirs(
    theirs: Any, first: Parameters, inputs: np.ndarray, targets: np.ndarray, **known: Any
) -> Parameters:
    theirs.partial_fit(inputs, targets, **known)
    for ours, array in zip((*first.weights, *first.biases[1:]), (*theirs.coefs_, *theirs.intercepts_), strict=True):
        assert array.shape == ours.shape
        array[:] = ours
    for _ in range(STEPS):
        theirs.partial_fit(inputs, targets)
    return Parameters((first.biases[0], *theirs.intercepts_), tuple(theirs.coefs_))


def habits(hidden: tuple[int, ...], activation: str) -> dict[str, Any]:
    """Plain gradient descent, all samples a step, nothing else."""
    return {
        "hidden_layer_sizes": hidden, "activation": activation, "solver": "sgd", "alpha": 0.0, "batch_size": SAMPLES,
        "learning_rate_init": RATE, "momentum": 0.0, "nesterovs_momentum": False, "shuffle": False, "random_state": 0,
    }  # fmt: skip


def check_same(ours: Parameters, theirs: Parameters, first: Parameters) -> None:
    for mine, other, start in zip(
        (*ours.weights, *ours.biases), (*theirs.weights, *theirs.biases), (*first.weights, *first.biases), strict=True
    ):
        assert np.allclose(mine, other, rtol=1e-9, atol=1e-12)
        assert start.shape == mine.shape
    assert all(not np.allclose(mine, start, atol=1e-4) for mine, start in zip(ours.weights, first.weights, strict=True))


@pytest.mark.parametrize("group_size", [1, 5])
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("hidden", [(5,), (4, 3)], ids=str)
def test_one_logistic_output_with_cross_entropy(hidden: tuple[int, ...], activation: str, group_size: int) -> None:
    """Two classes: scikit-learn's MLPClassifier minimises the binary cross-entropy."""
    data = made_data(SAMPLES, 3, 1)
    settings = settings_of(
        (3, *hidden, 1),
        hidden_activation=activation,
        loss="cross_entropy",
        batch_size=SAMPLES,
        epochs=STEPS,
        learning_rate=RATE,
    )
    first, ours = steps_of_ours(settings, data, group_size)
    assert data.train_labels is not None
    theirs = steps_of_theirs(
        MLPClassifier(**habits(hidden, activation)), first, data.train_inputs, data.train_labels, classes=[0, 1]
    )
    check_same(ours, theirs, first)


def test_several_logistic_outputs_with_cross_entropy() -> None:
    """Several labels at once are the same sum over logistic outputs that our classes are."""
    data = made_data(SAMPLES, 3, 3)
    settings = settings_of((3, 4, 3), loss="cross_entropy", batch_size=SAMPLES, epochs=STEPS, learning_rate=RATE)
    first, ours = steps_of_ours(settings, data, 1)
    theirs = steps_of_theirs(
        MLPClassifier(**habits((4,), "logistic")),
        first,
        data.train_inputs,
        data.train_targets.astype(np.int64),
        classes=[0, 1, 2],
    )
    check_same(ours, theirs, first)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_identity_outputs_with_squared_error(activation: str, outputs: int) -> None:
    """Numbers as targets: scikit-learn's MLPRegressor minimises half the squared error."""
    targets = numbers("regression", SAMPLES, outputs)
    data = data_of(numbers("inputs", SAMPLES, 3), targets, classes=False)
    settings = settings_of(
        (3, 4, outputs),
        hidden_activation=activation,
        output_activation="identity",
        batch_size=SAMPLES,
        epochs=STEPS,
        learning_rate=RATE,
    )
    first, ours = steps_of_ours(settings, data, 1)
    their_targets = targets[:, 0] if outputs == 1 else targets
    theirs = steps_of_theirs(MLPRegressor(**habits((4,), activation)), first, data.train_inputs, their_targets)
    check_same(ours, theirs, first)
