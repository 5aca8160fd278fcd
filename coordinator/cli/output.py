"""What is printed: results on stdout, everything else on stderr.

Text is written as it is: nothing in it is markup, and characters that would steer a terminal are shown as escapes. What
the output's encoding lacks is written as an escape too.
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
"""A table's columns are as wide as their widest cell in so many rows."""


class Stream:
    """One of the two standard outputs, as it is when something is written."""

    def __init__(self, name: str) -> None:
        self._name = name

    def print(self, text: object = "", **_: object) -> None:
        """Write lines; a stream that is closed takes them to nowhere."""
        stream: TextIO | None = getattr(sys, self._name)
        if stream is None:
            if self._name == "stdout":
                raise JobError("standard output is closed, so nothing can be printed")
            return
        stream.write("\n".join(printable(line) for line in str(text).split("\n")) + "\n")
        stream.flush()

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it."""
        stream = getattr(sys, self._name)
        return stream is not None and bool(stream.isatty())

    def console(self) -> Console:
        """Return rich's view of it, for a bar that moves."""
        from rich.console import Console  # noqa: PLC0415 - 60 ms that only a bar needs

        return Console(stderr=self._name == "stderr", highlight=False, soft_wrap=True, markup=False, emoji=False)


errors = Stream("stderr")
results = Stream("stdout")


def prepare_streams() -> None:
    """Let no character that a stream's encoding lacks end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return text with characters that are not printed, such as those that steer a terminal, as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\t" else character.encode("unicode_escape").decode()
        for character in text
    )


def print_json(value: Any) -> None:
    """One JSON object on a line of its own."""
    results.print(json.dumps(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table; numbers to the right, None as a dash. No cell is cut."""
    table = Table(columns, list(rows))
    if title:
        results.print(title)
    if any(columns):
        results.print(table.heading())
    for line in table.lines(table.rows):
        results.print(line)


class Table:
    """Columns that are as wide as the first rows need; later rows keep to them where they can."""

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[bool] | None = None
    ) -> None:
        """`right` says which columns stand to the right; by default those of numbers."""
        self.rows = rows
        self._columns = [printable(column) for column in columns]
        self._right = right or [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
        measured = [[printable(shown(value)) for value in row] for row in rows[:ROWS_MEASURED]]
        self._widths = [
            max([len(column), *(len(row[index]) for row in measured)]) for index, column in enumerate(self._columns)
        ]

    def heading(self) -> str:
        """Return the line of the columns' names."""
        return self._line(self._columns)

    def lines(self, rows: Iterable[Sequence[Any]]) -> Iterable[str]:
        """Yield a line for each row."""
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
    """A value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
