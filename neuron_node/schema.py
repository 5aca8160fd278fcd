"""The bounds of message fields. Each class checks one value from outside, and returns it in the type of this project.

Each check tests type, length and range. It raises `Malformed`, or `NotFinite` for a NaN or an infinity.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, get_type_hints

import numpy as np

from neuron_node.activations import Array
from neuron_node.errors import Malformed, NotFinite

MAX_BATCH = 65_536
MAX_GROUP = 65_536
MAX_NUMBER = 2**63 - 1


class Field(Protocol):
    """A bound of a field, which can check a decoded value."""

    def check(self, value: Any) -> Any:
        """Return the checked value. Raises `PeerError` if the value is out of bounds."""


class Whole(NamedTuple):
    """An integer from low to high, both included; a bool is no integer here."""

    low: int = 0
    high: int = MAX_NUMBER

    def check(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise Malformed(f"expected a whole number from {self.low} to {self.high}")
        return value


class Real(NamedTuple):
    """A finite float from low to high, both included."""

    low: float = -1e300
    high: float = 1e300

    def check(self, value: Any) -> float:
        if type(value) is not float:
            raise Malformed("expected a float")
        if not math.isfinite(value):
            raise NotFinite("a number is not finite")
        if not self.low <= value <= self.high:
            raise Malformed(f"expected a number from {self.low} to {self.high}")
        return value


class Flag(NamedTuple):
    """True or False."""

    def check(self, value: Any) -> bool:
        if type(value) is not bool:
            raise Malformed("expected true or false")
        return value


class Text(NamedTuple):
    """A string of at most `max_length` characters; if there are `choices`, one choice."""

    max_length: int
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> str:
        if type(value) is not str or len(value) > self.max_length:
            raise Malformed(f"expected a text of at most {self.max_length} characters")
        if self.choices and value not in self.choices:
            raise Malformed(f"expected one of {', '.join(self.choices)}")
        return value


class Blob(NamedTuple):
    """Bytes of exactly this length."""

    length: int

    def check(self, value: Any) -> bytes:
        if type(value) is not bytes or len(value) != self.length:
            raise Malformed(f"expected {self.length} bytes")
        return value


class Matrix(NamedTuple):
    """An array of finite float64, shape (rows, columns). Encoded as rows, columns, and little-endian bytes in C order."""

    max_rows: int = MAX_BATCH
    max_columns: int = MAX_GROUP

    def check(self, value: Any) -> Array:
        if type(value) is not tuple or len(value) != 3:
            raise Malformed("expected rows, columns and numbers")
        rows, columns, numbers = value
        if type(rows) is not int or type(columns) is not int or type(numbers) is not bytes:
            raise Malformed("expected rows, columns and numbers")
        if not (0 <= rows <= self.max_rows and 0 <= columns <= self.max_columns) or len(numbers) != 8 * rows * columns:
            raise Malformed(f"the numbers do not fill {rows} x {columns}")
        flat = np.frombuffer(numbers, dtype="<f8").astype(np.float64, copy=False)
        if not np.isfinite(flat).all():
            raise NotFinite("the numbers hold a NaN or an infinity")
        return flat.reshape(rows, columns)


class Many(NamedTuple):
    """A tuple of at most `max_count` items; `item` checks each."""

    item: Field
    max_count: int

    def check(self, value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple or len(value) > self.max_count:
            raise Malformed(f"expected at most {self.max_count} items")
        return tuple(map(self.item.check, value))


class Maybe(NamedTuple):
    """None, or a value that `item` checks."""

    item: Field

    def check(self, value: Any) -> Any:
        return None if value is None else self.item.check(value)


class Record(NamedTuple):
    """A nested NamedTuple; each field checks its value."""

    build: Any
    fields: tuple[Field, ...]

    def check(self, value: Any) -> Any:
        if type(value) is not tuple or len(value) != len(self.fields):
            raise Malformed(f"expected {len(self.fields)} fields of {self.build.__name__}")
        return self.build._make([field.check(item) for field, item in zip(self.fields, value, strict=False)])


def record_of(build: Any) -> Record:
    """Return the record for a NamedTuple whose fields carry their bounds as `Annotated[type, bound]`."""
    hints = get_type_hints(build, include_extras=True)
    return Record(build, tuple(_bound_of(hints[name]) for name in build._fields))


def _bound_of(hint: Any) -> Field:
    bound: Field | None = getattr(hint, "__metadata__", (None,))[0]
    return bound if bound is not None else record_of(hint)
