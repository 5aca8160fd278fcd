"""The dialog of an operator that begins another run of a service, with another seed, topology or data set."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from coordinator.dashboard.link import LONGEST_VALUE, SETTINGS
from coordinator.dashboard.panels.markup import button, hint
from coordinator.dashboard.view import View
from coordinator.data.sources import DATASET_NAMES

EXAMPLES = {
    "dataset": f"{', '.join(DATASET_NAMES[:3])} … or a file such as my.csv",
    "target": "of a file",
    "hidden": "such as 12 or 16,12",
    "seed": "a whole number",
}
"""What the values of some settings look like."""


class RestartDialog:
    """The button that opens the dialog (`opens`), and the dialog."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.opens = button("Restart…", "Begin another run with other settings")
        with ui.dialog().props('aria-label="Begin another run"') as self._dialog, ui.card().classes("dialog"):
            ui.label("Begin another run").classes("heading").props("role=heading aria-level=2")
            hint("A field that is left empty stays as it is. The present run ends where it is, and is kept.")
            self._fields = {
                name: ui.input(words.capitalize(), placeholder=EXAMPLES.get(name, "")).props(
                    f"dense outlined maxlength={LONGEST_VALUE}"
                )
                for name, words in SETTINGS.items()
            }
            with ui.element("div").classes("line"):
                button("Begin").on_click(self._begin)
                button("Cancel").props("flat").on_click(self._dialog.close)
        self.opens.visible = False
        self.opens.on_click(self._dialog.open)

    def open_with(self, settings: Mapping[str, str]) -> None:
        """Open the dialog with the settings of a link."""
        for name, field in self._fields.items():
            field.value = settings.get(name, "")
        self._dialog.open()

    async def _begin(self) -> None:
        values = {name: str(field.value or "").strip()[:LONGEST_VALUE] for name, field in self._fields.items()}
        self._dialog.close()
        self._view.say("the data of the other run are read")
        facts = await self._view.ask("restart", settings={name: value for name, value in values.items() if value})
        if facts is not None:
            layers = "-".join(map(str, facts["layers"]))
            notes = "".join(f"; {note}" for note in facts["notes"])
            self._view.say(f"the run {facts['run']} begins: {facts['dataset']} {layers}{notes}")
