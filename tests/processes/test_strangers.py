"""Nodes that don't fit: refused by a running service, with a line on both sides, and nobody else is disturbed."""

from __future__ import annotations

import json

import pytest

from tests.processes.programs import Bench, in_memory_sha256

pytestmark = pytest.mark.processes

OTHER_PROTOCOL = """
from neuron_node import codec
from neuron_node.program import main

codec.PROTOCOL_VERSION += 1
raise SystemExit(main())
"""
OTHER_ARITHMETIC = """
from neuron_node import program

program.fingerprint = lambda: "numpy 0.0 abacus 0123"
raise SystemExit(program.main())
"""


@pytest.mark.parametrize(
    ("source", "theirs", "ours"),
    [
        (OTHER_PROTOCOL, "protocol version", "speaks protocol version"),
        (OTHER_ARITHMETIC, "abacus", "its arithmetic is 'numpy 0.0 abacus 0123'"),
    ],
    ids=["protocol", "arithmetic"],
)
def test_a_node_that_does_not_fit_is_refused_on_both_sides(bench: Bench, source: str, theirs: str, ours: str) -> None:
    """It says why and ends with 1, the service's log has the same; then nodes that fit are taken and train to the bits."""
    (bench.folder / "stranger.py").write_text(source, encoding="utf-8")
    ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
    where = ("--broker-in", ends[0], "--broker-out", ends[1])
    bench.start("neuron_node.broker", "--bind-in", ends[0], "--bind-out", ends[1])
    service = bench.start("coordinator", "serve", "xor", "--epochs", "60", "--name", "s", *where)
    stranger = bench.start("stranger", *where, "--name", "stranger")
    assert stranger.end() == 1
    [line] = [line for line in stranger.said().splitlines() if "refused" in line]
    assert theirs in line
    nodes = [bench.start("neuron_node", *where, "--name", f"n-{number}") for number in range(1, 7)]
    service.await_line("trained")
    [folder] = bench.runs.iterdir()
    log = (folder / "logs/coordinator.log").read_text(encoding="utf-8") + service.said()
    assert any("refused node" in line and ours in line for line in log.splitlines()), log
    assert json.loads((folder / "result.json").read_text())["weights_sha256"] == in_memory_sha256(folder)
    assert "Traceback" not in stranger.said() + service.said() + log
    bench.start("coordinator", "stop").end()
    assert {node.end() for node in nodes} == {0}
