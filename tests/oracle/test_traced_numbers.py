"""Every number of a trace against NumPy: the neurons of a network in memory report, and matrices compute."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from coordinator.core.access import Access
from coordinator.core.events import Asked, Snapshot
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from coordinator.core.training import Progress
from coordinator.in_memory import network_of
from coordinator.topology import Parameters, Topology
from coordinator.verify.textbook import Textbook
from neuron_node.one_neuron import OneNeuron
from neuron_node.protocol import NOBODY, Header, Request
from neuron_node.wording import steps_of
from tests.docs.formulas import formulas_in
from tests.networks import made_data, numbers, parameters, plan_of, settings_of, trained

TOLERANCE = 1e-12
"""The largest difference of a number that depends on an exponential or on a matrix product, relative to the largest of its kind."""
LAYERS = (3, 4, 2)


def traced(plan: RunPlan, row: np.ndarray, times: int = 1) -> dict[str, Any]:
    """What a network that only answers says of a sample (1, inputs + outputs), the last of several times."""
    network, coordinator = network_of(plan)
    network.run_until(lambda: coordinator.state is CoordinatorState.IDLE)
    ids = [time.to_bytes(8, "big") for time in range(1, times + 1)]
    for request_id in ids:
        request = Request(Header(NOBODY, 0, 0, NOBODY), request_id, "trace", "{}", row)
        network.give(0, Asked(request, Access.VIEWER))
    network.run_until(lambda: network.answers.keys() == {*ids})
    reply = network.answers[ids[-1]]
    assert reply.good, reply
    facts: dict[str, Any] = json.loads(reply.result)
    return facts


def layer(facts: dict[str, Any], number: int, key: str) -> np.ndarray:
    """One number of each neuron of a layer."""
    values = [each[key] for each in facts["neurons"] if each["layer"] == number]
    return np.array([value[0] if isinstance(value, list) else value for value in values])


def synapses(facts: dict[str, Any], number: int, key: str) -> np.ndarray:
    """One number of each synapse below a layer, (neurons, neurons below)."""
    values = [[synapse[key] for synapse in each["axon"]] for each in facts["neurons"] if each["layer"] == number]
    return np.array([[value[0] if isinstance(value, list) else value for value in row] for row in values])


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(theirs).max(initial=0.0))))


def equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.tolist() == theirs.tolist()


def standing(plan: RunPlan) -> tuple[RunPlan, Parameters]:
    """The network after its training, which only answers."""
    machine = trained(plan)
    assert machine.trainer.snapshot is not None
    snapshot = Snapshot(machine.trainer.snapshot.step, machine.trainer.snapshot.states, Progress())
    changed = {**vars(plan), "trained": snapshot}
    return RunPlan(**changed), parameters(machine)


@pytest.mark.parametrize("group_size", [1, 2, 4])
@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "cross_entropy"}, {"hidden_activation": "tanh", "output_activation": "identity"},
     {"hidden_activation": "relu"}, {"input_activation": "logistic", "input_bias": True, "biases": (-1.0, 1.0)}],
    ids=["logistic", "cross entropy", "tanh", "relu", "input bias"],
)  # fmt: skip
def test_every_number_of_a_trace_is_numpys(changes: dict[str, Any], group_size: int) -> None:
    """Products and differences of reported numbers bit for bit with groups of one neuron; the rest within 1e-12."""
    network = settings_of(LAYERS, **changes)
    plan, before = standing(plan_of(network, made_data(10, LAYERS[0], LAYERS[-1]), group_size=group_size))
    row = numbers("sample", 1, LAYERS[0] + LAYERS[-1], 0.0, 1.0)
    facts = traced(plan, row)
    inputs, targets = row[:, : LAYERS[0]], row[:, LAYERS[0] :]
    book = Textbook(network, plan.seed)
    book.biases, book.weights = list(before.biases), list(before.weights)
    trace = book.step(inputs, targets)
    rate, last = network.learning_rate, len(LAYERS) - 1
    for number in range(len(LAYERS)):
        activity, error = layer(facts, number, "activity"), layer(facts, number, "error")
        close(activity, trace.activities[number][0])
        close(error, trace.errors[number][0])
        equal(layer(facts, number, "bias"), before.biases[number])
        equal(layer(facts, number, "bias_gradient"), error)
        close(layer(facts, number, "bias_after"), trace.biases[number])
        if number == last:
            equal(layer(facts, number, "target"), targets[0])
            continue
        weights, errors = before.weights[number], layer(facts, number + 1, "error")
        equal(synapses(facts, number, "weight"), weights)
        equal(synapses(facts, number, "error"), np.tile(errors, (len(activity), 1)))
        equal(synapses(facts, number, "gradient"), np.outer(activity, errors))
        equal(synapses(facts, number, "after"), weights - rate * np.outer(activity, errors))
        close(synapses(facts, number, "after"), trace.weights[number])
        close(layer(facts, number, "error_sum"), weights @ errors)
        close(error, layer(facts, number, "error_sum") * layer(facts, number, "slope"))
        received = [each["signals"] for each in facts["neurons"] if each["layer"] == number + 1]
        signals = np.array([[signal["signal"][0] for signal in each] for each in received])
        close(signals.sum(axis=1), activity @ weights)
        if group_size == 1:
            products = weights * activity[:, None]
            equal(synapses(facts, number, "signal"), products)
            equal(signals.T, products)
            equal(layer(facts, number + 1, "sum"), np.add.accumulate(products)[-1])
            equal(layer(facts, number, "error_sum"), np.add.accumulate(weights * errors, axis=1)[:, -1])
            equal(error, layer(facts, number, "error_sum") * layer(facts, number, "slope"))


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_every_formula_of_a_trace_gives_its_result(activation: str) -> None:
    """A reader can compute each line of the nine steps from the numbers that the line shows."""
    network = settings_of(LAYERS, hidden_activation=activation)
    plan, _ = standing(plan_of(network, made_data(10, LAYERS[0], LAYERS[-1])))
    facts = traced(plan, numbers("sample", 1, LAYERS[0] + LAYERS[-1], 0.0, 1.0))
    lines = [line.text for neuron in facts["neurons"] for line in steps_of(neuron, every_synapse=True)]
    found = [formula for line in lines for formula in formulas_in(line)]
    assert len(found) >= 5 * len(facts["neurons"])
    assert [formula for formula in found if not formula.right] == []


@pytest.mark.parametrize("group_size", [1, 2])
def test_a_trace_changes_no_weight(group_size: int) -> None:
    """The third trace of a sample is like the first, but for the number of its pass."""
    plan, _ = standing(plan_of(settings_of(LAYERS), made_data(10, LAYERS[0], LAYERS[-1]), group_size=group_size))
    row = numbers("sample", 1, LAYERS[0] + LAYERS[-1], 0.0, 1.0)
    first, third = traced(plan, row), traced(plan, row, times=3)
    assert (first.pop("pass"), third.pop("pass")) == (1, 3)
    assert first == third


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_one_neuron_in_a_terminal_has_the_numbers_of_a_network(activation: str) -> None:
    """The roles are those of a network 3-1, and with its weights each step has its lines and its numbers, to the last bit."""
    network = settings_of((3, 1), output_activation=activation, hidden_activation=activation)
    plan, _ = standing(plan_of(network, made_data(10, 3, 1)))
    row = numbers("sample", 1, 4, 0.0, 1.0)
    facts = traced(plan, row)["neurons"]
    topology = Topology((3, 1), 1)
    one = OneNeuron(3, activation, network.learning_rate, plan.seed, "coordinator")
    assert [member.role for member in one.members] == [
        topology.role(number, network, plan.seed) for number in sorted(topology.groups)
    ]
    for (_, neuron), each in zip(one.members, facts, strict=True):
        neuron.bias, neuron.weights = each["bias"], [synapse["weight"] for synapse in each["axon"]]
    found = one.learn(one.forward(row[0, :3].tolist()), float(row[0, 3]))
    assert [steps_of(each) for each in found] == [steps_of(each) for each in facts]
    assert [each["axon"] for each in found] == [each["axon"] for each in facts]
    assert one.bias == facts[-1]["bias_after"] and one.weights == [each["axon"][0]["after"] for each in facts[:-1]]
