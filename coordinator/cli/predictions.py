"""Print predictions batch by batch, so that memory does not grow with the number of rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from coordinator.cli.output import Table, results
from coordinator.data.encoding import Encoding
from coordinator.errors import JobError
from neuron_node.activations import Array

MOST_CLASSES_IN_FULL = 12
BEST = 5


class Printer(Protocol):
    """Prints predictions in one format."""

    @abstractmethod
    def rows(self, first: int, activities: Array) -> None:
        """Print the predictions for a batch whose first row has this number."""

    @abstractmethod
    def end(self, rows: int) -> None:
        """Print the end, after the last row."""


class Predictions:
    """The predictions of a command. As a context manager, it prints the end unless an error occurred."""

    def __init__(self, encoding: Encoding, printer: Callable[[Encoding], Printer]) -> None:
        self._printer = printer(encoding)
        self._count = 0

    def __enter__(self) -> Predictions:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._printer.end(self._count)

    def add(self, activities: Array) -> None:
        """Print a batch."""
        self._printer.rows(self._count + 1, activities)
        self._count += len(activities)


class TablePrinter:
    """A table for people: all classes with their activities, or the five best of many."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._table: Table | None = None
        self._in_full = True

    def rows(self, first: int, activities: Array) -> None:
        """Print a batch; the first batch determines the widths of the columns."""
        columns, lines = self._lines(first, activities)
        if self._table is None:
            self._table = Table(columns, lines, [index != 1 for index in range(len(columns))])
            if not self._table.fits:
                # The best classes, or several numbers, are a text that can be wrapped.
                self._in_full = False
                columns, lines = self._lines(first, activities)
                self._table = Table(columns, lines, [index == 0 for index in range(len(columns))])
            for line in self._table.heading():
                results.print(line)
        _write("".join(f"{line}\n" for line in self._table.lines(lines)))

    def end(self, rows: int) -> None:
        """Print nothing more."""

    def _lines(self, first: int, activities: Array) -> tuple[list[str], list[tuple[object, ...]]]:
        encoding = self._encoding
        if encoding.classes is None:
            numbers = encoding.decode_numbers(activities).tolist()
            values = (", ".join(f"{value:.6g}" for value in row) for row in numbers)
            return ["row", "value"], [(first + index, value) for index, value in enumerate(values)]
        names = encoding.decode_names(activities)
        by_class = encoding.class_activities(activities)
        if len(encoding.classes) <= MOST_CLASSES_IN_FULL and self._in_full:
            full = [
                (first + index, name, *(f"{value:.4f}" for value in row))
                for index, (name, row) in enumerate(zip(names, by_class.tolist(), strict=True))
            ]
            return ["row", "class", *encoding.classes], full
        order = np.argsort(-by_class, axis=1, kind="stable")[:, :BEST]
        best: list[tuple[object, ...]] = []
        for index, (name, places) in enumerate(zip(names, order.tolist(), strict=True)):
            pairs = (f"{encoding.classes[place]} {by_class[index, place]:.4f}" for place in places)
            best.append((first + index, name, ", ".join(pairs)))
        return ["row", "class", "best"], best


class CsvPrinter:
    """CSV in UTF-8: the number of the row, and its class and activities or its values."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        if encoding.classes is not None:
            self._write([("row", "class", *encoding.classes)])
        elif encoding.outputs == 1:
            self._write([("row", "value")])
        else:
            self._write([("row", *(f"value {index + 1}" for index in range(encoding.outputs)))])

    def rows(self, first: int, activities: Array) -> None:
        """Print a batch."""
        encoding = self._encoding
        if encoding.classes is None:
            numbers = encoding.decode_numbers(activities).tolist()
            self._write([(first + index, *row) for index, row in enumerate(numbers)])
            return
        names, by_class = encoding.decode_names(activities), encoding.class_activities(activities).tolist()
        self._write([(first + i, name, *row) for i, (name, row) in enumerate(zip(names, by_class, strict=True))])

    def end(self, rows: int) -> None:
        """Print nothing more."""

    def _write(self, rows: Sequence[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        _write(text.getvalue(), encoding="utf-8")


class JsonPrinter:
    """One JSON object: the predictions, and how many there are."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._before = '{"predictions": ['

    def rows(self, first: int, activities: Array) -> None:  # noqa: ARG002 - the order is the number
        """Print a batch."""
        parts = [json.dumps(prediction) for prediction in predictions(self._encoding, activities)]
        _write(self._before + ", ".join(parts))
        self._before = ", "

    def end(self, rows: int) -> None:
        """Print the number of rows and the closing brackets."""
        _write(f'{"" if rows else self._before}], "rows": {rows}}}\n')


class JsonLinesPrinter:
    """One JSON object per row."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def rows(self, first: int, activities: Array) -> None:
        """Print a batch."""
        made = enumerate(predictions(self._encoding, activities), start=first)
        _write("".join(json.dumps({"row": number, **prediction}) + "\n" for number, prediction in made))

    def end(self, rows: int) -> None:
        """Print nothing more."""


def predictions(encoding: Encoding, activities: Array) -> Iterator[dict[str, Any]]:
    """Yield the prediction of each row as plain data."""
    if encoding.classes is None:
        for row in encoding.decode_numbers(activities).tolist():
            yield {"values": row}
        return
    names, by_class = encoding.decode_names(activities), encoding.class_activities(activities).tolist()
    for name, row in zip(names, by_class, strict=True):
        yield {"class": name, "activities": dict(zip(encoding.classes, row, strict=True))}


FORMATS: dict[str, Callable[[Encoding], Printer]] = {
    "table": TablePrinter,
    "csv": CsvPrinter,
    "json": JsonPrinter,
    "json-lines": JsonLinesPrinter,
}


def _write(text: str, encoding: str | None = None) -> None:
    """Write to standard output, in its own encoding or in that of the format."""
    stream = sys.stdout
    if stream is None:
        raise JobError("standard output is closed, so nothing can be printed")
    results.written = True
    buffer = getattr(stream, "buffer", None)
    if encoding is not None and buffer is not None:
        stream.flush()
        buffer.write(text.encode(encoding, "surrogatepass"))
    else:
        stream.write(text)
    # Notes on stderr follow: keep the order.
    stream.flush()
