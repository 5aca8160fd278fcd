"""Which rows of the two tables of transitions a simulation has used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import coordinator.core.machine as coordinator_module
import neuron_node.node as node_module


class Noted(dict[Any, Any]):
    """A table that remembers which of its rows were looked up."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.used: dict[Any, None] = {}

    def get(self, key: Any, default: Any = None) -> Any:
        """The row, noted if there is one."""
        row = super().get(key, default)
        if row is not None:
            self.used[key] = None
        return row


@contextmanager
def rows_noted() -> Iterator[dict[str, None]]:
    """What is filled with the names of the rows that are used meanwhile, once it is over."""
    rows: dict[str, None] = {}
    tables = {"node": node_module, "coordinator": coordinator_module}
    noted = {name: Noted(module.TRANSITIONS) for name, module in tables.items()}
    before = {name: module.TRANSITIONS for name, module in tables.items()}
    for name, module in tables.items():
        module.TRANSITIONS = noted[name]  # type: ignore[attr-defined]
    try:
        yield rows
    finally:
        for name, module in tables.items():
            module.TRANSITIONS = before[name]  # type: ignore[attr-defined]
            rows.update((_name(name, *key), None) for key in noted[name].used)


def all_rows() -> list[str]:
    """Every row of both tables."""
    tables: dict[str, dict[Any, Any]] = {
        "node": node_module.TRANSITIONS,
        "coordinator": coordinator_module.TRANSITIONS,
    }
    return [_name(name, *key) for name, table in tables.items() for key in table]


def _name(table: str, state: Any, kind: type) -> str:
    return f"{table} {state.value}: {kind.__name__}"
