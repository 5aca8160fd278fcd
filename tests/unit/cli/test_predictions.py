"""The output of predict, and output that cannot be written."""

from __future__ import annotations

import csv
import errno
import io
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coordinator.cli.learn import show_result
from coordinator.cli.main import run
from coordinator.cli.output import print_table
from coordinator.cli.predictions import FORMATS, Predictions
from coordinator.data.encoding import Encoding
from coordinator.errors import JobError
from coordinator.storage.run_folder import RunFolder

NAMES = ("[/low]", "[red]x[/red]", ":smile:", "\x1b[31mevil", "a" * 150)


@pytest.fixture(autouse=True)
def handler_of_sigterm() -> Iterator[None]:
    """Restore the process's state that a command line changes."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def encoding_of(names: tuple[str, ...] | None, outputs: int) -> Encoding:
    return Encoding(
        dataset="d",
        feature_names=("a",),
        target_name="y",
        scaling="none",
        input_offset=(0.0,),
        input_scale=(1.0,),
        classes=names,
        outputs=outputs,
        target_offset=() if names else (1.0,) * outputs,
        target_scale=() if names else (2.0,) * outputs,
    )


def printed(form: str, encoding: Encoding, batches: list[np.ndarray], capsys: pytest.CaptureFixture[str]) -> str:
    with Predictions(encoding, FORMATS[form]) as predictions:
        for batch in batches:
            predictions.add(batch)
    return capsys.readouterr().out


def batches_of(outputs: int) -> list[np.ndarray]:
    everything = np.linspace(0.0, 1.0, 6 * outputs).reshape(6, outputs)
    return [everything[:4], everything[4:]]


def test_every_format_prints_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Two batches are one output: row numbers continue, and classes keep their text."""
    encoding, batches = encoding_of(NAMES, len(NAMES)), batches_of(len(NAMES))
    activities = np.concatenate(batches)
    as_csv = list(csv.reader(io.StringIO(printed("csv", encoding, batches, capsys))))
    assert as_csv[0] == ["row", "class", *NAMES]
    assert [row[:2] for row in as_csv[1:]] == [[str(n + 1), NAMES[-1]] for n in range(6)]
    assert [[float(cell) for cell in row[2:]] for row in as_csv[1:]] == activities.tolist()
    whole = json.loads(printed("json", encoding, batches, capsys))
    assert whole["rows"] == 6
    lines = [json.loads(line) for line in printed("json-lines", encoding, batches, capsys).splitlines()]
    assert [{"row": n + 1, **row} for n, row in enumerate(whole["predictions"])] == lines
    assert [list(row["activities"].values()) for row in lines] == activities.tolist()


def test_a_table_is_never_cut_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Long classes are not cut, no text is markup, and control characters are escaped."""
    out = printed("table", encoding_of(NAMES, len(NAMES)), batches_of(len(NAMES)), capsys)
    heading, *rows = out.splitlines()
    assert heading.split()[2:5] == list(NAMES[:3])
    assert "\\x1b[31mevil" in heading
    assert all(NAMES[-1] in row for row in rows)
    assert "\x1b" not in out
    print_table(("name", "size"), [(NAMES[0], 1), ("x" * 300, 22)])
    assert capsys.readouterr().out.splitlines()[1:] == [f"{NAMES[0]:<300}     1", f"{'x' * 300}    22"]


def test_of_many_classes_the_best_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With many classes, a row has its class and the five best."""
    names = tuple(f"class{n}" for n in range(30))
    out = printed("table", encoding_of(names, 30), batches_of(30), capsys)
    assert out.splitlines()[1].split(maxsplit=2)[:2] == ["1", "class29"]
    assert [part.split()[0] for part in out.splitlines()[1].split(maxsplit=2)[2].split(", ")] == [
        f"class{n}" for n in (29, 28, 27, 26, 25)
    ]


def test_numbers_are_printed_in_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    """Without classes a row has its values."""
    out = printed("csv", encoding_of(None, 1), [np.array([[0.5], [1.0]])], capsys)
    assert out.splitlines() == ["row,value", "1,2.0", "2,3.0"]


def test_no_rows_are_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    """An output without a batch is complete too."""
    assert json.loads(printed("json", encoding_of(None, 1), [], capsys)) == {"predictions": [], "rows": 0}


TABLE = "a,b,kind\n" + "".join(f"{n % 5}.5,{n % 3}.5,{'pq'[n % 2]}\n" for n in range(20))


@pytest.mark.parametrize("arguments", [["data", "FILE"], ["data", "FILE", "--json"]])
def test_a_full_disk_ends_with_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """If output cannot be written, the exit code is 1 and one line says why."""
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run([argument.replace("FILE", str(path)) for argument in arguments]) == 1
        monkeypatch.undo()
    err = capfd.readouterr().err
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1


class FullDisk(io.StringIO):
    """An output whose disk is full."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_result_that_cannot_be_printed_is_in_the_run(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If standard output is on a full disk, the message says where the run keeps its result."""
    numbers = ("neurons", "synapses", "processes", "seconds_starting", "epochs", "step", "seconds_training")
    rates = ("steps_per_second", "samples_per_second", "messages_per_second")
    figures = ("test_r2", "test_mean_absolute_error", "test_loss")
    texts = {
        "dataset": "xor",
        "layers": [2, 1],
        "weights_sha256": "0",
        "model_path": "m",
        "run": "r",
        "test_accuracy": None,
    }
    result = {**dict.fromkeys((*numbers, *rates, *figures), 1), **texts}
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(JobError, match=rf"No space left on device; the run has a copy: {tmp_path}/result.json"):
        show_result(result, RunFolder(tmp_path), None, as_json=as_json)
    monkeypatch.undo()


def test_closed_outputs_end_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A closed standard output is an error in one line."""
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["data", str(path)]) == 1
    monkeypatch.undo()
    assert capfd.readouterr().err == "coordinator: standard output is closed, so nothing can be printed\n"


def test_character_missing_in_the_output_encoding_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class beyond ASCII is printed to an ASCII output, as an escape."""
    path = tmp_path / "t.csv"
    path.write_text(TABLE.replace("p\n", "\u00e9t\u00e9\n"), encoding="utf-8")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert run(["data", str(path)]) == 0
    sys.stdout.flush()
    text = raw.getvalue().decode("ascii")
    monkeypatch.undo()
    assert "\\xe9t\\xe9 10" in text


@pytest.mark.parametrize("already", ["data", "other"])
def test_save_replaces_no_file_but_a_model(already: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A model never replaces the data, or any file that is not a model."""
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    target = path if already == "data" else tmp_path / "notes"
    target.write_text(TABLE)
    assert run(["learn", str(path), "--save", str(target), "--runs", str(tmp_path / "runs")]) == 2
    assert target.read_text() == TABLE
    assert "--save" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
