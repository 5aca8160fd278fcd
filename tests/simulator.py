"""The network in memory, disturbed: frames are lost or come twice, programs die, hang, lose their link and come back.

Everything that happens follows from a seed. Frames are encoded, as on the wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.machine.machine import CoordinatorMachine
from coordinator.machine.plan import Plan
from coordinator.memory_network import MemoryNetwork
from neuron_node.events import End, LinkLost, Received, Subscribe, Unsubscribe
from neuron_node.life import Self
from neuron_node.machine import NodeMachine
from neuron_node.shell import Machine

DELIVERIES_AT_MOST = 400_000


class Dice:
    """A frozen stream of choices, keyed by a seed."""

    def __init__(self, seed: int, name: str) -> None:
        self._key = f"{name} {seed}"
        self._block = 0
        self._bytes = b""

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1 (count is small)."""
        if len(self._bytes) < 2:
            self._bytes = hashlib.shake_256(f"{self._key} {self._block}".encode()).digest(4096)
            self._block += 1
        word, self._bytes = self._bytes[:2], self._bytes[2:]
        return int.from_bytes(word, "little") % count

    def falls(self, percent: float) -> bool:
        """Whether something happens that happens so often."""
        return self.below(10_000) < percent * 100


class Life:
    """One life of a program: it can be ended as by kill -9, made to hang, and lose its link."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dead = False
        self.hung = False
        self.ended: int | None = None
        self._link_lost = False
        self._subscriptions: dict[bytes, None] = {}

    def lose_link(self) -> None:
        """At the next event the program finds new sockets in place of the old ones."""
        self._link_lost = True

    def start(self, now_ms: float) -> Sequence[Any]:
        """The first actions."""
        return self._note(self.machine.start(now_ms))

    def receive(self, frame: bytes, now_ms: float) -> Sequence[Any]:
        """What it does with a frame."""
        return self.handle(Received(frame), now_ms)

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        """What the machine does, if it still lives and does not hang."""
        if self.dead or self.hung:
            return []
        actions: list[Any] = []
        if self._link_lost:
            self._link_lost = False
            actions += [Unsubscribe(address) for address in self._subscriptions]
            self._subscriptions = {}
            # What had arrived in the old sockets is lost with them, so the event is not handled.
            return [*actions, *self._note(self.machine.handle(LinkLost(), now_ms))]
        return self._note(self.machine.handle(event, now_ms))

    def _note(self, actions: Sequence[Any]) -> Sequence[Any]:
        for action in actions:
            if isinstance(action, Subscribe):
                self._subscriptions[action.address] = None
            elif isinstance(action, Unsubscribe):
                self._subscriptions.pop(action.address, None)
            elif isinstance(action, End):
                self.ended = action.code
        return actions


class Simulator(MemoryNetwork):
    """A coordinator and a node a group. `lost` and `doubled` are percentages of all frames."""

    def __init__(self, plan: Plan, seed: int = 0, lost: float = 0.0, doubled: float = 0.0) -> None:
        order = Dice(seed, "order")
        super().__init__(order.below)
        self._fate = Dice(seed, "fate")
        self._lost, self._doubled = lost, doubled
        self.frames = self.frames_lost = self.frames_doubled = 0
        self.plan = plan
        self.coordinator = CoordinatorMachine(plan)
        self.deliveries = 0
        self._lives = 0
        self.coordinator_life = Life(self.coordinator)
        self.add(self.coordinator_life)
        self.nodes = {
            f"node-{number}": self.start_node(f"node-{number}") for number in self.coordinator.topology.groups
        }

    def start_node(self, name: str) -> Life:
        """A new life of a node, under a new incarnation."""
        self._lives += 1
        born = Self(self._lives.to_bytes(8, "big"), name, "memory", self._lives, "0.1.0", self.plan.fingerprint)
        life = Life(NodeMachine(born))
        self.add(life)
        return life

    def replace(self, name: str) -> None:
        """kill -9 a node, and let its supervisor start it again."""
        self.nodes[name].dead = True
        self.nodes[name] = self.start_node(name)

    def send(self, frame: bytes) -> None:
        """Put a frame on the network, or lose it, or send it twice."""
        self.frames += 1
        if self._fate.falls(self._lost):
            self.frames_lost += 1
            return
        super().send(frame)
        if self._fate.falls(self._doubled):
            self.frames_doubled += 1
            super().send(frame)

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Until the run has finished, or the condition holds. A run that does neither fails."""

        def over() -> bool:
            self.deliveries += 1
            assert self.deliveries < DELIVERIES_AT_MOST, "the run does not come to an end"
            assert self.coordinator.failure is None, self.coordinator.failure
            return self.coordinator.finished is not None if until is None else until()

        self.run_until(over)

    def disturb(self, moments: dict[int, Callable[[], None]]) -> None:
        """Let the run finish, and let something happen when it first has taken so many steps in all."""
        for step, happen in sorted(moments.items()):
            self.run(lambda step=step: self.coordinator.course.steps_done >= step)  # type: ignore[misc]
            happen()
        self.run()

    def sha256(self) -> str:
        """Of the trained network."""
        assert self.coordinator.finished is not None
        return str(self.coordinator.finished["weights_sha256"])
