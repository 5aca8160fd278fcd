"""The commands `predict` and `evaluate`, with a running service or with a saved model."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from coordinator.cli.completing import complete_dataset
from coordinator.cli.finding import client_of
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import (
    door_options,
    json_option,
    model_option,
    runs_option,
    table_options,
    table_options_of,
)
from coordinator.cli.output import errors, print_json, print_table
from coordinator.cli.predictions import FORMATS, Predictions
from coordinator.client import NO_ROWS
from coordinator.core.training import LOSSES
from coordinator.data.encoding import Encoding
from coordinator.data.limits import shown
from coordinator.data.report import ONE_CLASS
from coordinator.data.rows import encoded, open_rows, read_labelled
from coordinator.data.sources import DATASET_NAMES, check_exists, exists
from coordinator.data.toys import MOST_NOISE
from coordinator.errors import NobodyAnswers, UserError
from coordinator.inference import InMemoryNetwork
from coordinator.requests import rows_a_request
from coordinator.scores import score
from coordinator.storage.model_file import load_model
from neuron_node.activations import Array

NUMBERS = re.compile(r"[-+\d.eE]+([,;\s]+[-+\d.eE]+)*")
"""A row of numbers in place of a file."""


def check_source(source: str, names: Sequence[str] = ()) -> None:
    """Check that a file exists before a service is asked. Raises `UserError`."""
    if source == "-" or exists(Path(source)):
        return
    if NUMBERS.fullmatch(source):
        raise UserError(
            f"{shown(source)} is no file; to predict a row, send it through a pipe: echo {source} | coordinator predict"
        )
    check_exists(Path(source), names)


@dataclass(frozen=True)
class Network:
    """A network for rows: their encoding, and functions that send them through the network."""

    encoding: Encoding
    loss: str
    forward: Callable[[Array], Array]
    held_out: Callable[[], tuple[Array, Array]] | None


@contextmanager
def network(model: Path | None, runs: Path, where: dict[str, Any]) -> Iterator[Network]:
    """Open the network of a saved model or of a running service."""
    if model is not None:
        saved = load_model(model)
        yield Network(saved.encoding, saved.network.loss, InMemoryNetwork(saved).forward, None)
        return
    with client_of(runs, where) as client:
        facts, _ = client.ask("describe")

        rows_at_once = rows_a_request(facts["layers"])

        def asked(command: str, rows: Array = NO_ROWS, **arguments: Any) -> Array:
            try:
                return client.ask(command, rows, **arguments)[1]
            except NobodyAnswers as fault:
                # Rows wait until the network is wired, but the coordinator reports its state at any time.
                status, _ = client.ask("status")
                raise NobodyAnswers(
                    f"the network is not ready ({status['state']}): {status['nodes_registered']} of "
                    f"{status['nodes_needed']} nodes are here; try again, or wait longer with --patience"
                ) from fault

        def through(rows: Array) -> Array:
            starts = range(0, len(rows), rows_at_once)
            return np.concatenate([asked("forward", rows[start : start + rows_at_once]) for start in starts])

        def held_out() -> tuple[Array, Array]:
            parts = [asked("held_out", first=0)]
            while len(parts[-1]) == rows_at_once:
                parts.append(asked("held_out", first=sum(map(len, parts))))
            both = np.concatenate(parts)
            return both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]

        yield Network(Encoding.from_json(facts["encoding"]), facts["loss"], through, held_out)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    echo 5.1,3.5,1.4,0.2 | coordinator predict
    coordinator predict table.csv --model iris.safetensors --csv
    """,
)
@click.argument("source", default="-", metavar="[FILE]")
@model_option
@table_options
@door_options
@runs_option
@click.option("--csv", "form", flag_value="csv", help="Print a table as CSV in UTF-8, with one line per row.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object on stdout, all else on stderr.")
@click.option("--json-lines", "form", flag_value="json-lines", help="Print one JSON object per row.")
def predict(source: str, model: Path | None, runs: Path, form: str | None, **where: Any) -> None:
    """Predict the rows of a table.

    The table comes from a file of any format that learn reads, or from stdin, with or without the target. With a header,
    columns are matched by name, otherwise by position.
    """
    options = table_options_of(where)
    check_source(source)
    if source == "-" and sys.stdin is None:
        raise UserError("standard input is closed; name a file, or pipe rows into it")
    with (
        network(model, runs, where) as net,
        open_rows(sys.stdin if source == "-" else Path(source), net.encoding, options) as rows,
    ):
        # Notes on columns come before the first prediction, notes on cells after the last.
        said = len(rows.said)
        for note in rows.said:
            errors.print(f"note: {note}")
        with Predictions(net.encoding, FORMATS[form or "table"]) as predictions:
            for batch in rows:
                predictions.add(net.forward(encoded(net.encoding, batch, rows)))
        for note in rows.notes()[said:]:
            errors.print(f"note: {note}")


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator evaluate
    coordinator evaluate table.csv --model iris.safetensors
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@click.option("--data", type=click.Path(path_type=Path), help="The file of the data set semeion.")
@click.option("--target", help="The column of the target: its name, first, last or its number.")
@click.option("--noise", type=float, help=f"The noise of a toy data set, from 0 to {MOST_NOISE}.  [default: none]")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="The seed of a toy data set; another one than in the training makes new points.",
)
@model_option
@table_options
@door_options
@runs_option
@json_option
def evaluate(
    dataset: str | None,
    data: Path | None,
    target: str | None,
    noise: float | None,
    seed: int,
    model: Path | None,
    runs: Path,
    as_json: bool,
    **where: Any,
) -> None:
    """Measure how good the network is.

    The samples are all rows of DATASET (a name or a file), or the held-out samples of the service.
    """
    options = table_options_of(where, target)
    if noise is not None and dataset is None:
        raise UserError("--noise goes with a toy data set; name it: evaluate circle --noise 0.1")
    if dataset is not None and dataset not in DATASET_NAMES:
        check_source(dataset, DATASET_NAMES)
    notes: tuple[str, ...] = ()
    with network(model, runs, where) as net:
        if dataset is not None:
            rows = read_labelled(dataset, net.encoding, data=data, options=options, noise=noise, seed=seed)
            activities, targets, notes = net.forward(rows.inputs), rows.targets, rows.notes
        elif net.held_out is None:
            raise UserError(
                "a saved model contains no held-out samples; name a data set or a file: evaluate DATASET --model …"
            )
        else:
            activities, targets = net.held_out()
    report = {
        "samples": len(targets),
        "loss": LOSSES[net.loss](activities, targets),
        **score(net.encoding, activities, targets),
        "notes": list(notes),
    }
    for note in notes:
        errors.print(f"note: {note}")
    if as_json:
        print_json(report)
        return
    _print_report(report)


def _print_report(report: dict[str, Any]) -> None:
    if report["classes"] is None:
        figures = [("R²", report["r2"]), ("mean absolute error", report["mean_absolute_error"])]
    else:
        figures = [("accuracy", report["accuracy"])]
        counts = [c["support"] for c in report["classes"]]
        if max(counts) >= ONE_CLASS * sum(counts):
            figures.append(("balanced accuracy", report["balanced_accuracy"]))
    print_table(("", ""), [("samples", report["samples"]), *figures, ("loss", report["loss"])])
    if report["classes"] is not None:
        body = [
            (c["name"], *(f"{c[key]:.3f}" for key in ("precision", "recall", "f1")), c["support"])
            for c in report["classes"]
        ]
        print_table(("class", "precision", "recall", "f1", "samples"), body)
