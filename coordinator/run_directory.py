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

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings
from neuron_node import __version__

NAMES_TRIED = 1_000
LARGEST_JSON_BYTES = 64 * 1024 * 1024


class RunDirectory:
    """The files of one run, by what they hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data.npz"
        self.model = path / "model.safetensors"
        self.logs = path / "logs"

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
        facts = {"version": __version__, "network": network.to_json(), "data_sha256": data.sha256}
        self.write_json("config", {**facts, **config})

    def config(self) -> dict[str, Any]:
        """What the run was asked to do. Raises `UserError`."""
        config = self.read_json("config")
        if not isinstance(config, dict):
            raise UserError(f"{self.path}/config.json is not one of ours")
        return config

    def write_json(self, name: str, value: Any) -> None:
        """Write `name`.json whole or not at all."""
        write_atomically(self.path / f"{name}.json", (json.dumps(value, indent=2) + "\n").encode())

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


def write_atomically(path: Path, content: bytes) -> None:
    """Temporary file, sync, rename, sync of the folder: a crash leaves the old file or the new one. Raises `OSError`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
