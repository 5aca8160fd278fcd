"""The files of this package that are not Python."""

from __future__ import annotations

from importlib.resources import files


def resource(name: str) -> str:
    """Return the text of a file of this package."""
    return (files("coordinator.page") / name).read_text(encoding="utf-8")
