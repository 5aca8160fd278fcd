"""What holds since version 0.1: the weights of groups of two or more, to the last bit, and that its models load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coordinator.defaults import NetworkSettings
from coordinator.inference import forward
from coordinator.storage.model_file import load_model
from neuron_node.fingerprint import fingerprint
from tests.networks import plan_of, seed_settings, settings_of, trained, weights_sha256, xor_data

MODEL = Path(__file__).parents[1] / "models" / "xor-0.1.safetensors"
"""Saved by version 0.1, after three epochs on exclusive or."""
MODEL_SHA256 = "2159f03d89829aedbff0b4e4493c8c82b9caa7d23df058b63a4d88fa843a78dd"
ARITHMETIC = "x86_64 13b9ffdbf29b0767"
"""On which version 0.1 gave these digests; other arithmetic gives others, with every version."""

# Network, group size, parts of a batch, and the digest of version 0.1. No group has a single neuron.
RUNS: dict[str, tuple[NetworkSettings, int, int, str]] = {
    "pairs": (settings_of((4, 6, 2)), 2, 1, "74dd5fa460ea57123ea6aa68603b7a9e5802be9e943aa829f026fef2d92c5fce"),
    "threes and twos": (
        settings_of((5, 3, 2)),
        3,
        1,
        "8916a568474095ce34dfa91e5586ee0297029e4630ecae1932af48d31a44ba85",
    ),
    "whole layers": (settings_of((5, 4, 3)), 5, 1, "a3c01cfbb89dc382b585d69794b2e87f2aec7dbe70572f6cc38b9c35a8c3be04"),
    "one sample": (
        settings_of((4, 4, 2), batch_size=1),
        2,
        1,
        "bbb331407e408871db0abc53296293fe7d6d5ae55e3371942c29c847e09a49a3",
    ),
    "two hidden layers": (
        settings_of((4, 4, 6, 2), hidden_activation="tanh", loss="cross_entropy"),
        2,
        1,
        "beb783b619fe482016a169a853b9adee6415d4d8834c0b9517db4340621958c9",
    ),
    "exmachina": (seed_settings((4, 6, 2)), 2, 1, "cccaf669fc1a975af0f5a806e377f029dd1cb824b5a68ccfbe8413bd8a9a830b"),
    "microbatches": (
        settings_of((4, 6, 2), hidden_activation="relu"),
        3,
        3,
        "833a1975b91ded631b3c20b6e60519f14fe11a0ea3cc70e9de71b70dd56590cb",
    ),
}


@pytest.mark.skipif(not fingerprint().endswith(ARITHMETIC), reason="other arithmetic than that of the digests")
@pytest.mark.parametrize(("network", "group_size", "parts", "sha256"), RUNS.values(), ids=RUNS.keys())
def test_groups_keep_their_weights(network: NetworkSettings, group_size: int, parts: int, sha256: str) -> None:
    """The same run ends with the weights with which it ended in version 0.1."""
    assert weights_sha256(trained(plan_of(network, group_size=group_size, microbatches=parts))) == sha256


def test_a_model_loads_and_predicts() -> None:
    """Its numbers to the bit; single neurons predict on them what version 0.1 predicted, but for the last digits."""
    model = load_model(MODEL)
    assert model.parameters.sha256() == MODEL_SHA256
    assert (model.network.layers, model.step) == ((2, 3, 1), 12)
    told = np.array([[0.20031018893434818], [0.2546486656372762], [0.20656729818333147], [0.26263821958920414]])
    assert np.allclose(forward(model, xor_data().train_inputs), told, rtol=0.0, atol=1e-12)
