"""Real programs, started and watched from outside: their output, their exit codes, and the kernel's process table."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from neuron_node.fingerprint import fingerprint
from tests.networks import COORDINATOR_LIFE, RUN, trained, weights_sha256

T = TypeVar("T")
AT_MOST_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.01
CHECKOUT = Path(__file__).resolve().parents[2]


def await_that(condition: Callable[[], T], what: str, at_most_seconds: float = AT_MOST_SECONDS) -> T:
    """Wait until something holds, and what it gave. Fails, with what was waited for, when it never does."""
    deadline = (begun := time.monotonic()) + at_most_seconds
    while not (value := condition()):
        now = time.monotonic()
        assert now < deadline, f"waited in vain for {what}"
        # A look at all programs costs time that they need: look a fifth of the time at most.
        time.sleep(max(LOOK_AGAIN_SECONDS, 4 * (now - begun)))
        begun = time.monotonic()
    return value


@dataclass
class Program:
    """A program that was started, with its output in files."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def said(self) -> str:
        """Its standard error so far."""
        return self.stderr.read_text(encoding="utf-8")

    def await_line(self, start: str) -> str:
        """The first line of standard error that begins so."""

        def found() -> str | None:
            line = next((line for line in self.said().splitlines() if line.startswith(start)), None)
            assert line or self.process.poll() is None, self.said()
            return line

        return await_that(found, f"a line {start!r}") or ""

    def end(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(AT_MOST_SECONDS)

    def result(self) -> dict[str, Any]:
        """The one JSON object of a program that ended well."""
        assert self.end() == 0, self.said()
        text = self.stdout.read_text(encoding="utf-8")
        assert text.endswith("\n") and text.count("\n") == 1
        result: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest_fail(f"{name} is no JSON"))
        return result


def pytest_fail(why: str) -> None:
    """Where an expression is needed."""
    raise AssertionError(why)


class Bench:
    """A folder for runs, one for sockets, and all programs that were started here: they are known by that folder."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.sockets = sockets
        # COVERAGE_ carries `make coverage` into the programs.
        passed_on = [name for name in os.environ if name in ("PATH", "HOME") or name.startswith("COVERAGE_")]
        self._environment = {name: os.environ[name] for name in passed_on}
        self._environment |= {"TMPDIR": str(sockets), "EXMACHINA_RUNS": str(self.runs), "PYTHONPATH": str(CHECKOUT)}
        self._started: list[Program] = []

    def start(self, *command: str, first: str = "true", environment: dict[str, str] | None = None) -> Program:
        """Start `python -m …`, after a line of shell such as a lower limit."""
        number = len(self._started)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'{first} && exec "$@"', "sh", sys.executable, "-W", "error", "-m", *command],
                cwd=self.folder,
                env={**self._environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self._started.append(Program(process, out, err))
        return self._started[-1]

    def learn(self, *arguments: str) -> Program:
        """`coordinator learn … --json`."""
        return self.start("coordinator", "learn", *arguments, "--json")

    def programs(self, name: str = "") -> list[psutil.Process]:
        """Everything that runs now because of this bench, forks included; with a name, only what the kernel calls so."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("TMPDIR") == str(self.sockets)
                if ours and process.status() != psutil.STATUS_ZOMBIE and name in ("", process.name()):
                    found.append(process)
        return found

    def await_wired(self) -> Path:
        """The folder of the one run, once its network stands."""
        await_that(lambda: list(self.runs.glob("*/placements.json")), "a wired network")
        return self.run_folder()

    def run_folder(self) -> Path:
        """The folder of the one run that there is."""
        [folder] = self.runs.iterdir()
        return folder

    def check_nothing_left(self) -> None:
        """No program, no socket, no folder of sockets."""
        await_that(lambda: not self.programs(), "the end of all programs")
        await_that(lambda: not list(self.sockets.iterdir()), "the removal of all sockets")

    def kill_all(self) -> None:
        """After a test that failed."""
        for process in self.programs():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        for program in self._started:
            program.process.wait(AT_MOST_SECONDS)


def in_memory_sha256(folder: Path) -> str:
    """Train the network of a run's folder in memory, without processes; return its weights_sha256. Keeps the result."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = ("seed", "network", "group_size", "microbatches", "prepared_sha256")
    key = json.dumps({name: config[name] for name in names}, sort_keys=True)
    with _in_memory_lock:
        if key not in _in_memory:
            plan = RunPlan(
                run=RUN,
                incarnation=COORDINATOR_LIFE,
                seed=config["seed"],
                network=NetworkSettings.from_json(config["network"]),
                data=PreparedData.load(folder / "data.npz"),
                group_size=config["group_size"],
                microbatches=config["microbatches"],
                fingerprint=fingerprint(),
            )
            _in_memory[key] = weights_sha256(trained(plan))
        return _in_memory[key]


_in_memory: dict[str, str] = {}
_in_memory_lock = threading.Lock()
