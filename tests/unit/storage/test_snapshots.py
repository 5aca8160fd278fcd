"""A damaged snapshot is always recognised, the one before is used, and nothing else is ever loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load, save

from coordinator.core.events import Persisted, Snapshot
from coordinator.core.training import Epoch, Progress
from coordinator.errors import Damaged
from coordinator.storage.run_store import RunStore
from coordinator.storage.snapshots import DIGEST_LENGTH, MAGIC, decode_snapshot, encode_snapshot
from coordinator.topology import Topology
from neuron_node.protocol import state_of
from tests.stores import TOPOLOGY, check_is, persist, rows, snapshot

GOOD = encode_snapshot(snapshot(6), 3, "whose")
START = len(MAGIC) + DIGEST_LENGTH


def check_damaged(content: bytes, identity: str = "whose", topology: Topology = TOPOLOGY) -> None:
    with pytest.raises(Damaged) as caught:
        decode_snapshot(content, identity, topology)
    assert str(caught.value) and "\n" not in str(caught.value)


def test_the_good_one_is_good() -> None:
    """What the damage below is done to is read back to the last bit."""
    saved = decode_snapshot(GOOD, "whose", TOPOLOGY)
    check_is(saved.snapshot, 6)
    assert saved.generation == 3


def test_the_same_snapshot_gives_the_same_bytes() -> None:
    """The header is sorted, and safetensors reads it."""
    assert {encode_snapshot(snapshot(6), 3, "whose") for _ in range(50)} == {GOOD}
    size = int.from_bytes(GOOD[START : START + 8], "little")
    header = json.loads(GOOD[START + 8 : START + 8 + size])
    assert list(header) == sorted(header) and list(header["__metadata__"]) == sorted(header["__metadata__"])
    assert load(GOOD[START:]).keys() == header.keys() - {"__metadata__"}


def test_truncated_at_every_byte() -> None:
    """From nothing to all but the last byte; and one byte too many."""
    for length in range(len(GOOD)):
        check_damaged(GOOD[:length])
    check_damaged(GOOD + b"\0")


def test_every_bit_flipped() -> None:
    """In the magic, the checksum, the header and the numbers."""
    for place in range(len(GOOD)):
        for bit in range(8):
            damaged = bytearray(GOOD)
            damaged[place] ^= 1 << bit
            check_damaged(bytes(damaged))


def made(tensors: dict[str, Any], facts: dict[str, str]) -> bytes:
    """A file whose checksum and structure are right, whatever it holds."""
    payload = save(tensors, facts)
    return MAGIC + hashlib.sha256(payload).digest() + payload


def parts() -> tuple[dict[str, Any], dict[str, str]]:
    payload = GOOD[START:]
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    return load(payload), header["__metadata__"]


def test_parts_that_belong_to_another_group_or_step() -> None:
    """Two groups' states swapped, one from another step, or one step's facts on another's: the outer checksum is right,
    and it is seen all the same.
    """
    tensors, facts = parts()
    assert decode_snapshot(made(tensors, facts), "whose", TOPOLOGY).snapshot.step == 6
    for part in ("bias", "weights"):
        swapped = {**tensors, f"1.{part}": tensors[f"2.{part}"], f"2.{part}": tensors[f"1.{part}"]}
        check_damaged(made(swapped, facts))
    swapped = {name.translate({49: "2", 50: "1"}): value for name, value in tensors.items()}
    check_damaged(made(swapped, facts))
    check_damaged(made({**tensors, "1.bias": snapshot(4).states[1].bias}, facts))
    check_damaged(made(tensors, {**facts, "step": "7"}))
    check_damaged(
        made(tensors, {**facts, "step": "7", "progress": facts["progress"].replace('"step": 6', '"step": 7')})
    )


def test_snapshot_with_missing_or_extra_parts_is_refused() -> None:
    """A group, one of its parts, a fact, a group that is not in this network; and numbers of another shape or type."""
    tensors, facts = parts()
    for name in tensors:
        check_damaged(made({key: value for key, value in tensors.items() if key != name}, facts))
    for name in facts:
        check_damaged(made(tensors, {key: value for key, value in facts.items() if key != name}))
        for wrong in ("", "[]", "{}", "null", "x", "[" * 100_000):
            check_damaged(made(tensors, {**facts, name: wrong}))
    check_damaged(made({**tensors, "4.bias": np.zeros((1, 1))}, facts))
    check_damaged(made({**tensors, "1.bias": np.zeros((1, 2))}, facts))
    check_damaged(made({**tensors, "1.bias": tensors["1.bias"].astype(np.float32)}, facts))
    check_damaged(GOOD, topology=Topology((2, 2), 1))
    check_damaged(GOOD, topology=Topology((2, 1), 2))


def test_another_runs_file() -> None:
    """Whole, but of another run, network, data or arithmetic."""
    check_damaged(GOOD, identity="another")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "another run's", "another step's", "a folder"])
def test_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    """And the metrics reach as far as that one; when both are damaged, the run begins at the beginning."""
    store = RunStore(tmp_path, "whose")
    for first, last in ((1, 4), (5, 6)):
        assert persist(store, last, first) == Persisted(last)
    for name, before in (("step-000000006.snapshot", 4), ("step-000000004.snapshot", None)):
        path = tmp_path / "snapshots" / name
        content = path.read_bytes()
        path.unlink()
        if damage == "a folder":
            path.mkdir()
        else:
            damaged = {
                "truncated": content[:-1],
                "flipped": content[:-1] + bytes([content[-1] ^ 1]),
                "empty": b"",
                "another run's": encode_snapshot(snapshot(6), 3, "another"),
                "another step's": encode_snapshot(snapshot(2), 3, "whose"),
            }[damage]
            path.write_bytes(damaged)
        store = RunStore(tmp_path, "whose")
        found = store.standing(TOPOLOGY).snapshot
        if before is None:
            assert found is None and store.metrics.steps() == []
        else:
            assert found is not None
            check_is(found, before)
            assert store.metrics.steps() == list(range(1, before + 1))


def test_a_damaged_file_of_the_past_is_written_over_and_let_go(tmp_path: Path) -> None:
    """The run goes on from the one before it, comes to the same step again, and keeps the last two."""
    persist(RunStore(tmp_path, "whose"), 4, 1)
    persist(RunStore(tmp_path, "whose"), 6, 5)
    folder = tmp_path / "snapshots"
    (folder / "step-000000006.snapshot").write_bytes(b"damaged")
    store = RunStore(tmp_path, "whose")
    assert store.standing(TOPOLOGY).snapshot is not None
    assert persist(store, 6, 5) == Persisted(6) and persist(store, 8, 7) == Persisted(8)
    found = RunStore(tmp_path, "whose").standing(TOPOLOGY).snapshot
    assert found is not None and store.metrics.steps() == list(range(1, 9)) and rows(1, 8)
    check_is(found, 8)
    assert len(list(folder.iterdir())) == 2


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
any_float = st.floats(width=64)


@given(
    step=st.integers(0, 10**9),
    generation=st.integers(0, 2**62),
    bias=arrays(np.float64, (3, 1), elements=any_float),
    weights=arrays(np.float64, (2, 1), elements=any_float),
    loss_sum=finite,
    recent=st.lists(st.booleans(), max_size=5),
    epochs=st.lists(
        st.builds(Epoch, st.integers(1, 9), finite, st.none() | finite, finite, st.none() | finite), max_size=3
    ),
)
def test_encoded_snapshot_is_decoded_bit_for_bit(
    step: int,
    generation: int,
    bias: Any,
    weights: Any,
    loss_sum: float,
    recent: list[bool],
    epochs: list[Epoch],
) -> None:
    """Every bit of every number, negative zeros and NaNs too, and the progress as it was."""
    progress = Progress(step, loss_sum, 1, 2, tuple(recent), tuple(epochs))
    states = {
        number: state_of(bias[number - 1 : number], weights[number - 1 : number] if number < 3 else np.empty((1, 0)))
        for number in TOPOLOGY.groups
    }
    saved = decode_snapshot(encode_snapshot(Snapshot(step, states, progress), generation, "whose"), "whose", TOPOLOGY)
    assert (saved.generation, saved.snapshot.step, saved.snapshot.progress) == (generation, step, progress)
    for number, state in states.items():
        assert saved.snapshot.states[number].bias.tobytes() == state.bias.tobytes()
        assert saved.snapshot.states[number].weights.tobytes() == state.weights.tobytes()
