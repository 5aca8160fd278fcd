"""The toy data sets: the same bits everywhere, what their names promise, and noise of the asked size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.data import DATASET_NAMES, Dataset, load_dataset
from coordinator.data.toys import MAKERS, MOST_NOISE
from coordinator.errors import UserError
from coordinator.settings import prepare_data, resolve_settings

KNOWN = {
    "circle": "3eee50c3d37efc39bf62994f452ff8ffd88a92da10cf4a1f6d9037a4ec3902a9",
    "gauss": "2268beabda0549a09bc20b11f0537ce6984f00014249990f65c983818bf373c1",
    "spiral": "b2a8fbc55ab5007e520c41f9385f4184b9c433f6aec90df31071a67ebf2dee96",
    "xor": "19eb99ff390f9d0497713b6db2e025961568f8f69aada3aab8bb39b6d4ab0949",
}
"""The SHA-256 of each set with seed 7 and noise 0.1."""


def made(name: str, seed: int = 0, noise: float = 0.0) -> Dataset:
    return load_dataset(name, seed=seed, noise=noise)


def squares(dataset: Dataset) -> Any:
    return np.square(dataset.inputs).sum(axis=1)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_numbers_are_the_same_on_every_machine(name: str) -> None:
    """The digest of a made set is the noted one, on every processor, system and version on which the tests run."""
    assert made(name, seed=7, noise=0.1).sha256 == KNOWN[name]


@given(name=st.sampled_from(sorted(MAKERS)), seed=st.integers(0, 2**63 - 1), noise=st.floats(0.0, MOST_NOISE))
def test_each_set_has_two_inputs_and_two_equal_classes(name: str, seed: int, noise: float) -> None:
    """For any seed and noise there are 200 finite rows with four decimals, 100 of each class, and one output."""
    dataset = made(name, seed, noise)
    assert dataset.labels is not None and np.bincount(dataset.labels).tolist() == [100, 100]
    assert dataset.inputs.shape == (200, 2) and np.isfinite(dataset.inputs).all() and dataset.default_outputs == 1
    assert (np.round(dataset.inputs, 4) == dataset.inputs).all() and not np.signbit(
        dataset.inputs[dataset.inputs == 0]
    ).any()


def test_classes_lie_where_their_names_say() -> None:
    """Without noise, circle is a disc in a ring, spiral has two reflected arms, gauss has two clouds, and xor is exclusive or."""
    ring = made("circle", 3)
    assert squares(ring)[ring.labels == 0].max() < 0.2501 and squares(ring)[ring.labels == 1].min() > 0.4899
    arms = made("spiral", 3)
    assert squares(arms).max() <= 1.0002
    turns = np.arctan2(arms.inputs[:, 1], arms.inputs[:, 0]) / (2 * np.pi) - np.sqrt(squares(arms))
    far = squares(arms) > 0.01
    assert np.allclose(np.exp(2j * np.pi * turns[far & (arms.labels == 0)]), 1.0, atol=0.02)
    assert np.allclose(np.exp(2j * np.pi * turns[far & (arms.labels == 1)]), -1.0, atol=0.02)
    clouds = made("gauss", 3)
    assert np.allclose(clouds.inputs[clouds.labels == 0].mean(axis=0), -0.5, atol=0.1)
    assert np.allclose(clouds.inputs[clouds.labels == 1].std(axis=0), 0.2, atol=0.05)
    corners = made("xor")
    assert corners.targets.tolist() == [str(int(a != b)) for a, b in corners.inputs.tolist()]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_noise_moves_the_points_by_its_standard_deviation(name: str) -> None:
    """With noise 0.2, the rows are those without noise, moved by 0.2 in the mean square, in no direction."""
    moved = made(name, 5, 0.2).inputs - made(name, 5).inputs
    assert 0.17 < moved.std() < 0.23 and np.abs(moved.mean(axis=0)).max() < 0.05


def test_seed_and_noise_change_the_set() -> None:
    """Another seed or noise is another set with another hash; the same ones are the same set."""
    digests = {
        made(name, seed, noise).sha256 for name in MAKERS for seed in (0, 1) for noise in (0.1, 0.3)
    }  # fmt: skip
    assert len(digests) == 16
    assert made("circle", 1, 0.1).inputs.tobytes() == made("circle", 1, 0.1).inputs.tobytes()


def test_xor_without_noise_is_the_table_of_four_rows() -> None:
    """The setting is what makes 200 rows of it, even with a noise of 0; no seed changes the four rows."""
    four = load_dataset("xor", seed=9)
    assert (four.samples, four.sha256) == (4, load_dataset("xor").sha256)
    assert made("xor").samples == 200


def test_settings_hand_seed_and_noise_on() -> None:
    """`--noise` and `--seed` reach the set, and xor with noise holds rows out, as it has enough of them."""
    settings = resolve_settings({"dataset": "xor", "noise": "0.1", "seed": 7}, {}, None)
    data = prepare_data(settings)
    assert data.sha256 == KNOWN["xor"] and len(data.test_inputs) == 40
    assert resolve_settings({"dataset": "xor"}, {}, None).test_fraction == 0.0


def test_noise_elsewhere_or_out_of_range_is_refused_in_one_line() -> None:
    """Noise is refused for another data set and for a file, and outside 0 to 0.5."""
    for name in [*set(DATASET_NAMES) - set(MAKERS), "there.csv"]:
        with pytest.raises(UserError, match=r"^--noise goes with circle, gauss, spiral and xor only, not with '"):
            load_dataset(name, noise=0.1)
    for noise in (-0.1, 0.6, float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"^--noise must be a number from 0 to 0\.5, not "):
            load_dataset("circle", noise=noise)
        with pytest.raises(UserError, match=r"^--noise must be a number from 0 to 0\.5, not "):
            resolve_settings({"dataset": "circle", "noise": noise}, {}, None)
    with pytest.raises(UserError, match="did you mean 'spiral'"):
        load_dataset("spirl")
