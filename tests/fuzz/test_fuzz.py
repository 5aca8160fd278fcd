"""A small sample of `python -m tests.fuzz`; the slow tests send a million wrong frames."""

from __future__ import annotations

import pytest

from neuron_node.addresses import COORDINATOR
from neuron_node.codec import encode
from neuron_node.events import Received
from neuron_node.frames import LENGTH_BYTES
from neuron_node.protocol import Heartbeat, Reject
from tests.coordinators import NO_TRAFFIC, THREE, by, wired
from tests.fuzz import disturb, plans
from tests.fuzz.__main__ import main
from tests.roles import messages

FRAMES = 2_000
MANY_FRAMES = 1_000_000 // len(plans())


@pytest.mark.parametrize("frames", [FRAMES, pytest.param(MANY_FRAMES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("index", range(len(plans())))
def test_wrong_frames_change_no_weight(index: int, frames: int) -> None:
    """No exception, and the bits of the undisturbed run; wrong frames were dropped, alone and joined."""
    outcome = disturb(plans()[index], frames, seed=index)
    assert outcome.sha256 == outcome.should_be
    assert outcome.frames >= frames and outcome.dropped > frames / 2


def test_a_damaged_version_of_a_working_node_refuses_nobody() -> None:
    """The node has registered in our version; a stranger with another version is told why it can't take part."""
    machine, _ = wired(THREE)
    for number, refused in ((1, False), (99, True)):
        frame = bytearray(encode(Heartbeat(by(machine, number), "working", NO_TRAFFIC)))
        frame[LENGTH_BYTES + 1] ^= 1
        actions = machine.handle(Received(COORDINATOR + bytes(frame)), 0.0)
        assert [isinstance(message, Reject) for message in messages(actions)] == [True] * refused
    assert machine.drops.counts == {"version": 2}


def test_fuzz_command_prints_a_line_per_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each run."""
    assert main(["--frames", "400", "--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(plans()) and all("sha256" in line for line in lines)
