"""Find a model's columns in another table: by name if the table has names, else by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from coordinator.data.encoding import Encoding
from coordinator.data.limits import counted, shown
from coordinator.data.suggestion import closest, listed
from coordinator.errors import UserError


@dataclass(frozen=True)
class Match:
    """The positions of the model's columns and of the target, if the table has it, and notes about them."""

    columns: tuple[int, ...]
    target: int | None
    notes: tuple[str, ...] = field(default=())


def match_columns(
    names: Sequence[str],
    encoding: Encoding,
    place: str,
    *,
    named: bool,
    target: int | None = None,
    labelled: bool = False,
) -> Match:
    """Match the columns of a table with the model's.

    `named` says whether the table has names; `target` is the position of a target that the user named; `labelled` says
    that the table must contain the target.

    Raises:
        UserError: a column of the model is missing, no name is the model's, or the number of columns does not fit.
    """
    model_names = [column.name for column in encoding.table_columns]
    own_names = encoding.has_header and start_of(encoding.source_columns or model_names) is None
    if named and own_names:
        return _by_name(names, model_names, encoding, place, target)
    return _by_position(names, model_names, encoding, place, target, labelled=labelled)


def start_of(names: Sequence[str]) -> int | None:
    """Return the number of the first column if the names only count the columns, from 0 or from 1."""
    for start in (0, 1):
        if all(name == f"column {index}" for index, name in enumerate(names, start)):
            return start
    return None


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _by_name(
    names: Sequence[str], model_names: Sequence[str], encoding: Encoding, place: str, target: int | None
) -> Match:
    exact = {name: index for index, name in enumerate(names)}
    alike: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        alike.setdefault(_key(name), []).append(index)
    found: list[int] = []
    missing: list[str] = []
    notes: list[str] = []

    def position(name: str) -> int | None:
        if name in exact:
            return exact[name]
        places = alike.get(_key(name), [])
        if len(places) == 1 and names[places[0]] not in model_names:
            notes.append(f"the column {shown(names[places[0]])} is taken for the model's {shown(name)}")
            return places[0]
        return None

    for name in model_names:
        at = position(name)
        if at is None:
            missing.append(name)
        else:
            found.append(at)
    if not found:
        raise UserError(
            f"{place}: shares no column with the model: it has {listed(names, 8)}; the model takes "
            f"{listed(model_names, 8)} (if the first row is data, say --header no)"
        )
    if missing:
        more = f" (and {len(missing) - 1} more of the model's)" if len(missing) > 1 else ""
        raise UserError(f"{place}: has no column {shown(missing[0])}{more}; {closest(missing[0], names)}")
    if target is None:
        target = position(encoding.target_name)
    known = {*found, target}
    left_out = {_key(name) for name in encoding.source_columns}
    extra = [name for index, name in enumerate(names) if index not in known and _key(name) not in left_out]
    if extra:
        columns = f"columns {', '.join(map(shown, extra[:5]))}" if len(extra) > 1 else f"column {shown(extra[0])}"
        more = f" and {len(extra) - 5} more" if len(extra) > 5 else ""
        notes.append(f"the {columns}{more} {'are' if len(extra) > 1 else 'is'} ignored, the model has no such input")
    return Match(tuple(found), target, tuple(notes))


def _by_position(
    names: Sequence[str],
    model_names: Sequence[str],
    encoding: Encoding,
    place: str,
    target: int | None,
    *,
    labelled: bool,
) -> Match:
    width, count = len(names), len(model_names)
    # Models of earlier versions do not know where the target stood.
    source = encoding.source_columns or (*model_names, *([encoding.target_name] if labelled else []))
    notes: tuple[str, ...] = ()
    if encoding.has_header and encoding.source_columns:
        notes = ("the table has no names: its columns are taken in the model's order",)
    whole = [source.index(name) for name in model_names]
    at = source.index(encoding.target_name) if encoding.target_name in source else None
    if target is not None:
        others = [index for index in range(width) if index != target]
        if len(others) == count:
            return Match(tuple(others), target, notes)
    elif width == count:
        return Match(tuple(range(width)), None, notes)
    elif width == len(source):
        return Match(tuple(whole), at, notes)
    elif at is not None and width == len(source) - 1:
        return Match(tuple(index - (index > at) for index in whole), None, notes)
    raise UserError(
        f"{place}: has {counted(width, 'column')}, the model takes {count} ({listed(model_names, 4)})"
        + ("" if len(source) - 1 == count else f", or all {len(source)} of the table that it was trained with")
    )
