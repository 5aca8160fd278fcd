"""When a page says where it is, if it waits for a network: as its first and as its last line."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("nicegui", reason="NiceGUI is not installed (pip install 'exmachina[dashboard]')")

from coordinator.client import Client
from coordinator.core.access import Access
from coordinator.dashboard.server import Dashboard
from coordinator.errors import NobodyAnswers
from tests.networks import TRAINING


def refused(_access: Access, _patience: float) -> Client:
    raise NobodyAnswers("no coordinator answers")


def test_the_addresses_are_told_when_there_is_a_network_and_when_it_is_trained() -> None:
    """Not again at a pause or after a coordinator that was gone, but for each run that is trained."""
    told: list[str] = []
    dashboard = Dashboard(refused, lambda: told.append(dashboard.board.state))

    def receive(**status: Any) -> None:
        dashboard._receive("receive_status", [{**TRAINING, **status}])

    receive()
    assert told == []
    dashboard.board.values["numbers"] = b""
    receive()
    receive(pauses_after=4)
    receive()
    assert told == ["training"]
    receive(state="idle")
    dashboard._receive("absent", ["no coordinator answers"])
    receive(state="idle")
    assert told == ["training", "idle"]
    receive()
    receive(state="idle")
    assert told == ["training", "idle", "idle"]


def test_a_network_that_was_trained_before_is_told_once() -> None:
    """The page came later."""
    told: list[str] = []
    dashboard = Dashboard(refused, lambda: told.append("told"))
    dashboard.board.values["numbers"] = b""
    for _ in range(3):
        dashboard._receive("receive_status", [{**TRAINING, "state": "idle"}])
    assert told == ["told"]
