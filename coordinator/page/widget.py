"""The picture of a network as a widget of a notebook. It needs anywidget, which is an extra (`exmachina[notebook]`)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.errors import UserError
from coordinator.page.frames import RunFrames
from coordinator.page.picture_state import Frame, finite, picture_state
from coordinator.page.resources import resource
from coordinator.storage.model_file import Model, is_model, load_model
from coordinator.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from anywidget import AnyWidget


def view(run: str | Path, *, runs: str | Path | None = None) -> AnyWidget:
    """Return the picture of a run or of a model as a widget.

    The widget of a run has a slider over its kept snapshots. `snapshot` (the index of the snapshot), `sample` (the index of the
    sample, or -1) and `selected` (the name of a neuron, or "") are values of the widget: they can be set, and they follow the
    mouse and the keys of the user.

    Args:
        run: the name of a run, or the path of a model that `coordinator learn --save` wrote.
        runs: the folder of all runs; by default, the variable EXMACHINA_RUNS, or `runs`.

    Raises:
        UserError: anywidget is not installed, or there is no such run or model, or it has no snapshot.
    """
    try:
        made = _widget_class()
    except ModuleNotFoundError as fault:
        raise UserError(
            f"a picture in a notebook needs {fault.name}; try: pip install 'exmachina[coordinator,notebook]'"
        ) from None
    widget: AnyWidget = made(**state_of(run, runs))
    return widget


def state_of(run: str | Path, runs: str | Path | None = None) -> dict[str, Any]:
    """Return the values of the widget. Raises `UserError`."""
    path = Path(run)
    if is_model(path):
        state = _state_of_model(load_model(path))
    else:
        frames = RunFrames(RunFolder.existing(Path(runs or os.environ.get("EXMACHINA_RUNS") or "runs"), str(run)))
        measured = (one.frame for one in frames.measured())
        state = picture_state(frames.network, frames.data.encoding, measured, frames.data)
    return {name: value if isinstance(value, bytes) else finite(value) for name, value in state.items()}


def _state_of_model(model: Model) -> dict[str, Any]:
    """Return the values for a model, which has one snapshot and no samples."""
    frame = Frame(
        step=model.step,
        epoch=None,
        loss=None,
        held_out_loss=None,
        held_out_accuracy=None,
        best=False,
        sha256=model.parameters.sha256(),
        parameters=model.parameters,
    )
    return picture_state(model.network, model.encoding, [frame], None)


@cache
def _widget_class() -> Any:
    """Return the class of the widget. Raises `ModuleNotFoundError`."""
    # Import these only here: they take half a second, and commands do not need them.
    import anywidget  # noqa: PLC0415
    import traitlets  # noqa: PLC0415

    class NetworkPicture(anywidget.AnyWidget):
        """The model of `picture.js`, synchronised with the browser."""

        _esm = resource("picture.js")
        network = traitlets.Dict().tag(sync=True)
        snapshots: Any = traitlets.List().tag(sync=True)
        numbers = traitlets.Bytes().tag(sync=True)
        samples: Any = traitlets.List().tag(sync=True)
        rows = traitlets.Bytes().tag(sync=True)
        snapshot = traitlets.Int().tag(sync=True)
        sample = traitlets.Int(-1).tag(sync=True)
        selected = traitlets.Unicode().tag(sync=True)

        @traitlets.validate("snapshot")
        def _check_snapshot(self, proposal: Any) -> int:
            return _within("snapshot", proposal["value"], 0, len(self.snapshots) - 1)

        @traitlets.validate("sample")
        def _check_sample(self, proposal: Any) -> int:
            return _within("sample", proposal["value"], -1, len(self.samples) - 1)

        @traitlets.validate("selected")
        def _check_selected(self, proposal: Any) -> str:
            name = str(proposal["value"])
            word, _, index = name.rpartition(".")
            layers = dict(zip(self.network["words"], self.network["layers"], strict=True))
            if name and not (index.isdecimal() and str(int(index)) == index and int(index) < layers.get(word, 0)):
                known = ", ".join(f"{word}.0 to {word}.{size - 1}" for word, size in layers.items())
                raise traitlets.TraitError(f'no neuron {name!r}; there are {known}, or "" for none')
            return name

    return NetworkPicture


def _within(name: str, value: int, low: int, high: int) -> int:
    """Return the value. Raises `TraitError` if it is out of range."""
    import traitlets  # noqa: PLC0415

    if not low <= value <= high:
        raise traitlets.TraitError(f"{name} must be from {low} to {high}, not {value}")
    return value
