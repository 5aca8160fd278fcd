"""Another run in the place of the present one, with some other settings: `coordinator restart`.

The coordinator writes the new run, then the file `restarted.json` beside the runs, and ends. The next coordinator with the same
settings of its own finds the file, and begins the new run. A crash before the file is written leaves the present run in place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.capacity.host import other_machines
from coordinator.capacity.resources import check_needs
from coordinator.core.events import PrepareRun, RunPrepared
from coordinator.data.limits import counted, shown
from coordinator.data.sources import DATASET_NAMES
from coordinator.data.suggestion import closest
from coordinator.errors import UserError
from coordinator.job import Job
from coordinator.settings import LearnSettings
from coordinator.storage.disk import read_regular, write_whole
from coordinator.storage.resumption import config_to_go_on
from coordinator.storage.run_folder import RunFolder

FILE = "restarted.json"
SETTINGS_BYTES_AT_MOST = 16 * 1024
FILE_BYTES_AT_MOST = 256 * 1024
OF_THE_DATA = frozenset({
    "data", "target", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs", "noise",
    "layers", "preset",
})  # fmt: skip
"""Settings that describe a data set. They are left out when another data set is named."""
SAME_MEANING = {"layers": "hidden", "hidden": "layers"}

Settings = Mapping[str, object]


class Remembered(BaseModel):
    """The contents of `restarted.json`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    base: str
    """The SHA-256 of the settings that the service was started with."""
    run: str
    """The name of the run that takes the place of theirs."""
    settings: dict[str, Any]
    """All settings that are given for this run."""
    request: str = Field(pattern=r"^[0-9a-f]{16}$")
    """The id of the request, in hexadecimal."""
    answer: dict[str, Any]

    @property
    def begun_by(self) -> tuple[bytes, dict[str, Any]]:
        """The request that began the run, and its answer."""
        return bytes.fromhex(self.request), self.answer


class Recalled(NamedTuple):
    """What `restarted.json` says. `note` says why it is left aside, if so."""

    remembered: Remembered | None
    note: str = ""


def digest_of(given: Settings) -> str:
    """Return the SHA-256 of given settings."""
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


def recall(runs: Path, given: Settings) -> Recalled:
    """Return the run that takes the place of that of the given settings, if there is one."""
    path = runs / FILE
    try:
        remembered = Remembered.model_validate_json(read_regular(path, FILE_BYTES_AT_MOST))
    except FileNotFoundError:
        return Recalled(None)
    except (OSError, ValidationError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "its contents are wrong"
        return Recalled(None, f"{path} can't be used ({reason}), so the run is that of the given settings")
    if remembered.base != digest_of(given):
        return Recalled(
            None, f"the settings were changed, so the run {remembered.run} of `coordinator restart` is left aside"
        )
    try:
        config_to_go_on(RunFolder.existing(runs, remembered.run))
    except UserError as fault:
        return Recalled(None, f"{fault}; it was begun by `coordinator restart`; the run is that of the given settings")
    return Recalled(remembered)


class Restarting:
    """Prepares the runs that clients ask for."""

    def __init__(
        self,
        runs: Path,
        base: Settings,
        present: Settings,
        *,
        data_folder: Path,
        mixed_arithmetic: bool,
        check: Callable[[RunFolder], None],
    ) -> None:
        """Take the settings of the service (`base`) and those of its present run.

        `check` raises `UserError` if the broker can't carry the messages of a run.
        """
        self._runs = runs
        self._base = base
        self._present = present
        self._data_folder = data_folder
        self._mixed_arithmetic = mixed_arithmetic
        self._check = check

    def __call__(self, wanted: PrepareRun) -> RunPrepared:
        """Write another run and `restarted.json`. Nothing is left of a run that cannot begin."""
        try:
            return RunPrepared(wanted.request_id, self._prepared(wanted))
        except UserError as fault:
            return RunPrepared(wanted.request_id, {}, str(fault))

    def _prepared(self, wanted: PrepareRun) -> dict[str, Any]:
        if not wanted.nodes:
            raise UserError("no node is registered, so no other run can begin; start nodes first")
        given = self._given(wanted.settings)
        job = _job(given)
        notes = []
        if job.groups > wanted.nodes and "nodes" not in given:
            given["nodes"] = str(wanted.nodes)
            job = _job(given)
            notes.append(
                f"the network has {counted(job.groups, 'group')}, and {counted(wanted.nodes, 'node')} "
                f"{'is' if wanted.nodes == 1 else 'are'} present: some nodes host several groups"
            )
        check_needs(job.needs(), other_machines())
        name = job.settings.name or job.data.dataset
        directory = job.create_run(self._runs, name=name, mixed_arithmetic=self._mixed_arithmetic, numbered=True)
        with ExitStack() as undo:
            undo.callback(directory.discard)
            self._check(directory)
            facts = {
                "run": directory.path.name,
                "dataset": job.data.dataset,
                "layers": list(job.network.layers),
                "groups": job.groups,
                "nodes": job.nodes,
                "nodes_present": wanted.nodes,
                "notes": notes,
            }
            remembered = Remembered(
                base=digest_of(self._base),
                run=directory.path.name,
                settings=given,
                request=wanted.request_id.hex(),
                answer=facts,
            )
            try:
                write_whole(self._runs / FILE, remembered.model_dump_json(indent=1).encode())
            except OSError as fault:
                raise UserError(f"{self._runs / FILE} can't be written: {fault.strerror or fault}") from None
            undo.pop_all()
        return facts

    def _given(self, changed: Mapping[str, Any]) -> dict[str, object]:
        """Return all settings of the other run, as a command line would give them. Raises `UserError`."""
        for name in changed:
            if name not in LearnSettings.model_fields:
                raise UserError(f"no setting {shown(name)}; {closest(name, list(LearnSettings.model_fields), 99)}")
        if len(json.dumps(changed)) > SETTINGS_BYTES_AT_MOST:
            raise UserError(f"the settings of another run may have {SETTINGS_BYTES_AT_MOST:,} bytes; shorten them")
        given = {name: value for name, value in self._present.items() if name != "nodes"}
        if changed.get("dataset", given.get("dataset")) != given.get("dataset"):
            given = {name: value for name, value in given.items() if name not in {*OF_THE_DATA, "name"}}
        for name in changed:
            given.pop(SAME_MEANING.get(name, ""), None)
        given.update(changed)
        for name in ("dataset", "data"):
            if name in changed and (name == "data" or changed[name] not in DATASET_NAMES):
                given[name] = str(self._file(name, changed[name]))
        return given

    def _file(self, name: str, text: str) -> Path:
        """Return the path of a file that a client names. It must be in the folder for data. Raises `UserError`."""
        folder = self._data_folder.resolve()
        try:
            path = (folder / text).resolve()
            found = path.is_relative_to(folder) and path.is_file()
        except (OSError, ValueError):
            found = False
        if not found:
            files = sorted(each.name for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
            right = f"the files there are {', '.join(files[:8])}" if files else "there is none"
            what = "no data set and no file" if name == "dataset" else "no file"
            raise UserError(
                f"{text[:80]!r} is {what} in the service's folder for data, {folder}; {right}; "
                f"the data sets are {', '.join(DATASET_NAMES)}"
            )
        return path


def _job(given: Settings) -> Job:
    return Job.from_flags(given, None, machine=other_machines, environment={})
