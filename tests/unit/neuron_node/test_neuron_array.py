"""The nine steps of a group and a batch, and that they are those of `neuron.py`."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node import neuron_array
from neuron_node.activations import ACTIVATIONS, Array, quiet
from neuron_node.losses import LOSSES
from neuron_node.neuron import Neuron
from neuron_node.neuron_array import NeuronArray
from neuron_node.role import Block, Role
from tests.networks import numbers
from tests.roles import matrix, output_role, role_of

AGREEMENT = 1e-12


def array_of(role: Role, bias: Array, weights: Array) -> NeuronArray:
    return NeuronArray(role, bias, weights)


def steps(neurons: NeuronArray, signals: Array, errors: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Everything that one step makes: activity, signals, own error, weights, bias."""
    activity = neurons.activate(signals)
    fired = neurons.fire(activity)
    own = neurons.own_error(activity, errors)
    assert neurons.learn(activity, errors, own)
    return activity, fired, own, neurons.weights, neurons.bias


magnitudes = st.floats(-8.0, 8.0)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("loss", [None, *sorted(LOSSES)])
@given(data=st.data(), senders=st.integers(1, 40), synapses=st.integers(1, 40), bias=magnitudes)
def test_one_neuron_and_one_sample_agree_with_plain_numbers(
    activation: str, loss: str | None, data: st.DataObject, senders: int, synapses: int, bias: float
) -> None:
    """Every number of a step, within 1e-12 of the largest magnitude in it; for a hidden and an output neuron."""
    draw = data.draw
    signals = draw(st.lists(magnitudes, min_size=senders, max_size=senders))
    count = 1 if loss else synapses
    weights = [] if loss else draw(st.lists(magnitudes, min_size=count, max_size=count))
    errors = draw(st.lists(magnitudes, min_size=count, max_size=count))
    blocks = tuple(Block(10 + place, 3, 1, 0.0, 0.0) for place in range(len(weights)))
    changes: dict[str, Any] = {"blocks": blocks, "activation": activation}
    role = output_role(activation=activation, loss=loss) if loss else role_of(**changes)
    plain = Neuron(role, bias, weights)
    neurons = array_of(role, np.array([bias]), np.array([weights]).reshape(1, -1))
    found = steps(neurons, np.array(signals).reshape(senders, 1, 1), np.array([errors]))
    activity = plain.activate(signals)
    fired, own = plain.fire(activity), plain.own_error(activity, errors)
    assert plain.learn(activity, errors, own)
    plain_numbers = ([activity], fired, [own], plain.weights, [plain.bias])
    # A derivative near a bound is a difference of two numbers near 1: its own magnitude says nothing.
    largest = max(map(abs, itertools.chain(signals, errors, weights, *plain_numbers)), default=0.0)
    for ours, theirs in zip(plain_numbers, found, strict=True):
        np.testing.assert_allclose(theirs.reshape(-1), ours, rtol=0.0, atol=AGREEMENT * largest)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@given(total=st.floats(-1e4, 1e4))
def test_an_activation_of_a_number_is_that_of_an_array(activation: str, total: float) -> None:
    """And its derivative; far out nothing overflows."""
    of_array, of_number = ACTIVATIONS[activation], ACTIVATIONS[activation].of_number
    with quiet():
        activity = of_array.activity(np.array([[total]]))[0, 0]
        ours = of_number.activity(total)
        assert ours == pytest.approx(activity, rel=AGREEMENT, abs=1e-300)
        derivative = of_array.derivative(np.array([[ours]]))[0, 0]
    assert of_number.derivative(ours) == pytest.approx(derivative, rel=AGREEMENT, abs=1e-300)


def test_the_logistic_function_of_a_number_never_overflows() -> None:
    """Of -800 it is 0, as that of an array is."""
    of_number = ACTIVATIONS["logistic"].of_number
    assert of_number.activity(-800.0) == 0.0 and of_number.activity(800.0) == 1.0
    assert of_number.activity(-1e308) == 0.0 and of_number.activity(0.0) == 0.5
    assert of_number.activity(-700.0) == pytest.approx(math.exp(-700.0), rel=1e-15)


