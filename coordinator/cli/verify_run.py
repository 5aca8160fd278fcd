"""Checks a run that has a folder, for `coordinator verify RUN`: its kept snapshots against the textbook."""

from __future__ import annotations

from coordinator.cli.output import errors, print_json, print_table
from coordinator.storage.run_folder import RunFolder
from coordinator.verify.kept import Compared, KeptSnapshots


def verify_run(directory: RunFolder, *, as_json: bool) -> bool:
    """Print a comparison of each kept snapshot; return whether all are right. Raises `UserError`."""
    kept = KeptSnapshots(directory)
    rows = list(kept.compare())
    good = bool(rows) and all(row.fault is None for row in rows)
    if as_json:
        snapshots = [{**row._asdict(), "since": row.since._asdict()} for row in rows]
        entries = len(kept.journal.entries)
        print_json({"verified": good, "run": directory.path.name, "interventions": entries, "snapshots": snapshots})
    elif not rows:
        errors.print(f"the run {directory.path.name} has no snapshot yet, so nothing was compared")
    else:
        titles = ("branch", "step", "since", "changes", "largest relative difference", "fault")
        print_table(titles, [_row(row) for row in rows], f"{directory.path.name}: kept snapshots")
    return good


def _row(row: Compared) -> tuple[object, ...]:
    since = f"step {row.since.step:,}" + (f" of branch {row.since.branch}" if row.since.branch != row.branch else "")
    difference = None if row.difference is None else f"{row.difference:.1e}"
    return row.branch, row.step, since, row.interventions, difference, row.fault
