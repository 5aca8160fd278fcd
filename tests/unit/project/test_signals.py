"""Signals to the tests themselves: nothing stays behind after SIGTERM, and ignored signals are not passed on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.processes.programs import await_that

CHECKOUT = Path(__file__).resolve().parents[3]
CONFTEST = "from tests.conftest import pytest_sessionfinish, pytest_sessionstart\n"


def start_pytest(
    folder: Path, test: str, *options: str, ignored: Sequence[signal.Signals] = ()
) -> subprocess.Popen[str]:
    """Start pytest on one file, with this project's way of taking signals."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_made.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    before = {number: signal.getsignal(number) for number in ignored}
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    try:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-s",
                "-p",
                "no:cacheprovider",
                *options,
                "--rootdir",
                folder,
                folder,
            ],
            cwd=folder,
            env={"PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_sigterm_in_a_test_runs_the_end_of_session_fixtures(tmp_path: Path) -> None:
    """Also when a second SIGTERM comes while the fixtures end, as from a job control that is in a hurry."""
    process = start_pytest(
        tmp_path,
        """
import os, pathlib, signal, sys
import pytest

@pytest.fixture(scope="session")
def stack():
    yield
    os.kill(os.getpid(), signal.SIGTERM)
    pathlib.Path("taken-down").touch()

def test_waits(stack):
    print("waiting", flush=True)
    sys.stdin.read()
""",
    )
    assert process.stdout and process.stdin
    with process:
        assert any("waiting" in line for line in process.stdout)
        process.terminate()
        process.stdout.read()
        process.wait()
    assert process.returncode == 2
    assert (tmp_path / "taken-down").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_pytest_with_workers_runs_the_end_of_their_fixtures(tmp_path: Path, number: signal.Signals) -> None:
    """It is passed on to both workers, and pytest waits for them. A second signal changes nothing."""
    process = start_pytest(
        tmp_path,
        """
import os, pathlib, signal
import pytest

@pytest.fixture(scope="session")
def stack(worker_id):
    yield
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getppid(), signal.SIGTERM)
    pathlib.Path("taken-down-" + worker_id).touch()

@pytest.mark.parametrize("number", [0, 1])
def test_waits(stack, number):
    pathlib.Path(f"waits-{number}").touch()
    signal.pause()
""",
        "--numprocesses",
        "2",
    )
    with process:
        await_that(lambda: len(list(tmp_path.glob("waits-*"))) == 2, "two tests that wait")
        process.send_signal(number)
        assert process.stdout
        said = process.stdout.read()
        process.wait()
    assert process.returncode == 2, said
    assert sorted(path.name for path in tmp_path.glob("taken-down-*")) == ["taken-down-gw0", "taken-down-gw1"]


@pytest.mark.parametrize("options", [(), ("--numprocesses", "1")], ids=["alone", "with a worker"])
def test_ignored_signals_are_not_inherited_by_programs_of_the_tests(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A shell ignores SIGINT in background jobs, nohup ignores SIGHUP; a program that a test starts takes both all the same."""
    process = start_pytest(
        tmp_path,
        """
import signal, subprocess, sys

def test_child():
    code = "import signal; print(signal.getsignal(signal.SIGHUP).name,"
    code += " signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "SIG_DFL True\\n"
""",
        *options,
        ignored=(signal.SIGINT, signal.SIGHUP),
    )
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_ignored_sigint_stays_ignored_by_the_tests(tmp_path: Path) -> None:
    """A background job is not interrupted by Ctrl-C for another program."""
    process = start_pytest(
        tmp_path,
        """
import os, signal

def test_is_not_interrupted():
    os.kill(os.getpid(), signal.SIGINT)
""",
        ignored=(signal.SIGINT,),
    )
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
