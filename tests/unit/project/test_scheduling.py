"""Tests that share programs, a browser or containers run in one worker."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.scheduling import TOGETHER, scope_of

CHECKOUT = Path(__file__).resolve().parents[3]
TEST = """
import os, pathlib, pytest
@pytest.mark.parametrize("number", range(6))
def test_made(number):
    pathlib.Path(__file__).with_suffix(f".{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


def test_the_folders_exist() -> None:
    """A folder that was renamed would be shared between workers again."""
    assert all((CHECKOUT / folder).is_dir() for folder in TOGETHER)


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/unit/test_a.py::test_b[x::y]", "tests/unit/test_a.py"),
        ("tests/pages/test_a.py::test_b", "tests/pages/"),
        ("tests/unit/page/test_a.py::test_b", "tests/unit/page/"),
    ],
)
def test_a_test_belongs_to_its_file_or_folder(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope


def test_each_file_has_one_worker(tmp_path: Path) -> None:
    """With two workers and the rules of this project, in a real run of pytest."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_xdist_make_scheduler\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name in ("one", "two", "three"):
        (tmp_path / f"test_{name}.py").write_text(TEST, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--numprocesses",
            "2",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    workers = defaultdict(set)
    for note in tmp_path.glob("test_*.[0-9]"):
        workers[note.stem].add(note.read_text())
    assert (
        len(workers) == 3
        and all(len(each) == 1 for each in workers.values())
        and len(set.union(*workers.values())) == 2
    )
