"""The tables of docs/protocol.md and docs/architecture.md, made from the code.

A test compares them with the documents; `python -m tests.docs.tables` writes them there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from coordinator.machine.machine import TRANSITIONS as COORDINATOR_TRANSITIONS
from coordinator.machine.machine import CoordinatorState
from neuron_node import fields, messages, role
from neuron_node.machine import TRANSITIONS as NODE_TRANSITIONS
from neuron_node.machine import NodeState

DOCUMENTS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+)(?P<open> -->\n)(?P<table>.*?)(?=<!-- end -->)", re.DOTALL)
NESTED = (messages.State, messages.Placement, messages.Traffic, role.Role, role.Sender, role.Block)


def kinds() -> str:
    """Every kind of message: its number, who sends it to whom and why, and its own fields."""
    rows = []
    for number, kind in messages.KINDS.items():
        purpose = " ".join((kind.__doc__ or "").split())
        rows.append((str(number), f"`{kind.__name__}`", purpose, _fields(kind, messages.RECORDS[number]) or "–"))
    return _table(("kind", "message", "who → whom: what", "fields after the header"), rows)


def records() -> str:
    """The records that fields are made of."""
    header = ("`Header`", _fields(messages.Header, fields.record_of(messages.Header), skip=""))
    rest = [(f"`{kind.__name__}`", _fields(kind, fields.record_of(kind))) for kind in NESTED]
    return _table(("record", "fields, in order"), [header, *rest])


def node_states() -> str:
    """What each kind of message does in each state of a node."""
    return _transitions(NodeState, NODE_TRANSITIONS)


def coordinator_states() -> str:
    """What each kind of message does in each state of the coordinator."""
    return _transitions(CoordinatorState, COORDINATOR_TRANSITIONS)


TABLES: dict[str, Callable[[], str]] = {
    "kinds": kinds,
    "records": records,
    "node-states": node_states,
    "coordinator-states": coordinator_states,
}


def handlers(transitions: Mapping[Any, Callable[..., None]]) -> set[str]:
    """The names of what a machine does, as its table has them."""
    return {_handler(transition) for transition in transitions.values()}


def marked(text: str) -> dict[str, str]:
    """The generated tables of a document, by name."""
    return {match["name"]: match["table"] for match in MARKED.finditer(text)}


def _fields(kind: Any, record: fields.Record, skip: str = "header") -> str:
    pairs = zip(kind._fields, record.fields, strict=True)
    return ", ".join(f"`{name}` {_bound(bound)}" for name, bound in pairs if name != skip)


def _bound(bound: fields.Field) -> str:
    match bound:
        case fields.Whole(low, high):
            return f"whole {low}…{_power(high)}"
        case fields.Real(low, high):
            return f"real {low:,.0f}…{high:,.0f}"
        case fields.Flag():
            return "flag"
        case fields.Text(most, choices):
            return "one of " + ", ".join(choices) if choices else f"text ≤ {most:,}"
        case fields.Blob(length):
            return f"{length} bytes"
        case fields.Matrix(rows, columns):
            return f"matrix ≤ {_power(rows)} × {_power(columns)}"
        case fields.Many(item, most):
            return f"≤ {_power(most)} × {_bound(item)}"
        case fields.Maybe(item):
            return f"nothing or {_bound(item)}"
        case fields.Record(build, _):
            return f"`{build.__name__}`"
        case _:
            raise TypeError(f"no words for {bound!r}")


def _power(number: int) -> str:
    exponent = number.bit_length()
    if number > 2**20 and number in (2**exponent - 1, 2 ** (exponent - 1)):
        return f"2^{exponent} − 1" if number == 2**exponent - 1 else f"2^{exponent - 1}"
    return f"{number:,}"


def _transitions(states: type[Enum], transitions: Mapping[tuple[Any, type], Callable[..., None]]) -> str:
    in_use = [kind for kind in messages.KINDS.values() if any(known is kind for _, known in transitions)]
    rows = []
    for kind in in_use:
        cells = [transitions.get((state, kind)) for state in states]
        rows.append((f"`{kind.__name__}`", *(f"{_handler(cell)}" if cell else "–" for cell in cells)))
    return _table(("message", *(str(state.value) for state in states)), rows)


def _handler(transition: Callable[..., None]) -> str:
    return transition.__name__.strip("_").replace("_", " ")


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def write() -> None:
    """Put every table into its document."""
    for document in sorted(DOCUMENTS.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        document.write_text(MARKED.sub(lambda match: match["name"] + match["open"] + TABLES[match["name"]](), text), encoding="utf-8")


if __name__ == "__main__":
    write()
