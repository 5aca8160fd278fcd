"""`runs`, `runs show`, `runs rm`."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import UserError
from coordinator.job import Job
from coordinator.storage.run_facts import facts_of, size_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import EventLog, events_of
from coordinator.storage.snapshots import encode_snapshot
from tests.commands import Terminal
from tests.stores import snapshot


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXMACHINA_RUNS", raising=False)
    return Terminal(capfd)


def made(name: str, **result: Any) -> RunFolder:
    """A run on xor; with figures if it has finished."""
    directory = Job.from_flags({"dataset": "xor", "name": name, "epochs": 7}, None).create_run(Path("runs"))
    if result:
        directory.write_json("result", result)
    return directory


def test_no_run_at_all(terminal: Terminal) -> None:
    """Is said on stderr; JSON is an empty list."""
    said = terminal.type("runs")
    assert (said.code, said.out) == (0, "") and "there is no run in runs" in said.err
    assert json.loads(terminal.type("runs", "--json").out) == {"runs": []}


def test_every_state_has_a_name(terminal: Terminal) -> None:
    """Finished, failed, interrupted, running, answering, damaged: what the folder and its locks tell."""
    made("done", step=7, test_accuracy=0.5)
    made("failed").write_json("failure", {"reason": "diverged"})
    made("cut")
    made("broken").path.joinpath("config.json").write_text("{")
    running, answering = made("goes-on"), made("stays", step=7, test_accuracy=1.0)
    running.lock()
    answering.lock()
    Path("runs/no-run").mkdir()
    rows = {row["name"]: row for row in json.loads(terminal.type("runs", "--json").out)["runs"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "done": "finished", "failed": "failed", "cut": "interrupted", "broken": "damaged", "goes-on": "running", "stays": "answering",
    }  # fmt: skip
    done = rows["done"]
    assert (done["dataset"], done["layers"][0], done["step"], done["steps"], done["accuracy"]) == ("xor", 2, 7, 7, 0.5)
    assert done["size_bytes"] == size_of(Path("runs/done")) > 0 and done["begun"]
    table = terminal.type("runs").out.splitlines()
    running.unlock()
    answering.unlock()
    assert table[0].split()[:3] == ["run", "data", "set"] and len(table) == 7


def test_a_run_that_has_not_finished_tells_how_far_it_came(terminal: Terminal) -> None:
    """The step of its last snapshot, and the accuracy of the last epoch that was measured."""
    directory = made("r")
    folder = directory.path / "snapshots"
    folder.mkdir()
    for step in (4, 6):
        (folder / f"step-{step:09d}.snapshot").write_bytes(encode_snapshot(snapshot(step), 1, "whose"))
    (folder / "step-000000006.snapshot").write_bytes(b"damaged")
    log = EventLog(directory.path / "events.jsonl")
    log.note("epoch", {"epoch": 1, "test_accuracy": 0.25})
    log.note("recovery", {"reason": "node-1 ended", "generation": 2, "step": 4})
    log.note("recovered", {"reason": "node-1 ended", "generation": 2, "step": 4, "seconds": 0.125})
    log.note("progress", {"step": 5})
    facts = facts_of(directory)
    assert (facts.state, facts.step, facts.accuracy) == ("interrupted", 6, 0.25)
    shown = json.loads(terminal.type("runs", "show", "r", "--json").out)
    assert [(entry["step"], entry["whole"]) for entry in shown["snapshots"]] == [(4, True), (6, False)]
    assert [event["event"] for event in shown["recoveries"]] == ["recovery", "recovered"]
    assert [event["event"] for event in shown["events"]] == ["epoch", "recovery", "recovered"]
    assert shown["config"]["dataset"] == "xor" and shown["figures"] is None
    text = terminal.type("runs", "show", "r").out
    for words in ("node-1 ended", "no, damaged", "interrupted", "seconds 0.125"):
        assert words in text


def test_runs_are_removed(terminal: Terminal) -> None:
    """Those that are named, with everything in them; links in them are not followed."""
    for name in ("a", "b", "c"):
        made(name)
    precious = Path("precious")
    precious.mkdir()
    (precious / "file").write_text("kept")
    Path("runs/a/link").symlink_to(precious.resolve())
    Path("runs/a/logs/link").symlink_to(precious.resolve())
    assert terminal.type("runs", "rm", "a", "b", "a") == (0, "", "")
    assert [path.name for path in Path("runs").iterdir()] == ["c"] and (precious / "file").read_text() == "kept"


@pytest.mark.parametrize("bad", ["nothing", "folder", "link", "broken", "../precious", ".", "locked"])
def test_folder_that_is_no_finished_run_is_not_removed(terminal: Terminal, bad: str) -> None:
    """No run, a folder of another kind, a link to a run elsewhere, one that only looks like a run, a way out, a run that
    goes on: one line, exit 2, and the good one that was named before it stays too.
    """
    made("good")
    made("broken").path.joinpath("config.json").write_text('{"version": "0.1.0"}')
    Path("runs/broken/precious").write_text("mine")
    Path("runs/folder").mkdir()
    elsewhere = made("elsewhere").path.rename("precious")
    Path("runs/link").symlink_to(elsewhere.resolve())
    holder = made("locked")
    holder.lock()
    before = sorted(str(path) for path in Path().rglob("*"))
    said = terminal.type("runs", "rm", "good", bad)
    holder.unlock()
    assert said.code == 2 and len(said.err.splitlines()) == 1, said.err
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize("config", [None, "", '{"version": "0.1.0"}'])
def test_a_run_that_lost_its_config_can_be_removed(terminal: Terminal, config: str | None) -> None:
    """It has a row in the list, and does not block its name forever; no other folder of that name is touched."""
    path = made("r", step=7).path / "config.json"
    path.unlink()
    if config is not None:
        path.write_text(config)
    [row] = json.loads(terminal.type("runs", "--json").out)["runs"]
    assert (row["name"], row["state"]) == ("r", "unfinished" if config is None else "damaged")
    said = terminal.type("learn", "xor", "--name", "r")
    assert said.code == 2 and len(said.err.splitlines()) == 1 and "remove it" in said.err
    assert terminal.type("runs", "rm", "r") == (0, "", "")
    assert list(Path("runs").iterdir()) == []


@pytest.mark.parametrize("left", [[], ["logs"], ["logs", "data.npz"], ["logs", "data.npz", ".config.json.new"]])
def test_a_start_that_was_killed_does_not_block_the_name(terminal: Terminal, left: list[str]) -> None:
    """After a crash at any point, another run of that name can be started; a folder that is being made is left alone."""
    folder = Path("runs/r")
    folder.mkdir(parents=True)
    for name in left:
        if name == "logs":
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(b"half")
    made("r")
    assert (folder / "config.json").is_file() and not (folder / ".config.json.new").exists()
    being_made = RunFolder.create(Path("runs"), "other", "xor")
    with pytest.raises(UserError, match="other"):
        RunFolder.create(Path("runs"), "other", "xor")
    assert being_made.logs.is_dir()


@pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", ["r"]), ("\n", ["r"]), ("", ["r"])])
def test_removal_on_a_terminal_asks_first(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    """Yes removes; anything else does not; `--yes` does not ask."""
    made("r")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(ours, answer.encode() or b"\x04")
        said = terminal.type("runs", "rm", "r")
        assert said.code == (130 if left else 0) and "Remove r" in said.err + said.out
        assert [path.name for path in Path("runs").iterdir()] == left
        if left:
            assert terminal.type("runs", "rm", "--yes", "r").code == 0
            assert list(Path("runs").iterdir()) == []
    os.close(ours)


def test_a_removal_that_is_cut_short_can_be_repeated(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it stopped, what is left is a run still, until its config goes."""
    made("r")
    removed: list[str] = []
    unlink = Path.unlink

    def fail(path: Path, missing_ok: bool = False) -> None:
        if path.name == "config.json":
            raise PermissionError(1, "made to fail")
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    said = terminal.type("runs", "rm", "r")
    assert said.code == 2 and "made to fail" in said.err and "data.npz" in removed
    monkeypatch.setattr(Path, "unlink", unlink)
    assert terminal.type("runs", "rm", "r") == (0, "", "")
    assert list(Path("runs").iterdir()) == []


