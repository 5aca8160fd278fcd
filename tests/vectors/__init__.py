"""Test vectors of the protocol, as files: what an encoder in any language must produce, and what a receiver must refuse.

`data.json` and `control.json` hold the fields of frames and their bytes, `messages.json` messages of several frames,
`malformed.json` bytes with the reason for which they are dropped. All bytes are hexadecimal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from neuron_node.frames import DataFrame, DataKind, Mode
from neuron_node.protocol import KINDS, RECORDS, Message
from neuron_node.schema import Many, Matrix, Maybe, Record

FOLDER = Path(__file__).parent
FILES = ("data", "control", "messages", "malformed")


def vectors(name: str) -> list[dict[str, Any]]:
    """What stands in a file."""
    loaded: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def fields_of_data(frame: DataFrame) -> dict[str, Any]:
    """The fields of a data frame, in JSON's types: identities as hexadecimal, the rows of the numbers as lists."""
    fields = frame._asdict()
    fields |= {"kind": DataKind(frame.kind).name, "mode": int(frame.mode), "run": frame.run.hex()}
    return {**fields, "values": frame.values.tolist(), "columns": frame.values.shape[1]}


def data_of(fields: dict[str, Any]) -> DataFrame:
    """The frame with these fields."""
    known = dict(fields)
    rows, columns = known.pop("values"), known.pop("columns")
    values = np.array(rows, dtype=np.float64).reshape(len(rows), columns)
    kind, run, mode = DataKind[known.pop("kind")], bytes.fromhex(known.pop("run")), Mode(known.pop("mode"))
    return DataFrame(kind=kind, run=run, mode=mode, values=values, **known)


def fields_of_control(message: Message) -> dict[str, Any]:
    """The kind of a control message, and its fields by name."""
    [number] = [number for number, kind in KINDS.items() if kind is type(message)]
    return {"kind": type(message).__name__, "fields": _plain(RECORDS[number], message)}


def control_of(fields: dict[str, Any]) -> Message:
    """The message with these fields."""
    [number] = [number for number, kind in KINDS.items() if kind.__name__ == fields["kind"]]
    made: Message = _made(RECORDS[number], fields["fields"])
    return made


def _plain(field: Any, value: Any) -> Any:
    match field:
        case Record(build, fields):
            return {name: _plain(one, item) for name, one, item in zip(build._fields, fields, value, strict=True)}
        case Many(item, _):
            return [_plain(item, one) for one in value]
        case Maybe(item):
            return None if value is None else _plain(item, value)
        case Matrix():
            return {"rows": value.shape[0], "columns": value.shape[1], "numbers": value.ravel().tolist()}
    return value.hex() if isinstance(value, bytes) else value


def _made(field: Any, value: Any) -> Any:
    match field:
        case Record(build, fields):
            return build(*[_made(one, value[name]) for name, one in zip(build._fields, fields, strict=True)])
        case Many(item, _):
            return tuple(_made(item, one) for one in value)
        case Maybe(item):
            return None if value is None else _made(item, value)
        case Matrix():
            return np.array(value["numbers"], dtype=np.float64).reshape(value["rows"], value["columns"])
    return bytes.fromhex(value) if type(field).__name__ == "Blob" else value
