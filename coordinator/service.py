"""The coordinator program: it does one run from its folder, and communicates through the broker.

It imports neither scikit-learn nor click, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from coordinator.core.access import KeyOf
from coordinator.core.events import (
    Answer,
    Inspected,
    ListSnapshots,
    LoadSnapshot,
    Persist,
    Persisted,
    PersistFailed,
    PersistGeneration,
    PrepareRun,
    Publish,
    Report,
    RunPrepared,
    Snapshot,
)
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.run_plan import RunPlan
from coordinator.core.state import CoordinatorState
from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import JobError, UserError
from coordinator.front_door import FrontDoor
from coordinator.storage.disk import is_read_only
from coordinator.storage.history import history_of
from coordinator.storage.model_file import Model, save_model
from coordinator.storage.restoration import fault_of_model
from coordinator.storage.resumption import config_to_go_on
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import EventLog
from coordinator.storage.run_store import RunStore
from neuron_node.activations import quiet
from neuron_node.broker import announce_health
from neuron_node.direct import Listening
from neuron_node.events import End, Interrupted
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.limits import MESSAGE_BYTES
from neuron_node.program import new_link
from neuron_node.security import OwnKeys
from neuron_node.shell import Shell
from neuron_node.signing import Sign
from neuron_node.transport import Endpoints, Link

Observer = Callable[[str, dict[str, Any]], None]
"""Receives the name of each event and its facts as plain JSON data."""

logger = logging.getLogger("exmachina")


class LeavesNodes:
    """A coordinator that a signal ends alone: when interrupted, it ends, and the nodes wait for the next one.

    Nothing needs to be saved first, because a coordinator can be killed at any moment. In a local run, the supervisor ends the
    nodes, or starts the coordinator again if another program sent the signal. `coordinator stop` stops the nodes too.
    """

    def __init__(self, machine: CoordinatorMachine) -> None:
        self._machine = machine
        self.start = machine.start
        self.receive = machine.receive
        self.run_deferred = machine.run_deferred
        self.tick_interval_ms = machine.tick_interval_ms

    @property
    def wanted(self) -> int:
        """The number of frames that the machine waits for; 0 if no pass is in flight."""
        return self._machine.wanted if self._machine.busy else 0

    @property
    def has_deferred_work(self) -> bool:
        """Whether the machine has put work off."""
        return self._machine.has_deferred_work

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        """Pass an event to the machine, except an interruption."""
        if isinstance(event, Interrupted) and self._machine.state is not CoordinatorState.STOPPING:
            return [End(130 if event.by_hand else 0)]
        return self._machine.handle(event, now_ms)


class Service:
    """One process of the coordinator."""

    def __init__(
        self,
        directory: RunFolder,
        observe: Observer,
        *,
        stop_when_finished: bool,
        claims_broker: bool = False,
        prepare_run: Callable[[PrepareRun], RunPrepared] | None = None,
        begun_by: tuple[bytes, Mapping[str, Any]] | None = None,
        inspect: Callable[[RunPlan], Callable[[Inspected], dict[str, Any] | None]] | None = None,
    ) -> None:
        """With `claims_broker`, the coordinator ends if another one works at the broker.

        `prepare_run` prepares another run for a client; `begun_by` is the request that began this run, and its answer.
        `inspect` makes a function from the plan. It receives all groups after every step, and its results are reported."""
        config = config_to_go_on(directory)
        directory.lock()
        directory.forget("failure")
        self._directory = directory
        self._observe = observe
        self._stays = not stop_when_finished
        self._prepare_run = prepare_run
        self._prepared: queue.SimpleQueue[RunPrepared] = queue.SimpleQueue()
        """The answers of the threads that prepare another run."""
        self._machine: CoordinatorMachine
        self._door: FrontDoor | None = None
        self._direct = config["wiring"] == "direct"
        self._store = RunStore(directory.path, directory.identity(config), history=history_of(directory, config))
        self._events = EventLog(directory.path / "events.jsonl")
        plan = RunPlan(
            run=bytes.fromhex(config["run"]),
            incarnation=secrets.token_bytes(IDENTITY_LENGTH),
            seed=config["seed"],
            network=NetworkSettings.from_json(config["network"]),
            data=PreparedData.load(directory.data),
            group_size=config["group_size"],
            microbatches=config["microbatches"],
            nodes=config["nodes"],
            fingerprint=fingerprint(),
            snapshot_interval_steps=config["snapshot_interval_steps"],
            grace_ms=round(1000 * config["regroup_after_seconds"]),
            rebalances=config["settings"].get("rebalance") == "auto",
            steps_at_most=config["steps_at_most"],
            mixed_arithmetic=config["mixed_arithmetic"],
            inspect_every_step=inspect is not None,
            stop_when_finished=stop_when_finished,
            claims_broker=claims_broker,
            restarts=prepare_run is not None,
            begun_by=begun_by,
            label=f"the coordinator of the run {directory.path.name} (process {os.getpid()} on {socket.gethostname()})",
            model_path=str(directory.model),
        )
        self.plan = self._where_it_stood(plan.in_proportion())
        self._inspect = inspect(self.plan) if inspect else None

    def _where_it_stood(self, plan: RunPlan) -> RunPlan:
        """Add the state that an earlier process has left to the plan."""
        try:
            standing = self._store.standing(plan.topology())
        except OSError as fault:
            raise UserError(f"{self._directory.path} can't be read: {fault.strerror or fault}") from None
        for line in self._store.damage:
            self._report("damaged", {"reason": line})
        plan = replace(
            plan,
            generation=standing.generation,
            interventions=standing.interventions,
            journal=standing.journal,
            restart=standing.snapshot,
        )
        if standing.snapshot and standing.snapshot.step == plan.schedule().steps:
            self._restore_model(plan, standing.snapshot)
        # A coordinator that ends after the training measures and reports again: the first report may be lost.
        figures = self._directory.result() if self._stays else None
        changed = figures is not None and figures.get("interventions", 0) != len(standing.journal)
        if standing.snapshot and standing.snapshot.step == plan.schedule().steps and figures and not changed:
            return replace(plan, trained=standing.snapshot, figures=figures)
        return plan

    def _restore_model(self, plan: RunPlan, snapshot: Snapshot) -> None:
        """Save the model of a trained run if it is missing or damaged: it is not saved again otherwise."""
        parameters = plan.topology().assemble(snapshot.states)
        if fault_of_model(self._directory, parameters.sha256()):
            save_model(
                self._directory.model,
                Model(parameters, plan.network, plan.data.encoding, plan.seed, snapshot.step),
            )

    def run(
        self,
        endpoints: Endpoints,
        doors: Sequence[str],
        orphaned: Callable[[], bool] = lambda: False,
        listening: Listening | None = None,
        message_bytes: int = MESSAGE_BYTES,
        keys: OwnKeys | None = None,
    ) -> int:
        """Do the run, and return the exit code.

        `doors` are the endpoints of the front door. In direct wiring, `listening` is the endpoint for the peers. `message_bytes`
        is the size of the largest message that the broker takes. With `keys`, connections over TCP are encrypted, and messages
        to nodes are signed; without them, only nodes without keys obey this coordinator.

        Raises:
            UserError: an endpoint can't be bound, or the program at the broker's endpoint is no broker.
        """
        with contextlib.closing(FrontDoor(doors, keys)) as door:
            self._door = door
            outlet = listening if self._direct else None
            tick_ms = CoordinatorMachine.tick_interval_ms
            link = new_link(endpoints, tick_ms, self.plan.incarnation, outlet, message_bytes, keys)
            return self._run(link, orphaned, door, keys)

    def _run(self, link: Link, orphaned: Callable[[], bool], door: FrontDoor, keys: OwnKeys | None) -> int:
        try:
            checks = (_signer_of(keys), _places_of(keys)) if keys else (None, None)
            self._machine = CoordinatorMachine(self.plan, link.endpoint, *checks)
            link.watch(door.sockets)
            announce_health()
            machine = LeavesNodes(self._machine)
            with quiet():
                return Shell(
                    machine, link, perform=self._perform, orphaned=orphaned, poll=lambda: self._poll(door)
                ).run()
        finally:
            link.close()
            self._directory.unlock()

    def _perform(self, action: Any) -> list[Any]:
        match action:
            case Answer():
                assert self._door is not None, "requests come through the front door"
                self._door.answer(action)
            case Report(event, facts):
                self._report(event, facts)
            case Publish(topic, frames):
                assert self._door is not None, "only visitors watch"
                self._door.publish(topic, *frames)
            case Persist():
                return [self._unless_for_good(self._persist(action))]
            case LoadSnapshot():
                return [self._store.load(action, self.plan.topology())]
            case ListSnapshots():
                return [self._store.kept(action)]
            case PersistGeneration():
                return [self._unless_for_good(self._store.persist_generation(action))]
            case PrepareRun():
                assert self._prepare_run is not None, (
                    "the machine refuses, unless the plan says that there is a function"
                )
                # A large table takes a minute to read. The network learns meanwhile.
                threading.Thread(target=self._prepare, args=(self._prepare_run, action), daemon=True).start()
            case Inspected():
                assert self._inspect is not None
                if compared := self._inspect(action):
                    self._observe("compared", compared)
        return []

    def _prepare(self, prepare_run: Callable[[PrepareRun], RunPrepared], wanted: PrepareRun) -> None:
        """Prepare another run, in a thread of its own."""
        try:
            prepared = prepare_run(wanted)
        except Exception:
            logger.exception("another run can't be prepared")
            prepared = RunPrepared(
                wanted.request_id, {}, "the coordinator failed to prepare another run; its log has the cause"
            )
        self._prepared.put(prepared)

    def _poll(self, door: FrontDoor) -> list[Any]:
        """Return the requests of clients, and the runs that are prepared."""
        events: list[Any] = list(door.poll())
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._prepared.get_nowait())
        return events

    def _unless_for_good(self, answer: Any) -> Any:
        """Return the answer of a write. The machine tries again if the disk is full, but a read-only disk stays read-only.

        Raises:
            JobError: the disk became read-only.
        """
        if isinstance(answer, PersistFailed) and is_read_only(self._directory.path):
            kept = self._store.durable_step
            what = f"the snapshot after step {kept:,} is kept" if kept else "no snapshot has been saved"
            raise JobError(
                f"{answer.reason}; the disk is read-only now; {what}; when the disk can be written again, continue with: "
                f"coordinator learn --resume {self._directory.path.name}"
            )
        return answer

    def _persist(self, action: Persist) -> Persisted | PersistFailed:
        try:
            if action.final:
                self._save_model(action.snapshot)
        except UserError as fault:
            return PersistFailed(str(fault))
        return self._store.persist(action)

    def _save_model(self, snapshot: Snapshot) -> None:
        parameters = self.plan.topology().assemble(snapshot.states)
        model = Model(parameters, self.plan.network, self.plan.data.encoding, self.plan.seed, snapshot.step)
        save_model(self._directory.model, model)

    def _report(self, event: str, facts: dict[str, Any]) -> None:
        match event:
            case "wired":
                self._write("placements", self._placements())
            case "finished":
                self._write("result", facts)
            case "failed":
                self._write("failure", facts)
        self._events.note(event, facts)
        if self._door is not None:
            self._door.publish_event(event, facts)
        self._observe(event, facts)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        """Write a file for people. The run does not depend on it."""
        try:
            self._directory.write_json(name, value)
        except OSError as fault:
            logger.error("%s.json can't be written: %s", name, fault.strerror or fault)

    def _placements(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"node": member.name, "host": member.host, "process": member.process}
            for member in self._machine.membership.hosting()
            for group in member.groups
            for name in self._machine.topology.groups[group].names
        }


def _signer_of(keys: OwnKeys) -> Sign:
    """Return the function that signs the messages to nodes."""
    from neuron_node.ed25519 import signer  # noqa: PLC0415 - only programs with keys need the memory

    return signer(keys.own.sign_secret)


def _places_of(keys: OwnKeys) -> KeyOf:
    """Return the function that finds the key of a node that registers."""
    from coordinator.places import Places  # noqa: PLC0415 - as above

    return Places(keys)
