"""`python -m tests.figures.clients`: measure what clients at the front door cost a training run.

One run of 86 programs trains. In turn, for some seconds each, there are no clients and many clients. Each client subscribes to
the events and asks for the status once a second; one subscribes and asks ten times a second, and never reads. The speed of
training with clients is compared with that of the seconds before and after, in the same run.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from coordinator.client import Client
from coordinator.front_door import published
from neuron_node.codec import encode
from neuron_node.protocol import NOBODY, Header, Request
from tests.figures.disturbed import CHECKOUT
from tests.roles import NO_ROWS

ASKS = "import sys; from tests.figures.clients import ask_on; ask_on(sys.argv[1], int(sys.argv[2]))"
PATIENCE_SECONDS = 30.0
DEAF_INTERVAL_SECONDS = 0.1
SLOWEST_RATIO = 0.97


def main() -> int:
    """Exit 1 if the limit is not kept."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=20, help="how many clients (default 20)")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long with clients, in all (default 300)")
    parser.add_argument("--window", type=float, default=30.0, help="seconds between two changes (default 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="figures-") as runs, training(runs) as (process, door):
        with Client(door, PATIENCE_SECONDS) as client:
            figure = _measure(client, door, process.pid, options)
            client.ask("stop")
        process.wait()
    figure["ratio_at_least"] = SLOWEST_RATIO
    print(json.dumps(figure))
    return int(figure["ratio"] < SLOWEST_RATIO)


def ask_on(door: str, clients: int) -> None:
    """Be `clients` clients at a front door, one of which never reads, until the process is killed. Print a line when all ask."""
    with zmq.Context() as context:
        deaf, listener = context.socket(zmq.DEALER), context.socket(zmq.SUB)
        for socket, endpoint in ((deaf, door), (listener, published(door))):
            socket.setsockopt(zmq.RCVHWM, 1)
            socket.connect(endpoint)
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        others = [Client(door, PATIENCE_SECONDS) for _ in range(clients - 1)]
        for client in others:
            client.watch_events()
            client.ask("status")
        print("asking", flush=True)
        interval, number = DEAF_INTERVAL_SECONDS, 0
        while True:
            for client in others:
                client.ask("status")
                time.sleep(1 / len(others))
                if time.monotonic() // interval > number:
                    number = int(time.monotonic() // interval)
                    request = Request(Header(NOBODY, 0, 0, NOBODY), number.to_bytes(8, "big"), "neurons", "{}", NO_ROWS)
                    try:
                        deaf.send(encode(request), zmq.NOBLOCK)
                    except zmq.Again:
                        continue


@contextmanager
def training(runs: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Train digits without end; yield the command and the endpoint of its front door."""
    command = ["learn", "digits", "--epochs", "100000", "--runs", runs, "--name", "measured"]
    process = subprocess.Popen(
        [sys.executable, "-m", "coordinator", *command], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    # Without a handler, SIGTERM would end this program at once, and leave the run behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for line in process.stderr:
            if line.startswith("wired"):
                break
        yield process, json.loads(Path(runs, "measured", "endpoints.json").read_text(encoding="utf-8"))["door"]
    finally:
        process.terminate()
        process.communicate()


def _measure(client: Client, door: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the ratio of the speeds and the memory of the coordinator, from windows in turn without and with clients."""
    coordinator = program_below(pid, "coordinator")
    pairs = max(1, round(options.seconds / options.window))
    memory = [memory_mb(coordinator)]

    def with_clients() -> float:
        with begun(ASKS, door, options.clients) as asking:
            try:
                return speed(client, options.window)
            finally:
                asking.kill()
                memory.append(memory_mb(coordinator))

    ratios, _ = in_turn(client, options.window, pairs, with_clients)
    return {
        "clients": options.clients,
        "seconds_with_clients": pairs * options.window,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_each_window": [round(ratio, 3) for ratio in ratios],
        "coordinator_mb": memory,
    }


@contextmanager
def begun(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code as a program; yield it when it has printed a line. Its start costs CPU too, but once."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline(), "the program ended"
        yield process


def in_turn(client: Client, window: float, pairs: int, disturbed: Callable[[], float]) -> tuple[list[float], float]:
    """Measure the speed without and with a disturbance in turn, in windows of so many seconds.

    `disturbed` returns the speed with it. Return each such speed divided by the mean of those before and after, and the last
    speed without.
    """
    before, ratios = speed(client, window), []
    for _ in range(pairs):
        during, after = disturbed(), speed(client, window)
        ratios.append(during / statistics.mean((before, after)))
        before = after
    return ratios, before


def speed(client: Client, seconds: float) -> float:
    """Return the steps per second within a window."""
    begun, first = time.monotonic(), client.ask("status")[0]["step"]
    time.sleep(seconds)
    last = client.ask("status")[0]["step"]
    speed: float = (last - first) / (time.monotonic() - begun)
    return speed


def program_below(ancestor: int, name: str) -> int:
    """Return the process with this name among the descendants of another."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for process in parents:
        above = process
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and name in Path(f"/proc/{process}/comm").read_text():
            return process
    raise SystemExit(f"found no {name} below process {ancestor}")


def memory_mb(process: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    raise SystemExit(f"process {process} has no memory; has it ended?")


if __name__ == "__main__":
    sys.exit(main())
