"""The journal on disk: every byte is checked, one good copy is enough, and it is durable before the snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.events import Persist, Persisted, PersistFailed
from coordinator.core.journal import KINDS, REWIND, Changes, Entry
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.journal_file import JournalFile, decode_journal, encode_journal
from coordinator.storage.run_store import RunStore
from coordinator.storage.snapshots import decode_snapshot, encode_snapshot
from tests.stores import TOPOLOGY, FailingDisk, rows, snapshot

ENTRIES = (
    Entry(1, 0, 3, "0a", "weight", "input.0", "output.0", 0.1),
    Entry(2, 0, 3, "0b", "silence", "input.1"),
    Entry(3, 1, 2, "0c", REWIND, origin=0, applied=0),
    Entry(4, 1, 5, "0d", "rate", value=1e-300),
)


def changed(step: int, applied: int, **more: object) -> Persist:
    """A snapshot with so many entries, and the journal until then."""
    edited = snapshot(step)._replace(changes=Changes(0, applied, **more))  # type: ignore[arg-type]
    return Persist(edited, 4, False, rows(1, step), ENTRIES[:applied])


@given(
    st.lists(st.tuples(st.sampled_from([kind for kind in KINDS if kind != REWIND]), st.floats(-1e6, 1e6)), max_size=5)
)
def test_a_journal_comes_back_as_it_was_written(made: list[tuple[str, float]]) -> None:
    """To the last bit of every number."""
    entries = tuple(
        Entry(number, 0, number, "ff", kind, "a", "b", value) for number, (kind, value) in enumerate(made, 1)
    )
    assert decode_journal(encode_journal(entries)) == entries


def test_every_changed_byte_is_found() -> None:
    """In an entry as in the checksum; so is a part, and entries that are not of one run."""
    content = encode_journal(ENTRIES)
    assert decode_journal(content) == ENTRIES
    for place in range(len(content)):
        with pytest.raises(Damaged):
            decode_journal(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Damaged):
            decode_journal(content[:place])
    for wrong in (ENTRIES[1:], (ENTRIES[0], ENTRIES[1]._replace(step=2)), (ENTRIES[0]._replace(value=float("nan")),)):
        with pytest.raises(Damaged):
            decode_journal(encode_journal(wrong))


@pytest.mark.parametrize("name", ["journal.0", "journal.1"])
@pytest.mark.parametrize("damage", ["flipped", "missing", "older"])
def test_one_good_copy_is_enough_and_heals_the_other(tmp_path: Path, name: str, damage: str) -> None:
    """Damaged, lost, or not written before the power was cut."""
    journal, path = JournalFile(tmp_path, REAL_DISK), tmp_path / name
    journal.write(ENTRIES)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(encode_journal(ENTRIES[:2]) if damage == "older" else b"x" + path.read_bytes()[1:])
    assert journal.read() == ENTRIES
    assert journal.check(name) == ENTRIES


def test_no_good_copy_ends_the_run_with_one_line(tmp_path: Path) -> None:
    """The interventions can't be guessed; nor can a journal that has fewer entries than the snapshot contains."""
    store = RunStore(tmp_path, "whose")
    assert store.standing(TOPOLOGY).journal == ()
    assert store.persist(changed(3, 2)) == Persisted(3)
    for name in ("journal.0", "journal.1"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match="the journal of the run is damaged"):
        RunStore(tmp_path, "whose").standing(TOPOLOGY)
    for name in ("journal.0", "journal.1"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="its snapshot contains 2"):
        RunStore(tmp_path, "whose").standing(TOPOLOGY)


def test_a_snapshot_keeps_the_interventions_that_it_contains() -> None:
    """Branch, entries, rate and silence; a snapshot without any is written as before."""
    changes = Changes(3, 7, 0.1, ("input.1", "output.0"))
    content = encode_snapshot(snapshot(4)._replace(changes=changes), 5, "whose")
    assert decode_snapshot(content, "whose", TOPOLOGY).snapshot.changes == changes
    assert b"changes" not in encode_snapshot(snapshot(4), 5, "whose")


def test_the_journal_is_durable_before_the_snapshot(tmp_path: Path) -> None:
    """With a fault at any call to the disk, no snapshot contains an entry that the journal lacks; a second attempt succeeds."""
    calls = 0
    for fails_at in range(1, 100):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        disk = FailingDisk(10**9)
        store = RunStore(folder, "whose", disk)
        store.standing(TOPOLOGY)
        disk.calls, disk._fails_at = 0, fails_at
        answer = store.persist(changed(3, 2))
        if answer == Persisted(3):
            break
        calls += 1
        assert isinstance(answer, PersistFailed)
        standing = RunStore(folder, "whose").standing(TOPOLOGY)
        applied = standing.snapshot.changes.applied if standing.snapshot else 0
        assert len(standing.journal) >= applied
        disk.broken = False
        assert store.persist(changed(3, 2)) == Persisted(3)
        assert RunStore(folder, "whose").standing(TOPOLOGY).journal == ENTRIES[:2]
    assert calls > 10


def test_generations_of_interventions_are_counted_on_disk(tmp_path: Path) -> None:
    """And a record without any is read as before."""
    from coordinator.core.events import PersistGeneration

    store = RunStore(tmp_path, "whose")
    store.persist_generation(PersistGeneration(2))
    assert (tmp_path / "generation.0").read_bytes().startswith(b'{"generation": 2}\n')
    store.persist_generation(PersistGeneration(5, 3))
    standing = RunStore(tmp_path, "whose").standing(TOPOLOGY)
    assert (standing.generation, standing.interventions) == (5, 3)
