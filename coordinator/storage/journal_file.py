"""The journal of a run on disk: the same entries in two files, each with a checksum."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from coordinator.core.journal import Entry, Journal
from coordinator.errors import Damaged
from coordinator.storage.disk import Disk, write_whole

NAMES = ("journal.0", "journal.1")
LARGEST_JOURNAL_BYTES = 16 * 1024 * 1024
TYPES = {name: type(value) for name, value in Entry(1, 0, 0, "", "")._asdict().items()}


class JournalFile:
    """The files `journal.0` and `journal.1` of a run: one line of JSON per entry, then the SHA-256 of these lines."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._paths = [folder / name for name in NAMES]
        self._disk = disk

    def write(self, entries: tuple[Entry, ...]) -> None:
        """Make the entries durable, in both copies. Raises `OSError`."""
        content = encode_journal(entries)
        for path in self._paths:
            write_whole(path, content, self._disk)

    def read(self) -> tuple[Entry, ...]:
        """Return the entries of the longer copy; none if there is no copy. Raises `OSError`, and `Damaged` if no copy is good.

        If a copy is missing, damaged or shorter, write both again: the next fault could hit the other one.
        """
        found = self._good_copies()
        longest = max(found, key=len, default=())
        if found and found != [longest] * len(self._paths):
            self.write(longest)
        return longest

    def peek(self) -> tuple[Entry, ...]:
        """Return what `read` returns, and write nothing."""
        return max(self._good_copies(), key=len, default=())

    def _good_copies(self) -> list[tuple[Entry, ...]]:
        found: list[tuple[Entry, ...]] = []
        damaged = []
        for path in self._paths:
            try:
                found.append(decode_journal(self._disk.read(path, LARGEST_JOURNAL_BYTES + 1)))
            except FileNotFoundError:
                continue
            except Damaged as fault:
                damaged.append(f"{path.name}: {fault}")
        if damaged and not found:
            raise Damaged("; ".join(damaged))
        return found

    def check(self, name: str) -> tuple[Entry, ...]:
        """Return the entries in one copy. Raises `OSError` and `Damaged`."""
        [path] = [path for path in self._paths if path.name == name]
        return decode_journal(self._disk.read(path, LARGEST_JOURNAL_BYTES + 1))


def encode_journal(entries: tuple[Entry, ...]) -> bytes:
    """Encode a journal."""
    lines = "".join(json.dumps(entry._asdict()) + "\n" for entry in entries).encode()
    return lines + hashlib.sha256(lines).hexdigest().encode() + b"\n"


def decode_journal(content: bytes) -> tuple[Entry, ...]:
    """Decode a journal. Raises `Damaged` if a single byte is wrong."""
    try:
        lines = content.decode().splitlines()[:-1]
        entries = tuple(_entry(json.loads(line)) for line in lines)
    except (ValueError, TypeError, RecursionError) as fault:
        raise Damaged(f"it is no journal ({type(fault).__name__})") from None
    if encode_journal(entries) != content:
        raise Damaged("its checksum does not match")
    if not Journal.is_whole(entries):
        raise Damaged("its entries are not those of one run")
    return entries


def _entry(fields: Any) -> Entry:
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != TYPES:
        raise TypeError("no entry")
    if not math.isfinite(fields["value"]):
        raise ValueError("a number is not finite")
    return Entry(**fields)
