"""Somebody listens at the broker of a run, and sends data frames again with the last bit of the last number turned.

An altered copy must change nothing if the frame itself arrived. If a connection breaks, frames are lost, and a copy may be taken
for a frame (docs/reliability.md). So only a run that kept all its connections is judged.
"""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq

from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS
from neuron_node.frames import NUMBER_BYTES, NUMBERS_BEGIN, split
from tests.processes.programs import Bench, await_that

pytestmark = [pytest.mark.processes, pytest.mark.slow]

EPOCHS = "300"
RUN_AT_MOST_SECONDS = 600.0
RUNS_AT_MOST = 3
"""How often the disturbed run is tried until it keeps all its connections."""
TAKEN_AT_ONCE = 10_000
COPIED_AT_ONCE = 100
"""If more messages have arrived, only the newest are copied: copies that come too late would meet no pass under way."""
BREAKS = ("a connection broke", "closed a connection")
"""What programs and the broker log when a connection breaks."""


def altered(message: bytes) -> bytes | None:
    """The message with another last number; None if its last frame has none."""
    if message[0] not in DATA_LETTERS or len(split(message)[-1]) < NUMBERS_BEGIN + NUMBER_BYTES:
        return None
    copy = bytearray(message)
    copy[-NUMBER_BYTES] ^= 1
    return bytes(copy)


def arrived(sub: zmq.Socket[bytes]) -> list[bytes]:
    """The messages that have arrived; waits a little for the first."""
    messages: list[bytes] = []
    if sub.poll(50):
        with suppress(zmq.Again):
            while len(messages) < TAKEN_AT_ONCE:
                messages.append(sub.recv(zmq.NOBLOCK))
    return messages


@contextmanager
def echo(sockets: Path) -> Iterator[list[int]]:
    """Send altered copies until the block ends; the number sent is in the list."""
    enough, sent = threading.Event(), [0]

    def work() -> None:
        ours: set[bytes] = set()
        with zmq.Context() as context, context.socket(zmq.SUB) as sub, context.socket(zmq.PUSH) as push:
            # Messages that wait here must not fill the broker's memory: it would close connections of the run.
            sub.setsockopt(zmq.RCVHWM, 0)
            for socket, name in ((sub, "out"), (push, "in")):
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(f"ipc://{sockets}/{name}")
            sub.subscribe(b"")
            while not enough.is_set():
                messages = arrived(sub)
                for place, message in enumerate(messages, start=COPIED_AT_ONCE - len(messages)):
                    if message[ADDRESS_LENGTH:] in ours:
                        ours.discard(message[ADDRESS_LENGTH:])
                    elif place >= 0 and (copy := altered(message)) is not None:
                        with suppress(zmq.Again):
                            push.send(copy, zmq.NOBLOCK)
                            ours.add(copy[ADDRESS_LENGTH:])
                            sent[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield sent
    finally:
        enough.set()
        thread.join()


def breaks(folder: Path) -> list[str]:
    """The lines in the logs of a run that say that a connection broke."""
    logs = [log.read_text(encoding="utf-8") for log in sorted((folder / "logs").glob("*.log"))]
    assert any(logs), "the programs of the run log nothing"
    return [line for log in logs for line in log.splitlines() if any(words in line for words in BREAKS)]


def metrics(folder: Path) -> list[list[str]]:
    """The numbers of every line of the metrics: not the time, nor the generation, which rises if a busy machine delays a node."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    numbers = [place for place, name in enumerate(lines[0]) if name not in ("seconds", "generation")]
    return [[line[place] for place in numbers] for line in lines]


@pytest.mark.parametrize("more", [[], ["--group-size", "4", "--batch-size", "8"]], ids=["neurons", "groups"])
def test_altered_echoes_change_no_bit(bench: Bench, more: list[str]) -> None:
    """The sha256 and every line of metrics.csv are those of the run that nobody disturbs."""
    arguments = ("iris", "--epochs", EPOCHS, *more)
    calm_program = bench.learn(*arguments, "--name", "calm")
    calm_program.process.wait(RUN_AT_MOST_SECONDS)
    calm = calm_program.result()
    for attempt in range(RUNS_AT_MOST):
        name = f"disturbed-{attempt}"
        disturbed = bench.learn(*arguments, "--name", name)
        [sockets] = await_that(lambda: [out.parent for out in bench.sockets.glob("*/out")], "a broker")
        with echo(sockets) as sent:
            disturbed.process.wait(RUN_AT_MOST_SECONDS)
            result = disturbed.result()
        broken = breaks(bench.runs / name)
        if not broken:
            break
    assert not broken, "no run kept all its connections, so none can be judged"
    assert sent[0] > 1_000
    assert result["weights_sha256"] == calm["weights_sha256"]
    assert metrics(bench.runs / name) == metrics(bench.runs / "calm")
