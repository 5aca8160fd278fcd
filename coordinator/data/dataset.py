"""A data set: raw inputs, and targets that are classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coordinator.data.limits import check_size
from coordinator.data.table import Floats, Table, TableColumn, TableFacts
from coordinator.data.targets import Labels, TargetKind, interpret
from coordinator.errors import UserError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples, not yet scaled or encoded.

    `inputs` (samples, columns) is float64 in C order, in the source's units; a category is the index of its text in
    the column's `categories`, and NaN a missing cell. Either `classes` and `labels` (samples,), the index of each
    sample's class, are given, or `numbers` (samples, outputs) in the source's units. `sha256` identifies the contents.
    `held_out` marks the samples that the source holds out. `default_scaling`, `value_range` and `default_outputs` say
    what suits the set; `why` is the rule by which the targets are classes or numbers.
    """

    name: str
    inputs: Floats
    columns: tuple[TableColumn, ...]
    target_name: str
    classes: tuple[str, ...] | None
    labels: Labels | None
    numbers: Floats | None
    sha256: str
    default_scaling: str
    value_range: tuple[float, float] | None
    default_outputs: int
    held_out: NDArray[np.bool_] | None = None
    facts: TableFacts = field(default_factory=lambda: TableFacts(0, ()))
    source_columns: tuple[str, ...] = ()
    place: str = ""
    why: str = ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns that are inputs."""
        return tuple(column.name for column in self.columns)

    @property
    def samples(self) -> int:
        """The number of rows."""
        return len(self.inputs)

    @property
    def features(self) -> int:
        """The number of columns of a row that are inputs."""
        return len(self.columns)

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
        UserError: fewer than two rows, or targets without anything to learn.
    """
    rows, features = table.inputs.shape
    check_size(rows, features, table.place)
    if rows < 2:
        left = f" with a target (of {table.facts.rows:,})" if table.facts.rows_left_out else ""
        raise UserError(f"{table.place}: has {rows} row{'s' if rows != 1 else ''} of data{left}, at least 2 are needed")
    targets = interpret(table, kind)
    if targets.classes is not None:
        outputs = table.default_outputs or len(targets.classes)
    else:
        assert targets.numbers is not None
        outputs = targets.numbers.shape[1]
    return Dataset(
        name=table.name,
        inputs=table.inputs,
        columns=table.columns,
        target_name=table.target_name,
        classes=targets.classes,
        labels=targets.labels,
        numbers=targets.numbers,
        sha256=table.sha256,
        default_scaling=table.default_scaling,
        value_range=table.value_range,
        default_outputs=outputs,
        held_out=table.held_out,
        facts=table.facts,
        source_columns=table.source_columns,
        place=table.place,
        why=targets.why,
    )
