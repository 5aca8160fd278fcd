"""What is taken where nothing is asked for: the preset `exmachina`, what suits each data set, and a rule for files.

Found by experiment with plain gradient descent on half the squared error; `docs/decisions/defaults.md` has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from coordinator.data.encoding import Encoding
from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from neuron_node.activations import ACTIVATIONS
from neuron_node.losses import LOSSES

if TYPE_CHECKING:
    from coordinator.settings import LearnSettings

ActivationName = Literal["logistic", "tanh", "relu", "identity"]
LossName = Literal["squared_error", "cross_entropy"]
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
"""The settings that a preset stands for. What no setting can say of it stands in `SEED_ARITHMETIC`."""

DATASETS: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (12,), "epochs": 12, "batch_size": 16, "learning_rate": 6.0},
    "iris": {"hidden": (8,), "epochs": 20, "batch_size": 8, "learning_rate": 3.0},
    "wine": {"hidden": (8,), "epochs": 10, "batch_size": 8, "learning_rate": 3.0},
    "breast_cancer": {"hidden": (8,), "epochs": 10, "batch_size": 8, "learning_rate": 1.0},
    "xor": {"hidden": (3,), "epochs": 500, "batch_size": 4, "learning_rate": 12.0, "test_fraction": 0.0},
    "semeion": {"hidden": (8,), "epochs": 10, "batch_size": 16, "learning_rate": 3.0},
}
"""What suits each data set that has a name."""

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
"""By (hidden activation, loss, output activation), where the learning rate is not given and nothing is known better."""
CAREFUL_LEARNING_RATE = 0.05
"""For the rest: outputs without a bound, before which larger steps diverge."""

STEPS = 1_500
"""About as many steps as a file of samples is learnt in."""
MOST_EPOCHS = 200
LEAST_HIDDEN, MOST_HIDDEN = 8, 32
BATCH_SIZES = ((1_000, 8), (10_000, 16), (100_000, 64))
"""The batch of a set with at most so many training samples."""
LARGEST_BATCH = 256


@dataclass(frozen=True)
class NetworkSettings:
    """A network and how it learns, with nothing left open.

    `layers` are neurons a layer from the inputs to the outputs. First weights are uniform: in the range of Glorot and
    Bengio (2010), or in [low, high); first biases are uniform in [low, high). `input_bias` says whether input neurons
    have one, `bias_learned` whether any bias is ever updated. `running_accuracy_window` is the number of latest
    predictions whose accuracy is reported while learning, or None for the epoch's.
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
        """Every layer's activation."""
        return (
            self.input_activation,
            *(self.hidden_activation,) * (len(self.layers) - 2),
            self.output_activation,
        )

    @property
    def input_bias_learned(self) -> bool:
        """Whether input neurons learn."""
        return self.bias_learned and self.input_bias

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> NetworkSettings:
        """What `to_json` made. Raises `TypeError`, `KeyError` or `ValueError` for anything else."""
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
    **{f"{layer}_activation": lambda value: value in ACTIVATIONS for layer in ("input", "hidden", "output")},
    "loss": lambda value: value in LOSSES,
    "learning_rate": lambda value: _is_number(value) and value > 0,
    "batch_size": _is_count,
    "epochs": _is_count,
    "input_bias": lambda value: isinstance(value, bool),
    "bias_learned": lambda value: isinstance(value, bool),
    "weights": lambda value: value == "glorot" or _is_range(value),
    "biases": _is_range,
    "running_accuracy_window": lambda value: value is None or _is_count(value),
}
"""What a network read from a file must have: an unknown name would fail late, in the middle of a step."""


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
"""bigfive/ExMachina: input neurons are neurons like the others, and no bias ever changes."""


def defaults_for(asked: LearnSettings, given: frozenset[str]) -> dict[str, Any]:
    """What stands below the settings `asked` for, those that are `given` by name: the preset's, then the data set's.

    A data set's learning rate goes with its activation and loss: where another one is asked for, it is left open.
    """
    if asked.preset is not None:
        defaults = {**_only(DATASETS.get(asked.dataset, {}), "test_fraction"), **PRESETS[asked.preset]}
    else:
        defaults = dict(DATASETS.get(asked.dataset, {}))
        for name, usual in (("activation", "logistic"), ("loss", "squared_error"), ("output_activation", None)):
            if name in given and getattr(asked, name) != defaults.get(name, usual):
                defaults.pop("learning_rate", None)
    if "layers" in given:
        defaults.pop("hidden", None)
    return defaults


def resolve_network(settings: LearnSettings, prepared: PreparedData) -> NetworkSettings:
    """The network for these settings and this data, with everything that was left open decided.

    Raises:
        UserError: layers or loss that don't fit the data.
    """
    encoding = prepared.encoding
    classes = encoding.classes is not None
    output_activation = settings.output_activation or ("logistic" if classes else "identity")
    if settings.loss == "cross_entropy" and not (classes and output_activation == "logistic"):
        have = f"{output_activation} outputs" if classes else f"the numbers of {prepared.dataset}"
        raise UserError(f"cross_entropy needs classes and logistic outputs, not {have}; take squared_error")
    samples = len(prepared.train_inputs)
    batch_size = settings.batch_size or _batch_size(samples)
    arithmetic = PLAIN_ARITHMETIC if settings.preset is None else SEED_ARITHMETIC[settings.preset]
    return NetworkSettings(
        layers=_layers(settings, encoding),
        hidden_activation=settings.activation,
        output_activation=output_activation,
        loss=settings.loss,
        learning_rate=settings.learning_rate
        or LEARNING_RATES.get((settings.activation, settings.loss, output_activation), CAREFUL_LEARNING_RATE),
        batch_size=batch_size,
        epochs=settings.epochs or min(MOST_EPOCHS, math.ceil(STEPS / math.ceil(samples / batch_size))),
        **arithmetic,
    )


def _layers(settings: LearnSettings, encoding: Encoding) -> tuple[int, ...]:
    if settings.layers is None:
        usual = (min(max(LEAST_HIDDEN, encoding.outputs), MOST_HIDDEN),)
        hidden = usual if settings.hidden is None else settings.hidden
        return (encoding.features, *hidden, encoding.outputs)
    first, last = settings.layers[0], settings.layers[-1]
    right = "-".join(str(size) for size in (encoding.features, *settings.layers[1:-1], encoding.outputs))
    if first != encoding.features:
        raise UserError(
            f"the first of the layers has {first} neurons, {encoding.dataset} has {encoding.features} inputs; "
            f"{right} would fit"
        )
    if last != encoding.outputs:
        raise UserError(f"the last of the layers has {last} neurons, not {encoding.outputs}; {right} would fit")
    return settings.layers


def _batch_size(samples: int) -> int:
    return next((size for most, size in BATCH_SIZES if samples <= most), LARGEST_BATCH)


def _only(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: values[name]} if name in values else {}
