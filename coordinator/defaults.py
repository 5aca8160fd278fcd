"""Default values: the preset `exmachina`, the defaults of each data set, and the rules for files.

The values were found by experiment with plain gradient descent on half the squared error; `docs/decisions/defaults.md`
has the figures. This module knows no settings: `coordinator.settings` imports it, never the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

ActivationName = Literal["logistic", "tanh", "relu", "identity"]
LossName = Literal["squared_error", "cross_entropy"]
ACTIVATION_NAMES = " or ".join((", ".join(get_args(ActivationName)[:-1]), get_args(ActivationName)[-1]))
"""The names of all activations, for help and messages."""
Wiring = Literal["broker", "direct"]
"""The path of data between programs: through the broker, or from program to program."""
Range = tuple[float, float]

PRESETS: dict[str, dict[str, Any]] = {
    "exmachina": {
        "hidden": (8,),
        "epochs": 20,
        "batch_size": 1,
        "learning_rate": 2.0,
        "activation": "logistic",
        "loss": "squared_error",
    },
}
"""The settings of each preset. `SEED_ARITHMETIC` has the parts of a preset that are not settings."""

DATASETS: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (12,), "epochs": 12, "batch_size": 16, "learning_rate": 6.0},
    "iris": {"hidden": (8,), "epochs": 20, "batch_size": 8, "learning_rate": 3.0},
    "wine": {"hidden": (8,), "epochs": 10, "batch_size": 8, "learning_rate": 3.0},
    "breast_cancer": {"hidden": (8,), "epochs": 10, "batch_size": 8, "learning_rate": 1.0},
    "xor": {"hidden": (3,), "epochs": 500, "batch_size": 4, "learning_rate": 12.0, "test_fraction": 0.0},
    "circle": {"hidden": (4,), "epochs": 60, "batch_size": 8, "learning_rate": 6.0},
    "spiral": {"hidden": (16,), "epochs": 200, "batch_size": 8, "learning_rate": 12.0},
    "gauss": {"hidden": (2,), "epochs": 10, "batch_size": 8, "learning_rate": 6.0},
    "semeion": {"hidden": (8,), "epochs": 10, "batch_size": 16, "learning_rate": 3.0},
}
"""The default settings of each data set that has a name."""

NOISY_XOR: dict[str, Any] = {"hidden": (4,), "epochs": 30, "batch_size": 8, "learning_rate": 6.0}
"""The default settings of xor with noise, which has 200 rows."""

LEARNING_RATES: dict[tuple[str, str, str], float] = {
    ("logistic", "squared_error", "logistic"): 3.0,
    ("tanh", "squared_error", "logistic"): 1.0,
    ("relu", "squared_error", "logistic"): 1.0,
    ("identity", "squared_error", "logistic"): 1.0,
    ("logistic", "cross_entropy", "logistic"): 0.5,
    ("tanh", "cross_entropy", "logistic"): 0.1,
    ("relu", "cross_entropy", "logistic"): 0.1,
    ("identity", "cross_entropy", "logistic"): 0.1,
    ("logistic", "squared_error", "identity"): 0.2,
}
"""The default learning rate by (hidden activation, loss, output activation), for data without a default of its own."""
LARGEST_RATE = 1000.0
"""The largest learning rate."""
CAREFUL_LEARNING_RATE = 0.05
"""The default learning rate of all other combinations: their outputs are unbounded, and larger steps diverge."""

STEPS = 1_500
"""The default number of epochs for a file is chosen so that training takes about this many steps."""
MOST_EPOCHS = 200
LEAST_HIDDEN, MOST_HIDDEN = 8, 32
BATCH_SIZES = ((1_000, 8), (10_000, 16), (100_000, 64))
"""Pairs (number of training samples, batch size): the first pair with enough samples decides."""
LARGEST_BATCH = 256
HISTORY_BYTES = 64_000_000
"""The default size of a run's history."""


