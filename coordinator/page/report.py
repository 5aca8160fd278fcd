"""The report of a run: one HTML file that needs no server and loads nothing.

The file contains the modules `picture.js` and `report.js`, their style, and all numbers as JSON. Its content security policy
allows these scripts and styles only, by their digests.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined

from coordinator.data.encoding import Encoding
from coordinator.data.table import Floats
from coordinator.errors import UserError
from coordinator.page.frames import Measured, RunFrames
from coordinator.page.picture_state import Frame, finite, picture_state, spread
from coordinator.page.resources import resource
from coordinator.storage.disk import open_regular, write_whole
from coordinator.storage.run_facts import details_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import LARGEST_METRICS_BYTES, events_of
from coordinator.topology import Parameters
from neuron_node import __version__

MOST_CURVE_POINTS = 240
MOST_RECOVERIES = 200
MOST_CLASSES = 30
"""The largest confusion matrix."""
MOST_SCATTERED = 300
NOT_SHOWN = ("name", "learning_rate")
"""Settings that the report has elsewhere: the learning rate in force is one of the network's."""


class Written(NamedTuple):
    """A report on disk."""

    path: Path
    size_bytes: int
    snapshots: int


def check_target(path: Path, *, force: bool) -> None:
    """Check that a report can be written. Raises `UserError`."""
    folder = path.parent
    if path.is_dir():
        raise UserError(f"{path} is a folder; use the name of a file in it, such as {path / 'report.html'}")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; make it first, or use another -o FILE.html")
    if not os.access(folder, os.W_OK):
        raise UserError(f"can't write to {folder}; use another -o FILE.html")
    if os.path.lexists(path) and not force:
        raise UserError(f"{path} exists already; use another -o FILE.html, or replace it with --force")


def write_report(directory: RunFolder, path: Path, *, force: bool = False) -> Written:
    """Write the report of a run, as a whole or not at all. Raises `UserError`."""
    check_target(path, force=force)
    html, snapshots = report_html(RunFrames(directory))
    content = html.encode()
    try:
        write_whole(path, content)
    except OSError as fault:
        raise UserError(f"can't write the report to {path}: {fault.strerror or fault}") from None
    return Written(path, len(content), snapshots)


def report_html(frames: RunFrames) -> tuple[str, int]:
    """Return the report as HTML, and its number of snapshots."""
    measured: list[Measured] = []

    def passed_on() -> Iterator[Frame]:
        """Pass frames on, and note them without their parameters: one snapshot at a time is in memory."""
        for one in frames.measured():
            measured.append(one._replace(frame=one.frame._replace(parameters=Parameters((), ()))))
            yield one.frame

    state: dict[str, Any] = picture_state(frames.network, frames.data.encoding, passed_on(), frames.data)
    for name in ("numbers", "rows"):
        state[name] = base64.b64encode(state[name]).decode()
    details = details_of(frames.directory)
    script = "\n" + resource("picture.js") + resource("report.js")
    style = "\n" + resource("report.css")
    page = _environment().get_template("report.html")
    html = page.render(
        run=frames.directory.path.name,
        details=details,
        figures=frames.result,
        headline=headline_of(frames, measured[-1]),
        settings=settings_of(frames.config),
        network=frames.network,
        config=frames.config,
        encoding=frames.data.encoding,
        samples=(len(frames.data.train_inputs), len(frames.data.test_inputs)),
        damaged=[row for row in frames.kept if row.fault],
        recoveries=recoveries_of(frames.directory),
        last=measured[-1].frame,
        version=__version__,
        state=finite(state),
        curves=finite(curves_of(frames, measured)),
        matrices=finite(matrices_of(frames, measured)),
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
    )
    return html, len(measured)


def headline_of(frames: RunFrames, last: Measured) -> list[tuple[str, str]]:
    """Return the largest figures of the report: (name, value)."""
    figures = frames.result
    rows = []
    if last.frame.held_out_accuracy is not None:
        rows.append(("held-out accuracy", f"{100 * last.frame.held_out_accuracy:.1f} %"))
    if last.frame.held_out_loss is not None:
        rows.append(("held-out loss", f"{last.frame.held_out_loss:.4g}"))
    if (r2 := figures.get("test_r2")) is not None:
        rows.append(("held-out R²", f"{r2:.3f}"))
    rows.append(("steps", f"{last.frame.step:,}"))
    if (speed := figures.get("samples_per_second")) is not None:
        rows.append(("samples per second", f"{speed:,.0f}"))
    if (recoveries := figures.get("recoveries")) is not None:
        rows.append(("recoveries", f"{recoveries:,}"))
    return rows


