"""Draws the rows of `bench` with matplotlib, which is an extra (`exmachina[bench]`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.errors import UserError

FORMATS = (".svg", ".png")
SERIES = (
    ("steps_per_second", "network", "#1f6f8b"),
    ("wire_steps_per_second", "bare wire", "#99a8b2"),
    ("wire_many_at_once_steps_per_second", "bare wire, many passes at once", "#c3ccd2"),
    ("wire_and_arithmetic_steps_per_second", "bare wire and arithmetic", "#5c6b75"),
    ("numpy_steps_per_second", "NumPy, one thread", "#e6a157"),
    ("numpy_all_cores_steps_per_second", "NumPy, all cores", "#c8553d"),
    ("pytorch_steps_per_second", "PyTorch", "#6a4c93"),
)
SIZES_TO_GROW = 3
"""The smallest number of network sizes for which a curve is drawn."""
Row = Mapping[str, Any]


def check_picture(path: Path) -> None:
    """Check the path of the picture before the measurements. Raises `UserError` if the picture can't be drawn or written."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--picture: {path} does not name a picture; use a name that ends in .svg or .png")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--picture: can't write to {path}; use the path of a file in a writable folder")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "--picture needs matplotlib, which is not installed; try: pip install 'exmachina[coordinator,bench]'"
        )


def save_picture(rows: Sequence[Row], path: Path) -> None:
    """Draw the speeds of all rows as bars; for networks of several sizes, also the time of a step and of a start by size.

    Raises:
        UserError: the picture can't be written.
    """
    # Import matplotlib only here: it takes a second, and no other command needs it.
    from matplotlib.figure import Figure  # noqa: PLC0415

    grows = len({tuple(row["layers"]) for row in rows}) >= SIZES_TO_GROW
    panels = 3 if grows else 1
    figure = Figure(figsize=(11.0, 1.6 + 0.85 * len(rows) + (8.0 if grows else 0.0)), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False, height_ratios=[1.0 + 0.85 * len(rows), *[4.0] * (panels - 1)])
    _draw_speeds(axes[0][0], rows)
    if grows:
        _draw_growth(axes[1][0], rows, "synapses", lambda row: 1000.0 / row["steps_per_second"], "ms per step")
        _draw_growth(axes[2][0], rows, "nodes", lambda row: row["seconds_starting"], "seconds to start")
    try:
        figure.savefig(path)
    except OSError as fault:
        raise UserError(f"--picture: can't write to {path} ({fault.strerror or fault})") from None


def _draw_speeds(axes: Any, rows: Sequence[Row]) -> None:
    series = [one for one in SERIES if any(row[one[0]] is not None for row in rows)]
    height = 0.8 / len(series)
    for place, (key, label, colour) in enumerate(series):
        found = [(index, row) for index, row in enumerate(rows) if row[key] is not None]
        medians = [row[key] for _, row in found]
        spreads = [
            [row[key] - row["spread"][key][0] for _, row in found],
            [row["spread"][key][1] - row[key] for _, row in found],
        ]
        where = [index + (place - (len(series) - 1) / 2) * height for index, _ in found]
        axes.barh(where, medians, height, xerr=spreads, color=colour, label=label, error_kw={"linewidth": 0.8})
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("steps per second: median, minimum and maximum")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)


def _draw_growth(axes: Any, rows: Sequence[Row], size: str, value: Any, label: str) -> None:
    for kind in sorted({_kind(row) for row in rows}):
        curve = sorted((row[size], value(row)) for row in rows if _kind(row) == kind)
        if len({where for where, _ in curve}) == 1:
            # All rows have the same size, as with one program per layer: there is no curve.
            continue
        wheres, values = zip(*curve, strict=True)
        line, level = growth(wheres, values)
        told = f"{kind}: as {size} to the power of {line:.2f}"
        [drawn] = axes.plot(wheres, values, marker="o", linestyle="none", label=told)
        axes.plot(wheres, [level * where**line for where in wheres], color=drawn.get_color(), linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(size)
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def growth(wheres: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return (exponent, level) of the power law level × where ** exponent, by least squares of the logarithms."""
    exponent, level = np.polyfit(np.log(wheres), np.log(values), 1)
    return float(exponent), float(np.exp(level))


def _kind(row: Row) -> str:
    return f"{row['work']}, group {row['group_size']}, batch {row['batch_size']}"


def _name(row: Row) -> str:
    layers = "-".join(map(str, row["layers"]))
    ratio = row["ratio_to_wire"]
    # With several groups per program, there is no bare wire to compare with.
    return f"{layers}\n{_kind(row)}: " + (f"{row['nodes']} nodes" if ratio is None else f"{ratio:.2f} of wire")
