"""The nine steps of one neuron with one sample, by numbers that were worked out by hand."""

from __future__ import annotations

import math

import pytest

from neuron_node.neuron import Neuron
from neuron_node.role import Block, Sender
from tests.roles import input_role, output_role, role_of


def logistic(total: float) -> float:
    return 1.0 / (1.0 + math.exp(-total))


def test_one_neuron_takes_the_nine_steps() -> None:
    """A hidden neuron with two senders and two receivers: every number of one sample."""
    role = role_of(
        group=3,
        senders=(Sender(1, 1, 1), Sender(2, 1, 1)),
        blocks=(Block(4, 3, 1, 0.0, 0.0), Block(5, 3, 1, 0.0, 0.0)),
    )
    neuron = Neuron(role, 0.25, [0.5, -2.0])
    activity = neuron.activate([1.25, -0.5])
    assert activity == pytest.approx(logistic(1.25 - 0.5 + 0.25), rel=1e-15)
    assert neuron.fire(activity) == [0.5 * activity, -2.0 * activity]
    errors = [0.75, 0.125]
    error = neuron.own_error(activity, errors)
    assert error == pytest.approx((0.5 * 0.75 - 2.0 * 0.125) * activity * (1.0 - activity), rel=1e-15)
    assert neuron.learn(activity, errors, error)
    assert neuron.weights == [0.5 - 0.5 * (0.75 * activity), -2.0 - 0.5 * (0.125 * activity)]
    assert neuron.bias == 0.25 - 0.5 * error


def test_the_error_uses_the_weights_as_they_were_when_sent() -> None:
    """Those that are given, where the neuron has learned meanwhile; the list that it had stays as it was."""
    neuron = Neuron(role_of(activation="identity"), 0.0, [3.0])
    sent_with = neuron.weights
    assert neuron.own_error(2.0, [1.0]) == 3.0
    neuron.learn(2.0, [1.0], 3.0)
    assert (neuron.weights, sent_with) == ([3.0 - 0.5 * 1.0 * 2.0], [3.0])
    assert neuron.own_error(2.0, [1.0]) == 2.0
    assert neuron.own_error(2.0, [1.0], sent_with) == 3.0


def test_an_output_neurons_error_comes_from_its_target() -> None:
    """(activity - target) × activation'(activity), and it has no weight to change, only a bias."""
    neuron = Neuron(output_role(), 0.5, [])
    activity = neuron.activate([-0.25])
    assert activity == pytest.approx(logistic(0.25)) and neuron.fire(activity) == []
    error = neuron.own_error(activity, [1.0])
    assert error == pytest.approx((activity - 1.0) * activity * (1.0 - activity))
    assert neuron.learn(activity, [1.0], error)
    assert (neuron.bias, neuron.weights) == (0.5 - 0.5 * error, [])
    cross = Neuron(output_role(loss="cross_entropy"), 0.5, [])
    assert cross.own_error(activity, [1.0]) == activity - 1.0


def test_an_input_neuron_passes_its_input_on() -> None:
    """Identity, and a bias that is not learned stays where it is."""
    neuron = Neuron(input_role(), 0.0, [0.5])
    assert neuron.activate([-7.0]) == -7.0
    assert neuron.fire(-7.0) == [-3.5]
    assert neuron.learn(-7.0, [1.0], 0.5)
    assert (neuron.bias, neuron.weights) == (0.0, [0.5 + 0.5 * 7.0])


def test_signals_are_added_in_synapse_order_with_plus() -> None:
    """The built-in `sum` gives other bits from Python 3.12 on; the bias comes last."""
    signals = [0.1, 1e16, -1e16, 0.1, 0.3]
    total = (((signals[0] + signals[1]) + signals[2]) + signals[3]) + signals[4]
    assert total != math.fsum(signals) and total != sum(reversed(signals))
    neuron = Neuron(role_of(activation="identity"), 0.7, [1.0])
    assert neuron.activate(signals) == total + 0.7


def test_errors_are_added_in_synapse_order_with_plus() -> None:
    """So are weight × error."""
    errors = [0.1, 1e16, -1e16, 0.1, 0.3]
    blocks = tuple(Block(10 + place, 3, 1, 0.0, 0.0) for place in range(5))
    neuron = Neuron(role_of(activation="identity", blocks=blocks), 0.0, [1.0] * 5)
    total = (((0.0 + errors[0] + errors[1]) + errors[2]) + errors[3]) + errors[4]
    assert total != math.fsum(errors)
    assert neuron.own_error(1.0, errors) == total


@pytest.mark.parametrize(
    ("weight", "bias", "error"),
    [(1e200, 0.0, 1e200), (0.0, 0.0, 1e308), (float("nan"), 0.0, 0.0), (0.0, 1e308, -1e308)],
)
def test_numbers_that_are_no_longer_finite_are_told(weight: float, bias: float, error: float) -> None:
    """`learn` is false when a weight or a bias overflows."""
    neuron = Neuron(role_of(activation="identity", learning_rate=1e6), bias, [weight])
    assert not neuron.learn(1e200, [error], error)


def test_large_numbers_whose_sum_overflows_are_finite() -> None:
    """Only a number that is not finite itself counts."""
    blocks = (Block(4, 3, 1, 0.0, 0.0), Block(5, 3, 1, 0.0, 0.0))
    neuron = Neuron(role_of(activation="identity", blocks=blocks), 0.0, [1.7e308, 1.7e308])
    assert neuron.learn(0.0, [0.0, 0.0], 0.0)
