"""Read one cell of a table: a number as people write it, a mark of a missing value, a truth value, a date."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import Literal

from coordinator.data.limits import shown

Decimal = Literal[".", ","]

MISSING = frozenset(
    ("", "?", "NA", "N/A", "n/a", "N.A.", "n.a.", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "<NA>", "#N/A", "#NA",
     "#N/A N/A", "NaT", "\\N", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND")
)  # fmt: skip
"""Marks that stand for a missing value in every column."""
MISSING_NUMBERS = MISSING | {"None", "none", ".", "--"}
"""Marks that stand for a missing value where the other cells are numbers; among texts they may be categories."""
DASH, PLUS = "-", "+"
WORDS_FOR_MISSING = frozenset(("none", ".", "--", "missing", "unknown", "not available", "unk", "#null!"))
"""Texts in lower case that may mark a missing value, but may be a class or a category too."""
INVISIBLE = "\ufeff\u200b\u2060\u200e\u200f"
"""Characters that show nothing, which copied text has at its ends."""

TRUTH = {"true": True, "false": False}
SPREADSHEET_ERROR = re.compile(r"#(DIV/0!|NAME\?|NULL!|NUM!|REF!|VALUE!|SPILL!|CALC!|#+)")

_GROUPED = r"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d+)?"
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_FORTRAN = re.compile(r"([+-]?(?:\d+\.\d*|\.\d+))[dD]([+-]?\d+)")
"""A number in double precision, as Fortran writes it: 1.5D+03."""
_STYLES: dict[str, re.Pattern[str]] = {
    ".": re.compile(r"[+-]?(?:" + _GROUPED.format(mark="[,' ]") + r"|\d{1,2}(?:,\d{2})+,\d{3})(?:\.\d*)?" + _EXPONENT),
    ",": re.compile(r"[+-]?" + _GROUPED.format(mark=r"[.' ]") + r"(?:,\d*)?" + _EXPONENT),
}
_ACCOUNTING = re.compile(r"\((.*\d.*)\)")
"""A negative amount, as bookkeepers write it."""
_MINUS_BEHIND = re.compile(r"(\d[\d.,' ]*[.,]\d+)-")
"""A negative amount, as SAP writes it; `2-` may be a grade."""
_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_MEASURED = re.compile(r"[+-]?\d+(?:[.,]\d+)*\s?([^\W\d_]+)")
_SCALED = re.compile(r"[+-]?\d+(?:[.,]\d+)*\s?((?:[kKmMbB]|[mb]n|Mio|Mrd)?)\+?")
_UNDERSCORED = re.compile(r"[+-]?\d{1,3}(?:_\d{3})+")
_BLANKS = re.compile("[\u00a0\u2007\u2009\u202f\u3000]")
_CURRENCY = re.compile(
    r"(?:(?:US|CA|AU|NZ|HK|R|C|A)?\$|[€£¥₹₽₩₺₪₫฿₴]|(?:EUR|USD|GBP|CHF|JPY|CNY|INR|BRL|CAD|AUD|SEK|NOK|DKK|PLN|CZK)|Rs\.?|kr\.?|zł)"
)
_UNIT = re.compile(r"\s*[%‰]$")
_MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:Mon|Tue(?:s)?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? )?"
_TIME = r"(?: \d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:GMT|UTC|Z|[+-]\d{2}:?\d{2}))?)?"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?",
        r"\d{4}/\d{1,2}/\d{1,2}(?: \d{1,2}:\d{2}(?::\d{2})?)?",
        r"\d{1,2}[/.]\d{1,2}[/.](?:\d{4}|\d{2})(?: \d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?)?",
        r"\d{1,2}[- ](?:[A-Za-z]{3,9})[- ](?:\d{4}|\d{2})",
        r"[A-Za-z]{3,9} \d{1,2},? \d{4}",
        r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?",
        rf"{_WEEKDAY}{_MONTH}[- ]\d{{1,2}}(?:,? \d{{4}})?{_TIME}(?: \d{{4}})?",
        rf"{_WEEKDAY}\d{{1,2}}[- ]{_MONTH}(?:[- ](?:\d{{4}}|\d{{2}}))?{_TIME}",
        rf"{_MONTH}[- ]\d{{4}}",
        r"\d{4}[- ]?(?:W\d{2}|Q[1-4])|Q[1-4][- /]?\d{4}",
        r"\d{4}年\d{1,2}月(?:\d{1,2}日)?",
        r"\d{4}-\d{2}",
        r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])",
    )
)


def trimmed(text: str) -> str:
    """Return a text without blanks and invisible characters around it."""
    text = text.strip()
    return text if text.isascii() else text.strip(INVISIBLE).strip()


def parse_number(cell: str) -> float | None:
    """Return the number that a cell holds in plain notation, or None. `1_000` is Python's spelling, not data's."""
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def parse_finite(cell: str) -> float | None:
    """Return the finite number that a cell holds in plain notation, or None."""
    value = parse_number(cell)
    return value if value is not None and math.isfinite(value) else None


def parse_styled(cell: str, decimal: Decimal) -> float | None:
    """Return the finite number in a cell that people wrote: grouped digits, a currency, a percent sign, a true minus."""
    text = _BLANKS.sub(" ", cell).strip().replace("\u2212", "-").replace("\u2019", "'")
    if _ADDRESS.fullmatch(text):
        return None
    if match := _ACCOUNTING.fullmatch(text):
        value = parse_styled(match[1], decimal)
        return -value if value is not None and value >= 0 else None
    if match := _MINUS_BEHIND.fullmatch(text):
        text = "-" + match[1]
    if match := _FORTRAN.fullmatch(text):
        return parse_finite(f"{match[1]}e{match[2]}") if decimal == "." else None
    text = _UNIT.sub("", text)
    text = _CURRENCY.sub("", text, count=1).strip()
    if not any(character.isdigit() for character in text) or _STYLES[decimal].fullmatch(text) is None:
        return None
    grouping = str.maketrans("", "", ",' " if decimal == "." else ".' ")
    return parse_finite(text.translate(grouping).replace(",", "."))


def decimal_of(cells: Iterable[str], preferred: Decimal | None) -> tuple[Decimal | None, bool]:
    """Return the decimal mark with which every cell is a number, and whether the other mark would do as well.

    The mark is None where neither does. `1,100` is 1100, unless `preferred` or another cell says otherwise.
    """
    possible = dict.fromkeys((".", ","), True)
    marks: tuple[Decimal, ...] = (".", ",")
    for cell in cells:
        for mark in marks:
            if possible[mark] and parse_styled(cell, mark) is None:
                possible[mark] = False
        if not any(possible.values()):
            return None, False
    if all(possible.values()):
        return preferred or ".", True
    return ("." if possible["."] else ","), False


def units_in(cells: Iterable[str]) -> set[str]:
    """Return the different currencies and percent signs in cells of numbers; "" stands for none beside a number other than 0."""
    units = set()
    for cell in cells:
        found = _CURRENCY.search(cell) or _UNIT.search(cell)
        if found:
            units.add(found[0].strip())
        elif parse_finite(cell) != 0.0:
            units.add("")
    return units


def scaled_units(cells: Iterable[str]) -> set[str]:
    """Return the letters behind amounts such as `$1.5M` and `800k`; the set is empty if some cell is no amount."""
    units = set()
    for cell in cells:
        match = _SCALED.fullmatch(_CURRENCY.sub("", cell, count=1).strip())
        if match is None:
            return set()
        units.add(match[1])
    return units


def measured_unit(cells: Collection[str]) -> str | None:
    """Return the word behind the number in all cells (`5 kg`), "_" where all have underscores (`1_000`), or None."""
    if cells and all(map(_UNDERSCORED.fullmatch, cells)):
        return "_"
    units = {match[1] if (match := _MEASURED.fullmatch(cell)) else None for cell in cells}
    return units.pop() if len(units) == 1 else None


def wrong_cell(cell: str) -> str:
    """Say what is wrong with a cell of a column of numbers."""
    if not cell:
        return "is empty, a number is needed"
    value = parse_number(cell)
    if value is not None:
        return "is not finite (NaN or infinity), a number is needed"
    return f"expected a number, not {shown(cell)}"


def is_date(cell: str) -> bool:
    """Whether a cell is a date or a time of day in one of the usual notations."""
    return any(pattern.fullmatch(cell.strip()) for pattern in _DATES)


def missing_marks(distinct: Collection[str], extra: Collection[str] = (), *, numbers: bool = False) -> set[str]:
    """Return those of the distinct cells that stand for a missing value.

    A dash does, unless a plus stands in the same column. `extra` are marks that the user named.
    """
    marks = {cell for cell in distinct if cell in (MISSING_NUMBERS if numbers else MISSING) or cell in extra}
    if DASH in distinct and PLUS not in distinct:
        marks.add(DASH)
    return marks
