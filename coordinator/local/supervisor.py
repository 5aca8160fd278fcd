"""The supervisor of a local run, a program of its own: `python -m coordinator.local.supervisor`, driven by `launcher`.

It imports all modules once and then forks the programs, so that a neuron costs only 1 to 2 ms and 1.5 MB. It starts every
program again that the run has not told to end, with any exit code, and kills programs that stay stopped. It ends when the
coordinator has ended the run, and ends all its programs.

The coordinator writes to a pipe before it tells any node to end, so the supervisor knows whether the run asked for it.

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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coordinator.core.state import CoordinatorState
from coordinator.local.fault_injector import FaultInjector
from coordinator.local.processes import die_with_parent, limit_of_memory, log_to_append, name_process
from coordinator.local.relay import relayed, run_relay
from coordinator.local.restarts import (
    FORK_AGAIN_SECONDS,
    NEEDED,
    STOPPED_AT_MOST_SECONDS,
    Next,
    Program,
    Restarts,
    fork_again_at,
    is_overdue,
    next_of,
)
from coordinator.service import Service
from coordinator.storage.run_folder import RunFolder
from coordinator.verify.watching import watch_steps
from neuron_node.broker import run_broker
from neuron_node.console import LOG_FORMAT
from neuron_node.direct import Listening
from neuron_node.errors import JobError, UserError
from neuron_node.fingerprint import fingerprint
from neuron_node.keys import BROKER, COORDINATOR, NODE, KeysFolder
from neuron_node.limits import Limits
from neuron_node.program import run_node, verify_of
from neuron_node.protocol import NOBODY
from neuron_node.security import OwnKeys
from neuron_node.transport import Endpoints

STOPPING_AT_MOST_SECONDS = 3.0
JOINED_FROM_PROGRAMS = 64
"""From so many node programs on, the broker joins the frames for one address; between fewer, the proxy is as fast or faster."""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KERNEL_NAMES = {"broker": "neuron-broker", "coordinator": "coordinator", "relay": "neuron-relay"}


@dataclass(frozen=True)
class Order:
    """The programs to start. The coordinator reports events as lines of JSON on the file descriptor `events`. If nodes are
    `relayed`, they reach the broker through a relay, and can be disconnected. In direct wiring, `outlets` is the endpoint of
    each program, with its incarnation in place of `*`; else it is empty. `keys` is the folder of the keys that connections over
    TCP use; if it is empty, they are not encrypted.
    """

    run: str
    endpoints: tuple[str, str]
    door: str
    nodes: int
    events: int
    launcher: int
    verify: bool
    relayed: bool
    outlets: str
    descriptors: int
    limits: Limits
    keys: str = ""

    def to_json(self) -> str:
        """Encode as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Order:
        """Decode the result of `to_json`."""
        fields = json.loads(line)
        return cls(**{**fields, "endpoints": tuple(fields["endpoints"]), "limits": Limits(*fields["limits"])})


