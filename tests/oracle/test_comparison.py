"""A check that cannot fail checks nothing: `verify` finds every fault that is put into a neuron."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coordinator.topology import Parameters, Topology
from coordinator.verify.comparison import Comparison
from coordinator.verify.textbook import Textbook, Trace
from neuron_node.activations import ACTIVATIONS, Activation, Array
from neuron_node.memory import Gradient, Memory
from neuron_node.messages import GroupState, State, Traffic
from neuron_node.neuron import Neurons
from tests.networks import made_data, plan_of, settings_of
from tests.oracle.test_textbook import compared
from tests.roles import header

reply, update, activate, fire = Neurons.reply, Neurons.update, Neurons.activate, Neurons.fire


def error_with_updated_weights(self: Neurons, memory: Memory) -> Array:
    """Step 6 after step 9."""
    error, kept = reply(self, memory), self.weights
    if self.role.is_output:
        return error
    assert memory.activity is not None and memory.errors is not None
    self.weights = kept - self.role.learning_rate / memory.batch * (memory.activity.T @ memory.errors)
    error, self.weights = reply(self, memory), kept
    return error


def sum_instead_of_mean(self: Neurons, gradient: Gradient) -> bool:
    """The gradient forgets how many samples there are."""
    return update(self, gradient._replace(samples=1))


def a_bias_that_is_forgotten(self: Neurons, memory: Memory) -> Array:
    """Step 2 without the bias."""
    bias, self.bias = self.bias, np.zeros_like(self.bias)
    activity = activate(self, memory)
    self.bias = bias
    return activity


def a_weight_that_is_off(self: Neurons, gradient: Gradient) -> bool:
    """One neuron's first weight by 1e-10."""
    healthy = update(self, gradient)
    if self.role.names == ("hidden.1",):
        self.weights = self.weights + np.array([[1e-10, 0.0]])
    return healthy


def signals_that_are_swapped(self: Neurons, memory: Memory) -> Array:
    """For the wrong neighbours."""
    return np.ascontiguousarray(fire(self, memory)[:, ::-1])


FAULTS: dict[str, tuple[str, Callable[..., object], str, int]] = {
    "updated weights": ("reply", error_with_updated_weights, "error", 1),
    "sum instead of mean": ("update", sum_instead_of_mean, "bias", 1),
    "no bias": ("activate", a_bias_that_is_forgotten, "activity", 2),
    "a weight that is off": ("update", a_weight_that_is_off, "weight", 1),
    "swapped signals": ("fire", signals_that_are_swapped, "activity", 1),
}


@pytest.mark.parametrize(("method", "fault", "kind", "step"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_in_the_neuron_is_found(
    monkeypatch: pytest.MonkeyPatch, method: str, fault: Callable[..., object], kind: str, step: int
) -> None:
    """With its kind, in the step in which it first shows; without the fault there is nothing to find."""
    plan = plan_of(settings_of((3, 4, 2)), made_data(10, 3, 2), inspect_every_step=True)
    assert compared(plan)["first_beyond"] is None
    monkeypatch.setattr(Neurons, method, fault)
    beyond = compared(plan)["first_beyond"]
    assert beyond is not None and beyond["difference"] > 1e-12
    assert beyond["step"] == step
    if kind == "weight":
        assert (beyond["kind"], beyond["neuron"]) == ("weight", "hidden.1")


def test_a_wrong_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the logistic function, by one part in a thousand million."""
    wrong = Activation(ACTIVATIONS["logistic"].activity, lambda activity: activity * (1.0 - activity) * (1.0 + 1e-9))
    monkeypatch.setitem(ACTIVATIONS, "logistic", wrong)
    plan = plan_of(settings_of((3, 4, 2)), made_data(10, 3, 2), inspect_every_step=True)
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


def test_what_is_equal_differs_by_nothing() -> None:
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
    return state._replace(state=State(**{**parts, name: change(parts[name])}))
