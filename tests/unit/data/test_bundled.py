"""The data sets that have a name."""

from __future__ import annotations

import socket
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from coordinator.data import DATASET_NAMES, load_dataset
from coordinator.errors import UserError

SEMEION = Path(__file__).resolve().parents[4] / "shared" / "data" / "semeion.data"


def line(digit: int, pixels: str = "0.0000 1.0000 " * 128) -> str:
    return pixels + " ".join("1" if column == digit else "0" for column in range(10)) + " \n"


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_the_sets_are_scikit_learns(name: str) -> None:
    """Inputs, classes and labels are those that scikit-learn carries, untouched."""
    bunch: Any = getattr(datasets, f"load_{name}")()
    dataset = load_dataset(name)
    assert (dataset.inputs == bunch.data).all()
    assert dataset.inputs.flags.c_contiguous
    assert dataset.labels is not None
    assert (dataset.labels == bunch.target).all()
    assert dataset.classes == tuple(str(item) for item in bunch.target_names)
    assert len(dataset.feature_names) == dataset.features == bunch.data.shape[1]
    assert dataset.sha256 == load_dataset(name).sha256


def test_xor_is_exclusive_or() -> None:
    """The target is whether the inputs differ, and one output neuron tells it."""
    dataset = load_dataset("xor")
    assert dataset.targets.tolist() == [str(int(a != b)) for a, b in dataset.inputs.tolist()]
    assert dataset.default_outputs == 1


def test_every_set_has_a_hash_of_its_own() -> None:
    """No two sets share a hash."""
    names = [name for name in DATASET_NAMES if name != "semeion"]
    assert len({load_dataset(name).sha256 for name in names}) == len(names)


def test_a_semeion_file_is_read(tmp_path: Path) -> None:
    """A line is 256 pixels and a one-hot digit, with any blanks between them."""
    path = tmp_path / "semeion.data"
    path.write_text(line(3) + "\n" + line(7).replace(" ", "   "))
    dataset = load_dataset("semeion", data=path)
    assert dataset.inputs.tolist() == [[0.0, 1.0] * 128] * 2
    assert dataset.targets.tolist() == ["3", "7"]
    assert dataset.classes == tuple("0123456789")


@pytest.mark.data
@pytest.mark.skipif(not SEMEION.exists(), reason="semeion.data does not come with the project")
def test_the_real_semeion_file_is_read() -> None:
    """The file of the UCI repository holds 1,593 samples of ten digits, as NumPy's own reader finds them."""
    dataset = load_dataset("semeion", data=SEMEION)
    expected = np.loadtxt(SEMEION)
    assert (dataset.inputs == expected[:, :256]).all()
    assert dataset.labels is not None
    assert (np.eye(10)[dataset.labels] == expected[:, 256:]).all()
    assert dataset.samples == 1593


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "holds no rows of data"),
        ("0 1 2\n", "line 1: has 3 columns, 256 pixels and 10 for the digit are needed"),
        (line(1) + line(2).replace("1.0000", "0.5", 1), "line 2, column 2: expected 0 or 1, not '0.5'"),
        (line(1).replace("1.0000", "x", 1), "line 1, column 2: expected 0 or 1, not 'x'"),
        (line(1).replace("1.0000", "nan", 1), "line 1, column 2: expected 0 or 1, not 'nan'"),
        (line(11), "line 1: the last 10 columns hold 0 ones, exactly one (the digit's) is right"),
        (line(1), "has 1 row of data, at least 2 are needed"),
        (line(1) + line(1), "all rows are of the one class '1'"),
    ],
)
def test_bad_semeion_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Every fault of the file gets its own line with the place."""
    path = tmp_path / "semeion.data"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_dataset("semeion", data=path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_semeion_without_a_file_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, the line says what to download and how to pass it; the sockets' time limit is as before."""

    def offline(*_: object, **__: object) -> None:
        assert socket.getdefaulttimeout() is not None
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", offline)
    before = socket.getdefaulttimeout()
    with pytest.raises(UserError) as caught:
        load_dataset("semeion")
    assert "download semeion.data" in str(caught.value)
    assert "--data FILE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert socket.getdefaulttimeout() == before


def test_failed_fetch_makes_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """scikit-learn makes its folder before it connects; only a set that has arrived is kept there."""

    def fetch(*_: object, data_home: str, **__: object) -> object:
        (Path(data_home) / "openml").mkdir(parents=True)
        if fails:
            raise urllib.error.URLError("no route to host")
        return type("Bunch", (), {"data": np.eye(2, 256), "target": np.array(["1", "2"], dtype=object)})

    home = tmp_path / "data"
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    fails = True
    with pytest.raises(UserError):
        load_dataset("semeion")
    assert not home.exists()
    fails = False
    load_dataset("semeion")
    assert (home / "openml").is_dir()


def test_semeion_from_openml_is_the_same_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenML counts the classes from 1: class 1 is the digit 0, as in the file's one-hot columns."""

    class Bunch:
        data = np.array([[0.0, 1.0] * 128] * 2)
        target = np.array(["1", "10"], dtype=object)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: Bunch)
    path = tmp_path / "semeion.data"
    path.write_text(line(0) + line(9))
    fetched, read = load_dataset("semeion"), load_dataset("semeion", data=path)
    assert (fetched.inputs == read.inputs).all()
    assert fetched.targets.tolist() == read.targets.tolist() == ["0", "9"]
    assert fetched.default_scaling == read.default_scaling == "none"


@pytest.mark.parametrize("wrong", [np.zeros((2, 255)), np.zeros((2, 257))])
def test_another_set_from_openml_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    """What is not 256 pixels a sample is not Semeion."""

    class Bunch:
        data = wrong
        target = np.array(["1", "10"], dtype=object)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_, **__: Bunch)
    with pytest.raises(UserError, match="another data set than expected"):
        load_dataset("semeion")
