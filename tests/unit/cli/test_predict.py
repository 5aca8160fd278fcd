"""`predict` and `evaluate` refuse numbers that can't be scaled: one line that names the row and the feature, exit 2."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.data.encoding import Encoding
from coordinator.storage.model_file import Model, save_model
from tests.commands import Terminal
from tests.networks import encoding_of, parameters, plan_of, settings_of, trained

TOO_LARGE = "1e308"


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Encoding:
    """A model `m` whose inputs were small numbers: they grow when they are scaled."""
    settings = settings_of((2, 3, 1))
    encoding = replace(encoding_of(2, 1, classes=True), input_scale=(0.25, 0.25))
    save_model(tmp_path / "m", Model(parameters(trained(plan_of(settings))), settings, encoding, 1, 12))
    monkeypatch.chdir(tmp_path)
    return encoding


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_number_that_is_too_large_is_named(model: Encoding, terminal: Terminal, command: str) -> None:
    """The line of the file and the column of the first such number are printed; no warning of a library is shown in its place."""
    assert model.classes is not None
    names = [*model.feature_names, model.target_name]
    label = model.classes[0]
    Path("rows.csv").write_text(
        "\n".join([",".join(names), f"1,2,{label}", f"1,{TOO_LARGE},{label}", f"-{TOO_LARGE},2,{label}", ""]),
        encoding="utf-8",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = terminal.type(command, "--model", "m", "rows.csv")
    [line] = said.err.splitlines()
    assert (said.code, said.out) == (2, "")
    assert "line 3" in line and model.feature_names[1] in line and "too large" in line


def test_large_numbers_that_can_be_scaled_are_predicted_from(model: Encoding, terminal: Terminal) -> None:
    """Logistic neurons saturate: every activity is between 0 and 1."""
    Path("rows.csv").write_text("1e300,1e300\n", encoding="utf-8")
    said = terminal.type("predict", "--model", "m", "rows.csv", "--json")
    assert said.code == 0 and model.classes is not None, said.err
    [prediction] = json.loads(said.out)["predictions"]
    assert set(prediction["activities"]) == set(model.classes)
    assert all(0.0 <= activity <= 1.0 for activity in prediction["activities"].values())
