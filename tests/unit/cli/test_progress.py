"""What is said of a run while it goes on."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli.figures import Figures
from coordinator.cli.progress import PlainLines, ProgressBar, figures_of, figures_that_fit


def test_failure_to_save_is_said_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried twice a second: one line, until another reason comes."""
    said: list[str] = []
    monkeypatch.setattr("coordinator.cli.progress.errors.print", lambda line, **_: said.append(line))
    watch = PlainLines(Figures())
    for reason in ("the disk is full", "the disk is full", "the disk is broken", "the disk is full"):
        watch("unsaved", {"reason": reason})
    assert said == [f"the disk is {how}; trying again" for how in ("full", "broken", "full")]


EPOCH = {"epoch": 2, "epochs": 9, "loss": 0.25, "accuracy": 0.5, "test_loss": 0.125, "test_accuracy": 0.75}
NUMBERS = EPOCH | {"accuracy": None, "test_accuracy": None}
PROGRESS = EPOCH | {
    "step": 22_222,
    "steps": 123_456,
    "samples_per_second": 12_345.0,
    "messages_per_second": 1_234_567.0,
}


@pytest.mark.parametrize(
    ("figures", "facts", "line"),
    [
        (Figures(), EPOCH, "epoch 2: loss 0.25, accuracy 50.0 %; held out: loss 0.125, accuracy 75.0 %"),
        (Figures(held_out=False), EPOCH, "epoch 2: loss 0.25, accuracy 50.0 %"),
        (Figures(False, True, 1.0, 2.0), NUMBERS, "epoch 2: loss 0.25, R² 0.500; held out: loss 0.125, R² 0.875"),
        (Figures(False, True), NUMBERS, "epoch 2: loss 0.25; held out: loss 0.125"),
        (Figures(False, False, 1.0, 2.0), NUMBERS, "epoch 2: loss 0.25, R² 0.500"),
    ],
)
def test_line_of_an_epoch_has_only_figures_that_exist(figures: Figures, facts: dict[str, object], line: str) -> None:
    """No accuracy of numbers, and nothing is called held out if no sample is."""
    assert figures.epoch(facts) == line


@given(st.integers(1, 250))
def test_no_figure_of_the_bar_is_cut(width: int) -> None:
    """The figures that are shown are whole, the first ones are the most important, and they fit the line."""
    every = figures_of(PROGRESS, Figures())
    fitting, rest = figures_that_fit(every, width)
    assert fitting == every[: len(fitting)] and fitting
    assert len(fitting) == 1 or sum(map(len, fitting)) + len(fitting) + rest == width


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_bar_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, without an ellipsis, that begins with the step."""
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    for name, value in {"COLUMNS": str(width), "TERM": "xterm", "FORCE_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with ProgressBar(Figures()) as bar:
        bar("progress", PROGRESS)
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", screen.getvalue())]
    [shown] = {line for line in lines if "step" in line}
    assert len(shown.rstrip()) <= width and "…" not in shown
    assert "step 22,222/123,456" in shown and ("messages/s" in shown) is (width >= 120)
