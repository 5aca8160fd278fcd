"""Training steps that are sent without waiting for the end of the one before: what the `chain` of a data message says.

A group begins a pass that follows only when all of the step before it is over here. So nothing overlaps within a group, and
no number changes; but its next input is there when it is done, and the coordinator's way is not waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from neuron_node.messages import Data, Stage, Target

FOLLOWS = 1
"""The pass is not to be begun before the step whose last pass has the number before this step's first is over here."""
FOLLOWED = 2
"""The next step is sent without waiting for the end of this one."""
HELD_AT_MOST = 256


class Known(Protocol):
    """A pass that has been begun."""

    state: Stage
    parts: int


def may_begin(first_pass: int, begun: Mapping[int, Known]) -> bool:
    """Whether all of the step is over that a step follows: each of its passes has been begun, and is done."""
    last = begun.get(first_pass - 1)
    if last is None:
        return False
    before = [begun.get(number) for number in range(first_pass - last.parts, first_pass)]
    return all(one is not None and one.state is Stage.DONE for one in before)


class Held:
    """Inputs and targets that came before their pass may begin, and took the long way."""

    def __init__(self) -> None:
        self._messages: dict[tuple[int, bool], Data] = {}

    def __bool__(self) -> bool:
        return bool(self._messages)

    def keep(self, message: Data) -> None:
        """Hold a message; of two that differ in their attempt only, the later one."""
        key = message.header.pass_number, isinstance(message, Target)
        before = self._messages.get(key)
        if before is not None or len(self._messages) < HELD_AT_MOST:
            self._messages[key] = message if before is None or message.attempt > before.attempt else before

    def take(self, begun: Mapping[int, Known], oldest_pass: int) -> list[Data]:
        """Those that may be heard by now, in the order of their passes, of one step at a time; what is over is forgotten."""
        self._messages = {key: message for key, message in self._messages.items() if key[0] >= oldest_pass}
        first = min((message.header.pass_number - message.part for message in self._messages.values()), default=0)
        if not self._messages or not may_begin(first, begun):
            return []
        keys = sorted(key for key, message in self._messages.items() if key[0] - message.part == first)
        return [self._messages.pop(key) for key in keys]
