"""The latest predictions, their accuracy, and the confusion matrix of the held-out samples."""

from __future__ import annotations

import time
from html import escape
from typing import Any

import numpy as np

from coordinator.dashboard.history import LATEST, Prediction
from coordinator.dashboard.panels.markup import heading, hint, html, panel
from coordinator.dashboard.pictures import address_of
from coordinator.dashboard.view import View
from coordinator.page.picture_state import image_of
from neuron_node.wording import shown

PICTURES, ROWS = 24, 8
"""The most predictions that are shown, as pictures or as rows of numbers."""
DRAWN_AGAIN_SECONDS = 1.0
INPUTS_SHOWN = 4


class PredictionsPanel:
    """Pictures with the predicted class, right or wrong."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: tuple[int, int] = (-1, -1)
        self._drawn = 0.0
        with panel("predictions", "Predictions") as self.element:
            heading("Latest predictions")
            self._accuracy = hint()
            self._latest = html().classes("predictions")
            self._confusion_title = heading("")
            self._confusion = html()

    def refresh(self) -> None:
        """Show new predictions, at most once a second."""
        board, now = self._view.board, time.monotonic()
        seen = (board.versions["predictions"], board.versions["confusion"])
        if seen == self._seen or now - self._drawn < DRAWN_AGAIN_SECONDS:
            return
        self._seen, self._drawn = seen, now
        accuracy, count = board.predictions.accuracy, board.predictions.count
        self._accuracy.text = (
            f"{100 * accuracy:.1f} % of the last {count} training samples were right, each before the network learned from it."
            if accuracy is not None
            else f"The last {count} of at most {LATEST} training samples, each before the network learned from it."
        )
        image = board.encoding is not None and image_of(board.encoding) is not None
        self._latest.content = "".join(map(self._words_of, board.predictions.newest(PICTURES if image else ROWS)))
        self._confusion_title.text = f"{board.measured.capitalize()}: what the network says of each class"
        self._confusion_title.visible = board.confusion is not None
        if board.confusion is not None and board.encoding is not None and board.encoding.classes is not None:
            self._confusion.content = matrix(board.encoding.classes, *board.confusion)

    def _words_of(self, prediction: Prediction) -> str:
        encoding = self._view.board.encoding
        assert encoding is not None, "there are no predictions without one"
        classes = encoding.classes
        if classes is None:
            right, words = None, f"{shown(prediction.found)}, the target is {shown(prediction.right)}"
        else:
            right = prediction.found == prediction.right
            words = classes[prediction.found]
            if not right:
                words += f", but it is {classes[prediction.right]}"
        mark = "" if right is None else "✓ " if right else "✗ "
        kind = "" if right is None else " right" if right else " wrong"
        shape = image_of(encoding)
        if shape is not None:
            pixels = self._view.board.values["network"]["pixels"]
            address = address_of(
                prediction.row, shape, np.array(pixels["scale"]), np.array(pixels["offset"]), pixels["range"]
            )
            name = escape(f"{words}, step {prediction.step:,}")
            short = escape(classes[prediction.found] if classes else shown(prediction.found))
            return f'<figure class="prediction{kind}"><img src="{address}" alt="{name}" title="{name}">' + (
                f"<figcaption>{mark}{short}</figcaption></figure>"
            )
        more = " …" if len(prediction.row) > INPUTS_SHOWN else ""
        numbers = ", ".join(shown(float(number)) for number in prediction.row[:INPUTS_SHOWN])
        return f'<p class="prediction{kind}">{escape(numbers)}{more} → <b>{mark}{escape(words)}</b></p>'


def matrix(classes: Any, counts: list[list[int]], samples: int) -> str:
    """Return a confusion matrix; a deeper colour stands for a larger share of the class."""
    head = "".join(f'<th scope="col">{escape(str(name)[:12])}</th>' for name in classes)
    rows = []
    for index, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = sum(row) or 1
        cells = "".join(
            f'<td class="number {"hit" if at == index else "miss"}" style="--share: {count / total:.2f}">{count}</td>'
            for at, count in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{escape(str(name)[:16])}</th>{cells}</tr>')
    caption = f"Rows are the right classes, columns the predictions, of {samples:,} samples."
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Confusion matrix"><table class="matrix">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div><p>{caption}</p>"
    )