class Supervisor:
    """Starts, restarts and ends the programs of one run."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._directory = RunFolder(Path(order.run))
        self._endpoints = Endpoints(*order.endpoints)
        self._listening = Listening(order.outlets, order.descriptors) if order.outlets else None
        self._run = NOBODY
        with contextlib.suppress(UserError, KeyError, ValueError):
            # The coordinator reports what is wrong with the config.
            self._run = bytes.fromhex(self._directory.config()["run"])
        self._arithmetic = fingerprint()
        # Before the forks, so that all programs share what it takes.
        keys = self._keys(NODE)
        self._verify = verify_of(keys) if keys else None
        self._by_process: dict[int, Program] = {}
        self._waiting: dict[str, tuple[float, Program]] = {}
        """Programs that start later, with the time of their start."""
        self._restarts = Restarts()
        self._forks_failed_at: float | None = None
        self._done: list[Program] = []
        self._stopping = False
        self._code = 0
        self._unread = b""
        # Orders to the relay: the supervisor writes, the relay reads.
        self._orders = os.pipe() if order.relayed else None
        # The coordinator writes to this pipe when it ends the run.
        self._end_reported, self._report_end = os.pipe()
        os.set_blocking(self._end_reported, False)
        self._run_ends = False
        self._fault_injector = FaultInjector(
            lambda: list(self._by_process.values()), self._report, self._orders[1] if self._orders else None
        )
        self._wake, self._wakeup = socket.socketpair()
        self._wake.setblocking(False)
        self._wakeup.setblocking(False)

    def run(self) -> int:
        """Run until the coordinator has ended the run or standard input is closed; return the exit code."""
        for number in (signal.SIGCHLD, *ENDING):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        # Frozen objects are ignored by the garbage collector, so their pages stay shared with the children.
        gc.collect()
        gc.freeze()
        try:
            self._start(Program("broker", self._broker))
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
                for key, _ in selector.select(self._do_what_is_due()):
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
        if not read:
            self._stopping = True
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            self._fault_injector.obey(json.loads(line))

    def _do_what_is_due(self) -> float | None:
        """Start, kill and release the programs that are due; return the seconds until the next is due, or None."""
        now = time.monotonic()
        for name in [name for name, (due, _) in self._waiting.items() if due <= now]:
            self._start(self._waiting.pop(name)[1])
        waits = [due - now for due, _ in self._waiting.values()]
        held = self._fault_injector.held()
        for program in self._by_process.values():
            if program.stopped_at is None or program.overdue or program.process in held:
                continue
            waits.append(program.stopped_at + STOPPED_AT_MOST_SECONDS - now)
            if is_overdue(program.stopped_at, now):
                program.overdue = True
                os.kill(program.process, signal.SIGKILL)
        if (release := self._fault_injector.release_what_is_due()) is not None:
            waits.append(release)
        return max(0.0, min(waits)) if waits else None

    # Children.

    def _start(self, program: Program) -> None:
        """Fork a program; if the kernel refuses, try again later."""
        now = time.monotonic()
        parent = os.getpid()
        try:
            program.process = os.fork()
        except OSError as fault:
            self._could_not_fork(program, fault, now)
            return
        if program.process == 0:
            self._live(program, parent)
        self._forks_failed_at = None
        if not program.struck:
            self._restarts.started(program.name, now)
        program.struck = program.overdue = False
        program.stopped_at = None
        self._by_process[program.process] = program

    def _could_not_fork(self, program: Program, fault: OSError, now: float) -> None:
        why = f"{program.name} cannot be started: {fault.strerror or fault}"
        if self._forks_failed_at is None:
            self._forks_failed_at = now
            self._report("delayed", program=program.name, reason=why, seconds=FORK_AGAIN_SECONDS)
        again_at = fork_again_at(self._forks_failed_at, now)
        if again_at is None:
            self._fail(
                f"{why}; free memory, or raise the limit of processes (ulimit -u, or the control group's pids.max)"
            )
            return
        self._waiting[program.name] = (again_at, program)

    def _start_again(self, program: Program, code: int) -> None:
        """Start a program again that the run had not told to end."""
        struck = program.struck
        delay = 0.0 if struck else self._restarts.delay(program.name, code, time.monotonic())
        facts = {"program": program.name, "process": program.process, "code": code, "chaos": struck}
        self._report("ended", **facts, stopped=program.overdue)
        if delay is None:
            self._report("put_aside", program=program.name, log=str(self._log(program.name)))
            if program.name in NEEDED:
                self._fail(f"the {program.name} keeps ending; its log is {self._log(program.name)}")
        elif delay:
            self._report("delayed", program=program.name, reason=f"{program.name} ends again and again", seconds=delay)
            self._waiting[program.name] = (time.monotonic() + delay, program)
        else:
            self._start(program)

    def _fail(self, reason: str) -> None:
        self._report("failed", reason=reason)
        self._code = 1
        self._stopping = True

    def _live(self, program: Program, parent: int) -> None:
        """Run a program in the forked child; never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for ours in (signal.SIGCHLD, *ENDING):
                signal.signal(ours, signal.SIG_DFL)
            orphaned = die_with_parent(parent)
            name_process(KERNEL_NAMES.get(program.name, "neuron-node"))
            self._wake.close()
            self._wakeup.close()
            log = log_to_append(self._log(program.name))
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.close(log)
            os.close(nothing)
            orders = self._orders or ()
            kept = {"coordinator": {self._report_end, self.order.events}, "relay": set(orders[:1])}
            for ours_alone in {self._end_reported, self._report_end, self.order.events, *orders} - kept.get(
                program.name, set()
            ):
                os.close(ours_alone)
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
        # Keep the folder of the sockets: if a signal has ended this broker, the next one needs it.
        joins = self.order.nodes >= JOINED_FROM_PROGRAMS
        keys = self._keys(BROKER)
        return run_broker(self._endpoints, self.order.descriptors, joins=joins, limits=self.order.limits, keys=keys)

    def _coordinator(self, orphaned: Callable[[], bool]) -> int:
        with os.fdopen(self.order.events, "w", buffering=1) as events:

            def observe(event: str, facts: dict[str, Any]) -> None:
                if event == "failed" or (event == "state" and facts["state"] == CoordinatorState.STOPPING.value):
                    # Write before any node is told.
                    os.write(self._report_end, b"\n")
                print(json.dumps({"event": event, **facts}), file=events)

            try:
                inspect = watch_steps if self.order.verify else None
                service = Service(self._directory, observe, stop_when_finished=True, inspect=inspect)
                doors, most = [self.order.door], self.order.limits.message_bytes
                return service.run(self._endpoints, doors, orphaned, self._listening, most, self._keys(COORDINATOR))
            except (UserError, JobError) as fault:
                observe("failed", {"reason": str(fault)})
                return 2 if isinstance(fault, UserError) else 1
            except MemoryError:
                observe("failed", {"reason": f"the coordinator has too little memory{limit_of_memory()}"})
                return 1

    def _node(self, name: str) -> Callable[[Callable[[], bool]], int]:
        endpoints = relayed(self._endpoints, name) if self._orders else self._endpoints
        size = self.order.limits.message_bytes
        return lambda orphaned: run_node(
            endpoints,
            self._arithmetic,
            name,
            orphaned,
            self._listening,
            self._run,
            size,
            self._verify,
            self._keys(NODE),
        )

    def _keys(self, role: str) -> OwnKeys | None:
        """Return the keys of a program; None if connections are not encrypted. Raises `UserError` if it has none."""
        folder = KeysFolder(Path(self.order.keys))
        return OwnKeys(folder, folder.own([role])) if self.order.keys else None

    def _relay(self, orphaned: Callable[[], bool]) -> int:
        assert self._orders is not None
        names = [f"node-{node}" for node in range(1, self.order.nodes + 1)]
        nodes = {name: relayed(self._endpoints, name) for name in names}
        return run_relay(self._endpoints, nodes, self._orders[0], self.order.descriptors, orphaned)

    def _reap(self) -> None:
        """Handle every program that ended, was stopped or was continued."""
        while self._by_process:
            process, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if process == 0:
                return
            if os.WIFSTOPPED(status):
                self._by_process[process].stopped_at = time.monotonic()
            elif os.WIFCONTINUED(status):
                self._by_process[process].stopped_at = None
            else:
                self._has_ended(self._by_process.pop(process), os.waitstatus_to_exitcode(status))

    def _has_ended(self, program: Program, code: int) -> None:
        """Start a program again unless the run told it to end. Its exit code only says how the run has ended."""
        with contextlib.suppress(BlockingIOError):
            self._run_ends = bool(os.read(self._end_reported, 4096)) or self._run_ends
        if self._stopping:
            return
        match next_of(program.name, code, run_ends=self._run_ends):
            case Next.RUN_OVER:
                self._code = code
                self._stopping = True
            case Next.STAYS_ENDED:
                self._done.append(program)
            case Next.STARTS_AGAIN:
                self._start_again(program, code)
                if program.name == "coordinator":
                    self._run_ends = False
                    self._start_again_what_was_done()

    def _start_again_what_was_done(self) -> None:
        """Start stopped nodes again, for a coordinator that was killed while it stopped them: it will stop them again."""
        while self._done:
            self._start(self._done.pop(0))

    def _end_all(self) -> None:
        """End the coordinator, then the nodes, then the broker with SIGTERM; kill the programs that do not end."""
        self._stopping = True
        self._fault_injector.release_all()
        deadline = time.monotonic() + STOPPING_AT_MOST_SECONDS
        for last in ({p.name for p in self._by_process.values()} - {"coordinator"}, {"broker"}):
            first = [p for p in self._by_process.values() if p.name not in last]
            self._signal_and_wait(first, signal.SIGTERM, deadline)
        self._signal_and_wait(list(self._by_process.values()), signal.SIGTERM, deadline)
        self._signal_and_wait(list(self._by_process.values()), signal.SIGKILL, deadline + 60)
        shutil.rmtree(Path(self.order.door.removeprefix("ipc://")).parent, ignore_errors=True)

    def _signal_and_wait(self, programs: list[Program], number: signal.Signals, deadline: float) -> None:
        for program in programs:
            os.kill(program.process, number)
            # A stopped program handles no signal until it is continued.
            os.kill(program.process, signal.SIGCONT)
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            self._reap()
            while any(p.process in self._by_process for p in programs) and time.monotonic() < deadline:
                selector.select(max(0.0, deadline - time.monotonic()))
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()

    def _log(self, name: str) -> Path:
        return self._directory.logs / f"{name}.log"

    def _report(self, event: str, **facts: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"event": event, **facts}), flush=True)


def main(supervisor: type[Supervisor] = Supervisor) -> int:
    """Read the order from standard input and carry it out."""
    line = sys.stdin.readline()
    if not line:
        # The command line has ended before it sent an order.
        return 0
    order = Order.from_json(line)
    # The end of standard input means that the command line has ended. The signal continues a stopped supervisor, so that it
    # notices; it does nothing else.
    die_with_parent(order.launcher, signal.SIGCONT)
    name_process("supervisor")
    return supervisor(order).run()


if __name__ == "__main__":
    sys.exit(main())
