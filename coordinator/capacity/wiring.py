"""The choice of the wiring: data go through the broker, or directly from program to program.

Control messages always go through the broker. Connections cost memory, and many small messages over many connections cost
more system calls than the broker needs. So direct wiring is for networks of few programs, where it saves one hop per message.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from coordinator.defaults import Wiring
from coordinator.errors import UserError

DIRECT_PAIRS_AT_MOST = 32
"""The largest number of pairs of programs with which `auto` takes direct wiring."""


def pairs_of(layers: Sequence[int], group_size: int, nodes: int | None = None) -> int:
    """Return the number of pairs of programs that exchange data: groups of adjacent layers, and the coordinator.

    With `nodes` that host all groups, this is an upper limit: each node with all others and the coordinator.
    """
    groups = [math.ceil(neurons / group_size) for neurons in layers]
    pairs = sum(above * below for above, below in itertools.pairwise(groups)) + groups[0] + groups[-1]
    return pairs if nodes is None else min(pairs, nodes * (nodes + 1) // 2)


def most_peers_of(layers: Sequence[int], group_size: int, nodes: int | None = None) -> int:
    """Return the largest number of programs from which one program receives data; with `nodes`, an upper limit."""
    if nodes is not None:
        return nodes
    groups = [math.ceil(neurons / group_size) for neurons in layers]
    around = [1, *groups, 1]
    return max(groups[0] + groups[-1], *(a + b for a, b in zip(around, around[2:], strict=False)))


def picked_wiring(
    wanted: str, layers: Sequence[int], group_size: int, *, nodes: int | None = None, relayed: bool = False
) -> Wiring:
    """Return the requested wiring, or the choice for `auto`. Raises `UserError`."""
    if wanted == "direct":
        check_relayed(wanted, relayed=relayed)
        return "direct"
    few = pairs_of(layers, group_size, nodes) <= DIRECT_PAIRS_AT_MOST
    return "direct" if wanted == "auto" and few and not relayed else "broker"


def check_relayed(wiring: str, *, relayed: bool) -> None:
    """Raise `UserError` if nodes of a run with direct wiring shall be disconnected, which is not possible."""
    if relayed and wiring == "direct":
        raise UserError(
            "--chaos partition cuts nodes off from the broker, and this run is wired directly; take --wiring broker"
        )


def told(wiring: Wiring, layers: Sequence[int], group_size: int, nodes: int | None = None) -> str:
    """Return one line with the choice of `auto` and its reason."""
    pairs = pairs_of(layers, group_size, nodes)
    return f"wiring auto: {wiring}, {pairs:,} pairs of programs exchange data (direct up to {DIRECT_PAIRS_AT_MOST})"
