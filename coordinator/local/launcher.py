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
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coordinator.defaults import Wiring
from coordinator.errors import JobError, UserError
from coordinator.local.descriptors import most_descriptors
from coordinator.local.limits import limits_of_run
from coordinator.local.remains import DOOR, PREFIX, SocketFolder, make_socket_folder, write_endpoints
from coordinator.local.restarts import STOPPED_AT_MOST_SECONDS
from coordinator.local.supervisor import ENDING, Order
from coordinator.storage.disk import open_regular
from coordinator.storage.run_folder import RunFolder
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.transport import LONGEST_IPC_PATH, Endpoints

STOPPING_AT_MOST_SECONDS = 20.0
LOOK_AT_SUPERVISOR_SECONDS = 1.0
LARGEST_LAST_WORDS_BYTES = 4_096


def check_sockets(nodes: int, wiring: Wiring, *, relayed: bool) -> None:
    """Raise `UserError` if the paths of the sockets of a run would be too long."""
    sockets = f"{tempfile.gettempdir()}/{PREFIX}XXXXXXXX/{DOOR}.pub"
    sockets = sockets.removesuffix(f"{DOOR}.pub") + f"out-{nodes}" if relayed else sockets
    if wiring == "direct":
        sockets = sockets.rpartition("/")[0] + "/" + "0" * 2 * IDENTITY_LENGTH
    if len(sockets.encode()) > LONGEST_IPC_PATH:
        raise UserError(
            f"TMPDIR: {sockets!r} is too long a path for a socket (at most {LONGEST_IPC_PATH} bytes); set a shorter one"
        )


class LocalRun:
    """A supervisor and its programs. As a context manager, it leaves no process and no socket behind."""

    supervisor_module = "coordinator.local.supervisor"
    """The module of the supervisor, which reads an `Order` and carries it out."""

    def __init__(
        self,
        directory: RunFolder,
        nodes: int,
        *,
        verify: bool = False,
        relayed: bool = False,
        broker: Endpoints | None = None,
        keys: Path | None = None,
    ) -> None:
        """`nodes` is the number of nodes, with spares. If they are `relayed`, they can be disconnected.

        `broker` are the endpoints of the broker; without them, sockets in a folder. With the folder `keys`, connections over TCP
        are encrypted.
        """
        self._directory = directory
        self._nodes = nodes
        self._verify = verify
        self._relayed = relayed
        self._broker = broker
        self._keys = keys
        self._sockets: SocketFolder | None = None
        self._supervisor: subprocess.Popen[str] | None = None
        self._stopped_at: float | None = None
        self._events = -1

    def __enter__(self) -> Self:
        try:
            self._begin()
        except OSError as fault:
            self._end()
            raise JobError(f"the run can't be started: {fault.strerror or fault}") from None
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _begin(self) -> None:
        self._sockets = make_socket_folder(self._directory.path)
        folder = self._sockets.path
        endpoints = self._broker or Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
        door, outlets = f"ipc://{folder}/{DOOR}", "tcp://127.0.0.1:*" if self._broker else f"ipc://{folder}/*"
        write_endpoints(self._directory, endpoints, door)
        self._events, theirs = os.pipe()
        order = Order(
            run=str(self._directory.path.resolve()),
            endpoints=endpoints,
            door=door,
            nodes=self._nodes,
            events=theirs,
            launcher=os.getpid(),
            verify=self._verify,
            relayed=self._relayed,
            outlets=outlets if self._directory.config().get("wiring") == "direct" else "",
            descriptors=most_descriptors(self._nodes, relayed=self._relayed),
            limits=limits_of_run(self._directory.config()),
            keys=str(self._keys.resolve()) if self._keys else "",
        )
        try:
            with open_regular(self.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND) as log:
                # The supervisor has its own session: Ctrl-C reaches only the command line, which ends the run in order.
                self._supervisor = subprocess.Popen(
                    [sys.executable, "-m", self.supervisor_module],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    pass_fds=(theirs, self._sockets.lock),
                    start_new_session=True,
                )
        finally:
            os.close(theirs)
        assert self._supervisor.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(order.to_json(), file=self._supervisor.stdin, flush=True)

    def _end(self) -> None:
        # A second signal must not leave a part of the network behind.
        previous = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
        try:
            if self._supervisor is not None:
                self._end_supervisor(self._supervisor)
            if self._events >= 0:
                os.close(self._events)
            if self._sockets is not None:
                shutil.rmtree(self._sockets.path, ignore_errors=True)
                os.close(self._sockets.lock)
                # A disk that became read-only keeps the file; the next command finds no program that uses the run.
                with contextlib.suppress(OSError):
                    self._directory.forget("endpoints")
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _end_supervisor(self, supervisor: subprocess.Popen[str]) -> None:
        assert supervisor.stdin is not None and supervisor.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            supervisor.stdin.close()
        # A stopped supervisor would not notice the end of its input.
        supervisor.send_signal(signal.SIGCONT)
        try:
            supervisor.wait(STOPPING_AT_MOST_SECONDS)
        except subprocess.TimeoutExpired:
            # The children of the supervisor die with it.
            supervisor.kill()
            supervisor.wait()
        supervisor.stdout.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """Iterate over the events of coordinator and supervisor until both have ended."""
        assert self._supervisor is not None and self._supervisor.stdout is not None
        buffers = {self._events: b"", self._supervisor.stdout.fileno(): b""}
        with selectors.DefaultSelector() as selector:
            for descriptor in buffers:
                selector.register(descriptor, selectors.EVENT_READ)
            while buffers:
                for key, _ in selector.select(LOOK_AT_SUPERVISOR_SECONDS):
                    chunk = os.read(key.fd, 65_536)
                    if not chunk:
                        selector.unregister(key.fd)
                        del buffers[key.fd]
                        continue
                    *lines, buffers[key.fd] = (buffers[key.fd] + chunk).split(b"\n")
                    yield from (json.loads(line) for line in lines)
                if self._stays_stopped(time.monotonic()):
                    self._supervisor.send_signal(signal.SIGCONT)
                    yield {"event": "continued", "program": "supervisor", "process": self._supervisor.pid}

    def _stays_stopped(self, now: float) -> bool:
        """Whether the supervisor has been stopped for too long: no other program would continue it."""
        assert self._supervisor is not None
        # Leave the exit code for the later wait.
        look = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        try:
            stopped = os.waitid(os.P_PID, self._supervisor.pid, look) is not None
        except ChildProcessError:
            # It has ended.
            stopped = False
        if not stopped:
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = now
        elif now - self._stopped_at >= STOPPED_AT_MOST_SECONDS:
            self._stopped_at = None
            return True
        return False

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
            raise JobError(
                f"the supervisor was ended by signal {-code} ({signal.Signals(-code).name}), and the run with it; "
                f"{self.how_to_go_on()}"
            )
        return code

    def last_words(self) -> str:
        """Return the last line of the log of the supervisor, for an end without a reason."""
        try:
            with open_regular(self.log("supervisor")) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LARGEST_LAST_WORDS_BYTES))
                lines = file.read(LARGEST_LAST_WORDS_BYTES).decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def how_to_go_on(self) -> str:
        """Name the command that continues the run."""
        return f"continue it with: coordinator learn --resume {self._directory.path.name}"

    def log(self, name: str) -> Path:
        """Return the path of the log of a program."""
        return self._directory.logs / f"{name}.log"
