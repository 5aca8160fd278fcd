"""The network in memory, disturbed: messages are lost or come twice, programs die, hang, lose their link and come back.

Everything that happens follows from a seed. Frames are encoded, as on the wire. As the relay does it, a message may be
joined to one for the same address that waits; a joined message may be lost, and a program may take several at once.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.in_memory import MemoryNetwork
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.events import End, LinkLost, Received, Subscribe, Unsubscribe
from neuron_node.frames import frames_in
from neuron_node.identity import NodeIdentity
from neuron_node.machine import Machine
from neuron_node.node import Node

DELIVERIES_AT_MOST = 400_000
JOINED, TAKEN_AT_ONCE = 50.0, 30.0
"""Percentages of all messages that could be."""


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

    def receive(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Any]:
        """What it does with messages that it takes at once."""
        return self._act(lambda: self._received(messages, now_ms), now_ms)

    def _received(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Any]:
        machine: Any = self.machine
        actions = machine.receive(messages, now_ms)
        while machine.has_deferred_work:
            actions = [*actions, *machine.run_deferred(now_ms)]
        return list(actions)

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        """What the machine does, if it still lives and does not hang."""
        if isinstance(event, Received):
            return self.receive([event.message], now_ms)
        return self._act(lambda: self.machine.handle(event, now_ms), now_ms)

    def _act(self, act: Callable[[], Sequence[Any]], now_ms: float) -> Sequence[Any]:
        if self.dead or self.hung:
            return []
        actions: list[Any] = []
        if self._link_lost:
            self._link_lost = False
            actions += [Unsubscribe(address) for address in self._subscriptions]
            self._subscriptions = {}
            # What had arrived in the old sockets is lost with them, so the event is not handled.
            return [*actions, *self._note(self.machine.handle(LinkLost(), now_ms))]
        return self._note(act())

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
    """A coordinator and a node a group. `lost` and `doubled` are percentages of all messages."""

    def __init__(self, plan: RunPlan, seed: int = 0, lost: float = 0.0, doubled: float = 0.0) -> None:
        order = Dice(seed, "order")
        super().__init__(order.below)
        self._fate = Dice(seed, "fate")
        self._lost, self._doubled = lost, doubled
        self.frames = self.frames_lost = self.frames_doubled = self.messages_joined = 0
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
        born = NodeIdentity(self._lives.to_bytes(8, "big"), name, "memory", self._lives, "0.2.0", self.plan.fingerprint)
        life = Life(Node(born))
        self.add(life)
        return life

    def replace(self, name: str) -> None:
        """kill -9 a node, and let its supervisor start it again."""
        self.nodes[name].dead = True
        self.nodes[name] = self.start_node(name)

    def send(self, message: bytes) -> None:
        """Put a message on the network, or lose it, or send it twice."""
        self.frames += 1
        if self._fate.falls(self._lost):
            self.frames_lost += 1
            return
        self._join(message)
        if self._fate.falls(self._doubled):
            self.frames_doubled += 1
            self._join(message)

    def _join(self, message: bytes) -> None:
        """Half of all messages are joined to the last one that waits for a program, if that goes to the same address."""
        address = message[:ADDRESS_LENGTH]
        for hearer in self._subscribers.get(address, ()):
            waiting = self._waiting.setdefault(hearer, deque())
            if waiting and waiting[-1].startswith(address) and self._fate.falls(JOINED):
                self.messages_joined += 1
                waiting[-1] += message[ADDRESS_LENGTH:]
            else:
                waiting.append(message)

    def _deliver(self) -> None:
        """A program takes its next message, or all that wait for it; now and then one that was joined is lost instead."""
        programs = sorted(self._waiting)
        program = programs[self._choose(len(programs))] if len(programs) > 1 else programs[0]
        waiting = self._waiting[program]
        taken = [waiting.popleft() for _ in range(len(waiting) if self._fate.falls(TAKEN_AT_ONCE) else 1)]
        if not waiting:
            del self._waiting[program]
        if program not in self._ended:
            kept = [message for message in taken if not (self._lost and self._is_lost(message))]
            self._perform(program, self._machines[program].receive(kept, self.now_ms) if kept else [])

    def _is_lost(self, message: bytes) -> bool:
        if frames_in(message) == 1 or not self._fate.falls(self._lost):
            return False
        self.frames_lost += 1
        return True

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
            self.run(lambda step=step: self.coordinator.trainer.steps_done >= step)  # type: ignore[misc]
            happen()
        self.run()

    def sha256(self) -> str:
        """Of the trained network."""
        assert self.coordinator.finished is not None
        return str(self.coordinator.finished["weights_sha256"])
