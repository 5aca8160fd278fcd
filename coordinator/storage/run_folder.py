"""The folder of a run: its config, data, snapshots, logs and results.

runs/NAME/config.json        settings, network, and who made it
runs/NAME/data.npz           the samples, split, scaled and encoded
runs/NAME/snapshots/         the last two snapshots of the network
runs/NAME/history/           older snapshots, and the best
runs/NAME/generation.0, .1   the generation, in two copies
runs/NAME/journal.0, .1      the interventions, in two copies
runs/NAME/metrics.csv        one row per step
runs/NAME/events.jsonl       the events, one per line
runs/NAME/placements.json    which node hosted which neuron, last
runs/NAME/endpoints.json     where its broker and its front door listen, while it runs
runs/NAME/model.safetensors  the trained network
runs/NAME/result.json        the figures of `learn --json`
runs/NAME/failure.json       the reason, if the run failed
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
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from coordinator.data.prepared import PreparedData
from coordinator.data.suggestion import did_you_mean
from coordinator.defaults import NetworkSettings
from coordinator.errors import UserError
from coordinator.storage.disk import REAL_DISK, open_regular, read_regular, write_whole
from coordinator.storage.run_names import (
    FOLDERS,
    LOCKS,
    NAMES,
    has_config,
    hold_folder,
    is_without_config,
    owner_note,
    remove_unfinished,
)
from neuron_node import __version__
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH

NAMES_TRIED = 1_000
MOST_NAMED = 5
LABEL_CHARACTERS = 48
"""The longest label in the name of a folder: a name has at most 255 bytes, and a character up to four."""
LARGEST_JSON_BYTES = 64 * 1024 * 1024
LAYOUT = 2
"""A config with a layout belongs to a run in which each JSON file and each line of events.jsonl has a checksum."""
CHUNK_BYTES = 1024 * 1024


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data.npz"
        self.model = path / "model.safetensors"
        self.logs = path / "logs"
        self._lock: BinaryIO | None = None
        self._being_made = -1

    @classmethod
    def create(cls, base: Path, name: str | None, label: str, *, numbered: bool = False) -> RunFolder:
        """Create a folder in `base`, called `name` (if `numbered`: or name-2, …), else date and label. Raises `UserError`."""
        try:
            base.mkdir(parents=True, exist_ok=True)
            for path in _candidates(base, name, label, numbered):
                if directory := cls._made(path):
                    return directory
                if name and not numbered:
                    if not remove_unfinished(path):
                        raise UserError(_taken_name(path))
                    if directory := cls._made(path):
                        return directory
        except OSError as fault:
            reason = fault.strerror or fault
            raise UserError(
                f"{base} can't hold a run ({reason}); right would be a writable folder, with --runs"
            ) from None
        raise UserError(f"{base} holds too many runs of one second")

    @classmethod
    def _made(cls, path: Path) -> RunFolder | None:
        """Create a folder, locked until its config is written; return None if it exists. Raises `OSError`."""
        try:
            path.mkdir()
        except FileExistsError:
            return None
        directory = cls(path)
        directory._being_made = hold_folder(path)
        directory.logs.mkdir()
        return directory

    def discard(self) -> None:
        """Remove a folder that could not be completed, as far as possible."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._is_made()

    def _is_made(self) -> None:
        if self._being_made >= 0:
            os.close(self._being_made)
            self._being_made = -1

    @classmethod
    def existing(cls, base: Path, name: str) -> RunFolder:
        """Return the folder of an existing run. Raises `UserError`."""
        if name in ("", ".", "..") or Path(name).name != name:
            raise UserError(f"{name!r} is no run's name; right would be the name alone of a folder in {base}")
        path = base / name
        if not has_config(path):
            if note := owner_note(path):
                raise UserError(f"{path} can't be read: permission denied{note}")
            known = [directory.path.name for directory in cls.all_in(base)]
            if similar := did_you_mean(name, known):
                raise UserError(f"no run {name!r} in {base}{similar}")
            some = "" if len(known) <= MOST_NAMED else f" {len(known)}, among them"
            names = f"there are{some} {', '.join(known[-MOST_NAMED:])}" if known else "there is none"
            raise UserError(f"no run {name!r} in {base}; {names}")
        return cls(path)

    @classmethod
    def all_in(cls, base: Path) -> list[RunFolder]:
        """Return all runs in `base`, by name."""
        paths = sorted(base.iterdir()) if base.is_dir() else []
        return [cls(path) for path in paths if has_config(path)]

    @classmethod
    def unfinished_in(cls, base: Path) -> list[RunFolder]:
        """Return all runs in `base` without a config, by name."""
        paths = sorted(base.iterdir()) if base.is_dir() else []
        return [cls(path) for path in paths if is_without_config(path)]

    @classmethod
    def numbered(cls, base: Path, name: str) -> list[RunFolder]:
        """Return the runs `name`, name-2, …, the highest number first."""
        found = {}
        for directory in cls.all_in(base):
            if match := re.fullmatch(rf"{re.escape(name)}(?:-(\d{{1,6}}))?", directory.path.name):
                found[int(match[1] or 1)] = directory
        return [found[number] for number in sorted(found, reverse=True)]

    @classmethod
    def latest(cls, base: Path) -> RunFolder | None:
        """Return the latest run, or None."""
        configs = sorted(base.glob("*/config.json"), key=lambda path: (path.stat().st_mtime_ns, path))
        return cls(configs[-1].parent) if configs else None

    def prepare(self, config: Mapping[str, Any], network: NetworkSettings, data: PreparedData) -> None:
        """Write data and config: the data first, so that a folder with a config is complete."""
        data.save(self.data)
        REAL_DISK.sync(self.data)
        facts = {
            "version": __version__,
            "layout": LAYOUT,
            "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "run": secrets.token_hex(IDENTITY_LENGTH),
            "fingerprint": fingerprint(),
            "network": network.to_json(),
            "data_sha256": data.sha256,
            "prepared_sha256": self.prepared_sha256(),
        }
        self.write_json("config", {**facts, **config})
        REAL_DISK.sync_folder(self.path.parent)
        self._is_made()

    def prepared_sha256(self) -> str:
        """Return the digest of the data file. Raises `UserError`."""
        try:
            digest = hashlib.sha256()
            with open_regular(self.data) as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
            return digest.hexdigest()
        except OSError as fault:
            raise UserError(f"{self.data} can't be read ({fault.strerror or fault})") from None

    def config(self) -> dict[str, Any]:
        """Return the config. Raises `UserError`."""
        config = self._parsed("config")
        if not isinstance(config, dict):
            raise UserError(f"{self.path}/config.json is not one of ours")
        return config

    def lock(self) -> None:
        """Lock the folder until this process ends. Raises `UserError` if another coordinator has locked it."""
        self._lock = self._hold("lock")

    def unlock(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock the folder for a command line that starts a coordinator. Raises `UserError` if it is locked."""
        self.check_free()
        with self._hold("launcher.lock"):
            yield

    def check_free(self) -> None:
        """Raise `UserError` if a program uses the folder. Writes nothing."""
        if holder := self.holder():
            raise self._taken(holder)

    def holder(self) -> str | None:
        """Return the program that uses the folder, or None."""
        for name in LOCKS:
            try:
                with open_regular(self.path / name) as file:
                    if not _locked(file, fcntl.LOCK_SH):
                        return _holder(file) or "a process that did not say its number"
            except FileNotFoundError:
                continue
            except OSError as fault:
                raise UserError(f"{self.path / name} can't be read ({fault.strerror or fault})") from None
        return None

    def _hold(self, name: str) -> BinaryIO:
        try:
            file = open_regular(self.path / name, os.O_RDWR | os.O_CREAT)
        except OSError as fault:
            raise UserError(f"{self.path} can't be written: {fault.strerror or fault}{owner_note(self.path)}") from None
        while not _locked(file, fcntl.LOCK_EX):
            # A program that only checks the lock shares it for a moment; a coordinator does not.
            if not _locked(file, fcntl.LOCK_SH):
                holder = _holder(file)
                file.close()
                raise self._taken(holder)
            fcntl.flock(file, fcntl.LOCK_UN)
        # The process id is only information: a full disk must not stop a run.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            file.flush()
        return file

    def _taken(self, holder: str) -> UserError:
        return UserError(
            f"another coordinator is at work in {self.path} ({holder}); stop it first, or begin another run"
        )

    def identity(self, config: Mapping[str, Any]) -> str:
        """Return the digest by which snapshots are known to belong to this run."""
        kept = ("run", "network", "data_sha256", "seed", "group_size", "microbatches", "fingerprint")
        facts = {key: config[key] for key in kept}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def result(self) -> dict[str, Any] | None:
        """Return the figures of a finished run, or None."""
        return self._facts("result")

    def failure(self) -> str | None:
        """Return the reason of a failed run, or None."""
        facts = self._facts("failure")
        return str(facts["reason"]) if facts and "reason" in facts else None

    def _facts(self, name: str) -> dict[str, Any] | None:
        try:
            facts = self.read_json(name)
        except UserError:
            return None
        return facts if isinstance(facts, dict) else None

    def write_json(self, name: str, value: Any) -> None:
        """Write `name`.json as a whole or not at all; an object gets a `checksum` of its content. Raises `OSError`."""
        if isinstance(value, Mapping):
            value = {**value, "checksum": checksum_of(value)}
        write_whole(self.path / f"{name}.json", (json.dumps(value, indent=2) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """Read `name`.json, and check that it is as it was written. Raises `UserError`."""
        value = self._parsed(name)
        if isinstance(value, dict):
            checksum = value.pop("checksum", None)
            if checksum is None and self.has_checksums():
                raise UserError(f"{self.path / name}.json is not as it was written (it has no checksum)")
            if checksum is not None and checksum != checksum_of(value):
                raise UserError(f"{self.path / name}.json is not as it was written (its checksum does not match)")
        return value

    def has_checksums(self) -> bool:
        """Whether every file of the run has a checksum. If the config cannot be read, this is assumed."""
        try:
            return "layout" in self.config()
        except UserError:
            return True

    def _parsed(self, name: str) -> Any:
        path = self.path / f"{name}.json"
        try:
            content = read_regular(path, LARGEST_JSON_BYTES + 1)
            if len(content) > LARGEST_JSON_BYTES:
                raise UserError(f"{path} is too large to be one of ours")
            return json.loads(content)
        except FileNotFoundError:
            raise UserError(f"{path} is not there (yet)") from None
        except (OSError, ValueError, RecursionError) as fault:
            why = fault.strerror if isinstance(fault, OSError) else fault
            raise UserError(f"{path} can't be read: {' '.join(str(why or fault).split())}") from None

    def check_regular(self) -> None:
        """Raise `UserError` if the folder has a FIFO, a device or another irregular file: reading it could wait forever."""
        for name in NAMES - FOLDERS:
            if (self.path / name).is_dir():
                raise UserError(
                    f"{self.path / name} is a folder, not a file; remove it, or put the run's own file back"
                )
        for place, _, names in os.walk(self.path):
            for name in names:
                path = Path(place) / name
                try:
                    mode = path.stat().st_mode
                except FileNotFoundError:
                    # The run may have renamed this file in the meantime; a broken link stays.
                    if path.is_symlink():
                        raise UserError(f"{path} is a broken link; remove it") from None
                    continue
                except OSError as fault:
                    raise UserError(f"{path} can't be read ({fault.strerror or fault}); remove it") from None
                if not stat.S_ISREG(mode):
                    raise UserError(f"{path} is not a regular file; remove it, or put the run's own file back")

    def remove_half_written(self) -> int:
        """Remove the temporary files of a killed program; return their number."""
        removed = 0
        for folder in (self.path, self.path / "snapshots"):
            for path in folder.glob(".*.new"):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def forget(self, name: str) -> None:
        """Remove `name`.json."""
        (self.path / f"{name}.json").unlink(missing_ok=True)


def checksum_of(config: Mapping[str, Any]) -> str:
    """Return the digest of a config without its own digest."""
    rest = {key: value for key, value in config.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _taken_name(path: Path) -> str:
    if is_without_config(path):
        return f"{path} is a run without its config.json; remove it (coordinator runs rm {path.name}), or take another --name"
    directory = RunFolder(path)
    if not has_config(path):
        return f"{path} exists already and is no run{owner_note(path)}; take another --name, or remove it"
    if directory.holder() is None and directory.result() is None:
        how = "failed" if directory.failure() else "was interrupted"
        return (
            f"the run {path} exists already and {how}; continue it with: coordinator learn --resume {path.name}, "
            "or take another --name"
        )
    state = "finished" if directory.holder() is None else "in use"
    return f"the run {path} exists already and is {state}; take another --name, or remove it with: coordinator runs rm {path.name}"


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(200).decode("utf-8", "replace").strip()


def _locked(file: BinaryIO, how: int) -> bool:
    """Lock an open file, exclusively or shared, without waiting; return whether that succeeded."""
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
