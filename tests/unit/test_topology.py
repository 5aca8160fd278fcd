"""Which neurons there are, and how the whole network's numbers become groups' and back."""

from __future__ import annotations

import hashlib
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.topology import Parameters, Topology, layer_names, weight_range
from neuron_node.codec import decode, encode
from neuron_node.protocol import Grant, Placement
from tests.networks import numbers, seed_settings, settings_of
from tests.roles import header

shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple)


def parameters_of(layers: tuple[int, ...]) -> Parameters:
    return Parameters(
        tuple(numbers(f"bias {layer}", 1, size)[0] for layer, size in enumerate(layers)),
        tuple(
            numbers(f"weight {layer}", above, below) for layer, (above, below) in enumerate(itertools.pairwise(layers))
        ),
    )


@given(layers=shapes, group_size=st.integers(1, 7))
def test_groups_divide_every_layer_in_order(layers: tuple[int, ...], group_size: int) -> None:
    """Each neuron is in one group, no group is larger than asked or of two layers, and numbers begin at 1."""
    topology = Topology(layers, group_size)
    names = [name for group in topology.groups.values() for name in group.names]
    assert names == [name for layer in range(len(layers)) for name in layer_names(layers, layer)]
    assert list(topology.groups) == list(range(1, len(topology.groups) + 1))
    assert all(1 <= group.size <= group_size for group in topology.groups.values())
    assert topology.neurons == sum(layers)
    assert topology.synapses == sum(a * b for a, b in itertools.pairwise(layers))


@given(layers=shapes, group_size=st.integers(1, 7))
def test_dividing_and_assembling_undo_each_other(layers: tuple[int, ...], group_size: int) -> None:
    """To the bit, whatever the group size: so the digest does not depend on it."""
    topology, whole = Topology(layers, group_size), parameters_of(layers)
    again = topology.assemble(topology.divide(whole))
    assert again.sha256() == whole.sha256()
    assert [array.tolist() for array in again.weights] == [array.tolist() for array in whole.weights]


@given(layers=shapes, group_size=st.integers(1, 7))
def test_roles_fit_one_another(layers: tuple[int, ...], group_size: int) -> None:
    """Who sends is who is heard, with the sizes that both sides expect; a role survives its way over the wire."""
    topology = Topology(layers, group_size)
    roles = {number: topology.role(number, settings_of(layers), seed=3) for number in topology.groups}
    sent = {(number, block.receiver, block.size) for number, role in roles.items() for block in role.blocks}
    heard = {(sender.group, number, role.size) for number, role in roles.items() for sender in role.senders}
    assert sent == heard
    assert all(sender.size == roles[sender.group].size for role in roles.values() for sender in role.senders)
    assert [role.is_input for role in roles.values()] == [group.layer == 0 for group in topology.groups.values()]
    assert [role.is_output for role in roles.values()] == [
        group.layer == len(layers) - 1 for group in topology.groups.values()
    ]
    grant = Grant(header(), tuple(Placement(role, 0, None) for role in roles.values()))
    assert decode(encode(grant)) == grant


def test_neurons_are_named_by_layer_and_place() -> None:
    """With one hidden layer without its number, with several with it."""
    assert list(Topology((1, 2, 1), 1).group_of) == ["input.0", "hidden.0", "hidden.1", "output.0"]
    assert list(Topology((1, 1, 1, 1), 9).group_of) == ["input.0", "hidden1.0", "hidden2.0", "output.0"]
    assert list(Topology((1, 1), 1).group_of) == ["input.0", "output.0"]


def test_the_digest_is_over_all_numbers_in_a_fixed_order() -> None:
    """Layer by layer, bias before weights, little-endian float64: by Python's own struct."""
    whole = Parameters((np.array([1.0, 2.0]), np.array([3.0])), (np.array([[4.0], [5.0]]),))
    assert whole.sha256() == hashlib.sha256(struct.pack("<5d", 1.0, 2.0, 4.0, 5.0, 3.0)).hexdigest()


@pytest.mark.parametrize("place", range(5))
def test_the_digest_sees_the_last_bit_of_every_number(place: int) -> None:
    """One unit in the last place of any of them is another digest; so is the sign of a zero."""
    flat = np.array([1.0, 2.0, 3.0, 4.0, 0.0])
    other = flat.copy()
    other[place] = np.nextafter(other[place], np.inf) if place < 4 else -0.0
    digests = {
        Parameters((numbers_[:2], numbers_[2:3]), (numbers_[3:].reshape(2, 1),)).sha256() for numbers_ in (flat, other)
    }
    assert len(digests) == 2


def test_the_digest_does_not_depend_on_the_memory_layout() -> None:
    """Fortran order and big-endian are the same numbers."""
    bias, weights = np.zeros(3), np.arange(6.0).reshape(3, 2)
    one = Parameters((bias, np.zeros(2)), (weights,))
    other = Parameters((bias.astype(">f8"), np.zeros(2)), (np.asfortranarray(weights),))
    assert one.sha256() == other.sha256()


def test_first_weights_have_glorots_range_or_the_presets() -> None:
    """±sqrt(6 / (fan in + fan out)); the seed's is [-1, 1)."""
    assert weight_range(settings_of((2, 4, 1)), 2, 4) == (-1.0, 1.0)
    assert weight_range(settings_of((2, 4, 1)), 4, 20) == (-0.5, 0.5)
    assert weight_range(seed_settings((2, 4, 1)), 2, 4) == (-1.0, 1.0)


def test_inputs_have_a_bias_only_where_the_preset_says_so() -> None:
    """And learn it only where biases are learned at all."""
    plain, seed = (
        Topology((1, 1), 1).role(1, settings_of((1, 1)), 0),
        Topology((1, 1), 1).role(1, seed_settings((1, 1)), 0),
    )
    assert (plain.bias_low, plain.bias_high, plain.bias_learned, plain.activation) == (0.0, 0.0, False, "identity")
    assert (seed.bias_low, seed.bias_high, seed.bias_learned, seed.activation) == (-3.0, -1.0, False, "logistic")
    both = settings_of((1, 1), input_bias=True, biases=(-0.5, 0.5))
    assert Topology((1, 1), 1).role(1, both, 0).bias_learned
