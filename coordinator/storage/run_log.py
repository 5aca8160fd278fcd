"""The logs of a run: `metrics.csv` with one row per step, and `events.jsonl` with one event per line. Both are bounded.

Every snapshot has the size and digest of metrics.csv at that time. Every line of events.jsonl has its own checksum.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coordinator.core.events import Row
from coordinator.storage.disk import Disk, open_regular, write_whole

LARGEST_METRICS_BYTES = 1024**3
LARGEST_EVENT_LOG_BYTES = 8 * 1024 * 1024
NOT_LOGGED = ("progress", "compared")
LARGEST_TAIL_BYTES = 64 * 1024
CHECK_DIGITS = 16
CHECK_BEGINS = ', "check": "'


class Extent(NamedTuple):
    """The first bytes of a file that grows, and their digest."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Extent:
        """Return the extent of a whole file."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def from_json(cls, text: str) -> Extent:
        """Parse an extent. Raises `ValueError` and `TypeError`."""
        extent = cls(**json.loads(text))
        if type(extent.size_bytes) is not int or not isinstance(extent.sha256, str):
            raise TypeError("expected a size and a digest")
        return extent

    def begins(self, content: bytes) -> bool:
        """Whether the content begins with these bytes."""
        return Extent.of(content[: self.size_bytes]) == self


class MetricsFile:
    """One row per step, each step once, in order. When a run continues, the file ends at the last durable snapshot."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._named = False
        """Whether the name of the file is durable. It is unknown for a file of an earlier process."""
        self._digest: Any = None
        self._size_bytes = 0

    def extent(self) -> Extent:
        """Return size and digest of the file, which only this object may write. Raises `OSError`."""
        if self._digest is None:
            self._know(self._content())
        return Extent(self._size_bytes, self._digest.hexdigest())

    def content(self) -> bytes:
        """Return the file; nothing if there is none. Raises `OSError`."""
        return self._content()

    def replace(self, content: bytes) -> None:
        """Give the file another content, durably: the rows of another branch. Raises `OSError`."""
        if content:
            self._write(content)
        else:
            self.cut(0)

    def put_aside(self) -> None:
        """Rename the file, so that the next rows begin a new one. Raises `OSError`."""
        self._disk.rename(self._path, self._path.with_suffix(".csv.damaged"))
        self._named = False
        self._digest = None

    def check(self, extent: Extent) -> str | None:
        """Return the fault of a file that does not begin with this extent, or None. Raises `OSError`."""
        if extent.size_bytes and self._path.name not in self._disk.names(self._path.parent):
            return f"{self._path.name} is missing"
        content = self._content()
        if len(content) < extent.size_bytes:
            return f"{self._path.name} is cut short"
        return None if extent.begins(content) else f"{self._path.name} is not as it was written"

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
        added = text.getvalue().encode()
        if self._digest is None:
            self._know(self._content())
        self._disk.append(self._path, added)
        self._disk.sync(self._path)
        self._digest.update(added)
        self._size_bytes += len(added)

    def steps(self) -> list[int]:
        """Return the steps that have a complete row, in the order of the file. Raises `OSError`."""
        return [step for line in self._lines() if (step := _step(line)) is not None]

    def cut(self, step: int) -> None:
        """Remove the rows after a step, and incomplete rows; these steps will be done again. Raises `OSError`."""
        self._digest = None
        lines = self._lines()
        rows = {number: line for line in lines if (number := _step(line)) is not None and number <= step}
        kept = "".join(f"{line}\r\n" for line in (",".join(Row._fields), *rows.values()))
        if lines and kept != "\r\n".join(lines):
            self._write(kept.encode())

    def _write(self, content: bytes) -> None:
        self._named = False
        self._digest = None
        write_whole(self._path, content, self._disk)
        self._named = True
        self._know(content)

    def _know(self, content: bytes) -> None:
        self._digest = hashlib.sha256(content)
        self._size_bytes = len(content)

    def _content(self) -> bytes:
        try:
            return self._disk.read(self._path, LARGEST_METRICS_BYTES)
        except FileNotFoundError:
            return b""

    def _lines(self) -> list[str]:
        content = self._content()
        return content.decode("utf-8", "replace").split("\r\n") if content else []


def _step(line: str) -> int | None:
    """Return the step of a row, or None for the heading and for an incomplete row."""
    first = line.partition(",")[0]
    return int(first) if first.isdigit() and line.count(",") == len(Row._fields) - 1 else None


class EventLog:
    """One line of JSON per event, with the time of day and a checksum. A file that is too large is renamed to `.1`.

    Nothing depends on this log, so it is not synced, and a failure to write it does not stop a run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False
        self._last: tuple[str, dict[str, Any]] | None = None

    def note(self, event: str, facts: dict[str, Any]) -> None:
        """Write one event, unless it repeats the one before: a program that waits says so again and again."""
        if event in NOT_LOGGED or (event, facts) == self._last:
            return
        self._last = (event, facts)
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event, **facts})
        checked = f'{line[:-1]}{CHECK_BEGINS}{_check_of(line)}"}}\n'
        try:
            if self._path.exists() and self._path.stat().st_size > LARGEST_EVENT_LOG_BYTES:
                self._path.replace(self._path.with_suffix(".jsonl.1"))
            if not self._begun:
                checked = self._rest_of_a_line() + checked
            with open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
                file.write(checked.encode())
            self._begun = True
        except OSError:
            return

    def _rest_of_a_line(self) -> str:
        """Return a newline if a crash has left the last line without one."""
        with contextlib.suppress(FileNotFoundError), open_regular(self._path) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                return "" if file.read(1) == b"\n" else "\n"
        return ""


def events_of(path: Path, most_bytes: int = LARGEST_EVENT_LOG_BYTES) -> list[dict[str, Any]]:
    """Return the events in the last bytes of a log, the oldest first, without unreadable and altered lines."""
    try:
        with open_regular(path) as file:
            start = max(0, file.seek(0, os.SEEK_END) - most_bytes)
            file.seek(start)
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # Reading from the middle begins with the rest of a line.
    found = (event_in(line, checked=False) for line in (lines[1:] if start else lines))
    return [event for event in found if event is not None]


def event_in(line: bytes, *, checked: bool) -> dict[str, Any] | None:
    """Return the event in a line of a log, or None if the line was altered. `checked` lines must have a checksum."""
    text = line.decode("utf-8", "replace")
    rest, begins, check = text.rpartition(CHECK_BEGINS)
    if begins:
        text = rest + "}"
        if check != f'{_check_of(text)}"}}':
            return None
    elif checked:
        return None
    with contextlib.suppress(ValueError, RecursionError):
        event = json.loads(text)
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            return event
    return None


def _check_of(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:CHECK_DIGITS]
