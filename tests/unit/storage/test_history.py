"""The history: never more than its limits, always the newest and the best, evenly spread, and no half file after a kill."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.events import Persist, Persisted
from coordinator.core.training import Epoch
from coordinator.errors import UserError
from coordinator.storage.disk import REAL_DISK, Disk
from coordinator.storage.history import Fact, History, Key, best_of, thinned
from coordinator.storage.run_store import RunStore
from tests.stores import TOPOLOGY, FailingDisk, check_is, rows, snapshot

losses = st.none() | st.floats(0.0, 1.0)
LOSSES = [0.9, 0.5, 0.1, 0.4, 0.3, 0.6, 0.7, 0.8, 0.75, 0.72]
"""The held-out loss after each epoch of two steps; the third is the best."""


def save(folder: Path, last: int, disk: Disk = REAL_DISK, *, most: int = 3, most_bytes: int = 10**6) -> History:
    """Save the snapshots after steps 1 to `last`, each by another process, as after a resume."""
    history = History(folder, "whose", disk, most_bytes=most_bytes, most=most, steps_per_epoch=2)
    for step in range(1, last + 1):
        keep(history, folder, step, disk)
    return history


def keep(history: History, folder: Path, step: int, disk: Disk = REAL_DISK) -> None:
    """Save the snapshot after a step, with the metrics of all epochs before it."""
    made = snapshot(step)
    epochs = tuple(Epoch(number + 1, 0.5, None, LOSSES[number], None) for number in range((step - 1) // 2))
    made = made._replace(progress=type(made.progress)(step, 0.1 + step, step, 4 * step, (), epochs))
    store = RunStore(folder, "whose", disk, history)
    assert store.persist(Persist(made, 3, False, rows(step, step))) == Persisted(step)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "history").iterdir()) if (folder / "history").is_dir() else []


@given(
    facts=st.dictionaries(
        st.builds(Key, st.integers(0, 2), st.integers(1, 500)),
        st.builds(Fact, st.integers(1, 100), losses),
        max_size=40,
    ),
    most=st.integers(1, 20),
    most_bytes=st.integers(0, 2_000),
)
def test_never_more_than_the_limits_always_the_newest_and_the_best(
    facts: dict[Key, Fact], most: int, most_bytes: int
) -> None:
    """No snapshot is removed while all fit. The best is removed only if it does not fit alone, the newest only if both do not fit."""
    kept = thinned(facts, most, most_bytes)
    assert len(kept) <= most and sum(facts[key].size_bytes for key in kept) <= most_bytes
    assert kept == sorted(kept) and set(kept) <= set(facts) and thinned(facts, most, most_bytes) == kept
    if len(facts) <= most and sum(fact.size_bytes for fact in facts.values()) <= most_bytes:
        assert kept == sorted(facts)
    if not facts:
        return
    best, newest = best_of(facts), max(facts)
    needed = {newest} | ({best} if best else set())
    if len(needed) <= most and sum(facts[key].size_bytes for key in needed) <= most_bytes:
        assert needed <= set(kept)
    if best and facts[best].size_bytes <= most_bytes:
        assert best in kept


@given(
    intervals=st.lists(st.integers(1, 60), min_size=1, max_size=150),
    most=st.integers(4, 12),
    best=st.integers(0, 149),
)
def test_the_kept_ones_are_spread_evenly(intervals: list[int], most: int, best: int) -> None:
    """As they arrive one after the other: no gap is longer than twice the even share (without newest and best), or than an
    interval between snapshots.
    """
    kept: list[Key] = []
    step, facts = 0, {}
    for number, interval in enumerate(intervals):
        step += interval
        facts[Key(0, step)] = Fact(1, 0.0 if number == best else 1.0)
        kept = thinned({key: facts[key] for key in [*kept, Key(0, step)]}, most, 10**9)
    steps = [0, *(key.step for key in kept)]
    widest = max(after - before for before, after in itertools.pairwise(steps))
    assert widest <= max(*intervals, 0, 2 * step / (most - 1))


def test_best_is_the_earliest_of_the_lowest_known_losses() -> None:
    """Unknown losses never win; of equal ones the earliest does."""
    facts = {Key(0, 1): Fact(1), Key(0, 2): Fact(1, 0.5), Key(0, 3): Fact(1, 0.2), Key(1, 2): Fact(1, 0.2)}
    assert best_of(facts) == Key(0, 3) and best_of({Key(0, 1): Fact(1)}) is None


def test_old_snapshots_go_to_the_history(tmp_path: Path) -> None:
    """The last two stay where they are; of the others three are kept, among them the best, and each can be loaded."""
    history = save(tmp_path, 20)
    kept = history.kept(TOPOLOGY)
    assert len(names(tmp_path)) == 3 and len(list((tmp_path / "snapshots").iterdir())) == 2
    assert [row.step for row in kept][-3:] == [18, 19, 20] and [row.fault for row in kept] == [None] * 5
    best = next(row for row in kept if row.best)
    assert (best.step // 2, best.held_out_loss, best.epoch) == (3, 0.1, 3)
    for row in kept:
        found = history.load(row.step, TOPOLOGY).snapshot
        assert found.step == row.step and row.size_bytes == (tmp_path / row.file).stat().st_size
        assert row.sha256 == TOPOLOGY.assemble(snapshot(row.step).states).sha256()


def test_resumed_run_keeps_the_same_snapshots(tmp_path: Path) -> None:
    """A new process after each step ends with the history of one process: it depends on the steps alone."""
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    save(tmp_path / "one", 20)
    for step in range(1, 21):
        keep(History(tmp_path / "many", "whose", most_bytes=10**6, most=3, steps_per_epoch=2), tmp_path / "many", step)
    assert names(tmp_path / "one") == names(tmp_path / "many")


def test_size_limits_the_history(tmp_path: Path) -> None:
    """With 0 there is no history; with room for one snapshot, one is kept."""
    for size, count in ((0, 0), (10, 0), (2_000, 1)):
        folder = tmp_path / str(size)
        folder.mkdir()
        save(folder, 8, most_bytes=size)
        total = sum((folder / "history" / name).stat().st_size for name in names(folder))
        assert total <= size and len(names(folder)) >= count and (count or not names(folder))


def test_step_that_is_not_kept_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """One line names the kept steps; a branch without any says so."""
    history = save(tmp_path, 4)
    with pytest.raises(UserError, match=r"^no snapshot after step 9 is kept; kept are: 1, 2, 3, 4$"):
        history.load(9, TOPOLOGY)
    with pytest.raises(UserError, match="none is kept"):
        history.load(4, TOPOLOGY, branch=1)


def test_damaged_snapshot_is_named_and_never_loaded(tmp_path: Path) -> None:
    """A flipped bit shows in the list and stops a load; the others stay good."""
    history = save(tmp_path, 5)
    path = tmp_path / "history" / names(tmp_path)[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [row.fault for row in history.kept(TOPOLOGY)] == ["its checksum does not match", None, None, None, None]
    with pytest.raises(UserError, match=r"can't be used \(its checksum does not match\)"):
        history.load(1, TOPOLOGY)
    assert history.check(path.name, TOPOLOGY) == "its checksum does not match"


def test_fault_of_the_disk_costs_a_snapshot_but_not_the_run(tmp_path: Path) -> None:
    """After a failure of any call to the disk, the history has only whole files, and no more than its limit allows."""
    at = 1
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        save(folder, 6)
        disk = FailingDisk(at)
        history = History(folder, "whose", disk, most_bytes=10**6, most=3, steps_per_epoch=2)
        store = RunStore(folder, "whose", disk, history)
        tries = 0
        while store.persist(Persist(snapshot(7), 3, False, rows(7, 7))) != Persisted(7):
            tries += 1
        assert tries <= 1
        kept = History(folder, "whose", most_bytes=10**6, most=3, steps_per_epoch=2).kept(TOPOLOGY)
        assert [row.fault for row in kept] == [None] * len(kept) and len(names(folder)) <= 3
        check_is(History(folder, "whose", most_bytes=1).load(7, TOPOLOGY).snapshot, 7)
        if disk.calls < at:
            break
        at += 1
    assert at > 10


def test_kill_at_any_call_leaves_whole_files(tmp_path: Path) -> None:
    """A process that does nothing after a call leaves files that are whole, and the next process goes on."""
    for at in range(1, 12):
        folder = tmp_path / str(at)
        folder.mkdir()
        save(folder, 6)
        disk = FailingDisk(at, errno.EIO, for_good=True)
        history = History(folder, "whose", disk, most_bytes=10**6, most=3, steps_per_epoch=2)
        RunStore(folder, "whose", disk, history).persist(Persist(snapshot(7), 3, False, rows(7, 7)))
        later = History(folder, "whose", most_bytes=10**6, most=3, steps_per_epoch=2)
        assert all(row.fault is None for row in later.kept(TOPOLOGY)) and len(names(folder)) <= 3
        keep(later, folder, 8)
        assert [row.step for row in later.kept(TOPOLOGY)][-1] == 8 and len(names(folder)) <= 3
