"""The transports that a measurement compares: sockets in a folder, TCP, and TCP with CURVE."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from coordinator.security.keyring import Keyring
from neuron_node.keys import MOST_PLACES, KeysFolder
from neuron_node.security import OwnKeys
from neuron_node.transport import Endpoints

IPC, TCP, CURVE = TRANSPORTS = ("ipc", "tcp", "curve")


@dataclass(frozen=True)
class Prepared:
    """The broker's endpoints, and the folder of keys; None without encryption."""

    broker: Endpoints
    keys: Path | None

    def keys_of(self, role: str) -> OwnKeys | None:
        """Return the keys of a program with this role; None without encryption."""
        if self.keys is None:
            return None
        folder = KeysFolder(self.keys)
        return OwnKeys(folder, folder.own([role]))


def prepared(transport: str, folder: Path) -> Prepared:
    """Choose the broker's endpoints for one measurement, and make its keys in a folder that exists."""
    if transport == IPC:
        return Prepared(Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out"), None)
    keys = folder / "keys" if transport == CURVE else None
    if keys is not None:
        Keyring(keys).init(MOST_PLACES)
    inward, outward = (f"tcp://127.0.0.1:{port}" for port in _free_ports(2))
    return Prepared(Endpoints(inward, outward), keys)


def _free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that no program uses at this moment."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]
