"""The coordinator's program: one run, from its folder, over the broker. The command line starts it, and so does Compose.

It needs neither the data sets' library nor the command line's, so that it starts, and starts again, in no time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.machine.events import (
    Inspected,
    Persist,
    Persisted,
    PersistFailed,
    PersistGeneration,
    Report,
    Snapshot,
)
from coordinator.machine.machine import CoordinatorMachine
from coordinator.machine.plan import Plan
from coordinator.model_file import Model, save_model
from coordinator.presets import NetworkSettings
from coordinator.run_directory import RunDirectory
from coordinator.run_log import EventLog
from coordinator.run_store import RunStore
from neuron_node.broker import announce_health
from neuron_node.fingerprint import fingerprint
from neuron_node.messages import IDENTITY_LENGTH
from neuron_node.shell import Shell
from neuron_node.wiring import Endpoints, Link

TICK_MS = 50
Observer = Callable[[str, dict[str, Any]], None]
"""Called with the name of an event and its facts, which are plain JSON data."""


class Service:
    """One life of the coordinator."""

    def __init__(
        self,
        directory: RunDirectory,
        observe: Observer,
        *,
        stop_when_finished: bool,
        inspect: Callable[[Plan], Callable[[Inspected], dict[str, Any] | None]] | None = None,
    ) -> None:
        """`inspect` makes, from the plan, what looks at every group after every step; what it returns last is reported."""
        config = directory.config()
        directory.lock()
        self._directory = directory
        self._observe = observe
        self._store = RunStore(directory.path, directory.identity(config))
        self._events = EventLog(directory.path / "events.jsonl")
        plan = Plan(
            run=bytes.fromhex(config["run"]),
            incarnation=secrets.token_bytes(IDENTITY_LENGTH),
            seed=config["seed"],
            network=NetworkSettings.from_json(config["network"]),
            data=PreparedData.load(directory.data),
            group_size=config["group_size"],
            fingerprint=fingerprint(),
            snapshot_interval_steps=config["snapshot_interval_steps"],
            steps_at_most=config["steps_at_most"],
            mixed_arithmetic=config["mixed_arithmetic"],
            inspect_every_step=inspect is not None,
            stop_when_finished=stop_when_finished,
            model_path=str(directory.model),
        )
        self.plan = self._where_it_stood(plan, config["fingerprint"])
        self.machine = CoordinatorMachine(self.plan)
        self._inspect = inspect(self.plan) if inspect else None

    def _where_it_stood(self, plan: Plan, arithmetic: str) -> Plan:
        """The plan with what an earlier life of the coordinator left."""
        if arithmetic != plan.fingerprint and not plan.mixed_arithmetic:
            raise UserError(
                f"{self._directory.path} was begun on other arithmetic ({arithmetic}; here it is {plan.fingerprint}), "
                "so its steps can't be repeated exactly; go on where it was begun"
            )
        try:
            standing = self._store.standing(plan.topology())
        except OSError as fault:
            raise UserError(f"{self._directory.path} can't be read: {fault.strerror or fault}") from None
        return replace(plan, generation=standing.generation, restart=standing.snapshot)

    def run(self, endpoints: Endpoints, orphaned: Callable[[], bool] = lambda: False) -> int:
        """Until the run has ended; the exit code."""
        link = Link(endpoints, TICK_MS)
        try:
            announce_health()
            return Shell(self.machine, link, TICK_MS, perform=self._perform, orphaned=orphaned).run()
        finally:
            link.close()

    def _perform(self, action: Any) -> list[Any]:
        match action:
            case Report(event, facts):
                self._report(event, facts)
            case Persist():
                return [self._persist(action)]
            case PersistGeneration():
                return [self._store.persist_generation(action)]
            case Inspected():
                assert self._inspect is not None
                if compared := self._inspect(action):
                    self._observe("compared", compared)
        return []

    def _persist(self, action: Persist) -> Persisted | PersistFailed:
        try:
            if action.final:
                self._save_model(action.snapshot)
        except UserError as fault:
            return PersistFailed(str(fault))
        return self._store.persist(action)

    def _save_model(self, snapshot: Snapshot) -> None:
        parameters = self.machine.topology.assemble(snapshot.states)
        model = Model(parameters, self.plan.network, self.plan.data.encoding, self.plan.seed, snapshot.step)
        save_model(self._directory.model, model)

    def _report(self, event: str, facts: dict[str, Any]) -> None:
        if event == "wired":
            self._directory.write_json("placements", self._placements())
        if event == "finished":
            self._directory.write_json("result", facts)
        self._events.note(event, facts)
        self._observe(event, facts)

    def _placements(self) -> dict[str, dict[str, Any]]:
        return {
            name: {"node": member.name, "host": member.host, "process": member.process}
            for member in self.machine.roster.hosting()
            for group in member.groups
            for name in self.machine.topology.groups[group].names
        }
