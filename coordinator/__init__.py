"""The coordinator: it assigns neurons to nodes, sends the samples, and keeps snapshots. It computes no neuron itself.

Its users run the commands, read the files of runs, and may import the modules in `__all__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Import it before NumPy: it sets the number of threads of the libraries of NumPy.
import neuron_node  # noqa: F401

if TYPE_CHECKING:
    from pathlib import Path

    from anywidget import AnyWidget

__all__ = ["client", "defaults", "schedule", "settings", "storage", "topology", "verify"]
"""The public modules, with those in `__all__` of storage and verify; docs/reference/api.md describes them. All others are internal."""


def view(run: str | Path, *, runs: str | Path | None = None) -> AnyWidget:
    """Return the picture of a run, or of a saved model, as a widget of a notebook: see `coordinator.page.widget.view`."""
    # The neurons of a run import this package too, and need no picture.
    from coordinator.page.widget import view as view_run  # noqa: PLC0415

    return view_run(run, runs=runs)
