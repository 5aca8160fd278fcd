"""The command `history` on a run in memory, whose snapshots go through the store of a real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coordinator.core.events import Persist, Row, Snapshot
from coordinator.core.training import Epoch, Progress
from coordinator.defaults import NetworkSettings
from coordinator.job import Job
from coordinator.storage.history import history_of
from coordinator.storage.run_check import AS_WRITTEN, DAMAGED, check_run
from coordinator.storage.run_facts import remove
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_store import RunStore
from coordinator.topology import Topology
from neuron_node.protocol import state_of
from tests.commands import Terminal


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run on xor with a snapshot after each of six steps, each of which is an epoch; the second is the best."""
    monkeypatch.chdir(tmp_path)
    directory = Job.from_flags({"dataset": "xor", "name": "r", "epochs": 7}, None).create_run(Path("runs"))
    config = directory.config()
    topology = Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])
    store = RunStore(directory.path, directory.identity(config), history=history_of(directory, config))
    for step in range(1, 7):
        states = {
            number: state_of(
                np.full((1, group.size), float(step)),
                np.full((group.size, sum(topology.groups[g].size for g in topology.receivers[number])), 0.5),
            )
            for number, group in topology.groups.items()
        }
        epochs = tuple(Epoch(number, 0.5, None, abs(number - 2) / 8, None) for number in range(1, step))
        progress = Progress(step, 0.25, 1, 1, (), epochs)
        store.persist(Persist(Snapshot(step, states, progress), 1, False, (Row(step, step, 0.5, None, 1.0, 1),)))
    return directory


def test_history_lists_the_kept_snapshots(directory: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    """The list has epoch, losses, size and digest of each snapshot, and marks the snapshot with the lowest held-out loss."""
    said = Terminal(capfd).type("history", "r", "--json")
    assert said.code == 0, said.err
    rows = json.loads(said.out)["snapshots"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6] == [row["epoch"] for row in rows]
    assert [row["step"] for row in rows if row["best"]] == [2]
    assert [row["held_out_loss"] for row in rows][:4] == [0.125, 0.0, 0.125, 0.25]
    assert len({row["sha256"] for row in rows}) == 6 and {row["branch"] for row in rows} == {0}
    assert rows[0]["size_bytes"] == (directory.path / rows[0]["file"]).stat().st_size


def test_history_is_checked_and_removed_with_the_run(directory: RunFolder) -> None:
    """`runs --check` covers each file of the history, and `runs rm` leaves none."""
    path = directory.path / "history" / "branch-000-step-000000002.snapshot"
    found = {finding.file: finding.state for finding in check_run(directory)}
    assert [found[name] for name in found if name.startswith("history/")] == [AS_WRITTEN] * 4
    path.write_bytes(path.read_bytes()[:-1])
    assert {finding.file: finding.state for finding in check_run(directory)}[f"history/{path.name}"] == DAMAGED
    remove(directory)
    assert not directory.path.exists()
