"""The line of a link that is for another run than the present one, and the button that begins that run."""

from __future__ import annotations

from nicegui import ui

from coordinator.dashboard.link import command_of, differences
from coordinator.dashboard.panels.markup import button, hint
from coordinator.dashboard.panels.restart import RestartDialog
from coordinator.dashboard.view import View


class LinkOffer:
    """Says how the settings of the link differ from those of the run. Nothing begins without the operator."""

    def __init__(self, view: View, restart: RestartDialog | None) -> None:
        self._view = view
        self._restart = restart
        with ui.element("div").classes("line offer").props("role=status") as self._line:
            self._text = hint()
            self._begin = button("Begin that run…", "Begin a run with the settings of the link")
            self._begin.on_click(self._open)
            button("Stay", "Stay with the present run").on_click(self._stay)
        self._line.visible = False

    def refresh(self) -> None:
        """Show the line if the link is for another run."""
        board, session = self._view.board, self._view.session
        if not session.wanted or board.network is None or not board.status:
            return
        others = differences(session.wanted, board.status, board.network)
        self._line.visible = bool(others)
        if not others:
            # From now on the link has the settings of the run.
            session.wanted = {}
            return
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in others.items())
        can_begin = self._restart is not None and bool(board.status.get("restarts"))
        self._begin.visible = can_begin
        self._text.text = f"The link is for another run: {words}."
        if not can_begin:
            self._text.text += f" To begin it: {command_of(session.wanted)}"

    def _open(self) -> None:
        if self._restart is not None:
            self._restart.open_with(self._view.session.wanted)

    def _stay(self) -> None:
        self._view.session.wanted = {}
        self._line.visible = False
