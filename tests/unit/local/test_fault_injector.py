"""What the supervisor does when chaos commands: who is hit, what is told first, and who is let go when."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from coordinator.local.fault_injector import FaultInjector

FACTS = {"number": 1, "of": 9, "neuron": "hidden.0", "after_step": 20, "nodes": ["node-2"], "at_most_ms": 5_000.0}


@dataclass
class Victim:
    """A program that exists in name only."""

    name: str
    process: int
    struck: bool = False


class Place:
    """Programs, what happened to them, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ("broker", "relay", "coordinator", "node-1", "node-2")
        self.victims = {name: Victim(name, 1000 + place) for place, name in enumerate(names)}
        self.story: list[Any] = []
        self.now = 10.0
        self.read, write = os.pipe()
        self.write = write
        monkeypatch.setattr("coordinator.local.fault_injector.time.monotonic", lambda: self.now)
        monkeypatch.setattr(
            "coordinator.local.fault_injector.os.kill", lambda process, number: self.story.append((process, number))
        )
        self.disturber = FaultInjector(lambda: list(self.victims.values()), self._tell, write)

    def _tell(self, event: str, **facts: Any) -> None:
        self.story.append(event)

    def obey(self, deed: str, **facts: Any) -> None:
        """One command."""
        self.disturber.obey({"do": deed, **FACTS, **facts})


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Closed at the end."""
    place = Place(monkeypatch)
    yield place
    os.close(place.read)
    os.close(place.write)


@pytest.mark.parametrize(
    ("deed", "hit"),
    [
        ("kill", ["node-2"]),
        ("broker", ["broker"]),
        ("coordinator", ["coordinator"]),
        ("everything", ["broker", "coordinator", "node-1", "node-2"]),
        ("layer", ["node-2"]),
    ],
)
def test_kill_hits_the_named_programs_only(place: Place, deed: str, hit: list[str]) -> None:
    """Those and no others, the relay never; it is told before, and held against nobody."""
    place.obey(deed)
    assert place.story == ["struck", *((place.victims[name].process, signal.SIGKILL) for name in hit)]
    assert [victim.name for victim in place.victims.values() if victim.struck] == hit


@pytest.mark.parametrize(
    ("deed", "number"),
    [("terminate", signal.SIGTERM), ("interrupt", signal.SIGINT), ("all", signal.SIGTERM), ("layer", signal.SIGKILL)],
)
def test_terminate_hits_all_named_nodes_at_once(place: Place, deed: str, number: signal.Signals) -> None:
    """All nodes that are named, and it is held against none of them."""
    place.obey(deed, nodes=["node-1", "node-2"])
    hit = [place.victims[name] for name in ("node-1", "node-2")]
    assert place.story == ["struck", *((victim.process, number) for victim in hit)]
    assert all(victim.struck for victim in hit)


def test_the_broker_is_stopped_for_a_time(place: Place) -> None:
    """For the time that was drawn, because no event says that it is enough; until then it counts as held."""
    place.obey("stop-broker", at_most_ms=1_500.0)
    broker = place.victims["broker"].process
    assert place.disturber.held() == {broker}
    place.now += 1.5
    assert place.disturber.release_what_is_due() is None and place.disturber.held() == set()
    assert place.story == ["struck", (broker, signal.SIGSTOP), (broker, signal.SIGCONT), "released"]


def test_stopped_program_goes_on_when_it_is_released(place: Place) -> None:
    """After the time that was said, and not before; once."""
    process = place.victims["node-2"].process
    place.obey("pause")
    assert place.disturber.release_what_is_due() == 5.0
    place.obey("release", after_ms=250.0)
    assert place.disturber.release_what_is_due() == 0.25
    place.now += 0.25
    assert place.disturber.release_what_is_due() is None
    assert place.story == ["struck", (process, signal.SIGSTOP), (process, signal.SIGCONT), "released"]
    place.obey("release", after_ms=0.0)
    assert place.disturber.release_what_is_due() is None


def test_held_program_is_released_after_a_while(place: Place) -> None:
    """Though nobody says that it is enough; nor beyond the end of the run."""
    place.obey("pause")
    place.now += 5.0
    place.disturber.release_what_is_due()
    assert place.story[-1] == "released"
    place.obey("pause", number=2)
    place.disturber.release_all()
    assert place.story[-2:] == [(place.victims["node-2"].process, signal.SIGCONT), "released"]


def test_program_that_died_meanwhile_is_not_released(place: Place) -> None:
    """Its number may be somebody else's by now."""
    place.obey("pause")
    place.victims["node-2"].process = 77
    place.disturber.release_all()
    assert place.story[-1] == "released" and (77, signal.SIGCONT) not in place.story


def test_partitioned_node_is_connected_again(place: Place) -> None:
    """By the relay, and no signal is sent."""
    place.obey("partition")
    place.disturber.release_all()
    assert os.read(place.read, 100) == b"cut node-2\nheal node-2\n"
    assert place.story == ["struck", "released"]


def test_fault_without_a_target_hits_nothing(place: Place) -> None:
    """A program that is down at that moment: nothing is hit, nothing stays held."""
    del place.victims["node-2"]
    place.obey("pause")
    assert place.story == ["struck", "released"]
    assert place.disturber.release_what_is_due() is None
