"""Open and read files of users within limits. An error names the file, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import IO, BinaryIO

from coordinator.data.limits import FILE_BYTES, check_bytes, shown_path
from coordinator.errors import UserError

PART_BYTES = 1 << 23


def open_file(path: Path, place: str) -> BinaryIO:
    """Open a file as bytes; the caller closes it. `place` names the file in messages.

    Raises:
        UserError: the file does not exist, is a folder, or is not readable.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{place}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{place}: is a folder, a file is needed") from None
    except PermissionError:
        raise UserError(f"{place}: may not be read by this user (permission denied)") from None
    except (OSError, ValueError) as error:
        raise unreadable(place, error) from None


def unreadable(place: str, error: OSError | ValueError) -> UserError:
    """Return the error of a file or stream that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UserError(f"{place}: cannot be read ({reason})")


def read_file(path: Path) -> bytes:
    """Return the contents of a file, at most `FILE_BYTES` bytes. Reads it only once, so that hash and numbers agree.

    Raises:
        UserError: the file does not exist, is a folder, is not readable, is empty, or is too large.
    """
    place = shown_path(path)
    with open_file(path, place) as file:
        try:
            content = read_within_limit(file)
        except OSError as error:
            raise unreadable(place, error) from None
    check_not_empty(len(content), place)
    return content


def read_within_limit(file: IO[bytes]) -> bytes:
    """Read at most `FILE_BYTES` and one byte, in parts: one large read would reserve all this memory at once."""
    parts: list[bytes] = []
    left = FILE_BYTES + 1
    while left and (part := file.read(min(left, PART_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def check_not_empty(size: int, place: str) -> None:
    """Raise `UserError` for a file without bytes, or with more than `FILE_BYTES`."""
    if size == 0:
        raise UserError(f"{place}: is empty, rows of data are needed")
    check_bytes(size, place)
