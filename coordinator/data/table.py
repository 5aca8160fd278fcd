"""What every source gives: numbers to learn from, and targets about which nothing has been decided yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a source.

    `inputs` (rows, features) is finite float64 in C order. `targets` are the cells as text, one a row, or numbers
    (rows, outputs). `lines` are the line numbers of the rows where the source is text. `classes` gives the order of
    the classes where the source knows it, and `default_scaling`, `value_range` and `default_outputs` what suits it.
    """

    name: str
    place: str
    inputs: Floats
    feature_names: tuple[str, ...]
    target_name: str
    targets: Sequence[str] | Floats
    sha256: str
    lines: Sequence[int] | None = None
    classes: tuple[str, ...] | None = None
    default_scaling: str = "standard"
    value_range: tuple[float, float] | None = None
    default_outputs: int | None = None

    def where(self, row: int) -> str:
        """The place of a row (counted from 0) for an error message."""
        return f"{self.place}, row {row + 1}" if self.lines is None else f"{self.place}, line {self.lines[row]}"
