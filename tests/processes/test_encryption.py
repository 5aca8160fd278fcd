"""Connections over TCP with keys: a network learns as without them, and no program without a valid key gets in."""

from __future__ import annotations

import json
import signal

import pytest

from coordinator.security.keyring import Keyring
from neuron_node.keys import NODE, VIEWER
from tests.ports import free_ports
from tests.processes.programs import Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes


class Network:
    """A broker and a service for xor over TCP, all with keys."""

    def __init__(self, bench: Bench, *settings: str) -> None:
        self.bench = bench
        self.folder = bench.folder / "keys"
        self.keyring = Keyring(self.folder)
        self.keyring.init(places=6)
        inward, outward, door = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        self.door = door
        self.where = ("--broker-in", inward, "--broker-out", outward)
        self.keys = ("--keys", str(self.folder))
        self.broker = bench.start("neuron_node.broker", "--bind-in", inward, "--bind-out", outward, *self.keys)
        self.service = bench.start(
            "coordinator", "serve", "xor", "--name", "r", "--bind-door", door, *settings, *self.where, *self.keys
        )

    def node(self, number: int, *more: str) -> Program:
        """Start a node, which can work in either wiring."""
        where = (*self.where, *self.keys, "--listen", "tcp://127.0.0.1:*")
        return self.bench.start("neuron_node", *where, "--name", f"n-{number}", *more)

    def ask(self, command: str, *more: str) -> Program:
        return self.bench.start("coordinator", command, "--door", self.door, "--patience", "5", *more)

    def stop(self, nodes: list[Program]) -> None:
        """End all programs through the front door."""
        assert self.ask("stop", *self.keys, "--key", "operator").end() == 0
        assert [program.end() for program in (self.service, *nodes)] == [0] * (1 + len(nodes))
        self.broker.process.send_signal(signal.SIGTERM)
        assert self.broker.end() == 0
        self.bench.check_nothing_left()


def last_line(program: Program) -> str:
    """Return the last line of a program that ends with exit code 2."""
    assert program.end() == 2, program.said()
    assert "Traceback" not in program.said()
    return program.said().splitlines()[-1]


@pytest.mark.parametrize("wiring", ["broker", pytest.param("direct", marks=pytest.mark.slow)])
def test_a_network_with_keys_learns_the_same_weights(bench: Bench, wiring: str) -> None:
    """With encryption and signatures, in broker and direct wiring, the weights are those of the computation in memory."""
    network = Network(bench, "--epochs", "40", "--wiring", wiring)
    nodes = [network.node(number) for number in range(6)]
    line = network.service.await_line("trained")
    status = network.ask("status", "--json", *network.keys).result()
    assert status["weights_sha256"] in line
    assert status["weights_sha256"] == in_memory_sha256(bench.run_folder())
    network.stop(nodes)
    secrets = [field for path in network.folder.glob("*/*.json") for field in json.loads(path.read_text()).items()]
    hidden = [value for name, value in secrets if name.endswith("_secret") and value]
    logs = "".join(path.read_text(errors="replace") for path in bench.folder.rglob("*.log"))
    assert hidden and not any(value in text for value in hidden for text in (logs, network.service.said()))


