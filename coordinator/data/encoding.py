"""From the units of the data to the network's numbers and back. It is saved with the model.

Inputs: network input = (input - offset) / scale, feature by feature. The rules for offset and scale:

* `standard`: mean and standard deviation of the training rows (scikit-learn's StandardScaler);
* `range`: the training rows' minimum to maximum become 0 to 1 (MinMaxScaler), or the source's own bounds do where it
  has any (a pixel of `digits` goes from 0 to 16 whatever the rows hold);
* `none`: as they are.

A feature that never varies has the scale 1.

Targets: k classes are k outputs of which the class's own is 1 (the largest activity wins), or, for two classes, one
output that is 1 for the second class (0.5 is the threshold). Numbers are standardised, and decoded in their own units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from coordinator.data.table import Floats
from coordinator.data.targets import Labels
from coordinator.errors import UserError

Scaling = Literal["standard", "range", "none"]
SCALINGS: tuple[str, ...] = get_args(Scaling)
THRESHOLD = 0.5


@dataclass(frozen=True)
class Encoding:
    """What has to be known beside the weights to use a model.

    `input_offset` and `input_scale` have a number a feature; `target_offset` and `target_scale` a number an output,
    and none where the targets are `classes`.
    """

    dataset: str
    feature_names: tuple[str, ...]
    target_name: str
    scaling: str
    input_offset: tuple[float, ...]
    input_scale: tuple[float, ...]
    classes: tuple[str, ...] | None
    outputs: int
    target_offset: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()

    @property
    def features(self) -> int:
        """The number of inputs, and so of input neurons."""
        return len(self.feature_names)

    def scale_inputs(self, rows: Floats) -> Floats:
        """Raw rows (rows, features) as the input neurons get them: float64 in C order."""
        return np.ascontiguousarray((rows - np.array(self.input_offset)) / np.array(self.input_scale))

    def encode_labels(self, labels: Labels) -> Floats:
        """Class indices (rows,) as the activities that are right (rows, outputs)."""
        if self.outputs == 1:
            return np.ascontiguousarray(labels[:, np.newaxis], dtype=np.float64)
        return np.ascontiguousarray(labels[:, np.newaxis] == np.arange(self.outputs), dtype=np.float64)

    def encode_numbers(self, numbers: Floats) -> Floats:
        """Targets (rows, outputs) in their own units as the activities that are right (rows, outputs)."""
        return np.ascontiguousarray((numbers - np.array(self.target_offset)) / np.array(self.target_scale))

    def decode_labels(self, activities: Floats) -> Labels:
        """The index of the class that each row of activities (rows, outputs) says; the first of equals."""
        if self.outputs == 1:
            return np.asarray(activities[:, 0] > THRESHOLD, dtype=np.int64)
        return np.asarray(np.argmax(activities, axis=1), dtype=np.int64)

    def decode_names(self, activities: Floats) -> list[str]:
        """The name of the class that each row of activities (rows, outputs) says."""
        assert self.classes is not None
        return [self.classes[label] for label in self.decode_labels(activities)]

    def class_activities(self, activities: Floats) -> Floats:
        """Every class's activity (rows, classes); one output a is the second class's, and the first's is 1 - a."""
        return np.hstack((1.0 - activities, activities)) if self.outputs == 1 else activities

    def decode_numbers(self, activities: Floats) -> Floats:
        """Activities (rows, outputs) in the units of the targets."""
        return np.ascontiguousarray(activities * np.array(self.target_scale) + np.array(self.target_offset))

    def to_json(self) -> dict[str, Any]:
        """Everything, as what json can write: floats survive it bit for bit."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: object) -> Encoding:
        """The encoding that `to_json` wrote.

        Raises:
            UserError: something is missing, unknown, of another type, or doesn't fit the rest.
        """
        if not isinstance(document, Mapping) or set(document) != set(_CHECKS):
            raise UserError("the encoding saved with the model is damaged: its entries are not those of this version")
        for name, check in _CHECKS.items():
            if not check(document[name]):
                raise UserError(f"the encoding saved with the model is damaged: {name} is not what it should be")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
        }
        encoding = cls(**values)
        encoding._check_fit()
        return encoding

    def _check_fit(self) -> None:
        numbers = 0 if self.classes is not None else self.outputs
        fits = (
            len(self.input_offset) == len(self.input_scale) == self.features > 0
            and len(self.target_offset) == len(self.target_scale) == numbers
            and 0.0 not in (*self.input_scale, *self.target_scale)
            and (self.classes is None or outputs_fit(self.classes, self.outputs))
        )
        if not fits:
            raise UserError("the encoding saved with the model is damaged: its parts don't fit one another")


def outputs_fit(classes: tuple[str, ...], outputs: int) -> bool:
    """Whether `outputs` output neurons can tell these classes apart."""
    return outputs == len(classes) or (outputs == 1 and len(classes) == 2)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is float and math.isfinite(item) for item in value)


_CHECKS = {
    "dataset": _is_text,
    "feature_names": _is_names,
    "target_name": _is_text,
    "scaling": lambda value: value in SCALINGS,
    "input_offset": _is_numbers,
    "input_scale": _is_numbers,
    "classes": lambda value: value is None or (_is_names(value) and len(value) >= 2),
    "outputs": lambda value: type(value) is int and value >= 1,
    "target_offset": _is_numbers,
    "target_scale": _is_numbers,
}
assert set(_CHECKS) == {field.name for field in fields(Encoding)}
