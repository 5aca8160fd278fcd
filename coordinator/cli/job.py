"""What is to be learned: settings, data and network of a command line, put together and written into a run's folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.data.prepared import PreparedData
from coordinator.errors import UserError
from coordinator.presets import NetworkSettings, resolve_network
from coordinator.run_directory import RunDirectory
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
        self, runs: Path, *, steps_at_most: int | None = None, mixed_arithmetic: bool = False, numbered: bool = False
    ) -> RunDirectory:
        """The run's folder, with all that the coordinator's program needs. Raises `UserError`."""
        directory = RunDirectory.create(runs, self.settings.name, self.data.dataset, numbered=numbered)
        config = {
            "seed": self.settings.seed,
            "group_size": self.group_size,
            "snapshot_interval_steps": self.settings.snapshot_interval_steps,
            "steps_at_most": steps_at_most,
            "mixed_arithmetic": mixed_arithmetic,
            "settings": self.settings.model_dump(mode="json"),
        }
        try:
            directory.prepare(config, self.network, self.data)
        except OSError as fault:
            raise UserError(f"{directory.path} can't be written: {fault.strerror or fault}") from None
        return directory
