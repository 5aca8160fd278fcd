"""A trained network as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from coordinator.errors import UserError
from coordinator.machine.requests import ANSWERS_KEPT
from coordinator.model_file import Model, load_model, save_model
from coordinator.offline import InMemoryNetwork, forward
from tests.networks import encoding_of, parameters, plan_of, seed_settings, settings_of, trained, xor_data


def model_of(layers: tuple[int, ...] = (2, 3, 1), **changes: Any) -> Model:
    settings = settings_of(layers, **changes)
    coordinator = trained(plan_of(settings))
    return Model(parameters(coordinator), settings, encoding_of(layers[0], layers[-1], classes=True), 1, 12)


def metadata_of(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header["__metadata__"]
    return metadata


@pytest.mark.parametrize("layers", [(2, 1), (2, 3, 1), (2, 3, 2, 4)], ids=str)
def test_a_model_comes_back_as_it_went(tmp_path: Path, layers: tuple[int, ...]) -> None:
    """Every number to the bit, and all that is needed to use it."""
    model = model_of(layers)
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.parameters.sha256() == model.parameters.sha256()
    assert (loaded.network, loaded.encoding, loaded.seed, loaded.step) == (model.network, model.encoding, 1, 12)


def test_the_seeds_settings_come_back_too(tmp_path: Path) -> None:
    """Ranges instead of Glorot's, and its window."""
    settings = seed_settings((2, 3, 1))
    model = Model(parameters(trained(plan_of(settings))), settings, encoding_of(2, 1, classes=True), 1, 22)
    save_model(tmp_path / "m", model)
    assert load_model(tmp_path / "m").network == settings


def test_others_can_read_it(tmp_path: Path) -> None:
    """safetensors' own reader finds each layer's numbers under plain names."""
    model = model_of()
    save_model(tmp_path / "m.safetensors", model)
    tensors = load_file(tmp_path / "m.safetensors")
    assert sorted(tensors) == ["layer0.bias", "layer0.weight", "layer1.bias", "layer1.weight", "layer2.bias"]
    assert tensors["layer0.weight"].tolist() == model.parameters.weights[0].tolist()
    assert {array.dtype for array in tensors.values()} == {np.dtype("float64")}


def test_a_loaded_model_predicts_what_the_trained_network_did(tmp_path: Path) -> None:
    """The node machines run in memory: the same bits."""
    settings = settings_of((2, 3, 1), epochs=20)
    coordinator = trained(plan_of(settings, xor_data()))
    save_model(tmp_path / "m", Model(parameters(coordinator), settings, encoding_of(2, 1, classes=True), 1, 20))
    activities = forward(load_model(tmp_path / "m"), xor_data().test_inputs)
    measured = coordinator.course.held_out_activities
    assert measured is not None and activities.tobytes() == measured.tobytes()


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_any_number_of_rows_is_predicted(rows: int) -> None:
    """None at all included."""
    assert forward(model_of(), np.ones((rows, 2))).shape == (rows, 1)


def test_network_in_memory_answers_each_batch_anew() -> None:
    """More batches than the coordinator remembers answers for: each gets its own prediction."""
    model = model_of()
    batches = np.linspace(-3.0, 3.0, 2 * (2 * ANSWERS_KEPT + 3)).reshape(-1, 1, 2)
    network = InMemoryNetwork(model)
    answers = np.concatenate([network.forward(batch) for batch in batches])
    assert len(np.unique(answers)) == len(batches)
    np.testing.assert_allclose(answers, forward(model, batches[:, 0]), rtol=1e-12)


# What is refused, each in one line.


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_model(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    """It says what would be right."""
    assert "no such file" in refused(tmp_path / "m")
    refused(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"not a model", bytes(1_000), b"\xff" * 100, (2**62).to_bytes(8, "little")]
)
def test_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    """Whatever else it is."""
    path = tmp_path / "m"
    path.write_bytes(content)
    refused(path)


def test_the_tensors_of_somebody_else(tmp_path: Path) -> None:
    """A good file, but not ours."""
    save_file({"a": np.zeros(3)}, tmp_path / "m")
    assert "Exmachina" in refused(tmp_path / "m")


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Anywhere in the file: one line, or a model whose numbers are those that were saved."""
    path, content = tmp_path_factory.getbasetemp() / "flipped", bytearray(saved(tmp_path_factory))
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        model = load_model(path)
    except UserError as fault:
        assert "\n" not in str(fault)
        return
    assert model.parameters.sha256() == metadata_of(path)["weights_sha256"]


def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.getbasetemp() / "model"
    if not path.exists():
        save_model(path, model_of())
    return path.read_bytes()


@given(length=st.integers(0, 3_000))
def test_a_truncated_model_is_refused(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    """At any length."""
    path, content = tmp_path_factory.getbasetemp() / "truncated", saved(tmp_path_factory)
    path.write_bytes(content[: length % len(content)])
    refused(path)


def rewritten(
    path: Path, change: dict[str, Any], tensors: dict[str, np.ndarray] | None = None, **metadata: str
) -> None:
    """Save a model again with other facts, numbers or metadata."""
    save_model(path, model_of())
    known = metadata_of(path)
    facts = {**json.loads(known["exmachina"]), **change}
    save_file({**load_file(path), **(tensors or {})}, path, {**known, "exmachina": json.dumps(facts), **metadata})


@pytest.mark.parametrize(
    ("change", "tensors", "metadata"),
    [
        ({"network": None}, {}, {}),
        ({"network": {"layers": [2, 3, 1]}}, {}, {}),
        ({"encoding": {}}, {}, {}),
        ({"seed": "x"}, {}, {}),
        ({}, {"layer0.bias": np.ones(2)}, {}),
        ({}, {"layer0.bias": np.zeros(3)}, {}),
        ({}, {"layer0.bias": np.zeros(2, dtype=np.float32)}, {}),
        ({}, {"layer1.weight": np.zeros((1, 3))}, {}),
        ({}, {}, {"weights_sha256": "0" * 64}),
        ({}, {}, {"format": "exmachina-model-2"}),
        ({}, {}, {"exmachina": "{"}),
        ({}, {}, {"exmachina": "[" * 100_000}),
    ],
)
def test_a_model_that_does_not_hold_together(
    tmp_path: Path, change: dict[str, Any], tensors: dict[str, np.ndarray], metadata: dict[str, str]
) -> None:
    """Facts that are missing or of another type, numbers of another shape, type or digest, another version of the format."""
    path = tmp_path / "m"
    rewritten(path, {}, {})
    load_model(path)
    rewritten(path, change, tensors, **metadata)
    refused(path)


def test_a_model_whose_encoding_is_of_another_network(tmp_path: Path) -> None:
    """Three inputs for two input neurons: found when it is loaded, not when it is used."""
    path = tmp_path / "m"
    rewritten(path, {"encoding": encoding_of(3, 1, classes=True).to_json()})
    refused(path)


def test_numbers_that_are_not_finite_are_no_model(tmp_path: Path) -> None:
    """Though their digest is right."""
    model = model_of()
    model.parameters.biases[1][0] = np.nan
    save_model(tmp_path / "m", model)
    refused(tmp_path / "m")


def test_an_unwritable_path_is_one_line(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    with pytest.raises(UserError) as caught:
        save_model(tmp_path / "no" / "such" / "folder", model_of())
    assert "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError):
        save_model(tmp_path / "folder", model_of())
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
