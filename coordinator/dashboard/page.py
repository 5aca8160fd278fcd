"""The page of one browser: its panels, what is hidden, and the link that says what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nicegui import ui

from coordinator.dashboard.link import link_of, settings_of_link, settings_of_run
from coordinator.dashboard.panels.controls import Controls
from coordinator.dashboard.panels.curves import CurvesPanel
from coordinator.dashboard.panels.markup import hint, panel
from coordinator.dashboard.panels.neuron import NeuronPanel
from coordinator.dashboard.panels.nodes import NodesPanel
from coordinator.dashboard.panels.predictions import PredictionsPanel
from coordinator.dashboard.panels.timeline import TimelinePanel
from coordinator.dashboard.view import Panel, View

PANELS = {
    "picture": "Network",
    "neuron": "Neuron",
    "curves": "Curves",
    "predictions": "Predictions",
    "nodes": "Programs",
    "timeline": "Timeline",
}
"""The panels that a visitor may hide, by their names in the link."""
LONGEST_NAME = 64


class Page:
    """Builds the page, and keeps it up to date."""

    def __init__(self, view: View, session_id: str, query: Mapping[str, str]) -> None:
        """Build the elements in the present slot. `query` are the parameters of the link."""
        self._view, self._session = view, view.session
        selected = query.get("select", "")[:LONGEST_NAME]
        self._session.selected = selected if selected.isprintable() else ""
        self._session.hidden = {name for name in query.get("hide", "").split(",") if name in PANELS}
        wanted = settings_of_link(query)
        self._session.wanted = wanted.settings
        self._link = ""
        self._elements: dict[str, ui.element] = {}
        self._panels: list[Panel] = []
        with ui.element("div").classes("dashboard"):
            self._panels.append(Controls(view))
            with ui.element("main").classes("panels"):
                with ui.element("div").classes("column main-column"):
                    with panel("picture", "Network") as self._elements["picture"]:
                        ui.element("div").props(f'id=picture data-session="{session_id}"')
                        self._waiting = hint("The picture appears when the network is connected.")
                    self._add("curves", CurvesPanel)
                with ui.element("div").classes("column side-column"):
                    self._add("neuron", NeuronPanel)
                    self._add("predictions", PredictionsPanel)
            with ui.element("div").classes("panels wide-panels"):
                self._add("nodes", NodesPanel)
                self._add("timeline", TimelinePanel)
            self._choose_panels()
        if wanted.unusable:
            view.say(f"the link has no {' and no '.join(wanted.unusable)} that can be used")
        self._hide()
        self._session.changed = self._changed

    def refresh(self) -> None:
        """Show what is new in all panels that are not hidden."""
        self._waiting.visible = self._view.board.values.get("numbers") is None
        shown = [name for name in PANELS if name not in self._session.hidden]
        for name, each in zip(("controls", *self._built), self._panels, strict=True):
            if name == "controls" or name in shown:
                each.refresh()
        self._tell_link()

    @property
    def _built(self) -> list[str]:
        return [name for name in self._elements if name != "picture"]

    def _add(self, name: str, make: Callable[[View], Panel]) -> None:
        made = make(self._view)
        self._panels.append(made)
        self._elements[name] = made.element  # type: ignore[attr-defined]

    def _choose_panels(self) -> None:
        with ui.element("footer").classes("line foot").props('role=group aria-label="Panels"'):
            hint("Show:")
            for name, title in PANELS.items():
                box = ui.checkbox(title, value=name not in self._session.hidden).props("dense")
                box.on_value_change(lambda event, name=name: self._toggle(name, shown=event.value))
            hint("The address of this page keeps the settings of the run, the selected neuron and the hidden panels.")

    def _toggle(self, name: str, *, shown: bool) -> None:
        (self._session.hidden.discard if shown else self._session.hidden.add)(name)
        self._hide()
        self._tell_link()

    def _hide(self) -> None:
        for name, element in self._elements.items():
            element.visible = name not in self._session.hidden

    def _changed(self, name: str) -> None:
        if name == "record":
            # The line that announced slow motion is old.
            self._view.say("")
        self.refresh()

    def _tell_link(self) -> None:
        """Give the browser the address of what it shows, if it is new."""
        board, session = self._view.board, self._session
        settings = session.wanted
        if not settings and not board.is_described:
            # The address stays as it is until the run is known.
            return
        if not settings:
            assert board.network is not None
            settings = settings_of_run(board.status, board.network)
        link = link_of(settings, session.selected, (name for name in PANELS if name in session.hidden))
        if link != self._link:
            self._link = link
            session.slot.put({"link": link})
