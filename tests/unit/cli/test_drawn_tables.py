"""Tables fit the terminal: texts are wrapped and columns are left out, but no value is cut."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cli.output import Table, print_table, results, shown
from coordinator.cli.runs import SPARE

SHA256 = "0123456789abcdef" * 4
WIDTHS = (40, 80, 120, 200)
RUN = (
    "20261126-140000-breast_cancer",
    "breast_cancer",
    "30-8-2",
    "interrupted",
    1_234,
    123_456,
    "0.9649",
    "2026-11-26 14:00:00",
    "12.3 MB",
)
TITLES = ("run", "data set", "layers", "state", "step", "steps", "accuracy", "begun", "size")


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of this width."""
    monkeypatch.setattr(type(results), "width", property(lambda _: request.param))
    return int(request.param)


def test_hash_is_whole(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A label and a text: the text is wrapped at blanks, and a word that is longer than the line stays whole."""
    print_table(("", ""), [("network", "digits 64-12-10: 86 neurons, 888 synapses"), ("weights", f"sha256 {SHA256}")])
    out = capsys.readouterr().out
    assert SHA256 in out
    assert " ".join(out.split()) == f"network digits 64-12-10: 86 neurons, 888 synapses weights sha256 {SHA256}"
    assert all(len(line) <= max(width, len(SHA256) + 4) for line in out.splitlines())
    assert len(out.splitlines()) == 2 or width <= 80


def test_columns_are_left_out(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that matter least first, and a line on stderr names them; every other cell is whole."""
    print_table(TITLES, [RUN], spare=SPARE)
    out, err = capsys.readouterr()
    heading, row = out.splitlines()
    left = re.split(r": |, ", err.strip().partition("narrow: ")[2]) if err else []
    assert len(heading) <= width and len(row) <= width
    assert [title for title in TITLES if title not in left] == re.split(r" {2,}", heading.strip())
    wanted = [cell for title, cell in zip(TITLES, RUN, strict=True) if title not in left]
    assert re.split(r" {2,}", row) == [f"{cell:,}" if isinstance(cell, int) else cell for cell in wanted]
    assert set(left) <= {*SPARE, "accuracy", "state"} and bool(left) is (width < 200)


def test_text_stands_below_its_row(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """If the columns before it leave no room."""
    facts = "generation 2, step 1,234, reason node-7 ended and came back"
    print_table(("last events", "", ""), [("2026-11-26 14:00:00", "recovery", facts)])
    out = capsys.readouterr().out
    assert out.split() == ["last", "events", "2026-11-26", "14:00:00", "recovery", *facts.split()]
    assert all(len(line) <= width for line in out.splitlines())


@given(st.data())
def test_every_cell_that_is_shown_is_whole(data: st.DataObject) -> None:
    """For any table and any width: each word of a shown column is in the output."""
    columns = data.draw(st.integers(1, 6))
    word = st.text("abcé", min_size=1, max_size=12)
    cell = st.lists(word, min_size=1, max_size=5).map(" ".join) | st.integers(-(10**9), 10**9)
    titles = data.draw(st.lists(word, min_size=columns, max_size=columns, unique=True))
    rows: list[list[Any]] = data.draw(
        st.lists(st.lists(cell, min_size=columns, max_size=columns), min_size=1, max_size=4)
    )
    width = data.draw(st.integers(1, 120))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(results), "width", property(lambda _: width))
        table = Table(titles, rows)
    said = list(table.lines(rows))
    kept = [index for index, title in enumerate(titles) if title not in table.left_out]
    words = [word for row in rows for index in kept for word in shown(row[index]).split()]
    assert sorted(" ".join(said).split()) == sorted(words)
    assert table.heading()[0].strip() and 0 in kept
