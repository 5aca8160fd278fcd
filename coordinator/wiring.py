"""Which way data go: through the broker, or straight from program to program. Control goes through the broker either way.

A connection costs memory and, where many small messages go over many of them, far more system calls than the broker
needs. So direct wiring is for networks of few programs, and there it saves a hop a message.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from coordinator.errors import UserError

Wiring = Literal["broker", "direct"]
DIRECT_PAIRS_AT_MOST = 32
"""Pairs of programs that hear each other, up to which `auto` takes direct wiring."""


def pairs_of(layers: Sequence[int], group_size: int, nodes: int | None = None) -> int:
    """How many pairs of programs hear each other's data: groups of adjacent layers, and the coordinator with both ends.

    With `nodes` that host all groups, at the most: each of them with all others and the coordinator.
    """
    groups = [math.ceil(neurons / group_size) for neurons in layers]
    pairs = sum(above * below for above, below in itertools.pairwise(groups)) + groups[0] + groups[-1]
    return pairs if nodes is None else min(pairs, nodes * (nodes + 1) // 2)


def most_peers_of(layers: Sequence[int], group_size: int, nodes: int | None = None) -> int:
    """How many others the one program hears that hears most of them; with `nodes` that host all groups, at the most."""
    if nodes is not None:
        return nodes
    groups = [math.ceil(neurons / group_size) for neurons in layers]
    around = [1, *groups, 1]
    return max(groups[0] + groups[-1], *(a + b for a, b in zip(around, around[2:], strict=False)))


def picked_wiring(
    wanted: str, layers: Sequence[int], group_size: int, *, nodes: int | None = None, relayed: bool = False
) -> Wiring:
    """The wiring that was asked for; for `auto`, what suits such a network. Raises `UserError`."""
    if wanted == "direct":
        check_relayed(wanted, relayed=relayed)
        return "direct"
    few = pairs_of(layers, group_size, nodes) <= DIRECT_PAIRS_AT_MOST
    return "direct" if wanted == "auto" and few and not relayed else "broker"


def check_relayed(wiring: str, *, relayed: bool) -> None:
    """Raises `UserError` for a run that is wired directly and whose nodes are to be cut off: they can't be, so far."""
    if relayed and wiring == "direct":
        raise UserError(
            "--chaos partition cuts nodes off from the broker, and this run is wired directly; take --wiring broker"
        )


def told(wiring: Wiring, layers: Sequence[int], group_size: int, nodes: int | None = None) -> str:
    """One line for people: what `auto` has picked, and why."""
    pairs = pairs_of(layers, group_size, nodes)
    return f"wiring auto: {wiring}, {pairs:,} pairs of programs hear each other (direct up to {DIRECT_PAIRS_AT_MOST})"
