"""The settings of a run that takes the place of another, and the file that the next coordinator finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.core.events import PrepareRun, RunPrepared
from coordinator.errors import UserError
from coordinator.restarting import FILE, Restarting, Settings, recall
from coordinator.storage.run_folder import RunFolder

BASE = {"dataset": "xor", "hidden": "2", "batch_size": "2"}
REQUEST = bytes(range(8))


def prepared(folder: Path, changed: dict[str, Any], present: Settings = BASE, nodes: int = 6) -> RunPrepared:
    """Return what the service of BASE answers."""

    def check(_directory: RunFolder) -> None:
        """The broker can carry everything."""

    restarting = Restarting(
        folder / "runs", BASE, present, data_folder=folder / "data", mixed_arithmetic=False, check=check
    )
    return restarting(PrepareRun(REQUEST, changed, nodes))


def config_of(folder: Path, name: str) -> dict[str, Any]:
    """Return the config of a run."""
    return RunFolder.existing(folder / "runs", name).config()


def test_settings_that_are_not_named_stay(tmp_path: Path) -> None:
    """The new run has the changed seed, and everything else of the present run; the next coordinator finds it."""
    answer = prepared(tmp_path, {"seed": "3"})
    assert (answer.facts["run"], answer.facts["layers"], answer.facts["nodes"]) == ("xor", [2, 2, 1], 5)
    config = config_of(tmp_path, "xor")
    assert (config["seed"], config["settings"]["batch_size"]) == (3, 2)
    remembered, note = recall(tmp_path / "runs", BASE)
    assert remembered is not None and not note
    assert remembered.settings == {**BASE, "seed": "3"}
    assert remembered.begun_by == (REQUEST, dict(answer.facts))
    # The next change begins with these.
    assert config_of(tmp_path, prepared(tmp_path, {"hidden": "4"}, remembered.settings).facts["run"])["seed"] == 3


def test_another_data_set_leaves_out_what_describes_the_first(tmp_path: Path) -> None:
    """Target and layers of a table would not fit iris; the batch size does."""
    table = tmp_path / "table.csv"
    table.write_text("a,b,y\n" + "".join(f"{row},{row % 3},{row % 2}\n" for row in range(40)))
    present = {"dataset": str(table), "target": "y", "layers": "2,4,2", "batch_size": "3", "nodes": "2"}
    facts = prepared(tmp_path, {"dataset": "iris"}, present, nodes=86).facts
    assert (facts["layers"], facts["nodes"], facts["notes"]) == ([4, 8, 3], 15, [])
    assert config_of(tmp_path, facts["run"])["settings"]["batch_size"] == 3


def test_a_table_in_the_folder_for_data(tmp_path: Path) -> None:
    """A client names it without its folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(20)))
    facts = prepared(tmp_path, {"dataset": "mine.csv", "target": "y"}).facts
    assert (facts["dataset"], facts["layers"][0]) == ("mine.csv", 1)


def test_hidden_takes_the_place_of_layers(tmp_path: Path) -> None:
    """Both mean the same, and only one may be given: the new one counts."""
    present = {"dataset": "xor", "layers": "2,2,1"}
    assert prepared(tmp_path, {"hidden": "5"}, present).facts["layers"] == [2, 5, 1]


def test_more_groups_than_nodes(tmp_path: Path) -> None:
    """The nodes that are present share the groups, and the answer says so, unless the number of nodes is given."""
    facts = prepared(tmp_path, {"dataset": "iris"}, nodes=6).facts
    assert (facts["groups"], facts["nodes"]) == (9, 6)
    assert facts["notes"] == ["the network has 9 groups, and 6 nodes are present: some nodes host several groups"]
    assert config_of(tmp_path, facts["run"])["nodes"] == 6
    assert prepared(tmp_path, {"dataset": "iris", "nodes": "8"}, nodes=6).facts["nodes"] == 8


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"epochs": "none"}, "--epochs must be"),
        ({"hidden": "99999"}, "--hidden must be"),
        ({"sead": "3"}, "no setting 'sead'; did you mean 'seed'?"),
        ({"dataset": "missing.csv"}, "no data set and no file in the service's folder for data"),
        ({"dataset": "../outside.csv"}, "no data set and no file in the service's folder for data"),
        ({"dataset": "link.csv"}, "no data set and no file in the service's folder for data"),
        ({"dataset": "nul\0.csv"}, "no data set and no file in the service's folder for data"),
        ({"dataset": "semeion", "data": "/etc/passwd"}, "no file in the service's folder for data"),
        ({"name": "../elsewhere"}, "--name must be"),
        ({"target": "y" * 20_000}, "may have 16,384 bytes"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, dict) else "",
)
def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path, changed: dict[str, str], line: str) -> None:
    """The reason is one line that says what would be right; no folder and no file is left."""
    (tmp_path / "data").mkdir()
    (tmp_path / "outside.csv").write_text("a,y\n1,2\n")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "outside.csv")
    answer = prepared(tmp_path, changed)
    assert line in answer.reason and "\n" not in answer.reason
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_messages_that_the_broker_cannot_carry(tmp_path: Path) -> None:
    """A run that does not fit the broker is removed again."""

    def check(_directory: RunFolder) -> None:
        raise UserError("too large")

    restarting = Restarting(tmp_path, BASE, BASE, data_folder=tmp_path, mixed_arithmetic=False, check=check)
    assert restarting(PrepareRun(REQUEST, {}, 6)).reason == "too large"
    assert not list(tmp_path.iterdir())


def test_no_node_is_present(tmp_path: Path) -> None:
    """Another run would wait forever."""
    assert prepared(tmp_path, {}, nodes=0).reason.startswith("no node is registered")


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", b"[]", b"{}", b'{"base": 1}', b"[" * 100_000],
    ids=["cut", "no text", "a list", "empty", "wrong", "deep"],
)
def test_a_damaged_file_is_left_aside(tmp_path: Path, content: bytes) -> None:
    """A line says so, and the given settings count."""
    (tmp_path / FILE).write_bytes(content)
    remembered, note = recall(tmp_path, BASE)
    assert remembered is None
    assert note == f"{tmp_path / FILE} can't be used (its contents are wrong), so the run is that of the given settings"


def test_a_run_that_cannot_go_on_is_left_aside(tmp_path: Path) -> None:
    """Its data are damaged: the service must not end again and again, so the given settings count."""
    name = prepared(tmp_path, {"seed": "3"}).facts["run"]
    RunFolder.existing(tmp_path / "runs", name).data.write_bytes(b"damaged")
    remembered, note = recall(tmp_path / "runs", BASE)
    assert remembered is None and "it was begun by `coordinator restart`" in note


def test_other_settings_of_the_service_set_the_run_aside(tmp_path: Path) -> None:
    """A service that is started with other settings does what they say, and says so; the same with a run that is gone."""
    name = prepared(tmp_path, {"seed": "3"}).facts["run"]
    runs = tmp_path / "runs"
    remembered, note = recall(runs, {**BASE, "epochs": "59"})
    assert remembered is None
    assert note == f"the settings were changed, so the run {name} of `coordinator restart` is left aside"
    RunFolder.existing(runs, name).discard()
    remembered, note = recall(runs, BASE)
    assert remembered is None and "it was begun by `coordinator restart`" in note
    assert json.loads((runs / FILE).read_text())["run"] == name
