"""Printing: results on stdout, everything else on stderr.

Text is printed as it is: it contains no markup, and control characters are escaped. Characters that the encoding of the
output lacks are escaped too.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from coordinator.errors import JobError

if TYPE_CHECKING:
    from rich.console import Console

ROWS_MEASURED = 1_000
"""The number of rows that determine the widths of the columns."""


class Stream:
    """Standard output or standard error, looked up whenever text is written."""

    def __init__(self, name: str) -> None:
        self._name = name

    def print(self, text: object = "", **_: object) -> None:
        """Write lines. If standard error is closed, discard them."""
        stream: TextIO | None = getattr(sys, self._name)
        if stream is None:
            if self._name == "stdout":
                raise JobError("standard output is closed, so nothing can be printed")
            return
        stream.write("\n".join(printable(line) for line in str(text).split("\n")) + "\n")
        stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        stream = getattr(sys, self._name)
        return stream is not None and bool(stream.isatty())

    def console(self) -> Console:
        """Return a console of rich on this stream, for progress bars."""
        from rich.console import Console  # noqa: PLC0415 - takes 60 ms

        return Console(stderr=self._name == "stderr", highlight=False, soft_wrap=True, markup=False, emoji=False)


errors = Stream("stderr")
results = Stream("stdout")


def prepare_streams() -> None:
    """Escape characters that the encoding of a stream lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return text with control characters and other unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def print_json(value: Any) -> None:
    """Print one JSON object on a line of its own."""
    results.print(json.dumps(value))


def say_all(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        errors.print(line, markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table; numbers are aligned to the right, None is a dash. No cell is cut."""
    table = Table(columns, list(rows))
    if title:
        results.print(title)
    if any(columns):
        results.print(table.heading())
    for line in table.lines(table.rows):
        results.print(line)


class Table:
    """A table whose first rows determine the widths of the columns."""

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[bool] | None = None
    ) -> None:
        """Measure the first rows. `right` says which columns are aligned to the right, by default those of numbers."""
        self.rows = rows
        self._columns = [printable(column) for column in columns]
        self._right = right or [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
        measured = [[printable(shown(value)) for value in row] for row in rows[:ROWS_MEASURED]]
        self._widths = [
            max([len(column), *(len(row[index]) for row in measured)]) for index, column in enumerate(self._columns)
        ]

    def heading(self) -> str:
        """Return the line with the names of the columns."""
        return self._line(self._columns)

    def lines(self, rows: Iterable[Sequence[Any]]) -> Iterable[str]:
        """Yield one line per row."""
        for row in rows:
            yield self._line([printable(shown(value)) for value in row])

    def _line(self, cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, self._widths, self._right, strict=True)
        )
        return "  ".join(aligned).rstrip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def shown(value: Any) -> str:
    """Format a value for a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
