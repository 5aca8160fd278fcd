"""The report of a run as a file: what it contains, that it is safe to open, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.data.prepared import PreparedData
from coordinator.page.frames import RunFrames
from coordinator.page.report import training_curve
from coordinator.page.resources import resource
from coordinator.storage.run_folder import RunFolder
from tests.commands import Terminal
from tests.drawn_runs import RECOVERED, drawn_run
from tests.finished_runs import finished_run

LARGEST_DIGITS_BYTES = 5_000_000
LARGEST_SCRIPT_BYTES = 100_000
"""Of a live page."""
LARGEST_REPORT_SCRIPT_BYTES = 111_000


class Page(HTMLParser):
    """Tags with their attributes, and the text of each script and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: dict[str, str] = {}
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.append((tag, facts))
        self._inside = str(facts.get("id") or tag) if tag in {"script", "style"} else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.parts[self._inside] = self.parts.get(self._inside, "") + data
        else:
            self.text += data

    def json(self, name: str) -> Any:
        return json.loads(self.parts[name])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on digits with 25 snapshots."""
    return drawn_run(tmp_path_factory.mktemp("digits"), 100, 4, dataset="digits", epochs=2)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(capfd)


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_report_has_every_snapshot(digits: RunFolder, terminal: Terminal, tmp_path: Path) -> None:
    """The report begins before the first step, has the held-out figures of every snapshot, and is smaller than 5 MB."""
    said = terminal.type("report", "drawn", "--runs", str(digits.path.parent), "--json")
    assert said.code == 0, said.err
    facts, page = json.loads(said.out), page_of(tmp_path / "drawn.html")
    state = page.json("state")
    assert [row["step"] for row in state["snapshots"]] == list(range(0, 101, 4))
    assert (
        facts["snapshots"] == 26
        and facts["size_bytes"] == (tmp_path / "drawn.html").stat().st_size < LARGEST_DIGITS_BYTES
    )
    measured = list(RunFrames(digits).measured())
    data = PreparedData.load(digits.data)
    hits = data.encoding.decode_labels(measured[-1].outputs) == data.encoding.decode_labels(data.test_targets)
    assert state["snapshots"][-1]["held_out_accuracy"] == hits.mean() > 0.5 > state["snapshots"][0]["held_out_accuracy"]
    matrices = page.json("matrices")["matrices"]
    assert len(matrices) == 26 and np.trace(matrices[-1]) == hits.sum() and np.sum(matrices[-1]) == len(hits)
    assert measured[-1].frame.sha256 in page.text and digits.config()["data_sha256"] in page.text


def test_curves_have_training_and_held_out_and_recoveries(
    digits: RunFolder, terminal: Terminal, tmp_path: Path
) -> None:
    """The step and the reason of a recovery are those of events.jsonl; the reason is text, not markup."""
    assert terminal.type("report", "drawn", "--runs", str(digits.path.parent)).code == 0
    page = page_of(tmp_path / "drawn.html")
    curves = page.json("curves")
    assert curves["recoveries"] == [{"step": 4, "reason": RECOVERED, "seconds": 0.25}] and RECOVERED in page.text
    assert [row[0] for row in curves["training"]] == list(range(1, 101))
    steps = [row[0] for row in curves["held_out"]]
    assert steps == sorted(steps) and {0, 4, 90, 100} <= set(steps)


def test_report_allows_its_own_scripts_alone(digits: RunFolder, terminal: Terminal, tmp_path: Path) -> None:
    """The digests of the policy are those of the script and the style; nothing in the file refers to another place."""
    assert terminal.type("report", "drawn", "--runs", str(digits.path.parent)).code == 0
    page = page_of(tmp_path / "drawn.html")
    policy = next(facts["content"] for tag, facts in page.tags if facts.get("http-equiv") == "Content-Security-Policy")
    digests = {
        kind: "sha256-" + base64.b64encode(hashlib.sha256(page.parts[kind].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy is not None and policy.split("; ") == [
        "default-src 'none'",
        f"script-src '{digests['script']}'",
        f"style-src '{digests['style']}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert {value for _, facts in page.tags for name, value in facts.items() if name in {"src", "href", "action"}} == {
        "data:,"
    }
    assert not [facts for _, facts in page.tags if any(name.startswith("on") or name == "style" for name in facts)]
    assert len(page.parts["script"].encode()) <= LARGEST_REPORT_SCRIPT_BYTES
    assert not re.findall(r"\b(?:import|fetch|XMLHttpRequest|eval|innerHTML)\b *[(.{\"'=]", page.parts["script"])


def test_names_from_data_are_text(terminal: Terminal, tmp_path: Path) -> None:
    """A class and a column whose names are markup stay names, in HTML and in JSON."""
    names = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>')
    table = Path("data.csv")
    rows = [f"{number % 7},{number % 3},{names[number % 2]}" for number in range(40)]
    table.write_text(
        "\n".join(['<b>a</b>,"b & c",kind', *(row.replace('"', "") for row in rows)]) + "\n", encoding="utf-8"
    )
    drawn_run(tmp_path / "runs", 6, 2, dataset=str(table), target="kind", epochs=3)
    said = terminal.type("report", "drawn")
    assert said.code == 0, said.err
    page = page_of(tmp_path / "drawn.html")
    network = page.json("state")["network"]
    assert network["inputs"] == ["<b>a</b>", "b & c"] and network["classes"][0].startswith(("</script>", "><img"))
    assert [facts.get("id") for tag, facts in page.tags if tag == "script"] == ["state", "curves", "matrices", None]
    assert not [tag for tag, _ in page.tags if tag in {"img", "b"}]


def test_report_of_a_finished_run(terminal: Terminal, tmp_path: Path) -> None:
    """The figures are those of result.json."""
    finished_run(tmp_path / "runs")
    said = terminal.type("report", "r")
    assert said.code == 0 and said.out.startswith("r.html: 3 snapshots"), said
    result = RunFolder(tmp_path / "runs" / "r").result()
    assert result is not None and result["weights_sha256"] in page_of(tmp_path / "r.html").text


def test_damaged_snapshot_is_left_out(terminal: Terminal, tmp_path: Path) -> None:
    """The report names it; a run whose snapshots are all damaged is refused, and nothing is written."""
    directory = drawn_run(tmp_path / "runs", 6, 2, dataset="xor", epochs=6)
    [kept] = (directory.path / "history").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert terminal.type("report", "drawn").code == 0
    page = page_of(tmp_path / "drawn.html")
    assert [row["step"] for row in page.json("state")["snapshots"]] == [
        0,
        4,
        6,
    ] and "after step 2 is left out" in page.text
    for path in (directory.path / "snapshots").iterdir():
        path.write_bytes(b"")
    said = terminal.type("report", "drawn", "-o", "other.html")
    assert said.code == 2 and "no snapshot that can be drawn" in said.err and said.err.count("\n") == 1
    assert not list(tmp_path.glob("*other*"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nosuch"], "no run 'nosuch'"),
        (["drawn", "-o", "there.html"], "there.html exists already"),
        (["drawn", "-o", "runs"], "is a folder"),
        (["drawn", "-o", "missing/a.html"], "missing is not a folder"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], reason: str, terminal: Terminal, tmp_path: Path
) -> None:
    """The command ends with exit code 2, and makes and changes no file."""
    drawn_run(tmp_path / "runs", 2, 2, dataset="xor", epochs=2)
    (tmp_path / "there.html").write_text("mine", encoding="utf-8")
    said = terminal.type("report", *arguments)
    assert said.code == 2 and reason in said.err and said.err.count("\n") == 1
    assert (tmp_path / "there.html").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "there.html"]


def test_run_without_snapshot_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    """One line says when a run has one."""
    drawn_run(tmp_path / "runs", 1, 2, dataset="xor", epochs=2)
    said = terminal.type("report", "drawn")
    assert said.code == 2 and "has one after its first steps" in said.err and said.err.count("\n") == 1


def test_existing_file_is_replaced_on_request(terminal: Terminal, tmp_path: Path) -> None:
    """An existing file stays, unless --force is given."""
    drawn_run(tmp_path / "runs", 2, 2, dataset="xor", epochs=2)
    (tmp_path / "drawn.html").write_text("old", encoding="utf-8")
    assert terminal.type("report", "drawn", "--force").code == 0
    assert page_of(tmp_path / "drawn.html").json("state")["snapshots"]


def test_full_disk_leaves_no_part(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file stays as it was, and the temporary one is removed."""
    drawn_run(tmp_path / "runs", 2, 2, dataset="xor", epochs=2)
    (tmp_path / "drawn.html").write_text("old", encoding="utf-8")

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    said = terminal.type("report", "drawn", "--force")
    assert said.code == 2 and "can't write the report" in said.err and said.err.count("\n") == 1
    assert (tmp_path / "drawn.html").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn.html", "runs"]


