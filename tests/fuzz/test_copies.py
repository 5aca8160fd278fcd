"""Copies of live frames, half of them altered, change no weight and no row of the metrics."""

from __future__ import annotations

import pytest

from neuron_node import node as node_module
from neuron_node.inbox import Inbox
from neuron_node.local_delivery import joined
from tests.fuzz import plans
from tests.fuzz.copies import copy_frames, main

COPIES = 4_000


@pytest.mark.parametrize("index", range(len(plans())))
def test_the_first_copy_counts(index: int) -> None:
    """In nodes and in the coordinator, at any time, alone and joined."""
    altered, faults = copy_frames(plans()[index], COPIES, seed=index)
    assert altered >= COPIES // 2 and faults == []


def test_a_copy_that_replaces_the_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bug planted in the inbox, the comparison fails."""
    real = Inbox.offer

    def offer(self: Inbox, slot: object, frame: bytes) -> object:
        self._got.pop(slot.place, None)  # type: ignore[attr-defined]
        self.missing = self.layout.count - len(self._got)
        return real(self, slot, frame)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "offer", offer)
    assert copy_frames(plans()[0], COPIES, seed=1)[1]


def test_a_copy_that_overtakes_the_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that a node takes at once were once joined by their length, so a joined copy could come before the frame."""
    monkeypatch.setattr(node_module, "joined_in_turn", joined)
    assert copy_frames(plans()[0], COPIES, seed=1)[1]


@pytest.mark.slow
def test_a_million_copies_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The figure of docs/reliability.md."""
    assert main([]) == 0
    assert capsys.readouterr().out.count("the same weights and metrics") == len(plans())
