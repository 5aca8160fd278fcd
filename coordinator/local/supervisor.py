"""The supervisor of a local run, a program of its own: `python -m coordinator.local.supervisor`, driven by `launcher`.

It imports all modules once and then forks the programs, so that a neuron costs only 1 to 2 ms and 1.5 MB. It restarts nodes and
brokers that die, ends when the coordinator has ended, and ends all its programs.

Standard input: one line of JSON (`Order`), then one line of JSON per command of chaos. Its end means stop.
Standard output: one line of JSON per event.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coordinator.local.disturber import Disturber
from coordinator.local.family import die_with_parent, name_process
from coordinator.local.relay import relayed, run_relay
from coordinator.run_directory import RunDirectory
from coordinator.service import Service
from coordinator.verify.watching import watch_steps
from coordinator.wiring import JOINED_FROM_PROGRAMS
from neuron_node.broker import run_broker
from neuron_node.direct import Listening
from neuron_node.errors import JobError, UserError
from neuron_node.fingerprint import fingerprint
from neuron_node.program import LOG_FORMAT, run_node
from neuron_node.wiring import Endpoints

STOPPING_AT_MOST_SECONDS = 5.0
RESTARTS_AT_MOST = 5
RESTARTS_WITHIN_SECONDS = 10.0
LARGEST_LOG_BYTES = 8 * 1024 * 1024
NEEDED = ("broker", "coordinator", "relay")
"""Programs without which a run cannot continue. Nodes can be replaced."""
KERNEL_NAMES = {"broker": "neuron-broker", "coordinator": "coordinator", "relay": "neuron-relay"}


@dataclass(frozen=True)
class Order:
    """The programs to start. The coordinator reports events as lines of JSON on the file descriptor `events`. If nodes are
    `relayed`, they reach the broker through a relay, and can be disconnected. In direct wiring, `outlets` is the endpoint of
    each program, with its incarnation in place of `*`; else it is empty.
    """

    run: str
    endpoints: tuple[str, str]
    nodes: int
    events: int
    launcher: int
    verify: bool
    relayed: bool
    outlets: str
    descriptors: int

    def to_json(self) -> str:
        """Encode as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """Decode the result of `to_json`."""
        fields = json.loads(line)
        return cls(**{**fields, "endpoints": tuple(fields["endpoints"])})


@dataclass
class Program:
    """One program under supervision. If `struck`, chaos has ended it, which does not count as a crash."""

    name: str
    run: Callable[[Callable[[], bool]], int]
    death: signal.Signals = signal.SIGKILL
    process: int = 0
    struck: bool = False


