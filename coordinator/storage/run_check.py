"""Check every file in the folder of a run against its checksum, for `coordinator runs --check`. Nothing is changed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from coordinator.defaults import NetworkSettings
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK, read_regular
from coordinator.storage.generation_record import GenerationRecord
from coordinator.storage.history import FOLDER, METRICS_NAME, NAME, History, history_of
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.restoration import fault_of_model
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import LARGEST_EVENT_LOG_BYTES, MetricsFile, event_in
from coordinator.storage.run_names import LOCKS
from coordinator.storage.snapshots import Saved, SnapshotStore
from coordinator.topology import Topology

AS_WRITTEN, DAMAGED, MISSING, UNKNOWN, NOT_COVERED = "as written", "damaged", "missing", "not a run's", "not covered"
GOOD = (AS_WRITTEN, NOT_COVERED)
SNAPSHOT = re.compile(r"snapshots/step-(\d{9,18})\.snapshot")
IN_HISTORY = re.compile(rf"{FOLDER}/({NAME.pattern}|{METRICS_NAME.pattern})")
HALF_WRITTEN = re.compile(r"(?:snapshots/|history/)?\.[^/]*\.new")


class Finding(NamedTuple):
    """One file of a run: its path in the folder, its state, and the reason."""

    file: str
    state: str
    why: str = ""


def check_run(directory: RunFolder) -> list[Finding]:
    """Return a finding for each existing or missing file, by name. Raises `UserError` if the folder cannot be listed."""
    return sorted(_Check(directory).findings())


class _Check:
    """The config, result and snapshots of a run, with which its files must agree."""

    def __init__(self, directory: RunFolder) -> None:
        self._directory = directory
        self._config: dict[str, Any] | None = None
        self._config_fault = ""
        try:
            self._config = checked_config(directory)
        except UserError as fault:
            self._config_fault = str(fault)
        self._result = directory.result()
        self._checked = self._config is None or "layout" in self._config
        self._snapshots: dict[int, Saved | str] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, in no order."""
        found = self._files()
        for name in found:
            if match := SNAPSHOT.fullmatch(name):
                self._snapshots[int(match[1])] = self._snapshot(int(match[1]))
        for name, fault in found.items():
            yield Finding(name, DAMAGED, fault) if fault else self._finding(name)
        for name in sorted(self._expected() - set(found)):
            yield Finding(name, MISSING, "it should be there")

    def _files(self) -> dict[str, str]:
        """Return the path of every file in the folder, with its fault if it is no regular file."""
        found = {}
        for place, _, names in os.walk(self._directory.path, onerror=_refuse):
            for name in names:
                path = Path(place) / name
                try:
                    fault = "" if stat.S_ISREG(path.stat().st_mode) else "not a regular file"
                except OSError as why:
                    if not path.is_symlink() and not path.exists():
                        # The run has renamed this file in the meantime.
                        continue
                    fault = f"a broken link ({why.strerror})"
                found[path.relative_to(self._directory.path).as_posix()] = fault
        return found

    def _expected(self) -> set[str]:
        expected = {"config.json", "data.npz"}
        if self._snapshots:
            expected |= {"metrics.csv", "generation.0", "generation.1"}
        last = self._config.get("steps", 0) if self._config else 0
        if self._result is not None or isinstance(self._snapshots.get(last), Saved):
            expected |= {"model.safetensors", "placements.json", "events.jsonl", "result.json"}
            if last:
                expected.add(f"snapshots/step-{last:09d}.snapshot")
        return expected

    def _finding(self, name: str) -> Finding:
        if match := SNAPSHOT.fullmatch(name):
            saved = self._snapshots[int(match[1])]
            return Finding(name, DAMAGED, saved) if isinstance(saved, str) else Finding(name, AS_WRITTEN)
        if match := IN_HISTORY.fullmatch(name):
            fault = self._history_fault(match[1])
            return Finding(name, DAMAGED, fault) if fault else Finding(name, AS_WRITTEN)
        if HALF_WRITTEN.fullmatch(name):
            return Finding(name, NOT_COVERED, "a temporary file of a killed program; no program reads it")
        if name in LOCKS:
            return Finding(name, NOT_COVERED, "a lock")
        if name.startswith(("logs/", "profiles/")) or name in ("endpoints.json", "metrics.csv.damaged"):
            return Finding(name, NOT_COVERED, "for people" if "/" in name else "no program relies on it")
        check = CHECKS.get(name)
        if check is None:
            return Finding(name, UNKNOWN, "no run writes a file of this name")
        try:
            state, why = check(self, name)
        except (UserError, Damaged, OSError) as fault:
            return Finding(name, DAMAGED, str(fault.strerror or fault) if isinstance(fault, OSError) else str(fault))
        return Finding(name, state, why)

    def _of_config(self, _name: str) -> tuple[str, str]:
        return (DAMAGED, self._config_fault) if self._config is None else (AS_WRITTEN, "")

    def _of_data(self, _name: str) -> tuple[str, str]:
        if self._config is None:
            return NOT_COVERED, "its checksum is in config.json"
        if self._directory.prepared_sha256() != self._config["prepared_sha256"]:
            return DAMAGED, "it is not the data that the run was started with"
        return AS_WRITTEN, ""

    def _of_json(self, name: str) -> tuple[str, str]:
        value = self._directory.read_json(name.removesuffix(".json"))
        if not isinstance(value, dict):
            return DAMAGED, "it is not a JSON object"
        if name == "result.json" and self._config is not None:
            saved = self._snapshots.get(self._config.get("steps", 0))
            if isinstance(saved, Saved):
                topology = self._topology(self._config)
                if topology.assemble(saved.snapshot.states).sha256() != value.get("weights_sha256"):
                    return DAMAGED, "the final snapshot has other weights"
        return (AS_WRITTEN, "") if self._checked else (NOT_COVERED, "version 0.1 gave it no checksum")

    def _of_generation(self, name: str) -> tuple[str, str]:
        GenerationRecord(self._directory.path, REAL_DISK).check(name)
        return AS_WRITTEN, ""

    def _of_journal(self, name: str) -> tuple[str, str]:
        JournalFile(self._directory.path, REAL_DISK).check(name)
        return AS_WRITTEN, ""

    def _of_model(self, _name: str) -> tuple[str, str]:
        fault = fault_of_model(self._directory, (self._result or {}).get("weights_sha256"))
        return (DAMAGED, fault) if fault else (AS_WRITTEN, "")

    def _of_metrics(self, _name: str) -> tuple[str, str]:
        whole = [saved for _, saved in sorted(self._snapshots.items()) if isinstance(saved, Saved)]
        latest = whole[-1] if whole else None
        if latest is None or latest.metrics is None:
            return NOT_COVERED, "no snapshot has its checksum"
        if fault := MetricsFile(self._directory.path / "metrics.csv", REAL_DISK).check(latest.metrics):
            return DAMAGED, fault
        size_bytes = (self._directory.path / "metrics.csv").stat().st_size
        if size_bytes > latest.metrics.size_bytes and self._result is not None:
            return DAMAGED, "it has rows after the last step"
        more = size_bytes > latest.metrics.size_bytes
        return AS_WRITTEN, f"up to step {latest.snapshot.step:,}, that of the last snapshot" if more else ""

    def _of_events(self, name: str) -> tuple[str, str]:
        content = read_regular(self._directory.path / name, 2 * LARGEST_EVENT_LOG_BYTES)
        lines = content.split(b"\n")
        last = lines.pop()
        bad = [number for number, line in enumerate(lines, 1) if line and event_in(line, checked=self._checked) is None]
        if bad:
            return DAMAGED, f"line {bad[0]:,} is not as it was written" + (
                f", and {len(bad) - 1} more" if bad[1:] else ""
            )
        if last:
            return DAMAGED, "its last line is cut short"
        return (AS_WRITTEN, "") if self._checked else (NOT_COVERED, "version 0.1 gave it no checksums")

    def _snapshot(self, step: int) -> Saved | str:
        if self._config is None:
            return "config.json is damaged or missing, so it cannot be checked"
        store = SnapshotStore(self._directory.path, self._directory.identity(self._config), REAL_DISK)
        try:
            return store.check(step, self._topology(self._config))
        except OSError as fault:
            return str(fault.strerror or fault)
        except Damaged as fault:
            return str(fault)

    def _history_fault(self, name: str) -> str | None:
        if self._config is None:
            return self._config_fault
        check = History.check if NAME.fullmatch(name) else History.check_metrics
        return check(history_of(self._directory, self._config), name, self._topology(self._config))

    @staticmethod
    def _topology(config: dict[str, Any]) -> Topology:
        return Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])


CHECKS: dict[str, Callable[[_Check, str], tuple[str, str]]] = {
    "config.json": _Check._of_config,
    "data.npz": _Check._of_data,
    "generation.0": _Check._of_generation,
    "generation.1": _Check._of_generation,
    "journal.0": _Check._of_journal,
    "journal.1": _Check._of_journal,
    "metrics.csv": _Check._of_metrics,
    "events.jsonl": _Check._of_events,
    "events.jsonl.1": _Check._of_events,
    "placements.json": _Check._of_json,
    "result.json": _Check._of_json,
    "failure.json": _Check._of_json,
    "comparison.json": _Check._of_json,
    "model.safetensors": _Check._of_model,
}


def _refuse(fault: OSError) -> None:
    raise UserError(f"{fault.filename} can't be read: {fault.strerror or fault}")
