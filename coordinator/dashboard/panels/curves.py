"""Loss, accuracy and speed over the steps, with recoveries and interventions as marks."""

from __future__ import annotations

import time

from nicegui import ui

from coordinator.dashboard.panels.charts import chart, colours_of, lines, show
from coordinator.dashboard.panels.markup import heading, hint, panel
from coordinator.dashboard.view import View

DRAWN_AGAIN_SECONDS = 2.0
AFTER_PICTURE_SECONDS = 1.0
"""The browser loads the library of the charts so long after it has drawn the network: loading takes it some tenths of a second."""


class CurvesPanel:
    """Three charts."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: tuple[object, ...] = ()
        self._drawn = 0.0
        with panel("curves", "Curves") as self.element:
            heading("How well it learns")
            self._place = ui.element("div").classes("wide")
            self._words = hint()
        self._charts: list[ui.echart] = []

    def refresh(self) -> None:
        """Draw again what is new, at most every other second, and for the first time after the network."""
        board, now = self._view.board, time.monotonic()
        if now - self._view.session.drawn_at < AFTER_PICTURE_SECONDS:
            return
        seen = (board.versions["curves"], board.versions["status"], self._view.session.dark)
        if seen == self._seen or (now - self._drawn < DRAWN_AGAIN_SECONDS and seen[2:] == self._seen[2:]):
            return
        self._seen, self._drawn = seen, now
        if not self._charts:
            with self._place:
                whats = ("Loss", "Accuracy", "Samples and messages per second")
                self._charts = [chart(f"{what} over the steps") for what in whats]
        loss, accuracy, samples = self._charts
        colours, marks = colours_of(self._view.session.dark), list(dict.fromkeys(board.marks))
        training, held_out, speed = board.training.points, board.held_out.points, board.speed.points

        def pair(column: int) -> list[tuple[str, str, list[list[float | None]]]]:
            some = [("training", colours.training, training), (board.measured, colours.held_out, held_out)]
            return [(name, colour, [[row[0], row[column]] for row in points]) for name, colour, points in some]

        show(loss, lines(colours, "loss", pair(1), marks, {"min": 0}))
        has_accuracy = any(row[2] is not None for row in training)
        accuracy.visible = has_accuracy
        if has_accuracy:
            show(accuracy, lines(colours, "accuracy", pair(2), marks, {"min": 0, "max": 1}))
        names = (("samples/s", colours.training), ("messages/s", colours.held_out))
        series = [(name, colour, [[row[0], row[at]] for row in speed]) for at, (name, colour) in enumerate(names, 1)]
        show(samples, lines(colours, "speed", series, marks, {"min": 0}))
        latest = ", ".join(f"{word} after step {step:,}" for step, word in marks[-3:])
        self._words.text = (
            f"Dotted lines: {latest}" if marks else "Dotted lines will mark recoveries and interventions."
        )
