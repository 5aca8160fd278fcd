"""The folder of one run: what it was asked, the data it learns, every program's log, and what came of it.

runs/NAME/config.json        settings, network, and who made it
runs/NAME/data.npz           the samples, split, scaled and encoded
runs/NAME/placements.json    which node hosted which neuron, last
runs/NAME/endpoints.json     where its broker listens, while it runs
runs/NAME/model.safetensors  the trained network
runs/NAME/result.json        the figures of `learn --json`
runs/NAME/logs/PROGRAM.log
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from coordinator.data.prepared import PreparedData
from coordinator.disk import write_whole
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings
from neuron_node import __version__
from neuron_node.fingerprint import fingerprint
from neuron_node.messages import IDENTITY_LENGTH

NAMES_TRIED = 1_000
LARGEST_JSON_BYTES = 64 * 1024 * 1024


class RunDirectory:
    """The files of one run, by what they hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data.npz"
        self.model = path / "model.safetensors"
        self.logs = path / "logs"
        self._lock: TextIO | None = None

    @classmethod
    def create(cls, base: Path, name: str | None, label: str, *, numbered: bool = False) -> RunDirectory:
        """A new folder under `base`: `name` (`numbered`: or name-2, …), else the date and the label. Raises `UserError`."""
        try:
            base.mkdir(parents=True, exist_ok=True)
            for path in _candidates(base, name, label, numbered):
                try:
                    path.mkdir()
                except FileExistsError:
                    if name and not numbered:
                        raise UserError(f"the run {path} exists already; take another --name, or remove it") from None
                    continue
                directory = cls(path)
                directory.logs.mkdir()
                return directory
        except OSError as fault:
            reason = fault.strerror or fault
            raise UserError(
                f"{base} can't hold a run ({reason}); right would be a writable folder, with --runs"
            ) from None
        raise UserError(f"{base} holds too many runs of one second")

    @classmethod
    def existing(cls, base: Path, name: str) -> RunDirectory:
        """The folder of a run that was made before. Raises `UserError`."""
        path = base / name
        if not (path / "config.json").is_file():
            known = (
                sorted(entry.name for entry in base.glob("*") if (entry / "config.json").is_file())
                if base.is_dir()
                else []
            )
            names = f"there are {', '.join(known[-5:])}" if known else "there is none"
            raise UserError(f"no run {name!r} in {base}; {names}")
        return cls(path)

    @classmethod
    def latest(cls, base: Path) -> RunDirectory | None:
        """The run that was begun last, if there is any."""
        configs = sorted(base.glob("*/config.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        return cls(configs[-1].parent) if configs else None

    def prepare(self, config: Mapping[str, Any], network: NetworkSettings, data: PreparedData) -> None:
        """Write down what the run is to do: the data first, so that a folder with a config is whole."""
        data.save(self.data)
        facts = {
            "version": __version__,
            "run": secrets.token_hex(IDENTITY_LENGTH),
            "fingerprint": fingerprint(),
            "network": network.to_json(),
            "data_sha256": data.sha256,
        }
        self.write_json("config", {**facts, **config})

    def config(self) -> dict[str, Any]:
        """What the run was asked to do. Raises `UserError`."""
        config = self.read_json("config")
        if not isinstance(config, dict):
            raise UserError(f"{self.path}/config.json is not one of ours")
        return config

    def lock(self) -> None:
        """Hold the folder for as long as this process lives. Raises `UserError` if another coordinator does."""
        self._lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(
                f"another coordinator is at work in {self.path}; stop it first, or begin another run"
            ) from None

    def identity(self, config: Mapping[str, Any]) -> str:
        """What a snapshot of this run belongs to, in one digest."""
        facts = {key: config[key] for key in ("run", "network", "data_sha256", "seed", "group_size", "fingerprint")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def write_json(self, name: str, value: Any) -> None:
        """Write `name`.json whole or not at all."""
        write_whole(self.path / f"{name}.json", (json.dumps(value, indent=2) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """Read `name`.json. Raises `UserError`."""
        path = self.path / f"{name}.json"
        try:
            if path.stat().st_size > LARGEST_JSON_BYTES:
                raise UserError(f"{path} is too large to be one of ours")
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path} is not there (yet)") from None
        except (OSError, ValueError, RecursionError) as fault:
            raise UserError(f"{path} can't be read: {fault}") from None

    def forget(self, name: str) -> None:
        """Remove `name`.json."""
        (self.path / f"{name}.json").unlink(missing_ok=True)


def _candidates(base: Path, name: str | None, label: str, numbered: bool) -> list[Path]:
    if name and not numbered:
        return [base / name]
    stem = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{label}"
    return [base / (stem if attempt == 0 else f"{stem}-{attempt + 1}") for attempt in range(NAMES_TRIED)]
