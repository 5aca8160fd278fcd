"""Makes the tables of docs/protocol.md and docs/architecture.md from the code.

A test compares them with the documents; `python -m tests.docs` writes them into the documents.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.core.machine import TRANSITIONS as COORDINATOR_TRANSITIONS
from coordinator.core.state import CoordinatorState
from neuron_node import addresses as addresses_module
from neuron_node import errors, frames, peer, protocol, role, schema
from neuron_node.addresses import ADDRESS_LENGTH, group_address
from neuron_node.frames import (
    HEAD,
    LENGTH_BYTES,
    MARK,
    NUMBERS_BEGIN,
    PROTOCOL_VERSION,
    TAIL,
    WINDOW,
    DataFrame,
    DataKind,
    Mode,
)
from neuron_node.identity import NodeState
from neuron_node.node import TRANSITIONS as NODE_TRANSITIONS

DOCUMENTS = Path(__file__).parents[2] / "docs"
MARKED = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+)(?P<open> -->\n)(?P<table>.*?)(?=<!-- end -->)", re.DOTALL)
NESTED = (
    protocol.State,
    protocol.NamedArray,
    protocol.Placement,
    protocol.Waits,
    protocol.Traffic,
    peer.Peer,
    role.Role,
    role.Sender,
    role.Block,
)


def kinds() -> str:
    """Return the table of all kinds of messages: number, sender, receiver, purpose, and own fields."""
    rows = []
    for number, kind in protocol.KINDS.items():
        purpose = " ".join((kind.__doc__ or "").split())
        rows.append((str(number), f"`{kind.__name__}`", purpose, _fields(kind, protocol.RECORDS[number]) or "–"))
    return _table(("kind", "message", "sender → receiver: purpose", "fields after the header"), rows)


def records() -> str:
    """Return the table of the records in fields."""
    header = ("`Header`", _fields(protocol.Header, schema.record_of(protocol.Header), skip=""))
    rest = [(f"`{kind.__name__}`", _fields(kind, schema.record_of(kind))) for kind in NESTED]
    return _table(("record", "fields, in order"), [header, *rest])


def node_states() -> str:
    """Return the table of the transitions of a node."""
    return _transitions(NodeState, NODE_TRANSITIONS)


def coordinator_states() -> str:
    """Return the table of the transitions of the coordinator."""
    return _transitions(CoordinatorState, COORDINATOR_TRANSITIONS)


def addresses() -> str:
    """Return the table of addresses, from the docstring of `addresses.py`."""
    rows = [line.strip("| \n").split(" | ") for line in (addresses_module.__doc__ or "").splitlines() if "|" in line]
    return _table(rows[0], ((f"`{letter}`", *rest) for letter, *rest in rows[2:]))


LAYOUT: dict[str, list[tuple[str, int, str]]] = {
    "length": [("bytes that follow, big-endian", LENGTH_BYTES, "no msgpack")],
    "head": [
        ("array of 19", 3, "array 16"),
        (f"version, {PROTOCOL_VERSION}", 1, "positive fixint"),
        ("kind", 1, "positive fixint"),
        ("run", 10, "bin 8"),
        ("generation", 9, "uint 64"),
        ("receiver", 5, "uint 32"),
        ("sender", 5, "uint 32"),
        ("checksum of the head", 5, "uint 32"),
    ],
    "window": [
        ("attempt", 5, "uint 32"),
        ("low", 9, "uint 64"),
        ("high", 9, "uint 64"),
        ("checksum of the window", 5, "uint 32"),
    ],
    "tail": [
        ("pass", 9, "uint 64"),
        ("mode", 1, "positive fixint"),
        ("part", 1, "positive fixint"),
        ("parts", 1, "positive fixint"),
        ("rows", 5, "uint 32"),
        ("columns", 5, "uint 32"),
        ("checksum of the tail", 5, "uint 32"),
        ("bytes of numbers", 5, "bin 32"),
    ],
}
"""The fields of a data frame, each with its number of bytes (with msgpack's type byte) and msgpack's name of its format."""


def layout() -> str:
    """Return the table of the positions of the fields in a data frame."""
    begins = dict(zip(LAYOUT, (slice(0, LENGTH_BYTES), HEAD, WINDOW, TAIL), strict=True))
    rows, at = [], 0
    for part, entries in LAYOUT.items():
        assert begins[part].start == at
        for name, size, form in entries:
            rows.append((str(at), str(size), form, name, part))
            at += size
        assert begins[part].stop == at
    assert at == NUMBERS_BEGIN
    rows.append((str(at), "8 × rows × columns", "bytes of the bin 32", "numbers, little-endian float64", "numbers"))
    return _table(("offset", "bytes", "format", "field", "part"), rows)


def data_kinds() -> str:
    """Return the table of the kinds of data frames."""
    told = _told_of(DataKind)
    return _table(
        ("kind", "frame", "sender → receiver: content"), ((str(int(k)), f"`{k.name}`", told[k.name]) for k in DataKind)
    )


def modes() -> str:
    """Return the table of the modes of a pass."""
    told = _told_of(Mode)
    rows = [(str(int(mode)), mode.name.lower().replace("_", " "), told.get(mode.name, "–")) for mode in Mode]
    return _table(("mode", "name", "meaning"), rows)


def numbers() -> str:
    """Return the table of the numbers of control kinds and data kinds."""
    return _table(("kinds", "are"), [(_ranges(protocol.KINDS), "control"), (_ranges(map(int, DataKind)), "data")])


def reasons() -> str:
    """Return the table of the reasons for dropping a frame."""
    kinds: list[type[errors.PeerError]]
    kinds = [errors.Malformed, errors.Oversized, errors.WrongVersion, errors.WrongShape, errors.NotFinite, errors.Duplicate,
             errors.Stale, errors.Unexpected, errors.Unsigned, errors.WrongSignature]  # fmt: skip
    assert set(kinds) == set(errors.PeerError.__subclasses__())
    return _table(("reason", "fault"), ((f"`{kind.reason}`", (kind.__doc__ or "").splitlines()[0]) for kind in kinds))


def _ranges(known: Iterable[int]) -> str:
    runs = [list(run) for _, run in itertools.groupby(enumerate(sorted(known)), lambda pair: pair[1] - pair[0])]
    texts = [
        str(run[0][1]) if len(run) == 1 else f"{run[0][1]} {'to' if len(run) > 2 else 'and'} {run[-1][1]}"
        for run in runs
    ]
    return ", ".join(texts)


def _told_of(kind: type[Enum]) -> dict[str, str]:
    """Return the text under each member of an enumeration."""
    [body] = [
        node.body
        for node in ast.walk(ast.parse(inspect.getsource(frames)))
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    told = {}
    for member, text in itertools.pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(member.targets[0], ast.Name):
            told[member.targets[0].id] = " ".join(str(ast.literal_eval(text.value)).split())
    return told


def example() -> str:
    """Return the table of the bytes of a signal, from group 3 to group 7, in pass 5 of generation 1, two samples of one neuron."""
    values = np.array([[0.5], [-1.0]])
    signal = DataFrame(DataKind.SIGNAL, bytes(range(1, 9)), 1, 7, 3, 0, 5, 6, 5, Mode.TRAIN, 0, 1, values)
    message = group_address(7) + signal.encode()
    frame = message[ADDRESS_LENGTH:]
    parts = (
        (message[:ADDRESS_LENGTH], "address: `G`, group 7"),
        (frame[:LENGTH_BYTES], f"length: {len(frame) - LENGTH_BYTES} bytes follow"),
        (
            frame[HEAD],
            f"head: array of 19, version {PROTOCOL_VERSION}, kind {DataKind.SIGNAL}, run, generation 1, receiver 7, sender 3, checksum",
        ),
        (frame[WINDOW], "window: attempt 0, low 5, high 6, checksum"),
        (frame[MARK], "tail: pass 5, mode 1, part 0 of 1 (the mark),"),
        (frame[MARK.stop : TAIL.stop], "2 rows, 1 column, checksum, 16 bytes"),
        (frame[NUMBERS_BEGIN:], "0.5 and -1, little-endian float64"),
    )
    return _table(("bytes", "meaning"), ((f"`{part.hex(' ')}`", meaning) for part, meaning in parts))


TABLES: dict[str, Callable[[], str]] = {
    "addresses": addresses,
    "numbers": numbers,
    "layout": layout,
    "data-kinds": data_kinds,
    "modes": modes,
    "reasons": reasons,
    "kinds": kinds,
    "records": records,
    "example": example,
    "node-states": node_states,
    "coordinator-states": coordinator_states,
}


def handlers(transitions: Mapping[Any, Callable[..., None]]) -> set[str]:
    """Return the names of a machine's handlers, as in the table of transitions."""
    return {_handler(transition) for transition in transitions.values()}


def marked(text: str) -> dict[str, str]:
    """Return the generated tables of a document, by name."""
    return {match["name"]: match["table"] for match in MARKED.finditer(text)}


def _fields(kind: Any, record: schema.Record, skip: str = "header") -> str:
    pairs = zip(kind._fields, record.fields, strict=True)
    return ", ".join(f"`{name}` {_bound(bound)}" for name, bound in pairs if name != skip)


def _bound(bound: Any) -> str:
    return WORDS[type(bound)](bound)


def _text(bound: schema.Text) -> str:
    return "one of " + ", ".join(bound.choices) if bound.choices else f"text ≤ {bound.max_length:,}"


WORDS: dict[type, Callable[[Any], str]] = {
    schema.Whole: lambda bound: f"whole {bound.low}…{_power(bound.high)}",
    schema.Real: lambda bound: f"real {bound.low:,.0f}…{bound.high:,.0f}",
    schema.Flag: lambda bound: "flag",
    schema.Text: _text,
    schema.Blob: lambda bound: f"{bound.length} bytes",
    schema.Matrix: lambda bound: f"matrix ≤ {_power(bound.max_rows)} × {_power(bound.max_columns)}",
    schema.Many: lambda bound: f"≤ {_power(bound.max_count)} × {_bound(bound.item)}",
    schema.Maybe: lambda bound: f"nothing or {_bound(bound.item)}",
    schema.Record: lambda bound: f"`{bound.build.__name__}`",
}
"""The text of each kind of bound in the documents."""


def _power(number: int) -> str:
    exponent = number.bit_length()
    if number > 2**20 and number in (2**exponent - 1, 2 ** (exponent - 1)):
        return f"2^{exponent} - 1" if number == 2**exponent - 1 else f"2^{exponent - 1}"
    return f"{number:,}"


def _transitions(states: type[Enum], transitions: Mapping[tuple[Any, type], Callable[..., None]]) -> str:
    in_use = [kind for kind in protocol.KINDS.values() if any(known is kind for _, known in transitions)]
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
    """Write every table into its document."""
    for document in sorted(DOCUMENTS.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        document.write_text(MARKED.sub(_anew, text), encoding="utf-8")


def _anew(match: re.Match[str]) -> str:
    # Other modules make other tables in the same documents.
    table = TABLES.get(match["name"])
    return match["name"] + match["open"] + table() if table else match[0]
