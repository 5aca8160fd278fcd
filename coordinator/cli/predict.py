"""The commands `predict` and `evaluate`, with a running service or with a saved model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from coordinator.cli.options import broker_options, endpoints, json_option, runs_option
from coordinator.cli.output import print_json, print_table
from coordinator.client import Client
from coordinator.data.encoding import Encoding
from coordinator.data.rows import read_labelled, read_rows
from coordinator.errors import UserError
from coordinator.machine.training import LOSSES
from coordinator.metrics import score
from coordinator.model_file import load_model
from coordinator.offline import forward
from neuron_node.activations import Array

ROWS_A_REQUEST = 4_096

model_option = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="A saved model to use instead of a running service; its neurons run in memory.",
)


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
    patience = where.pop("patience")
    if model is not None:
        saved = load_model(model)
        yield Network(saved.encoding, saved.network.loss, lambda rows: forward(saved, rows), None)
        return
    with Client(endpoints(runs, **where), patience) as client:
        facts, _ = client.ask("describe")

        def through(rows: Array) -> Array:
            parts = [
                client.ask("forward", rows[start : start + ROWS_A_REQUEST])[1]
                for start in range(0, len(rows), ROWS_A_REQUEST)
            ]
            return np.concatenate(parts)

        def held_out() -> tuple[Array, Array]:
            _, both = client.ask("held_out")
            return both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]

        yield Network(Encoding.from_json(facts["encoding"]), facts["loss"], through, held_out)


@click.command()
@click.argument("source", default="-", metavar="[FILE]")
@model_option
@broker_options
@runs_option
@json_option
def predict(source: str, model: Path | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Predict rows of numbers.

    The rows come from a CSV or NPZ file, or from stdin: one row per line, without a target.
    """
    with network(model, runs, where) as net:
        rows = read_rows(sys.stdin if source == "-" else Path(source), net.encoding)
        activities = net.forward(_scaled(net.encoding, rows))
        predictions = _predictions(net.encoding, activities)
    if as_json:
        print_json({"rows": len(predictions), "predictions": predictions})
    elif net.encoding.classes is not None:
        body = [
            (index + 1, p["class"], *(f"{a:.4f}" for a in p["activities"].values()))
            for index, p in enumerate(predictions)
        ]
        print_table(("row", "class", *net.encoding.classes), body)
    else:
        print_table(
            ("row", "value"),
            [(index + 1, ", ".join(f"{v:.6g}" for v in p["values"])) for index, p in enumerate(predictions)],
        )


def _scaled(encoding: Encoding, rows: Array) -> Array:
    """Scale rows for the input neurons. Raises `UserError` for a number that is too large to be scaled."""
    with np.errstate(over="ignore"):
        scaled = encoding.scale_inputs(rows)
    _check_scaled(encoding, scaled)
    return scaled


def _check_scaled(encoding: Encoding, scaled: Array) -> None:
    """Raise `UserError` for a number that is not finite after scaling: no message can carry it."""
    bad = np.argwhere(~np.isfinite(scaled))
    if len(bad):
        row, feature = bad[0]
        raise UserError(
            f"row {row + 1}: the number for {encoding.feature_names[feature]} is too large to be scaled; "
            "use numbers in the units of the training data"
        )


def _predictions(encoding: Encoding, activities: Array) -> list[dict[str, Any]]:
    if encoding.classes is None:
        return [{"values": row.tolist()} for row in encoding.decode_numbers(activities)]
    names, by_class = encoding.decode_names(activities), encoding.class_activities(activities)
    return [
        {"class": name, "activities": dict(zip(encoding.classes, row.tolist(), strict=True))}
        for name, row in zip(names, by_class, strict=True)
    ]


@click.command()
@click.argument("dataset", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="The file of the data set semeion.")
@click.option("--target", help="The name of the target's column.")
@model_option
@broker_options
@runs_option
@json_option
def evaluate(
    dataset: str | None,
    data: Path | None,
    target: str | None,
    model: Path | None,
    runs: Path,
    as_json: bool,
    **where: Any,
) -> None:
    """Measure how good the network is.

    The samples are all rows of DATASET (a name or a file), or the held-out samples of the service.
    """
    with network(model, runs, where) as net:
        if dataset is not None:
            with np.errstate(over="ignore"):
                rows = read_labelled(dataset, net.encoding, data=data, target=target)
            _check_scaled(net.encoding, rows.inputs)
            activities, targets = net.forward(rows.inputs), rows.targets
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
    }
    if as_json:
        print_json(report)
        return
    if report["classes"] is None:
        figures = [("R²", report["r2"]), ("mean absolute error", report["mean_absolute_error"])]
    else:
        figures = [("accuracy", report["accuracy"])]
    print_table(("", ""), [("samples", report["samples"]), *figures, ("loss", report["loss"])])
    if report["classes"] is not None:
        body = [
            (c["name"], *(f"{c[key]:.3f}" for key in ("precision", "recall", "f1")), c["support"])
            for c in report["classes"]
        ]
        print_table(("class", "precision", "recall", "f1", "samples"), body)
