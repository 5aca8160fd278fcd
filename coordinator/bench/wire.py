"""The bare wire, a program of its own: `python -m coordinator.bench.wire`, started by `measuring`.

The same processes as a local run, forked the same way, with the same sockets at the same broker, the same addresses and
the same frames; but nobody computes, encodes or decodes. Each program counts what it has received and sends bytes that
were made beforehand. No network of one program a group can be faster than this pattern of messages. Where the order says
so, each program also makes the NumPy calls of the nine steps, on arrays of its own: the ceiling of whatever computes with
NumPy in so many programs.

Standard input: one line of JSON (`Order`). Standard output: a line of JSON, `steps_per_second` and `seconds_starting`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path

from coordinator.bench.nine_steps import NineSteps
from coordinator.local.family import die_with_parent, name_process
from coordinator.needs import broker_descriptors
from coordinator.topology import Topology
from coordinator.traffic import Part, Pass, coordinators_part, groups_part
from neuron_node.addresses import probe_address
from neuron_node.broker import run_broker
from neuron_node.errors import JobError, UserError
from neuron_node.messages import IDENTITY_LENGTH
from neuron_node.wiring import Endpoints, Link

SILENCE_MS = 30_000
PROVING_AGAIN_MS = 100
STARTING_AT_MOST_SECONDS = 120.0
FOR_EVER_MS = -1
WARM_UP_STEPS = 5
SENT_BY_REFERENCE_BYTES = 64 * 1024
"""From this size on a frame is handed to ZeroMQ, and taken from it, without a copy."""


@dataclass(frozen=True)
class Order:
    """What to measure, and for how long. A pass that does not learn has only the forward half.

    With `arithmetic` the bare wire computes, and it has so many passes `at_once` on their way; the network does as it does.
    """

    layers: tuple[int, ...]
    group_size: int
    batch_size: int
    seconds: float
    learning: bool = True
    arithmetic: bool = False
    at_once: int = 1
    wiring: str = "broker"
    microbatches: int = 1
    """These two are the network's: the bare wire has a broker and a batch in one piece."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `to_json` made."""
        fields = json.loads(line)
        return cls(**{**fields, "layers": tuple(fields["layers"])})


class BareLink(Link):
    """The sockets of a real program, with all their options, and nothing between them and who uses them."""

    def prove(self, name: bytes) -> None:
        """Return when all subscriptions hold and everything that was sent to prove it has been taken off the socket."""
        address = probe_address(name)
        self.subscribe(address)
        sent = 0
        while True:
            sent += 1
            self.send(address + sent.to_bytes(8, "big"))
            if self._sub.poll(PROVING_AGAIN_MS):
                break
        # One sender's messages keep their order: after this one no earlier probe can come.
        self.send(address + bytes(8))
        while self._sub.recv() != address + bytes(8):
            pass
        self.unsubscribe(address)

    def sender(self, part: Part) -> Callable[[bytes], object]:
        """The quickest way to send what a part sends."""
        if max((message.size for message in part.sent), default=0) < SENT_BY_REFERENCE_BYTES:
            return self._push.send
        # ZeroMQ itself copies what is smaller than this.
        push = self._push.send
        return lambda frame: push(frame, copy=False)

    def receiver(self, large: bool) -> Callable[[], object]:
        """The quickest way to receive one frame."""
        receive = self._sub.recv
        return (lambda: receive(copy=False)) if large else receive


def node_loop(link: BareLink, part: Part, large: bool) -> None:
    """A neuron program without a neuron, for ever."""
    send, receive = link.sender(part), link.receiver(large)
    first, then = [m.frame() for m in part.sent_first], [m.frame() for m in part.sent_then]
    heard_first, heard_then = part.heard_first, part.heard_then
    while True:
        for _ in repeat(None, heard_first):
            receive()
        for frame in first:
            send(frame)
        for _ in repeat(None, heard_then):
            receive()
        for frame in then:
            send(frame)


def computing_loop(link: BareLink, part: Part, large: bool, steps: NineSteps, learning: bool) -> None:
    """The same with the arithmetic of its group, which learns when its error is on its way."""
    send, receive = link.sender(part), link.receiver(large)
    first, then = [m.frame() for m in part.sent_first], [m.frame() for m in part.sent_then]
    while True:
        for _ in repeat(None, part.heard_first):
            receive()
        steps.fire()
        for frame in first:
            send(frame)
        if not learning:
            continue
        for _ in repeat(None, part.heard_then):
            receive()
        steps.reply()
        for frame in then:
            send(frame)
        steps.learn()


def coordinator_loop(link: BareLink, part: Part, large: bool, seconds: float, at_once: int) -> float:
    """A coordinator without data; the steps a second. Raises `JobError` when messages are lost."""
    send, receive, now = link.sender(part), link.receiver(large), time.perf_counter
    frames, due = [message.frame() for message in part.sent_first], part.heard_then

    def run(until: Callable[[int, float], bool]) -> tuple[int, float]:
        steps, begun = 0, now()
        while not until(steps, elapsed := now() - begun):
            for frame in frames:
                send(frame)
            for _ in repeat(None, due):
                receive()
            steps += 1
        return steps, elapsed

    try:
        # All of them but the one that each step sends.
        for frame in frames * (at_once - 1):
            send(frame)
        run(lambda steps, _: steps >= WARM_UP_STEPS + at_once)
        steps, elapsed = run(lambda steps, elapsed: elapsed >= seconds and steps > 0)
    except Exception as fault:
        raise JobError(f"the bare wire fell silent for {SILENCE_MS / 1000:.0f} s: {fault}") from None
    return steps / elapsed


