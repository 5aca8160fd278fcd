"""The folder of one run: what it was asked, the data it learns, every program's log, and what came of it.

runs/NAME/config.json        settings, network, and who made it
runs/NAME/data.npz           the samples, split, scaled and encoded
runs/NAME/snapshots/         the last two snapshots of the network
runs/NAME/generation.0, .1   the generation, twice
runs/NAME/metrics.csv        a row a step
runs/NAME/events.jsonl       what happened, a line each
runs/NAME/placements.json    which node hosted which neuron, last
runs/NAME/endpoints.json     where its broker listens, while it runs
runs/NAME/model.safetensors  the trained network
runs/NAME/result.json        the figures of `learn --json`
runs/NAME/failure.json       why it failed, if it did
runs/NAME/logs/PROGRAM.log
runs/NAME/lock               held by its coordinator; launcher.lock by the command line that started it
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from coordinator.data.prepared import PreparedData
from coordinator.disk import REAL_DISK, write_whole
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings
from neuron_node import __version__
from neuron_node.fingerprint import fingerprint
from neuron_node.messages import IDENTITY_LENGTH

NAMES_TRIED = 1_000
LABEL_CHARACTERS = 48
"""A folder's name holds 255 bytes, of which a character may take four."""
LARGEST_JSON_BYTES = 64 * 1024 * 1024
LOCKS = ("lock", "launcher.lock")
"""Who works in a folder: its coordinator, and the command line of `learn`, which outlives a coordinator that is killed."""


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
        if name in ("", ".", "..") or Path(name).name != name:
            raise UserError(f"{name!r} is no run's name; right would be the name alone of a folder in {base}")
        path = base / name
        if not (path / "config.json").is_file():
            known = [directory.path.name for directory in cls.all_in(base)]
            names = f"there are {', '.join(known[-5:])}" if known else "there is none"
            raise UserError(f"no run {name!r} in {base}; {names}")
        return cls(path)

    @classmethod
    def all_in(cls, base: Path) -> list[RunDirectory]:
        """Every run under `base`, by name."""
        paths = sorted(base.iterdir()) if base.is_dir() else []
        return [cls(path) for path in paths if (path / "config.json").is_file()]

    @classmethod
    def numbered(cls, base: Path, name: str) -> list[RunDirectory]:
        """The runs `name`, name-2, …, the highest number first."""
        found = {}
        for directory in cls.all_in(base):
            if match := re.fullmatch(rf"{re.escape(name)}(?:-(\d{{1,6}}))?", directory.path.name):
                found[int(match[1] or 1)] = directory
        return [found[number] for number in sorted(found, reverse=True)]

    @classmethod
    def latest(cls, base: Path) -> RunDirectory | None:
        """The run that was begun last, if there is any."""
        configs = sorted(base.glob("*/config.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        return cls(configs[-1].parent) if configs else None

    def prepare(self, config: Mapping[str, Any], network: NetworkSettings, data: PreparedData) -> None:
        """Write down what the run is to do: the data first, so that a folder with a config is whole."""
        data.save(self.data)
        REAL_DISK.sync(self.data)
        facts = {
            "version": __version__,
            "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "run": secrets.token_hex(IDENTITY_LENGTH),
            "fingerprint": fingerprint(),
            "network": network.to_json(),
            "data_sha256": data.sha256,
            "prepared_sha256": self.prepared_sha256(),
        }
        document = {**facts, **config}
        self.write_json("config", {**document, "checksum": checksum_of(document)})
        REAL_DISK.sync_folder(self.path.parent)

    def prepared_sha256(self) -> str:
        """The digest of the file that the run learns from. Raises `UserError`."""
        try:
            with self.data.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as fault:
            raise UserError(f"{self.data} can't be read ({fault.strerror or fault})") from None

    def config(self) -> dict[str, Any]:
        """What the run was asked to do. Raises `UserError`."""
        config = self.read_json("config")
        if not isinstance(config, dict):
            raise UserError(f"{self.path}/config.json is not one of ours")
        return config

    def lock(self) -> None:
        """Hold the folder for as long as this process lives. Raises `UserError` if another coordinator does."""
        self._lock = self._hold("lock")

    def unlock(self) -> None:
        """Let another coordinator have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for a command line that starts a coordinator in it. Raises `UserError` if another one does."""
        self.check_free()
        with self._hold("launcher.lock"):
            yield

    def check_free(self) -> None:
        """Whether nobody works in the folder; nothing is written. Raises `UserError`."""
        if holder := self.holder():
            raise self._taken(holder)

    def holder(self) -> str | None:
        """Who works in the folder, if anybody does."""
        for name in LOCKS:
            try:
                with (self.path / name).open(encoding="utf-8", errors="replace") as file:
                    if not _locked(file, fcntl.LOCK_SH):
                        return file.read(200).strip() or "a process that did not say its number"
            except FileNotFoundError:
                continue
            except OSError as fault:
                raise UserError(f"{self.path / name} can't be read ({fault.strerror or fault})") from None
        return None

    def _hold(self, name: str) -> TextIO:
        try:
            file = (self.path / name).open("a+", encoding="utf-8", errors="replace")
        except OSError as fault:
            raise UserError(f"{self.path} can't be written: {fault.strerror or fault}") from None
        while not _locked(file, fcntl.LOCK_EX):
            # Somebody who only looks shares the lock with us, for a moment; a coordinator does not.
            if not _locked(file, fcntl.LOCK_SH):
                file.seek(0)
                holder = file.read(200).strip()
                file.close()
                raise self._taken(holder)
            fcntl.flock(file, fcntl.LOCK_UN)
        # The number is a courtesy: a full disk does not keep a run from going on.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        return file

    def _taken(self, holder: str) -> UserError:
        return UserError(
            f"another coordinator is at work in {self.path} ({holder}); stop it first, or begin another run"
        )

    def identity(self, config: Mapping[str, Any]) -> str:
        """What a snapshot of this run belongs to, in one digest."""
        kept = ("run", "network", "data_sha256", "seed", "group_size", "microbatches", "fingerprint")
        facts = {key: config[key] for key in kept}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def result(self) -> dict[str, Any] | None:
        """The figures of a run that has finished; None if it has not, or if they can't be read."""
        return self._facts("result")

    def failure(self) -> str | None:
        """The line that a failed run ended with, if it failed."""
        facts = self._facts("failure")
        return str(facts["reason"]) if facts and "reason" in facts else None

    def _facts(self, name: str) -> dict[str, Any] | None:
        try:
            facts = self.read_json(name)
        except UserError:
            return None
        return facts if isinstance(facts, dict) else None

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


def checksum_of(config: Mapping[str, Any]) -> str:
    """The digest of everything in a config but this digest itself."""
    rest = {key: value for key, value in config.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _locked(file: TextIO, how: int) -> bool:
    """Lock an open file, exclusively or shared, without waiting; whether that was possible."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as fault:
        raise UserError(
            f"{file.name} can't be locked ({fault.strerror or fault}); runs need a disk that can, see --runs"
        ) from None
    return True


def _candidates(base: Path, name: str | None, label: str, numbered: bool) -> list[Path]:
    if name and not numbered:
        return [base / name]
    stem = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{label[:LABEL_CHARACTERS]}"
    return [base / (stem if attempt == 0 else f"{stem}-{attempt + 1}") for attempt in range(NAMES_TRIED)]
