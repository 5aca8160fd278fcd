"""The bare wire, a program of its own: `python -m coordinator.bench.wire`, started by `measuring`.

The same processes as a local run, forked the same way, with the same sockets at the same broker, the same addresses and
the same frames; but nobody computes, encodes or decodes. Each program counts what it has received and sends bytes that
were made beforehand. In direct wiring all of them have outlets and are connected to each other as in a run, and nothing
of a step goes through the broker. No network of one program a group can be faster than this pattern of messages. Where the
order says so, each program also makes the NumPy calls of the nine steps, on arrays of its own: the ceiling of whatever
computes with NumPy in so many programs.

Standard input: one line of JSON (`Order`). Standard output: a line of JSON, `steps_per_second` and `seconds_starting`.
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

from coordinator.bench.bare_link import BareDirectLink, BareLink
from coordinator.bench.nine_steps import NineSteps
from coordinator.bench.pattern import Part, PassShape, coordinators_part, groups_part
from coordinator.local.descriptors import broker_descriptors
from coordinator.local.processes import die_with_parent, name_process
from coordinator.topology import Topology
from neuron_node.broker import run_broker
from neuron_node.direct import Listening
from neuron_node.errors import JobError, UserError
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.role import OUTSIDE
from neuron_node.transport import Endpoints

SILENCE_MS = 30_000
STARTING_AT_MOST_SECONDS = 120.0
FOR_EVER_MS = -1
INTERRUPTIONS = {signal.SIGTERM, signal.SIGINT}
WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Order:
    """What to measure, and for how long. A pass that does not learn has only the forward half.

    With `arithmetic` the bare wire computes, and it has so many passes `at_once` on their way: of steps two, if each is sent
    while the one before is under way, as the network does it.
    Parts of a batch, `microbatches`, and several groups a program, `nodes`, are the network's alone: the bare wire has a batch in
    one piece, and a program a group.
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

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """What `to_json` made."""
        fields = json.loads(line)
        return cls(**{**fields, "layers": tuple(fields["layers"])})


def node_loop(link: BareLink, part: Part, largest_bytes: int, *, ahead: bool) -> None:
    """A neuron program without a neuron, for ever. An input's next signals come `ahead`, beside the errors."""
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
    """The same with the arithmetic of its group, which learns when its error is on its way."""
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
    """A coordinator without data; the steps a second. Raises `JobError` when messages are lost."""
    send, hear, now = link.sending(part.sent_first), link.hearing(part.heard_then, largest_bytes), time.perf_counter

    def run(until: Callable[[int, float], bool]) -> tuple[int, float]:
        steps, begun = 0, now()
        while not until(steps, elapsed := now() - begun):
            send()
            hear()
            steps += 1
        return steps, elapsed

    try:
        # All of them but the one that each step sends.
        for _ in range(at_once - 1):
            send()
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
        self._pass = PassShape(order.batch_size, order.learning)
        # A frame that is large is so for a whole layer; who hears one is not worth telling apart. A layer's last group is as
        # large as any of it.
        ends = {group.layer: number for number, group in self._topology.groups.items()}.values()
        self._largest_bytes = max(message.size for number in ends for message in self._part(number).sent)
        self._direct = order.wiring == "direct"
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
        self._remove_sockets()

    def measure(self) -> dict[str, float]:
        """Start everything, let it run, and say how fast it was."""
        begun = time.perf_counter()
        gc.collect()
        gc.freeze()
        ready, tell = os.pipe()
        wait, let_go = os.pipe()
        # An interruption waits until all are known who must be ended, and Python loses none in the middle of a fork.
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
                # Now all outlets are there.
                os.write(let_go, bytes(len(self._nodes)))
                link.meet(_name(OUTSIDE), self._outlets(part))
                self._await_nodes(ready, begun)
            starting = time.perf_counter() - begun
            speed = coordinator_loop(link, part, self._largest_bytes, self.order.seconds, self.order.at_once)
        return {"steps_per_second": speed, "seconds_starting": starting}

    def _run_broker(self) -> int:
        # One death of a parent with several threads is told more than once, and what comes next must be done.
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
        code = run_broker(self._endpoints, self._descriptors, joins=False)
        # Whoever else would do it may have been killed.
        self._remove_sockets()
        return code

    def _remove_sockets(self) -> None:
        """With the outlets of programs that were killed."""
        shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def _endpoints(self) -> Endpoints:
        return Endpoints(f"ipc://{self._sockets}/in", f"ipc://{self._sockets}/out")

    @property
    def _descriptors(self) -> int:
        return broker_descriptors(len(self._topology.groups))

    def _outlet(self, number: int) -> str:
        """Where the node of a group publishes, or the coordinator."""
        return f"ipc://{self._sockets}/{_name(number).hex()}"

    def _outlets(self, part: Part) -> list[str]:
        """Of all whom a program hears."""
        return [self._outlet(peer) for peer in part.peers]

    def _link(self, number: int, receive_timeout_ms: int) -> BareLink:
        if not self._direct:
            return BareLink(self._endpoints, receive_timeout_ms)
        listening = Listening(self._outlet(number), self._descriptors)
        return BareDirectLink(self._endpoints, receive_timeout_ms, _name(number), listening)

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
                # Its next target comes before the signals of a step. Were it counted as one of them, the output would fire
                # too early; so the first is heard now, and each step hears its signals and the next target.
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
    """Of the node that hosts a group, or of the coordinator: 8 bytes, which are its incarnation as well."""
    return number.to_bytes(IDENTITY_LENGTH, "big")


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