def test_metrics_that_are_a_fifo_do_not_block_a_report(tmp_path: Path) -> None:
    """A report of a run whose metrics are no regular file has no training curve, and waits for nothing."""
    os.mkfifo(tmp_path / "metrics.csv")
    assert training_curve(tmp_path / "metrics.csv") == []


def test_training_curve_skips_incomplete_rows(tmp_path: Path) -> None:
    """A crash may leave half of the last row; many steps become few points with their means."""
    path = tmp_path / "metrics.csv"
    lines = [
        "step,epoch,loss,accuracy,seconds,generation",
        *(f"{step},1,{step / 2},,1.0,1" for step in range(1, 481)),
        "481,1",
    ]
    path.write_text("\r\n".join(lines), encoding="utf-8")
    curve = training_curve(path)
    assert len(curve) == 240 and curve[0] == [2, 0.75, None] and curve[-1][0] == 480
    assert training_curve(tmp_path / "none.csv") == []


def test_module_of_the_picture_stands_alone() -> None:
    """It imports nothing, and leaves 4 KB of the 100 KB of a live page to the page's own script."""
    script = resource("picture.js")
    assert not re.search(r"^\s*import\b", script, re.MULTILINE) and "http" not in script
    assert len(script.encode()) < LARGEST_SCRIPT_BYTES * 0.96
