"""The nine steps, by numbers that were worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuron_node.codec import decode
from neuron_node.memory import Memory
from neuron_node.messages import Diverged, Header, Mode, Placement, Signal
from neuron_node.neuron import Neurons
from neuron_node.role import OUTSIDE, Block, Sender
from neuron_node.worker import Worker
from tests.roles import OTHER_LIFE, RUN, input_role, matrix, output_role, role_of


def logistic(total: float) -> float:
    return 1.0 / (1.0 + math.exp(-total))


def test_one_neuron_takes_the_nine_steps() -> None:
    """A hidden neuron with two senders and two receivers: every number of one sample, worked out by hand."""
    role = role_of(senders=(Sender(1, 1), Sender(2, 1)), blocks=(Block(4, 1, 0.0, 0.0), Block(5, 1, 0.0, 0.0)), group=3)
    neuron = Neurons(role, np.array([0.25]), matrix((0.5, -2.0)))
    memory = Memory(1)
    assert not neuron.receive_signal(memory, 2, matrix((-0.5,)))
    assert neuron.receive_signal(memory, 1, matrix((1.25,)))
    activity = logistic(1.25 - 0.5 + 0.25)
    assert neuron.activate(memory).tolist() == [[pytest.approx(activity, rel=1e-15)]]
    assert neuron.fire(memory).tolist() == [[pytest.approx(0.5 * activity), pytest.approx(-2.0 * activity)]]
    assert not neuron.receive_error(memory, 5, matrix((0.125,)))
    assert neuron.receive_error(memory, 4, matrix((0.75,)))
    error = (0.5 * 0.75 - 2.0 * 0.125) * activity * (1.0 - activity)
    assert neuron.reply(memory).tolist() == [[pytest.approx(error, rel=1e-15)]]
    assert neuron.update(neuron.gradient(memory))
    assert neuron.weights.tolist() == [
        [pytest.approx(0.5 - 0.5 * 0.75 * activity), pytest.approx(-2.0 - 0.5 * 0.125 * activity)]
    ]
    assert neuron.bias.tolist() == [pytest.approx(0.25 - 0.5 * error)]


def test_the_error_uses_the_weights_as_they_were_when_sent() -> None:
    """The reply of step 6 is told before step 9 changes a weight, and learning does not change it afterwards."""
    neuron = Neurons(role_of(activation="identity"), matrix((0.0,)), matrix((3.0,)))
    memory = Memory(1)
    neuron.receive_signal(memory, 1, matrix((2.0,)))
    neuron.activate(memory)
    neuron.fire(memory)
    neuron.receive_error(memory, 3, matrix((1.0,)))
    assert neuron.reply(memory).tolist() == [[3.0]]
    neuron.update(neuron.gradient(memory))
    assert neuron.weights.tolist() == [[3.0 - 0.5 * 1.0 * 2.0]]
    assert memory.own_error is not None and memory.own_error.tolist() == [[3.0]]


def test_a_group_of_n_is_n_neurons() -> None:
    """Two neurons as one group and as two groups have the same activities, errors, weights and biases, over a batch of three."""
    bias, weights = matrix((0.1, -0.2)), matrix((0.5, -1.0), (0.25, 2.0))
    signal, errors = matrix((1.0, -1.0), (0.5, 0.0), (-2.0, 3.0)), matrix((0.1, 0.2), (-0.3, 0.4), (0.0, -0.5))
    group = Neurons(role_of(("a", "b"), blocks=(Block(3, 2, 0.0, 0.0),)), bias, weights)
    memory = Memory(3)
    group.receive_signal(memory, 1, signal)
    activity = group.activate(memory)
    sums = group.fire(memory)
    group.receive_error(memory, 3, errors)
    own = group.reply(memory)
    group.update(group.gradient(memory))
    parts = []
    for row, name in enumerate(("a", "b")):
        alone = Neurons(role_of((name,), blocks=(Block(3, 2, 0.0, 0.0),)), bias[:, row], weights[[row]])
        part = Memory(3)
        alone.receive_signal(part, 1, signal[:, [row]])
        assert np.allclose(alone.activate(part), activity[:, [row]], rtol=1e-15)
        parts.append(alone.fire(part))
        alone.receive_error(part, 3, errors)
        assert np.allclose(alone.reply(part), own[:, [row]], rtol=1e-14)
        alone.update(alone.gradient(part))
        assert np.allclose(alone.weights, group.weights[[row]], rtol=1e-14)
        assert np.allclose(alone.bias, group.bias[[row]], rtol=1e-14)
    assert np.allclose(parts[0] + parts[1], sums, rtol=1e-14)


def test_gradients_are_the_mean_over_the_batch() -> None:
    """A batch of two takes the step that is the mean of the two samples' steps, for weights and bias."""
    neuron = Neurons(role_of(activation="identity"), matrix((1.0,)), matrix((2.0,)))
    memory = Memory(2)
    neuron.receive_signal(memory, 1, matrix((1.0,), (3.0,)))
    assert neuron.activate(memory).tolist() == [[2.0], [4.0]]
    assert neuron.fire(memory).tolist() == [[4.0], [8.0]]
    neuron.receive_error(memory, 3, matrix((0.5,), (-1.5,)))
    assert neuron.reply(memory).tolist() == [[1.0], [-3.0]]
    neuron.update(neuron.gradient(memory))
    assert neuron.weights.tolist() == [[2.0 - 0.5 * (0.5 * 2.0 - 1.5 * 4.0) / 2]]
    assert neuron.bias.tolist() == [1.0 - 0.5 * (1.0 - 3.0) / 2]


