"""Checks a run that has a folder, for `coordinator verify RUN`: its kept snapshots against the textbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coordinator.cli.output import errors, print_json, print_table
from coordinator.core.editing import fault_of_entries
from coordinator.core.events import Snapshot
from coordinator.core.journal import Journal
from coordinator.core.run_plan import RunPlan
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import Damaged, UserError
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.history import history_of
from coordinator.storage.journal_file import JournalFile
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.verify.kept import Compared, Place, compare_kept


def verify_run(directory: RunFolder, *, as_json: bool) -> bool:
    """Print a comparison of each kept snapshot; return whether all are right. Raises `UserError`."""
    config = checked_config(directory)
    plan, journal = _plan(directory, config), _journal(directory)
    if wrong := fault_of_entries(journal.entries, plan.topology()):
        raise UserError(f"the journal of the run {directory.path.name} is not that of this run: {wrong}; put it back")
    rows = list(compare_kept(plan, journal, _kept(directory, config, plan)))
    good = bool(rows) and all(row.fault is None for row in rows)
    name = directory.path.name
    if as_json:
        snapshots = [{**row._asdict(), "since": row.since._asdict()} for row in rows]
        print_json({"verified": good, "run": name, "interventions": len(journal.entries), "snapshots": snapshots})
    elif not rows:
        errors.print(f"the run {name} has no snapshot yet, so nothing was compared")
    else:
        titles = ("branch", "step", "since", "changes", "largest relative difference", "fault")
        print_table(titles, [_row(row) for row in rows], f"{name}: kept snapshots")
    return good


def _plan(directory: RunFolder, config: Mapping[str, Any]) -> RunPlan:
    data = PreparedData.load(directory.data)
    if directory.prepared_sha256() != config["prepared_sha256"]:
        raise UserError(f"{directory.data} is not the data that the run was started with; put it back")
    return RunPlan(
        run=b"",
        incarnation=b"",
        seed=config["seed"],
        network=NetworkSettings.from_json(config["network"]),
        data=data,
        group_size=config["group_size"],
        fingerprint=config["fingerprint"],
        steps_at_most=config["steps_at_most"],
    )


def _journal(directory: RunFolder) -> Journal:
    try:
        return Journal(JournalFile(directory.path, REAL_DISK).peek())
    except (Damaged, OSError) as fault:
        raise UserError(f"the journal of the run {directory.path.name} can't be used ({fault}); put it back") from None


def _kept(directory: RunFolder, config: Mapping[str, Any], plan: RunPlan) -> Iterator[tuple[Place, Snapshot | str]]:
    """Yield the snapshots of a run, or the reason why one can't be used."""
    history, topology = history_of(directory, config), plan.topology()
    keys = history.keys()
    for key in keys:
        try:
            yield Place(*key), history.load(key.step, topology, key.branch).snapshot
        except UserError as fault:
            yield Place(*key), str(fault)


def _row(row: Compared) -> tuple[object, ...]:
    since = f"step {row.since.step:,}" + (f" of branch {row.since.branch}" if row.since.branch != row.branch else "")
    difference = None if row.difference is None else f"{row.difference:.1e}"
    return row.branch, row.step, since, row.interventions, difference, row.fault
