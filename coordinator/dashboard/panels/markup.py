"""Pieces of HTML that several panels use. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape

from nicegui import ui


def table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0) -> str:
    """Return a table; its last `numbers` columns are aligned to the right."""
    first_number = len(titles) - numbers

    def cells(tag: str, row: Sequence[object]) -> str:
        made = (
            f"<{tag}{' class=number' if index >= first_number else ''}>{escape(str(cell))}</{tag}>"
            for index, cell in enumerate(row)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(cells("td", row) for row in rows)
    head = cells('th scope="col"', titles).replace('</th scope="col">', "</th>")
    return (
        f'<table><caption class="unseen">{escape(caption)}</caption><thead>{head}</thead><tbody>{body}</tbody></table>'
    )


def html(content: str = "") -> ui.html:
    """Return an element with HTML of this module."""
    return ui.html(content, sanitize=False).classes("text")


def heading(text: str) -> ui.label:
    """Return the heading of a panel."""
    return ui.label(text).classes("heading").props("role=heading aria-level=2")


def hint(text: str = "") -> ui.label:
    """Return a line in a softer colour."""
    return ui.label(text).classes("hint")


def button(text: str, name: str = "") -> ui.button:
    """Return a button; `name` says more about it than its text."""
    made = ui.button(text, color=None).props("no-caps unelevated dense")
    return made.props(f'aria-label="{name}" title="{name}"') if name else made


@contextmanager
def panel(name: str, title: str) -> Iterator[ui.element]:
    """Build a panel with its heading."""
    with ui.element("section").classes(f"panel panel-{name}").props(f'aria-label="{title}"') as made:
        yield made
