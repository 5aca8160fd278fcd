"""Somebody listens at the broker of a run, and sends every data frame again with the last bit of its last number turned."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS
from neuron_node.frames import NUMBER_BYTES, NUMBERS_BEGIN, split
from tests.processes.programs import Bench, await_that

pytestmark = [pytest.mark.processes, pytest.mark.slow]

EPOCHS = "300"
RUN_AT_MOST_SECONDS = 600.0


def altered(message: bytes) -> bytes | None:
    """The message with another last number; None if its last frame has none."""
    if message[0] not in DATA_LETTERS or len(split(message)[-1]) < NUMBERS_BEGIN + NUMBER_BYTES:
        return None
    copy = bytearray(message)
    copy[-NUMBER_BYTES] ^= 1
    return bytes(copy)


@contextmanager
def echo(sockets: Path) -> Iterator[list[int]]:
    """Send altered copies until the block ends; the number sent is in the list."""
    enough, sent = threading.Event(), [0]

    def work() -> None:
        ours: set[bytes] = set()
        with zmq.Context() as context, context.socket(zmq.SUB) as sub, context.socket(zmq.PUSH) as push:
            for socket, name in ((sub, "out"), (push, "in")):
                socket.setsockopt(zmq.LINGER, 0)
                socket.connect(f"ipc://{sockets}/{name}")
            sub.subscribe(b"")
            push.setsockopt(zmq.SNDTIMEO, 1_000)
            while not enough.is_set():
                if not sub.poll(50):
                    continue
                message = sub.recv()
                if message[ADDRESS_LENGTH:] in ours:
                    ours.discard(message[ADDRESS_LENGTH:])
                elif (copy := altered(message)) is not None:
                    ours.add(copy[ADDRESS_LENGTH:])
                    push.send(copy)
                    sent[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield sent
    finally:
        enough.set()
        thread.join()


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
    disturbed = bench.learn(*arguments, "--name", "disturbed")
    [sockets] = await_that(lambda: [out.parent for out in bench.sockets.glob("*/out")], "a broker")
    with echo(sockets) as sent:
        disturbed.process.wait(RUN_AT_MOST_SECONDS)
        result = disturbed.result()
    assert sent[0] > 1_000
    assert result["weights_sha256"] == calm["weights_sha256"]
    assert metrics(bench.runs / "disturbed") == metrics(bench.runs / "calm")
