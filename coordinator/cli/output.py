"""Printing: results on stdout, everything else on stderr.

Text is printed as it is: it contains no markup, and control characters are escaped. Characters that the encoding of the
output lacks are escaped too.
"""

from __future__ import annotations

import io
import json
import os
import sys
import textwrap
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
        self.quiet = False
        """Whether `print` discards its text."""
        self.written = False
        """Whether this command has written to the stream."""

    def print(self, text: object = "", **_: object) -> None:
        """Write lines. If standard error is closed, discard them."""
        stream: TextIO | None = getattr(sys, self._name)
        if stream is None:
            if self._name == "stdout":
                raise JobError("standard output is closed, so nothing can be printed")
            return
        if self.quiet:
            return
        self.written = True
        stream.write("\n".join(printable(line) for line in str(text).split("\n")) + "\n")
        stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        stream = getattr(sys, self._name)
        return stream is not None and bool(stream.isatty())

    @property
    def width(self) -> int | None:
        """The number of characters in a line of the terminal; None if the stream is no terminal."""
        if not self.is_terminal:
            return None
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns):
            return int(columns)
        try:
            return os.get_terminal_size(getattr(sys, self._name).fileno()).columns or None
        except (OSError, ValueError):
            return None

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


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None, *, spare: Sequence[str] = ()
) -> None:
    """Print a table; numbers are aligned to the right, None is a dash. No cell is cut.

    On a terminal that is too narrow, texts of the last column are wrapped, and then columns are left out: first those in
    `spare`, then from right to left.
    """
    table = Table(columns, list(rows), spare=spare)
    if title:
        results.print(title)
    if any(columns):
        for line in table.heading():
            results.print(line)
    for line in table.lines(table.rows):
        results.print(line)
    if table.left_out:
        errors.print(f"left out, because the terminal is narrow: {', '.join(table.left_out)}")


LEAST_TEXT = 20
"""The narrowest column in which texts are wrapped beside other columns; otherwise they stand below their row."""
INDENT = 4
GAP = 2


class Table:
    """A table whose first rows determine the widths of the columns; see `print_table`."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        right: Sequence[bool] | None = None,
        *,
        spare: Sequence[str] = (),
    ) -> None:
        """Measure the first rows. `right` says which columns are aligned to the right, by default those of numbers."""
        self.rows = rows
        self._columns = [printable(column) for column in columns]
        self._right = right or [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
        measured = [[printable(shown(value)) for value in row] for row in rows[:ROWS_MEASURED]]
        cells = [max([0, *(len(row[index]) for row in measured)]) for index in range(len(columns))]
        self._widths = [max(len(title), width) for title, width in zip(self._columns, cells, strict=True)]
        self._shown = list(range(len(columns)))
        self._below = False
        self.left_out: list[str] = []
        """The titles of the columns that are left out."""
        width = results.width
        self.fits = width is None or self._total(self._shown) <= width
        """Whether the table fits the terminal as it is."""
        if width is not None and not self.fits:
            self._fit(width, cells, spare)

    def heading(self) -> list[str]:
        """Return the lines with the names of the columns."""
        wrapped = [_wrap(title, self._widths[index]) or [""] for index, title in enumerate(self._columns)]
        if self._below:
            wrapped[-1] = [self._columns[-1]]
        depth = max(len(wrapped[index]) for index in self._shown)
        lines = []
        for number in range(depth):
            cells = [lines_[number] if number < len(lines_) else "" for lines_ in wrapped]
            lines += self._line(cells)
        return [line for line in lines if line]

    def lines(self, rows: Iterable[Sequence[Any]]) -> Iterable[str]:
        """Yield the lines of each row: one, unless a text is wrapped."""
        for row in rows:
            yield from self._line([printable(shown(value)) for value in row])

    def _total(self, columns: Sequence[int]) -> int:
        return sum(self._widths[index] for index in columns) + GAP * (len(columns) - 1)

    def _fit(self, width: int, cells: Sequence[int], spare: Sequence[str]) -> None:
        """Make titles narrower, then choose the columns, then the width of the last column's texts."""
        for index, title in enumerate(self._columns):
            self._widths[index] = max([cells[index], *map(len, title.split())])
        last = len(self._columns) - 1
        wraps = last > 0 and not self._right[last] and cells[last] > LEAST_TEXT
        fixed = self._shown[:-1] if wraps else list(self._shown)
        order = [*(self._columns.index(name) for name in spare if name in self._columns), *reversed(fixed)]
        for index in order:
            if self._total(fixed) <= width:
                break
            if index in fixed[1:] and self._columns[index]:
                fixed.remove(index)
        self.left_out = [
            self._columns[index] for index in self._shown[: len(self._shown) - wraps] if index not in fixed
        ]
        for index in fixed:
            # A title in one line, if there is room.
            wider = max(self._widths[index], len(self._columns[index]))
            if self._total(fixed) - self._widths[index] + wider + (GAP + LEAST_TEXT if wraps else 0) <= width:
                self._widths[index] = wider
        self._shown = [*fixed, last] if wraps else fixed
        if wraps:
            rest = width - self._total(fixed) - GAP
            self._below = rest < LEAST_TEXT
            self._widths[last] = width - INDENT if self._below else min(rest, self._widths[last])

    def _line(self, cells: Sequence[str]) -> list[str]:
        first, last = self._shown[0], self._shown[-1]
        texts = [cells[last]]
        if not self.fits and last != first and not self._right[last]:
            texts = _wrap(cells[last], self._widths[last]) or [""]
        beside = [
            cells[index].rjust(self._widths[index]) if self._right[index] else cells[index].ljust(self._widths[index])
            for index in self._shown[:-1]
        ]
        before = (" " * GAP).join(beside)
        if self._below:
            return [before.rstrip(), *(" " * INDENT + text for text in texts if text)]
        aligned = [text.rjust(self._widths[last]) if self._right[last] else text for text in texts]
        if not beside:
            return [text.rstrip() for text in aligned]
        indent = len(before) + GAP
        return [
            f"{before}{' ' * GAP}{aligned[0]}".rstrip(),
            # A word that is wider than the column begins further to the left.
            *(" " * max(INDENT, min(indent, indent + self._widths[last] - len(text))) + text for text in aligned[1:]),
        ]


def _wrap(text: str, width: int) -> list[str]:
    """Break a text at blanks; a longer word stays whole."""
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


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
