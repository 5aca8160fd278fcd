"""Training steps in flight, in order.

The next step is sent while one is in flight, so that no group waits for the coordinator. Steps end in order, even if
their results arrive in another order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from coordinator.core.passes import InFlightPass

AT_ONCE = 2
"""Steps in flight: the one that the network works on, and the next one, whose inputs are sent ahead."""


class SentStep(NamedTuple):
    """A step that was sent, and whether a snapshot was being taken at the same time."""

    step: int
    first_pass: int
    parts: int
    slowed: bool


class Steps:
    """The steps since a snapshot, or since the beginning."""

    def __init__(self, step: int) -> None:
        self.latest = step
        """The last step that was sent."""
        self.followed = False
        """Whether another step was announced to the groups."""
        self._in_flight: deque[SentStep] = deque()
        self._done: dict[int, list[InFlightPass]] = {}
        """Finished parts by the first pass of their step."""

    @property
    def another_is_due(self) -> bool:
        """Whether the next step must be sent now, because it was announced."""
        return self.followed and len(self._in_flight) < AT_ONCE

    @property
    def in_flight(self) -> bool:
        """Whether any step is in flight."""
        return bool(self._in_flight)

    def send(self, sent: SentStep, *, followed: bool) -> None:
        """Note that a step was sent."""
        self.latest, self.followed = sent.step, followed
        self._in_flight.append(sent)

    def finish(self, flight: InFlightPass) -> Iterator[tuple[SentStep, list[InFlightPass]]]:
        """Note a finished pass; yield the steps that end with it, each with its parts in order."""
        self._done.setdefault(flight.number - flight.part, []).append(flight)
        while self._in_flight:
            sent = self._in_flight[0]
            parts = self._done.get(sent.first_pass, [])
            if len(parts) < sent.parts:
                return
            self._in_flight.popleft()
            yield sent, sorted(self._done.pop(sent.first_pass), key=lambda part: part.part)
