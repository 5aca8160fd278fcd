"""What a run leaves to read: `metrics.csv`, a row a step, and `events.jsonl`, a line for whatever happened. Both bounded.

Every snapshot says what metrics.csv holds up to it; every line of events.jsonl has a checksum of its own.
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

from coordinator.disk import Disk, open_regular, write_whole
from coordinator.machine.events import Row

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
        """All of it."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def from_json(cls, text: str) -> Extent:
        """Read one. Raises `ValueError` and `TypeError`."""
        extent = cls(**json.loads(text))
        if type(extent.size_bytes) is not int or not isinstance(extent.sha256, str):
            raise TypeError("a size and a digest belong there")
        return extent

    def begins(self, content: bytes) -> bool:
        """Whether the content begins with these bytes."""
        return Extent.of(content[: self.size_bytes]) == self


class MetricsFile:
    """One row a step, each step once, in order. When a run goes on it reaches exactly as far as its last durable snapshot."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._named = False
        """Whether the file's name is known to be durable; of one that an earlier life wrote, or failed to, it is not."""
        self._digest: Any = None
        self._size_bytes = 0

    def extent(self) -> Extent:
        """What the file holds now, as far as this object knows: nothing else may write it. Raises `OSError`."""
        if self._digest is None:
            self._know(self._content())
        return Extent(self._size_bytes, self._digest.hexdigest())

    def put_aside(self) -> None:
        """Keep what is in the file under another name, and begin anew. Raises `OSError`."""
        self._disk.rename(self._path, self._path.with_suffix(".csv.damaged"))
        self._named = False
        self._digest = None

    def check(self, extent: Extent) -> str | None:
        """What is wrong with the file if it was to begin like this; None if it does. Raises `OSError`."""
        content = self._content()
        if not content and extent.size_bytes:
            return f"{self._path.name} is missing"
        if len(content) < extent.size_bytes:
            return f"{self._path.name} is cut short"
        return None if extent.begins(content) else f"{self._path.name} is not as it was written"

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, durably. Raises `OSError`."""
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
        """The steps that have a row, in the file's order; half a row that a crash left is none. Raises `OSError`."""
        return [step for line in self._lines() if (step := _step(line)) is not None]

    def cut(self, step: int) -> None:
        """Let go of rows after a step, and of half a row: they will come again. Raises `OSError`."""
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
    """The step of a row; None for the heading, and for half a row that a crash left."""
    first = line.partition(",")[0]
    return int(first) if first.isdigit() and line.count(",") == len(Row._fields) - 1 else None


class EventLog:
    """A line of JSON an event, with the time of day and a checksum; a log that grew too large becomes `.1`, in place of the
    one before.

    Nothing is decided by it, so it is not synced, and that it can't be written does not end a run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def note(self, event: str, facts: dict[str, Any]) -> None:
        """Write one event down."""
        if event in NOT_LOGGED:
            return
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
        """A line's end, if a crash has left the last line without."""
        with contextlib.suppress(FileNotFoundError), open_regular(self._path) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                return "" if file.read(1) == b"\n" else "\n"
        return ""


def events_of(path: Path, most_bytes: int = LARGEST_EVENT_LOG_BYTES) -> list[dict[str, Any]]:
    """The events in the last bytes of a log, the oldest first; what can't be read, or is not as it was written, is left out."""
    try:
        with open_regular(path) as file:
            start = max(0, file.seek(0, os.SEEK_END) - most_bytes)
            file.seek(start)
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # A log that is read from its middle begins with the rest of a line.
    found = (event_in(line, checked=False) for line in (lines[1:] if start else lines))
    return [event for event in found if event is not None]


def event_in(line: bytes, *, checked: bool) -> dict[str, Any] | None:
    """The event in a line of a log; None if the line is not as it was written. `checked` lines must have a checksum."""
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
