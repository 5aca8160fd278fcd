"""First weights: frozen, and a neuron's own."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.defaults import NetworkSettings
from coordinator.topology import Topology
from neuron_node.initializers import initial_bias_and_weights, uniform
from neuron_node.protocol import state_of
from neuron_node.role import Block
from tests.networks import seed_settings, settings_of
from tests.roles import role_of

FROZEN = {
    (0, "input.0"): [0.6142387581379287, 0.9946073835582159, 0.16383806432603365],
    (1, "hidden.3"): [0.8306651426870729, 0.8533001034571791, 0.7511745022066953],
    (2**63 - 1, "output.9"): [0.7943435119596215, 0.9371339022364544, 0.06075272601169479],
}


@pytest.mark.parametrize(("seed", "name"), sorted(FROZEN))
def test_the_stream_never_changes(seed: int, name: str) -> None:
    """Known numbers, to the last bit: a network of an earlier version starts from the same weights."""
    assert uniform(seed, name, 3).tolist() == FROZEN[seed, name]


def test_random_stream_is_shake_256_as_documented() -> None:
    """53 leading bits of little-endian 64-bit words of SHAKE-256, by Python's own integers."""
    stream = hashlib.shake_256(b"exmachina 7 hidden.1").digest(40)
    words = [int.from_bytes(stream[start : start + 8], "little") for start in range(0, 40, 8)]
    assert uniform(7, "hidden.1", 5).tolist() == [(word >> 11) / 2**53 for word in words]


@given(seed=st.integers(0, 2**63 - 1), name=st.text(max_size=20), count=st.integers(0, 40))
def test_numbers_are_pure_bounded_and_a_prefix_of_more(seed: int, name: str, count: int) -> None:
    """The same every time, in [0, 1), and the first ones do not depend on how many are drawn."""
    drawn = uniform(seed, name, count)
    assert drawn.shape == (count,)
    assert ((drawn >= 0.0) & (drawn < 1.0)).all()
    assert drawn.tolist() == uniform(seed, name, count + 3)[:count].tolist()


def test_seeds_and_names_have_streams_of_their_own() -> None:
    """No two of them begin alike."""
    firsts = {
        float(uniform(seed, f"{layer}.{index}", 1)[0])
        for seed in range(5)
        for layer in ("input", "hidden")
        for index in range(20)
    }
    assert len(firsts) == 200


def test_numbers_are_spread_evenly() -> None:
    """Of 10,000, mean and variance are those of the uniform distribution within five standard errors."""
    drawn = uniform(3, "spread", 10_000)
    assert abs(drawn.mean() - 0.5) < 5 * (1 / 12 / 10_000) ** 0.5
    assert abs(drawn.var() - 1 / 12) < 5 * (1 / 180 / 10_000) ** 0.5


@pytest.mark.parametrize("settings", [settings_of((5, 4, 3)), seed_settings((5, 4, 3))], ids=["glorot", "exmachina"])
def test_first_numbers_do_not_depend_on_the_group_size(settings: NetworkSettings) -> None:
    """Groups of 1, 2, 3 or a whole layer: the same network to the bit."""
    networks = []
    for group_size in (1, 2, 3, 5):
        topology = Topology(settings.layers, group_size)
        states = {}
        for number in topology.groups:
            bias, weights = initial_bias_and_weights(topology.role(number, settings, seed=9))
            states[number] = state_of(bias[None, :], weights)
        networks.append(topology.assemble(states).sha256())
    assert len(set(networks)) == 1


def test_each_block_and_the_bias_have_their_range() -> None:
    """Weights lie in their own block's range, biases in theirs; an empty range is its only number."""
    role = role_of(
        tuple(f"n{index}" for index in range(50)),
        blocks=(Block(3, 3, 20, -0.5, 0.5), Block(4, 3, 10, 7.0, 8.0)),
        bias_low=-3.0,
        bias_high=-1.0,
    )
    bias, weights = initial_bias_and_weights(role)
    assert weights.shape == (50, 30)
    assert -0.5 <= weights[:, :20].min() < -0.4 and 0.4 < weights[:, :20].max() < 0.5
    assert weights[:, 20:].min() >= 7.0 and weights[:, 20:].max() < 8.0
    assert bias.min() >= -3.0 and bias.max() < -1.0
    assert initial_bias_and_weights(role_of(bias_low=0.0, bias_high=0.0))[0].tolist() == [0.0]


def test_a_neuron_without_an_axon_has_a_bias_alone() -> None:
    """Output neurons have no weights, and the bias that every neuron of this name and seed has."""
    bias, weights = initial_bias_and_weights(role_of(("output.0",), blocks=(), bias_low=0.0, bias_high=1.0, seed=4))
    assert weights.shape == (1, 0)
    assert bias.tolist() == uniform(4, "output.0", 1).tolist()
