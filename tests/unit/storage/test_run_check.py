"""Files of a run that are damaged, missing or of an unusual kind: said, refused or restored, and nothing hangs."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from pathlib import Path

import pytest

from coordinator.storage.model_file import load_model
from coordinator.storage.run_check import AS_WRITTEN, DAMAGED, GOOD, MISSING, UNKNOWN, check_run
from coordinator.storage.run_facts import details_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_store import RunStore
from coordinator.topology import Topology
from tests.commands import Terminal
from tests.finished_runs import EPOCHS, finished_run

LAST = f"snapshots/step-{EPOCHS:09d}.snapshot"
CHECKED = (
    "config.json", "data.npz", "events.jsonl", "generation.0", "generation.1", "metrics.csv", "model.safetensors",
    "placements.json", "result.json", f"snapshots/step-{EPOCHS // 2:09d}.snapshot", LAST,
)  # fmt: skip
FLIPS_OF_A_FILE = 150


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("original")).path


@pytest.fixture
def run(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished run, `runs/r`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXMACHINA_RUNS", raising=False)
    shutil.copytree(original, "runs/r")
    return RunFolder(Path("runs/r"))


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


def states(run: RunFolder) -> dict[str, str]:
    return {finding.file: finding.state for finding in check_run(run)}


def test_check_of_an_undamaged_run_says_that_all_files_are_whole(run: RunFolder, terminal: Terminal) -> None:
    """Every file is, and the exit code says so; as a table and as JSON."""
    assert states(run) == dict.fromkeys(CHECKED, AS_WRITTEN)
    said = terminal.type("runs", "--check", "r")
    assert (said.code, said.err) == (0, "") and said.out.count("as written") == len(CHECKED)
    facts = json.loads(terminal.type("runs", "--check", "r", "--json").out)
    assert facts["as_written"] is True and [file["file"] for file in facts["files"]] == sorted(CHECKED)


@pytest.mark.parametrize("name", CHECKED)
def test_damage_to_any_file_is_said(run: RunFolder, terminal: Terminal, name: str) -> None:
    """Flipped bits, lengths and swapped blocks, drawn from a seed: either the file says the same as before, or it is damaged,
    in one line. Lost, it is missing.
    """
    path = run.path / name
    good = path.read_bytes()
    meaning = None if not name.endswith(".json") else json.loads(good)
    dice = random.Random(name)
    for number in range(FLIPS_OF_A_FILE):
        damaged = bytearray(good)
        if number % 5 == 4:
            damaged = damaged[: dice.randrange(len(good))]
        else:
            damaged[dice.randrange(len(good))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        found = {finding.file: finding for finding in check_run(run)}
        if found[name].state != DAMAGED and name == "events.jsonl":
            # A log that ends earlier with a whole line: every event that is left is genuine.
            assert good.startswith(bytes(damaged)) and (not damaged or damaged.endswith(b"\n")), number
        elif found[name].state != DAMAGED:
            # White space between the words of JSON, or a blank that a line of the log does without.
            assert meaning is not None and json.loads(bytes(damaged)) == meaning, (name, number)
        else:
            assert found[name].why and "\n" not in found[name].why
    path.unlink()
    assert states(run)[name] == MISSING if name not in CHECKED[9:10] else name not in states(run)
    assert terminal.type("runs", "--check", "r").code == (0 if name in CHECKED[9:10] else 1)


def test_foreign_files_are_named(run: RunFolder) -> None:
    """They are no part of the run; what a killed program left half written is no damage."""
    (run.path / "notes.txt").write_text("mine")
    (run.path / ".result.json.new").write_text("{")
    found = states(run)
    assert found.pop("notes.txt") == UNKNOWN and found.pop(".result.json.new") in GOOD
    assert found == dict.fromkeys(CHECKED, AS_WRITTEN)


def make(path: Path, kind: str) -> None:
    """Something unusual in a file's place."""
    path.unlink(missing_ok=True)
    match kind:
        case "a FIFO":
            os.mkfifo(path)
        case "a socket":
            here = Path.cwd()
            os.chdir(path.parent)
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path.name)
            os.chdir(here)
        case "a folder":
            path.mkdir()
        case "a loop":
            path.symlink_to(path.name)
        case _:
            path.symlink_to(kind)


