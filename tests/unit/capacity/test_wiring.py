"""Which wiring a run gets, and the counts by which `auto` decides."""

from __future__ import annotations

import pytest

from coordinator.capacity.wiring import DIRECT_PAIRS_AT_MOST, most_peers_of, pairs_of, picked_wiring, told
from coordinator.errors import UserError
from coordinator.topology import Topology
from neuron_node.role import OUTSIDE


@pytest.mark.parametrize("layers", [(4, 8, 3), (2, 1), (64, 12, 10), (7, 5, 6, 3)])
@pytest.mark.parametrize("group_size", [1, 2, 5, 100])
def test_pairs_are_those_of_the_topology(layers: tuple[int, ...], group_size: int) -> None:
    """Counted one by one: who hears whom, the coordinator with inputs and outputs, and who has most peers."""
    topology = Topology(layers, group_size)
    pairs = {*topology.blocks}
    pairs |= {(OUTSIDE, group.number) for group in (*topology.inputs, *topology.outputs)}
    assert pairs_of(layers, group_size) == len(pairs)
    most = max(sum(one in pair for pair in pairs) for one in (OUTSIDE, *topology.groups))
    assert most_peers_of(layers, group_size) == most


def test_few_nodes_are_few_pairs() -> None:
    """However many groups they host, each can hear all others and the coordinator, and no more."""
    assert pairs_of((64, 12, 10), 1, nodes=3) == 3 + 3 and most_peers_of((64, 12, 10), 1, nodes=3) == 3
    assert pairs_of((2, 1), 1, nodes=3) == pairs_of((2, 1), 1)
    assert picked_wiring("auto", (64, 12, 10), 1, nodes=3) == "direct"
    assert told("direct", (64, 12, 10), 1, nodes=3).startswith("wiring auto: direct, 6 pairs")


def test_auto_is_direct_for_few_pairs() -> None:
    """Up to the bound, and through the broker beyond it, or where nodes are to be cut off; it says why."""
    assert pairs_of((30, 1), 1) == 61 and pairs_of((15, 1), 1) == 31 <= DIRECT_PAIRS_AT_MOST
    assert picked_wiring("auto", (15, 1), 1) == "direct"
    assert picked_wiring("auto", (30, 1), 1) == "broker"
    assert picked_wiring("auto", (15, 1), 1, relayed=True) == "broker"
    assert told("direct", (15, 1), 1).startswith("wiring auto: direct, 31 pairs")


def test_wiring_that_was_asked_for_is_taken() -> None:
    """Whatever it costs; but what can't be together is refused in one line."""
    assert picked_wiring("direct", (64, 12, 10), 1) == "direct"
    assert picked_wiring("broker", (4, 3, 2), 100, relayed=True) == "broker"
    with pytest.raises(UserError, match=r"^--chaos partition .* --wiring broker$"):
        picked_wiring("direct", (4, 3, 2), 1, relayed=True)
