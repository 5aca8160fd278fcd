"""Reads whole files within limits."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from coordinator.data.limits import FILE_BYTES, check_bytes, shown_path
from coordinator.errors import UserError

PART_BYTES = 1 << 23


def read_file(path: Path) -> bytes:
    """The whole contents of `path`, at most `FILE_BYTES` bytes: read once, so that hash and numbers cannot differ.

    Raises:
        UserError: no such file, a folder, not readable, empty, too large.
    """
    place = shown_path(path)
    try:
        with path.open("rb") as file:
            content = _read(file)
    except FileNotFoundError:
        raise UserError(f"{place}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{place}: is a folder, a file is needed") from None
    except PermissionError:
        raise UserError(f"{place}: may not be read by this user (permission denied)") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{place}: cannot be read ({reason})") from None
    if not content:
        raise UserError(f"{place}: is empty, rows of data are needed")
    check_bytes(len(content), place)
    return content


def _read(file: BinaryIO) -> bytes:
    """Read at most `FILE_BYTES` and one byte, in parts: a read allocates all memory that it may need at once."""
    parts: list[bytes] = []
    left = FILE_BYTES + 1
    while left and (part := file.read(min(left, PART_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