KINDS = ("a FIFO", "/dev/zero", "a socket", "a folder", "a loop", "/no/such/file")
PLACES = (*CHECKED, "lock", "launcher.lock", "endpoints.json", "logs/coordinator.log")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PLACES)
def test_unusual_files_are_not_waited_for(run: RunFolder, terminal: Terminal, kind: str, name: str) -> None:
    """No command hangs, none ends in a traceback, and the run can be removed."""
    make(run.path / name, kind)
    Path("rows.csv").write_text("0,1\n")
    for command in (("runs",), ("runs", "show", "r"), ("runs", "--check", "r"), ("learn", "--resume", "r"),
                    ("logs", "--run", "r"), ("status", "--run", "r", "--patience", "0.1"),
                    ("predict", "--model", str(run.model), "rows.csv")):  # fmt: skip
        said = terminal.type(*command)
        assert said.code in (0, 1, 2) and "Traceback" not in said.err, (command, said.err)
        if command[0] != "runs":
            assert len(said.err.splitlines()) <= 2, (command, said.err)
    if (run.path / "config.json").is_dir():
        return
    assert terminal.type("runs", "rm", "r") == (0, "", "")
    assert list(Path("runs").iterdir()) == []


def test_an_edited_result_is_not_shown_as_genuine(run: RunFolder, terminal: Terminal) -> None:
    """Its figures are not shown, the run is called damaged, and `--check` says which file."""
    path = run.path / "result.json"
    path.write_text(path.read_text().replace('"test_accuracy": 0.', '"test_accuracy": 1.'))
    assert details_of(run)["figures"] is None
    rows = json.loads(terminal.type("runs", "--json").out)["runs"]
    assert [row["state"] for row in rows] == ["damaged"]
    assert states(run)["result.json"] == DAMAGED


@pytest.mark.parametrize("damage", ["lost", "flipped", "of another run"])
def test_the_model_of_a_finished_run_is_restored(
    run: RunFolder, terminal: Terminal, tmp_path: Path, damage: str
) -> None:
    """From the final snapshot, bit for bit, without any process; of one that is as it was written this is refused."""
    good = run.model.read_bytes()
    digest = load_model(run.model).parameters.sha256()
    said = terminal.type("learn", "--resume", "r")
    assert said.code == 2 and "has finished" in said.err
    if damage == "lost":
        run.model.unlink()
    elif damage == "flipped":
        run.model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    else:
        other = finished_run(tmp_path / "others")
        config = other.config()
        assert config["run"] != run.config()["run"]
        model = load_model(other.model)
        model.parameters.biases[1][0] += 1.0
        run.model.write_bytes(b"")
        run.model.unlink()
        from coordinator.storage.model_file import save_model

        save_model(run.model, model)
    assert states(run)["model.safetensors"] in (DAMAGED, MISSING)
    said = terminal.type("learn", "--resume", "r", "--json")
    assert said.code == 0 and "restored from the run's final snapshot" in said.err
    assert json.loads(said.out)["weights_sha256"] == digest
    assert load_model(run.model).parameters.sha256() == digest and states(run) == dict.fromkeys(CHECKED, AS_WRITTEN)


def test_a_model_that_cannot_be_restored(run: RunFolder, terminal: Terminal) -> None:
    """One line: the run has finished, its model is lost, and so is the final snapshot."""
    run.model.unlink()
    (run.path / LAST).write_bytes(b"damaged")
    said = terminal.type("learn", "--resume", "r")
    assert said.code == 2 and len(said.err.splitlines()) == 1
    assert "can't be restored" in said.err and not run.model.exists()


TOPOLOGY = Topology((2, 3, 1), 1)


def store_of(run: RunFolder) -> RunStore:
    return RunStore(run.path, run.identity(run.config()))


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_snapshots_are_reported(run: RunFolder, damaged: int) -> None:
    """Of one, and of both: with what is used in its place."""
    for path in sorted((run.path / "snapshots").iterdir(), reverse=True)[:damaged]:
        path.write_bytes(b"damaged")
    store = store_of(run)
    standing = store.standing(TOPOLOGY)
    assert (standing.snapshot is None) == (damaged == 2) and len(store.damage) == damaged
    instead = f"continuing after step {EPOCHS // 2}" if damaged == 1 else "starting again with the first step"
    assert all(instead in line and "snapshot" in line for line in store.damage)


@pytest.mark.parametrize("damage", ["lost", "edited", "cut"])
def test_damaged_metrics_are_reported_and_never_taken_for_genuine(run: RunFolder, damage: str) -> None:
    """The run continues with new rows; the damaged file is kept under another name."""
    path = run.path / "metrics.csv"
    content = path.read_bytes()
    match damage:
        case "lost":
            path.unlink()
        case "edited":
            path.write_bytes(content.replace(b"0.5", b"0.6", 1))
        case "cut":
            path.write_bytes(content[: len(content) // 2])
    store = store_of(run)
    assert store.standing(TOPOLOGY).snapshot is not None
    [line] = store.damage
    assert "metrics.csv" in line and store.metrics.steps() == []
    assert (run.path / "metrics.csv.damaged").exists() == (damage != "lost")
    again = store_of(run)
    again.standing(TOPOLOGY)
    assert len(again.damage) == 1
