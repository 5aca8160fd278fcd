"""A network in memory that runs machines in one process. They exchange encoded frames, and share no arrays.

It delivers the messages that a broker would deliver, in an order that the caller chooses. Saved models predict on it without
processes, and tests use it to show that no order of delivery changes a weight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import (
    Answer,
    GenerationPersisted,
    ListSnapshots,
    LoadSnapshot,
    Persist,
    Persisted,
    PersistGeneration,
    SnapshotLoaded,
    SnapshotsListed,
)
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import JobError
from neuron_node.events import Die, End, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.identity import NodeIdentity
from neuron_node.machine import Machine
from neuron_node.node import Node
from neuron_node.protocol import Reply

TICK_MS = 125.0
QUIET_TICKS_AT_MOST = 2_000


class MemoryNetwork:
    """Machines, the subscribers of each address, and the messages that wait for delivery."""

    def __init__(self, choose: Callable[[int], int] = lambda _waiting: 0) -> None:
        """`choose` gets the number of machines for which a message waits, and picks the one that receives its next message."""
        self.now_ms = 0.0
        self.actions: list[Any] = []
        self.answers: dict[bytes, Reply] = {}
        """The answers of the coordinators, by request."""
        self._choose = choose
        self._machines: list[Machine] = []
        self._subscribers: dict[bytes, list[int]] = {}
        self._waiting: dict[int, deque[bytes]] = {}
        self._ended: set[int] = set()

    def add(self, machine: Machine) -> int:
        """Start a machine on this network; return its number."""
        number = len(self._machines)
        self._machines.append(machine)
        self._perform(number, machine.start(self.now_ms))
        return number

    def send(self, message: bytes) -> None:
        """Send a message to all subscribers of its address."""
        for subscriber in self._subscribers.get(message[:ADDRESS_LENGTH], ()):
            self._waiting.setdefault(subscriber, deque()).append(message)

    def subscribe(self, address: bytes, receive: Callable[[bytes], None]) -> None:
        """Call `receive` with every message to an address."""
        self.add(_Subscriber(address, receive))

    def give(self, number: int, event: Any) -> None:
        """Let a machine handle an event that is no message."""
        self._handle(number, event)

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Deliver messages until the condition holds; when none waits, advance the time.

        Raises `JobError` if the network stays silent.
        """
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
        messages = self._waiting[program]
        message = messages.popleft()
        if not messages:
            del self._waiting[program]
        self._handle(program, Received(message))

    def _handle(self, number: int, event: Any) -> None:
        if number not in self._ended:
            self._perform(number, self._machines[number].handle(event, self.now_ms))

    def _perform(self, number: int, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    self.send(message)
                case Subscribe(address):
                    self._subscribers.setdefault(address, []).append(number)
                case Unsubscribe(address):
                    self._subscribers[address].remove(number)
                case End(_) | Die():
                    self._ended.add(number)
                case Persist(snapshot):
                    self.actions.append(action)
                    self._handle(number, Persisted(snapshot.step))
                case LoadSnapshot():
                    self._handle(number, self._kept(action))
                case ListSnapshots(request_id):
                    kept = {(each.snapshot.changes.branch, each.snapshot.step) for each in self._persisted()}
                    self._handle(number, SnapshotsListed(request_id, tuple(sorted(kept))))
                case PersistGeneration(generation):
                    self._handle(number, GenerationPersisted(generation))
                case Answer(request_id, reply):
                    self.answers[request_id] = reply
                case _:
                    self.actions.append(action)

    def _persisted(self) -> list[Persist]:
        return [action for action in self.actions if isinstance(action, Persist)]

    def _kept(self, wanted: LoadSnapshot) -> SnapshotLoaded:
        kept = [action.snapshot for action in reversed(self._persisted())]
        for segment in wanted.segments:
            for snapshot in kept:
                if snapshot.step == wanted.step and segment.has(snapshot.changes.branch, wanted.step):
                    return SnapshotLoaded(wanted.request_id, snapshot)
        return SnapshotLoaded(wanted.request_id, None, f"no snapshot after step {wanted.step:,} is kept")


class _Subscriber:
    def __init__(self, address: bytes, receive: Callable[[bytes], None]) -> None:
        self._address = address
        self._receive = receive

    def start(self, _now_ms: float) -> list[Any]:
        return [Subscribe(self._address)]

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        return self.receive([event.message], now_ms) if isinstance(event, Received) else []

    def receive(self, messages: Sequence[bytes], _now_ms: float) -> list[Any]:
        for message in messages:
            self._receive(message)
        return []


def network_of(
    plan: RunPlan, choose: Callable[[int], int] = lambda _waiting: 0
) -> tuple[MemoryNetwork, CoordinatorMachine]:
    """Return a network with a coordinator and the nodes of its plan, and the coordinator."""
    network = MemoryNetwork(choose)
    return network, add_run(network, plan)


def add_run(network: MemoryNetwork, plan: RunPlan) -> CoordinatorMachine:
    """Start a coordinator and the nodes of its plan on a network; return the coordinator."""
    coordinator = CoordinatorMachine(plan)
    network.add(coordinator)
    for number in range(1, coordinator.assignment.nodes_needed + 1):
        incarnation = number.to_bytes(IDENTITY_LENGTH, "big")
        born = NodeIdentity(incarnation, f"node-{number}", "memory", number, "memory", plan.fingerprint)
        network.add(Node(born))
    return coordinator
