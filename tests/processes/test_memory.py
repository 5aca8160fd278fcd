"""Memory of broker and nodes while a peer attacks them: at most 64 MB more than before, and back within 10 s."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from neuron_node.addresses import EVERY_NODE, group_address, probe_address
from tests.processes.attackers import RawPeer, connected, encoded, resident_bytes, subscription
from tests.processes.programs import Bench, Program, await_that, in_memory_sha256

pytestmark = pytest.mark.processes

MORE_AT_MOST_BYTES = 64 * 1024 * 1024
BACK_BYTES = 16 * 1024 * 1024
SMALL_NETWORK = ("--max-message", "4000000")
"""The size of the largest message of a small network, as a local run states it."""
BACK_SECONDS = 10.0
SENT_AT_MOST_BYTES = 400_000_000
ATTACK_AT_MOST_SECONDS = 3.0
SAMPLE_SECONDS = 0.005
LEARNT_AT_MOST_SECONDS = 300.0

Attack = Callable[[str, str, ExitStack], list[RawPeer]]
"""An attack on the two endpoints of a broker. It returns the peers that the broker must cut off."""


def message(address: bytes, size: int) -> bytes:
    """Return a message of this size that no node can use."""
    body = os.urandom(size - len(address) - 4)
    return encoded(address + len(body).to_bytes(4, "big") + body)


def send_for_long(peer: RawPeer, data: bytes) -> None:
    """Send the data repeatedly, until enough bytes are sent, the time is over, or the connection is closed."""
    deadline, sent = time.monotonic() + ATTACK_AT_MOST_SECONDS, 0
    while sent < SENT_AT_MOST_BYTES and time.monotonic() < deadline and peer.send_raw(data):
        sent += len(data)


def one_large_frame(inward: str, _outward: str, peers: ExitStack) -> list[RawPeer]:
    """Send 60 MB to every node."""
    peer = connected(peers, inward, "PUSH")
    peer.send_raw(message(EVERY_NODE, 60_000_000))
    return [peer]


def many_subscriptions(_inward: str, outward: str, peers: ExitStack) -> list[RawPeer]:
    """Subscribe to 200,000 different addresses."""
    peer = connected(peers, outward, "SUB")
    peer.send_raw(b"".join(subscription(os.urandom(9)) for _ in range(200_000)))
    return [peer]


def silent_readers(inward: str, outward: str, peers: ExitStack) -> list[RawPeer]:
    """Connect ten peers that do not read, and send messages to them as fast as the broker accepts them."""
    address = probe_address(b"silent-r")
    readers = [connected(peers, outward, "SUB") for _ in range(10)]
    for reader in readers:
        reader.send_raw(subscription(address))
    send_for_long(connected(peers, inward, "PUSH"), message(address, 100_000))
    return []


def endless_parts(inward: str, _outward: str, peers: ExitStack) -> list[RawPeer]:
    """Send a message without a last part."""
    peer = connected(peers, inward, "PUSH")
    send_for_long(peer, encoded(bytes(1_000_000), more=True))
    return [peer]


def endless_small_parts(inward: str, _outward: str, peers: ExitStack) -> list[RawPeer]:
    """Send a message without a last part, whose parts are so small that their bookkeeping needs more memory than their bytes."""
    peer = connected(peers, inward, "PUSH")
    send_for_long(peer, encoded(bytes(10), more=True) * 10_000)
    return [peer]


def many_frames(inward: str, _outward: str, peers: ExitStack) -> list[RawPeer]:
    """Send frames to a group faster than its node can drop them."""
    send_for_long(connected(peers, inward, "PUSH"), message(group_address(1), 1_000) * 100)
    return []


def frames_of_the_largest_size(inward: str, _outward: str, peers: ExitStack) -> list[RawPeer]:
    """Send messages of one million bytes to every node."""
    send_for_long(connected(peers, inward, "PUSH"), message(EVERY_NODE, 1_000_000))
    return []


ATTACKS = (one_large_frame, many_subscriptions, silent_readers, endless_parts, endless_small_parts, many_frames)


class Meter:
    """The memory of some processes, measured in a thread while an attack runs."""

    def __init__(self, processes: list[int]) -> None:
        self._before = {process: resident_bytes(process) for process in processes}
        assert all(self._before.values())
        self.most = 0

    def more(self) -> int:
        """Return the growth of the process that has grown most."""
        return max(resident_bytes(process) - before for process, before in self._before.items())

    def __enter__(self) -> Meter:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, self.more())


def check_bounded(attack: Attack, ends: tuple[str, str], processes: list[int]) -> None:
    """Check that the memory stays within its bound during an attack, and falls after it while the attackers stay connected."""
    with Meter(processes) as meter, ExitStack() as peers:
        cut_off = attack(*ends, peers)
        for peer in cut_off:
            await_that(peer.is_closed, "the end of an attacker's connection")
        await_that(lambda: meter.more() < BACK_BYTES, "the memory to go back", BACK_SECONDS)
    assert meter.most <= MORE_AT_MOST_BYTES, f"{attack.__name__}: {meter.most:,} bytes more"


@pytest.fixture
def broker(bench: Bench, request: pytest.FixtureRequest) -> Iterator[tuple[Program, tuple[str, str]]]:
    """Start a broker, and check after the test that it ends with exit code 0."""
    ends = (f"ipc://{bench.sockets}/in", f"ipc://{bench.sockets}/out")
    program = bench.start(
        "neuron_node.broker", "--bind-in", ends[0], "--bind-out", ends[1], *SMALL_NETWORK, *request.param
    )
    for end in ends:
        await_that(lambda end=end: Path(end.removeprefix("ipc://")).exists(), "a broker")  # type: ignore[misc]
    yield program, ends
    program.process.terminate()
    assert program.end() == 0
    bench.check_nothing_left()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize(
    "broker",
    [pytest.param((), id="joins"), pytest.param(("--no-join",), id="proxy", marks=pytest.mark.slow)],
    indirect=True,
)
def test_memory_of_a_broker_is_bounded(broker: tuple[Program, tuple[str, str]], attack: Attack) -> None:
    """The memory stays within its bound under each attack, whether the broker joins frames or not."""
    program, ends = broker
    check_bounded(attack, ends, [program.process.pid])


@pytest.mark.parametrize("broker", [()], indirect=True)
def test_broker_says_once_for_each_cause_why_it_closed_connections(broker: tuple[Program, tuple[str, str]]) -> None:
    """Two floods and ten silent readers cause one line for each of the two causes."""
    program, ends = broker
    for attack in (endless_parts, endless_parts, silent_readers):
        with ExitStack() as peers:
            for peer in attack(*ends, peers):
                await_that(peer.is_closed, "the end of a flood")
            if attack is silent_readers:
                await_that(lambda: "does not read its messages" in program.said(), "the end of silent readers")
    lines = [line for line in program.said().splitlines() if " WARNING " in line]
    assert all("closed a connection" in line for line in lines), lines
    assert len([line for line in lines if "sends faster than" in line]) == 1, lines


@pytest.mark.slow
@pytest.mark.parametrize("wiring", ["broker", "direct"])
def test_training_under_all_attacks_ends_with_the_same_bits(bench: Bench, wiring: str) -> None:
    """Broker and nodes stay within their bounds, no program is started again, and the weights are those of an undisturbed run."""
    learning = bench.learn("iris", "--epochs", "1200", "--name", "r", "--wiring", wiring, "--group-size", "4")
    learning.await_line("epoch 1")
    inward, outward = json.loads((bench.runs / "r" / "endpoints.json").read_text())["broker"]
    names = ("neuron-broker", "neuron-node")
    programs = sorted(program.pid for name in names for program in bench.programs(name))
    for attack in (*ATTACKS, frames_of_the_largest_size):
        check_bounded(attack, (inward, outward), programs)
    assert learning.process.poll() is None, "the training ended before the attacks did"
    assert sorted(program.pid for name in names for program in bench.programs(name)) == programs
    learning.process.wait(LEARNT_AT_MOST_SECONDS)
    assert learning.result()["weights_sha256"] == in_memory_sha256(bench.runs / "r")
