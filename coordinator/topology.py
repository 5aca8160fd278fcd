"""The neurons of a network, their groups, and the blocks of synapses between the groups.

The layers of a network are its neurons in rows; a group is a part of a layer. Any two groups may have a block, so every
feed-forward graph fits. Names do not depend on the group size: `input.0`, `hidden.3` (`hidden2.3` with several hidden
layers), `output.9`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from coordinator.defaults import NetworkSettings
from neuron_node.activations import Array
from neuron_node.protocol import State, state_of
from neuron_node.role import Block, Role, Sender


@dataclass(frozen=True)
class GroupSpec:
    """Neurons `first` to `first + size - 1` of a layer, which one node computes together."""

    number: int
    layer: int
    first: int
    names: tuple[str, ...]

    @property
    def size(self) -> int:
        """The number of neurons."""
        return len(self.names)

    @property
    def columns(self) -> slice:
        """The columns of the group in an array of its whole layer."""
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True)
class Parameters:
    """The parameters of a network: biases (neurons,) of each layer, and weights (neurons, neurons below) of all but the last."""

    biases: tuple[Array, ...]
    weights: tuple[Array, ...]

    def sha256(self) -> str:
        """Return the digest of biases and weights, layer by layer from the inputs, as little-endian float64 in C order."""
        digest = hashlib.sha256()
        for layer, bias in enumerate(self.biases):
            digest.update(bias.astype("<f8").tobytes())
            if layer < len(self.weights):
                digest.update(self.weights[layer].astype("<f8").tobytes())
        return digest.hexdigest()


def edges(neurons: int, group_size: int) -> list[int]:
    """Return where the groups of a layer begin, and its end: as few groups as possible, whose sizes differ by at most one.

    The groups of a layer work at the same time, and the next layer waits for the largest of them.
    """
    count = math.ceil(neurons / group_size)
    return [part * neurons // count for part in range(count + 1)]


class Topology:
    """Groups, numbered from 1 in the order of layers, and the blocks of synapses (sender, receiver) between them."""

    def __init__(self, layers: tuple[int, ...], group_size: int) -> None:
        self.layers = layers
        self.groups: dict[int, GroupSpec] = {}
        for layer, size in enumerate(layers):
            names = layer_names(layers, layer)
            for first, last in itertools.pairwise(edges(size, group_size)):
                number = len(self.groups) + 1
                self.groups[number] = GroupSpec(number, layer, first, names[first:last])
        by_layer = [[g.number for g in self.groups.values() if g.layer == layer] for layer in range(len(layers))]
        self.blocks = tuple(
            (sender, receiver)
            for above, below in itertools.pairwise(by_layer)
            for sender in above
            for receiver in below
        )
        self.inputs = [self.groups[number] for number in by_layer[0]]
        self.outputs = [self.groups[number] for number in by_layer[-1]]
        self.senders: dict[int, list[int]] = {number: [] for number in self.groups}
        self.receivers: dict[int, list[int]] = {number: [] for number in self.groups}
        for sender, receiver in self.blocks:
            self.senders[receiver].append(sender)
            self.receivers[sender].append(receiver)
        self.group_of = {name: group.number for group in self.groups.values() for name in group.names}

    @property
    def last_layer(self) -> int:
        """The number of the output layer, counted from 0."""
        return len(self.layers) - 1

    @property
    def neurons(self) -> int:
        """The number of neurons."""
        return sum(self.layers)

    @property
    def synapses(self) -> int:
        """The number of weights."""
        return sum(self.groups[a].size * self.groups[b].size for a, b in self.blocks)

    def role(self, number: int, network: NetworkSettings, seed: int) -> Role:
        """Return the role of a group, which a grant carries to its node."""
        group = self.groups[number]
        is_input = group.layer == 0
        bias_low, bias_high = network.biases if not is_input or network.input_bias else (0.0, 0.0)
        return Role(
            group=number,
            stage=self.stage_of(group),
            first=group.first,
            width=self.layers[group.layer],
            names=group.names,
            senders=tuple(self._sender(sender) for sender in self.senders[number]),
            blocks=tuple(self._block(group, self.groups[receiver], network) for receiver in self.receivers[number]),
            activation=network.activations[group.layer],
            loss=network.loss,
            learning_rate=network.learning_rate,
            bias_low=bias_low,
            bias_high=bias_high,
            bias_learned=network.input_bias_learned if is_input else network.bias_learned,
            seed=seed,
        )

    def stage_of(self, group: GroupSpec) -> int:
        """Return the stage of a group. The groups of a layer share a stage, because they receive from the same senders."""
        return group.layer + 1

    def _sender(self, sender: int) -> Sender:
        group = self.groups[sender]
        return Sender(sender, self.stage_of(group), group.size)

    def _block(self, sender: GroupSpec, receiver: GroupSpec, network: NetworkSettings) -> Block:
        low, high = weight_range(network, self.layers[sender.layer], self.layers[receiver.layer])
        return Block(receiver.number, self.stage_of(receiver), receiver.size, low, high)

    def assemble(self, states: Mapping[int, State]) -> Parameters:
        """Return the parameters of the network from the states of its groups. The arrays do not depend on the group size."""
        biases = [np.zeros(size) for size in self.layers]
        weights = [np.zeros((above, below)) for above, below in zip(self.layers, self.layers[1:], strict=False)]
        for number, state in states.items():
            group = self.groups[number]
            biases[group.layer][group.columns] = state.bias[0]
            column = 0
            for receiver in (self.groups[below] for below in self.receivers[number]):
                weights[group.layer][group.columns, receiver.columns] = state.weights[
                    :, column : column + receiver.size
                ]
                column += receiver.size
        return Parameters(tuple(biases), tuple(weights))

    def divide(self, parameters: Parameters) -> dict[int, State]:
        """Return the states of the groups from the parameters of the network: the inverse of `assemble`."""
        states = {}
        for number, group in self.groups.items():
            axon = [
                parameters.weights[group.layer][group.columns, self.groups[below].columns]
                for below in self.receivers[number]
            ]
            weights = np.concatenate(axon, axis=1) if axon else np.empty((group.size, 0))
            states[number] = state_of(
                np.ascontiguousarray(parameters.biases[group.layer][None, group.columns]), weights
            )
        return states


def layer_names(layers: tuple[int, ...], layer: int) -> tuple[str, ...]:
    """Return the names of the neurons of a layer, in order."""
    if layer == 0:
        word = "input"
    elif layer == len(layers) - 1:
        word = "output"
    else:
        word = "hidden" if len(layers) == 3 else f"hidden{layer}"
    return tuple(f"{word}.{index}" for index in range(layers[layer]))


def weight_range(network: NetworkSettings, fan_in: int, fan_out: int) -> tuple[float, float]:
    """Return the range of the initial weights between two layers.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010):
    ±sqrt(6 / (fan in + fan out)).
    """
    if network.weights != "glorot":
        return network.weights
    limit = float(np.sqrt(6.0 / (fan_in + fan_out)))
    return -limit, limit
