"""What a run leaves on disk: a later life finds the last durable snapshot, a higher generation, and each step's row once."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.core.events import GenerationPersisted, Persisted, PersistFailed, PersistGeneration
from coordinator.storage.disk import RealDisk
from coordinator.storage.run_store import BEYOND_ANY, RunStore
from tests.stores import TOPOLOGY, check_is, persist


def test_a_later_life_finds_what_an_earlier_one_left(tmp_path: Path) -> None:
    """Generation, snapshot to the last bit, progress; the older of three snapshots is gone."""
    store = RunStore(tmp_path, "whose")
    assert store.standing(TOPOLOGY) == (0, None, 0, ())
    assert store.persist_generation(PersistGeneration(7)) == GenerationPersisted(7)
    for first, last in ((1, 2), (3, 4), (5, 6)):
        assert persist(store, last, first) == Persisted(last)
    standing = RunStore(tmp_path, "whose").standing(TOPOLOGY)
    assert standing.generation == 7 and standing.snapshot is not None
    check_is(standing.snapshot, 6)
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        "step-000000004.snapshot",
        "step-000000006.snapshot",
    ]


def test_metrics_reach_exactly_as_far_as_the_snapshot(tmp_path: Path) -> None:
    """Rows after it, and half a row, are let go; those before it stay as they are, each once."""
    persist(RunStore(tmp_path, "whose"), 4, 1)
    metrics = tmp_path / "metrics.csv"
    before = metrics.read_bytes()
    metrics.write_bytes(before + b"5,1,0.2,,0.5,3\r\n6,1,0.1")
    store = RunStore(tmp_path, "whose")
    store.standing(TOPOLOGY)
    assert metrics.read_bytes() == before and store.metrics.steps() == [1, 2, 3, 4]
    persist(store, 6, 5)
    assert store.metrics.steps() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kept_bytes", [0, 10, -1])
def test_metrics_that_were_cut_are_put_aside(tmp_path: Path, kept_bytes: int) -> None:
    """To nothing, too: the rows that follow begin a new file with its heading, and the run says so."""
    persist(RunStore(tmp_path, "whose"), 4, 1)
    metrics = tmp_path / "metrics.csv"
    metrics.write_bytes(metrics.read_bytes()[:kept_bytes])
    store = RunStore(tmp_path, "whose")
    store.standing(TOPOLOGY)
    persist(store, 6, 5)
    assert store.metrics.steps() == [5, 6] and metrics.read_text().startswith("step,")
    assert (tmp_path / "metrics.csv.damaged").exists() and "metrics.csv is cut short" in store.damage[0]


class FullDisk(RealDisk):
    """Refuses to write snapshots while it is full."""

    full = True

    def write(self, path: Path, content: bytes) -> None:
        """Nothing fits but metrics."""
        if self.full and "snapshot" in path.name:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        super().write(path, content)


def test_an_attempt_that_failed_half_way_leaves_no_row_twice(tmp_path: Path) -> None:
    """A full disk is said, nothing is left of the snapshot, and the next attempt succeeds."""
    disk = FullDisk()
    store = RunStore(tmp_path, "whose", disk)
    for _ in range(2):
        failed = persist(store, 4, 1)
        assert isinstance(failed, PersistFailed) and "No space left" in failed.reason
    assert list((tmp_path / "snapshots").iterdir()) == []
    disk.full = False
    assert persist(store, 4, 1) == Persisted(4)
    assert store.metrics.steps() == [1, 2, 3, 4]


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 40])
def test_a_generation_outlives_one_of_its_copies(tmp_path: Path, damage: bytes) -> None:
    """With one copy damaged the other counts; with both, a generation far beyond any that can have been used is taken."""
    store = RunStore(tmp_path, "whose")
    store.persist_generation(PersistGeneration(9))
    persist(store, 2, 1)
    (tmp_path / "generation.0").write_bytes(damage)
    assert RunStore(tmp_path, "whose").standing(TOPOLOGY).generation == 9
    (tmp_path / "generation.1").write_bytes(damage)
    assert RunStore(tmp_path, "whose").standing(TOPOLOGY).generation == 3 + BEYOND_ANY
