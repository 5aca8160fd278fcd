"""Programs as machines on a network in memory: encoded frames travel from one to the other, never shared arrays.

It carries what the broker carries, in an order that the caller chooses. Saved models predict on it without any process,
and tests show on it that no order of delivery changes a weight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import GenerationPersisted, Persist, Persisted, PersistGeneration
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import JobError
from neuron_node.events import End, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.identity import NodeIdentity
from neuron_node.machine import Machine
from neuron_node.node import Node

TICK_MS = 125.0
QUIET_TICKS_AT_MOST = 2_000


class MemoryNetwork:
    """Machines, who hears which address, and the frames under way to each."""

    def __init__(self, choose: Callable[[int], int] = lambda _waiting: 0) -> None:
        """`choose` picks, of so many programs that have frames waiting, the one that gets its next frame."""
        self.now_ms = 0.0
        self.actions: list[Any] = []
        self._choose = choose
        self._machines: list[Machine] = []
        self._hearers: dict[bytes, list[int]] = {}
        self._waiting: dict[int, deque[bytes]] = {}
        self._ended: set[int] = set()

    def add(self, machine: Machine) -> int:
        """Let a program live on this network; its number here."""
        number = len(self._machines)
        self._machines.append(machine)
        self._perform(number, machine.start(self.now_ms))
        return number

    def send(self, frame: bytes) -> None:
        """Put a frame on the network."""
        for hearer in self._hearers.get(frame[:ADDRESS_LENGTH], ()):
            self._waiting.setdefault(hearer, deque()).append(frame)

    def hear(self, address: bytes, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with every frame sent to an address."""
        self.add(_Listener(address, heard))

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Deliver frames, and let time pass whenever none is left. Raises `JobError` if nothing comes of it."""
        silent = 0
        with quiet():
            while not condition():
                if self._waiting:
                    self._deliver()
                    continue
                silent += 1
                if silent > QUIET_TICKS_AT_MOST:
                    raise JobError("the network in memory fell silent")
                self.now_ms += TICK_MS
                for number in range(len(self._machines)):
                    self._handle(number, Tick())

    def _deliver(self) -> None:
        programs = sorted(self._waiting)
        program = programs[self._choose(len(programs))] if len(programs) > 1 else programs[0]
        frames = self._waiting[program]
        frame = frames.popleft()
        if not frames:
            del self._waiting[program]
        self._handle(program, Received(frame))

    def _handle(self, number: int, event: Any) -> None:
        if number not in self._ended:
            self._perform(number, self._machines[number].handle(event, self.now_ms))

    def _perform(self, number: int, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    self.send(message)
                case Subscribe(address):
                    self._hearers.setdefault(address, []).append(number)
                case Unsubscribe(address):
                    self._hearers[address].remove(number)
                case End(_):
                    self._ended.add(number)
                case Persist(snapshot):
                    self.actions.append(action)
                    self._handle(number, Persisted(snapshot.step))
                case PersistGeneration(generation):
                    self._handle(number, GenerationPersisted(generation))
                case _:
                    self.actions.append(action)


class _Listener:
    def __init__(self, address: bytes, heard: Callable[[bytes], None]) -> None:
        self._address = address
        self._heard = heard

    def start(self, _now_ms: float) -> list[Any]:
        return [Subscribe(self._address)]

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        return self.receive([event.message], now_ms) if isinstance(event, Received) else []

    def receive(self, messages: Sequence[bytes], _now_ms: float) -> list[Any]:
        for message in messages:
            self._heard(message)
        return []


def network_of(
    plan: RunPlan, choose: Callable[[int], int] = lambda _waiting: 0
) -> tuple[MemoryNetwork, CoordinatorMachine]:
    """A coordinator and the nodes of its plan, on one network."""
    network = MemoryNetwork(choose)
    return network, add_run(network, plan)


def add_run(network: MemoryNetwork, plan: RunPlan) -> CoordinatorMachine:
    """Let a coordinator and the nodes of its plan live on a network."""
    coordinator = CoordinatorMachine(plan)
    network.add(coordinator)
    for number in range(1, coordinator.assignment.nodes_needed + 1):
        incarnation = number.to_bytes(IDENTITY_LENGTH, "big")
        born = NodeIdentity(incarnation, f"node-{number}", "memory", number, "memory", plan.fingerprint)
        network.add(Node(born))
    return coordinator
