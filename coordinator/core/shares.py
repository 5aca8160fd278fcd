"""Which groups live together, where there are fewer nodes than groups."""

from __future__ import annotations

from coordinator.topology import Topology


def shares_of(topology: Topology, nodes: int | None) -> list[list[int]]:
    """The groups of each node, by number; with None, one group a node.

    Each layer's groups are cut into as many runs as there are nodes, as evenly as can be, so that all of them work at the
    same time. A layer of fewer groups gives each of them to the node that has least so far.
    """
    if nodes is None:
        return [[group] for group in topology.groups]
    shares: list[list[int]] = [[] for _ in range(nodes)]
    for layer in range(len(topology.layers)):
        groups = [group.number for group in topology.groups.values() if group.layer == layer]
        if len(groups) < nodes:
            for group in groups:
                min(shares, key=len).append(group)
            continue
        for node in range(nodes):
            shares[node] += groups[node * len(groups) // nodes : (node + 1) * len(groups) // nodes]
    return shares
