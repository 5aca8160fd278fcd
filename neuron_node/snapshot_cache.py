"""The copies of states that a node keeps of its groups, so that a rollback needs no transfer."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from neuron_node.protocol import State

KEPT = 2


def digest_of(state: State) -> bytes:
    """Return the SHA-256 of a state: of the shapes, and of the numbers in C order."""
    digest = hashlib.sha256(repr((state.bias.shape, state.weights.shape)).encode())
    digest.update(state.bias.tobytes())
    digest.update(state.weights.tobytes())
    return digest.digest()


class SnapshotCache:
    """The last two copies of each group, by the step after which each was made."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[int, State]] = {}

    def keep(self, group: int, step: int, state: State) -> None:
        """Keep a copy, and drop the oldest if there are more than two. Learning makes new arrays, so a reference is enough."""
        kept = self._kept.setdefault(group, {})
        kept.pop(step, None)
        kept[step] = state
        while len(kept) > KEPT:
            del kept[min(kept)]

    def of(self, group: int, step: int) -> State | None:
        """Return the copy after a step; None if it is not kept."""
        return self._kept.get(group, {}).get(step)

    def matching(self, group: int, step: int, digest: bytes) -> State | None:
        """Return the copy after a step if it has this digest; else None."""
        state = self.of(group, step)
        return state if state is not None and digest_of(state) == digest else None

    def roll_back(self, group: int, step: int) -> None:
        """Drop the copies after a later step: the rollback has undone these steps."""
        kept = self._kept.get(group, {})
        for later in [known for known in kept if known > step]:
            del kept[later]

    def retain(self, groups: Collection[int]) -> None:
        """Keep only the copies of these groups."""
        self._kept = {group: kept for group, kept in self._kept.items() if group in groups}
