"""Starts a local run and returns its events: the part of the command line that talks to the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coordinator.errors import JobError, UserError
from coordinator.host import this_machine
from coordinator.local.supervisor import Order
from coordinator.needs import Needs, check_needs, most_descriptors
from coordinator.run_directory import RunDirectory
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.wiring import LONGEST_IPC_PATH

STOPPING_AT_MOST_SECONDS = 20.0


def check_machine(needs: Needs, advice: str = "it fits with") -> None:
    """Raise `UserError` if this machine lacks the resources of a run, or if the path of its sockets is too long."""
    sockets = f"{tempfile.gettempdir()}/exmachina-XXXXXXXX/out"
    sockets += f"-{needs.nodes + needs.spares}" if needs.relayed else ""
    if needs.wiring == "direct":
        sockets = sockets.removesuffix("out") + "0" * 2 * IDENTITY_LENGTH
    if len(sockets.encode()) > LONGEST_IPC_PATH:
        raise UserError(
            f"TMPDIR: {sockets!r} is too long a path for a socket (at most {LONGEST_IPC_PATH} bytes); set a shorter one"
        )
    check_needs(needs, this_machine(), advice)


class LocalRun:
    """A supervisor and its programs. As a context manager, it leaves no process and no socket behind."""

    supervisor_module = "coordinator.local.supervisor"
    """The module of the supervisor, which reads an `Order` and carries it out."""

    def __init__(self, directory: RunDirectory, nodes: int, *, verify: bool = False, relayed: bool = False) -> None:
        """`nodes` is the number of nodes, with spares. If they are `relayed`, they can be disconnected."""
        self._directory = directory
        self._nodes = nodes
        self._verify = verify
        self._relayed = relayed
        self._sockets = ""
        self._supervisor: subprocess.Popen[str] | None = None
        self._events = -1

    def __enter__(self) -> Self:
        self._sockets = tempfile.mkdtemp(prefix="exmachina-")
        endpoints = (f"ipc://{self._sockets}/in", f"ipc://{self._sockets}/out")
        self._directory.write_json("endpoints", endpoints)
        self._events, theirs = os.pipe()
        order = Order(
            run=str(self._directory.path.resolve()),
            endpoints=endpoints,
            nodes=self._nodes,
            events=theirs,
            launcher=os.getpid(),
            verify=self._verify,
            relayed=self._relayed,
            outlets=f"ipc://{self._sockets}/*" if self._directory.config().get("wiring") == "direct" else "",
            descriptors=most_descriptors(self._nodes, relayed=self._relayed),
        )
        log = (self._directory.logs / "supervisor.log").open("ab")
        with log:
            # The supervisor has its own session: Ctrl-C reaches only the command line, which ends the run in order.
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", self.supervisor_module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=(theirs,),
                start_new_session=True,
            )
        os.close(theirs)
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(order.to_json(), file=self._supervisor.stdin, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        supervisor = self._supervisor
        assert supervisor is not None and supervisor.stdin is not None and supervisor.stdout is not None
        # A second Ctrl-C must not leave a part of the network behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with contextlib.suppress(BrokenPipeError):
                supervisor.stdin.close()
            try:
                supervisor.wait(STOPPING_AT_MOST_SECONDS)
            except subprocess.TimeoutExpired:
                # The children of the supervisor die with it.
                supervisor.kill()
                supervisor.wait()
            supervisor.stdout.close()
            os.close(self._events)
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._directory.forget("endpoints")
        finally:
            signal.signal(signal.SIGINT, previous)

    def events(self) -> Iterator[dict[str, Any]]:
        """Iterate over the events of coordinator and supervisor until both have ended."""
        assert self._supervisor is not None and self._supervisor.stdout is not None
        buffers = {self._events: b"", self._supervisor.stdout.fileno(): b""}
        with selectors.DefaultSelector() as selector:
            for descriptor in buffers:
                selector.register(descriptor, selectors.EVENT_READ)
            while buffers:
                for key, _ in selector.select():
                    chunk = os.read(key.fd, 65_536)
                    if not chunk:
                        selector.unregister(key.fd)
                        del buffers[key.fd]
                        continue
                    *lines, buffers[key.fd] = (buffers[key.fd] + chunk).split(b"\n")
                    yield from (json.loads(line) for line in lines)

    def command(self, command: Mapping[str, Any]) -> None:
        """Send a command to the supervisor; do nothing if it has ended."""
        assert self._supervisor is not None and self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(command), file=self._supervisor.stdin, flush=True)

    def exit_code(self) -> int:
        """Return the exit code of the coordinator after the last event. Raises `JobError` if the supervisor failed."""
        assert self._supervisor is not None
        code = self._supervisor.wait()
        if code < 0:
            raise JobError(f"the supervisor was ended by signal {-code}; its log is {self.log('supervisor')}")
        return code

    def log(self, name: str) -> Path:
        """Return the path of the log of a program."""
        return self._directory.logs / f"{name}.log"
