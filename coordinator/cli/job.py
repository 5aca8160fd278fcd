"""What is to be learned: settings, data and network of a command line, put together and written into a run's folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings, resolve_network
from coordinator.resumption import checked_config
from coordinator.run_directory import RunDirectory
from coordinator.schedule import Schedule
from coordinator.settings import LearnSettings, prepare_data, resolve_settings


@dataclass(frozen=True)
class Job:
    """Settings with everything that follows from them and the data."""

    settings: LearnSettings
    data: PreparedData
    network: NetworkSettings

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], config: Path | None) -> Job:
        """Raises `UserError`."""
        settings = resolve_settings(flags, os.environ, config)
        data = prepare_data(settings)
        return cls(settings, data, resolve_network(settings, data))

    @property
    def group_size(self) -> int:
        """Neurons a group; a whole layer is as many as the largest one has."""
        return max(self.network.layers) if self.settings.group_size == "layer" else self.settings.group_size

    @property
    def nodes(self) -> int:
        """Programs that the network takes, one a group."""
        return sum(math.ceil(size / self.group_size) for size in self.network.layers)

    def create_run(
        self,
        runs: Path,
        *,
        name: str | None = None,
        steps_at_most: int | None = None,
        mixed_arithmetic: bool = False,
        numbered: bool = False,
    ) -> RunDirectory:
        """The run's folder, with all that the coordinator's program needs. Raises `UserError`."""
        directory = RunDirectory.create(runs, name or self.settings.name, self.data.dataset, numbered=numbered)
        try:
            directory.prepare(self._config(steps_at_most, mixed_arithmetic), self.network, self.data)
        except OSError as fault:
            raise UserError(f"{directory.path} can't be written: {fault.strerror or fault}") from None
        return directory

    def begun_before(self, runs: Path, name: str, *, mixed_arithmetic: bool = False) -> RunDirectory | None:
        """The run `name`, name-2, … that has the same settings, network and data; the highest number, if there is any."""
        wanted = {
            **self._config(None, mixed_arithmetic),
            "network": self.network.to_json(),
            "data_sha256": self.data.sha256,
        }
        for directory in RunDirectory.numbered(runs, name):
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
            "snapshot_interval_steps": None if interval == "auto" else interval,
            "regroup_after_seconds": self.settings.regroup_after_seconds,
            "steps_at_most": steps_at_most,
            "mixed_arithmetic": mixed_arithmetic,
            "steps": schedule.steps,
            "dataset": self.data.dataset,
            "settings": self.settings.model_dump(mode="json"),
        }


def _comparable(config: Mapping[str, Any]) -> Any:
    """A config as it is when it has been written and read, without the run's name."""
    return json.loads(
        json.dumps({**config, "settings": {**config["settings"], "name": None}}, sort_keys=True, default=str)
    )