def test_another_users_run_says_whose_it_is(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that may not be read or removed names its owner; a list of runs leaves it out."""
    path = made("hers").path
    made("mine")
    is_file, unlink, listdir = Path.is_file, Path.unlink, os.listdir

    def refused(itself: Path) -> bool:
        if itself.parent.name == path.name:
            raise PermissionError(13, "Permission denied", str(itself))
        return is_file(itself)

    def hidden(folder: Any = ".") -> list[str]:
        if Path(folder).name == path.name:
            raise PermissionError(13, "Permission denied", str(folder))
        return listdir(folder)

    owner = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "listdir", hidden)
    monkeypatch.setattr(Path, "is_file", refused)
    said = terminal.type("runs", "show", "hers")
    assert (said.code, said.err.strip()) == (
        2,
        f"coordinator: runs/hers can't be read: permission denied; the run belongs to {owner}",
    )
    assert "hers" not in terminal.type("runs").out
    monkeypatch.setattr(Path, "is_file", is_file)
    monkeypatch.setattr(os, "listdir", listdir)

    def kept(itself: Path, missing_ok: bool = False) -> None:
        if itself.parent.name == path.name:
            raise PermissionError(13, "Permission denied", str(itself))
        unlink(itself, missing_ok)

    monkeypatch.setattr(Path, "unlink", kept)
    said = terminal.type("runs", "rm", "hers", "--yes")
    assert said.code == 2 and f"the run belongs to {owner}" in said.err


def test_the_log_of_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full it takes the place of the one before; the last lines of it are read without the rest."""
    monkeypatch.setattr("coordinator.storage.run_log.LARGEST_EVENT_LOG_BYTES", 2_000)
    log = EventLog(tmp_path / "events.jsonl")
    for number in range(200):
        log.note("epoch", {"epoch": number})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["events.jsonl", "events.jsonl.1"]
    assert all((tmp_path / name).stat().st_size < 2_200 for name in names)
    last = events_of(tmp_path / "events.jsonl", 300)
    assert 0 < len(last) < 5 and last[-1]["epoch"] == 199
    (tmp_path / "events.jsonl").write_bytes(b'[1]\n{"event": 3}\n\xff\n{"event": "epoch"}\n{"event"')
    assert events_of(tmp_path / "events.jsonl") == [{"event": "epoch"}]
    assert events_of(tmp_path / "nothing") == []


def test_a_line_of_the_log_that_was_changed_is_left_out(tmp_path: Path) -> None:
    """Each has a checksum of its own; a line that a crash cut short spoils no other."""
    path = tmp_path / "events.jsonl"
    for number in range(3):
        EventLog(path).note("epoch", {"epoch": number, "check": "mine"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"epoch": 1', b'"epoch": 7') + b'{"event": "epo')
    EventLog(path).note("epoch", {"epoch": 4})
    assert [event["epoch"] for event in events_of(path)] == [0, 2, 4]
    assert next(set(event) for event in events_of(path)) == {"time", "event", "epoch", "check"}
