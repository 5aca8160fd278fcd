"""A check that cannot fail checks nothing: `verify` finds every fault that is put into a neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coordinator.topology import Parameters, Topology
from coordinator.verify.comparison import Comparison
from coordinator.verify.textbook import Textbook, Trace
from neuron_node.activations import ACTIVATIONS, Activation, Array, OfNumber
from neuron_node.neuron import Neuron
from neuron_node.neuron_array import NeuronArray
from neuron_node.protocol import GroupState, Traffic, state_of
from tests.networks import made_data, plan_of, settings_of
from tests.oracle.test_textbook import compared
from tests.roles import header

Method = Callable[..., Any]


def error_with_updated_weights(real: Method, own: Any, activity: Any, errors: Any, weights: Any = None) -> Any:
    """Step 6 after step 9."""
    if not own._is_output:
        rows = np.atleast_2d(activity)
        gradient = rows.T @ np.atleast_2d(errors) / len(rows)
        updated = np.asarray(own.weights if weights is None else weights) - own._learning_rate * gradient
        weights = updated if np.ndim(activity) else updated[0].tolist()
    return real(own, activity, errors, weights)


def sum_instead_of_mean(real: Method, own: Any, activity: Any, errors: Any, own_error: Any) -> Any:
    """The gradient forgets how many samples there are."""
    rate, own._learning_rate = own._learning_rate, own._learning_rate * len(activity)
    finite, own._learning_rate = real(own, activity, errors, own_error), rate
    return finite


def a_bias_that_is_forgotten(real: Method, own: Any, signals: Any) -> Any:
    """Step 2 without the bias."""
    bias, own.bias = own.bias, own.bias * 0.0
    activity, own.bias = real(own, signals), bias
    return activity


def a_weight_that_is_off(real: Method, own: Any, activity: Any, errors: Any, own_error: Any) -> Any:
    """One neuron's first weight by 1e-10."""
    finite = real(own, activity, errors, own_error)
    if own.names == ("hidden.1",) and isinstance(own.weights, list):
        own.weights = [own.weights[0] + 1e-10, *own.weights[1:]]
    elif own.names == ("hidden.1",):
        own.weights = own.weights + np.array([[1e-10, 0.0]])
    return finite


def signals_that_are_swapped(real: Method, own: Any, activity: Any) -> Any:
    """For the wrong neighbours."""
    fired = real(own, activity)
    return fired[::-1] if isinstance(fired, list) else np.ascontiguousarray(fired[:, ::-1])


FAULTS: dict[str, tuple[str, Method, str, int]] = {
    "updated weights": ("own_error", error_with_updated_weights, "error", 1),
    "sum instead of mean": ("learn", sum_instead_of_mean, "bias", 1),
    "no bias": ("activate", a_bias_that_is_forgotten, "activity", 2),
    "a weight that is off": ("learn", a_weight_that_is_off, "weight", 1),
    "swapped signals": ("fire", signals_that_are_swapped, "activity", 1),
}


def put_in(monkeypatch: pytest.MonkeyPatch, form: type, method: str, fault: Method) -> None:
    """Let one form of the neuron do a step wrong; it knows its names then."""
    real, begin = getattr(form, method), form.__init__  # type: ignore[misc]

    def init(own: Any, role: Any, *numbers: Any) -> None:
        begin(own, role, *numbers)
        own.names = role.names

    monkeypatch.setattr(form, "__init__", init)
    monkeypatch.setattr(form, method, lambda own, *given: fault(real, own, *given))


# The mean of one sample is its sum.
ARRAY_FAULTS: list[tuple[type, int, str]] = [(NeuronArray, 4, name) for name in FAULTS]
NUMBER_FAULTS: list[tuple[type, int, str]] = [(Neuron, 1, name) for name in FAULTS if name != "sum instead of mean"]


@pytest.mark.parametrize(("form", "batch_size", "name"), ARRAY_FAULTS + NUMBER_FAULTS)
def test_a_fault_in_the_neuron_is_found(
    monkeypatch: pytest.MonkeyPatch, form: type, batch_size: int, name: str
) -> None:
    """With its kind, in the step in which it first shows; without the fault there is nothing to find."""
    method, fault, kind, step = FAULTS[name]
    network = settings_of((3, 4, 2), batch_size=batch_size, epochs=1)
    plan = plan_of(network, made_data(10, 3, 2), inspect_every_step=True)
    assert compared(plan)["first_beyond"] is None
    put_in(monkeypatch, form, method, fault)
    beyond = compared(plan)["first_beyond"]
    assert beyond is not None and beyond["difference"] > 1e-12
    assert beyond["step"] == step
    if kind == "weight":
        assert (beyond["kind"], beyond["neuron"]) == ("weight", "hidden.1")


