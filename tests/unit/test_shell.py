"""The shell: time passes for a machine as often as the machine wants it."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from neuron_node import shell
from neuron_node.events import End, Tick
from neuron_node.intake import OneByOne
from neuron_node.shell import Shell
from neuron_node.wiring import Link


class Silence:
    """A link on which nothing comes, and the clock beside it: a wait takes as long as the link was told."""

    def __init__(self, wait_ms: float) -> None:
        self.now_ms = 0.0
        self.wait_ms = wait_ms

    def receive_many(self, _most: int) -> list[bytes]:
        self.now_ms += self.wait_ms
        return []

    def wait_at_most(self, milliseconds: int) -> None:
        self.wait_ms = milliseconds

    def broken(self) -> bool:
        return False

    def send(self, _frame: bytes) -> bool:
        raise AssertionError("nothing is to be sent")


class Impatient:
    """A machine that wants to look at the time after these intervals, and ends with the last of them."""

    def __init__(self, *intervals_ms: float) -> None:
        self.intake = OneByOne()
        self.tick_interval_ms = intervals_ms[0]
        self.ticked_ms: list[float] = []
        self._later_ms = [*intervals_ms[1:], intervals_ms[-1]]

    def start(self, _now_ms: float) -> Sequence[Any]:
        return []

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        assert isinstance(event, Tick)
        self.ticked_ms.append(now_ms)
        self.tick_interval_ms = self._later_ms[len(self.ticked_ms) - 1]
        return [End(0)] if len(self.ticked_ms) == len(self._later_ms) else []

    def receive(self, _frame: bytes, _now_ms: float) -> Sequence[Any]:
        raise AssertionError("nothing has come")

    def take(self, _frames: list[bytes], _now_ms: float) -> Sequence[Any]:
        raise AssertionError("nothing has come")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The shell takes over signals; afterwards they are the tests' again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_time_passes_as_often_as_the_machine_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """From one tick to the next the interval may change; the link waits no longer than that, and not needlessly short."""
    link, machine = Silence(250.0), Impatient(250.0, 1_250.0, 1_250.0, 100.0)
    monkeypatch.setattr(shell, "_now_ms", lambda: link.now_ms)
    assert Shell(machine, cast("Link", link)).run() == 0
    assert [later - sooner for sooner, later in itertools.pairwise([0.0, *machine.ticked_ms])] == [
        250.0,
        1_250.0,
        1_250.0,
        100.0,
    ]
