"""A reader who types every command of a document, in order, in an empty folder, into two terminals."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from tests.ports import free_ports

from .console import ELLIPSIS, Command, Comparison

PATIENCE_SECONDS = 150.0
LOOK_AGAIN_SECONDS = 0.02
INTERRUPTED = "^C"
SHOWN_FOLDER = "/home/ada/exmachina"
SHOWN_HOST = "laptop"
SHOWN_PORTS = (5571, 5572)


@dataclass
class Running:
    """The command in the first terminal, where its output goes, and how many lines of it have been looked at."""

    process: subprocess.Popen[str]
    output: Path
    read: int = 0
    expected_code: int = 0


class Reader:
    """Types commands and looks at what comes. As a context manager it ends whatever still runs."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the reader's; what the reader remembers is kept beside it."""
        self._folder = folder
        self._notes = folder.parent
        self._comparison = Comparison()
        ports = free_ports(len(SHOWN_PORTS))
        self._names = {str(folder): SHOWN_FOLDER, socket.gethostname()[:64]: SHOWN_HOST}
        self._names |= {
            f"127.0.0.1:{port}": f"127.0.0.1:{shown}" for port, shown in zip(ports, SHOWN_PORTS, strict=True)
        }
        endpoints = [f"tcp://127.0.0.1:{port}" for port in ports]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EXMACHINA_")},
            **dict(zip(("EXMACHINA_BIND_IN", "EXMACHINA_BIND_OUT"), endpoints, strict=True)),
            **dict(zip(("EXMACHINA_BROKER_IN", "EXMACHINA_BROKER_OUT"), endpoints, strict=True)),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._typed = 0
        self._first: Running | None = None
        self._shell = self._start(["bash"], self._notes / "shell.out", stdin=subprocess.PIPE)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish_first()
        finally:
            for process in (self._shell, self._first.process if self._first else self._shell):
                if process.poll() is None:
                    # Each terminal is a group of its own: with it go the programs that were started in it.
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait(PATIENCE_SECONDS)
            assert self._shell.stdin is not None
            self._shell.stdin.close()

    def take(self, command: Command, code: int = 0) -> None:
        """Type a command; compare its output with what is shown, and its exit code."""
        if "first-terminal" not in command.words:
            self._type(command, code)
            return
        if command.text:
            self._finish_first()
            self._typed += 1
            # It gives way to what is typed meanwhile, or on a busy machine it would be over before that has begun.
            output = self._notes / f"{self._typed}.out"
            self._first = Running(self._start(["bash", "-c", f"exec nice {command.text}"], output), output)
        assert self._first is not None, f"line {command.line}: nothing runs in the first terminal"
        self._follow(command, self._first)

    def _finish_first(self) -> None:
        if self._first is not None:
            code = self._first.process.wait(PATIENCE_SECONDS)
            assert code == self._first.expected_code, f"exit {code}\n{self._first.output.read_text()}"
            self._first = None

    def _type(self, command: Command, expected_code: int) -> None:
        """In the second terminal, and wait for its end."""
        self._typed += 1
        output, ended = self._notes / f"{self._typed}.out", self._notes / f"{self._typed}.code"
        text = command.text
        for shown, real in self._comparison.processes.items():
            text = text.replace(f"kill -9 {shown}", f"kill -9 {real}")
        assert self._shell.stdin is not None
        # Renamed when it is whole. The subshell leaves the code for an `echo $?` that may come next.
        note = f"code=$?; echo $code > {ended}.new; mv {ended}.new {ended}; (exit $code)"
        print(f"{{ {text}\n}} > {output} 2>&1 < /dev/null; {note}", file=self._shell.stdin, flush=True)
        self._await(ended.exists, lambda: f"it does not end: {_difference(command, self._lines(output))}")
        lines = self._lines(output)
        difference = _difference(command, lines)
        assert int(ended.read_text()) == expected_code, difference
        assert self._comparison.end_of(command, lines) == len(lines), difference

    def _follow(self, command: Command, running: Running) -> None:
        """Wait until the first terminal shows what the document shows; type Ctrl-C where it does."""
        if INTERRUPTED in command.shown:
            at = command.shown.index(INTERRUPTED)
            self._follow(replace(command, shown=command.shown[:at]), running)
            running.expected_code = 130
            running.process.send_signal(signal.SIGINT)
            running.process.wait(PATIENCE_SECONDS)
            command = replace(command, shown=(ELLIPSIS, *command.shown[at + 1 :]))

        def seen() -> bool:
            ended = running.process.poll() is not None
            end = self._comparison.end_of(command, self._lines(running.output), running.read)
            running.read = running.read if end is None else end
            assert end is not None or not ended, say()
            return end is not None

        def say() -> str:
            return _difference(command, self._lines(running.output)[running.read :])

        self._await(seen, say)

    @staticmethod
    def _await(condition: Callable[[], bool], say: Callable[[], str]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, say()
            time.sleep(LOOK_AGAIN_SECONDS)

    def _start(self, arguments: list[str], output: Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        with output.open("wb") as file:
            return subprocess.Popen(
                arguments,
                cwd=self._folder,
                env=self._environment,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _lines(self, output: Path) -> list[str]:
        text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        for real, shown in self._names.items():
            text = re.sub(rf"(?<!\w){re.escape(real)}(?!\w)", shown, text)
        return text.splitlines()


def _difference(command: Command, lines: list[str]) -> str:
    shown, came = "\n".join(command.shown), "\n".join(lines)
    return f"line {command.line}: {command.name}\n--- the document shows\n{shown}\n--- what came\n{came}"
