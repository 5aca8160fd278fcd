"""`make coverage` fails when too little is covered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.coverage_limits import main


def report(folder: Path, machines: int, others: int, overall: float) -> list[str]:
    """Write a report with so many of 100 covered branches, and return the arguments for it."""
    files = {"neuron_node/a.py": machines, "coordinator/core/b.py": machines, "coordinator/cli/c.py": others}
    content = {
        "files": {name: {"summary": {"covered_branches": n, "num_branches": 100}} for name, n in files.items()},
        "totals": {"percent_covered": overall},
    }
    path = folder / "report.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return [str(path)]


@pytest.mark.parametrize(
    ("machines", "overall", "code"),
    [(95, 90.0, 0), (94, 90.0, 1), (95, 89.9, 1)],
    ids=["enough", "branches", "overall"],
)
def test_coverage_below_a_limit_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], machines: int, overall: float, code: int
) -> None:
    """Branches of other parts than machines and data path count only overall."""
    assert main(report(tmp_path, machines, 0, overall)) == code
    lines = capsys.readouterr().out.splitlines()
    assert f"{machines:.1f} %" in lines[0] and f"{overall:.1f} %" in lines[1]
    assert sum("too little" in line for line in lines) == code