@dataclass(frozen=True)
class NetworkSettings:
    """A network and how it learns, with every value decided.

    `layers` has the number of neurons of each layer, from the inputs to the outputs. Initial weights are uniform: in the
    range of Glorot and Bengio (2010), or in [low, high). Initial biases are uniform in [low, high). `input_bias` says
    whether input neurons have a bias, `bias_learned` whether biases are updated. `running_accuracy_window` is the number
    of latest predictions whose accuracy is reported during training; None means the predictions of the epoch.
    """

    layers: tuple[int, ...]
    input_activation: str
    hidden_activation: str
    output_activation: str
    loss: str
    learning_rate: float
    batch_size: int
    epochs: int
    input_bias: bool = False
    bias_learned: bool = True
    weights: Literal["glorot"] | Range = "glorot"
    biases: Range = (0.0, 0.0)
    running_accuracy_window: int | None = None

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation of each layer."""
        return (
            self.input_activation,
            *(self.hidden_activation,) * (len(self.layers) - 2),
            self.output_activation,
        )

    @property
    def input_bias_learned(self) -> bool:
        """Whether the biases of input neurons are updated."""
        return self.bias_learned and self.input_bias

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> NetworkSettings:
        """Rebuild from the result of `to_json`. Raises `TypeError`, `KeyError` or `ValueError` for any other document."""
        weights = document["weights"]
        lists: dict[str, Any] = {
            "layers": tuple(document["layers"]),
            "biases": tuple(document["biases"]),
            "weights": weights if weights == "glorot" else tuple(weights),
        }
        network = cls(**{**document, **lists})
        for name, check in _CHECKS.items():
            if not check(getattr(network, name)):
                raise ValueError(f"no network has {name} {str(getattr(network, name))[:60]!r}")
        return network


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_range(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_number(bound) for bound in value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "layers": lambda value: len(value) >= 2 and all(_is_count(size) for size in value),
    **{
        f"{layer}_activation": lambda value: value in get_args(ActivationName)
        for layer in ("input", "hidden", "output")
    },
    "loss": lambda value: value in get_args(LossName),
    "learning_rate": lambda value: _is_number(value) and value > 0,
    "batch_size": _is_count,
    "epochs": _is_count,
    "input_bias": lambda value: isinstance(value, bool),
    "bias_learned": lambda value: isinstance(value, bool),
    "weights": lambda value: value == "glorot" or _is_range(value),
    "biases": _is_range,
    "running_accuracy_window": lambda value: value is None or _is_count(value),
}
"""The checks of a network from a file: a wrong value would fail late, in the middle of a step."""


PLAIN_ARITHMETIC: dict[str, Any] = {"input_activation": "identity"}
SEED_ARITHMETIC: dict[str, dict[str, Any]] = {
    "exmachina": {
        "input_activation": "logistic",
        "input_bias": True,
        "bias_learned": False,
        "weights": (-1.0, 1.0),
        "biases": (-3.0, -1.0),
        "running_accuracy_window": 200,
    },
}
"""The arithmetic of bigfive/ExMachina: input neurons compute like all others, and biases never change."""


def defaults_for(
    preset: str | None, dataset: str, asked: Mapping[str, object], given: frozenset[str]
) -> dict[str, Any]:
    """Return the defaults of a preset, or else of a data set, below the settings `asked` for.

    `given` names the settings that a person gave. The learning rate of a data set belongs to its activation and loss: if
    a person gave another activation or loss, the learning rate is left out.
    """
    if preset is not None:
        defaults = {**_only(_of(dataset, asked), "test_fraction"), **PRESETS[preset]}
    else:
        defaults = dict(_of(dataset, asked))
        for name, usual in (("activation", "logistic"), ("loss", "squared_error"), ("output_activation", None)):
            if name in given and asked[name] != defaults.get(name, usual):
                defaults.pop("learning_rate", None)
    if "layers" in given:
        defaults.pop("hidden", None)
    return defaults


def default_batch_size(samples: int) -> int:
    """Return the batch size for a file with this number of training samples."""
    return next((size for most, size in BATCH_SIZES if samples <= most), LARGEST_BATCH)


def _of(dataset: str, asked: Mapping[str, object]) -> dict[str, Any]:
    noisy_xor = dataset == "xor" and asked.get("noise") is not None
    return NOISY_XOR if noisy_xor else DATASETS.get(dataset, {})


def _only(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: values[name]} if name in values else {}
