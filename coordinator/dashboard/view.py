"""What a page and its panels share: the board, the browser's session, and how to send a request for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from coordinator.client import NO_ROWS
from coordinator.core.access import Access
from coordinator.dashboard.board import Board
from coordinator.dashboard.door import Door
from coordinator.dashboard.session import Session
from coordinator.errors import JobError, UserError
from neuron_node.activations import Array


class Panel(Protocol):
    """A part of the page."""

    def refresh(self) -> None:
        """Change what is new."""


class View:
    """The page of one browser."""

    def __init__(self, board: Board, door: Door, session: Session) -> None:
        self.board = board
        self.session = session
        self.say: Callable[[str], None] = lambda _text: None
        """Shows a line to the visitor: the result of what they did."""
        self._door = door

    @property
    def may_operate(self) -> bool:
        """Whether the visitor may change the run."""
        return self.session.access is Access.OPERATOR

    async def ask(self, command: str, rows: Array = NO_ROWS, **arguments: Any) -> Mapping[str, Any] | None:
        """Send a request with the visitor's access. If it is refused, say so in one line, and return None."""
        try:
            facts, _ = await self._door.ask(self.session.access, command, rows, **arguments)
        except (UserError, JobError) as fault:
            self.say(str(fault))
            return None
        return facts

    def select(self, name: str) -> None:
        """Select a neuron, in the picture too."""
        self.session.selected = name
        self.session.slot.put({"selected": name})
        self.session.changed("selected")
