"""Live copies among the frames of a run, half of them with other numbers: `python -m tests.fuzz.copies --copies N`.

Every program also gets copies of frames that it has taken: at once, later, and when their pass is over; alone, joined to each
other, and joined to right frames; with the same attempt and with a higher one. The weights and every row of the metrics must be
those of the undisturbed run.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from random import Random
from typing import Any, NamedTuple

from coordinator.core.events import Persist, Row
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.in_memory import MemoryNetwork, add_run
from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS
from neuron_node.frames import parse, split
from tests.fuzz import plans
from tests.networks import weights_sha256

RECENT = 40
"""So many frames of each program are kept to be copied: those of several passes."""
JOINED_AT_MOST = 6
COPIES_AT_MOST = 60
"""Behind one message."""
TAKEN_AT_MOST = 4
HIGHER_ATTEMPT = 0.02
"""The share of copies that ask for a repetition: each makes a group send again."""


class Outcome(NamedTuple):
    """The weights and the metrics of a run."""

    sha256: str
    rows: list[Row]


class Copied(MemoryNetwork):
    """Gives each program copies of frames that it has had."""

    def __init__(self, random: Random, copies: int) -> None:
        super().__init__(random.randrange)
        self.copies_left = copies
        self.altered = 0
        self._random = random
        self._recent: dict[int, deque[tuple[bytes, bytes]]] = {}

    def _copy(self, program: int) -> tuple[bytes, bytes]:
        """The address and the bytes of a copy, every second one with other numbers."""
        random = self._random
        address, frame = random.choice(self._recent[program])
        self.copies_left -= 1
        changed: dict[str, Any] = {}
        data = parse(frame)
        if self.copies_left % 2:
            changed = {"values": data.values * random.uniform(-2.0, 2.0) + random.uniform(-1.0, 1.0)}
            self.altered += 1
        if random.random() < HIGHER_ATTEMPT:
            changed["attempt"] = data.attempt + random.randrange(1, 3)
        return address, data._replace(**changed).encode() if changed else frame

    def _deliver(self) -> None:
        random = self._random
        program = random.choice(sorted(self._waiting))
        waiting, messages = self._waiting[program], list[bytes]()
        for _ in range(random.randint(1, min(len(waiting), TAKEN_AT_MOST))):
            messages.append(waiting.popleft())
            self._add_copies(program, messages)
        if not waiting:
            del self._waiting[program]
        if program in self._ended:
            return
        machine: Any = self._machines[program]
        while messages:
            some, messages = messages[: (count := random.randint(1, len(messages)))], messages[count:]
            self._perform(program, machine.receive(some, self.now_ms))
            while machine.has_deferred_work:
                self._perform(program, machine.run_deferred(self.now_ms))

    def _add_copies(self, program: int, messages: list[bytes]) -> None:
        """Add copies behind the last message, of its frames and of earlier ones."""
        random = self._random
        if messages[-1][0] in DATA_LETTERS:
            frames = self._recent.setdefault(program, deque(maxlen=RECENT))
            frames += [(messages[-1][:ADDRESS_LENGTH], frame) for frame in split(messages[-1])]
        for _ in range(min(self.copies_left, random.randrange(COPIES_AT_MOST)) if program in self._recent else 0):
            address, frame = self._copy(program)
            last = messages[-1]
            if last.startswith(address) and len(split(last)) < JOINED_AT_MOST and random.random() < 0.5:
                messages[-1] = last + frame
            else:
                messages.append(address + frame)


def outcome_of(network: MemoryNetwork, plan: RunPlan) -> Outcome:
    """Do a run to its end."""
    coordinator: CoordinatorMachine = add_run(network, plan)

    def over() -> bool:
        assert coordinator.failure is None, coordinator.failure
        return coordinator.finished is not None

    network.run_until(over)
    rows = [row for action in network.actions if isinstance(action, Persist) for row in action.rows]
    return Outcome(weights_sha256(coordinator), [row._replace(seconds=0.0) for row in rows])


def copy_frames(plan: RunPlan, copies: int, seed: int) -> tuple[int, list[str]]:
    """Do a run again and again until it has had so many copies; how many were altered, and what differed."""
    should, altered, faults = outcome_of(MemoryNetwork(), plan), 0, list[str]()
    assert len(should.rows) == plan.schedule().steps
    while copies > 0 and not faults:
        network = Copied(Random(seed), copies)
        found = outcome_of(network, plan)
        faults += [f"seed {seed}: other weights"] * (found.sha256 != should.sha256)
        faults += [
            f"seed {seed}: {one} is not {other}"
            for one, other in zip(found.rows, should.rows, strict=True)
            if one != other
        ]
        altered += network.altered
        copies, seed = network.copies_left, seed + 1_000
    return altered, faults


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.copies", description=__doc__)
    parser.add_argument("--copies", type=int, default=1_000_000, help="in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    options = parser.parse_args(arguments)
    chosen, code = plans(), 0
    for plan in chosen:
        copies = -(-options.copies // len(chosen))
        altered, faults = copy_frames(plan, copies, options.seed)
        print(f"{copies:,} copies, {altered:,} altered: {faults[0] if faults else 'the same weights and metrics'}")
        code = code or int(bool(faults))
    return code


if __name__ == "__main__":
    sys.exit(main())
