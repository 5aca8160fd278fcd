"""Convert the units of the data to the network's numbers and back. The encoding is saved with the model.

Columns become inputs: a number is one input; a category is one input for each of its texts and one for all others; a
boolean is two. A missing cell is filled with the median of a number or the most frequent text. If the training rows
lack cells of the column too, one more input marks missing cells. Only `expand` does this.

Inputs: network input = (input - offset) / scale, for each input. The inputs of categories and of missing cells are 0
or 1 and are not scaled. The rules for offset and scale of numbers:

* `standard`: mean and standard deviation of the training rows (scikit-learn's StandardScaler);
* `range`: the minimum and maximum of the training rows become 0 and 1 (MinMaxScaler), or the bounds of the source if it
  states them (a pixel of `digits` goes from 0 to 16);
* `none`: numbers are not scaled.

A constant input has the scale 1.

Targets: k classes are k outputs, and the output of the class is 1 (the largest activity wins). Or two classes are one
output that is 1 for the second class (the threshold is 0.5). Numbers are standardised, and decoded in their own units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from coordinator.data.table import Floats, number_columns
from coordinator.data.targets import Labels
from coordinator.errors import UserError

Scaling = Literal["standard", "range", "none"]
SCALINGS: tuple[str, ...] = get_args(Scaling)
THRESHOLD = 0.5
OTHER = "other"
ENCODED_KINDS = ("number", "boolean", "category")


@dataclass(frozen=True)
class EncodedColumn:
    """The rule that makes inputs of the network from one column of a table.

    `fill` replaces a missing cell: a number, or the index of a category; None refuses missing cells. `indicator`
    says whether one more input marks missing cells.
    """

    name: str
    kind: str = "number"
    categories: tuple[str, ...] = ()
    fill: float | None = None
    indicator: bool = False

    @property
    def width(self) -> int:
        """The number of inputs."""
        own = {"number": 1, "boolean": len(self.categories), "category": len(self.categories) + 1}[self.kind]
        return own + self.indicator

    def input_names(self) -> list[str]:
        """Name the inputs."""
        names = [self.name] if self.kind == "number" else [f"{self.name} = {text}" for text in self.categories]
        if self.kind == "category":
            names.append(f"{self.name} = {OTHER}")
        return [*names, f"{self.name} is missing"] if self.indicator else names

    def to_json(self) -> dict[str, Any]:
        """Return the rule as plain data for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "categories": list(self.categories),
            "fill": self.fill,
            "indicator": self.indicator,
        }


def expand(columns: Sequence[EncodedColumn], rows: Floats) -> Floats:
    """Convert rows of columns (rows, columns) to unscaled inputs (rows, inputs): float64 in C order.

    A category is the index of its text in the column's `categories`, or their number for any other text; NaN is a
    missing cell.
    """
    if all(column.width == 1 and column.kind == "number" for column in columns) and not np.isnan(rows).any():
        return rows
    inputs = np.zeros((len(rows), sum(column.width for column in columns)))
    every = np.arange(len(rows))
    start = 0
    for position, column in enumerate(columns):
        values = rows[:, position]
        missing = np.isnan(values)
        if missing.any():
            assert column.fill is not None, "missing cells are refused where no number stands for them"
            values = np.where(missing, column.fill, values)
        if column.kind == "number":
            inputs[:, start] = values
        else:
            inputs[every, start + values.astype(np.int64)] = 1.0
        if column.indicator:
            inputs[:, start + column.width - 1] = missing
        start += column.width
    return inputs


