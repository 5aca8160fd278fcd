"""Write the files of test vectors: `python -m tests.vectors.make`. A change of one of them is a change of the protocol."""

from __future__ import annotations

import json
from itertools import starmap
from typing import Any

import msgpack
import numpy as np

from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, group_address, node_address, stage_address
from neuron_node.codec import decode, encode
from neuron_node.errors import PeerError
from neuron_node.frames import (
    HEAD,
    LENGTH_BYTES,
    MARK,
    NUMBERS_BEGIN,
    PROTOCOL_VERSION,
    TAIL,
    WINDOW,
    WINDOW_PASSES,
    DataFrame,
    DataKind,
    Mode,
    framed,
    parse,
    window_of,
)
from neuron_node.protocol import NamedArray, NodeStatus, NodeStatusRequest, Placement, TraceReport, Waits
from tests.every_kind import control_of_every_kind, data_of_every_kind
from tests.made_messages import rechecked
from tests.roles import NODE_LIFE, data, header, matrix, role_of
from tests.vectors import FOLDER, fields_of_control, fields_of_data

EDGES = matrix((0.0, -0.0, 5e-324), (1.7976931348623157e308, -1.0, 0.1))


def all_data() -> list[DataFrame]:
    """One of every kind, and the bounds."""
    large = 2**63 - 1
    return [
        *data_of_every_kind(),
        data(DataKind.SIGNAL, 2, 1, EDGES, 7, attempt=3, low=5, high=9, mode=Mode.TRAIN_AND_COPY, part=1, parts=4),
        data(DataKind.AXON, 2**32 - 1, 2**32 - 1, EDGES, large, low=large, high=large, generation=large),
        data(DataKind.ERROR, 2, 1, matrix((0.5,)), WINDOW_PASSES, low=0, high=WINDOW_PASSES, attempt=2**32 - 1),
        data(DataKind.INPUT_ERROR, 0, 1, np.empty((3, 0)), 1),
        data(DataKind.OUTPUT, 0, 1, np.ones((5, 1)), 1, mode=Mode.FORWARD),
        data(DataKind.SIGNAL, 2, 1, matrix((0.5,)), 7, mode=Mode.TRACE),
    ]


def malformed() -> dict[str, bytes]:
    """Frames that must be dropped, by what is wrong with them."""
    frame = data(DataKind.SIGNAL, 2, 1, matrix((0.5, -1.0)), 7, low=5, high=9).encode()

    def with_bytes(place: int, *values: int, check: bool = True) -> bytes:
        made = frame[:place] + bytes(values) + frame[place + len(values) :]
        return rechecked(made) if check else made

    def with_window(*window: int) -> bytes:
        return with_bytes(WINDOW.start, *window_of(*window))

    shortest = framed(msgpack.packb(msgpack.unpackb(frame[LENGTH_BYTES:])))
    nan, infinite = matrix((0.5, float("nan"))), matrix((float("inf"), 0.5))
    return {
        "nothing": b"",
        "a byte too few": frame[:-1],
        "a byte too many": frame + b"\x00",
        "a length that is one too small": with_bytes(3, frame[3] - 1),
        "the version before": with_bytes(HEAD.start + 3, PROTOCOL_VERSION - 1),
        "a kind that was given up": with_bytes(HEAD.start + 4, 20),
        "a check of the head that does not fit": with_bytes(HEAD.stop - 1, frame[HEAD.stop - 1] ^ 1, check=False),
        "a check of the window that does not fit": with_bytes(WINDOW.stop - 1, frame[WINDOW.stop - 1] ^ 1, check=False),
        "a check of the tail that does not fit": with_bytes(TAIL.stop - 6, frame[TAIL.stop - 6] ^ 1, check=False),
        "another receiver with the check of this one": with_bytes(HEAD.start + 27, 3, check=False),
        "another attempt with the check of this one": with_bytes(WINDOW.start + 4, 1, check=False),
        "another pass with the check of this one": with_bytes(MARK.start + 8, 8, check=False),
        "low beyond the pass": with_window(0, 8, 9),
        "high before the pass": with_window(0, 5, 6),
        "a window that is too wide": with_window(0, 5, 5 + WINDOW_PASSES + 1),
        "a mode that is unknown": with_bytes(MARK.start + 9, max(Mode) + 1),
        "part 1 of 1": with_bytes(MARK.start + 10, 1),
        "no parts": with_bytes(MARK.start + 11, 0),
        "rows that the numbers do not fill": with_bytes(MARK.stop + 4, 2),
        "a count of bytes that does not fit the shape": with_bytes(TAIL.stop - 1, 8),
        "the shortest encoding of the same fields": shortest,
        "a NaN": data(DataKind.SIGNAL, 2, 1, nan, 7).encode(),
        "an infinity": data(DataKind.SIGNAL, 2, 1, infinite, 7).encode(),
        "numbers alone": frame[NUMBERS_BEGIN:],
    }


