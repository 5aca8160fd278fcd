"""Runs the command line in a test."""

from __future__ import annotations

import signal
from typing import NamedTuple

import pytest

from coordinator.cli.main import run


class Said(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


class Terminal:
    """Runs commands in this process; signal handlers are put back afterwards."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def type(self, *arguments: str) -> Said:
        """Run a command, given without its first word."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            code = run(list(arguments))
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = self._capfd.readouterr()
        return Said(code, out, err)
