"""A trained network as a file."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

from coordinator.core.access import Access
from coordinator.core.queries import ANSWERS_KEPT
from coordinator.errors import UserError
from coordinator.inference import InMemoryNetwork, forward
from coordinator.storage.model_file import UNSEALED, Model, load_model, save_model, sealed
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
def test_saved_model_is_loaded_bit_for_bit(tmp_path: Path, layers: tuple[int, ...]) -> None:
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


def test_a_model_converted_to_float32_is_refused_for_that(tmp_path: Path) -> None:
    """The message names the type of the numbers, not the checksum that the conversion has broken."""
    path = tmp_path / "m.safetensors"
    save_model(path, model_of())
    save_file({name: array.astype(np.float32) for name, array in load_file(path).items()}, path, metadata_of(path))
    with pytest.raises(UserError, match="its numbers are float32; models contain float64"):
        load_model(path)


def test_saved_model_is_readable_by_safetensors(tmp_path: Path) -> None:
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
    measured = coordinator.trainer.held_out_activities
    assert measured is not None and activities.tobytes() == measured.tobytes()


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_any_number_of_rows_is_predicted(rows: int) -> None:
    """None at all included."""
    assert forward(model_of(), np.ones((rows, 2))).shape == (rows, 1)


def test_network_in_memory_answers_each_batch_anew() -> None:
    """More batches than the coordinator remembers answers for: each gets its own prediction."""
    model = model_of()
    batches = np.linspace(-3.0, 3.0, 2 * (ANSWERS_KEPT[Access.VIEWER][0] + 3)).reshape(-1, 1, 2)
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


def test_missing_model_file_is_refused(tmp_path: Path) -> None:
    """It says what would be right."""
    assert "no such file" in refused(tmp_path / "m")
    refused(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"not a model", bytes(1_000), b"\xff" * 100, (2**62).to_bytes(8, "little")]
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever else it is."""
    path = tmp_path / "m"
    path.write_bytes(content)
    refused(path)


def test_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    """A good file, but not ours."""
    save_file({"a": np.zeros(3)}, tmp_path / "m")
    assert "Exmachina" in refused(tmp_path / "m")


def check_every(path: Path, damaged: Iterator[bytes]) -> int:
    """Each of these contents is refused in one line; how many there were."""
    count = 0
    for content in damaged:
        path.write_bytes(content)
        refused(path)
        count += 1
    return count


def test_every_flipped_bit_is_seen(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anywhere in the file, in the scaling or a class name as in a weight: one line, and no other network."""
    good = saved(tmp_path_factory)
    path = tmp_path_factory.getbasetemp() / "flipped"

    def flipped() -> Iterator[bytes]:
        for bit in range(8 * len(good)):
            damaged = bytearray(good)
            damaged[bit // 8] ^= 1 << bit % 8
            yield bytes(damaged)

    assert check_every(path, flipped()) == 8 * len(good)


def test_every_length_and_every_swapped_block_is_seen(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Cut at every byte, longer by one, and with any two blocks of 64 bytes in each other's place."""
    good = saved(tmp_path_factory)
    path = tmp_path_factory.getbasetemp() / "moved"
    blocks = [good[start : start + 64] for start in range(0, len(good), 64)]

    def moved() -> Iterator[bytes]:
        yield from (good[:length] for length in range(len(good)))
        yield good + b"\0"
        for one, other in itertools.combinations(range(len(blocks)), 2):
            swapped = list(blocks)
            swapped[one], swapped[other] = swapped[other], swapped[one]
            if (content := b"".join(swapped)) != good:
                yield content

    assert check_every(path, moved()) > len(good)


def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.getbasetemp() / "model"
    if not path.exists():
        save_model(path, model_of())
    return path.read_bytes()


WRONG_SETTINGS: list[tuple[str, Any]] = [
    ("loss", "sqtared_error"),
    ("hidden_activation", "logistyc"),
    ("output_activation", ["logistic"]),
    ("batch_size", 0),
    ("epochs", -1),
    ("learning_rate", float("nan")),
    ("layers", [2, 0, 1]),
    ("layers", [2]),
    ("input_bias", 1),
    ("weights", "glorut"),
    ("biases", [0.0]),
    ("running_accuracy_window", 0.5),
]
"""Settings under which a network could not compute: seen when the model is loaded, not when it is used."""


def network_facts() -> dict[str, Any]:
    return settings_of((2, 3, 1)).to_json()


def test_a_model_of_version_0_1_is_loaded_and_it_is_said(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """With the checks that it has: every flipped bit gives one line or a network with the same numbers, and no traceback."""
    path = tmp_path / "old"
    path.write_bytes(saved(tmp_path_factory))
    texts = {name: text for name, text in metadata_of(path).items() if name != "content_sha256"}
    save_file(load_file(path), path, {**texts, "format": "exmachina-model-1"})
    model = load_model(path)
    assert "version 0.1" in caplog.text and str(path) in caplog.text
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(damaged))
        try:
            found = load_model(path)
        except UserError as fault:
            assert "\n" not in str(fault)
        else:
            assert found.parameters.sha256() == model.parameters.sha256()


@pytest.mark.parametrize("device", ["a FIFO", "/dev/zero", "a loop of links"])
def test_endless_file_is_refused_at_once(tmp_path: Path, device: str) -> None:
    """At once: nothing is waited for."""
    path = tmp_path / "m"
    if device == "a FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to(device if device.startswith("/dev") else path)
    refused(path)


def rewritten(
    path: Path, change: dict[str, Any], tensors: dict[str, np.ndarray] | None = None, **metadata: str
) -> None:
    """Save a model again with other facts, numbers or metadata, and with a checksum that fits them."""
    save_model(path, model_of())
    known = metadata_of(path)
    facts = {**json.loads(known["exmachina"]), **change}
    texts = {**known, "content_sha256": UNSEALED, "exmachina": json.dumps(facts), **metadata}
    path.write_bytes(sealed(save({**load_file(path), **(tensors or {})}, texts)))


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
        ({}, {}, {"format": "exmachina-model-1"}),
        ({}, {}, {"format": "exmachina-model-3"}),
        ({}, {}, {"more": "than there should be"}),
        ({"seed": float("inf")}, {}, {}),
        *(({"network": {**network_facts(), name: wrong}}, {}, {}) for name, wrong in WRONG_SETTINGS),
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
