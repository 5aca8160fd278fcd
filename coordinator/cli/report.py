"""The command `report`: write what a run did as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from coordinator.cli.completing import complete_run
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option, runs_option
from coordinator.cli.output import print_json, results
from coordinator.cli.runs import shown_size
from coordinator.page.report import check_target, write_report
from coordinator.storage.run_folder import RunFolder


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator report flowers
    coordinator report flowers -o flowers.html
    """,
)
@click.argument("run", metavar="RUN", shell_complete=complete_run)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="File to write.  [default: RUN.html]"
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@runs_option
@json_option
def report(run: str, output: Path | None, force: bool, runs: Path, as_json: bool) -> None:
    """Write a report of a run: one HTML file that needs no server.

    It has the picture of the network at each kept snapshot, curves, confusions, recoveries, settings, and digests.
    """
    directory = RunFolder.existing(runs, run)
    path = output or Path(f"{run}.html")
    check_target(path, force=force)
    written = write_report(directory, path, force=force)
    if as_json:
        print_json(
            {"run": run, "path": str(written.path), "size_bytes": written.size_bytes, "snapshots": written.snapshots}
        )
    else:
        results.print(f"{written.path}: {written.snapshots} snapshots, {shown_size(written.size_bytes)}")
