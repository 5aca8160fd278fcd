"""Measures the recoveries of a run with faults: their times, repeated steps and stale messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

ADVANCES_WITHOUT_A_WORD = 10
"""After this number of reports with further steps and no recovery, the fault has hit a program that was not needed."""
OF_THE_BROKER = ("broker", "stop-broker")


class Sample(NamedTuple):
    """One recovery: the kind of the fault, and the time from the fault until the interrupted step was done."""

    kind: str
    seconds: float


@dataclass
class _Expected:
    """A fault from which the run has not yet recovered."""

    kind: str
    at: float
    step: int
    """The highest step that was reported before the fault. The interrupted step is a later one."""
    noticed: bool = False
    wired: bool = False
    advances: int = 0
    first_report: int | None = None

    @property
    def marked(self) -> bool:
        """Whether the coordinator has reported the fault. The death of a broker does not raise the generation."""
        return self.noticed or self.wired or self.kind in OF_THE_BROKER

    def gone_on(self, step: int) -> bool:
        """Return whether a report of progress shows that the run continues. Without a new generation, this is the second step
        after the first report, because one step may have been under way during the fault.
        """
        if self.wired:
            return step > self.step
        return self.kind in OF_THE_BROKER and self.first_report is not None and step > self.first_report + 1


class Recoveries:
    """Receives all events of a run, and keeps the figures over all processes of its coordinator."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.highest_step = 0
        self.steps_repeated_most = 0
        self._reported = 0
        self._expected: dict[int, _Expected] = {}
        self._stale_before = 0
        self._stale = 0
        self._restarted = False

    @property
    def stale_messages(self) -> int:
        """Messages of replaced programs and earlier generations, all of them ignored."""
        return self._stale_before + self._stale

    def expect(self, number: int, kind: str, now: float) -> None:
        """Expect a fault."""
        self._expected[number] = _Expected(kind, now, self.highest_step)

    def reached(self, step: int) -> None:
        """Note a number of finished steps without a report of progress."""
        self.highest_step = max(self.highest_step, step)

    def noticed(self, number: int) -> bool:
        """Return whether the coordinator has gone back to a snapshot after the fault."""
        return number in self._expected and self._expected[number].noticed

    def handle(self, event: str, facts: Mapping[str, Any], now: float) -> list[int]:
        """Handle an event at a time in seconds; return the faults from which the network has recovered."""
        match event:
            case "struck":
                return self._has_struck(facts)
            case "recovery":
                self._went_back(facts["step"])
                for expected in self._expected.values():
                    expected.noticed = True
            case "ended" if facts["program"] == "coordinator":
                self._stale_before, self._stale, self._restarted = self.stale_messages, 0, True
            case "wired":
                for expected in self._expected.values():
                    expected.wired = True
            case "progress":
                return self._progress(facts, now)
            case "recovered":
                self._reported = max(self._reported, facts["step"])
                self.reached(facts["step"])
                return self._recovered([number for number, expected in self._expected.items() if expected.marked], now)
            case "finished":
                self._stale = facts.get("stale_messages", self._stale)
                return self._recovered(list(self._expected), now)
        return []

    def _has_struck(self, facts: Mapping[str, Any]) -> list[int]:
        number = facts["number"]
        # The run may have finished before the coordinator noticed the fault.
        if expected := self._expected.get(number):
            expected.at = facts["at"]
            if not facts["programs"]:
                # There was no program to hit.
                del self._expected[number]
                return [number]
        return []

    def _progress(self, facts: Mapping[str, Any], now: float) -> list[int]:
        step: int = facts["step"]
        self._stale = facts.get("stale_messages", self._stale)
        if self._restarted:
            self._restarted = False
            self._went_back(step)
        for expected in self._expected.values():
            expected.advances += step > self._reported
            if expected.first_report is None:
                expected.first_report = step
        self._reported = max(self._reported, step)
        self.reached(step)
        gone_on = self._recovered([number for number, e in self._expected.items() if e.gone_on(step)], now)
        harmless = [
            number
            for number, expected in self._expected.items()
            if expected.advances >= ADVANCES_WITHOUT_A_WORD and not expected.marked
        ]
        for number in harmless:
            del self._expected[number]
        return gone_on + harmless

    def _went_back(self, step: int) -> None:
        self.steps_repeated_most = max(self.steps_repeated_most, self.highest_step - step)

    def _recovered(self, numbers: list[int], now: float) -> list[int]:
        for number in numbers:
            expected = self._expected.pop(number)
            self.samples.append(Sample(expected.kind, now - expected.at))
        return numbers
