"""Decides how the connections of a program over TCP are protected: by the keys of `--keys`, or not at all with `--insecure`."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from neuron_node.curve import CurveClient, CurveServer
from neuron_node.errors import UserError
from neuron_node.keys import KeysFolder, SecretKeys, folder_from
from neuron_node.transport import is_tcp

INSECURE_VARIABLE = "EXMACHINA_INSECURE"
WARNING = (
    "--insecure: connections over TCP are neither encrypted nor protected by keys; "
    "any program of this machine can read them and command the network"
)

logger = logging.getLogger("exmachina")


class OwnKeys(NamedTuple):
    """The keys of this program, and the public keys of all others."""

    folder: KeysFolder
    own: SecretKeys

    def client_of(self, name: str) -> CurveClient:
        """Return a client of the server with this name, such as the broker. Raises `UserError` if its public key is missing."""
        return CurveClient(self.own.curve_public, self.own.curve_secret, self.folder.holder(name).curve_public)

    def server(self) -> CurveServer:
        """Return a server with the key of this program."""
        return CurveServer(self.own.curve_secret)


def own_keys(
    roles: Sequence[str],
    option: str | os.PathLike[str] | None,
    name: str = "",
    *,
    insecure: bool = False,
    connects: Sequence[str] = (),
    listens: Sequence[str] = (),
) -> OwnKeys | None:
    """Return the keys of a program with one of the given roles; None if its connections need none.

    `option` is the value of --keys, `name` that of --key; `connects` and `listens` are the endpoints of the program.

    Raises:
        UserError: there is no key to use, or no protection although an endpoint needs one.
    """
    tcp = [endpoint for endpoint in (*listens, *connects) if is_tcp(endpoint)]
    if not tcp:
        return None
    folder = folder_from(option)
    if folder is not None:
        return OwnKeys(folder, folder.own(roles, name))
    if not (insecure or os.environ.get(INSECURE_VARIABLE, "") not in ("", "0")):
        raise UserError(
            f"{tcp[0]} needs keys; create them with `coordinator keys init --keys FOLDER`, and name them with --keys FOLDER "
            "(or use --insecure, on this machine only)"
        )
    for endpoint in listens:
        if is_tcp(endpoint) and not is_loopback(endpoint):
            raise UserError(
                f"--insecure listens on this machine only, not at {endpoint}; right would be tcp://127.0.0.1:PORT"
            )
    logger.warning("%s", WARNING)
    return None


def is_loopback(endpoint: str) -> bool:
    """Whether only programs of this machine reach a TCP endpoint."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
