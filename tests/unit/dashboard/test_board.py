"""What the page says of a coordinator that answers no more."""

from __future__ import annotations

import numpy as np
import pytest

from coordinator.dashboard.board import ABSENT, Board
from tests.networks import TRAINING, encoding_of, settings_of


@pytest.mark.parametrize("ending", ["stopping", "ended"])
def test_a_run_that_has_ended_is_not_absent(ending: str) -> None:
    """The coordinator says before its end that it ends, in an event or in its status."""
    for news in ("event", "status"):
        board = Board()
        board.receive_status(TRAINING)
        if news == "event":
            board.receive_event("state", {"state": ending})
        else:
            board.receive_status({**TRAINING, "state": ending})
        board.absent("no coordinator answers")
        assert (board.state, board.why_absent) == ("ended", "the run has ended")


def test_a_coordinator_that_is_gone_without_a_word_is_absent() -> None:
    """Also one that was idle; when it answers again, nothing is left of that."""
    board = Board()
    board.receive_status({**TRAINING, "state": "idle"})
    board.receive_event("state", {"state": "idle"})
    board.absent("no coordinator answers")
    assert (board.state, board.why_absent) == (ABSENT, "no coordinator answers")
    board.receive_status(TRAINING)
    assert (board.state, board.why_absent) == ("training", "")


def test_the_coordinator_of_the_next_run_may_be_gone_too() -> None:
    """The end of the run before says nothing of it."""
    board = Board()
    board.receive_event("state", {"state": "stopping"})
    board.absent("no coordinator answers")
    board.receive_status(TRAINING)
    board.absent("no coordinator answers")
    assert board.state == ABSENT


def test_a_network_is_described_only_by_the_status_of_its_own_run() -> None:
    """After a restart, the status of the next run comes before its network."""
    board = Board()
    encoding = encoding_of(2, 1, classes=True).to_json()
    network = settings_of((2, 3, 1)).to_json()
    found = []
    board.receive_status({**TRAINING, "run": "first"})
    found.append(board.is_described)
    board.describe("first", {"network": network, "encoding": encoding, "held_out": 0}, np.zeros((4, 4)))
    found.append(board.is_described)
    board.receive_status({**TRAINING, "run": "second"})
    found.append(board.is_described)
    assert found == [False, True, False]
