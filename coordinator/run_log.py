"""The logs of a run: `metrics.csv` with one row per step, and `events.jsonl` with one event per line. Both are bounded."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coordinator.disk import Disk, write_whole
from coordinator.machine.events import Row

LARGEST_METRICS_BYTES = 1024**3
LARGEST_EVENT_LOG_BYTES = 8 * 1024 * 1024
NOT_LOGGED = ("progress", "compared")
LARGEST_TAIL_BYTES = 64 * 1024


class MetricsFile:
    """One row per step, each step once, in order. When a run continues, the file ends at the last durable snapshot."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._named = False
        """Whether the name of the file is durable. It is unknown for a file of an earlier process."""

    def append(self, rows: Sequence[Row]) -> None:
        """Append rows durably. Raises `OSError`."""
        if not rows:
            return
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        if self._path.name not in self._disk.names(self._path.parent):
            self._write((",".join(Row._fields) + "\r\n" + text.getvalue()).encode())
            return
        if not self._named:
            self._disk.sync_folder(self._path.parent)
            self._named = True
        self._disk.append(self._path, text.getvalue().encode())
        self._disk.sync(self._path)

    def steps(self) -> list[int]:
        """Return the steps that have a complete row, in the order of the file. Raises `OSError`."""
        return [step for line in self._lines() if (step := _step(line)) is not None]

    def cut(self, step: int) -> None:
        """Remove the rows after a step, and incomplete rows; these steps will be done again. Raises `OSError`."""
        lines = self._lines()
        rows = {number: line for line in lines if (number := _step(line)) is not None and number <= step}
        kept = "".join(f"{line}\r\n" for line in (",".join(Row._fields), *rows.values()))
        if lines and kept != "\r\n".join(lines):
            self._write(kept.encode())

    def _write(self, content: bytes) -> None:
        self._named = False
        write_whole(self._path, content, self._disk)
        self._named = True

    def _lines(self) -> list[str]:
        try:
            return self._disk.read(self._path, LARGEST_METRICS_BYTES).decode("utf-8", "replace").split("\r\n")
        except FileNotFoundError:
            return []


def _step(line: str) -> int | None:
    """Return the step of a row, or None for the heading and for an incomplete row."""
    first = line.partition(",")[0]
    return int(first) if first.isdigit() and line.count(",") == len(Row._fields) - 1 else None


class EventLog:
    """One line of JSON per event, with the time of day. A file that is too large is renamed to `.1`.

    Nothing depends on this log, so it is not synced, and a failure to write it does not stop a run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, event: str, facts: dict[str, Any]) -> None:
        """Write one event."""
        if event in NOT_LOGGED:
            return
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts})
        try:
            if self._path.exists() and self._path.stat().st_size > LARGEST_EVENT_LOG_BYTES:
                self._path.replace(self._path.with_suffix(".jsonl.1"))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return


def events_of(path: Path, most_bytes: int = LARGEST_EVENT_LOG_BYTES) -> list[dict[str, Any]]:
    """Return the events in the last bytes of a log, the oldest first, without unreadable lines."""
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - most_bytes)
            file.seek(start)
            lines = file.read(most_bytes).split(b"\n")
    except OSError:
        return []
    found = []
    # Reading from the middle begins with the rest of a line.
    for line in lines[1:] if start else lines:
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                found.append(event)
    return found
