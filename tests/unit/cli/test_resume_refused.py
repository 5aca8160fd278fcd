"""`learn --resume` of what can't go on: one line that says why, exit 2, and no file is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import psutil
import pytest

from coordinator.cli.learn import learn
from coordinator.cli.options import SETTINGS
from coordinator.cli.resume import ToResume, run_to_resume
from coordinator.errors import UserError
from coordinator.job import Job
from coordinator.settings import flag_of
from coordinator.storage.resumption import checked_config, config_to_go_on
from coordinator.storage.run_folder import RunFolder, checksum_of
from neuron_node import __version__
from tests.commands import Terminal

FRUIT = "a,b,class\n" + "".join(f"{row},{row % 3},{'xy'[row % 2]}\n" for row in range(12))


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run `r` that was begun with a file, and has not done anything."""
    (tmp_path / "fruit.csv").write_text(FRUIT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    job = Job.from_flags({"dataset": "fruit.csv", "name": "r"}, None)
    return job.create_run(Path("runs")).path


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file, with the moment at which it was written."""
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def rewrite(folder: Path, **changes: Any) -> None:
    """Another config, as if that version, machine or person had written it."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({**config, "checksum": checksum_of(config)}))


def rewrite_without(folder: Path, keys: tuple[str, ...], **changes: Any) -> None:
    """A config that lacks some keys."""
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if key not in keys}
    (folder / "config.json").write_text(json.dumps({**config, "checksum": checksum_of(config)}))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "config.json").read_text()
    assert old in text
    (folder / "config.json").write_text(text.replace(old, new))


REFUSED: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "finished, without its model": (
        lambda folder: RunFolder(folder).write_json("result", {"test_accuracy": 0.75, "weights_sha256": "abc"}),
        ["has finished", "0.7500", "model.safetensors: no such file", "can't be restored", "final snapshot"],
    ),
    "another version": (lambda folder: rewrite(folder, version="7.8.9"), ["7.8.9", __version__, "7.8.x"]),
    "other arithmetic": (lambda folder: rewrite(folder, fingerprint="numpy 9 m68k"), ["numpy 9 m68k", "arithmetic"]),
    "a changed data.npz": (lambda folder: flip(folder / "data.npz"), ["data.npz", "SHA-256"]),
    "no data.npz": (lambda folder: (folder / "data.npz").unlink(), ["data.npz"]),
    "half a config": (lambda folder: cut(folder / "config.json"), ["config.json"]),
    "an empty config": (lambda folder: (folder / "config.json").write_bytes(b""), ["config.json"]),
    "a config of something else": (
        lambda folder: (folder / "config.json").write_text("{}"),
        ["config.json", "ours"],
    ),
    "a list for a config": (lambda folder: (folder / "config.json").write_text("[]"), ["config.json", "ours"]),
    "a config that was edited": (lambda folder: edit(folder, '"seed": 0', '"seed": 1'), ["config.json", "checksum"]),
    "groups of none": (lambda folder: rewrite(folder, group_size=0), ["config.json"]),
    "more nodes than groups": (lambda folder: rewrite(folder, nodes=1_000), ["config.json", "'nodes'"]),
    "no node": (lambda folder: rewrite(folder, nodes=0), ["config.json", "'nodes'"]),
    "a wiring that is none": (lambda folder: rewrite(folder, wiring="pigeons"), ["config.json", "'wiring'"]),
    "version 0.1": (lambda folder: rewrite(folder, version="0.1.0"), ["version 0.1.0", __version__, "0.1.x"]),
    "an early version 0.1": (
        lambda folder: rewrite_without(folder, ("nodes", "wiring"), version="0.1.0"),
        ["version 0.1.0", __version__, "0.1.x"],
    ),
    "a network that is none": (lambda folder: rewrite(folder, network={}), ["config.json"]),
    "a run without a number": (lambda folder: rewrite(folder, run="xyz"), ["config.json"]),
}


