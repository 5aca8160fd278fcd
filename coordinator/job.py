"""A training job: settings, data and network, and the run folder that is made from them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.capacity.autotune import Placement, place
from coordinator.capacity.host import Host, this_machine
from coordinator.capacity.resources import Needs, check_nodes, needs_of
from coordinator.capacity.wiring import picked_wiring
from coordinator.data.prepared import PreparedData
from coordinator.defaults import HISTORY_BYTES, NetworkSettings, Wiring
from coordinator.errors import UserError
from coordinator.schedule import Schedule
from coordinator.settings import LearnSettings, prepare_data, resolve_network, resolve_settings
from coordinator.storage.resumption import checked_config
from coordinator.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Job:
    """The settings, and the data and the network that follow from them."""

    settings: LearnSettings
    data: PreparedData
    network: NetworkSettings
    placement: Placement | None = None
    """The choice for group size `auto`; None if the settings have a number."""
    relayed: bool = False
    """Whether nodes connect through a relay."""

    @classmethod
    def from_flags(
        cls,
        flags: Mapping[str, Any],
        config: Path | None,
        *,
        machine: Callable[[], Host] = this_machine,
        spares: int = 0,
        relayed: bool = False,
        environment: Mapping[str, str] = os.environ,
    ) -> Job:
        """Make a job from settings; the machine decides the group size `auto`. Raises `UserError`."""
        settings = resolve_settings(flags, environment, config)
        data = prepare_data(settings)
        network = resolve_network(settings, data)
        if settings.group_size != "auto":
            job = cls(settings, data, network, relayed=relayed)
            check_nodes(settings.nodes, job.groups)
            return job
        check_nodes(settings.nodes, sum(network.layers))
        placement = place(
            network.layers, network.batch_size, machine(), nodes=settings.nodes, spares=spares, relayed=relayed
        )
        return cls(settings, data, network, placement, relayed)

    @property
    def group_size(self) -> int:
        """The number of neurons per group; for `layer`, the size of the largest layer."""
        size = self.settings.group_size
        if size == "auto":
            assert self.placement is not None, "only from_flags makes jobs with group size auto"
            return self.placement.group_size
        return max(self.network.layers) if size == "layer" else size

    @property
    def wiring(self) -> Wiring:
        """The wiring of data messages: broker or direct. Raises `UserError`."""
        return picked_wiring(
            self.settings.wiring,
            self.network.layers,
            self.group_size,
            nodes=self.settings.nodes,
            relayed=self.relayed,
        )

    @property
    def groups(self) -> int:
        """The number of groups of the network."""
        return sum(math.ceil(size / self.group_size) for size in self.network.layers)

    @property
    def nodes(self) -> int:
        """The number of programs that host the groups: by default, one per group."""
        return self.settings.nodes or self.groups

    def needs(self, *, spares: int = 0) -> Needs:
        """Estimate the resources of a run. Raises `UserError` if the settings contradict each other."""
        return needs_of(
            self.network.layers,
            self.group_size,
            self.network.batch_size,
            nodes=self.settings.nodes,
            spares=spares,
            relayed=self.relayed,
            wiring=self.wiring,
        )

    def create_run(
        self,
        runs: Path,
        *,
        name: str | None = None,
        steps_at_most: int | None = None,
        mixed_arithmetic: bool = False,
        numbered: bool = False,
    ) -> RunFolder:
        """Create the run folder with everything that the coordinator program needs. Raises `UserError`."""
        directory = RunFolder.create(runs, name or self.settings.name, self.data.dataset, numbered=numbered)
        try:
            directory.prepare(self._config(steps_at_most, mixed_arithmetic), self.network, self.data)
        except OSError as fault:
            directory.discard()
            raise UserError(f"{directory.path} can't be written: {fault.strerror or fault}") from None
        except BaseException:
            directory.discard()
            raise
        return directory

    def begun_before(self, runs: Path, name: str, *, mixed_arithmetic: bool = False) -> RunFolder | None:
        """Find the latest run called `name`, `name-2`, … with the same settings, network and data.

        If the group size is `auto`, the group size of the run is kept: a new machine must not begin a new run.
        """
        wanted = {
            **self._config(None, mixed_arithmetic),
            "network": self.network.to_json(),
            "data_sha256": self.data.sha256,
        }
        if self.placement is not None:
            del wanted["group_size"], wanted["wiring"]
        for directory in RunFolder.numbered(runs, name):
            try:
                config = checked_config(directory)
            except UserError:
                continue
            if _comparable({key: config.get(key) for key in wanted}) == _comparable(wanted):
                return directory
        return None

    def _config(self, steps_at_most: int | None, mixed_arithmetic: bool) -> dict[str, Any]:
        network, interval = self.network, self.settings.snapshot_interval_steps
        schedule = Schedule(
            self.settings.seed, len(self.data.train_inputs), network.batch_size, network.epochs, steps_at_most
        )
        return {
            "seed": self.settings.seed,
            "group_size": self.group_size,
            "wiring": self.wiring,
            "microbatches": self.settings.microbatches,
            "nodes": self.settings.nodes,
            "snapshot_interval_steps": None if interval == "auto" else interval,
            "regroup_after_seconds": self.settings.regroup_after_seconds,
            "steps_at_most": steps_at_most,
            "mixed_arithmetic": mixed_arithmetic,
            "steps": schedule.steps,
            "dataset": self.data.dataset,
            "settings": self.settings.model_dump(mode="json"),
        }


def _comparable(config: Mapping[str, Any]) -> Any:
    """Return a config as JSON would give it back, without the name of the run and settings that are None."""
    # Runs of earlier versions have no setting for the history.
    given = {"history": HISTORY_BYTES, **config["settings"]}
    settings = {key: value for key, value in given.items() if key != "name" and value is not None}
    return json.loads(json.dumps({**config, "settings": settings}, sort_keys=True, default=str))
