"""A simulated run: the programs on their network, the disk, and the supervisor that starts again what has died."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.core.access import Access
from coordinator.core.events import (
    Answer,
    Asked,
    ListSnapshots,
    LoadSnapshot,
    Persist,
    PersistGeneration,
    Publish,
    Report,
)
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from coordinator.local.restarts import Next, Restarts, fork_again_at, is_overdue, next_of
from coordinator.storage.history import FOLDER as HISTORY
from coordinator.storage.history import NAME as KEPT_NAME
from coordinator.storage.history import History
from coordinator.storage.run_store import RunStore
from coordinator.storage.snapshots import steps_in
from neuron_node.addresses import stage_address
from neuron_node.events import Connect, Die, Disconnect, End, Send, Subscribe, Unsubscribe
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.identity import BEGIN_AGAIN, NodeIdentity
from neuron_node.node import Node
from neuron_node.protocol import NOBODY, Reply, Request
from neuron_node.role import OUTSIDE
from tests.simulation.client import Ask, Client
from tests.simulation.dice import Dice
from tests.simulation.disk import Killed, SimulatedDisk
from tests.simulation.forgers import SIGN, Forger, verify
from tests.simulation.invariants import Violation, Watch
from tests.simulation.network import ANY_LINK, TICK, Life, Network
from tests.simulation.person import Person

NODE_TICK_MS = 250.0
FOLDER = Path("run")
RESULTS = stage_address(OUTSIDE)
IDENTITY = "the simulated run"
HISTORY_BYTES, HISTORY_MOST = 1 << 30, 6


class World(Network):
    """A coordinator, its nodes, and whatever is between them."""

    def __init__(self, plan: RunPlan, dice: Dice, watch: Watch) -> None:
        super().__init__(dice, watch)
        self.plan = plan
        self.topology = plan.topology()
        self.disk = SimulatedDisk(dice)
        self.coordinator: Life | None = None
        self.coordinator_lives = 0
        self.nodes: dict[str, Life] = {}
        """The present life of every program that a supervisor keeps."""
        self.client: Client | None = None
        self.answers: dict[bytes, Reply] = {}
        """What the coordinator has answered, by request."""
        self.person: Person | None = None
        """Who intervenes."""
        self.restarts = True
        """Whether the dead come back; otherwise others, who were not there before, take their places."""
        self.supervised = True
        """Whether nodes are started by a supervisor, which tells them the run."""
        self.direct = False
        """Whether data go straight from program to program."""
        self.forger: Forger | None = None
        """The coordinator signs if there is a forger, and nodes insist on it."""
        self.spares = 0
        self.restarts_of = Restarts()
        """The supervisor's own rules, used where nodes are supervised."""
        self.run_ends = False
        """Whether the coordinator has said that it ends the run."""
        self.forks_fail_until_ms = 0.0
        self.forks_failed_at: float | None = None
        self.struck_again: dict[str, int] = {}
        """How often a node is still to be killed as soon as it has started again."""
        self.code: int | None = None
        """What the coordinator ended with."""
        self._asleep: list[Callable[[], None]] = []
        """Whoever is started only if the coordinator is."""
        watch.world = self
        self._told: dict[type, Callable[[Any], None]] = {
            Publish: self._published,
            Ask: lambda action: self._through_door(functools.partial(self._ask, action.request)),
        }

    def perform(self, life: Life, actions: Sequence[Any]) -> None:
        """Do what a program says."""
        for action in actions:
            kind = type(action)
            if kind is Send:
                self._send(life, action.message)
            elif kind is Subscribe:
                self._subscribe(life, action.address)
            elif kind is Unsubscribe:
                life.subscriptions.pop(action.address, None)
                self._hearers.get(action.address, {}).pop(life, None)
                self.outlets.unsubscribe(life, action.address)
            elif kind is Connect or kind is Disconnect:
                (self.outlets.connect if kind is Connect else self.outlets.disconnect)(life, action.endpoint)
            elif kind is Die:
                self.tell(f"{life.name} ({life.number}) kills itself, as it was told")
                self.watch.calm = self.watch.alone = False
                self.kill(life)
                return
            elif kind is End:
                self._ended(life, action.code)
            elif kind in self._told:
                self._told[kind](action)
            elif kind is Report:
                self._reported(life, action)
            elif kind is Answer:
                self.answers[action.request_id] = action.reply
                self._through_door(functools.partial(self._answer, action))
            elif kind in (Persist, PersistGeneration, LoadSnapshot, ListSnapshots):
                self._persist(life, action)
                if not life.alive:
                    return

    def _reported(self, life: Life, report: Report) -> None:
        stops = report.event == "state" and report.facts["state"] == CoordinatorState.STOPPING.value
        self.run_ends = self.run_ends or stops or report.event == "failed"
        self.watch.reported(life, report.event, report.facts)

    def _through_door(self, arrive: Callable[[], None]) -> None:
        """A request or an answer is on its way. It is lost if the connection breaks, and then the client asks again."""
        if self._random() < self.conditions.lost:
            self.counts["request or answer lost"] += 1
            return
        self.later(self.conditions.latency_ms + self.conditions.jitter_ms * self._random(), arrive)

    def _ask(self, request: Request) -> None:
        if self.coordinator is not None:
            self._come(self.coordinator, Asked(request, Access.OPERATOR))

    def _published(self, action: Publish) -> None:
        self.watch.published(action)

    def _answer(self, answer: Answer) -> None:
        for life in self.lives:
            if life.machine is self.client or life.machine is self.person:
                self._come(life, answer)

    def _come(self, life: Life, event: Any) -> None:
        if life.alive and life.paused:
            life.waiting.append(event)
        elif life.alive:
            self.give(life, event)

    def _persist(self, life: Life, action: Any) -> None:
        assert life.store is not None
        self.watch.persisting(action)
        try:
            if type(action) is Persist:
                answer: Any = life.store.persist(action)
            elif type(action) is LoadSnapshot:
                answer = life.store.load(action, self.topology)
            elif type(action) is ListSnapshots:
                answer = life.store.kept(action)
            else:
                answer = life.store.persist_generation(action)
        except Killed:
            self.tell("the coordinator's program ends in the middle of a call to the disk")
            self.kill(life)
            return
        self.watch.persisted(action, answer)
        # As the program does it: at once, and before whatever else it was told to do.
        actions = life.machine.handle(answer, self.now_ms + life.clock_ms)
        self.watch.after(life)
        self.perform(life, actions)

    def kept_steps(self) -> list[int]:
        """The steps of the snapshots that a person may go back to, of all branches."""
        matches = map(KEPT_NAME.fullmatch, self.disk.names(FOLDER / HISTORY))
        found = {int(match[2]) for match in matches if match}
        return sorted({0, *found, *steps_in(self.disk.names(FOLDER / "snapshots"))})

    # Programs.

    def begin(self, name: str, machine: Any, tick_ms: float, store: RunStore | None = None) -> Life:
        """A life begins."""
        life = Life(len(self.lives) + 1, name, machine, tick_ms)
        life.store = store
        life.linked = self.broker_up
        self.lives.append(life)
        self._push(self.now_ms + tick_ms * self._random(), life, TICK, ANY_LINK)
        return life

    def start_node(self, name: str, fingerprint: str | None = None, *, proves: bool = True) -> Life:
        """A life of a node, under a new incarnation. Under a supervisor it names the run, if it is no stranger."""
        number = len(self.lives) + 1
        born = NodeIdentity(
            number.to_bytes(IDENTITY_LENGTH, "big"),
            name,
            "simulated",
            number,
            "1",
            fingerprint or self.plan.fingerprint,
            self._outlet_of(number),
            self.plan.run if self.supervised and proves else NOBODY,
        )
        machine = Node(born, verify=verify if self.forger else None)
        life = self.begin(name, machine, NODE_TICK_MS)
        life.endpoint, life.incarnation = born.endpoint, born.incarnation
        self.restarts_of.started(name, self.now_ms / 1000)
        self.perform(life, life.machine.start(self.now_ms))
        return life

    def _outlet_of(self, number: int) -> str:
        return f"simulated://{number}" if self.direct else ""

    def start_coordinator(self) -> None:
        """A life of the coordinator, which goes on from what the disk holds. As `coordinator.service` does it."""
        history = History(
            FOLDER, IDENTITY, self.disk, most_bytes=HISTORY_BYTES, most=HISTORY_MOST,
            steps_per_epoch=self.plan.schedule().steps_per_epoch,
        )  # fmt: skip
        store = RunStore(FOLDER, IDENTITY, self.disk, history)
        try:
            standing = store.standing(self.topology)
        except OSError:
            self.tell("the coordinator can't read its folder, and ends")
            self.later(200.0, self._revive_coordinator)
            return
        except Killed:
            self.tell("the coordinator's program ends in the middle of a call to the disk")
            self.later(200.0, self._revive_coordinator)
            return
        self.coordinator_lives += 1
        self.run_ends = False
        for replace_it in self._asleep:
            self.later(self.dice.spread(1.0, self.conditions.restart_at_most_ms), replace_it)
        self._asleep = []
        plan = replace(
            self.plan,
            incarnation=(2**32 + self.coordinator_lives).to_bytes(IDENTITY_LENGTH, "big"),
            generation=standing.generation,
            interventions=standing.interventions,
            journal=standing.journal,
            restart=standing.snapshot,
        )
        trained = standing.snapshot is not None and standing.snapshot.step == plan.schedule().steps
        if trained and not plan.stop_when_finished and self.watch.finished:
            plan = replace(plan, trained=standing.snapshot, figures=self.watch.finished)
        self._of_the_last_life = [message for message in self.recent if message.startswith(RESULTS)]
        self.watch.standing(standing, store.damage)
        machine = CoordinatorMachine(plan, sign=SIGN if self.forger else None)
        life = self.coordinator = self.begin("the coordinator", machine, self.conditions.coordinator_tick_ms, store)
        life.endpoint = machine.run.endpoint = self._outlet_of(life.number)
        life.incarnation = plan.incarnation
        self.watch.coordinator_began(machine)
        step = standing.snapshot.step if standing.snapshot else 0
        self.tell(
            f"the coordinator begins life {self.coordinator_lives} after step {step}, generation {standing.generation}"
        )
        self.perform(life, machine.start(self.now_ms))

    def _revive_coordinator(self) -> None:
        if self.coordinator is not None and self.coordinator.alive:
            return
        if not self._can_not_fork(self._revive_coordinator):
            self.start_coordinator()

    def kill(self, life: Life, *, revive: bool = True) -> None:
        """kill -9. Its supervisor starts it again, after a while."""
        self._end_life(life)
        if life is self.coordinator:
            if revive:
                self.later(self.dice.spread(1.0, self.conditions.restart_at_most_ms), self._revive_coordinator)
        elif self.nodes.get(life.name) is life and revive:
            self._replace_later(life, -signal.SIGKILL)

    def _replace_later(self, life: Life, code: int) -> None:
        if self.supervised:
            self._supervise(life, code)
            return
        if self.restarts:
            replace_it: Callable[[], None] = functools.partial(self.revive, life.name)
        else:
            del self.nodes[life.name]
            replace_it = self.start_spare
        ending = self.coordinator is not None and self.coordinator.machine.finished is not None
        if ending and self.plan.stop_when_finished and self.dice.falls(0.8):
            # The run is about to end: nobody is needed any more, unless its coordinator comes back.
            self._asleep.append(replace_it)
        else:
            self.later(self.dice.spread(1.0, self.conditions.restart_at_most_ms), replace_it)

    def _supervise(self, life: Life, code: int) -> None:
        """The supervisor of a local run finds that a node has ended."""
        replace_it = functools.partial(self.revive, life.name)
        if next_of(life.name, code, run_ends=self.run_ends) is Next.STAYS_ENDED:
            self._asleep.append(replace_it)
            return
        delay = self.restarts_of.delay(life.name, code, self.now_ms / 1000)
        if delay is None:
            if code < 0:
                raise Violation(f"{life.name} is put aside, though it was killed from outside")
            self.tell(f"{life.name} is put aside")
            return
        self.later(1000.0 * delay + self.dice.spread(1.0, self.conditions.restart_at_most_ms), replace_it)

    def _can_not_fork(self, start_it: Callable[[], None]) -> bool:
        """Whether a program can't be started now; the supervisor tries again."""
        if self.now_ms >= self.forks_fail_until_ms:
            self.forks_failed_at = None
            return False
        now = self.now_ms / 1000
        self.forks_failed_at = now if self.forks_failed_at is None else self.forks_failed_at
        again_at = fork_again_at(self.forks_failed_at, now)
        if again_at is None:
            raise Violation("the supervisor gives the run up, because programs can't be started")
        self.later(1000.0 * (again_at - now), start_it)
        return True

    def kill_if_overdue(self, life: Life, stopped_at_ms: float) -> None:
        """The supervisor looks at a program that was stopped a while ago."""
        if life.alive and life.paused and is_overdue(stopped_at_ms / 1000, self.now_ms / 1000):
            self.tell(f"{life.name} ({life.number}) has been stopped for too long, and is killed")
            self.kill(life)

    def start_spare(self) -> None:
        """A node that was not there before."""
        self.spares += 1
        name = f"spare-{self.spares}"
        self.nodes[name] = self.start_node(name)
        self.tell(f"{name} joins, as {self.nodes[name].number}")

    def end_namesakes(self, name: str) -> None:
        """Only the life that its supervisor knows stays."""
        for life in self.lives:
            if life.alive and life.name == name and self.nodes.get(name) is not life:
                self.kill(life)

    def heal(self) -> None:
        """From now on nothing goes wrong, and what has gone wrong is mended."""
        self.tell("everything is well from here on")
        conditions = self.conditions
        conditions.lost = conditions.doubled = conditions.delayed = conditions.altered = conditions.not_finite = 0.0
        conditions.too_long = 0.0
        conditions.high_water = None
        self.broker_continues_ms = 0.0
        self.forks_fail_until_ms = 0.0
        self.struck_again = {}
        self.disk.failing, self.disk.full, self.disk.calls_to_live = 0.0, False, None
        for life in list(self.lives):
            if not life.alive:
                continue
            life.deaf = life.mute = False
            if not life.stuck:
                self.resume(life)
        for name in list(self.nodes):
            self.end_namesakes(name)

    def revive(self, name: str) -> None:
        """Start a node again, if it is not there."""
        if self.nodes[name].alive or self._can_not_fork(functools.partial(self.revive, name)):
            return
        life = self.nodes[name] = self.start_node(name)
        self.tell(f"{name} is there again, as {life.number}")
        if self.struck_again.get(name, 0) > 0:
            self.struck_again[name] -= 1
            self.later(self.dice.spread(1.0, 100.0), functools.partial(self._strike_again, life))

    def _strike_again(self, life: Life) -> None:
        if life.alive:
            self.tell(f"kill -9 of {life.name} ({life.number}), once more")
            self.kill(life)

    def _ended(self, life: Life, code: int) -> None:
        self._end_life(life)
        if life is self.coordinator:
            if next_of("coordinator", code, run_ends=self.run_ends) is not Next.RUN_OVER:
                raise Violation(f"the coordinator ended with {code}, and its supervisor starts it again")
            self.code = code
            return
        self.watch.node_ended(life, code)
        self.tell(f"{life.name} ({life.number}) ends with {code}")
        if code == BEGIN_AGAIN:
            successor = self.start_node(life.name)
            if self.nodes.get(life.name) is life:
                self.nodes[life.name] = successor
        elif self.nodes.get(life.name) is life:
            self._replace_later(life, code)

    def _end_life(self, life: Life) -> None:
        life.alive = False
        self._unlink(life)
        if life.endpoint:
            self.outlets.ended(life)
        life.waiting = []

    def pause(self, life: Life) -> None:
        """SIGSTOP."""
        life.paused = True

    def resume(self, life: Life) -> None:
        """SIGCONT: it gets, at once and in order, what came in the meantime."""
        if not life.alive or not life.paused:
            return
        life.paused = life.stuck = False
        waiting, life.waiting = life.waiting, []
        for event in waiting:
            if life.alive and type(event) is bytes:
                self.gather(life, event)
            elif life.alive:
                self.give(life, event)
        if life.alive and life.taken:
            self._take(life)