def test_programs_without_a_valid_key_are_refused(bench: Bench) -> None:
    """Without a valid key, or with a key file that others can read, a program ends with one line and exit code 2."""
    network = Network(bench, "--epochs", "100000")
    nodes = [network.node(number) for number in range(6)]
    network.service.await_line("wired")
    # What is refused does not depend on the training, which would take the time of both cores.
    assert network.ask("pause", *network.keys).end() == 0
    keyring = network.keyring
    foreign = bench.folder / "foreign"
    Keyring(foreign).init(places=6)
    keyring.add("guest", NODE, 1)
    keyring.revoke("guest")
    keyring.add("tom", VIEWER)

    # A broker with other keys does not answer: these two wait for an answer.
    strangers = (
        bench.start("neuron_node", *network.where, "--keys", str(foreign)),
        network.ask("status", "--keys", str(foreign)),
    )
    for arguments in (("neuron_node", *network.where), ("coordinator", "serve", "iris", "--name", "x", *network.where)):
        assert "needs keys" in last_line(bench.start(*arguments))
    assert "needs keys" in last_line(network.ask("status"))
    assert "revoked" in last_line(network.node(7, "--key", "guest"))
    assert "is for operators" in last_line(network.ask("stop", *network.keys, "--key", "tom"))
    assert network.ask("status", *network.keys, "--key", "tom").end() == 0
    assert "name yours with --key" in last_line(network.ask("status", *network.keys))
    own = network.folder / "operator/operator.json"
    own.chmod(0o640)
    assert "chmod 600" in last_line(network.ask("status", *network.keys, "--key", "operator"))
    own.chmod(0o600)
    assert ["has other keys" in last_line(program) for program in strangers] == [True, True]
    assert [path.name for path in bench.runs.iterdir()] == ["r"]
    await_that(lambda: "refused a program" in network.broker.said(), "a line of the broker")
    network.stop(nodes)


def test_a_key_is_used_by_no_more_nodes_than_it_has_places(bench: Bench) -> None:
    """A node too many ends with one line, which the coordinator logs too. A node that comes back under its name gets in."""
    network = Network(bench, "--epochs", "100000")
    nodes = [network.node(number) for number in range(6)]
    network.service.await_line("wired")
    too_many = network.node(6)
    assert too_many.end() == 1
    assert "the key neurons is in use: its 6 places are taken" in too_many.said().splitlines()[-1]
    await_that(lambda: "refused node" in network.service.said(), "a line of the coordinator")
    nodes[5].process.kill()
    nodes[5].end()
    nodes[5] = network.node(5)
    network.service.await_line("recovered")
    network.stop(nodes)


@pytest.mark.slow
@pytest.mark.parametrize("wiring", ["broker", "direct"])
def test_a_revoked_node_is_locked_out_and_the_run_recovers(bench: Bench, wiring: str) -> None:
    """The node of a revoked key ends with one line; a spare takes its neuron, and the weights are those of a calm run."""
    network = Network(bench, "--epochs", "1000", "--regroup-after-seconds", "0", "--wiring", wiring)
    network.keyring.add("guest", NODE, 1)
    nodes = [network.node(number, "--key", "neurons") for number in range(5)]
    guest = network.node(5, "--key", "guest")
    network.service.await_line("wired")
    spare = network.node(6, "--key", "neurons")
    assert bench.start("coordinator", "keys", "revoke", "guest", *network.keys).end() == 0
    assert "unknown or revoked" in last_line(guest)
    line = network.service.await_line("trained")
    assert in_memory_sha256(bench.run_folder()) in line
    network.stop([*nodes, spare])


def test_insecure_warns_and_stays_on_this_machine(bench: Bench) -> None:
    """A broker that would listen beyond loopback is refused with one line; on loopback there is a warning."""
    [port] = free_ports(1)
    beyond = bench.start(
        "neuron_node.broker", "--insecure", "--bind-in", f"tcp://*:{port}", "--bind-out", f"ipc://{bench.sockets}/o"
    )
    assert "on this machine only" in last_line(beyond)
    without = bench.start(
        "neuron_node.broker", "--bind-in", f"tcp://127.0.0.1:{port}", "--bind-out", f"ipc://{bench.sockets}/o"
    )
    assert "needs keys" in last_line(without)
    broker = bench.start(
        "neuron_node.broker",
        "--insecure",
        "--bind-in",
        f"tcp://127.0.0.1:{port}",
        "--bind-out",
        f"ipc://{bench.sockets}/o",
    )
    await_that(lambda: "WARNING --insecure: connections over TCP" in broker.said(), "a warning")
    # The broker binds this endpoint last. Before that, SIGTERM ends it as it ends any program.
    await_that((bench.sockets / "o").exists, "a broker")
    broker.process.send_signal(signal.SIGTERM)
    assert broker.end() == 0
    bench.check_nothing_left()
