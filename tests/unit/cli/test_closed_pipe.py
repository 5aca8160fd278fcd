"""Output to a reader that has gone away."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [["data", "iris"], ["--help"]], ids=["data", "help"])
def test_a_closed_pipe_is_no_error(arguments: list[str]) -> None:
    """A command whose reader has closed the pipe ends without a message and with code 0, as with `head`."""
    reader, writer = os.pipe()
    os.close(reader)
    program = f"from coordinator.cli.main import run; raise SystemExit(run({arguments!r}))"
    try:
        done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
