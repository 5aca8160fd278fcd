"""Whole axons, published once: every receiver finds its own signals in them."""

from __future__ import annotations

import numpy as np
import pytest

from neuron_node.activations import Array
from neuron_node.addresses import axon_address
from neuron_node.codec import decode, encode
from neuron_node.errors import PeerError
from neuron_node.messages import Axon, Message, Mode, Output, Placement, State
from neuron_node.role import OUTSIDE, Block, Role, Sender
from neuron_node.worker import Worker
from tests.networks import numbers
from tests.roles import NODE_LIFE, OTHER_LIFE, RUN, header, input_to, matrix, role_of, signals_of

SECOND_OF_THREE = role_of(
    ("a.0", "a.1"), senders=(Sender(1, 1, 1, 4), Sender(2, 3, 1, 4)), activation="identity", group=5, blocks=()
)
"""Two neurons below groups 1 and 2, each of which has axons of 1 + 2 + 1 synapses: theirs are in the middle."""


def worker_of(role: Role, weights: Array) -> Worker:
    """A group without biases."""
    return Worker(Placement(role, 0, State(np.zeros((1, role.size)), weights)), RUN, 1, NODE_LIFE)


def hear(worker: Worker, frame: bytes) -> list[tuple[bytes, Message]]:
    """What the group sends because of a frame."""
    sends = worker.hear(decode(frame))  # type: ignore[arg-type]
    return [(send.address, decode(send.frame)) for send in sends]


def axon(sender: int, values: Array) -> bytes:
    """The frame of a forward pass."""
    message = Axon(header(1, incarnation=OTHER_LIFE), 0, Mode.FORWARD, sender, values)
    return axon_address(sender) + encode(message)


def in_blocks(values: Array, *sizes: int) -> Array:
    """(batch, synapses) as an axon travels: block after block, each (batch, its synapses) in C order."""
    blocks = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return np.concatenate([block.reshape(-1) for block in blocks]).reshape(values.shape)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_group_finds_its_own_signals(batch: int) -> None:
    """Its columns, for every sample of the batch, of every sender."""
    one, two = numbers("one", batch, 4), numbers("two", batch, 4)
    worker = worker_of(SECOND_OF_THREE, np.empty((2, 0)))
    assert hear(worker, axon(2, in_blocks(two, 1, 2, 1))) == []
    [(_, output)] = hear(worker, axon(1, in_blocks(one, 1, 2, 1)))
    assert isinstance(output, Output)
    assert output.values.tolist() == (one + two)[:, 1:3].tolist()


@pytest.mark.parametrize("batch", [1, 3, 2_000])
def test_what_a_group_sends_is_what_its_receivers_find(batch: int) -> None:
    """Activities times weights, whether the batch is small enough for one message to all or each gets its own."""
    blocks = tuple(Block(4 + place, size, -1.0, 1.0) for place, size in enumerate((1, 2, 1)))
    role = role_of(("b",), senders=(), group=1, activation="identity", blocks=blocks)
    weights, rows = numbers("weights", 1, 4), numbers("rows", batch, 1)
    found = signals_of(role, hear(worker_of(role, weights), input_to(1, rows, mode=Mode.FORWARD)))
    assert np.hstack([found[4], found[5], found[6]]).tolist() == (rows @ weights).tolist()


@pytest.mark.parametrize(
    ("sender", "shape"),
    [(1, (1, 2)), (1, (1, 3)), (1, (1, 5)), (1, (0, 4)), (9, (1, 4)), (OUTSIDE, (1, 4))],
)
def test_an_axon_that_does_not_fit_is_refused(sender: int, shape: tuple[int, int]) -> None:
    """Of another width, of no sample, or from a stranger."""
    with pytest.raises(PeerError):
        hear(worker_of(SECOND_OF_THREE, np.empty((2, 0))), axon(sender, np.zeros(shape)))


@pytest.mark.parametrize("columns", [0, 1])
def test_a_group_with_one_receiver_publishes_no_axon(columns: int) -> None:
    """Nobody takes one from it; and its signals come under its receiver's address."""
    role = role_of(senders=(Sender(1, 1),), blocks=(Block(3, 1, -1.0, 1.0),))
    with pytest.raises(PeerError):
        hear(worker_of(role, matrix((1.0,))), axon(1, np.zeros((1, columns))))
