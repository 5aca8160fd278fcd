"""`--group-size auto` with real processes, from outside."""

from __future__ import annotations

import json

import pytest

from tests.processes.programs import Bench

pytestmark = pytest.mark.processes


def test_group_size_auto_is_said_and_learns_as_with_that_number(bench: Bench) -> None:
    """A line on stderr, as many processes as it says, and the weights of the same run with the number given."""
    program = bench.learn("xor", "--epochs", "20", "--group-size", "auto", "--name", "picked")
    result = program.result()
    told = [line for line in program.said().splitlines() if line.startswith("group size auto: ")]
    assert len(told) == 1 and told[0].startswith("group size auto: 3, one group per layer (3 nodes) for ")
    assert (result["groups"], result["processes"]) == (3, 3)
    config = json.loads((bench.runs / "picked" / "config.json").read_text(encoding="utf-8"))
    assert (config["group_size"], config["settings"]["group_size"]) == (3, "auto")
    given = bench.learn("xor", "--epochs", "20", "--group-size", "3", "--name", "given").result()
    assert given["weights_sha256"] == result["weights_sha256"]
    bench.check_nothing_left()
