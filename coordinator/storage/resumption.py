"""Checks whether a run can continue from its folder, before anything is written."""

from __future__ import annotations

from typing import Any, get_args

from coordinator.defaults import NetworkSettings, Wiring
from coordinator.errors import UserError
from coordinator.storage.run_folder import RunFolder, checksum_of
from coordinator.topology import Topology
from neuron_node import __version__
from neuron_node.fingerprint import fingerprint
from neuron_node.frames import IDENTITY_LENGTH

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
    "nodes": (int, type(None)),
    "wiring": (str,),
    "settings": (dict,),
    "checksum": (str,),
}
"""The keys that a coordinator needs in config.json, and their types."""
NOT_YET_IN_0_1: dict[str, Any] = {"nodes": None, "wiring": "broker"}
"""The keys that the first runs of version 0.1 lack. Such a run can be shown, but not continued."""


def config_to_go_on(directory: RunFolder) -> dict[str, Any]:
    """Return the config of a run, if this program can continue it on this machine. Raises `UserError`."""
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


def checked_config(directory: RunFolder) -> dict[str, Any]:
    """Return the config of a run, if it has all keys that a coordinator needs. Raises `UserError`."""
    written = directory.config()
    older = str(written.get("version")).startswith("0.1.")
    config = {**(NOT_YET_IN_0_1 if older else {}), **written}
    for key, types in NEEDED.items():
        if key not in config or type(config[key]) not in types:
            raise UserError(f"{directory.path}/config.json is damaged or not one of ours: {key!r} is missing or wrong")
    if written["checksum"] != checksum_of(written):
        raise UserError(
            f"{directory.path}/config.json is not as it was written (its checksum does not match); put it back, "
            "or begin another run"
        )
    try:
        topology = Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"])
        nodes = config["nodes"]
        shared = nodes is None or 1 <= nodes <= len(topology.groups)
        wired = config["wiring"] in get_args(Wiring)
        good = len(bytes.fromhex(config["run"])) == IDENTITY_LENGTH and len(topology.groups) > 0 and shared and wired
    except (TypeError, KeyError, ValueError, AttributeError, ZeroDivisionError):
        good = False
    if not good:
        raise UserError(
            f"{directory.path}/config.json is damaged or not one of ours: 'run', 'network', 'nodes' or 'wiring' is wrong"
        )
    return config


def nodes_of(config: dict[str, Any]) -> int:
    """Return the number of programs that host the groups in a checked config; by default, one per group."""
    return config["nodes"] or len(
        Topology(NetworkSettings.from_json(config["network"]).layers, config["group_size"]).groups
    )


def _series(version: str) -> list[str]:
    """Return major and minor version. Versions that share them can continue the runs of each other."""
    return version.split(".")[:2]