def malformed_control() -> dict[str, bytes]:
    """The same for control."""
    frame = encode(NodeStatusRequest(header(1)))
    body = msgpack.unpackb(frame[LENGTH_BYTES:])

    def packed(*fields: Any) -> bytes:
        return framed(msgpack.packb(fields))

    return {
        "no msgpack": framed(b"\xc1"),
        "a map": framed(msgpack.packb({})),
        "a length that is one too large": (len(frame) - 3).to_bytes(LENGTH_BYTES, "big") + frame[LENGTH_BYTES:],
        "the version before": packed(PROTOCOL_VERSION - 1, *body[1:]),
        "an unknown kind": packed(PROTOCOL_VERSION, 19, *body[2:]),
        "a kind of data": packed(PROTOCOL_VERSION, DataKind.SIGNAL, *body[2:]),
        "a field too many": packed(*body, 0),
        "a negative generation": packed(*body[:3], -1, *body[4:]),
        "a bool for a number": packed(*body[:3], True, *body[4:]),
        "a run of seven bytes": packed(*body[:2], body[2][:7], *body[3:]),
    }


def reason(frame: bytes, *, is_control: bool) -> str:
    """Why a receiver drops it."""
    try:
        decode(frame) if is_control else parse(frame)
    except PeerError as fault:
        return fault.reason
    raise AssertionError("this frame is right")


def joined() -> list[tuple[bytes, list[bytes]]]:
    """Messages of several frames."""
    first, second = data(DataKind.ERROR, 2, 5, matrix((0.5,)), 7), data(DataKind.ERROR, 2, 6, matrix((0.25, 1.0)), 7)
    later = data(DataKind.AXON, 2, 1, matrix((1.0, 2.0), (3.0, 4.0)), 8, low=7, high=8)
    waiting = NodeStatus(header(7, incarnation=NODE_LIFE), "working", (Waits(2, 1, (1,)),))
    return [
        (group_address(2), [data(DataKind.SIGNAL, 2, 1, matrix((0.5,)), 7).encode()]),
        (stage_address(2), [frame.encode() for frame in (first, second, later)]),
        (COORDINATOR, [encode(waiting)] * 2),
        (node_address(NODE_LIFE), [encode(NodeStatusRequest(header(7)))]),
    ]


def made() -> dict[str, list[dict[str, Any]]]:
    """What belongs into each file."""
    control = [*control_of_every_kind(), *grants(), *reports()]
    return {
        "data": [{**fields_of_data(frame), "frame": frame.encode().hex()} for frame in all_data()],
        "control": [{**fields_of_control(message), "frame": encode(message).hex()} for message in control],
        "messages": [
            {"address": at.hex(), "frames": [one.hex() for one in frames], "message": (at + b"".join(frames)).hex()}
            for at, frames in joined()
        ],
        "malformed": [
            {"what": what, "is": is_, "reason": reason(frame, is_control=is_ == "control"), "frame": frame.hex()}
            for is_, frames in (("data", malformed()), ("control", malformed_control()))
            for what, frame in frames.items()
        ],
    }


def grants() -> list[Any]:
    """Grants with a digest and with a peer."""
    from neuron_node.peer import Peer
    from neuron_node.protocol import Grant

    place = Placement(role_of(), 4, None, bytes(range(32)))
    return [Grant(header(9, generation=2), (place,), (Peer(NODE_LIFE, "tcp://host:5573"),))]


def reports() -> list[TraceReport]:
    """Return the reports of a traced pass, of a training step of two rows, and of a group that keeps only its state."""
    node, row = header(7, incarnation=NODE_LIFE), matrix((0.5,))
    rows = matrix((0.5,), (-0.25,))
    step = {
        "signals": matrix((1.0, -0.5), (0.25, 0.0)),
        **dict.fromkeys(("activity", "own_error", "sum", "slope"), rows),
        "errors": rows,
        **dict.fromkeys(("bias", "bias_gradient", "bias_after", "weights", "gradients", "weights_after"), row),
        **dict.fromkeys(("fired", "error_sum"), rows),
    }
    traced = {name: values[:1] for name, values in step.items()}
    return [
        TraceReport(node, 2, 4, Mode.TRACE, tuple(starmap(NamedArray, traced.items())), 1_000_001, 1_000_250),
        TraceReport(node, 2, 5, Mode.TRAIN, tuple(starmap(NamedArray, step.items())), 0, 0),
        TraceReport(
            header(0, incarnation=NODE_LIFE), 2, 0, Mode.FORWARD,
            (NamedArray("bias_after", row), NamedArray("weights_after", np.empty((1, 0)))), 0, 0,
        ),
    ]  # fmt: skip


def main() -> None:
    """Write all files."""
    assert len(COORDINATOR) == ADDRESS_LENGTH
    for name, entries in made().items():
        text = "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries) + "\n]\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
