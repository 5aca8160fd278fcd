"""Find how a delimited text is written: delimiter, quotes, comments, header.

Only the first lines are looked at. Five ways to split a line are compared: comma, semicolon, tab, `|` and runs of
blanks. The delimiter with which most records have the same number of cells is chosen; among equals, the one
whose cells contain the fewest other delimiters.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from coordinator.data.cells import MISSING, SPREADSHEET_ERROR, TRUTH, is_date, parse_finite, parse_styled, trimmed

DELIMITERS = (",", ";", "\t", "|", " ")
RARE_DELIMITERS = ("^", "~", "\x01", "\x1f", ":")
"""Delimiters of exports from databases, which are tried if no other splits the lines."""
NAMES_OF_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|", " ": "blanks"}
COMMENTS = ("#", "%", "//")
SAMPLE_RECORDS = 300
ALIKE = 0.9
"""The share of records, or of cells, that must agree."""
FAR_OUTSIDE = 10.0
"""A number that lies this many ranges of its column away from it is a name."""
ROWS_TO_TELL = 3
"""The number of rows of text that show that a number above them is a name."""
MOST_TITLES = 5
"""The most lines with a title above a table."""

Record = list[str]


@dataclass(frozen=True)
class Dialect:
    """How a text is split into cells. `delimiter` is None where every line is one cell."""

    delimiter: str | None
    quote: str = '"'
    escape: str | None = None
    skip: int = 0
    comments: tuple[str, ...] = ()
    """The comment lines above the first record, without their marks."""

    def reader(self, lines: Iterable[str], *, strict: bool = True) -> csv._reader:  # type: ignore[name-defined]
        """Return a reader of the standard library for these lines."""
        return csv.reader(
            self._prepared(lines),
            # A character that no text holds, where there is no delimiter.
            delimiter=self.delimiter or "\x1f",
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
            skipinitialspace=True,
            strict=strict,
        )

    def _prepared(self, lines: Iterable[str]) -> Iterable[str]:
        if self.delimiter != " ":
            return lines
        return (line.replace("\t", " ").strip(" \r\n") for line in lines)


def find_dialect(lines: Sequence[str], delimiter: str | None = None) -> Dialect:
    """Find the dialect of a text from its first lines; `delimiter` is the choice of the user."""
    skip, comments, said = _preamble(lines)
    body = list(itertools.islice(lines, skip, None))
    quote, escape = _quotes(body)
    base = Dialect(delimiter or said, quote, escape, skip, tuple(comments))
    if base.delimiter is None:
        candidates = [(_score(body, replace(base, delimiter=mark)), -index) for index, mark in enumerate(DELIMITERS)]
        (share, _, width), index = max(candidates)
        found = DELIMITERS[-index] if width > 1 and share > 0.0 else None
        if found == " " and _tabs_split(body, replace(base, delimiter="\t")):
            found = "\t"
        base = replace(base, delimiter=found or _rare_delimiter(body, base))
    if body and body[0].startswith("|") and base.delimiter != "|":
        # UCI's mark of a comment.
        widths = Counter(len(record) for record in records_of(body[1:], base))
        if widths and len(records_of(body[:1], base)[0]) != widths.most_common(1)[0][0]:
            base = replace(base, skip=skip + 1)
    return base


def _tabs_split(body: Sequence[str], dialect: Dialect) -> bool:
    """Whether tabs split all lines equally, and blanks only separate words: not where most lines have `1 2` in a cell."""
    share, _, width = _score(body, dialect)
    if share < 1.0 or width < 2:
        return False
    records = records_of(body, dialect)
    words = [cell.split() for record in records for cell in record]
    return 2 * sum(len(some) > 1 and is_number(some[0]) for some in words) < len(records)


def _rare_delimiter(body: Sequence[str], base: Dialect) -> str | None:
    """Return a rare delimiter that splits all lines into equally many cells, or None."""
    times = any(is_date(line) for line in body)
    for mark in RARE_DELIMITERS:
        if mark == ":" and times:
            continue
        share, _, width = _score(body, replace(base, delimiter=mark))
        if share == 1.0 and width > 1 and len(body) > 1:
            return mark
    return None


def title_records(records: Sequence[Record], dialect: Dialect) -> int:
    """Count the records above the names that hold a title: one text, where the table has three or more columns."""
    if dialect.delimiter is None or len(records) < 4:
        return 0
    width = Counter(map(len, records)).most_common(1)[0][0]
    count = 0
    for record in records[:MOST_TITLES]:
        given = [cell for cell in record if cell.strip()]
        if len(given) > 1 or (given and (given[0] is not record[0] or is_number(given[0]))):
            break
        count += 1
    titles = records[:count]
    following, rest = records[count], records[count + 1 :]
    if width < 3 or not any(cell.strip() for record in titles for cell in record) or len(following) != width:
        return 0
    return count if all(cell.strip() for cell in following) and is_header(following, rest) else 0


def records_of(lines: Iterable[str], dialect: Dialect) -> list[Record]:
    """Return the records in these lines that are not blank, up to the first that cannot be read."""
    records: list[Record] = []
    try:
        for record in dialect.reader(lines, strict=False):
            if len(record) > 1 or (record and record[0].strip()):
                records.append(record)
            if len(records) >= SAMPLE_RECORDS:
                break
    except csv.Error:
        pass
    return records


def _preamble(lines: Sequence[str]) -> tuple[int, list[str], str | None]:
    """Return the number of lines above the first record, the comments in them, and the delimiter that `sep=` names."""
    comments: list[str] = []
    delimiter = None
    for number, line in enumerate(lines):
        text = line.strip()
        if delimiter is None and (match := re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n"))):
            delimiter = match[1]
        elif text.startswith(COMMENTS):
            comments.append(text.lstrip("#%/").strip())
        elif text.strip("\x0c\x1a"):
            return number, comments, delimiter
    return len(lines), comments, delimiter


def _quotes(body: Sequence[str]) -> tuple[str, str | None]:
    text = "".join(body[:SAMPLE_RECORDS])
    edge = r"[,;\t| ]"
    double = len(re.findall(rf'(?:^|{edge})"', text, re.MULTILINE))
    single = len(re.findall(rf"(?:^|{edge})'[^'\n]*'(?={edge}|\r?$)", text, re.MULTILINE))
    if not double and single:
        return "'", None
    backslashed = '\\"' in text and '""' not in text
    return '"', "\\" if double and backslashed else None


def _score(body: Sequence[str], dialect: Dialect) -> tuple[float, float, int]:
    """Rate a dialect: the share of records of the usual width, the share of clean cells, the usual width."""
    records = records_of(body, dialect)
    if not records:
        return 0.0, 0.0, 0
    counts = Counter(map(len, records))
    width = max(counts, key=lambda size: (counts[size], size))
    if width < 2:
        return 0.0, 0.0, width
    # The first record may lack the name of the column of row names.
    right = counts[width] + (len(records[0]) == width - 1 and len(records) > 1)
    share = right / len(records)
    if dialect.delimiter == " " and share < 1.0:
        return 0.0, 0.0, width
    others = re.compile("[" + re.escape("".join(mark for mark in DELIMITERS[:-1] if mark != dialect.delimiter)) + "]")
    cells = [cell for record in records for cell in record]
    clean = sum(others.search(cell) is None or parse_styled(cell, ",") is not None for cell in cells)
    return round(share, 2), round(clean / len(cells), 3), width


def is_header(first: Record, rows: Sequence[Record], wanted: Sequence[str] = ()) -> bool:
    """Whether the first record names the columns, judged column by column against the records below it.

    The names `wanted` decide where they stand in the first record. Numbers can be names too: where they count the
    columns or are evenly spaced (years, wavelengths), and the cells below are of another kind.
    """
    names = [trimmed(cell) for cell in first]
    if wanted and _has_wanted(names, wanted):
        return True
    if not rows:
        return all(parse_finite(name) is None for name in names)
    if _counts_columns(names, rows) or _is_repeated(first, rows):
        return True
    signs = _Signs()
    for index, name in enumerate(names):
        below = [row[index].strip() for row in rows if index < len(row)]
        signs.compare(index, name, [c for c in below if c not in MISSING and not SPREADSHEET_ERROR.fullmatch(c)])
    return signs.of_header(len(names))


@dataclass
class _Signs:
    """Signs that a first record holds names: for it, against it, hints, and its numbers with their columns."""

    for_it: int = 0
    against: int = 0
    hints: int = 0
    outside: int = 0
    numbers: list[tuple[int, float]] = field(default_factory=list)

    def compare(self, index: int, name: str, below: Sequence[str]) -> None:
        """Compare a cell of the first record with the cells below it."""
        kind, fractions = _kind_of(below)
        value = _number(name)
        if value is not None:
            self.numbers.append((index, value))
            self.for_it += kind in ("text", "date", "truth") and len(below) >= ROWS_TO_TELL
            self.hints += kind == "number" and fractions and "." not in name and "e" not in name.lower()
            self.outside += kind == "number" and _is_far_outside(value, below)
        elif name in MISSING and name.lower() != "nan":
            return
        elif kind in ("number", "date", "truth"):
            self.for_it += not (kind == "date" and is_date(name)) and not (kind == "truth" and name.lower() in TRUTH)
        elif name in below:
            self.against += 1
        elif len(set(below)) < len(below):
            self.hints += 1
        elif not self.numbers and kind == "text" and len(below) > 1:
            self.hints += all(not cell.isdigit() for cell in below)

    def of_header(self, width: int) -> bool:
        """Whether a record of this width is a header."""
        numbers = self.numbers
        if numbers and self.outside == len(numbers) and _ascend(numbers):
            # One number may be far from its column by chance.
            return len(numbers) > 2 or self.for_it + self.hints > self.against
        if numbers and not _may_be_names(numbers):
            return False
        if len(numbers) == width:
            return self.for_it + self.hints > 0
        if self.for_it:
            return self.for_it > self.against
        return self.hints > 0 and not self.against and (not numbers or len(numbers) > 2 or self.hints == width)


def _counts_columns(names: Sequence[str], rows: Sequence[Record]) -> bool:
    """Whether names are 0, 1, 2, ..., as pandas writes them, perhaps with an index in front, and not usual in their columns."""
    own = list(names[1:] if names and not names[0] else names)
    start = len(names) - len(own)
    if len(own) < 2 or own != [str(index) for index in range(len(own))] or (not start and len(own) < 3):
        return False
    return any(
        all(row[start + at].strip() != name for row in rows if len(row) == len(names)) for at, name in enumerate(own)
    )


def _is_repeated(first: Record, rows: Sequence[Record]) -> bool:
    """Whether the first record occurs again as a whole, and no cell of it in another row: names of joined files."""
    repeats = rows.count(first)
    if len(set(first)) < max(2, len(first)) or not 0 < repeats <= (1 - ALIKE) * len(rows) or any(map(is_number, first)):
        return False
    others = [row for row in rows if row != first and len(row) == len(first)]
    return bool(others) and not any(name == row[index] for row in others for index, name in enumerate(first))


def _is_far_outside(value: float, cells: Sequence[str]) -> bool:
    """Whether a number cannot be one of its column: wavelengths above measurements."""
    below = [number for cell in cells if (number := _number(cell)) is not None]
    if len(below) < len(cells):
        return False
    low, high = min(below), max(below)
    spread = max(high - low, abs(high), abs(low))
    return value > high + FAR_OUTSIDE * spread


def _ascend(numbers: Sequence[tuple[int, float]]) -> bool:
    return all(a < b for (_, a), (_, b) in itertools.pairwise(numbers))


def _has_wanted(names: Sequence[str], wanted: Sequence[str]) -> bool:
    known = {name.strip().casefold() for name in wanted}
    if any(_number(name) is None and name.casefold() in known for name in names if name):
        return True
    return all(_number(name) is not None for name in wanted) and set(wanted) <= set(names)


def is_number(text: str) -> bool:
    """Whether a name is written as a number."""
    return _number(text.strip()) is not None


def _number(text: str) -> float | None:
    value = parse_finite(text)
    return value if value is not None else parse_styled(text, ".")


def _kind_of(cells: Sequence[str]) -> tuple[str, bool]:
    """Return what nine of ten cells are, and whether these numbers are all written with fractions."""
    if not cells:
        return "nothing", False
    numbers = sum(
        parse_finite(cell) is not None or parse_styled(cell, ".") is not None or parse_styled(cell, ",") is not None
        for cell in cells
    )
    if numbers >= ALIKE * len(cells):
        return "number", all("." in cell or "e" in cell.lower() for cell in cells)
    if sum(map(is_date, cells)) >= ALIKE * len(cells):
        return "date", False
    if all(cell.lower() in TRUTH for cell in cells):
        return "truth", False
    return "text" if numbers <= (1 - ALIKE) * len(cells) else "mixed", False


def _may_be_names(numbers: Sequence[tuple[int, float]]) -> bool:
    """Whether numbers in a first record may be names: they count the columns, are evenly spaced, or are years."""
    values = [value for _, value in numbers]
    if len(set(values)) < len(values):
        return False
    if any(all(value == index + base for index, value in numbers) for base in (0, 1)):
        return True
    if all(value == int(value) and 1800 <= value <= 2200 for value in values):
        return True
    steps = {round(b - a, 9) for a, b in itertools.pairwise(values)}
    return len(values) > 2 and len(steps) == 1


def sample_lines(lines: Iterator[str], most_characters: int = 1 << 20) -> list[str]:
    """Take the first lines of a text, enough to find its dialect."""
    taken: list[str] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line)
        if len(taken) >= SAMPLE_RECORDS or (size > most_characters and len(taken) > 3):
            break
    return taken
