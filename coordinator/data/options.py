"""The user's overrides for reading a table."""

from __future__ import annotations

from dataclasses import dataclass

from coordinator.data.cells import Decimal


@dataclass(frozen=True)
class TableOptions:
    """Overrides for reading a table. None and empty leave the choice to the reader.

    `missing` are marks of missing values beside the usual ones. `target` is a name, `first`, `last` or a number counted
    from 1. `ignore` are columns to leave out, `inputs` the only ones to use.
    """

    delimiter: str | None = None
    decimal: Decimal | None = None
    encoding: str | None = None
    header: bool | None = None
    missing: tuple[str, ...] = ()
    target: str | None = None
    ignore: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


DEFAULT = TableOptions()
