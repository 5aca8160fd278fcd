"""A Compose project of a test's own: another name than a user's, ports that the engine chooses, nothing left behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import selectors
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from coordinator.client import Client
from neuron_node.keys import COORDINATOR, OPERATOR, KeysFolder
from neuron_node.security import OwnKeys

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 300
STATE_SECONDS = 120
GRACE_SECONDS = 5
LOOK_AGAIN_SECONDS = 2.0
OF_THE_USER = ("EXMACHINA_", "COMPOSE_", "NEURONS")
EPOCH = re.compile(rb"\| +epoch \d+: ")
"""A line of the coordinator's log after the name of its container."""
LABEL = "label=com.docker.compose.project="
_numbers = itertools.count(1)
NO_PAGE = ("--scale", "dashboard=0")
"""For tests that do not look at the page: it needs seconds of a core to start."""


class Project:
    """The services of compose.yaml under a name of their own, with the given settings."""

    def __init__(
        self, settings: Mapping[str, str], folder: Path, patience: float = 1.0, changes: Path | None = None
    ) -> None:
        """`folder` takes the settings' file and is /config in the coordinator's container. A large project may take so many
        times as long as a small one. `changes` is a second Compose file.
        """
        self.name = f"exmachina-test-{os.getpid()}-{next(_numbers)}"
        self.config = folder
        self.said: list[str] = []
        self._command_seconds, self._state_seconds = patience * COMMAND_SECONDS, patience * STATE_SECONDS
        self._grace_seconds = round(patience * GRACE_SECONDS)
        # Port 0: the engine takes a free one. The container's user has to be able to read the folder.
        values = {
            "EXMACHINA_PORT": "0",
            "EXMACHINA_PORT_EVENTS": "0",
            "EXMACHINA_PORT_PAGE": "0",
            "EXMACHINA_CONFIG_FOLDER": str(folder),
            **settings,
        }
        folder.chmod(0o755)
        env_file = folder / "test.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
        self._base = ["docker", "compose", "--ansi", "never", "--progress", "plain", "--project-name", self.name]
        files = [CHECKOUT / "compose.yaml", *([changes] if changes else [])]
        self._base += [word for file in files for word in ("--file", str(file))] + ["--env-file", str(env_file)]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_USER)}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Begin a `docker compose` command."""
        return subprocess.Popen(
            [*self._base, *arguments],
            env=self._environment,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=CHECKOUT,
            **options,
        )

    def run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a `docker compose` command to its end, with `text` on its standard input."""
        return subprocess.run(
            [*self._base, *arguments],
            env=self._environment,
            input=text or "",
            capture_output=True,
            text=True,
            timeout=self._command_seconds,
            check=False,
            cwd=CHECKOUT,
        )

    def must(self, *arguments: str, text: str | None = None) -> str:
        """Run a command that has to succeed; its standard output."""
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, *arguments: str, text: str | None = None) -> dict[str, Any]:
        """What `coordinator ... --json` answers inside the coordinator's container."""
        answer = self.must("exec", "-T", "coordinator", "coordinator", *arguments, "--json", text=text)
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def await_status(self, **wanted: Any) -> dict[str, Any]:
        """The status, once it has these values; looks whenever the coordinator has said something new."""
        status: dict[str, Any] = {}
        for _ in self._heard(self._state_seconds):
            done = self.run("exec", "-T", "coordinator", "coordinator", "status", "--json")
            if done.returncode == 0:
                status = json.loads(done.stdout)
                if wanted.items() <= {name: status[name] for name in wanted}.items():
                    return status
                assert status["state"] != "failed", status
            elif not self.must("ps", "--quiet", "coordinator"):
                break
        logs = self.run("logs", "--tail", "20", "broker", "coordinator").stdout
        raise AssertionError(f"never {wanted}; last: {status}\n{logs}")

    def await_snapshot(self, run: str) -> None:
        """Return when a run's folder has a snapshot; looks as `await_status` does."""
        for _ in self._heard(self._state_seconds):
            names = self.run("exec", "-T", "coordinator", "ls", f"/runs/{run}/snapshots").stdout.split()
            if any(name.endswith(".snapshot") for name in names):
                return
        raise AssertionError(f"the run {run} has no snapshot")

    def line_with(self, process: subprocess.Popen[str], text: str) -> str:
        """The first line with `text` that a command started with a pipe writes; all lines go into `said`."""
        assert process.stdout
        patience = threading.Timer(self._state_seconds, process.kill)
        patience.start()
        try:
            for line in process.stdout:
                self.said.append(line)
                if text in line:
                    return line
        finally:
            patience.cancel()
        raise AssertionError(f"no line with {text!r} in {self._state_seconds:g} s:\n{''.join(self.said)}")

    def containers(self) -> list[dict[str, Any]]:
        """What the engine knows of every container of this project."""
        names = self.must("ps", "--all", "--quiet").split()
        done = subprocess.run(
            ["docker", "inspect", *names], capture_output=True, text=True, check=True, timeout=self._command_seconds
        )
        return list(json.loads(done.stdout))

    def door(self) -> str:
        """Where on this machine the front door is."""
        return f"tcp://{self.must('port', 'coordinator', '5573').strip()}"

    def export_key(self, name: str, folder: Path) -> Path:
        """Copy a key out of the volumes, as the guide says; return the folder of keys."""
        archive = subprocess.run(
            [*self._base, "run", "--rm", "-T", "keys", "coordinator", "keys", "export", name, "-"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=self._command_seconds,
            check=True,
            cwd=CHECKOUT,
        )
        # The guide uses tar too. The filter of `extractall` came with Python 3.11.4 only.
        subprocess.run(["tar", "-x"], input=archive.stdout, cwd=folder, timeout=self._command_seconds, check=True)
        return folder / "keys"

    @contextlib.contextmanager
    def client(self, patience_seconds: float) -> Iterator[Client]:
        """A client of the front door, with the operator's key."""
        with tempfile.TemporaryDirectory(prefix="keys-") as folder:
            keys = KeysFolder(self.export_key("operator", Path(folder)))
            own = OwnKeys(keys, keys.own([OPERATOR]))
            with Client(self.door(), patience_seconds, own.client_of(COORDINATOR)) as client:
                yield client

    def down(self) -> None:
        """Stop everything and remove it, volumes too."""
        self.must("down", "--volumes", "--remove-orphans", "--timeout", str(self._grace_seconds))

    def left_behind(self) -> dict[str, list[str]]:
        """Containers, volumes and networks of this project that still exist."""
        kinds = {"containers": ["ps", "--all"], "volumes": ["volume", "ls"], "networks": ["network", "ls"]}
        found = {
            kind: subprocess.run(
                ["docker", *command, "--quiet", "--filter", LABEL + self.name],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for kind, command in kinds.items()
        }
        return {kind: names for kind, names in found.items() if names}

    def _heard(self, seconds: float) -> Iterator[None]:
        """Once now, then whenever the coordinator says more than that an epoch is done, or has been silent for a while; for so
        many seconds. Whoever looks takes a second of the processor, which the network needs to learn.
        """
        logs = self.start(
            "logs", "--follow", "--tail", "0", "coordinator", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert logs.stdout
        try:
            yield from _lines_or_silences(logs.stdout, time.monotonic() + seconds)
        finally:
            logs.kill()
            logs.wait()
            logs.stdout.close()


def _lines_or_silences(stream: IO[str], deadline: float) -> Iterator[None]:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            yield
            while selector.select(LOOK_AGAIN_SECONDS) and time.monotonic() < deadline:
                said = os.read(stream.fileno(), 1 << 16)
                if not said:
                    # A log that has ended stays readable for ever: from now on there are only silences.
                    selector.unregister(stream)
                if not all(EPOCH.search(line) for line in said.splitlines()):
                    break
