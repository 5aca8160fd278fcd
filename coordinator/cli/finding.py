"""Find the front door of the run that a command asks: by name, by endpoint, or because it is the only run that is live."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from coordinator.client import Client
from coordinator.errors import UserError
from coordinator.front_door import check_door
from coordinator.storage.run_folder import RunFolder
from neuron_node.keys import COORDINATOR, OPERATOR, VIEWER
from neuron_node.security import own_keys

NAMES_AT_MOST = 5


def client_of(runs: Path, where: dict[str, Any]) -> Client:
    """Return a client of the front door that the options of `door_options` name. Raises `UserError`."""
    patience, folder, key, insecure = (where.pop(name) for name in ("patience", "keys", "key", "insecure"))
    door = find_door(runs, **where)
    keys = own_keys([OPERATOR, VIEWER], folder, key, insecure=insecure, connects=[door])
    return Client(door, patience, keys.client_of(COORDINATOR) if keys else None)


def find_door(runs: Path, run_name: str | None, door: str | None) -> str:
    """Return the endpoint of a front door: of the named run, else of `--door`, else of the only live run. Raises `UserError`."""
    if run_name is not None:
        return _door_of(RunFolder.existing(runs, run_name))
    if door or (door := os.environ.get("EXMACHINA_DOOR")):
        return check_door("--door", door)
    live = live_runs(runs)
    if len(live) == 1:
        return _door_of(live[0])
    if live:
        names = [directory.path.name for directory in live]
        raise UserError(f"several runs are live in {runs}: {', '.join(names)}; name one: {_command()} --run {names[0]}")
    raise UserError(f"no run is live in {runs}; {_what_there_is(runs)}")


def live_runs(runs: Path) -> list[RunFolder]:
    """Return the runs that a program uses, by name."""
    return [directory for directory in RunFolder.all_in(runs) if _is_live(directory)]


def _is_live(directory: RunFolder) -> bool:
    try:
        return directory.holder() is not None
    except UserError:
        # Another user's run.
        return False


def _door_of(directory: RunFolder) -> str:
    if directory.holder() is None:
        raise UserError(_over(directory))
    name = directory.path.name
    try:
        stored = directory.read_json("endpoints")
    except UserError:
        raise UserError(f"the run {name} is starting, or was started by another version; try again") from None
    door = stored.get("door") if isinstance(stored, dict) else None
    if not isinstance(door, str):
        raise UserError(f"the run {name} does not say where its front door is; it was started by another version")
    return check_door(f"{directory.path}/endpoints.json", door)


def _what_there_is(runs: Path) -> str:
    """List runs that have ended, and say what to type."""
    elsewhere = "or name the front door of another host with --door ENDPOINT"
    known = RunFolder.all_in(runs)
    if not known:
        return f"start one with: coordinator learn digits; {elsewhere}"
    names = [directory.path.name for directory in known]
    listed = ", ".join(names[-NAMES_AT_MOST:]) + (" …" if len(names) > NAMES_AT_MOST else "")
    unfinished = [directory.path.name for directory in known if directory.result() is None]
    how = (
        f"continue one with: coordinator learn --resume {unfinished[-1]}"
        if unfinished
        else "start one with: coordinator learn digits"
    )
    return f"these have ended: {listed}; {how}; {elsewhere}"


def _command() -> str:
    context = click.get_current_context(silent=True)
    return f"coordinator {context.info_name}" if context else "coordinator status"


def _over(directory: RunFolder) -> str:
    """Say how to use a run that no program uses."""
    name = directory.path.name
    if directory.result() is None:
        why = f"failed ({failure})" if (failure := directory.failure()) else "was interrupted"
        return f"the run {name} {why}; continue it with: coordinator learn --resume {name}"
    return (
        f"the run {name} has ended; its network is in {directory.model} (predict --model), its figures in result.json"
    )