def test_a_group_of_n_is_n_neurons() -> None:
    """Two neurons as one group and as two have the same activities, errors, weights and biases, over a batch of three."""
    role = role_of(("a", "b"), blocks=(Block(3, 3, 2, 0.0, 0.0),))
    bias, weights = np.array([0.1, -0.2]), matrix((0.5, -1.0), (0.25, 2.0))
    signals, errors = matrix((1.0, -1.0), (0.5, 0.0), (-2.0, 3.0)), matrix((0.1, 0.2), (-0.3, 0.4), (0.0, -0.5))
    group = steps(array_of(role, bias, weights), signals[None], errors)
    alone = [
        steps(
            array_of(role_of((name,), blocks=role.blocks), bias[[row]], weights[[row]]), signals[None, :, [row]], errors
        )
        for row, name in enumerate(role.names)
    ]
    for kind, axis in ((0, 1), (2, 1), (3, 0), (4, 0)):
        together = np.concatenate([one[kind] for one in alone], axis=axis)
        np.testing.assert_allclose(together, group[kind], rtol=1e-14)
    np.testing.assert_allclose(alone[0][1] + alone[1][1], group[1], rtol=1e-14)


def test_gradients_are_the_mean_over_the_batch() -> None:
    """A batch of two takes the step that is the mean of the two samples' steps, for weights and bias."""
    neurons = array_of(role_of(activation="identity"), np.array([1.0]), matrix((2.0,)))
    found = steps(neurons, matrix((1.0,), (3.0,))[None], matrix((0.5,), (-1.5,)))
    assert [one.tolist() for one in found] == [
        [[2.0], [4.0]],
        [[4.0], [8.0]],
        [[1.0], [-3.0]],
        [[2.0 - 0.5 * (0.5 * 2.0 - 1.5 * 4.0) / 2]],
        [1.0 - 0.5 * (1.0 - 3.0) / 2],
    ]


def test_learning_changes_no_array_in_place() -> None:
    """Snapshots and weights that signals were sent with refer to the old ones."""
    neurons = array_of(role_of(), np.array([1.0]), matrix((2.0,)))
    bias, weights = neurons.bias, neurons.weights
    steps(neurons, matrix((1.0,))[None], matrix((0.5,)))
    assert (bias.tolist(), weights.tolist()) == ([1.0], [[2.0]])
    assert neurons.weights.tolist() != [[2.0]] and neurons.bias.tolist() != [1.0]
    assert neurons.own_error(matrix((0.5,)), matrix((1.0,)), weights).tolist() == [[2.0 * 0.25]]


@pytest.mark.parametrize("bound", [0, neuron_array.ACCUMULATED_AT_MOST_BYTES])
def test_signals_are_added_in_synapse_order(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in pairs, as `sum` of NumPy does it: the same bits for few and for many, and those of plain numbers."""
    monkeypatch.setattr(neuron_array, "ACCUMULATED_AT_MOST_BYTES", bound)
    signals = numbers("signals", 300, 1) * 10.0 ** numbers("powers", 300, 1, -8.0, 8.0)
    total = signals[0, 0]
    for signal in signals[1:, 0]:
        total = total + signal
    neurons = array_of(role_of(activation="identity"), np.array([0.0]), matrix((1.0,)))
    before = signals.tobytes()
    for rows in (1, 2):
        found = neurons.activate(np.repeat(signals[:, None, :], rows, axis=1))
        assert found.tolist() == [[total]] * rows
    assert signals.tobytes() == before
    assert Neuron(role_of(activation="identity"), 0.0, [1.0]).activate(signals[:, 0].tolist()) == total


@pytest.mark.parametrize("signal", [1e200, 0.0])
def test_numbers_that_are_no_longer_finite_are_told(signal: float) -> None:
    """`learn` is false when a weight or a bias overflows."""
    neurons = array_of(role_of(activation="identity", learning_rate=1e6), np.array([0.0]), matrix((0.0,)))
    with quiet():
        assert not neurons.learn(matrix((signal,)), matrix((1e200,)), matrix((1e308,)))


def test_a_group_keeps_its_own_numbers_in_one_layout() -> None:
    """Fortran order, big-endian or float32 numbers become C-ordered float64 of the group's own."""
    weights = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    neurons = NeuronArray(
        role_of(("a", "b"), blocks=(Block(3, 3, 3, 0.0, 0.0),)), np.array([1, 2], dtype=">f4"), weights
    )
    weights[:] = 99.0
    for array in (neurons.weights, neurons.bias):
        assert array.flags.c_contiguous and array.dtype == np.dtype("float64") and array.dtype.isnative
    assert neurons.weights.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert neurons.bias.tolist() == [1.0, 2.0]
