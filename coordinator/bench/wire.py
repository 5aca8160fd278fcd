"""The bare wire: `python -m coordinator.bench.wire`, started by `measuring`.

It has the forked processes, sockets, broker, addresses and frames of a local run, but no program computes, encodes or decodes.
Each program counts the received messages and sends prepared bytes. In direct wiring all programs have outlets and are connected as
in a run, and no message of a step goes through the broker. No network with one program per group can be faster than this. With
`arithmetic`, each program also makes the NumPy calls of the nine steps, on its own arrays: the upper limit for any network that
computes with NumPy in so many programs.

Standard input: one line of JSON (`Order`). Standard output: one line of JSON, `steps_per_second` and `seconds_starting`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from coordinator.bench.bare_link import BareDirectLink, BareLink
from coordinator.bench.nine_steps import NineSteps
from coordinator.bench.pattern import Part, PassShape, coordinators_part, groups_part
from coordinator.bench.transports import prepared
from coordinator.local.descriptors import broker_descriptors
from coordinator.local.processes import die_with_parent, name_process
from coordinator.topology import Topology
from neuron_node.broker import run_broker
from neuron_node.direct import Listening
from neuron_node.errors import JobError, UserError
from neuron_node.frames import IDENTITY_LENGTH, MAX_FRAME_BYTES
from neuron_node.keys import BROKER, COORDINATOR, NODE
from neuron_node.limits import limits_for
from neuron_node.role import OUTSIDE

SILENCE_MS = 30_000
STARTING_AT_MOST_SECONDS = 120.0
FOR_EVER_MS = -1
INTERRUPTIONS = {signal.SIGTERM, signal.SIGINT}
WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Order:
    """The case to measure, and for how long. A pass without `learning` has only the forward half.

    With `arithmetic` the bare wire computes. `at_once` is its number of passes under way: two for steps, because the network sends
    the next step while the present one is under way. Only the network uses `microbatches` and `nodes`: the bare wire has whole
    batches and one program per group.
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
    nodes: int | None = None
    transport: str = "ipc"
    """A word of `transports.TRANSPORTS`; the bare wire in direct wiring has only sockets in a folder."""

    def to_json(self) -> str:
        """Return the order as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """Return the order of a line that `to_json` made."""
        fields = json.loads(line)
        return cls(**{**fields, "layers": tuple(fields["layers"])})


def node_loop(link: BareLink, part: Part, largest_bytes: int, *, ahead: bool) -> None:
    """Run a neuron program without a neuron, without end. With `ahead`, the next input arrives together with the errors."""
    hear_signals, fire = link.hearing(part.heard_first, largest_bytes), link.sending(part.sent_first)
    hear_errors, reply = link.hearing(part.heard_then, largest_bytes), link.sending(part.sent_then)
    if ahead:
        hear_all = link.hearing(part.heard_then + part.heard_first, largest_bytes)
        hear_signals()
        fire()
        while True:
            hear_all()
            reply()
            fire()
    while True:
        hear_signals()
        fire()
        hear_errors()
        reply()


def computing_loop(
    link: BareLink, part: Part, largest_bytes: int, steps: NineSteps, *, learning: bool, ahead: bool
) -> None:
    """Run the same program with the arithmetic of its group, which learns after it has sent its error."""
    hear_signals, fire = link.hearing(part.heard_first, largest_bytes), link.sending(part.sent_first)
    hear_errors, reply = link.hearing(part.heard_then, largest_bytes), link.sending(part.sent_then)
    if ahead:
        hear_all = link.hearing(part.heard_then + part.heard_first, largest_bytes)
        hear_signals()
        steps.fire()
        fire()
        while True:
            hear_all()
            steps.reply()
            reply()
            steps.learn()
            steps.fire()
            fire()
    while True:
        hear_signals()
        steps.fire()
        fire()
        if learning:
            hear_errors()
            steps.reply()
            reply()
            steps.learn()


def coordinator_loop(link: BareLink, part: Part, largest_bytes: int, seconds: float, at_once: int) -> float:
    """Run a coordinator without data; return the steps per second. Raises `JobError` if messages are lost."""
    send, hear, now = link.sending(part.sent_first), link.hearing(part.heard_then, largest_bytes), time.perf_counter

    def run(until: Callable[[int, float], bool]) -> tuple[int, float]:
        steps, begun = 0, now()
        while not until(steps, elapsed := now() - begun):
            send()
            hear()
            steps += 1
        return steps, elapsed

    try:
        # Send all passes but one; each step sends one more.
        for _ in range(at_once - 1):
            send()
        run(lambda steps, _: steps >= WARM_UP_STEPS + at_once)
        steps, elapsed = run(lambda steps, elapsed: elapsed >= seconds and steps > 0)
    except Exception as fault:
        raise JobError(f"no message arrived on the bare wire for {SILENCE_MS / 1000:.0f} s: {fault}") from None
    return steps / elapsed


class Wire:
    """The programs of one measurement. On exit, the context manager ends all of them."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._topology = Topology(order.layers, order.group_size)
        self._pass = PassShape(order.batch_size, order.learning)
        # Use one size for all programs: a large frame goes to a whole layer. No group of a layer is larger than the last one.
        ends = {group.layer: number for number, group in self._topology.groups.items()}.values()
        self._largest_bytes = max(message.size for number in ends for message in self._part(number).sent)
        self._direct = order.wiring == "direct"
        self._sockets = ""
        self._broker = 0
        self._nodes: list[int] = []

    def __enter__(self) -> Wire:
        self._sockets = tempfile.mkdtemp(prefix="exmachina-")
        self._transport = prepared(self.order.transport, Path(self._sockets))
        return self

    def __exit__(self, *_: object) -> None:
        # Nodes read only their messages and ignore SIGTERM, so kill them.
        for process in self._nodes:
            os.kill(process, signal.SIGKILL)
        if self._broker:
            os.kill(self._broker, signal.SIGTERM)
        for process in (*self._nodes, *([self._broker] if self._broker else [])):
            os.waitpid(process, 0)
        self._remove_sockets()

    def measure(self) -> dict[str, float]:
        """Start all programs and run them; return `steps_per_second` and `seconds_starting`. Raises `JobError`."""
        begun = time.perf_counter()
        gc.collect()
        gc.freeze()
        ready, tell = os.pipe()
        wait, let_go = os.pipe()
        # Block interruptions until the ids of all programs are known. Python may lose a signal in the middle of a fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        self._broker = self._fork("neuron-broker", self._run_broker, signal.SIGTERM)
        for number in self._topology.groups:
            self._nodes.append(self._fork("neuron-node", self._node(number, tell, wait)))
        os.close(tell)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
        with contextlib.closing(self._link(OUTSIDE, SILENCE_MS)) as link:
            part = coordinators_part(self._topology, self._pass)
            link.prove(part, _name(OUTSIDE))
            self._await_nodes(ready, begun)
            if isinstance(link, BareDirectLink):
                # All outlets exist now.
                os.write(let_go, bytes(len(self._nodes)))
                link.meet(_name(OUTSIDE), self._outlets(part))
                self._await_nodes(ready, begun)
            starting = time.perf_counter() - begun
            speed = coordinator_loop(link, part, self._largest_bytes, self.order.seconds, self.order.at_once)
        return {"steps_per_second": speed, "seconds_starting": starting}

    def _run_broker(self) -> int:
        # The kernel may signal the death of a parent with several threads more than once; the cleanup must not be interrupted.
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        limits, keys = limits_for(MAX_FRAME_BYTES), self._transport.keys_of(BROKER)
        code = run_broker(self._transport.broker, self._descriptors, joins=False, limits=limits, keys=keys)
        # The parent may have been killed before it could remove them.
        self._remove_sockets()
        return code

    def _remove_sockets(self) -> None:
        """Remove all sockets, including the outlets of killed programs."""
        shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def _descriptors(self) -> int:
        return broker_descriptors(len(self._topology.groups))

    def _outlet(self, number: int) -> str:
        """Return the endpoint of the outlet of a group's node, or of the coordinator."""
        return f"ipc://{self._sockets}/{_name(number).hex()}"

    def _outlets(self, part: Part) -> list[str]:
        """Return the endpoints of a program's peers."""
        return [self._outlet(peer) for peer in part.peers]

    def _link(self, number: int, receive_timeout_ms: int) -> BareLink:
        if not self._direct:
            keys = self._transport.keys_of(COORDINATOR if number == OUTSIDE else NODE)
            secure = keys.client_of(BROKER) if keys else None
            return BareLink(self._transport.broker, receive_timeout_ms, secure=secure)
        listening = Listening(self._outlet(number), self._descriptors)
        return BareDirectLink(self._transport.broker, receive_timeout_ms, _name(number), listening)

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

    def _node(self, number: int, tell: int, wait: int) -> Callable[[], int]:
        def run() -> int:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)
            part, order = self._part(number), self.order
            steps = NineSteps(self._topology, number, order.batch_size) if order.arithmetic else None
            link = self._link(number, FOR_EVER_MS)
            link.prove(part, _name(number))
            os.write(tell, b".")
            if isinstance(link, BareDirectLink):
                os.read(wait, 1)
                link.meet(_name(number), self._outlets(part))
                os.write(tell, b".")
            if order.learning and order.at_once > 1 and not self._topology.receivers[number]:
                # The next target arrives before the signals of the step. If it counted as a signal, the output would fire too
                # early. So receive the first target now; each step then receives its signals and the next target.
                link.hearing(1, self._largest_bytes)()
            ahead = order.learning and order.at_once > 1 and not self._topology.senders[number]
            if steps is None:
                node_loop(link, part, self._largest_bytes, ahead=ahead)
            else:
                computing_loop(link, part, self._largest_bytes, steps, learning=order.learning, ahead=ahead)
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


def _name(number: int) -> bytes:
    """Return the name of a group's node, or of the coordinator: 8 bytes, which are also its incarnation."""
    return number.to_bytes(IDENTITY_LENGTH, "big")


def main() -> int:
    """Read the order from standard input, measure, and print the result or the fault. Exit codes: 0, or 1 for a fault."""
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
