"""Initial weights and biases: a pure function of the seed and the neuron's name.

The numbers come from SHAKE-256 (FIPS 202), a frozen standard. `numpy.random.Generator` may change its streams between
versions, but a network must start from the same numbers on every host and in every placement of its neurons.
"""

from __future__ import annotations

import hashlib

import numpy as np

from neuron_node.activations import Array
from neuron_node.role import Role


def uniform(seed: int, name: str, count: int) -> Array:
    """Return `count` numbers uniform in [0, 1), shape (count,).

    Each number is the 53 leading bits of a little-endian 64-bit word of the stream, divided by 2^53.
    """
    stream = hashlib.shake_256(f"exmachina {seed} {name}".encode())
    words = np.frombuffer(stream.digest(8 * count), dtype="<u8")
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def initial_bias_and_weights(role: Role) -> tuple[Array, Array]:
    """Return a group's initial biases (neurons,) and weights (neurons, synapses).

    The first number of a neuron's stream gives its bias; the other numbers give the weights of its axon, in synapse order.
    """
    low = np.repeat([block.weight_low for block in role.blocks], [block.size for block in role.blocks])
    high = np.repeat([block.weight_high for block in role.blocks], [block.size for block in role.blocks])
    bias = np.empty(role.size)
    weights = np.empty((role.size, role.fan_out))
    for row, name in enumerate(role.names):
        numbers = uniform(role.seed, name, 1 + role.fan_out)
        bias[row] = role.bias_low + (role.bias_high - role.bias_low) * numbers[0]
        weights[row] = low + (high - low) * numbers[1:]
    return bias, weights
