"""Outlets over TCP with keys: only valid keys hear data, and a revoked key loses its connection."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from coordinator.security.keyring import Keyring
from neuron_node.addresses import group_address
from neuron_node.direct import KEY_MARK, DirectLink, Listening
from neuron_node.keys import NODE, KeysFolder
from neuron_node.security import OwnKeys
from neuron_node.transport import Endpoints
from tests.processes.programs import await_that

ADDRESS = group_address(1)
TICK_MS = 20


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="xm-"))
    yield made
    shutil.rmtree(made)


def hears(listener: zmq.Socket[bytes], outlet: DirectLink, text: bytes) -> bool:
    """Publish a message at an outlet; return whether it arrives."""
    outlet.broken()
    outlet._publish(ADDRESS + text, 0, True)
    while listener.poll(TICK_MS):
        if listener.recv() == ADDRESS + text:
            return True
    return False


def test_a_revoked_peer_hears_no_more_data(folder: Path) -> None:
    """The outlet closes all connections; the holder of a valid key connects again, the other one stays without data."""
    keyring = Keyring(folder / "keys")
    keyring.init(places=2)
    keyring.add("guest", NODE, 1)
    keys = KeysFolder(folder / "keys")
    own = {name: OwnKeys(keys, keys.own([NODE], name)) for name in ("neurons", "guest")}
    broker = Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
    outlet = DirectLink(broker, TICK_MS, bytes(8), Listening("tcp://127.0.0.1:*", 64), keys=own["neurons"])
    endpoint, _, key = outlet.endpoint.partition(KEY_MARK)
    assert key == "neurons"
    with zmq.Context() as context:
        listeners = {name: context.socket(zmq.SUB) for name in own}
        for name, listener in listeners.items():
            listener.setsockopt(zmq.LINGER, 0)
            own[name].client_of("neurons")(listener)
            listener.subscribe(ADDRESS)
            listener.connect(endpoint)
            await_that(lambda listener=listener: hears(listener, outlet, b"before"), "data")  # type: ignore[misc]
        keyring.revoke("guest")
        await_that(lambda: not hears(listeners["guest"], outlet, b"revoked"), "the end of the connection")
        await_that(lambda: hears(listeners["neurons"], outlet, b"after"), "data over another connection")
        assert not hears(listeners["guest"], outlet, b"after")
        for listener in listeners.values():
            listener.close()
    outlet.close()
