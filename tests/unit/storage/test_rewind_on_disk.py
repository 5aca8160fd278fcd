"""A rewind on disk: snapshots and metrics of every branch, `verify RUN`, and faults of the disk at every call."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.core.events import (
    ListSnapshots,
    LoadSnapshot,
    Persist,
    Persisted,
    PersistFailed,
    SnapshotLoaded,
    SnapshotsListed,
)
from coordinator.core.journal import REWIND, Changes, Entry, Journal, Segment
from coordinator.defaults import NetworkSettings
from coordinator.errors import UserError
from coordinator.page.frames import RunFrames
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.history import History, Key, history_of
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.run_check import AS_WRITTEN, DAMAGED, check_run
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_store import RunStore
from coordinator.storage.snapshots import encode_snapshot
from coordinator.topology import Topology
from neuron_node.protocol import state_of
from tests.commands import Terminal
from tests.intervened_runs import IntervenedRun, intervened_run
from tests.networks import trained, weights_sha256
from tests.stores import TOPOLOGY, FailingDisk, rows, snapshot


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> IntervenedRun:
    return intervened_run(tmp_path_factory.mktemp("intervened"))


@pytest.fixture
def run(original: IntervenedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of the run, `runs/r`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXMACHINA_RUNS", raising=False)
    shutil.copytree(original.directory.path, "runs/r")
    return RunFolder(Path("runs/r"))


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


def topology_of(run: RunFolder) -> Topology:
    config = run.config()
    return Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])


def keys_of(run: RunFolder) -> list[Key]:
    return history_of(run, run.config()).keys()


def test_all_branches_are_kept_and_the_journal_gives_the_same_bits(original: IntervenedRun) -> None:
    """The snapshots of each branch, and the metrics of the present one: a row for each step, in order."""
    keys = keys_of(original.directory)
    assert {key.branch for key in keys} == {0, 1, 2}
    assert {Key(0, 6), Key(0, 10), Key(1, 6), Key(2, 10), Key(2, 24)} <= set(keys)
    journal = JournalFile(original.directory.path, REAL_DISK).peek()
    assert [entry.kind for entry in Journal(journal).path] == ["weight", "silence", "wake", "bias"]
    again = trained(replace(original.plan, journal=journal))
    assert weights_sha256(again) == weights_sha256(original.coordinator)
    with (original.directory.path / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [int(row["step"]) for row in found] == list(range(1, 25))
    seconds = [float(row["seconds"]) for row in found]
    assert seconds == sorted(seconds)


def test_runs_check_covers_the_files_of_all_branches(run: RunFolder) -> None:
    """Also the metrics of the branches that were left: a flipped bit is found."""
    names = {
        finding.file: finding.state for finding in check_run(run) if finding.file.startswith(("history", "journal"))
    }
    assert set(names.values()) == {AS_WRITTEN}
    left = "history/branch-001.metrics.csv"
    assert {"history/branch-000.metrics.csv", left, "journal.0", "journal.1"} <= names.keys()
    content = (run.path / left).read_bytes()
    (run.path / left).write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    assert {finding.file for finding in check_run(run) if finding.state == DAMAGED} == {left}


def test_verify_of_a_run_does_its_steps_and_interventions_in_the_textbook(run: RunFolder, terminal: Terminal) -> None:
    """Every kept snapshot of every branch, with rate, weight, bias, silence and rewind."""
    said = terminal.type("verify", "r", "--json")
    facts = json.loads(said.out)
    assert said.code == 0 and facts["verified"] and facts["interventions"] == 8
    assert [(row["branch"], row["step"]) for row in facts["snapshots"]] == keys_of(run)
    assert all(row["difference"] <= 1e-12 and row["fault"] is None for row in facts["snapshots"])
    assert sum(row["interventions"] for row in facts["snapshots"]) >= 6
    table = terminal.type("verify", "--run", "r")
    assert table.code == 0 and "step 10 of branch 0" in table.out


def test_verify_of_a_run_finds_a_changed_number_in_a_snapshot(run: RunFolder, terminal: Terminal) -> None:
    """Though all checksums are right; the snapshots that follow from it differ too, or not, but nothing before it."""
    config = run.config()
    history, topology = history_of(run, config), topology_of(run)
    saved = history.load(6, topology, 0)
    states = dict(saved.snapshot.states)
    first = min(states)
    states[first] = state_of(states[first].bias + 1e-9, states[first].weights)
    changed = encode_snapshot(saved.snapshot._replace(states=states), 1, run.identity(config), saved.metrics)
    (run.path / "history/branch-000-step-000000006.snapshot").write_bytes(changed)
    said = terminal.type("verify", "r", "--json")
    faults = {(row["branch"], row["step"]): row["fault"] for row in json.loads(said.out)["snapshots"]}
    assert said.code == 1 and "differ by" in faults[(0, 6)] and faults[(0, 3)] is None


def test_verify_of_a_run_finds_a_changed_journal(run: RunFolder, terminal: Terminal) -> None:
    """Another number in an entry, or an entry too few, with right checksums; a damaged journal is one line."""
    file = JournalFile(run.path, REAL_DISK)
    entries = file.peek()
    file.write((entries[0]._replace(value=0.26), *entries[1:]))
    assert terminal.type("verify", "r").code == 1
    file.write(entries[:-1])
    said = terminal.type("verify", "r", "--json")
    assert said.code == 1 and "the journal does not have its changes" in said.out
    for name in ("journal.0", "journal.1"):
        (run.path / name).write_bytes(b"x")
    said = terminal.type("verify", "r")
    assert said.code == 2 and "journal" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"kind": "bias", "neuron": "hidden.99"}, "neuron 'hidden.99', which this network does not have"),
        ({"kind": "silence", "neuron": "hidden.99"}, "neuron 'hidden.99', which this network does not have"),
        ({"kind": "weight", "neuron": "hidden.0", "to": "input.0"}, "hidden.0 to 'input.0', which this network"),
        ({"kind": "rate", "neuron": "", "to": "", "value": -1.0}, "sets the learning rate -1"),
    ],
)
def test_journal_of_another_network_is_refused(
    run: RunFolder, terminal: Terminal, changed: dict[str, object], line: str
) -> None:
    """In one line, by `verify` and by a coordinator that goes on, although all checksums are right."""
    file = JournalFile(run.path, REAL_DISK)
    entries = file.peek()
    file.write((entries[0]._replace(**changed), *entries[1:]))  # type: ignore[arg-type]
    said = terminal.type("verify", "r")
    assert said.code == 2 and line in said.err and said.err.count("\n") == 1
    with pytest.raises(UserError, match="the journal is not that of this run") as refused:
        RunStore(run.path, run.identity(run.config())).standing(topology_of(run))
    assert line in str(refused.value)


def test_journal_with_a_change_that_the_snapshots_lack_is_refused(run: RunFolder, terminal: Terminal) -> None:
    """A coordinator would wait for a step that is over; `verify` says which snapshots lack the change."""
    file = JournalFile(run.path, REAL_DISK)
    entries = file.peek()
    last = Journal(entries)
    more = Entry(len(entries) + 1, last.branch, entries[-1].step, "f" * 16, "bias", "hidden.0", "", 0.5)
    file.write((*entries, more))
    said = terminal.type("verify", "r", "--json")
    faults = [row["fault"] for row in json.loads(said.out)["snapshots"] if row["step"] > more.step]
    assert said.code == 1 and f"it does not contain entry {more.number} of the journal" in faults
    with pytest.raises(UserError, match=f"does not contain entry {more.number}, a change after step {more.step}"):
        RunStore(run.path, run.identity(run.config())).standing(topology_of(run))


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (("xor", "--run", "r"), "give a data set, or a run"),
        (("r", "--seed", "3"), "--seed does not go with a run"),
        (("--run", "s"), "no run 's'"),
    ],
)
def test_wrong_arguments_of_verify_are_one_line(
    run: RunFolder, terminal: Terminal, arguments: tuple[str, ...], right: str
) -> None:
    """It says what would be right."""
    said = terminal.type("verify", *arguments)
    assert (said.code, said.out) == (2, "") and right in said.err and said.err.count("\n") == 1


def test_picture_and_report_show_the_present_path(run: RunFolder) -> None:
    """Not the snapshots of branches that were left; of two after one step, that of the later branch."""
    shown = [(row.branch, row.step) for row in RunFrames(run).kept]
    assert shown[:4] == [(0, 3), (0, 6), (0, 7), (2, 10)] and shown[-1] == (2, 24)
    assert len(list(RunFrames(run).measured())) == len(shown) + 1


BACK = (Entry(1, 1, 2, "0a", REWIND, origin=0, applied=0),)


def store_with_three(folder: Path, disk: FailingDisk | None = None) -> RunStore:
    """Return a store with the snapshots after steps 2, 4 and 6; the first is in the history."""
    disk = disk or FailingDisk(10**9)
    history = History(folder, "whose", disk, most_bytes=10**6, steps_per_epoch=2)
    store = RunStore(folder, "whose", disk, history)
    store.standing(TOPOLOGY)
    for step in (2, 4, 6):
        assert store.persist(Persist(snapshot(step), 3, False, rows(step - 1, step))) == Persisted(step)
    return store


def back_to_2(store: RunStore) -> Persist:
    """Return what the coordinator lets a store do to go back to step 2."""
    loaded = store.load(LoadSnapshot(b"", 2, (Segment(0, 0),)), TOPOLOGY)
    assert loaded.snapshot is not None
    return Persist(loaded.snapshot._replace(changes=Changes(1)), 4, False, (), BACK)


def test_a_snapshot_that_is_not_kept_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """In one line, by branch."""
    store = store_with_three(tmp_path)
    assert store.persist(back_to_2(store)) == Persisted(2)
    answer = store.load(LoadSnapshot(b"a", 3, Journal(BACK).segments), TOPOLOGY)
    assert answer == SnapshotLoaded(b"a", None, "no snapshot after step 3 is kept; kept are: 0, 2; 4, 6 of branch 0")
    assert store.load(LoadSnapshot(b"a", 4, (Segment(0, 0),)), TOPOLOGY).snapshot is not None
    without = RunStore(tmp_path, "whose")
    assert "keeps no history" in without.load(LoadSnapshot(b"a", 2, (Segment(0, 0),)), TOPOLOGY).reason


def test_the_kept_snapshots_are_listed_with_their_branches(tmp_path: Path) -> None:
    """Those of a branch that was left too; a run without a history says that it has none."""
    store = store_with_three(tmp_path)
    assert store.persist(back_to_2(store)) == Persisted(2)
    assert store.kept(ListSnapshots(b"a")) == SnapshotsListed(b"a", ((0, 2), (0, 4), (0, 6), (1, 2)))
    assert "keeps no history" in RunStore(tmp_path, "whose").kept(ListSnapshots(b"a")).reason


def test_a_fault_at_any_call_to_the_disk_leaves_the_old_branch_or_the_new_one(tmp_path: Path) -> None:
    """A process that begins then goes on in the branch of the journal; a second attempt succeeds, and has the right rows."""
    faults = 0
    for fails_at in range(1, 100):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        disk = FailingDisk(10**9, for_good=True)
        store = store_with_three(folder, disk)
        action = back_to_2(store)
        disk.calls, disk._fails_at = 0, fails_at
        answer = store.persist(action)
        if answer == Persisted(2):
            break
        faults += 1
        assert isinstance(answer, PersistFailed)
        crashed = tmp_path / f"crashed-{fails_at}"
        shutil.copytree(folder, crashed)
        standing = RunStore(crashed, "whose", history=History(crashed, "whose", most_bytes=10**6)).standing(TOPOLOGY)
        if standing.journal == ():
            assert standing.snapshot is not None and standing.snapshot.step == 6
        else:
            assert standing.journal == BACK
            assert standing.snapshot is None or standing.snapshot.step <= 2
        disk.broken = False
        assert store.persist(action) == Persisted(2)
        assert store.metrics.steps() == [1, 2]
        assert store.persist(Persist(snapshot(4)._replace(changes=Changes(1)), 4, False, rows(3, 4))) == Persisted(4)
        history = History(folder, "whose", most_bytes=10**6)
        keys = history.keys()
        assert [key for key in keys if key.branch == 1] == [Key(1, 2), Key(1, 4)]
        again = RunStore(folder, "whose").standing(TOPOLOGY)
        assert again.snapshot is not None and (again.snapshot.step, again.snapshot.changes.branch) == (4, 1)
    assert faults > 15


def test_lost_metrics_of_a_branch_lose_only_rows(tmp_path: Path) -> None:
    """The run goes back all the same; its metrics begin after the snapshot."""
    store = store_with_three(tmp_path)
    assert store.persist(back_to_2(store)) == Persisted(2)
    (tmp_path / "history/branch-000.metrics.csv").unlink()
    loaded = store.load(LoadSnapshot(b"", 4, (Segment(0, 0),)), TOPOLOGY).snapshot
    assert loaded is not None
    entries = (*BACK, Entry(2, 2, 4, "0b", REWIND, origin=0, applied=0))
    assert store.persist(Persist(loaded._replace(changes=Changes(2)), 5, False, (), entries)) == Persisted(4)
    assert store.metrics.steps() == []