class Supervisor:
    """Starts, restarts and ends the programs of one run."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._directory = RunDirectory(Path(order.run))
        self._endpoints = Endpoints(*order.endpoints)
        self._listening = Listening(order.outlets, order.descriptors) if order.outlets else None
        self._arithmetic = fingerprint()
        self._by_process: dict[int, Program] = {}
        self._starts: dict[str, deque[float]] = {}
        self._done: list[Program] = []
        self._stopping = False
        self._code = 1
        self._unread = b""
        # Orders to the relay: the supervisor writes, the relay reads.
        self._orders = os.pipe() if order.relayed else None
        self._disturber = Disturber(
            lambda: list(self._by_process.values()), self._tell, self._orders[1] if self._orders else None
        )
        self._wake, self._wakeup = socket.socketpair()
        for end in (self._wake, self._wakeup):
            end.setblocking(False)

    def run(self) -> int:
        """Run until the coordinator has ended or standard input is closed; return the exit code."""
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        # Frozen objects are ignored by the garbage collector, so their pages stay shared with the children.
        gc.collect()
        gc.freeze()
        try:
            self._start(Program("broker", self._broker, signal.SIGTERM))
            if self._orders:
                self._start(Program("relay", self._relay))
            self._start(Program("coordinator", self._coordinator))
            for node in range(1, self.order.nodes + 1):
                self._start(Program(f"node-{node}", self._node(f"node-{node}")))
            self._watch()
        finally:
            self._end_all()
        return self._code

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select(self._disturber.release_what_is_due()):
                    if key.fileobj is sys.stdin:
                        self._obey()
                    else:
                        with contextlib.suppress(BlockingIOError):
                            self._wake.recv(4096)
                self._reap()

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._stopping = True

    def _obey(self) -> None:
        """Read and carry out commands; the end of the input means stop."""
        read = os.read(sys.stdin.fileno(), 65_536)
        self._stopping = not read
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            self._disturber.obey(json.loads(line))

    # Children.

    def _start(self, program: Program) -> None:
        starts = self._starts.setdefault(program.name, deque(maxlen=RESTARTS_AT_MOST))
        if program.struck:
            program.struck = False
        elif len(starts) == RESTARTS_AT_MOST and time.monotonic() - starts[0] < RESTARTS_WITHIN_SECONDS:
            self._tell("put_aside", program=program.name, log=str(self._log(program.name)))
            if program.name in NEEDED:
                self._tell("failed", reason=f"the {program.name} keeps ending; its log is {self._log(program.name)}")
                self._stopping = True
            return
        else:
            starts.append(time.monotonic())
        parent = os.getpid()
        program.process = os.fork()
        if program.process == 0:
            self._live(program, parent)
        self._by_process[program.process] = program

    def _live(self, program: Program, parent: int) -> None:
        """Run a program in the forked child; never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for ours in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(ours, signal.SIG_DFL)
            orphaned = die_with_parent(parent, program.death)
            name_process(KERNEL_NAMES.get(program.name, "neuron-node"))
            self._wake.close()
            self._wakeup.close()
            log = os.open(self._log_to_append(program.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.close(log)
            os.close(nothing)
            if program.name != "coordinator":
                os.close(self.order.events)
            if self._orders:
                os.close(self._orders[1])
                if program.name != "relay":
                    os.close(self._orders[0])
            logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
            code = program.run(orphaned)
        except UserError as fault:
            logging.getLogger("exmachina").error("%s", fault)
            code = 2
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _broker(self, _orphaned: Callable[[], bool]) -> int:
        joins = self.order.nodes >= JOINED_FROM_PROGRAMS
        code = run_broker(self._endpoints, self.order.descriptors, joins=joins)
        with contextlib.suppress(OSError):
            Path(self._endpoints.inward.removeprefix("ipc://")).parent.rmdir()
        return code

    def _coordinator(self, orphaned: Callable[[], bool]) -> int:
        with os.fdopen(self.order.events, "w", buffering=1) as events:

            def observe(event: str, facts: dict[str, Any]) -> None:
                print(json.dumps({"event": event, **facts}), file=events)

            try:
                inspect = watch_steps if self.order.verify else None
                service = Service(self._directory, observe, stop_when_finished=True, inspect=inspect)
                return service.run(self._endpoints, orphaned, self._listening)
            except (UserError, JobError) as fault:
                observe("failed", {"reason": str(fault)})
                return 2 if isinstance(fault, UserError) else 1

    def _node(self, name: str) -> Callable[[Callable[[], bool]], int]:
        endpoints = relayed(self._endpoints, name) if self._orders else self._endpoints
        return lambda orphaned: run_node(endpoints, self._arithmetic, name, orphaned, self._listening)

    def _relay(self, orphaned: Callable[[], bool]) -> int:
        assert self._orders is not None
        names = [f"node-{node}" for node in range(1, self.order.nodes + 1)]
        nodes = {name: relayed(self._endpoints, name) for name in names}
        return run_relay(self._endpoints, nodes, self._orders[0], self.order.descriptors, orphaned)

    def _reap(self) -> None:
        while self._by_process:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            program = self._by_process.pop(process)
            code = os.waitstatus_to_exitcode(status)
            if program.name == "coordinator" and code >= 0:
                self._code = code
                self._stopping = True
            elif code == 0 and program.name not in NEEDED:
                # A node that ends with 0 was told to stop.
                self._done.append(program)
            elif not self._stopping:
                # All other programs are still needed: start them again.
                self._tell("ended", program=program.name, process=process, code=code, chaos=program.struck)
                self._start(program)
                if program.name == "coordinator":
                    self._start_again_what_was_done()

    def _start_again_what_was_done(self) -> None:
        """Start stopped nodes again, for a coordinator that was killed while it stopped them: it will stop them again."""
        done, self._done = self._done, []
        for program in done:
            self._start(program)

    def _end_all(self) -> None:
        """End the coordinator, then the nodes, then the broker with SIGTERM; kill the programs that do not end."""
        self._stopping = True
        self._disturber.release_all()
        deadline = time.monotonic() + STOPPING_AT_MOST_SECONDS
        self._signal_and_wait(
            [p for p in self._by_process.values() if p.name == "coordinator"], signal.SIGTERM, deadline
        )
        self._signal_and_wait([p for p in self._by_process.values() if p.name != "broker"], signal.SIGTERM, deadline)
        self._signal_and_wait(list(self._by_process.values()), signal.SIGTERM, deadline)
        self._signal_and_wait(list(self._by_process.values()), signal.SIGKILL, deadline + 60)
        shutil.rmtree(Path(self._endpoints.inward.removeprefix("ipc://")).parent, ignore_errors=True)

    def _signal_and_wait(self, programs: list[Program], number: signal.Signals, deadline: float) -> None:
        for program in programs:
            os.kill(program.process, number)
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            self._reap()
            while any(p.process in self._by_process for p in programs) and time.monotonic() < deadline:
                selector.select(max(0.0, deadline - time.monotonic()))
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()

    def _log_to_append(self, name: str) -> Path:
        """Return the path of a log; a log that is too large is renamed to `.1` first."""
        path = self._log(name)
        with contextlib.suppress(OSError):
            if path.stat().st_size > LARGEST_LOG_BYTES:
                path.replace(path.with_suffix(".log.1"))
        return path

    def _log(self, name: str) -> Path:
        return self._directory.logs / f"{name}.log"

    def _tell(self, event: str, **facts: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"event": event, **facts}), flush=True)


def main(supervisor: type[Supervisor] = Supervisor) -> int:
    """Read the order from standard input and carry it out."""
    order = Order.from_json(sys.stdin.readline())
    die_with_parent(order.launcher, signal.SIGTERM)
    name_process("supervisor")
    return supervisor(order).run()


if __name__ == "__main__":
    sys.exit(main())
