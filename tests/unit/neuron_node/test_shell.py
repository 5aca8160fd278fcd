"""The shell: time passes for a machine as often as the machine wants it."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from neuron_node import shell
from neuron_node.events import End, Send, Tick
from neuron_node.shell import Shell
from neuron_node.transport import Link


class Silence:
    """A link on which nothing comes, and the clock beside it: a wait takes as long as the link was told."""

    def __init__(self, wait_ms: float) -> None:
        self.now_ms = 0.0
        self.wait_ms = wait_ms

    def receive_many(self, _wanted: int) -> list[bytes]:
        self.now_ms += self.wait_ms
        return []

    def wait_at_most(self, milliseconds: int) -> None:
        self.wait_ms = milliseconds

    accepted = True

    def broken(self) -> bool:
        return False

    def send(self, _frame: bytes) -> bool:
        raise AssertionError("nothing is to be sent")


class Impatient:
    """A machine that wants to look at the time after these intervals, and ends with the last of them."""

    def __init__(self, *intervals_ms: float) -> None:
        self.wanted = 1
        self.has_deferred_work = False
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

    def receive(self, _messages: Sequence[bytes], _now_ms: float) -> Sequence[Any]:
        raise AssertionError("nothing has come")

    def run_deferred(self, _now_ms: float) -> Sequence[Any]:
        raise AssertionError("nothing was put off")


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


class Arrivals(Silence):
    """A link on which these messages come, each asked for with how many frames were wanted."""

    def __init__(self, *portions: list[bytes]) -> None:
        super().__init__(1.0)
        self.portions = list(portions)
        self.wanted: list[int] = []
        self.done: list[str] = []

    def receive_many(self, wanted: int) -> list[bytes]:
        self.wanted.append(wanted)
        return self.portions.pop(0)

    def send(self, frame: bytes) -> bool:
        self.done.append(f"sent {frame.decode()}")
        return True


class Deferring(Impatient):
    """A machine that answers each message and puts twice as much work off."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(1e9)
        self._done = done
        self._left = 0

    def receive(self, messages: Sequence[bytes], _now_ms: float) -> Sequence[Any]:
        self.wanted, self._left, self.has_deferred_work = self.wanted + 2, 2, True
        self._done.append(f"received {b' '.join(messages).decode()}")
        return [Send(b"answer")]

    def run_deferred(self, _now_ms: float) -> Sequence[Any]:
        self._left -= 1
        self.has_deferred_work = self._left > 0
        self._done.append("worked")
        return [Send(b"result")] if self.has_deferred_work else [End(3)] if len(self._done) > 8 else []


def test_deferred_work_is_done_after_the_answer_was_sent() -> None:
    """All of it, before the next messages are waited for; and the link is told how much the machine wants."""
    link = Arrivals([b"one", b"two"], [b"three"])
    assert Shell(Deferring(link.done), cast("Link", link)).run() == 3
    assert link.wanted == [1, 3]
    one_round = ["sent answer", "worked", "sent result", "worked"]
    assert link.done == ["received one two", *one_round, "received three", *one_round]
