"""The commands `runs`, `runs show` and `runs rm`: list, show and remove runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from coordinator.cli.completing import complete_run
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option, runs_option
from coordinator.cli.output import errors, print_json, print_table, say_all, shown
from coordinator.cli.suggesting import SuggestingGroup
from coordinator.local.remains import remove_remains, remove_remains_of
from coordinator.storage.run_check import GOOD, check_run
from coordinator.storage.run_facts import details_of, facts_of, removable, remove
from coordinator.storage.run_folder import RunFolder

FIGURES = (
    "train_accuracy",
    "test_accuracy",
    "test_loss",
    "test_r2",
    "seconds_training",
    "recoveries",
    "weights_sha256",
)
"""The figures of a finished run in the table; `--json` has all of them."""


STATES = ("running", "answering", "finished", "failed", "interrupted", "damaged", "unfinished")
SPARE = ("size", "begun", "layers", "steps", "data set", "step")
"""The columns of the list of runs that a narrow terminal leaves out, the first one first."""


@click.group(cls=SuggestingGroup, invoke_without_command=True)
@click.option(
    "--check",
    metavar="RUN",
    help="Check each file of this run against its checksum; exit with 1 if a file is damaged or missing.",
)
@click.option(
    "--state",
    type=click.Choice(STATES),
    multiple=True,
    help="Only runs in this state; may be repeated.  [default: all]",
)
@click.option("--limit", type=click.IntRange(1), help="Only this number of runs, the latest ones.  [default: all]")
@runs_option
@json_option
@click.pass_context
def runs(
    context: click.Context,
    /,
    check: str | None,
    state: tuple[str, ...],
    limit: int | None,
    runs: Path,
    as_json: bool,
) -> None:
    """List all runs, the oldest first."""
    if context.invoked_subcommand is not None:
        return
    if check is not None:
        context.exit(_check(_to_check(runs, check), as_json))
    directories = [*RunFolder.all_in(runs), *RunFolder.unfinished_in(runs)]
    _remove_remains(directories)
    rows = sorted((facts_of(directory) for directory in directories), key=lambda row: (row.begun, row.name))
    found = bool(rows)
    rows = [row for row in rows if not state or row.state in state]
    rows = rows[-limit:] if limit else rows
    if as_json:
        print_json({"runs": [row._asdict() for row in rows]})
    elif not rows:
        errors.print(f"there is no run in {runs}" + (f" in the state {' or '.join(state)}" if found else ""))
    else:
        titles = ("run", "data set", "layers", "state", "step", "steps", "accuracy", "begun", "size")
        print_table(titles, [_row(row._asdict()) for row in rows], spare=SPARE)


@runs.command(cls=HelpfulCommand, epilog="coordinator runs show flowers")
@click.argument("name", shell_complete=complete_run)
@runs_option
@json_option
def show(name: str, runs: Path, as_json: bool) -> None:
    """Show one run: its config, figures, snapshots and last events."""
    facts = details_of(RunFolder.existing(runs, name))
    if as_json:
        print_json(facts)
        return
    titles = ("run", "data set", "layers", "state", "step", "steps", "accuracy", "begun", "size")
    settings = {key: value for key, value in facts["config"]["settings"].items() if value is not None}
    network = facts["config"]["network"]
    figures = facts["figures"] or {}
    print_table(
        ("", ""),
        [
            *((title, shown(value)) for title, value in zip(titles, _row(facts), strict=True) if value is not None),
            *([("failure", facts["failure"])] if facts["failure"] else []),
            ("version", facts["config"]["version"]),
            ("arithmetic", facts["config"]["fingerprint"]),
            ("seed", str(facts["config"]["seed"])),
            *((key.replace("_", " "), shown(network[key])) for key in ("epochs", "batch_size", "learning_rate")),
            ("settings", ", ".join(f"{key} {value}" for key, value in settings.items())),
            *((key.replace("_", " "), shown(figures[key])) for key in FIGURES if figures.get(key) is not None),
        ],
    )
    if facts["snapshots"]:
        rows = [(row["step"], shown_size(row["size_bytes"]), _whole(row["whole"])) for row in facts["snapshots"]]
        print_table(("snapshot after step", "size", "whole"), rows)
    for title, key in (("recoveries", "recoveries"), ("last events", "events")):
        if facts[key]:
            print_table((title, "", ""), [_event(event) for event in facts[key]])


@runs.command(cls=HelpfulCommand, epilog="coordinator runs rm flowers --yes")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_run)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@runs_option
def rm(names: tuple[str, ...], yes: bool, runs: Path) -> None:
    """Remove runs with everything in their folders: all of the named runs, or none if one cannot be removed."""
    directories = [removable(runs, name) for name in dict.fromkeys(names)]
    if not yes and sys.stdin.isatty():
        what = ", ".join(directory.path.name for directory in directories)
        click.confirm(f"Remove {what} and everything in the folder?", abort=True, err=True)
    for directory in directories:
        remove(directory)


def _to_check(runs: Path, name: str) -> RunFolder:
    """Find a run to check, which may lack its config. Raises `UserError`."""
    unfinished = [directory for directory in RunFolder.unfinished_in(runs) if directory.path.name == name]
    return unfinished[0] if unfinished else RunFolder.existing(runs, name)


def _check(directory: RunFolder, as_json: bool) -> int:
    """Print the findings; return the exit code."""
    findings = check_run(directory)
    good = all(finding.state in GOOD for finding in findings)
    if as_json:
        files = [finding._asdict() for finding in findings]
        print_json({"run": directory.path.name, "as_written": good, "files": files})
    else:
        print_table(("file", "state", ""), findings)
    return 0 if good else 1


def _remove_remains(directories: list[RunFolder]) -> None:
    """Remove the sockets and temporary files of killed runs, and say so."""
    lines = remove_remains()
    for directory in directories:
        # A present run has this file too, but its folder is locked.
        if (directory.path / "endpoints.json").exists() and directory.holder() is None:
            lines += remove_remains_of(directory)
    say_all(lines)


def _row(facts: dict[str, Any]) -> tuple[Any, ...]:
    layers = "-".join(map(str, facts["layers"])) if facts["layers"] else None
    begun = facts["begun"][:19].replace("T", " ")
    accuracy = None if facts["accuracy"] is None else f"{facts['accuracy']:.4f}"
    names = (facts[key] for key in ("name", "dataset"))
    return (
        *names,
        layers,
        *(facts[key] for key in ("state", "step", "steps")),
        accuracy,
        begun,
        shown_size(facts["size_bytes"]),
    )


def shown_size(size_bytes: int) -> str:
    """Return a number of bytes in kB or MB."""
    return f"{size_bytes / 1e3:,.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:,.1f} MB"


def _whole(whole: bool) -> str:
    return "yes" if whole else "no, damaged"


def _event(event: dict[str, Any]) -> tuple[str, str, str]:
    """Return time, name, and as many facts as fit on a line."""
    facts = {key: value for key, value in event.items() if key not in ("time", "event") and value is not None}
    line = ", ".join(f"{key} {shown(value)}" for key, value in list(facts.items())[:6])
    return str(event.get("time", ""))[:19].replace("T", " "), event["event"], line
