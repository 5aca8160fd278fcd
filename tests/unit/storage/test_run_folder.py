"""The folder of a run."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import UserError
from coordinator.storage.disk import write_whole
from coordinator.storage.run_folder import RunFolder
from tests.networks import settings_of, xor_data


def prepared(base: Path, name: str | None = None) -> RunFolder:
    directory = RunFolder.create(base, name, "xor")
    directory.prepare({"seed": 7}, settings_of((2, 3, 1)), xor_data())
    return directory


def test_prepared_data_are_read_back(tmp_path: Path) -> None:
    """Settings, network and data, in a folder that is made with its parents."""
    directory = prepared(tmp_path / "a" / "b", "first")
    again = RunFolder.existing(tmp_path / "a" / "b", "first")
    config = again.config()
    assert config["seed"] == 7 and NetworkSettings.from_json(config["network"]) == settings_of((2, 3, 1))
    data = PreparedData.load(again.data)
    assert data.train_inputs.tobytes() == xor_data().train_inputs.tobytes() and data.encoding == xor_data().encoding
    assert directory.logs.is_dir()


def test_runs_without_a_name_never_share_a_folder(tmp_path: Path) -> None:
    """Ten in the same second."""
    paths = {RunFolder.create(tmp_path, None, "xor").path for _ in range(10)}
    assert len(paths) == 10 and all("xor" in path.name for path in paths)


def test_a_name_is_used_once(tmp_path: Path) -> None:
    """The second is told so, and the first is not touched."""
    directory = prepared(tmp_path, "mine")
    before = directory.config()
    with pytest.raises(UserError, match="exists already"):
        RunFolder.create(tmp_path, "mine", "xor")
    assert directory.config() == before


def test_taken_name_says_what_has_it(tmp_path: Path) -> None:
    """An interrupted run can be continued, a finished one can be removed, and a folder may be no run at all."""

    def refused() -> str:
        with pytest.raises(UserError) as caught:
            RunFolder.create(tmp_path, "mine", "xor")
        return str(caught.value)

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("x")
    assert "is no run" in refused()
    (tmp_path / "mine" / "letter").unlink()
    directory = prepared(tmp_path, "mine")
    assert "was interrupted; continue it with: coordinator learn --resume mine" in refused()
    directory.write_json("failure", {"reason": "diverged"})
    assert "failed; continue it with" in refused()
    directory.write_json("result", {"step": 1})
    assert "is finished" in refused() and "runs rm mine" in refused()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """It says where, and what would be right."""
    (tmp_path / "file").write_text("x")
    for base in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(UserError, match="--runs") as caught:
            RunFolder.create(base, None, "xor")
        assert str(base) in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_that_is_not_there_is_one_line_with_those_that_are(tmp_path: Path) -> None:
    """Or says that there is none."""
    with pytest.raises(UserError, match="there is none"):
        RunFolder.existing(tmp_path / "nothing", "x")
    prepared(tmp_path, "one")
    with pytest.raises(UserError, match="one"):
        RunFolder.existing(tmp_path, "two")


def test_the_latest_run_is_the_one_begun_last(tmp_path: Path) -> None:
    """A folder without a config is no run."""
    assert RunFolder.latest(tmp_path) is None
    for second, name in enumerate(("b", "a", "c")):
        directory = prepared(tmp_path, name)
        os.utime(directory.path / "config.json", (1_000 + second, 1_000 + second))
    os.utime(tmp_path / "a" / "config.json", (5_000, 5_000))
    (tmp_path / "z").mkdir()
    latest = RunFolder.latest(tmp_path)
    assert latest is not None and latest.path.name == "a"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    """That names it; a missing one too."""
    directory = prepared(tmp_path, "mine")
    (directory.path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json") as caught:
        directory.config()
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"result\.json"):
        directory.read_json("result")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails in the middle the old content is there, and nothing else is."""
    path = tmp_path / "f"
    write_whole(path, b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_json_files_can_be_forgotten(tmp_path: Path) -> None:
    """Twice, too."""
    directory = prepared(tmp_path, "mine")
    directory.write_json("endpoints", ["a", "b"])
    assert json.loads((directory.path / "endpoints.json").read_text()) == ["a", "b"]
    for _ in range(2):
        directory.forget("endpoints")
    assert not (directory.path / "endpoints.json").exists()


def test_question_who_holds_a_folder_does_not_lock_it(tmp_path: Path) -> None:
    """While others ask all the time who holds the folder, a coordinator gets it at every attempt; only another one that
    has it keeps it out, and is named.
    """
    directory = prepared(tmp_path, "mine")
    enough = threading.Event()

    def look() -> None:
        other = RunFolder(directory.path)
        while not enough.is_set():
            other.holder()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            directory.lock()
            directory.unlock()
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert directory.holder() is None
    directory.lock()
    assert f"process {os.getpid()} on" in str(RunFolder(directory.path).holder())
    for attempt in (RunFolder(directory.path).lock, RunFolder(directory.path).check_free):
        with pytest.raises(UserError, match=f"at work in .*mine .process {os.getpid()} on"):
            attempt()
    directory.unlock()
    RunFolder(directory.path).check_free()


def test_runs_of_one_name_are_found_by_their_numbers(tmp_path: Path) -> None:
    """The highest first; names that only begin so, and folders without a config, are others."""
    for name in ("a", "a-2", "a-10", "a-b", "a-2-3", "b"):
        prepared(tmp_path, name)
    (tmp_path / "a-11").mkdir()
    assert [directory.path.name for directory in RunFolder.numbered(tmp_path, "a")] == ["a-10", "a-2", "a"]
    assert RunFolder.numbered(tmp_path / "nothing", "a") == []
