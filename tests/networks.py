"""Small networks and their data, made from a key, without a library of data sets or a random stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan, Samples
from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.defaults import PRESETS, SEED_ARITHMETIC, NetworkSettings
from coordinator.in_memory import network_of
from coordinator.topology import Parameters
from neuron_node.activations import Array
from neuron_node.initializers import uniform

FINGERPRINT = "arithmetic of the tests"
RUN = b"the-run."
COORDINATOR_LIFE = b"coordin."
TRAINING: dict[str, Any] = {
    "state": "training",
    "step": 4,
    "pauses_after": None,
    "test_loss": None,
    "test_accuracy": None,
}
"""What the live page reads of the status of a network that trains."""


def numbers(key: str, rows: int, columns: int, low: float = -1.0, high: float = 1.0) -> Array:
    """Return numbers (rows, columns) in [low, high) that depend only on the key."""
    return low + (high - low) * uniform(0, key, rows * columns).reshape(rows, columns)


def encoding_of(features: int, outputs: int, *, classes: bool) -> Encoding:
    """Return an encoding without scaling; one output means two classes."""
    names = tuple(f"feature {index}" for index in range(features))
    known = tuple(f"class {index}" for index in range(max(2, outputs))) if classes else None
    scales = () if classes else (0.0,) * outputs, () if classes else (1.0,) * outputs
    return Encoding("made", names, "target", "none", (0.0,) * features, (1.0,) * features, known, outputs, *scales)


def data_of(
    inputs: Array, targets: Array, *, classes: bool = True, held_out: tuple[Array, Array] | None = None
) -> PreparedData:
    """Return prepared data; without held-out samples, the training samples are measured."""
    encoding = encoding_of(inputs.shape[1], targets.shape[1], classes=classes)
    test_inputs, test_targets = held_out or (inputs, targets)
    labels = (encoding.decode_labels(targets), encoding.decode_labels(test_targets)) if classes else (None, None)
    return PreparedData("made", "", encoding, inputs, targets, test_inputs, test_targets, *labels)


def made_data(samples: int, features: int, outputs: int, *, classes: bool = True) -> PreparedData:
    """Return meaningless samples that never change."""
    inputs = numbers("inputs", samples, features)
    if classes:
        labels = (uniform(0, "labels", samples) * max(2, outputs)).astype(np.int64)
        targets = encoding_of(features, outputs, classes=True).encode_labels(labels)
    else:
        targets = numbers("targets", samples, outputs)
    return data_of(inputs, targets, classes=classes)


def xor_data() -> PreparedData:
    """Return the four rows of exclusive or, with one output."""
    inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return data_of(inputs, np.array([[0.0], [1.0], [1.0], [0.0]]))


def settings_of(layers: tuple[int, ...], **changes: Any) -> NetworkSettings:
    """Return a network of logistic neurons with learning rate 0.5, batches of 4 and 2 epochs, unless given."""
    usual: dict[str, Any] = {
        "input_activation": "identity",
        "hidden_activation": "logistic",
        "output_activation": "logistic",
        "loss": "squared_error",
        "learning_rate": 0.5,
        "batch_size": 4,
        "epochs": 2,
    }
    return NetworkSettings(layers=layers, **{**usual, **changes})


def seed_settings(layers: tuple[int, ...], epochs: int = 1) -> NetworkSettings:
    """Return settings with the arithmetic of bigfive/ExMachina."""
    preset = PRESETS["exmachina"]
    return settings_of(
        layers,
        learning_rate=preset["learning_rate"],
        batch_size=preset["batch_size"],
        epochs=epochs,
        **SEED_ARITHMETIC["exmachina"],
    )


def plan_of(network: NetworkSettings, data: Samples | None = None, **changes: Any) -> RunPlan:
    """Return the plan of a run, with one neuron per group, on made data unless given."""
    usual: dict[str, Any] = {
        "run": RUN,
        "incarnation": COORDINATOR_LIFE,
        "seed": 1,
        "network": network,
        "data": data or made_data(22, network.layers[0], network.layers[-1]),
        "group_size": 1,
        "fingerprint": FINGERPRINT,
    }
    return RunPlan(**{**usual, **changes})


def trained(plan: RunPlan, choose: Callable[[int], int] = lambda _waiting: 0) -> CoordinatorMachine:
    """Train in memory without faults; return the coordinator of the finished run."""
    network, coordinator = network_of(plan, choose)
    network.run_until(lambda: coordinator.finished is not None)
    return coordinator


def weights_sha256(coordinator: CoordinatorMachine) -> str:
    """Return the weights_sha256 of a finished run."""
    assert coordinator.finished is not None
    return str(coordinator.finished["weights_sha256"])


def parameters(coordinator: CoordinatorMachine) -> Parameters:
    """Return the final weights and biases of a finished run."""
    assert coordinator.finished is not None and coordinator.trainer.snapshot is not None
    return coordinator.topology.assemble(coordinator.trainer.snapshot.states)
