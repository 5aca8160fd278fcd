"""Limits on data from outside, and values as error messages show them."""

from __future__ import annotations

import hashlib

from coordinator.errors import UserError

FILE_BYTES = 1 << 30
"""The largest file, and the largest array inside a compressed one, that is read at all."""
ROWS = 10_000_000
COLUMNS = 100_000
CLASSES = 1_000
NUMBERS = 1 << 28
"""Rows times columns: 2 GiB as float64."""
LINE_CHARACTERS = 1 << 23
"""More than 100,000 columns of 25 characters take; it keeps a file without line ends from being held twice."""


def shown(value: object, longest: int = 40) -> str:
    """Return `value` for an error message: quoted, on one line, and cut after `longest` characters."""
    text = str(value)
    return repr(text if len(text) <= longest else text[: longest - 3] + "...")


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun, such as `1 column` or `2 columns`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def shown_path(path: object) -> str:
    """Return a path as the user wrote it, unless it would break the one line of an error message."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def decode_text(content: bytes, place: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        UserError: the bytes are not UTF-8; the message names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{place}, line {line}: is not UTF-8 text; save the file as UTF-8") from None


def check_bytes(size: int, place: str, *, unpacked: bool = False) -> None:
    """Refuse a file of more than `FILE_BYTES` bytes. Raises `UserError`."""
    if size > FILE_BYTES:
        raise UserError(f"{place}: is larger than {FILE_BYTES:,} bytes{' unpacked' if unpacked else ''}, the limit")


def check_size(rows: int, columns: int, place: str) -> None:
    """Check the size of a table.

    Raises:
        UserError: the table has more rows, columns or numbers than the bounds above.
    """
    for count, most, what in (
        (rows, ROWS, "rows"),
        (columns, COLUMNS, "columns"),
        (rows * columns, NUMBERS, "numbers"),
    ):
        if count > most:
            raise UserError(f"{place}: has more than {most:,} {what}, the most that are read")


def sha256_of(*parts: bytes) -> str:
    """Return the SHA-256 of all parts in order, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