def settings_of(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that have a value, as text."""
    rows = [("learning rate", f"{config['network']['learning_rate']:g}")]
    for name, value in config["settings"].items():
        if value is None or name in NOT_SHOWN:
            continue
        if name == "history":
            text = f"{value / 1e6:g} MB" if isinstance(value, int) else str(value)
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        rows.append((name.replace("_", " "), text))
    return rows


def recoveries_of(directory: RunFolder) -> list[dict[str, Any]]:
    """Return step, reason and seconds of the latest recoveries, the oldest first."""
    log = directory.path / "events.jsonl"
    events = events_of(log.with_suffix(".jsonl.1")) + events_of(log)
    found = [
        {"step": event["step"], "reason": str(event.get("reason", "")), "seconds": event.get("seconds")}
        for event in events
        if event["event"] == "recovered" and isinstance(event.get("step"), int)
    ]
    return found[-MOST_RECOVERIES:]


def curves_of(frames: RunFrames, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return loss and accuracy over the steps: of the training as means of neighbouring steps, of the held-out samples at
    epochs and snapshots."""
    held_out = {one.frame.step: (one.frame.held_out_loss, one.frame.held_out_accuracy) for one in measured}
    for epoch in frames.epochs:
        step = min(epoch.epoch * frames.steps_per_epoch, frames.steps)
        held_out.setdefault(step, (epoch.test_loss, epoch.test_accuracy))
    points = spread(sorted(held_out.items()), MOST_CURVE_POINTS)
    return {
        "steps": max([frames.steps if frames.result else 0, *held_out]),
        "training": training_curve(frames.directory.path / "metrics.csv"),
        "held_out": [[step, loss, accuracy] for step, (loss, accuracy) in points],
        "recoveries": recoveries_of(frames.directory),
    }


def training_curve(path: Path) -> list[list[float | None]]:
    """Return [last step, mean loss, mean accuracy] of neighbouring steps; an empty list if there are no metrics."""
    steps: list[tuple[int, float, float | None]] = []
    try:
        if path.stat().st_size > LARGEST_METRICS_BYTES:
            return []
        file = io.TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace", newline="")
        with file:
            for row in csv.DictReader(file):
                try:
                    steps.append(
                        (int(row["step"]), float(row["loss"]), float(row["accuracy"]) if row["accuracy"] else None)
                    )
                except (ValueError, KeyError, TypeError):
                    # The last row of a run that was interrupted may be incomplete.
                    continue
    except (OSError, csv.Error):
        return []
    curve: list[list[float | None]] = []
    for part in np.array_split(np.arange(len(steps)), min(len(steps), MOST_CURVE_POINTS)) if steps else ():
        some = [steps[place] for place in part]
        known = [accuracy for _, _, accuracy in some if accuracy is not None]
        mean = float(np.mean([loss for _, loss, _ in some]))
        curve.append([some[-1][0], mean, float(np.mean(known)) if known else None])
    return curve


def matrices_of(frames: RunFrames, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the confusion matrix of each snapshot (rows are the right classes), or predictions and targets if the targets
    are numbers. With many classes, the most frequent confusions replace the matrix."""
    encoding, targets = frames.data.encoding, frames.data.test_targets
    if encoding.classes is None:
        right = encoding.decode_numbers(targets)[:MOST_SCATTERED, 0]
        found = encoding.decode_numbers(measured[-1].outputs)[:MOST_SCATTERED, 0]
        return {"kind": "numbers", "target": encoding.target_name, "right": right.tolist(), "found": found.tolist()}
    matrices = [confusion(encoding, one.outputs, targets) for one in measured]
    if len(encoding.classes) <= MOST_CLASSES:
        return {"kind": "matrix", "matrices": [matrix.tolist() for matrix in matrices]}
    last = matrices[-1] * (1 - np.eye(len(encoding.classes), dtype=int))
    order = np.argsort(-last, axis=None, kind="stable")[:10]
    pairs = [(int(place) // len(last), int(place) % len(last)) for place in order]
    rows = [[encoding.classes[a], encoding.classes[b], int(last[a, b])] for a, b in pairs if last[a, b]]
    return {"kind": "pairs", "pairs": rows}


def confusion(encoding: Encoding, outputs: Floats, targets: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the number of samples by right class (row) and predicted class (column)."""
    assert encoding.classes is not None
    count = len(encoding.classes)
    places = encoding.decode_labels(targets) * count + encoding.decode_labels(outputs)
    return np.bincount(places, minlength=count * count).reshape(count, count)


@cache
def _environment() -> Environment:
    return Environment(
        loader=DictLoader({"report.html": resource("report.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _digest(text: str) -> str:
    """Return the digest of a script or style for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
