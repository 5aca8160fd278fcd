"""A node has a short way for data like what it has accepted before. It must accept and do exactly what the long way does."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuron_node.activations import quiet
from neuron_node.addresses import axon_address, error_address, group_address
from neuron_node.chain import FOLLOWED, FOLLOWS
from neuron_node.codec import encode
from neuron_node.events import Action, Log, Received, Tick
from neuron_node.machine import NodeMachine
from neuron_node.messages import Axon, Error, Header, Heartbeat, Input, Mode, Signal, State, Target
from neuron_node.role import OUTSIDE, Block, Role, Sender
from neuron_node.worker import Worker
from tests.roles import OTHER_LIFE, RUN, input_role, matrix, messages, output_role, role_of, working

HIDDEN = role_of(
    ("a", "b"),
    senders=(Sender(1, 1), Sender(2, 3)),
    blocks=(Block(4, 1, -1.0, 1.0), Block(5, 2, -1.0, 1.0)),
    group=3,
    bias_high=1.0,
)
ROLES: dict[str, Role] = {
    "hidden": HIDDEN,
    "axons": HIDDEN._replace(senders=(Sender(1, 1, 1, 4), Sender(2, 3, 1, 4))),
    "axons of two widths": HIDDEN._replace(senders=(Sender(1, 1, 1, 4), Sender(2, 3, 2, 6))),
    "input": input_role(),
    "output": output_role(),
}
RIGHT: dict[str, list[tuple[type[Any], int, int]]] = {
    "hidden": [(Signal, 1, 2), (Signal, 2, 2), (Error, 4, 1), (Error, 5, 2)],
    "axons": [(Axon, 1, 4), (Axon, 2, 4), (Error, 4, 1), (Error, 5, 2)],
    "axons of two widths": [(Axon, 1, 4), (Axon, 2, 6), (Error, 4, 1), (Error, 5, 2)],
    "input": [(Input, OUTSIDE, 1), (Error, 2, 1)],
    "output": [(Signal, 2, 1), (Target, OUTSIDE, 1)],
}
"""What each group waits for: (kind, sender, columns)."""


@st.composite
def frames(draw: st.DrawFn, name: str, mode: Mode, chained: bool = False) -> bytes:
    """Data for a group: what it waits for, or that with one thing about it wrong."""
    kind, sender, columns = draw(st.sampled_from(RIGHT[name]))
    addresses = {Error: error_address(sender), Axon: axon_address(sender)}
    address = addresses.get(kind, group_address(ROLES[name].group))
    said: dict[str, Any] = {
        "run": RUN,
        "generation": 1,
        "number": draw(st.sampled_from([1, 1, 2, 3])),
        "life": OTHER_LIFE,
        "attempt": 0,
    }
    said |= {
        "mode": mode,
        "sender": sender,
        "rows": 1,
        "columns": columns,
        "kind": kind,
        "value": 0.5,
        "last": None,
    }
    said["chain"] = 0 if not chained else FOLLOWED if said["number"] == 1 else FOLLOWS | FOLLOWED
    wrong = draw(st.one_of(st.none(), st.sampled_from(sorted(WRONG))))
    if wrong:
        said[wrong] = draw(st.sampled_from(WRONG[wrong]))
    header = Header(said["run"], said["generation"], said["number"], said["life"])
    values = np.full((said["rows"], said["columns"]), said["value"])
    message = said["kind"](header, said["attempt"], said["mode"], said["sender"], values, chain=said["chain"])
    frame = address + encode(message)
    return frame if said["last"] is None else frame[:-1] + said["last"]


def sequences(name: str) -> st.SearchStrategy[list[bytes]]:
    """Of forward passes, which may overlap, or of training steps, which may not, or whose inputs are sent ahead."""
    kinds = st.sampled_from([(Mode.FORWARD, False), (Mode.TRAIN, False), (Mode.TRAIN, True)])
    return kinds.flatmap(lambda kind: st.lists(frames(name, *kind), max_size=25))


WRONG: dict[str, list[Any]] = {
    "run": [b"another."],
    "generation": [0, 2],
    "life": [b"node-six"],
    "attempt": [1, 2],
    "mode": [Mode.FORWARD, Mode.TRAIN_AND_COPY],
    "sender": [OUTSIDE, 1, 2, 4, 5, 9],
    "rows": [0, 2],
    "columns": [0, 1, 2, 3, 4, 6],
    "kind": [Signal, Axon, Error, Input, Target],
    "value": [float("nan"), float("inf"), 1e308, -2.0],
    "chain": [0, FOLLOWS, FOLLOWED, FOLLOWS | FOLLOWED],
    "last": [b"", b"\x7f", b"12"],
}


def waiting(worker: Worker) -> int:
    """Frames that have come and not been looked at."""
    records = [*worker.passes.values(), *([worker.ahead] if worker.ahead else [])]
    return sum(len(way.frames) for record in records for way in (record.down, record.up))


def acted_in_chunks(machine: NodeMachine, chunks: list[list[bytes]]) -> list[Action]:
    """The same when the shell has waited for several frames at a time, as `Shell` does it."""
    with quiet():
        actions = [action for chunk in chunks for action in machine.take(chunk, 0.0)]
    return [action for action in actions if not isinstance(action, Log)]


def acted(machine: NodeMachine, frame: bytes) -> list[Action]:
    """All that a node does, but for its log."""
    with quiet():
        return [action for action in machine.handle(Received(frame), 0.0) if not isinstance(action, Log)]


def counted(machine: NodeMachine) -> tuple[int, int]:
    """Messages sent and received, as the node tells them."""
    [beat] = messages(machine.handle(Tick(), 1e6))
    assert isinstance(beat, Heartbeat)
    return beat.traffic.sent, beat.traffic.received


@pytest.mark.parametrize("name", sorted(ROLES))
@settings(max_examples=150)
@given(data=st.data())
def test_both_ways_do_the_same(name: str, data: st.DataObject) -> None:
    """Any sequence of frames: the same messages to the bit, the same counts, the same weights."""
    role, sequence = ROLES[name], data.draw(sequences(name))
    with pytest.MonkeyPatch.context() as patch:
        short = working(role)
        does = [acted(short, frame) for frame in sequence]
        patch.setattr(Worker, "sort", lambda _self, _frame: False)
        long = working(role)
        should = [acted(long, frame) for frame in sequence]
    assert does == should
    assert counted(short) == counted(long)
    # The short way looks at frames once all have come, so it may not have counted yet what the long way has.
    assert short.dropped - long.dropped == Counter()
    assert (long.dropped - short.dropped).total() <= waiting(short.workers[role.group])
    ours, theirs = short.workers[role.group], long.workers[role.group]
    assert ours.step == theirs.step
    assert ours.neurons.weights.tobytes() == theirs.neurons.weights.tobytes()


@pytest.mark.parametrize("name", sorted(ROLES))
@settings(max_examples=150)
@given(data=st.data())
def test_frames_may_be_taken_several_at_a_time(name: str, data: st.DataObject) -> None:
    """However they are cut into chunks, the same messages are sent in the same order."""
    sequence = data.draw(sequences(name))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(sequence) - 1)))))
    chunks = [sequence[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(sequence)])]
    one_by_one, at_once = working(ROLES[name]), working(ROLES[name])
    should = [action for frame in sequence for action in acted(one_by_one, frame)]
    assert acted_in_chunks(at_once, [chunk for chunk in chunks if chunk]) == should
    assert at_once.received == one_by_one.received


def test_the_short_way_knows_a_signal_from_an_error() -> None:
    """An error that claims to come from a group above, which the node has had signals from: refused, as the long way does."""
    node = working(
        role_of(senders=(Sender(1, 1),), blocks=(Block(3, 1, -1.0, 1.0), Block(4, 1, -1.0, 1.0))),
        state=State(matrix((0.0,)), matrix((1.0, 1.0))),
    )
    header = Header(RUN, 1, 1, OTHER_LIFE)
    acted(node, group_address(2) + encode(Signal(header, 0, Mode.TRAIN, 1, matrix((0.5,)))))
    acted(node, error_address(3) + encode(Error(header, 0, Mode.TRAIN, 3, matrix((0.5,)))))
    assert acted(node, error_address(3) + encode(Error(header, 0, Mode.TRAIN, 1, matrix((0.5,))))) == []
    assert node.dropped.total() == 1
    assert len(acted(node, error_address(4) + encode(Error(header, 0, Mode.TRAIN, 4, matrix((0.5,)))))) == 1


def test_a_pass_that_was_opened_before_an_earlier_one_is_not_opened_again() -> None:
    """A frame of forward pass 6 was lost, so that 7 was opened before it: what has come of 7 is not forgotten."""
    node = working(role_of(senders=(Sender(1, 1), Sender(4, 1))))
    sends = []
    for sender, number in ((1, 5), (4, 5), (1, 7), (4, 6), (4, 7)):
        header = Header(RUN, 1, number, OTHER_LIFE)
        sends.append(acted(node, group_address(2) + encode(Signal(header, 0, Mode.FORWARD, sender, matrix((0.5,))))))
    assert [len(each) for each in sends] == [0, 1, 0, 0, 1]