def test_an_output_neurons_error_comes_from_its_target() -> None:
    """(activity - target) × activation'(activity), and it has no weight to change, only a bias."""
    neuron = Neurons(output_role(), matrix((0.5,)), np.empty((1, 0)))
    memory = Memory(1)
    assert neuron.receive_signal(memory, 2, matrix((-0.25,)))
    activity = logistic(0.25)
    neuron.activate(memory)
    assert neuron.fire(memory).shape == (1, 0)
    assert neuron.receive_error(memory, OUTSIDE, matrix((1.0,)))
    error = (activity - 1.0) * activity * (1.0 - activity)
    assert neuron.reply(memory).tolist() == [[pytest.approx(error)]]
    assert neuron.update(neuron.gradient(memory))
    assert neuron.bias.tolist() == [pytest.approx(0.5 - 0.5 * error)]
    assert neuron.weights.shape == (1, 0)


def test_an_input_neuron_passes_its_input_on() -> None:
    """Identity, and a bias that is not learned stays where it is."""
    neuron = Neurons(input_role(), matrix((0.0,)), matrix((0.5,)))
    memory = Memory(1)
    assert neuron.receive_signal(memory, OUTSIDE, matrix((-7.0,)))
    assert neuron.activate(memory).tolist() == [[-7.0]]
    assert neuron.fire(memory).tolist() == [[-3.5]]
    neuron.receive_error(memory, 2, matrix((1.0,)))
    assert neuron.reply(memory).tolist() == [[0.5]]
    assert neuron.update(neuron.gradient(memory))
    assert neuron.bias.tolist() == [0.0]
    assert neuron.weights.tolist() == [[0.5 + 0.5 * 7.0]]


def test_signals_are_added_in_synapse_order() -> None:
    """Three signals whose sum depends on the order give the same bits whoever came first."""
    senders = (Sender(1, 1), Sender(2, 1), Sender(3, 1))
    values = {1: 0.1, 2: 1e16, 3: -1e16}
    right = (0.1 + 1e16) - 1e16
    assert right != 0.1
    for order in ((1, 2, 3), (3, 1, 2), (2, 3, 1)):
        neuron = Neurons(
            role_of(senders=senders, activation="identity", group=4, blocks=()), matrix((0.0,)), np.empty((1, 0))
        )
        memory = Memory(1)
        for sender in order:
            neuron.receive_signal(memory, sender, matrix((values[sender],)))
        assert neuron.activate(memory).tolist() == [[right]]


def test_numbers_that_are_no_longer_finite_are_told() -> None:
    """`update` says False when a weight or a bias overflows."""
    neuron = Neurons(role_of(activation="identity", learning_rate=1e6), matrix((0.0,)), matrix((1e200,)))
    memory = Memory(1)
    with np.errstate(over="ignore"):
        neuron.receive_signal(memory, 1, matrix((1e200,)))
        neuron.activate(memory)
        neuron.fire(memory)
        neuron.receive_error(memory, 3, matrix((1e200,)))
        neuron.reply(memory)
        assert not neuron.update(neuron.gradient(memory))


def test_a_sum_of_signals_that_overflows_is_no_warning() -> None:
    """Two finite signals whose sum is not: a node reports that it diverged, without a line of NumPy's in its log."""
    role = role_of(
        senders=(Sender(1, 1), Sender(2, 1)), group=3, activation="identity", blocks=(Block(4, 1, 0.0, 0.0),)
    )
    worker = Worker(Placement(role, 0, None), RUN, 1, OTHER_LIFE)
    header = Header(RUN, 1, 1, OTHER_LIFE)
    signals = [Signal(header, 0, Mode.TRAIN, sender, matrix((1.7e308,))) for sender in (1, 2)]
    assert worker.hear(signals[0]) == []
    [send] = worker.hear(signals[1])
    report = decode(send.frame)
    assert isinstance(report, Diverged) and report.neuron == role.names[0]


def test_a_neuron_keeps_its_own_copy_in_one_layout() -> None:
    """Fortran order, big-endian or float32 numbers become C-ordered float64 of the neuron's own."""
    weights = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    neuron = Neurons(role_of(("a", "b"), blocks=(Block(3, 3, 0.0, 0.0),)), np.array([1, 2], dtype=">f4"), weights)
    weights[:] = 99.0
    assert (
        neuron.weights.flags.c_contiguous
        and neuron.weights.dtype == np.dtype("float64")
        and neuron.weights.dtype.isnative
    )
    assert neuron.weights.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert neuron.bias.tolist() == [1.0, 2.0] and neuron.bias.dtype.isnative
