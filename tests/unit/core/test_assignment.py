"""Which groups live together: every group once, every layer as evenly as can be, and the same whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.assignment import groups_by_node
from coordinator.topology import Topology


@given(layers=st.lists(st.integers(1, 9), min_size=2, max_size=5), group_size=st.integers(1, 4), data=st.data())
def test_every_group_has_one_node_and_every_node_a_group(
    layers: list[int], group_size: int, data: st.DataObject
) -> None:
    """And of each layer, nodes have as many groups as each other, or one more."""
    topology = Topology(tuple(layers), group_size)
    nodes = data.draw(st.integers(1, len(topology.groups)))
    shares = groups_by_node(topology, nodes)
    assert len(shares) == nodes and all(shares)
    assert sorted(group for share in shares for group in share) == list(topology.groups)
    for layer in range(len(layers)):
        counts = [sum(topology.groups[group].layer == layer for group in share) for share in shares]
        if sum(counts) >= nodes:
            assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("nodes", "shares"),
    [
        (1, [[1, 2, 3, 4, 5, 6]]),
        (2, [[1, 4, 6], [2, 3, 5]]),
        (3, [[1, 4], [2, 5], [3, 6]]),
        (4, [[1, 5], [2, 6], [3], [4]]),
        (None, [[1], [2], [3], [4], [5], [6]]),
    ],
)
def test_a_layer_is_cut_into_runs_in_the_order_of_its_groups(nodes: int | None, shares: list[list[int]]) -> None:
    """What is too small to be cut goes to those that have least; without a number, each group has a node of its own."""
    assert groups_by_node(Topology((3, 2, 1), 1), nodes) == shares
