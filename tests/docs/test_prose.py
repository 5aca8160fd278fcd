"""The prose linter finds what it should find, and leaves code alone. `make test` runs it over the whole project."""

from __future__ import annotations

import pytest

from .prose import findings, prose_of_comments, prose_of_markdown, prose_of_python


def lines_with_findings(prose: str) -> list[int]:
    return sorted({finding.line for finding in findings("made", prose)})


@pytest.mark.parametrize(
    "sentence",
    [
        "Ask whoever is there.",
        "It does whatever you want.",
        "The mended part is fine.",
        "This is very unique.",
        "In order to utilize it.",
    ],
)
def test_sentence_to_avoid_is_found_on_its_line(sentence: str) -> None:
    """By the list of words, or by proselint."""
    assert lines_with_findings(f"A plain sentence.\n\n{sentence}\n\nAnother one.") == [3]


def test_plain_sentence_has_no_finding() -> None:
    """Words that contain a word to avoid do not count."""
    assert lines_with_findings("The dearth of anything else, something and wholesome.") == []


def test_markdown_is_read_without_its_code() -> None:
    """Fenced blocks, code spans and targets of links are left out; lines keep their numbers."""
    text = "# Whoever\n\n```\nwhoever\n```\n\nSee `whoever` and [a page](whoever.md).\nWhoever.\n"
    assert lines_with_findings(prose_of_markdown(text)) == [1, 8]


def test_python_is_read_by_its_docstrings_comments_and_messages() -> None:
    """Names and single words of code are left out; lines keep their numbers."""
    text = '"""Ask whoever\nis there, whoever."""\n\nwhoever = "whoever"  # Not whoever.\nraise Fault(f"whoever is there: {whoever}")\n'
    assert lines_with_findings(prose_of_python(text)) == [1, 2, 4, 5]


def test_other_files_are_read_by_their_comments() -> None:
    """As YAML, Dockerfiles and Makefiles have them."""
    assert lines_with_findings(prose_of_comments("key: whoever\n# Whoever.\nkey: 1  # whoever\n")) == [2, 3]
