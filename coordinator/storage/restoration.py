"""Restore the model of a finished run from its final snapshot, if the file is lost or damaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordinator.data.prepared import PreparedData
from coordinator.defaults import NetworkSettings
from coordinator.errors import UserError
from coordinator.storage.disk import REAL_DISK
from coordinator.storage.model_file import Model, load_model, save_model
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.snapshots import SnapshotStore
from coordinator.topology import Topology


def fault_of_model(directory: RunFolder, weights_sha256: str | None) -> str | None:
    """Return the fault of the model of a run whose final weights have this digest, or None."""
    try:
        found = load_model(directory.model).parameters.sha256()
    except UserError as fault:
        return str(fault)
    if weights_sha256 is not None and found != weights_sha256:
        return f"{directory.model}: its weights are not those of this run"
    return None


def restore_model(directory: RunFolder, config: Mapping[str, Any], weights_sha256: str | None) -> None:
    """Write the model again from the final snapshot. Raises `UserError` if there is none with these weights."""
    model = model_of_final_snapshot(directory, config)
    if weights_sha256 is not None and model.parameters.sha256() != weights_sha256:
        raise UserError(
            f"the final snapshot of the run {directory.path.name} has other weights than its result.json says"
        )
    save_model(directory.model, model)


def model_of_final_snapshot(directory: RunFolder, config: Mapping[str, Any]) -> Model:
    """Return the trained network in the final snapshot of a run with this config. Raises `UserError`."""
    network = NetworkSettings.from_json(config["network"])
    topology = Topology(network.layers, config["group_size"])
    store = SnapshotStore(directory.path, directory.identity(config), REAL_DISK)
    try:
        saved = store.latest(topology)
    except OSError as fault:
        raise UserError(f"{directory.path} can't be read: {fault.strerror or fault}") from None
    if saved is None or saved.snapshot.step != config.get("steps"):
        raise UserError(f"the final snapshot of the run {directory.path.name} is missing or damaged")
    parameters = topology.assemble(saved.snapshot.states)
    encoding = PreparedData.load(directory.data).encoding
    return Model(parameters, network, encoding, config["seed"], saved.snapshot.step)
