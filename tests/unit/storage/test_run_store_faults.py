"""Whatever a disk does, and whenever the power goes: what a later life finds fits together."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from coordinator.core.events import GenerationPersisted, Persisted, PersistFailed, PersistGeneration
from coordinator.storage.run_store import RunStore
from tests.stores import TOPOLOGY, FailingDisk, ForgetfulDisk, PowerCut, all_calls, check_is, persist

SNAPSHOTS = ((1, 2), (3, 4), (5, 6), (7, 8))
FOLDER = Path("/runs/made")


def check_consistent(store: RunStore, said: int, begun: int) -> int:
    """The standing's snapshot is the one that was said to be durable, or the one that was being written; the metrics are
    those of its steps, each once. The generation is the one that was said to be durable, or the next. The step.
    """
    standing = store.standing(TOPOLOGY)
    step = standing.snapshot.step if standing.snapshot else 0
    assert step in (said, begun)
    if standing.snapshot:
        check_is(standing.snapshot, step)
    assert store.metrics.steps() == list(range(1, step + 1))
    return step


class Life:
    """A coordinator's writes, one after another, and what it has been told to be durable."""

    def __init__(self) -> None:
        self.said = self.begun = 0
        self.generation_said = self.generation_begun = 0

    def run(self, store: RunStore, tries: int = 1) -> None:
        """A generation, then its snapshot, and so on; what failed is tried again."""
        for number, (first, last) in enumerate(SNAPSHOTS, start=1):
            self.generation_begun = number
            if self._try(tries, lambda: store.persist_generation(PersistGeneration(self.generation_begun))):
                self.generation_said = number
            self.begun = last
            if not self._try(tries, lambda: persist(store, last, first)):  # noqa: B023
                return
            self.said = last

    @staticmethod
    def _try(tries: int, write: object) -> bool:
        for _ in range(tries):
            answer = write()  # type: ignore[operator]
            if isinstance(answer, Persisted | GenerationPersisted):
                return True
            assert isinstance(answer, PersistFailed) and "made to fail" in answer.reason and "\n" not in answer.reason
        return False


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_every_call_fails(tmp_path: Path, code: int, for_good: bool) -> None:
    """A failure of any one call is said, nothing is said to be durable that is not, and what follows makes it good; a
    disk that stays broken leaves the last durable snapshot to a life with a better one.
    """

    def attempt(at: int) -> bool | None:
        folder = tmp_path / f"{code}-{for_good}-{at}"
        folder.mkdir()
        disk = FailingDisk(at, code, for_good=for_good)
        life = Life()
        life.run(RunStore(folder, "whose", disk), tries=2)
        if not for_good:
            assert life.said == SNAPSHOTS[-1][1]
        later = RunStore(folder, "whose")
        assert check_consistent(later, life.said, life.begun) <= life.begun
        generation = later.standing(TOPOLOGY).generation
        assert max(life.generation_said, 0) <= generation
        return True if disk.calls >= at else None

    assert all_calls(attempt) >= 30


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_every_call_of_a_later_life_fails(tmp_path: Path, code: int) -> None:
    """A disk that can't be read is an error, or the snapshot before is taken with its metrics; never a wrong pair."""
    persist(RunStore(tmp_path, "whose"), 2, 1)
    persist(RunStore(tmp_path, "whose"), 4, 3)

    def attempt(at: int) -> bool | None:
        folder = tmp_path / str(at)
        folder.mkdir()
        for path in (tmp_path / "metrics.csv", *(tmp_path / "snapshots").iterdir()):
            copy = folder / path.relative_to(tmp_path)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
        disk = FailingDisk(at, code)
        store = RunStore(folder, "whose", disk)
        try:
            standing = store.standing(TOPOLOGY)
        except OSError:
            return True
        calls, disk.broken = disk.calls, False
        assert standing.snapshot is not None
        check_is(standing.snapshot, standing.snapshot.step)
        assert store.metrics.steps() == list(range(1, standing.snapshot.step + 1))
        return True if calls >= at else None

    assert all_calls(attempt) >= 4


@pytest.mark.parametrize(("names_kept", "content_kept"), list(itertools.product((False, True), repeat=2)))
def test_the_power_goes_between_any_two_calls(names_kept: bool, content_kept: bool) -> None:
    """Whatever of that which was not synced survives: a later life finds what was said to be durable, or a little more,
    and its metrics fit; and it can go on to the end.
    """

    def attempt(cut_at: int) -> bool | None:
        disk = ForgetfulDisk(cut_at)
        life = Life()
        try:
            life.run(RunStore(FOLDER, "whose", disk))
        except PowerCut:
            pass
        else:
            return None
        later = RunStore(FOLDER, "whose", disk.after_the_cut(names_kept=names_kept, content_kept=content_kept))
        step = check_consistent(later, life.said, life.begun)
        generation = later.standing(TOPOLOGY).generation
        assert life.generation_said <= generation
        for first, last in SNAPSHOTS:
            if first > step:
                assert persist(later, last, first) == Persisted(last)
        assert later.metrics.steps() == list(range(1, 9))
        return True

    assert all_calls(attempt) >= 30


def test_coordinator_relies_only_on_durable_files() -> None:
    """A coordinator is killed between any two calls; the next one finds what its predecessor wrote, though it may be in
    memory only; then the power goes, and what the second one went by is still there.
    """

    def attempt(killed_at: int) -> bool | None:
        disk = ForgetfulDisk(killed_at)
        life = Life()
        try:
            life.run(RunStore(FOLDER, "whose", disk))
        except PowerCut:
            pass
        else:
            return None
        step = check_consistent(RunStore(FOLDER, "whose", disk), life.said, life.begun)
        third = RunStore(FOLDER, "whose", disk.after_the_cut(names_kept=False, content_kept=False))
        assert check_consistent(third, step, step) == step
        return True

    assert all_calls(attempt) >= 30


def test_two_calls_fail_and_then_the_power_goes() -> None:
    """Any two: what was said to be durable after they were made good is there, with its metrics, when the power has gone
    at the very end.
    """
    undisturbed = ForgetfulDisk()
    Life().run(RunStore(FOLDER, "whose", undisturbed))
    # Attempts that are repeated make more calls: the first failure anywhere, the second soon after it.
    for first, later in itertools.product(range(1, undisturbed.calls + 1), range(1, 13)):
        disk = ForgetfulDisk(fails_at=(first, first + later))
        life = Life()
        life.run(RunStore(FOLDER, "whose", disk), tries=3)
        assert life.said == SNAPSHOTS[-1][1]
        after = RunStore(FOLDER, "whose", disk.after_the_cut(names_kept=False, content_kept=False))
        assert check_consistent(after, life.said, life.begun) == life.said


@pytest.mark.parametrize("missing", ["sync", "sync_folder"])
def test_missing_sync_is_found_by_these_tests(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without syncing files, or folders, the power cuts above find a run that lost what was said to be durable."""
    monkeypatch.setattr(ForgetfulDisk, missing, lambda self, path: self._call())
    with pytest.raises(AssertionError):
        test_the_power_goes_between_any_two_calls(False, False)
