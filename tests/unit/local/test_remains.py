"""Which socket folders belong to a dead run, and which do not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from coordinator.local.remains import OWNER, PREFIX, UNOWNED_AT_LEAST_SECONDS, make_socket_folder, remove_remains
from tests.commands import Terminal
from tests.finished_runs import finished_run


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_the_folder_of_a_run_that_lives_stays(sockets: Path, tmp_path: Path) -> None:
    """As long as any program of it holds the lock; then it goes, once, and the line says whose it was."""
    folder = make_socket_folder(tmp_path / "runs" / "r")
    inherited = os.dup(folder.lock)
    os.close(folder.lock)
    assert remove_remains() == [] and folder.path.exists()
    os.close(inherited)
    assert remove_remains() == [
        f"removed the sockets of the run {tmp_path / 'runs' / 'r'}, which was killed: {folder.path}"
    ]
    assert not folder.path.exists() and remove_remains() == []


def test_foreign_or_new_folders_are_not_removed(sockets: Path, tmp_path: Path) -> None:
    """A link, a file, a folder with something else in it, a new folder; an old one that never got an owner goes."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / OWNER).write_text("r")
    (sockets / f"{PREFIX}link").symlink_to(elsewhere)
    (sockets / f"{PREFIX}file").write_text("")
    for name in ("new", "old", "full"):
        (sockets / f"{PREFIX}{name}").mkdir()
    (sockets / f"{PREFIX}full" / "precious").write_text("mine")
    past = os.stat(sockets).st_mtime - 2 * UNOWNED_AT_LEAST_SECONDS  # noqa: PTH116
    for name in ("old", "full"):
        os.utime(sockets / f"{PREFIX}{name}", (past, past))
    os.mkfifo(sockets / f"{PREFIX}new" / OWNER)
    assert remove_remains() == [
        f"removed the sockets of a run that was killed at its start: {sockets / f'{PREFIX}old'}"
    ]
    assert sorted(path.name for path in sockets.iterdir()) == [
        f"{PREFIX}{name}" for name in ("file", "full", "link", "new")
    ]
    assert (elsewhere / OWNER).exists()


def test_a_run_that_was_killed_after_its_end_leaves_nothing(
    sockets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has finished, so it can't be resumed; the command that says so removes its sockets and the file that names them."""
    monkeypatch.chdir(tmp_path)
    directory = finished_run(Path("runs"))
    folder = make_socket_folder(directory.path)
    directory.write_json("endpoints", [f"ipc://{folder.path}/in", f"ipc://{folder.path}/out"])
    os.close(folder.lock)
    said = Terminal(capfd).type("learn", "--resume", "r")
    assert said.code == 2 and "has finished" in said.err and "removed the sockets" in said.err
    assert not folder.path.exists() and not (directory.path / "endpoints.json").exists()
