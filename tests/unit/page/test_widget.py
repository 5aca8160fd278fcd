"""The picture in a notebook: a notebook runs in a real kernel without a browser, and Chromium draws the widget that it saved."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest

import coordinator
from coordinator.errors import UserError
from coordinator.page import widget
from coordinator.page.resources import resource
from coordinator.storage.model_file import load_model
from tests.browser import chromium, needs_chromium
from tests.drawn_runs import drawn_run
from tests.finished_runs import finished_run

CELLS = (
    "import coordinator\npicture = coordinator.view('drawn', runs='runs')\npicture",
    "picture.snapshot = 1\npicture.selected = 'hidden.2'\nprint(len(picture.snapshots))",
)
VIEW = "application/vnd.jupyter.widget-view+json"


def executed(folder: Path, cells: tuple[str, ...]) -> Any:
    """Run the cells in a kernel of this Python; return the notebook as it is saved."""
    import nbformat
    from nbclient import NotebookClient

    form: Any = nbformat.v4
    notebook = form.new_notebook(cells=[form.new_code_cell(source) for source in cells])
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("notebook")
    drawn_run(folder / "runs", 12, 4, dataset="xor", epochs=12)
    return executed(folder, CELLS)


def saved_state(notebook: Any) -> dict[str, Any]:
    """The widget of the first cell, as the notebook has saved it; its byte strings are base64."""
    [shown] = [output.data[VIEW] for output in notebook.cells[0].outputs if VIEW in output.get("data", {})]
    saved = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"][shown["model_id"]]
    return {**saved["state"], **{entry["path"][0]: entry["data"] for entry in saved["buffers"]}}


@pytest.mark.processes
def test_notebook_shows_the_picture(notebook: Any) -> None:
    """The cell shows a widget with every snapshot of the run; values that the next cell sets reach it."""
    state = saved_state(notebook)
    assert state["_esm"] == resource("picture.js")
    assert [row["step"] for row in state["snapshots"]] == [0, 4, 8, 12]
    assert (state["snapshot"], state["selected"]) == (1, "hidden.2")
    assert notebook.cells[1].outputs[0].text == "4\n"


@needs_chromium
@pytest.mark.processes
def test_browser_draws_the_saved_widget(notebook: Any) -> None:
    """The picture accepts byte strings as DataViews, as in a notebook; a click sets and saves the value of the model."""
    state = saved_state(notebook)
    with chromium() as browser:
        page = browser.new_page()
        page.set_content("<div id=here></div>")
        page.evaluate(
            """async ([source, state]) => {
              const m = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
              for (const name of ["numbers", "rows"]) state[name] = m.bytesOf(state[name]);
              const model = new m.PlainModel(state);
              window.saved = 0;
              model.save_changes = () => { window.saved++; };
              window.model = model;
              window.end = m.default.render({ model, el: document.getElementById("here") });
            }""",
            [resource("picture.js") + resource("report.js"), state],
        )
        assert page.inner_text(".exm-panel h2") == "hidden.2"
        page.get_by_role("button", name="Show all synapses").click()
        assert page.evaluate("[model.get('selected'), saved]") == ["", 1]
        page.evaluate("model.set('selected', 'hidden.1')")
        assert page.inner_text(".exm-panel h2") == "hidden.1"
        page.evaluate("end()")
        assert page.inner_html("#here") == ""


def test_model_has_a_picture(tmp_path: Path) -> None:
    """The picture of a model has one snapshot with the weights of the file, and no samples."""
    path = finished_run(tmp_path).model
    state = widget.state_of(path)
    assert state["samples"] == [] and state["sample"] == -1
    assert [row["sha256"] for row in state["snapshots"]] == [load_model(path).parameters.sha256()]
    picture = coordinator.view(path)
    assert base64.b64encode(picture.numbers) == base64.b64encode(state["numbers"])


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("snapshot", 4, "from 0 to 3"),
        ("snapshot", -1, "from 0 to 3"),
        ("sample", 400, "from -1 to 3"),
        ("selected", "hidden.3", "hidden.0 to hidden.2"),
        ("selected", "hidden.01", "hidden.0 to hidden.2"),
        ("selected", "nobody", "input.0 to input.1"),
    ],
)
def test_value_out_of_range_is_refused(tmp_path: Path, name: str, value: Any, right: str) -> None:
    """The message says what would be right, and the widget keeps its value."""
    import traitlets

    drawn_run(tmp_path, 12, 4, dataset="xor", epochs=12)
    picture = coordinator.view("drawn", runs=tmp_path)
    before = getattr(picture, name)
    with pytest.raises(traitlets.TraitError, match=right):
        setattr(picture, name, value)
    assert getattr(picture, name) == before


def test_unknown_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the run, also if EXMACHINA_RUNS names the folder of the runs."""
    monkeypatch.setenv("EXMACHINA_RUNS", str(tmp_path))
    with pytest.raises(UserError, match="no run 'nosuch'"):
        coordinator.view("nosuch")


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line with the command that installs the extra."""
    widget._widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(UserError, match=r"pip install 'exmachina\[coordinator,notebook\]'"):
        coordinator.view("any", runs=tmp_path)
