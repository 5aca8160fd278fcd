"""The table that every source gives: columns of inputs, and targets whose kind is not decided yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coordinator.data.cells import Decimal
from coordinator.data.columns import ColumnKind, TextCells

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableColumn:
    """A column that is an input: `number`, `boolean` or `category`, whose cells are indices of its `categories`."""

    name: str
    kind: ColumnKind = "number"
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnFacts:
    """Facts about a column of the source, used or not."""

    name: str
    kind: ColumnKind
    missing: int = 0
    why: str = ""


@dataclass(frozen=True)
class TableFacts:
    """Facts about a source: how it is written, all its columns in order, and warnings.

    With `problems`, `learn` refuses the table.
    """

    rows: int
    columns: tuple[ColumnFacts, ...]
    format: str = "array"
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    packing: str | None = None
    header: bool = False
    rows_left_out: int = 0
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a source.

    `inputs` (rows, columns) is float64 in C order, finite but for NaN where a cell is missing. `targets` are cells of
    text or numbers (rows, outputs). `lines` are the line numbers of the rows where the source is text. `classes` gives
    the order of the classes where the source knows it; `held_out` marks the rows that the source itself holds out.
    `default_scaling`, `value_range` and `default_outputs` say what suits the source.
    """

    name: str
    place: str
    inputs: Floats
    columns: tuple[TableColumn, ...]
    target_name: str
    targets: TextCells | Floats
    sha256: str
    lines: Sequence[int] | None = None
    word: str = "line"
    classes: tuple[str, ...] | None = None
    default_scaling: str = "standard"
    value_range: tuple[float, float] | None = None
    default_outputs: int | None = None
    held_out: NDArray[np.bool_] | None = None
    decimal: Decimal | None = None
    nominal_target: bool = False
    """Whether the source declares that the targets are classes."""
    facts: TableFacts = field(default_factory=lambda: TableFacts(0, ()))
    source_columns: tuple[str, ...] = ()
    """The names of all columns of the source, in order, with the target's and those that are left out."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the columns that are inputs."""
        return tuple(column.name for column in self.columns)

    def where(self, row: int) -> str:
        """Name a row (counted from 0) in an error message."""
        return f"{self.place}, row {row + 1}" if self.lines is None else f"{self.place}, {self.word} {self.lines[row]}"


def left_out_note(count: int) -> tuple[str, ...]:
    """Say how many rows have no target, if some have none."""
    if not count:
        return ()
    return (f"{count:,} row{'s have' if count > 1 else ' has'} no target and {'are' if count > 1 else 'is'} left out",)


def number_columns(names: Sequence[str]) -> tuple[TableColumn, ...]:
    """Return columns of numbers with these names."""
    return tuple(TableColumn(str(name)) for name in names)
