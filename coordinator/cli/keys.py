"""The commands `keys ...`: create, list, revoke and replace the keys of a network."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option
from coordinator.cli.output import errors, print_json, print_table, shown
from coordinator.cli.suggesting import SuggestingGroup
from coordinator.errors import UserError
from coordinator.security.keyring import Keyring, rows_of
from neuron_node.keys import MOST_PLACES, NODE, OPERATOR, VARIABLE, VIEWER, PublicKeys, folder_from

COLUMNS = ("name", "role", "places", "created", "fingerprint", "revoked")
DEFAULT_PLACES = 1_024

keys_option = click.option(
    "--keys",
    "folder",
    type=click.Path(path_type=Path),
    help=f"The folder of all keys.  [default: ${VARIABLE}]",
)
places_option = click.option(
    "--places",
    type=click.IntRange(1, MOST_PLACES),
    default=DEFAULT_PLACES,
    show_default=True,
    help="Number of node programs that the key is issued for.",
)


@click.group(cls=SuggestingGroup)
def keys() -> None:
    """Create, list, revoke and replace the keys of a network."""


@keys.command(cls=HelpfulCommand, epilog="coordinator keys init --keys keys")
@keys_option
@places_option
@click.option("--keep", is_flag=True, help="Keep the keys that exist, and create only missing ones.")
@click.option("--viewer", is_flag=True, help="Create the key of a first viewer (viewer) too.")
def init(folder: Path | None, places: int, keep: bool, viewer: bool) -> None:
    """Create the keys of the broker and the coordinator, and of a first node (neurons) and a first operator (operator)."""
    for holder in _keyring(folder).init(places, keep=keep, viewer=viewer):
        _say("created", holder)


@keys.command(cls=HelpfulCommand, epilog="coordinator keys add-node host-a --places 20 --keys keys")
@click.argument("name")
@keys_option
@places_option
def add_node(name: str, folder: Path | None, places: int) -> None:
    """Create a key for the nodes of another host."""
    _say("created", _keyring(folder).add(name, NODE, places))


@keys.command(cls=HelpfulCommand, epilog="coordinator keys add-operator anna --keys keys")
@click.argument("name")
@keys_option
def add_operator(name: str, folder: Path | None) -> None:
    """Create a key for a user who may command the network."""
    _say("created", _keyring(folder).add(name, OPERATOR))


@keys.command(cls=HelpfulCommand, epilog="coordinator keys add-viewer ben --keys keys")
@click.argument("name")
@keys_option
def add_viewer(name: str, folder: Path | None) -> None:
    """Create a key for a user who may only look at the network."""
    _say("created", _keyring(folder).add(name, VIEWER))


@keys.command("list", cls=HelpfulCommand, epilog="coordinator keys list --keys keys --json")
@keys_option
@json_option
def list_keys(folder: Path | None, as_json: bool) -> None:
    """List all keys; the fingerprint is a short name of the public key."""
    rows = rows_of(_keyring(folder).holders().values())
    if as_json:
        print_json({"keys": rows})
    else:
        print_table(COLUMNS, [tuple(shown(row[column]) for column in COLUMNS) for row in rows])


@keys.command(cls=HelpfulCommand, epilog="coordinator keys revoke host-a --keys keys")
@click.argument("name")
@keys_option
def revoke(name: str, folder: Path | None) -> None:
    """Mark a key as revoked."""
    _say("revoked", _keyring(folder).revoke(name))


@keys.command(cls=HelpfulCommand, epilog="coordinator keys rotate host-a --keys keys")
@click.argument("name")
@keys_option
def rotate(name: str, folder: Path | None) -> None:
    """Replace a key by a new one of the same name; the old one is then unknown."""
    _say("replaced", _keyring(folder).rotate(name))


@keys.command(cls=HelpfulCommand, epilog="coordinator keys export host-a for-host-a --keys keys")
@click.argument("name")
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True))
@keys_option
def export(name: str, target: Path, folder: Path | None) -> None:
    """Copy the key of one holder, and all public parts, into the new folder TARGET.

    With - as TARGET, a tar archive is written to stdout.
    """
    keyring = _keyring(folder)
    if str(target) != "-":
        keyring.export(name, target)
    elif sys.stdout.isatty():
        raise UserError("the archive has a secret key, and stdout is a terminal; name a folder, or pipe it into tar -x")
    else:
        keyring.export_archive(name, sys.stdout.buffer)


def _keyring(folder: Path | None) -> Keyring:
    found = folder_from(folder)
    if found is None:
        raise UserError(f"which keys? Name their folder with --keys FOLDER, or set {VARIABLE}")
    return Keyring(found.path)


def _say(what: str, holder: PublicKeys) -> None:
    errors.print(f"{what} the key {holder.name} ({holder.role}), fingerprint {holder.fingerprint}")
