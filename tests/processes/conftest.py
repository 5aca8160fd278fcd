"""Every test has folders of its own, and leaves no program behind, not even when it fails."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Terminal
from tests.processes.programs import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Where programs are started."""
    # The path of a socket must be short.
    sockets = Path(tempfile.mkdtemp(prefix="xm-"))
    bench = Bench(tmp_path, sockets)
    try:
        yield bench
    finally:
        bench.kill_all()
        shutil.rmtree(sockets)


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    """Where commands are run in this process."""
    return Terminal(capfd)
