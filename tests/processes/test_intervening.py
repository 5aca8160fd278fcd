"""Interventions in real programs: despite kills, the weights follow from settings, seed and journal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from coordinator.client import Client
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.history import NAME
from coordinator.storage.journal_file import JournalFile
from tests.processes.programs import Bench, await_that
from tests.processes.test_front_door import door_of

pytestmark = pytest.mark.processes

XOR = ("xor", "--batch-size", "2", "--epochs", "1000", "--snapshot-interval-steps", "20", "--name", "r")
"""2,000 steps."""
PATIENCE_SECONDS = 60.0
CHAOS = ("--chaos", "kill=4,coordinator=1", "--chaos-seed", "7", "--spares", "1")


def kept_steps(folder: Path) -> list[int]:
    """Return the steps of branch 0 that the history has."""
    matches = [NAME.fullmatch(path.name) for path in folder.glob("history/*.snapshot")]
    return sorted(int(match[2]) for match in matches if match and int(match[1]) == 0)


def intervene(bench: Bench) -> None:
    """Change a running network in every way, and go back once."""
    folder = bench.runs / "r"
    with Client(door_of(bench, "r"), PATIENCE_SECONDS) as client:

        def ask(command: str, **arguments: Any) -> dict[str, Any]:
            return client.ask(command, **arguments)[0]

        await_that(lambda: len(kept_steps(folder)) >= 2, "two snapshots in the history")
        ask("set", what="rate", value=0.375)
        ask("set", what="weight", neuron="hidden.1", to="output.0", value=-1.5)
        ask("silence", neuron="hidden.0")
        ask("pause")
        back = ask("rewind", step=kept_steps(folder)[1])
        assert back["branch"] == 1 and ask("status")["pauses_after"] is not None
        ask("step", count=3)
        ask("set", what="bias", neuron="output.0", value=0.75)
        ask("silence", neuron="hidden.2")
        ask("resume")
        ask("silence", neuron="hidden.2", end=True)


@pytest.mark.slow
def test_chaos_with_interventions_ends_as_a_calm_run_with_the_same_journal(bench: Bench) -> None:
    """The same sha256. The calm run gets settings, data and journal, and no snapshot; `verify` finds nothing in either."""
    program = bench.learn(*XOR, *CHAOS)
    intervene(bench)
    disturbed = program.result()
    assert disturbed["recoveries"] > 0 and disturbed["interventions"] == 7
    calm = bench.runs / "calm"
    (calm / "logs").mkdir(parents=True)
    for name in ("config.json", "data.npz", "journal.0", "journal.1"):
        shutil.copy(bench.runs / "r" / name, calm / name)
    repeated = bench.learn("--resume", "calm").result()
    assert repeated["weights_sha256"] == disturbed["weights_sha256"]
    assert JournalFile(calm, REAL_DISK).peek() == JournalFile(bench.runs / "r", REAL_DISK).peek()
    for name in ("r", "calm"):
        assert bench.start("coordinator", "verify", name, "--json").result()["verified"] is True
        checked = bench.start("coordinator", "runs", "--check", name, "--json").result()
        assert checked["as_written"] is True
    bench.check_nothing_left()


def test_a_killed_neuron_comes_back_and_leaves_no_trace(bench: Bench) -> None:
    """Its process is gone at once, another takes its place, and the commands say in one line what they cannot do."""
    program = bench.learn(*XOR)
    with Client(door_of(bench, "r"), PATIENCE_SECONDS) as client:
        await_that(lambda: list(bench.runs.glob("r/snapshots/*")), "a snapshot")
        assert client.ask("pause")[0]["state"] in ("paused", "pausing")
    assert bench.start("coordinator", "pause").end() == 0
    killed = bench.start("coordinator", "kill", "hidden.1", "--json").result()
    assert killed["neuron"] == "hidden.1" and killed["process"] > 0
    for arguments, right in (
        (("set", "hidden.1", "nan"), "right would be a number"),
        (("set", "hidden.9", "1"), "did you mean"),
        (("rewind", "7"), "kept are: 0"),
        (("rewind", "0", "--branch", "4"), "branch 0, the only one"),
        (("resume", "--to", "100000"), "right would be a step from"),
    ):
        said = bench.start("coordinator", *arguments)
        assert said.end() == 2 and right in said.said() and said.said().count("\n") == 1, said.said()
    assert bench.start("coordinator", "resume", "--json").result()["pauses_after"] is None
    assert program.result()["recoveries"] >= 1
    bench.check_nothing_left()
