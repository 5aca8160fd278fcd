"""All nodes: which neuron each hosts, whether it lives, and which neuron the run waits for."""

from __future__ import annotations

import time
from typing import Any

from nicegui import ui

from coordinator.dashboard.panels.markup import heading, hint, panel
from coordinator.dashboard.view import View

DRAWN_AGAIN_SECONDS = 1.0
COLUMNS = (
    ("node", "node", "left"),
    ("neuron", "neuron", "left"),
    ("state", "state", "left"),
    ("host", "host", "left"),
    ("process", "process", "right"),
    ("rate", "messages/s", "right"),
    ("heard", "heard", "right"),
    ("restarts", "restarts", "right"),
)
ROWS_A_PAGE = 12


class NodesPanel:
    """A table with a row for each node."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen = -1
        self._drawn = 0.0
        with panel("nodes", "Nodes") as self.element:
            heading("Programs")
            self._words = hint()
            self._waits = ui.label().classes("waits").props("role=status")
            columns = [
                {"name": name, "label": label, "field": name, "align": align, "sortable": True}
                for name, label, align in COLUMNS
            ]
            self._table = ui.table(rows=[], columns=columns, row_key="node", pagination=ROWS_A_PAGE)
            self._table.props('dense flat aria-label="Programs"').classes("wide")
            self._table.on("rowClick", self._clicked, [[], ["first"]])

    def refresh(self) -> None:
        """Show the present nodes, at most once a second."""
        board, now = self._view.board, time.monotonic()
        if board.versions["nodes"] == self._seen or now - self._drawn < DRAWN_AGAIN_SECONDS:
            return
        self._seen, self._drawn = board.versions["nodes"], now
        spares = sum(not node["neurons"] for node in board.nodes)
        away = [row["neuron"] for row in board.neurons if row["process"] is None]
        parts = [f"{len(board.nodes):,} programs", f"{spares} spare{'' if spares == 1 else 's'}"]
        if away:
            parts.append(f"without a program: {', '.join(away[:6])}{' …' if len(away) > 6 else ''}")
        self._words.text = "; ".join(parts) + ". Click a row to select its neuron."
        self._waits.text = "The run waits. " + " ".join(board.waits) if board.waits else ""
        self._waits.visible = bool(board.waits)
        rows = [row_of(node) for node in board.nodes]
        if rows != self._table.rows:
            self._table.rows = rows

    def _clicked(self, event: Any) -> None:
        row = event.args[1] if isinstance(event.args, list) and len(event.args) > 1 else None
        name = row.get("first") if isinstance(row, dict) else None
        if name in self._view.board.names:
            self._view.select(name)


def row_of(node: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a node."""
    first, others = node["first_neuron"], node["neurons"] - 1
    return {
        "node": node["node"],
        "neuron": "spare" if first is None else first if not others else f"{first} and {others:,} more",
        "first": first,
        "state": node["state"],
        "host": node["host"],
        "process": node["process"],
        "rate": round(node["messages_per_second"]),
        "heard": "now" if node["heard_seconds_ago"] < 1 else f"{node['heard_seconds_ago']:.0f} s ago",
        "restarts": node["starts"] - 1,
    }
