"""The command `history`: list the kept snapshots of a run."""

from __future__ import annotations

from pathlib import Path

import click

from coordinator.cli.completing import complete_run
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option, runs_option
from coordinator.cli.output import errors, print_json, print_table
from coordinator.cli.runs import shown_size
from coordinator.defaults import NetworkSettings
from coordinator.storage.history import Kept, history_of
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder
from coordinator.topology import Topology

SPARE = ("sha256", "size", "epoch", "loss")
"""The columns that a narrow terminal leaves out, the first one first."""


@click.command(cls=HelpfulCommand, epilog="coordinator history flowers")
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@runs_option
@json_option
def history(run: str, runs: Path, as_json: bool) -> None:
    """List the kept snapshots of a run: the last two, the best, and older ones.

    The held-out loss is that after the last whole epoch before the snapshot. SHA256 is the digest of all weights.
    """
    directory = RunFolder.existing(runs, run)
    config = checked_config(directory)
    topology = Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])
    kept = history_of(directory, config).kept(topology, (directory.result() or {}).get("test_loss"))
    if as_json:
        print_json({"run": run, "snapshots": [row._asdict() for row in kept]})
    elif not kept:
        errors.print(f"the run {run} has no snapshot yet")
    else:
        several = any(row.branch for row in kept)
        titles = (*(("branch",) if several else ()), "step", "epoch", "loss", "held-out loss", "size", "note", "sha256")
        print_table(titles, [_row(row, several=several) for row in kept], spare=SPARE)


def _row(row: Kept, *, several: bool) -> tuple[object, ...]:
    branch = (row.branch,) if several else ()
    note = f"damaged: {row.fault}" if row.fault else ("best" if row.best else "")
    return (
        *branch,
        row.step,
        row.epoch,
        _loss(row.loss),
        _loss(row.held_out_loss),
        shown_size(row.size_bytes),
        note,
        row.sha256[:12] if row.sha256 else None,
    )


def _loss(loss: float | None) -> str | None:
    return None if loss is None else f"{loss:.6f}"
