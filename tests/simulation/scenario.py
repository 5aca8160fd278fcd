"""A simulated run in which a test chooses the faults, and a seed only the order of what happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import Persist
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.core.trainer import Trainer
from neuron_node.activations import quiet
from neuron_node.events import Subscribe
from neuron_node.protocol import Request
from tests.simulation.dice import Dice
from tests.simulation.invariants import Watch
from tests.simulation.network import Life
from tests.simulation.plans import reference_of
from tests.simulation.run_seed import check_success
from tests.simulation.world import World

EVENTS_AT_MOST = 400_000
RESTART_MS = 5.0
NEVER_MS = 1e9


class Scenario(World):
    """A coordinator with a node per group. `lost` and `doubled` are shares of all messages."""

    def __init__(self, plan: RunPlan, seed: int = 0, lost: float = 0.0, doubled: float = 0.0) -> None:
        super().__init__(plan, Dice(seed, "scenario"), Watch(reference_of(plan)))
        self.conditions.lost, self.conditions.doubled = lost, doubled
        self.conditions.restart_at_most_ms = RESTART_MS
        self.kept: list[Persist] = []
        """What was given to the disk."""
        self.start_coordinator()
        for number in range(1, plan.node_count() + 1):
            self.nodes[f"node-{number}"] = self.start_node(f"node-{number}")

    @property
    def machine(self) -> CoordinatorMachine:
        """The coordinator's machine."""
        assert self.coordinator is not None and isinstance(self.coordinator.machine, CoordinatorMachine)
        return self.coordinator.machine

    @property
    def trainer(self) -> Trainer:
        """The part of the coordinator's machine that trains."""
        return self.machine.trainer

    @property
    def steps_done(self) -> int:
        """Steps in all, also those that were rolled back."""
        return self.trainer.steps_done

    @property
    def hosts(self) -> set[str]:
        """The names of the nodes that host groups."""
        return {member.name for member in self.machine.membership.hosting()}

    @property
    def passes_under_way(self) -> int:
        """How many passes the coordinator has sent that are not over."""
        return len(self.trainer.in_flight.flights)

    @property
    def story_lines(self) -> list[str]:
        """The story without its times."""
        return [line for _, line in self.story]

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Let the run finish, or go on until a condition holds. A run that does neither fails."""
        with quiet():
            while not (self.code is not None if until is None else until()):
                assert self.code is None, f"the coordinator ended with {self.code}: {self.watch.failure}"
                assert self.happened < EVENTS_AT_MOST, "the run does not come to an end"
                self.run_next()

    def run_to(self, step: int) -> None:
        """Go on until so many steps have been done in all."""
        self.run(lambda: self.steps_done >= step)

    def finish(self) -> None:
        """Let the run finish, and check that it has ended as the undisturbed one: same weights, same metrics."""
        self.run()
        check_success(self)

    def replace(self, name: str) -> None:
        """kill -9 of a node; its supervisor starts it again."""
        self.kill(self.nodes[name])

    def lose(self, name: str) -> None:
        """kill -9 of a node that nobody starts again."""
        self.kill(self.nodes.pop(name))

    def ask(self, request: Request) -> None:
        """Give the coordinator a request of an operator; its answer will be in `answers`."""
        self._ask(request)

    def hear(self, address: bytes, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with every message to an address, from now on."""
        life = self.begin("a listener", Listener(address, heard), NEVER_MS)
        self.perform(life, life.machine.start(self.now_ms))
        self.run(lambda: self.now_ms > life.subscribed_ms)

    def _persist(self, life: Life, action: Any) -> None:
        if isinstance(action, Persist):
            self.kept.append(action)
        super()._persist(life, action)


class Listener:
    """A program that only listens to one address."""

    wanted = 1
    has_deferred_work = False

    def __init__(self, address: bytes, heard: Callable[[bytes], None]) -> None:
        self._address = address
        self._heard = heard

    def start(self, _now_ms: float) -> Sequence[Any]:
        """Subscribe."""
        return [Subscribe(self._address)]

    def handle(self, _event: Any, _now_ms: float) -> Sequence[Any]:
        """Do nothing."""
        return []

    def receive(self, messages: Sequence[bytes], _now_ms: float) -> Sequence[Any]:
        """Hand messages to the test."""
        for message in messages:
            self._heard(message)
        return []
