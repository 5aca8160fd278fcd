"""Compare measured coverage with the limits of the project: `python -m tools.coverage_limits REPORT.json`.

`make coverage` writes the report with `coverage json`, and runs this. Exit code 1 if a limit is not reached.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MACHINES_AND_DATA_PATH = ("neuron_node/", "coordinator/core/")
BRANCHES_PERCENT = 95.0
"""Of the branches of machines and data path, at least so many are taken."""
OVERALL_PERCENT = 90.0
"""Of all lines and branches, at least so many are run."""


def percent(covered: int, of: int) -> float:
    """Express a share in percent; nothing at all is covered completely."""
    return 100.0 * covered / of if of else 100.0


def branches_of_machines(files: dict[str, dict[str, Any]]) -> float:
    """Compute the branch coverage of machines and data path from a report's files."""
    summaries = [file["summary"] for name, file in files.items() if name.startswith(MACHINES_AND_DATA_PATH)]
    return percent(
        sum(summary["covered_branches"] for summary in summaries), sum(summary["num_branches"] for summary in summaries)
    )


def main(arguments: list[str]) -> int:
    """Print both figures beside their limits."""
    report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    code = 0
    for name, found, limit in (
        ("branches of machines and data path", branches_of_machines(report["files"]), BRANCHES_PERCENT),
        ("lines and branches of everything", report["totals"]["percent_covered"], OVERALL_PERCENT),
    ):
        good = found >= limit
        code |= not good
        print(f"{name}: {found:.1f} %{'' if good else ', too little'}; the limit is {limit:g} %")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
