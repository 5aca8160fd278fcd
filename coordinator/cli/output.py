"""Printing: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

errors = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON object on a line of its own."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def say_all(lines: Iterable[str]) -> None:
    """Print lines on stderr."""
    for line in lines:
        errors.print(line, markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table; numbers are aligned to the right, None is a dash."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns))
    lines = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = any(isinstance(line[index], int | float) for line in lines)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(shown(value) for value in line))
    if not results.is_terminal:
        # A pipe has no width: cut nothing off, and remove trailing blanks.
        width = results.measure(table, options=results.options.update(max_width=10_000)).maximum
        console = Console(highlight=False, width=max(80, width), file=io.StringIO())
        with console.capture() as text:
            console.print(table)
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))
        return
    results.print(table)


def shown(value: Any) -> str:
    """Format a value for a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
