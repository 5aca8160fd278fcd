"""What a node drops: it is counted, logged once a sender, and never ends it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from neuron_node.addresses import error_address, group_address
from neuron_node.codec import encode
from neuron_node.events import Log, Received, Tick
from neuron_node.messages import (
    LATEST_STEP,
    NOBODY,
    PROTOCOL_VERSION,
    Fetch,
    Heartbeat,
    Mode,
    Probe,
    Signal,
)
from neuron_node.role import OUTSIDE, Sender
from tests.every_kind import NUMBERS
from tests.roles import (
    error_from,
    header,
    heard,
    matrix,
    messages,
    role_of,
    signal_to,
    target_to,
    working,
)


@pytest.mark.parametrize(
    "stale",
    [header(1, generation=0), header(1, generation=2), header(1, run=b"another."), header(1, run=NOBODY)],
    ids=["older", "newer", "another run", "no run"],
)
def test_data_of_another_run_or_generation_count_for_nothing(stale: Any) -> None:
    """Older or newer: counted as stale, not logged, and no number of it is used."""
    machine = working(role_of(senders=(Sender(1, 1),)))
    for message in (Signal(stale, 0, Mode.TRAIN, 1, matrix((1.0,))), Fetch(stale, 2, LATEST_STEP), Probe(stale)):
        assert heard(machine, group_address(2), message) == []
    assert machine.dropped == {"stale": 3} and machine.workers[2].passes == {}


def bad_frames() -> dict[str, bytes]:
    good = signal_to(2, 1, NUMBERS)
    body = msgpack.unpackb(good[9:])
    return {
        "garbage": group_address(2) + b"\xc1garbage",
        "nothing": b"",
        "truncated": good[:-3],
        "NaN": signal_to(2, 1, matrix((float("nan"),))),
        "shape": signal_to(2, 1, matrix((1.0, 2.0))),
        "stranger": signal_to(2, 77, NUMBERS),
        "version": group_address(2) + msgpack.packb([PROTOCOL_VERSION + 1, *body[1:]]),
        "unknown kind": group_address(2) + msgpack.packb([PROTOCOL_VERSION, 99, *body[2:]]),
        "no synapse": error_address(3) + error_from(7, matrix((1.0,)))[9:],
        "a target for a hidden group": target_to(2, matrix((1.0,))),
        "a group that lives elsewhere": group_address(2) + encode(Fetch(header(), 9, 0)),
        "a step that was not kept": group_address(2) + encode(Fetch(header(), 2, 5)),
    }


@pytest.mark.parametrize("frame", bad_frames().values(), ids=bad_frames().keys())
def test_a_bad_message_is_counted_logged_once_and_dropped(frame: bytes) -> None:
    """A thousand of them make one line; the node goes on working, and says how many it dropped."""
    machine = working(role_of())
    logged = [action for _ in range(1_000) for action in machine.handle(Received(frame), 0.0)]
    assert [type(action) for action in logged] == [Log]
    assert machine.dropped.total() == 1_000
    assert [type(message) for message in messages(machine.handle(Received(signal_to(2, 1, NUMBERS)), 0.0))] == [Signal]
    beat = messages(machine.handle(Tick(), 1e6))[0]
    assert isinstance(beat, Heartbeat) and beat.traffic.dropped == 1_000 and beat.traffic.received >= 1_001


def test_each_bad_sender_is_logged_once() -> None:
    """Another sender is another line, and there is an end to it."""
    machine = working(role_of())
    lines = 0
    for sender in range(2_000):
        life = sender.to_bytes(8, "big")
        bad = group_address(2) + encode(Signal(header(1, incarnation=life), 0, Mode.TRAIN, 1, matrix((1.0, 2.0))))
        for _ in range(2):
            lines += len(machine.handle(Received(bad), 0.0))
    assert 100 <= lines <= 1_000
    assert machine.dropped.total() == 4_000


def test_a_duplicate_is_no_fault() -> None:
    """It is neither used twice nor answered."""
    machine = working(role_of())
    frame = signal_to(2, 1, NUMBERS)
    assert messages(machine.handle(Received(frame), 0.0)) != []
    assert machine.handle(Received(frame), 0.0) == []
    assert OUTSIDE not in machine.workers