@pytest.mark.parametrize("batch_size", [4, 1], ids=["array", "one sample"])
def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    """Of the logistic function, by one part in a thousand million."""
    right = ACTIVATIONS["logistic"]

    def derivative(activity: Any) -> Any:
        return activity * (1.0 - activity) * (1.0 + 1e-9)

    wrong = Activation(right.activity, derivative, OfNumber(right.of_number.activity, derivative))
    monkeypatch.setitem(ACTIVATIONS, "logistic", wrong)
    plan = plan_of(settings_of((3, 4, 2), batch_size=batch_size), made_data(10, 3, 2), inspect_every_step=True)
    assert compared(plan)["first_beyond"] is not None


# The comparison itself.


def one_step() -> tuple[Topology, dict[int, GroupState], Trace]:
    """A trace of the textbook, and groups that say exactly the same."""
    settings, data = settings_of((2, 2, 1)), made_data(4, 2, 1)
    topology = Topology(settings.layers, 1)
    trace = Textbook(settings, 1).step(data.train_inputs, data.train_targets)
    states = {}
    for number, state in topology.divide(Parameters(trace.biases, trace.weights)).items():
        group = topology.groups[number]
        activity, error = (
            np.ascontiguousarray(values[group.layer][:, group.columns]) for values in (trace.activities, trace.errors)
        )
        states[number] = GroupState(header(), number, 1, state, activity, error, Traffic(0, 0, 0))
    return topology, states, trace


def test_comparison_of_equal_numbers_is_zero() -> None:
    """Zero, over all numbers."""
    topology, states, trace = one_step()
    comparison = Comparison(topology)
    comparison.compare(1, states, trace)
    assert comparison.first_beyond is None and comparison.largest.relative == 0.0
    assert comparison.to_json()["numbers"] == (5 + 2 * 2 + 2 * 1) + 2 * 4 * 5


@pytest.mark.parametrize("kind", ["activity", "error", "bias", "weight"])
@pytest.mark.parametrize("value", [1e-3, float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_off_is_named(kind: str, value: float) -> None:
    """Its kind and neuron; what is not finite is infinitely far away."""
    topology, states, trace = one_step()
    number = topology.group_of["hidden.1"]
    states[number] = changed(states[number], kind, lambda array: array + value)
    comparison = Comparison(topology)
    comparison.compare(3, states, trace)
    assert comparison.first_beyond is not None
    found = comparison.first_beyond
    assert (found.kind, found.neuron, found.step) == (kind, "hidden.1", 3)
    assert found.relative > 1e-4 if np.isfinite(value) else found.relative > 1e300


def test_numbers_of_another_shape_are_beyond_every_tolerance() -> None:
    """A group that leaves a sample out."""
    topology, states, trace = one_step()
    states[1] = changed(states[1], "activity", lambda array: array[:-1])
    comparison = Comparison(topology)
    comparison.compare(1, states, trace)
    assert comparison.first_beyond is not None and comparison.first_beyond.neuron == "input.0"


def test_the_first_is_kept_and_the_largest_replaced() -> None:
    """Over two steps."""
    topology, states, trace = one_step()
    comparison = Comparison(topology)
    comparison.compare(1, {**states, 2: changed(states[2], "weight", lambda array: array + 1e-6)}, trace)
    comparison.compare(2, {**states, 4: changed(states[4], "bias", lambda array: array + 1.0)}, trace)
    assert comparison.first_beyond is not None and (comparison.first_beyond.step, comparison.first_beyond.neuron) == (
        1,
        "input.1",
    )
    assert (comparison.largest.step, comparison.largest.neuron) == (2, "hidden.1")


def changed(state: GroupState, kind: str, change: Callable[[Array], Array]) -> GroupState:
    if kind in ("activity", "error"):
        numbers: dict[str, Any] = {kind: change(getattr(state, kind))}
        return state._replace(**numbers)
    parts = {"bias": state.state.bias, "weights": state.state.weights}
    name = {"bias": "bias", "weight": "weights"}[kind]
    return state._replace(state=state_of(**{**parts, name: change(parts[name])}))