class Wire:
    """The programs of one measurement. As a context manager it leaves none behind."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._topology = Topology(order.layers, order.group_size)
        self._pass = Pass(order.batch_size, order.learning)
        # A frame that is large is so for a whole layer; who hears one is not worth telling apart.
        sizes = [message.size for number in self._ends() for message in self._part(number).sent]
        self._large = max(sizes) >= SENT_BY_REFERENCE_BYTES
        self._sockets = ""
        self._broker = 0
        self._nodes: list[int] = []

    def __enter__(self) -> Wire:
        self._sockets = tempfile.mkdtemp(prefix="exmachina-")
        return self

    def __exit__(self, *_: object) -> None:
        # Nodes hear no polite word: they look at nothing but the number of their messages.
        for process in self._nodes:
            os.kill(process, signal.SIGKILL)
        if self._broker:
            os.kill(self._broker, signal.SIGTERM)
        for process in (*self._nodes, *([self._broker] if self._broker else [])):
            os.waitpid(process, 0)
        with contextlib.suppress(OSError):
            Path(self._sockets).rmdir()

    def measure(self) -> dict[str, float]:
        """Start everything, let it run, and say how fast it was."""
        begun = time.perf_counter()
        gc.collect()
        gc.freeze()
        ready, tell = os.pipe()
        endpoints = Endpoints(f"ipc://{self._sockets}/in", f"ipc://{self._sockets}/out")
        descriptors = broker_descriptors(len(self._topology.groups))
        self._broker = self._fork("neuron-broker", lambda: self._run_broker(endpoints, descriptors), signal.SIGTERM)
        for number in self._topology.groups:
            self._nodes.append(self._fork("neuron-node", self._node(endpoints, number, tell)))
        os.close(tell)
        link = BareLink(endpoints, SILENCE_MS)
        part = coordinators_part(self._topology, self._pass)
        for address in part.subscriptions:
            link.subscribe(address)
        link.prove(b"coordin.")
        self._await_nodes(ready, begun)
        starting = time.perf_counter() - begun
        speed = coordinator_loop(link, part, self._large, self.order.seconds, self.order.at_once)
        link.close()
        return {"steps_per_second": speed, "seconds_starting": starting}

    def _run_broker(self, endpoints: Endpoints, descriptors: int) -> int:
        code = run_broker(endpoints, descriptors)
        # Whoever else would do it may have been killed.
        with contextlib.suppress(OSError):
            Path(self._sockets).rmdir()
        return code

    def _ends(self) -> list[int]:
        """A group of each layer; the first is as large as any of its layer."""
        return [next(g.number for g in self._topology.groups.values() if g.layer == layer) for layer in self._layers()]

    def _layers(self) -> range:
        return range(len(self._topology.layers))

    def _part(self, number: int) -> Part:
        return groups_part(self._topology, number, self._pass)

    def _await_nodes(self, ready: int, begun: float) -> None:
        missing = len(self._nodes)
        while missing:
            rest = begun + STARTING_AT_MOST_SECONDS - time.perf_counter()
            told = os.read(ready, 65_536) if select.select([ready], [], [], max(rest, 0.0))[0] else b""
            if not told:
                raise JobError(f"{missing} programs of the bare wire did not start")
            missing -= len(told)
        os.close(ready)

    def _node(self, endpoints: Endpoints, number: int, tell: int) -> Callable[[], int]:
        def run() -> int:
            link, part, order = BareLink(endpoints, FOR_EVER_MS), self._part(number), self.order
            steps = NineSteps(self._topology, number, order.batch_size) if order.arithmetic else None
            for address in part.subscriptions:
                link.subscribe(address)
            link.prove(number.to_bytes(IDENTITY_LENGTH, "big"))
            os.write(tell, b".")
            os.close(tell)
            if steps is None:
                node_loop(link, part, self._large)
            else:
                computing_loop(link, part, self._large, steps, self.order.learning)
            return 0

        return run

    def _fork(self, name: str, run: Callable[[], int], death: signal.Signals = signal.SIGKILL) -> int:
        parent = os.getpid()
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            die_with_parent(parent, death)
            name_process(name)
            code = run()
        except BaseException:
            logging.getLogger("exmachina").exception("%s", name)
        finally:
            os._exit(code)


def main() -> int:
    """Read the order from standard input, measure, and print what was found."""
    order = Order.from_json(sys.stdin.readline())
    die_with_parent(os.getppid(), signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with Wire(order) as wire:
            found = wire.measure()
    except (UserError, JobError) as fault:
        print(json.dumps({"fault": str(fault)}))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
