"""The states that a node keeps of its groups, so that a rollback needs none of them to travel."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from neuron_node.protocol import State

KEPT = 2


def digest_of(state: State) -> bytes:
    """SHA-256 of a state's numbers, in C order as they stand in memory, and of their shapes."""
    digest = hashlib.sha256(repr((state.bias.shape, state.weights.shape)).encode())
    digest.update(state.bias.tobytes())
    digest.update(state.weights.tobytes())
    return digest.digest()


class SnapshotCache:
    """The last two copies of each group, by the step after which they were taken."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[int, State]] = {}

    def keep(self, group: int, step: int, state: State) -> None:
        """Keep a copy; the oldest makes room. Learned arrays are never changed in place, so a reference will do."""
        kept = self._kept.setdefault(group, {})
        kept.pop(step, None)
        kept[step] = state
        while len(kept) > KEPT:
            del kept[min(kept)]

    def of(self, group: int, step: int) -> State | None:
        """The copy that was taken after a step, if it is still here."""
        return self._kept.get(group, {}).get(step)

    def matching(self, group: int, step: int, digest: bytes) -> State | None:
        """The same, if it is the very state of the digest."""
        state = self.of(group, step)
        return state if state is not None and digest_of(state) == digest else None

    def roll_back(self, group: int, step: int) -> None:
        """Let go of copies from after a step: they belong to a course of events that is over."""
        kept = self._kept.get(group, {})
        for later in [known for known in kept if known > step]:
            del kept[later]

    def retain(self, groups: Collection[int]) -> None:
        """Let go of every group but these."""
        self._kept = {group: kept for group, kept in self._kept.items() if group in groups}
