"""The tables of docs/protocol.md and docs/architecture.md, made from the code.

A test compares them with the documents; `python -m tests.docs.tables` writes them there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.machine.machine import TRANSITIONS as COORDINATOR_TRANSITIONS
from coordinator.machine.state import CoordinatorState
from neuron_node import addresses as addresses_module
from neuron_node import fields, messages, peer, role
from neuron_node.addresses import group_address
from neuron_node.codec import data_head, data_mark, data_shape, encode
from neuron_node.life import NodeState
from neuron_node.machine import TRANSITIONS as NODE_TRANSITIONS

DOCUMENTS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+)(?P<open> -->\n)(?P<table>.*?)(?=<!-- end -->)", re.DOTALL)
NESTED = (
    messages.State,
    messages.Placement,
    messages.Waits,
    messages.Traffic,
    peer.Peer,
    role.Role,
    role.Sender,
    role.Block,
)


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


def addresses() -> str:
    """Every kind of address, as the module that makes them tells."""
    rows = [line.strip("| \n").split(" | ") for line in (addresses_module.__doc__ or "").splitlines() if "|" in line]
    return _table(rows[0], ((f"`{letter}`", *rest) for letter, *rest in rows[2:]))


def example() -> str:
    """One signal, byte by byte: of group 3 for group 7, in pass 5 of generation 1, two samples of one neuron."""
    run, incarnation = bytes(range(1, 9)), bytes(range(0x11, 0x19))
    values = np.array([[0.5], [-1.0]])
    signal = messages.Signal(messages.Header(run, 1, 5, incarnation), 0, messages.Mode.TRAIN, 3, values)
    address = group_address(7)
    head = data_head(b"", messages.Signal, run, 1, incarnation, 3)
    mark, shape = data_mark(5, 0, messages.Mode.TRAIN), data_shape(2, 1)
    numbers = values.astype("<f8").tobytes()
    assert encode(signal) == head + mark + shape + numbers
    parts = (
        (address, "address: `G`, group 7"),
        (head, "array of 13: version 4, kind 22, run, generation 1, incarnation, sender 3"),
        (mark, "pass 5, attempt 0, mode 1, part 0 of 1, chain 0"),
        (shape, "array of 3: 2 rows, 1 column, 16 bytes"),
        (numbers, "0.5 and -1, little-endian float64"),
    )
    return _table(("bytes", "what they say"), ((f"`{part.hex(' ')}`", meaning) for part, meaning in parts))


TABLES: dict[str, Callable[[], str]] = {
    "addresses": addresses,
    "kinds": kinds,
    "records": records,
    "example": example,
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


def _bound(bound: Any) -> str:
    return WORDS[type(bound)](bound)


def _text(bound: fields.Text) -> str:
    return "one of " + ", ".join(bound.choices) if bound.choices else f"text ≤ {bound.max_length:,}"


WORDS: dict[type, Callable[[Any], str]] = {
    fields.Whole: lambda bound: f"whole {bound.low}…{_power(bound.high)}",
    fields.Real: lambda bound: f"real {bound.low:,.0f}…{bound.high:,.0f}",
    fields.Flag: lambda bound: "flag",
    fields.Text: _text,
    fields.Blob: lambda bound: f"{bound.length} bytes",
    fields.Matrix: lambda bound: f"matrix ≤ {_power(bound.max_rows)} × {_power(bound.max_columns)}",
    fields.Many: lambda bound: f"≤ {_power(bound.max_count)} × {_bound(bound.item)}",
    fields.Maybe: lambda bound: f"nothing or {_bound(bound.item)}",
    fields.Record: lambda bound: f"`{bound.build.__name__}`",
}
"""How the documents put each kind of bound."""


def _power(number: int) -> str:
    exponent = number.bit_length()
    if number > 2**20 and number in (2**exponent - 1, 2 ** (exponent - 1)):
        return f"2^{exponent} - 1" if number == 2**exponent - 1 else f"2^{exponent - 1}"
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
        document.write_text(MARKED.sub(_anew, text), encoding="utf-8")


def _anew(match: re.Match[str]) -> str:
    # Other modules have tables of their own in the same documents.
    table = TABLES.get(match["name"])
    return match["name"] + match["open"] + table() if table else match[0]


if __name__ == "__main__":
    write()
