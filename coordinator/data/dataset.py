"""A data set: raw inputs, and targets that are classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coordinator.data.limits import check_size
from coordinator.data.table import Floats, Table
from coordinator.data.targets import Labels, TargetKind, interpret
from coordinator.errors import UserError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to learn from, as they came.

    `inputs` (samples, features) is float64 in C order, in the source's units. Either `classes` and `labels`
    (samples,), the index of each sample's class, are given, or `numbers` (samples, outputs) in the source's units.
    `sha256` identifies the contents. `default_scaling`, `value_range` and `default_outputs` say what suits the set.
    """

    name: str
    inputs: Floats
    feature_names: tuple[str, ...]
    target_name: str
    classes: tuple[str, ...] | None
    labels: Labels | None
    numbers: Floats | None
    sha256: str
    default_scaling: str
    value_range: tuple[float, float] | None
    default_outputs: int

    @property
    def samples(self) -> int:
        """The number of rows."""
        return len(self.inputs)

    @property
    def features(self) -> int:
        """The number of inputs of a row."""
        return len(self.feature_names)

    @property
    def targets(self) -> NDArray[np.str_] | Floats:
        """The targets as the source has them: class names (samples,) or numbers (samples, outputs)."""
        if self.classes is not None and self.labels is not None:
            return np.array(self.classes)[self.labels]
        assert self.numbers is not None
        return self.numbers


def dataset_from(table: Table, kind: TargetKind) -> Dataset:
    """Decide what the targets of `table` are, and check that there is something to learn.

    Raises:
        UserError: fewer than two rows, or targets that nothing can be learnt from.
    """
    rows, features = table.inputs.shape
    check_size(rows, features, table.place)
    if rows < 2:
        raise UserError(f"{table.place}: has {rows} row of data, at least 2 are needed")
    classes, labels, numbers = interpret(table, kind)
    if classes is not None:
        outputs = table.default_outputs or len(classes)
    else:
        assert numbers is not None
        outputs = numbers.shape[1]
    return Dataset(
        name=table.name,
        inputs=table.inputs,
        feature_names=table.feature_names,
        target_name=table.target_name,
        classes=classes,
        labels=labels,
        numbers=numbers,
        sha256=table.sha256,
        default_scaling=table.default_scaling,
        value_range=table.value_range,
        default_outputs=outputs,
    )
