"""What a node drops: it is counted, logged once per sender, and never ends it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from neuron_node.activations import quiet
from neuron_node.addresses import group_address, node_address
from neuron_node.codec import encode
from neuron_node.events import Log, Received, Tick
from neuron_node.frames import LENGTH_BYTES, PROTOCOL_VERSION, DataKind, framed
from neuron_node.protocol import LATEST_STEP, NOBODY, Fetch, Heartbeat, Probe
from neuron_node.role import Sender
from tests.every_kind import NUMBERS
from tests.roles import (
    NODE_LIFE,
    data,
    error_from,
    header,
    heard,
    kinds,
    matrix,
    messages,
    role_of,
    signal_to,
    target_to,
    working,
)

HOME = node_address(NODE_LIFE)


@pytest.mark.parametrize(
    "stale",
    [header(1, generation=0), header(1, generation=2), header(1, run=b"another."), header(1, run=NOBODY)],
    ids=["older", "newer", "another run", "no run"],
)
def test_data_of_another_run_or_generation_count_for_nothing(stale: Any) -> None:
    """Older or newer: counted as stale, not logged, and no number of it is used."""
    machine = working(role_of())
    signal = data(DataKind.SIGNAL, 2, 1, matrix((1.0,)), generation=stale.generation, run=stale.run)
    assert heard(machine, group_address(2), signal) == []
    for message in (Fetch(stale, 2, LATEST_STEP), Probe(stale)):
        assert heard(machine, HOME, message) == []
    assert machine.drops.counts == {"stale": 3} and machine.hosting.groups[2].oldest is None


def bad_frames() -> dict[str, bytes]:
    good = signal_to(2, 1, NUMBERS)
    body = msgpack.unpackb(good[9 + LENGTH_BYTES :])
    fetch = msgpack.unpackb(encode(Fetch(header(), 2, 0))[LENGTH_BYTES:])
    return {
        "garbage": group_address(2) + b"\xc1garbage",
        "control garbage": HOME + b"\xc1garbage",
        "truncated": good[:-3],
        "NaN": signal_to(2, 1, matrix((float("nan"),))),
        "shape": signal_to(2, 1, matrix((1.0, 2.0))),
        "stranger": signal_to(2, 77, NUMBERS),
        "version": good[:16] + bytes([PROTOCOL_VERSION - 1]) + good[17:],
        "another encoding": group_address(2) + framed(msgpack.packb(body)),
        "version of control": HOME + framed(msgpack.packb([PROTOCOL_VERSION + 1, *fetch[1:]])),
        "unknown kind": HOME + framed(msgpack.packb([PROTOCOL_VERSION, 99, *fetch[2:]])),
        "no synapse": error_from(7, matrix((1.0,))),
        "a target for a hidden group": target_to(2, matrix((1.0,))),
        "data where control is expected": HOME + good[9:],
        "control where data are expected": group_address(2) + encode(Fetch(header(), 2, 0)),
        "a group that lives elsewhere": HOME + encode(Fetch(header(), 9, 0)),
        "a step that was not kept": HOME + encode(Fetch(header(), 2, 5)),
    }


@pytest.mark.parametrize("frame", bad_frames().values(), ids=bad_frames().keys())
def test_a_bad_message_is_counted_logged_once_and_dropped(frame: bytes) -> None:
    """A thousand of them make one line; the node goes on working, and says how many it dropped."""
    machine = working(role_of())
    with quiet():
        logged = [action for _ in range(1_000) for action in machine.handle(Received(frame), 0.0)]
    assert [type(action) for action in logged] == [Log]
    assert machine.drops.counts.total() == 1_000
    assert kinds(machine.handle(Received(signal_to(2, 1, NUMBERS)), 0.0)) == ["SIGNAL"]
    beat = messages(machine.handle(Tick(), 1e6))[0]
    assert isinstance(beat, Heartbeat) and beat.traffic.dropped == 1_000 and beat.traffic.received >= 1_001


def test_an_empty_message_is_no_exception() -> None:
    """It has neither an address nor a frame, so nothing is dropped."""
    machine = working(role_of())
    for message in (b"", b"G", b"N", HOME, group_address(2)):
        assert machine.handle(Received(message), 0.0) == []
    assert machine.drops.counts.total() == 0


def test_each_bad_sender_is_logged_once() -> None:
    """Another sender is another line, and there is an end to it."""
    machine = working(role_of(senders=tuple(Sender(10 + number, 1, 1) for number in range(2_000))))
    lines = 0
    for sender in range(2_000):
        bad = signal_to(2, 10 + sender, matrix((1.0, 2.0)))
        for _ in range(2):
            lines += len(machine.handle(Received(bad), 0.0))
    assert 100 <= lines <= 1_000
    assert machine.drops.counts == {"shape": 4_000}


def test_a_duplicate_is_no_fault() -> None:
    """It is neither used twice nor answered, and it is counted without a line in the log."""
    machine = working(role_of())
    frame = signal_to(2, 1, NUMBERS)
    assert messages(machine.handle(Received(frame), 0.0)) != []
    assert machine.handle(Received(frame), 0.0) == []
    assert machine.drops.counts == {"duplicate": 1}
