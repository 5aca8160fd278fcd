"""`python -m tests.figures.signatures`: measure what signed commands cost: in a recovery, and in memory.

A network of 86 programs learns digits over TCP with keys. One program after another is killed. An eavesdropper with a node's key
counts the commands of each recovery; each is signed once and verified once. Their share of the recovery is an upper bound,
because nodes verify at the same time. The memory is that of a forked program that verifies and of one that doesn't; of a forked node
over TCP, with keys and without; and of a node in a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import zmq

from coordinator.bench.network import measure_network
from coordinator.bench.transports import CURVE, TCP, Prepared, prepared
from coordinator.bench.wire import Order
from coordinator.job import Job
from coordinator.local.launcher import LocalRun
from neuron_node.ed25519 import new_signing_pair, signer, verifier
from neuron_node.keys import BROKER, NODE
from tests.figures.disturbed import CHECKOUT

NODES = 86
TIMES = 5_000
VERIFIES = 200
COMMAND = bytes(200)
CALM_STEPS = 30
STARTED_SECONDS = 3.0
LARGEST_SHARE, LARGEST_FORKED_MB, LARGEST_ALONE_MB = 0.05, 0.3, 1.5


def main() -> int:
    """Exit 1 if a limit was not kept."""
    parser = argparse.ArgumentParser(prog="signatures", description=__doc__)
    parser.add_argument("--kills", type=int, default=15, help="how many programs to kill (default 15)")
    options = parser.parse_args()
    public, secret = new_signing_pair()
    sign, verify = signer(secret), verifier(public)
    signature = sign(COMMAND)
    seconds = _seconds_of(lambda: sign(COMMAND)), _seconds_of(lambda: verify(signature, COMMAND))
    with tempfile.TemporaryDirectory(prefix="figures-") as name:
        figure = _recoveries(Path(name), options.kills, sum(seconds))
    figure |= {"sign_us": round(1e6 * seconds[0], 1), "verify_us": round(1e6 * seconds[1], 1)}
    figure["verifying_mb"] = [_forked_mb(times, lambda: verify(signature, COMMAND)) for times in (0, VERIFIES)]
    figure |= _memory()
    print(json.dumps(figure, indent=1))
    return int(
        figure["share_p50"] > LARGEST_SHARE
        or figure["verifying_mb"][1] - figure["verifying_mb"][0] > LARGEST_FORKED_MB
        or figure["alone_mb"][1] - figure["alone_mb"][0] > LARGEST_ALONE_MB
    )


def _seconds_of(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(TIMES):
        call()
    return (time.perf_counter() - begun) / TIMES


def _recoveries(folder: Path, kills: int, seconds_a_command: float) -> dict[str, Any]:
    """Kill programs, one after another, and return what the recoveries took."""
    directory = Job.from_flags({"dataset": "digits", "epochs": 100_000}, None).create_run(folder / "runs")
    how = prepared(CURVE, folder)
    took, commands = [], []
    with directory.claimed(), LocalRun(directory, NODES, broker=how.broker, keys=how.keys) as run:
        events = run.events()
        _await(events, "wired")
        with zmq.Context() as context, _eavesdropper(context, how) as sub:
            for number in range(kills):
                _await(events, "progress", CALM_STEPS)
                _drained(sub)
                node = f"node-{1 + (7 * number) % NODES}"
                run.command(
                    {"do": "kill", "nodes": [node], "number": number, "of": kills, "neuron": "", "after_step": 0}
                )
                begun = _await(events, "struck")["at"]
                _await(events, "recovered")
                took.append(time.monotonic() - begun)
                commands.append(_drained(sub))
    shares = [count * seconds_a_command / seconds for count, seconds in zip(commands, took, strict=True)]
    return {
        "recoveries": kills,
        "recovery_seconds_p50": round(statistics.median(took), 3),
        "commands_p50": statistics.median(commands),
        "share_p50": round(statistics.median(shares), 4),
        "share_most": round(max(shares), 4),
    }


def _await(events: Iterator[dict[str, Any]], name: str, times: int = 1) -> dict[str, Any]:
    for event in events:
        if event["event"] == "failed":
            raise SystemExit(event["reason"])
        if event["event"] == name:
            times -= 1
            if times == 0:
                return event
    raise SystemExit(f"the run ended before {name}")


def _eavesdropper(context: zmq.Context[zmq.Socket[bytes]], how: Prepared) -> zmq.Socket[bytes]:
    """Return a socket that receives all commands to nodes."""
    own = how.keys_of(NODE)
    assert own is not None
    sub = context.socket(zmq.SUB)
    own.client_of(BROKER)(sub)
    sub.setsockopt(zmq.SUBSCRIBE, b"N")
    sub.connect(how.broker.outward)
    return sub


def _drained(sub: zmq.Socket[bytes]) -> int:
    count = 0
    while sub.poll(100):
        sub.recv()
        count += 1
    return count


def _forked_mb(times: int, call: Callable[[], object]) -> float:
    """Return the proportional share of memory of forked programs that call a function some times."""
    gc.collect()
    gc.freeze()
    done, tell = os.pipe()
    processes = []
    for _ in range(NODES):
        process = os.fork()
        if process == 0:
            for _ in range(times):
                call()
            os.write(tell, b".")
            signal.pause()
        processes.append(process)
    for _ in processes:
        os.read(done, 1)
    sizes = [psutil.Process(process).memory_full_info().pss / 1024 / 1024 for process in processes]
    for process in processes:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return round(statistics.median(sizes), 3)


def _memory() -> dict[str, Any]:
    """Return the memory of nodes, without keys and with: forked ones, and ones in a process of their own."""
    order = Order((64, 12, 10), 1, 14, 3.0)
    forked = [measure_network(_over(order, transport)).memory_megabytes_per_node for transport in (TCP, CURVE)]
    return {"forked_mb": forked, "alone_mb": [_alone_mb(transport) for transport in (TCP, CURVE)]}


def _over(order: Order, transport: str) -> Order:
    return Order(order.layers, order.group_size, order.batch_size, order.seconds, transport=transport)


def _alone_mb(transport: str) -> float:
    """Return the memory of a node that no supervisor has forked, and that no other program shares."""
    with tempfile.TemporaryDirectory(prefix="figures-") as name:
        how = prepared(transport, Path(name))
        keys = ["--keys", str(how.keys)] if how.keys else ["--insecure"]
        sizes = []
        where = ["--broker-in", how.broker.inward, "--broker-out", how.broker.outward]
        binds = ["--bind-in", how.broker.inward, "--bind-out", how.broker.outward]
        broker = _started("neuron_node.broker", *binds, *keys)
        for _ in range(5):
            node = _started("neuron_node", *where, *keys)
            time.sleep(STARTED_SECONDS)
            sizes.append(psutil.Process(node.pid).memory_full_info().uss / 1024 / 1024)
            node.kill()
            node.wait()
        broker.kill()
        broker.wait()
    return round(statistics.median(sizes), 2)


def _started(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=CHECKOUT, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