@dataclass(frozen=True)
class Encoding:
    """The data that a model needs besides its weights.

    `feature_names` name the inputs; `input_offset` and `input_scale` have a number for each; `target_offset` and
    `target_scale` a number for each output, and none where the targets are `classes`. `columns` are the columns that
    become the inputs; without them each input is a column of numbers. `source_columns` are all columns of the table
    that it was trained with, in order, `has_header` says whether they are names of its own, and `decimal` is the decimal mark
    of its numbers, where that is not a point.
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
    columns: tuple[EncodedColumn, ...] = ()
    source_columns: tuple[str, ...] = ()
    has_header: bool = True
    decimal: str | None = None

    @property
    def features(self) -> int:
        """The number of inputs, and so of input neurons."""
        return len(self.feature_names)

    @property
    def table_columns(self) -> tuple[EncodedColumn, ...]:
        """The columns of a table that become the inputs."""
        return self.columns or tuple(EncodedColumn(column.name) for column in number_columns(self.feature_names))

    def scale_inputs(self, inputs: Floats) -> Floats:
        """Scale inputs (rows, inputs) for the input neurons: float64 in C order, same shape."""
        return np.ascontiguousarray((inputs - np.array(self.input_offset)) / np.array(self.input_scale))

    def encode_rows(self, rows: Floats) -> Floats:
        """Convert rows of columns (rows, columns), as for `expand`, to scaled inputs (rows, inputs)."""
        return self.scale_inputs(expand(self.table_columns, rows))

    def encode_labels(self, labels: Labels) -> Floats:
        """Return the target activities (rows, outputs) for class indices (rows,)."""
        if self.outputs == 1:
            return np.ascontiguousarray(labels[:, np.newaxis], dtype=np.float64)
        return np.ascontiguousarray(labels[:, np.newaxis] == np.arange(self.outputs), dtype=np.float64)

    def encode_numbers(self, numbers: Floats) -> Floats:
        """Return the target activities (rows, outputs) for targets (rows, outputs) in their own units."""
        return np.ascontiguousarray((numbers - np.array(self.target_offset)) / np.array(self.target_scale))

    def decode_labels(self, activities: Floats) -> Labels:
        """Return the class index (rows,) of each row of activities (rows, outputs); the first of equal classes."""
        if self.outputs == 1:
            return np.asarray(activities[:, 0] > THRESHOLD, dtype=np.int64)
        return np.asarray(np.argmax(activities, axis=1), dtype=np.int64)

    def decode_names(self, activities: Floats) -> list[str]:
        """Return the class name (rows,) of each row of activities (rows, outputs)."""
        assert self.classes is not None
        return [self.classes[label] for label in self.decode_labels(activities)]

    def class_activities(self, activities: Floats) -> Floats:
        """Return the activity of every class (rows, classes). One output a means 1 - a for the first class, a for the second."""
        return np.hstack((1.0 - activities, activities)) if self.outputs == 1 else activities

    def decode_numbers(self, activities: Floats) -> Floats:
        """Convert activities (rows, outputs) to the units of the targets, same shape."""
        return np.ascontiguousarray(activities * np.array(self.target_scale) + np.array(self.target_offset))

    def to_json(self) -> dict[str, Any]:
        """Return the encoding as plain data for JSON, which keeps every bit of the floats."""
        document: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "columns":
                value = [column.to_json() for column in self.columns]
            document[item.name] = list(value) if isinstance(value, tuple) else value
        return document

    @classmethod
    def from_json(cls, document: object) -> Encoding:
        """Return the encoding that `to_json` wrote.

        Raises:
            UserError: a value is missing, unknown, of another type, or does not fit the other values.
        """
        if isinstance(document, Mapping):
            # Models of earlier versions lack these.
            document = {**_ADDED, **document}
        if not isinstance(document, Mapping) or set(document) != set(_CHECKS):
            raise UserError("the encoding saved with the model is damaged: its entries are not those of this version")
        for name, check in _CHECKS.items():
            if not check(document[name]):
                raise UserError(f"the encoding saved with the model is damaged: {name} is not what it should be")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
        }
        values["columns"] = tuple(
            EncodedColumn(**{**column, "categories": tuple(column["categories"])}) for column in document["columns"]
        )
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
            and (not self.columns or sum(column.width for column in self.columns) == self.features)
        )
        if not fits:
            raise UserError("the encoding saved with the model is damaged: its parts do not fit one another")


def outputs_fit(classes: tuple[str, ...], outputs: int) -> bool:
    """Return whether `outputs` output neurons can represent these classes."""
    return outputs == len(classes) or (outputs == 1 and len(classes) == 2)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is float and math.isfinite(item) for item in value)


def _is_columns(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, dict) and set(item) == _COLUMN_ENTRIES and _is_column(item) for item in value)
        and len({item["name"] for item in value}) == len(value)
    )


def _is_column(item: dict[str, Any]) -> bool:
    fill, categories = item["fill"], item["categories"]
    bound = len(categories) if isinstance(categories, list) else 0
    return (
        isinstance(item["name"], str)
        and item["kind"] in ENCODED_KINDS
        and _is_names(categories)
        and (item["kind"] == "number") == (not categories)
        and (fill is None or (type(fill) is float and math.isfinite(fill)))
        and (fill is None or item["kind"] == "number" or (fill.is_integer() and 0 <= fill < bound))
        and (fill is not None or item["indicator"] is False)
        and type(item["indicator"]) is bool
    )


_ADDED: dict[str, Any] = {"columns": [], "source_columns": [], "has_header": True, "decimal": None}
_COLUMN_ENTRIES = {item.name for item in fields(EncodedColumn)}
_CHECKS: dict[str, Callable[[Any], bool]] = {
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
    "columns": _is_columns,
    "source_columns": _is_names,
    "has_header": lambda value: type(value) is bool,
    "decimal": lambda value: value in (None, ".", ","),
}
assert set(_CHECKS) == {field.name for field in fields(Encoding)}
