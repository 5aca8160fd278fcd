"""One output neuron with its input neurons: the smallest network, without messages. Each neuron is a `Neuron`.

A weight belongs to the neuron that sends (step 3). So each input of the output neuron comes from an input neuron, which passes a
number on and holds the weight. The numbers of each neuron are plain data for `wording.steps_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from neuron_node.activations import quiet
from neuron_node.errors import DivergedError
from neuron_node.initializers import initial_bias_and_weights
from neuron_node.neuron import Neuron, sum_of
from neuron_node.protocol import NamedArray, state_of
from neuron_node.role import Block, Role, Sender
from neuron_node.tracing import PassNumbers, are_finite, numbers_of_steps

OUTPUT = "output.0"
LOSS = "squared_error"

Facts = dict[str, Any]
"""The numbers of one neuron in the nine steps."""


class Member(NamedTuple):
    """A neuron and its role."""

    role: Role
    neuron: Neuron


class OneNeuron:
    """An output neuron and its input neurons, with the initial weights that a network of this size has."""

    def __init__(self, inputs: int, activation: str, learning_rate: float, seed: int, outside: str) -> None:
        """`outside` names the sender of the inputs and of the target."""
        self.outside = outside
        roles = roles_of(inputs, activation, learning_rate, seed)
        self.members = [_begun(role) for role in roles]
        self.inputs, self.output = self.members[:-1], self.members[-1]

    @property
    def weights(self) -> list[float]:
        """The weight from each input neuron."""
        return [member.neuron.weights[0] for member in self.inputs]

    @property
    def bias(self) -> float:
        """The bias of the output neuron."""
        return self.output.neuron.bias

    def forward(self, numbers: Sequence[float]) -> list[Facts]:
        """Do steps 1 to 4 of all neurons; return their numbers, with those of the output neuron last.

        Raises:
            DivergedError: a number is infinite.
        """
        facts = [
            self._forward(member, {self.outside: number}) for member, number in zip(self.inputs, numbers, strict=True)
        ]
        signals = {each["neuron"]: each["axon"][0]["signal"][0] for each in facts}
        facts.append(self._forward(self.output, signals))
        if not all(isfinite(number) for each in facts for key in ("sum", "activity") for number in each[key]):
            raise self._diverged()
        return facts

    def learn(self, forward: Sequence[Facts], target: float) -> list[Facts]:
        """Do steps 5 to 9 of all neurons; return the numbers of all steps.

        `forward` is the result of `forward` with the present weights.

        Raises:
            DivergedError: a number is infinite.
        """
        output = self._learn(self.output, forward[-1], target)
        error = output["error"][0]
        return [*(self._learn(*pair, error) for pair in zip(self.inputs, forward[:-1], strict=True)), output]

    def _forward(self, member: Member, signals: dict[str, float]) -> Facts:
        role, neuron = member
        activity = neuron.activate(list(signals.values()))
        return {
            "neuron": role.names[0],
            "kind": "input" if role.is_input else "output",
            "activation": role.activation,
            "loss": role.loss,
            "learning_rate": role.learning_rate,
            "bias_learned": role.bias_learned,
            "signals": [{"from": name, "signal": [signal]} for name, signal in signals.items()],
            "sum": [sum_of(list(signals.values()))],
            "bias": neuron.bias,
            "activity": [activity],
            "axon": [
                {"to": OUTPUT, "weight": weight, "signal": [signal]}
                for weight, signal in zip(neuron.weights, neuron.fire(activity), strict=True)
            ],
        }

    def _learn(self, member: Member, forward: Facts, error: float) -> Facts:
        """Let a neuron learn. `error` is the receiver's error, or the target of the output neuron."""
        role, neuron = member
        activity, before = forward["activity"][0], _numbers(neuron)
        own_error = neuron.own_error(activity, [error])
        neuron.learn(activity, [error], own_error)
        signals = np.array([each["signal"] for each in forward["signals"]])[:, None, :]
        fired, received, own = (np.array([[number]]) for number in (activity, error, own_error))
        numbers = PassNumbers(signals, fired, received, own, plain=True)
        with quiet():
            arrays = numbers_of_steps(role, before, [numbers], state_of(*_numbers(neuron)))
        if not are_finite(arrays):
            raise self._diverged()
        return {**forward, **_named(forward, arrays)}

    def _diverged(self) -> DivergedError:
        rate = f"{self.output.role.learning_rate:g}"
        return DivergedError(
            f"diverged: the numbers were no longer finite; try a smaller learning rate (it is {rate}), or smaller inputs"
        )


def roles_of(inputs: int, activation: str, learning_rate: float, seed: int) -> list[Role]:
    """Return the roles of the input neurons, then the role of the output neuron.

    The initial weights are in the range that `coordinator.topology.weight_range` gives a network of this size.
    """
    limit = float(np.sqrt(6.0 / (inputs + 1)))
    common: dict[str, Any] = {
        "loss": LOSS, "learning_rate": learning_rate, "bias_low": 0.0, "bias_high": 0.0, "seed": seed,
    }  # fmt: skip
    block, senders = Block(inputs + 1, 2, 1, -limit, limit), tuple(Sender(1 + index, 1, 1) for index in range(inputs))
    return [
        *(
            Role(
                1 + index, 1, index, inputs, (f"input.{index}",), (), (block,), "identity", bias_learned=False, **common
            )
            for index in range(inputs)
        ),
        Role(inputs + 1, 2, 0, 1, (OUTPUT,), senders, (), activation, bias_learned=True, **common),
    ]


def _begun(role: Role) -> Member:
    bias, weights = initial_bias_and_weights(role)
    return Member(role, Neuron(role, float(bias[0]), weights[0].tolist()))


def _numbers(neuron: Neuron) -> tuple[Any, Any]:
    """Return the present bias (1, 1) and weights (1, synapses)."""
    return np.array([[neuron.bias]]), np.array([neuron.weights]).reshape(1, -1)


def _named(forward: Facts, arrays: Sequence[NamedArray]) -> Facts:
    """Return the numbers of steps 5 to 9 by the names that `wording` uses."""
    numbers = {array.name: array.values for array in arrays}
    facts: Facts = {
        "slope": numbers["slope"][0].tolist(),
        "error": numbers["own_error"][0].tolist(),
        "bias_gradient": float(numbers["bias_gradient"][0, 0]),
        "bias_after": float(numbers["bias_after"][0, 0]),
        "axon": [
            {**synapse, "error": numbers["errors"][0].tolist(), "gradient": float(gradient), "after": float(after)}
            for synapse, gradient, after in zip(
                forward["axon"], numbers["gradients"][0], numbers["weights_after"][0], strict=True
            )
        ],
    }
    if forward["kind"] == "output":
        return {**facts, "target": numbers["errors"][0].tolist()}
    return {**facts, "error_sum": numbers["error_sum"][0].tolist()}
