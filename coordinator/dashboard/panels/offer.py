"""The line of a link that is for another run than the present one, and the button that begins that run."""

from __future__ import annotations

from nicegui import ui

from coordinator.dashboard.link import command_of, differences, settings_to_begin, words_of
from coordinator.dashboard.panels.markup import button, hint
from coordinator.dashboard.panels.restart import RestartDialog
from coordinator.dashboard.view import View


class LinkOffer:
    """Says how the settings of the link differ from those of the run. Nothing begins without the operator."""

    def __init__(self, view: View, restart: RestartDialog | None) -> None:
        self._view = view
        self._restart = restart
        self._others: dict[str, str] = {}
        with ui.element("div").classes("line offer").props("role=status") as self._line:
            self._text = hint()
            self._begin = button("Begin that run…", "Begin a run with the settings of the link")
            self._begin.on_click(self._open)
            button("Stay", "Stay with the present run").on_click(self._stay)
        self._line.visible = False

    def refresh(self) -> None:
        """Show the line if the link is for another run."""
        board, session = self._view.board, self._view.session
        if not session.wanted or not board.is_described:
            return
        assert board.network is not None and board.encoding is not None
        self._others = differences(session.wanted, board.status, board.network, board.encoding.target_name)
        self._line.visible = bool(self._others)
        if not self._others:
            # From now on the link has the settings of the run.
            session.wanted = {}
            return
        self._begin.visible = self._restart is not None and bool(board.status["restarts"])
        self._text.text = f"The link is for another run: {words_of(self._others)}.{self._how()}"

    def _how(self) -> str:
        """Say how that run can begin, unless the button says it."""
        status = self._view.board.status
        if status["restarts"]:
            return "" if self._restart is not None else " An operator can begin it."
        command = command_of(self._view.session.wanted, status["dataset"])
        return f" To begin it: {command}" if command else ""

    def _open(self) -> None:
        if self._restart is not None:
            self._restart.open_with(settings_to_begin(self._view.session.wanted, self._others))

    def _stay(self) -> None:
        self._view.session.wanted = {}
        self._line.visible = False
