"""Floods by programs without a valid key, and forged commands by one with a node's key: the network learns as without them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.processes.programs import Bench, Program, in_memory_sha256
from tests.processes.test_encryption import Network

pytestmark = pytest.mark.processes


def attack(network: Network, kind: str, count: int, rate: int) -> Program:
    broker = (network.where[1], network.where[3])
    targets = [option for endpoint in (*broker, network.door) for option in ("--target", endpoint)]
    how = ("--count", str(count), "--rate", str(rate))
    return network.bench.start("tests.intruders", kind, *targets, *network.keys, *how)


def counts_of(attacker: Program) -> dict[str, Any]:
    counts = attacker.result()
    del counts["kind"], counts["seconds"]
    return counts


@pytest.mark.parametrize("wiring", ["broker", pytest.param("direct", marks=pytest.mark.slow)])
def test_no_intruder_changes_a_network(bench: Bench, wiring: str) -> None:
    """No handshake with a wrong key is admitted, and after all attacks no node was lost and the weights are the right ones."""
    network = Network(bench, "--epochs", "500", "--wiring", wiring)
    # It hears the first commands of the coordinator, and sends its own from then on.
    commander = attack(network, "commands", 2_000, 500)
    nodes = [network.node(number) for number in range(6)]
    network.service.await_line("wired")
    shakers = attack(network, "handshakes", 200, 1_000)
    refused, sent = counts_of(shakers), counts_of(attack(network, "frames", 5_000, 20_000))
    assert refused == {"refused": 200}
    assert sent["sent"] == 5_000 and "connections refused" not in sent
    forged = counts_of(commander)
    # The coordinator talks to itself when it claims the broker.
    assert forged.pop("programs heard") == len(nodes) + 1
    assert sum(forged.values()) == 2_000 and min(forged.values()) > 100
    line = network.service.await_line("trained")
    assert in_memory_sha256(bench.run_folder()) in line
    status = network.ask("status", "--json", *network.keys, "--key", "operator").result()
    assert status["recoveries"] == 0
    assert all(program.process.poll() is None for program in (network.broker, *nodes))
    network.stop(nodes)
