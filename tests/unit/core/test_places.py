"""A node takes part only with a key that its registration proves, and that has a free place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.machine import CoordinatorMachine
from coordinator.places import Places
from coordinator.security.keyring import Keyring
from neuron_node.codec import encode
from neuron_node.events import Received
from neuron_node.keys import COORDINATOR as COORDINATOR_KEY
from neuron_node.keys import NODE, KeysFolder
from neuron_node.protocol import NOBODY, Header, Probe, Register, Reject, Welcome
from neuron_node.registration_proof import Registrant, is_proof, prove
from neuron_node.security import OwnKeys
from neuron_node.x25519 import shared_secret
from tests.coordinators import THREE, life, on_disk, tell
from tests.networks import FINGERPRINT
from tests.roles import messages, sent


class Network:
    """A coordinator with keys on disk."""

    def __init__(self, folder: Path) -> None:
        self.keyring = Keyring(folder)
        self.keyring.init(places=2)
        self.keys = KeysFolder(folder)
        self.places = Places(OwnKeys(self.keys, self.keys.own([COORDINATOR_KEY])))
        self.machine = CoordinatorMachine(THREE, key_of=self.places)
        [(address, probe)] = sent(on_disk(self.machine, self.machine.start(0.0)))
        assert isinstance(probe, Probe)
        self.machine.handle(Received(address + encode(probe)), 0.0)

    def registration(self, number: int, key: str = "neurons", name: str = "") -> Register:
        """Return the registration of a node that holds this key."""
        own = self.keys.own([NODE], key)
        secret = shared_secret(own.curve_secret, self.keys.holder(COORDINATOR_KEY).curve_public)
        registrant = Registrant(life(number), name or f"node-{number}", "host", number, "")
        return _registration(registrant, key, prove(secret, registrant))

    def answer(self, message: Register) -> Welcome | Reject:
        [answer] = [one for one in messages(tell(self.machine, message)) if isinstance(one, Welcome | Reject)]
        return answer


def _registration(registrant: Registrant, key: str, proof: bytes | None) -> Register:
    header = Header(NOBODY, 0, 0, registrant.incarnation)
    return Register(header, registrant.name, "host", registrant.process, "1", FINGERPRINT, "", key, proof)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path / "keys")


def test_a_key_admits_as_many_nodes_as_it_has_places(network: Network) -> None:
    """Two nodes get in with two places, repetitions change nothing, a third is refused, and another key has its own places."""
    for number in (1, 2, 1, 2):
        assert isinstance(network.answer(network.registration(number)), Welcome)
    refusal = network.answer(network.registration(3))
    assert isinstance(refusal, Reject)
    assert refusal.reason == "the key neurons is in use: its 2 places are taken"
    network.keyring.add("guest", NODE, 1)
    network.places._look_due = 0.0
    assert isinstance(network.answer(network.registration(3, "guest")), Welcome)
    refusal = network.answer(network.registration(4, "guest"))
    assert isinstance(refusal, Reject)
    assert refusal.reason == "the key guest is in use: its only place is taken"


def test_a_node_that_comes_back_takes_its_own_place(network: Network) -> None:
    """With all places taken, a restarted node gets in under its name once its earlier life is known to be over."""
    for number in (1, 2):
        network.answer(network.registration(number))
    again = network.registration(9, name="node-2")
    own_run = again._replace(header=again.header._replace(run=THREE.run))
    answers = messages(tell(network.machine, own_run))
    assert any(isinstance(answer, Welcome) for answer in answers)
    assert {member.name for member in network.machine.membership.in_order()} == {"node-1", "node-2"}


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message._replace(proof=None),
        lambda message: message._replace(proof=bytes(32)),
        lambda message: message._replace(key=""),
        lambda message: message._replace(key="guest"),
        lambda message: message._replace(key=COORDINATOR_KEY),
        lambda message: message._replace(name="another"),
        lambda message: message._replace(endpoint="tcp://10.0.0.1:5"),
        lambda message: message._replace(header=message.header._replace(incarnation=life(7))),
    ],
    ids=["no proof", "wrong proof", "no key", "unknown key", "no node's key", "name", "endpoint", "incarnation"],
)
def test_a_registration_must_prove_its_key(network: Network, change: Callable[[Register], Register]) -> None:
    """A registration without the proof, or whose fields were changed, is refused and makes no member."""
    refusal = network.answer(change(network.registration(1)))
    assert isinstance(refusal, Reject)
    assert "does not prove" in refusal.reason
    assert not network.machine.membership.members


def test_a_key_takes_no_name_of_another_key(network: Network) -> None:
    """The holder of one key can't end the node of another by registering under its name."""
    network.keyring.add("guest", NODE, 1)
    network.places._look_due = 0.0
    network.answer(network.registration(1))
    refusal = network.answer(network.registration(5, "guest", name="node-1"))
    assert isinstance(refusal, Reject)
    assert refusal.reason == "the name node-1 is that of a node with another key"


def test_a_revoked_key_is_refused(network: Network) -> None:
    """After its revocation, the proof of a key admits no node."""
    network.keyring.add("guest", NODE, 1)
    message = network.registration(1, "guest")
    network.keyring.revoke("guest")
    network.places._look_due = 0.0
    assert isinstance(network.answer(message), Reject)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_fields_of_a_proof_are_kept_apart(secret: bytes, name: str, host: str, endpoint: str) -> None:
    """A proof belongs to one registration: moving characters between fields makes it wrong."""
    registrant = Registrant(life(1), name, host, 7, endpoint)
    proof = prove(secret, registrant)
    assert is_proof(proof, secret, registrant)
    moved = registrant._replace(name=name + host, host="")
    assert is_proof(proof, secret, moved) == (moved == registrant)
    assert is_proof(proof, secret[::-1], registrant) == (secret[::-1] == secret)
