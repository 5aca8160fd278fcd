"""Whether a run can go on from its folder. What speaks against it is one line, said before anything is written."""

from __future__ import annotations

from typing import Any

from coordinator.errors import UserError
from coordinator.presets import NetworkSettings
from coordinator.run_directory import RunDirectory, checksum_of
from coordinator.topology import Topology
from neuron_node import __version__
from neuron_node.fingerprint import fingerprint
from neuron_node.messages import IDENTITY_LENGTH

NEEDED: dict[str, tuple[type, ...]] = {
    "version": (str,),
    "run": (str,),
    "fingerprint": (str,),
    "network": (dict,),
    "data_sha256": (str,),
    "prepared_sha256": (str,),
    "seed": (int,),
    "group_size": (int,),
    "microbatches": (int,),
    "snapshot_interval_steps": (int, type(None)),
    "regroup_after_seconds": (int, float),
    "steps_at_most": (int, type(None)),
    "mixed_arithmetic": (bool,),
    "settings": (dict,),
    "checksum": (str,),
}
"""What a coordinator needs to find in config.json, and of which types."""


def config_to_go_on(directory: RunDirectory) -> dict[str, Any]:
    """The config of a run that this program can go on with, on this machine, with its data. Raises `UserError`."""
    config = checked_config(directory)
    directory.check_regular()
    name = directory.path.name
    if _series(config["version"]) != _series(__version__):
        raise UserError(
            f"the run {name} was made by version {config['version']}, this is {__version__}; "
            f"go on with a version {'.'.join(_series(config['version']))}.x, or begin another run"
        )
    here = fingerprint()
    if config["fingerprint"] != here and not config["mixed_arithmetic"]:
        raise UserError(
            f"the run {name} was begun on other arithmetic ({config['fingerprint']}; here it is {here}), "
            "so its steps can't be repeated exactly; go on where it was begun"
        )
    if directory.prepared_sha256() != config["prepared_sha256"]:
        raise UserError(
            f"{directory.data} is not the data that the run {name} was begun with (another SHA-256); put it back, "
            "or begin another run"
        )
    return config


def checked_config(directory: RunDirectory) -> dict[str, Any]:
    """The config of a run, with all that a coordinator needs. Raises `UserError`."""
    config = directory.config()
    for key, types in NEEDED.items():
        if key not in config or type(config[key]) not in types:
            raise UserError(f"{directory.path}/config.json is damaged or not one of ours: {key!r} is missing or wrong")
    if config["checksum"] != checksum_of(config):
        raise UserError(
            f"{directory.path}/config.json is not as it was written (its checksum does not match); put it back, "
            "or begin another run"
        )
    try:
        topology = Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])
        nodes = config.get("nodes")
        shared = nodes is None or (type(nodes) is int and 1 <= nodes <= len(topology.groups))
        good = len(bytes.fromhex(config["run"])) == IDENTITY_LENGTH and len(topology.groups) > 0 and shared
    except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError):
        good = False
    if not good:
        raise UserError(
            f"{directory.path}/config.json is damaged or not one of ours: 'run', 'network' or 'nodes' is wrong"
        )
    return config


def nodes_of(config: dict[str, Any]) -> int:
    """Programs that host the groups of a checked config's network: as many as were asked for, or one a group."""
    return config.get("nodes") or len(
        Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"]).groups
    )


def _series(version: str) -> list[str]:
    """Major and minor: versions that have them in common read each other's runs."""
    return version.split(".")[:2]
