"""What `trace` and `explain` print, with a saved model and at every width."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli.main import run
from coordinator.storage.model_file import Model, save_model
from coordinator.trace.explaining import explain_weight, parts_of_weight
from neuron_node.errors import UserError
from neuron_node.wording import shown, shown_apart
from tests.networks import parameters, plan_of, settings_of, trained, xor_data


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A saved model 2-2-1."""
    plan = plan_of(settings_of((2, 2, 1)), xor_data())
    machine = trained(plan)
    path = tmp_path / "xor.safetensors"
    save_model(path, Model(parameters(machine), plan.network, plan.data.encoding, plan.seed, 2))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A table with one row."""
    path = tmp_path / "rows.csv"
    path.write_text("feature 0,feature 1,target\n1,0,class 1\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_number_is_cut_at_any_width(
    model: Path,
    rows: Path,
    tmp_path: Path,
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every number of a neuron's steps is printed whole; the file has every neuron and every message."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("coordinator.cli.output.Stream.is_terminal", property(lambda _stream: True))
    file = tmp_path / "trace.json"
    assert run(["trace", str(rows), "1", "--model", str(model), "--neuron", "hidden.1", "--json", str(file)]) == 0
    words = capsys.readouterr().out.split()
    facts = json.loads(file.read_text(encoding="utf-8"))
    [neuron] = [each for each in facts["neurons"] if each["neuron"] == "hidden.1"]
    [synapse] = neuron["axon"]
    numbers = [neuron[key][0] for key in ("activity", "slope", "error")]
    numbers += [neuron["bias"], neuron["bias_after"], synapse["weight"], synapse["gradient"], synapse["after"]]
    assert all(any(shown(number) in word for word in words) for number in numbers)
    assert "process," in words and "no weight was changed" in facts["moment"]
    kinds = [message["kind"] for message in facts["messages"]]
    assert kinds == ["input"] * 2 + ["signal"] * 6 + ["output", "target"] + ["error"] * 6 + ["done"] * 2


def test_learning_lowers_the_loss_in_memory_only(model: Path, rows: Path, tmp_path: Path) -> None:
    """The file of the model is unchanged."""
    before, file = model.read_bytes(), tmp_path / "trace.json"
    assert run(["trace", str(rows), "1", "--model", str(model), "--learn", "--json", str(file)]) == 0
    learned = json.loads(file.read_text(encoding="utf-8"))["learned"]
    assert learned["loss_after"] < learned["loss_before"] and model.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1", "--neuron", "hiden.1"], "did you mean 'hidden.1'?"),
        (["2"], "numbered 1 to 1"),
        ([], "--sample"),
        (["1", "--perfetto", "x.json"], "running network"),
    ],
)
def test_a_wrong_command_is_one_line_with_what_would_be_right(
    model: Path, rows: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    assert run(["trace", str(rows), *arguments, "--model", str(model)]) == 2
    line = capsys.readouterr().err
    assert said in line and len(line.splitlines()) == 1


def test_numbers_have_four_decimals_or_four_digits() -> None:
    """Whole numbers have none; the minus sign is that of a formula."""
    texts = [shown(number) for number in (-1.2073, 0.0, 12.0, 0.00123456, -1.5e-7, 1e12)]
    assert texts == ["−1.2073", "0", "12", "0.001235", "−1.500e−07", "1.000e+12"]


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1.0))
def test_a_small_change_can_be_seen(before: float, change: float) -> None:
    """Before and after have as many digits as that takes."""
    texts = shown_apart(before, before + change)
    first, then = (float(text.replace("−", "-")) for text in texts)
    assert first < then
    assert shown_apart(before, before) == (shown(before), shown(before))
    assert shown_apart(-0.51234567, -0.51236) == ("−0.51235", "−0.51236")


@pytest.mark.parametrize("text", ["a:b", "a→b", "a->b", "a > b"])
def test_a_weight_is_named_by_its_two_neurons(text: str) -> None:
    """With any of the usual signs between them."""
    assert parts_of_weight(text) == ("a", "b") and parts_of_weight("a") == ("a", None)


@pytest.mark.parametrize("text", ["a:", ":b", "a:b:c", ""])
def test_what_names_no_weight_is_refused(text: str) -> None:
    """The message shows how a weight is named."""
    with pytest.raises(UserError, match=r"hidden\.3:output\.2"):
        parts_of_weight(text)


def test_an_explanation_has_the_numbers_of_the_change() -> None:
    """Before and after, the product that gives the change, and what the sign means."""
    synapse = {"neuron": "output.0", "before": 1.0, "weight": 1.25, "gradient": -0.125, "error": [-0.5, 0.25]}
    facts = {"neuron": "hidden.0", "axon": [synapse], "steps": {"learning_rate": 2.0}, "rows": 2, "step": 3, "pass": 4,
             "last_activity": [0.75, 0.5]}  # fmt: skip
    changed, product, source, direction = explain_weight(facts, "output.0")
    assert "step 3" in changed and "from 1 to 1.2500" in changed
    assert "−2 × (−0.1250) = 0.2500" in product
    assert "(−0.5000 × 0.7500 + 0.2500 × 0.5000) / 2 = −0.1250" in source
    assert "negative" in direction and "grew" in direction
    with pytest.raises(UserError, match=r"did you mean 'output\.0'"):
        explain_weight(facts, "output.1")
