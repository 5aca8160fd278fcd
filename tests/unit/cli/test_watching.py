"""`status --watch`, `logs --follow`, `runs --state --limit`, `config show`, and what the shell completes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from coordinator.cli import ask
from coordinator.cli.main import cli
from coordinator.job import Job
from coordinator.storage.run_folder import RunFolder
from tests.commands import Terminal


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    for name in ("EXMACHINA_RUNS", "EXMACHINA_CONFIG", "EXMACHINA_EPOCHS"):
        monkeypatch.delenv(name, raising=False)
    return Terminal(capfd)


def made(name: str) -> RunFolder:
    return Job.from_flags({"dataset": "xor", "name": name}, None).create_run(Path("runs"))


def test_status_is_shown_until_the_run_stops(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON object per line, the last one with the state in which it ended. A change of state is shown at once."""
    states = iter(["training", "training", "stopping", "ended"])

    class Client:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None: ...
        def ask(self, command: str) -> tuple[dict[str, Any], None]:
            return {"state": next(states)}, None

        def watch_events(self) -> None: ...
        def next_event(self, seconds: float) -> str | None:
            waits.append(seconds)
            return events.pop(0)

    events = ["progress", "state", "state"]
    waits: list[float] = []
    monkeypatch.setattr(ask, "client_of", lambda *_: Client())
    said = terminal.type("status", "--watch", "--json")
    assert [json.loads(line)["state"] for line in said.out.splitlines()] == ["training", "training", "stopping"]
    assert events == [] and len(waits) == 3 and all(0 < wait <= ask.WATCH_SECONDS for wait in waits)


def test_log_is_followed_to_the_end_of_the_run(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line appears when it is whole, and the lines written just before the end are printed too."""
    directory = made("r")
    log = directory.logs / "coordinator.log"
    log.write_text("one\ntwo\n")
    directory.lock()
    parts = iter(["thr", "ee\n", "four"])

    def go_on(_seconds: float) -> None:
        with log.open("a") as file:
            file.write(next(parts))
        if file.name and log.read_text().endswith("four"):
            directory.unlock()

    monkeypatch.setattr("coordinator.cli.ask.time.sleep", go_on)
    said = terminal.type("logs", "--follow", "--lines", "1")
    assert (said.code, said.out) == (0, "two\nthree\nfour\n")


def test_runs_are_selected(terminal: Terminal) -> None:
    """By their state, and the latest ones only."""
    for name in ("a", "b", "c"):
        made(name)
    made("d").write_json("failure", {"reason": "diverged"})

    def names(*arguments: str) -> list[str]:
        return [row["name"] for row in json.loads(terminal.type("runs", "--json", *arguments).out)["runs"]]

    assert names("--limit", "2") == ["c", "d"]
    assert names("--state", "interrupted") == ["a", "b", "c"] and names("--state", "failed") == ["d"]
    assert names("--state", "interrupted", "--limit", "1") == ["c"]
    assert "in the state finished" in terminal.type("runs", "--state", "finished").err


def test_sources_of_settings(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option, a variable, the file of this folder, the preset, the data set, and the default."""
    Path("exmachina.toml").write_text('epochs = 7\nseed = 3\nloss = "cross_entropy"\n')
    monkeypatch.setenv("EXMACHINA_EPOCHS", "9")
    said = terminal.type("config", "show", "iris", "--seed", "5", "--json")
    document = json.loads(said.out)
    found = {name: (row["value"], row["source"]) for name, row in document["settings"].items()}
    assert document["config_file"] == "exmachina.toml"
    assert found["seed"] == (5, "--seed") and found["epochs"] == (9, "EXMACHINA_EPOCHS")
    assert found["loss"] == ("cross_entropy", "loss in exmachina.toml")
    assert found["batch_size"][1] == "data set iris" and found["group_size"] == (1, "default")
    assert "exmachina.toml" in terminal.type("config", "show").out
    Path("exmachina.toml").write_text("epoch = 7\n")
    wrong = terminal.type("learn", "xor")
    assert wrong.code == 2 and "exmachina.toml" in wrong.err and "epochs" in wrong.err


@pytest.mark.parametrize(
    ("words", "begun", "values"),
    [
        (["learn"], "ir", ["iris"]),
        (["learn", "--loss"], "", ["squared_error", "cross_entropy"]),
        (["learn", "--wiring"], "d", ["direct"]),
        (["learn", "--resume"], "", ["mine"]),
        (["runs", "show"], "m", ["mine"]),
        (["runs", "--state"], "fi", ["finished"]),
        (["neuron"], "hid", ["hidden.0"]),
        (["why", "--run", "mine"], "o", ["output.0"]),
        (["status"], "--wat", ["--watch"]),
        ([], "pred", ["predict"]),
    ],
)
def test_shell_completes_values(terminal: Terminal, words: list[str], begun: str, values: list[str]) -> None:
    """Data sets, words of settings, runs, neurons, options and commands."""
    made("mine").write_json("placements", {"hidden.0": {}, "output.0": {}})
    found = ShellComplete(cli, {}, "coordinator", "_COORDINATOR_COMPLETE").get_completions(words, begun)
    assert [item.value for item in found if item.type == "plain"] == values


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_a_shell(terminal: Terminal, shell: str) -> None:
    """The script calls the command with the variable that click reads."""
    said = terminal.type("completion", shell)
    assert said.code == 0 and f"_COORDINATOR_COMPLETE={shell}_complete" in said.out