@pytest.mark.parametrize(("damage", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_run_that_cannot_go_on(
    damage: Callable[[Path], object], words: list[str], folder: Path, terminal: Terminal
) -> None:
    """One line each, with what is wrong and what would be right."""
    damage(folder)
    check_refused(folder, terminal, ["--resume", "r"], words)


def check_refused(folder: Path, terminal: Terminal, arguments: list[str], words: list[str]) -> None:
    before = files(folder.parent)
    said = terminal.type("learn", *arguments)
    assert said.code == 2 and said.out == "", said.err
    [line] = said.err.splitlines()
    assert all(word in line for word in words), line
    assert files(folder.parent) == before
    assert psutil.Process().children() == []


COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "a run that is not there": (["--resume", "q"], ["no run 'q'", "there are r"]),
    "a path": (["--resume", "runs/r"], ["'runs/r' is no run's name"]),
    "a way out": (["--resume", ".."], ["'..' is no run's name"]),
    "nothing": (["--resume", ""], ["'' is no run's name"]),
    "another data set": (["iris", "--resume", "r"], ["iris is not the data", "SHA-256"]),
    "a file that is not there": (["peach.csv", "--resume", "r"], ["peach.csv"]),
    "a file of settings": (["--resume", "r", "--config", "x.toml"], ["--config cannot be used with --resume"]),
    "a model to save nowhere": (["--resume", "r", "--save", "no/such"], ["--save"]),
    **{
        f"the setting {name}": (
            ["--resume", "r", flag_of(name), "3"],
            [f"{flag_of(name)} cannot be used with --resume"],
        )
        for name in SETTINGS
        if name != "data"
    },
}


@pytest.mark.parametrize(("arguments", "words"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_that_cannot_be_meant(
    arguments: list[str], words: list[str], folder: Path, terminal: Terminal
) -> None:
    """Settings are the run's; data may be named again, if they are the same."""
    check_refused(folder, terminal, arguments, words)


def test_the_file_has_changed_since(folder: Path, terminal: Terminal) -> None:
    """Named again, it is refused; left out, the run's own copy counts."""
    Path("fruit.csv").write_text(FRUIT + "1,2,x\n", encoding="utf-8")
    check_refused(folder, terminal, ["fruit.csv", "--resume", "r"], ["fruit.csv is not the data", "leave it out"])
    directory = resume(None, None).directory
    assert directory.path == folder


def test_a_locked_run(folder: Path, terminal: Terminal) -> None:
    """Held by its coordinator or by a command line: it is said by whom. It can go on afterwards."""
    holder = RunFolder(folder)
    with holder.claimed():
        check_refused(folder, terminal, ["--resume", "r"], ["at work", f"process {psutil.Process().pid} on"])
    holder.lock()
    check_refused(folder, terminal, ["--resume", "r"], ["at work", f"process {psutil.Process().pid} on"])
    with pytest.raises(UserError, match="at work"):
        RunFolder(folder).lock()
    with pytest.raises(UserError, match="at work"), RunFolder(folder).claimed():
        raise AssertionError
    holder.unlock()
    assert resume(None, None).directory.path == folder


def resume(dataset: str | None, data: str | None) -> ToResume:
    """What a good command line comes to, before anything is started."""
    with click.Context(learn):
        return run_to_resume(Path("runs"), "r", dataset, {"data": data, "epochs": None})


def test_run_with_equivalent_settings_is_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same data named again, settings in the environment, another version of the same series; five and two neurons
    are so many nodes.
    """
    monkeypatch.setenv("EXMACHINA_EPOCHS", "many")
    monkeypatch.setenv("EXMACHINA_CONFIG", "not-there.toml")
    before = files(folder)
    for dataset in (None, "fruit.csv"):
        directory, nodes, _ = resume(dataset, None)
        config = config_to_go_on(directory)
        assert (directory.path, nodes) == (folder, sum(config["network"]["layers"]))
    assert files(folder) == before
    series = ".".join(__version__.split(".")[:2])
    rewrite(folder, version=f"{series}.99")
    assert resume(None, None).directory.path == folder
    rewrite(folder, fingerprint="numpy 9 m68k", mixed_arithmetic=True)
    assert resume(None, None).directory.path == folder


@pytest.mark.parametrize(
    "key", ["version", "run", "network", "seed", "prepared_sha256", "steps_at_most", "settings", "nodes", "wiring"]
)
def test_every_key_is_needed(folder: Path, key: str) -> None:
    """A config that lacks one, or has something of another kind there, is not one of ours."""
    good = json.loads((folder / "config.json").read_text())
    assert checked_config(RunFolder(folder)) == good
    for config in ({name: value for name, value in good.items() if name != key}, {**good, key: 1.5}):
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=f"ours: '{key}'"):
            checked_config(RunFolder(folder))
