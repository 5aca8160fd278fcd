"""Training steps that have been sent into the network and are not over, in their order.

The next step is sent while one is under way, so that no group waits for the coordinator. Whatever
comes first, steps are over one after the other: what a lost message keeps is waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from coordinator.core.passes import InFlightPass

AT_ONCE = 2
"""Steps under way: one that the network works at, and the next one's inputs."""


class SentStep(NamedTuple):
    """A step that was sent, and whether a snapshot was being taken meanwhile."""

    step: int
    first_pass: int
    parts: int
    slowed: bool


class Steps:
    """From a snapshot, or the beginning, on."""

    def __init__(self, step: int) -> None:
        self.latest = step
        """The last step that was sent."""
        self.followed = False
        """Whether the groups have been told that another one follows it."""
        self._in_flight: deque[SentStep] = deque()
        self._done: dict[int, list[InFlightPass]] = {}
        """Parts that are done, by the first pass of their step."""

    @property
    def another_is_due(self) -> bool:
        """Whether the next step is to be sent now, because it was promised."""
        return self.followed and len(self._in_flight) < AT_ONCE

    @property
    def in_flight(self) -> bool:
        """Whether any is."""
        return bool(self._in_flight)

    def send(self, sent: SentStep, *, followed: bool) -> None:
        """One more is on its way."""
        self.latest, self.followed = sent.step, followed
        self._in_flight.append(sent)

    def finish(self, flight: InFlightPass) -> Iterator[tuple[SentStep, list[InFlightPass]]]:
        """A pass is done: the steps that are over with it, each with its parts in order."""
        self._done.setdefault(flight.number - flight.part, []).append(flight)
        while self._in_flight:
            sent = self._in_flight[0]
            parts = self._done.get(sent.first_pass, [])
            if len(parts) < sent.parts:
                return
            self._in_flight.popleft()
            yield sent, sorted(self._done.pop(sent.first_pass), key=lambda part: part.part)
