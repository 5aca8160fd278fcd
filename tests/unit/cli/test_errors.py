"""Errors of the command line: they lead to the right name, they are JSON with --json, and each kind has its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordinator.cli import ask
from coordinator.cli.exits import EXITS, exit_of, job_failure
from coordinator.errors import DivergedError, JobError, NobodyAnswers, UserError
from tests.commands import Terminal
from tests.finished_runs import finished_run


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXMACHINA_RUNS", raising=False)
    (tmp_path / "fruit.csv").write_text("a,b\n1,2\n")
    return Terminal(capfd)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["lern"], "'learn'"),
        (["runs", "sho", "r"], "'show'"),
        (["learn", "--epoch", "3"], "--epochs"),
        (["status", "--pacience", "3"], "--patience"),
        (["learn", "irsi"], "'iris'"),
        (["data", "fruits.csv"], "'fruit.csv'"),
        (["predict", "fruit.cvs"], "'fruit.csv'"),
        (["evaluate", "irsi"], "'iris'"),
        (["learn", "iris", "--loss", "mse"], "'squared_error'"),
        (["status", "--run", "mime"], "'mine'"),
        (["logs", "hidden.00", "--run", "mine"], "'hidden.0'"),
    ],
)
def test_misspelled_name_leads_to_the_right_one(terminal: Terminal, arguments: list[str], meant: str) -> None:
    """Commands, options, data sets, files, words of settings, runs, and neurons."""
    finished_run(Path("runs"), "mine").write_json("placements", {"hidden.0": {"node": "n", "host": "h", "process": 1}})
    said = terminal.type(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "did you mean" in said.err.lower() and meant in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "--seconds", "nan"], ["--seconds", "nan is not in the range"]),
        (["status", "--patience", "nan"], ["--patience", "nan is not in the range"]),
        (["watch", "--rate", "nan"], ["--rate", "nan is not in the range"]),
        (["runs", "--limit", "0"], ["--limit", "0 is not in the range", "'coordinator runs --help'"]),
        (["step", "-1"], ["-1", "'coordinator step --help'"]),
        (["completion", "tcsh"], ["'bash', 'zsh', 'fish'", "'coordinator completion --help'"]),
    ],
)
def test_wrong_option_or_argument_gets_one_line(terminal: Terminal, arguments: list[str], words: list[str]) -> None:
    """It names the option, says what is wrong with it, and where help is; nothing is started."""
    said = terminal.type(*arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert all(word in said.err for word in words), said.err


def test_unknown_run_among_many(terminal: Terminal) -> None:
    """The line says how many runs there are, and names some."""
    for number in range(8):
        finished_run(Path("runs"), f"run-{number}")
    said = terminal.type("status", "--run", "quite another")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "there are 8, among them" in said.err and "run-7" in said.err


class _Refuses:
    """A service that refuses every change. It may end after its answer."""

    def __init__(self, *, ends: bool) -> None:
        self._ends = ends

    def __enter__(self) -> _Refuses:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, command: str, **_: object) -> tuple[dict[str, object], None]:
        if command == "neurons" and not self._ends:
            return {"neurons": [{"neuron": "hidden.1"}]}, None
        raise NobodyAnswers("no coordinator answers") if command == "neurons" else UserError("it is out of range")


@pytest.mark.parametrize("ends", [False, True])
def test_known_name_is_not_suggested_and_no_suggestion_hides_the_fault(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """A wrong number for a right neuron, also if the service ends before it has listed its neurons."""
    monkeypatch.setattr(ask, "client_of", lambda *_: _Refuses(ends=ends))
    said = terminal.type("set", "hidden.1", "nan")
    assert (said.code, said.err) == (2, "coordinator: it is out of range\n")


@pytest.mark.parametrize(
    "command", [["stop"], ["kill", "hidden.1"], ["predict", "fruit.csv"], ["neuron", "x"], ["logs"]]
)
def test_empty_name_of_a_run_is_not_another_run(terminal: Terminal, command: list[str]) -> None:
    """`--run "$RUN"` with a variable that is not set does not stop the only live run."""
    live = finished_run(Path("runs"), "mine")
    live.lock()
    said = terminal.type(*command, "--run", "")
    live.unlock()
    assert said.code == 2 and "'' is no run's name" in said.err


def test_row_in_place_of_a_file_is_explained(terminal: Terminal) -> None:
    """The line says how to predict a row, and no broker is asked."""
    said = terminal.type("predict", "182,84")
    assert said.code == 2 and "echo 182,84 | coordinator predict" in said.err and "broker" not in said.err


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        (["data", "nothing.csv", "--json"], "usage", 2),
        (["runs", "--json", "--nonsense"], "usage", 2),
        (
            ["status", "--json", "--patience", "0.1", "--door", "ipc://door"],
            "nobody_answered",
            4,
        ),
    ],
)
def test_errors_are_json_too(terminal: Terminal, arguments: list[str], kind: str, code: int) -> None:
    """One object on stdout, with the line of stderr and the exit code."""
    said = terminal.type(*arguments)
    [document] = said.out.splitlines()
    error = json.loads(document)["error"]
    assert (error["kind"], error["exit_code"], said.code) == (kind, code, code)
    assert error["message"] in said.err


def test_every_kind_of_error_has_its_code() -> None:
    """A run that diverged says so in its reason; all codes differ."""
    errors = (JobError("x"), UserError("x"), DivergedError("x"), NobodyAnswers("x"))
    assert [exit_of(error).code for error in errors] == [1, 2, 3, 4]
    assert exit_of(job_failure("diverged: the numbers of neuron output.0 were no longer finite")).code == 3
    assert exit_of(job_failure("the disk is full")).code == 1
    assert len({code for code, *_ in EXITS} | {kind for _, kind, _ in EXITS}) == 2 * len(EXITS)
