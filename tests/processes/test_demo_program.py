"""`neuron-node --demo` as a program: a terminal, signals, and exit codes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = pytest.mark.processes

PROGRAM = [sys.executable, "-m", "neuron_node", "--demo"]
END_SECONDS = 60


@contextmanager
def terminal() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the demo in a terminal of its own; yield the program and the other side of the terminal."""
    ours, theirs = pty.openpty()
    process: subprocess.Popen[Any] = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *PROGRAM], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(file: int, text: str) -> str:
    """Read from a terminal until a text appears."""
    seen = b""
    while text.encode() not in seen:
        seen += os.read(file, 4096)
    return seen.decode()


def code_after(process: subprocess.Popen[bytes], file: int, key: bytes) -> int:
    """Press a key until the program ends; return its exit code.

    Python does not notice a signal that comes between the prompt and the wait for a key, until the next key comes. A person
    presses the key again.
    """
    for _ in range(END_SECONDS):
        os.write(file, key)
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("the program did not end")


@pytest.mark.parametrize(("key", "code"), [(b"\x04", 0), (b"\x03", 130)], ids=["Ctrl-D", "Ctrl-C"])
def test_a_person_types_an_example_and_ends_the_demo(key: bytes, code: int) -> None:
    """The terminal shows the questions and the answers; Ctrl-D ends with 0, Ctrl-C with 130, and neither with a traceback."""
    with terminal() as (process, ours):
        read_until(ours, "inputs: ")
        os.write(ours, b"1 0\n")
        assert "activity = logistic(" in read_until(ours, "desired output: ")
        os.write(ours, b"1\n")
        assert "you want 1." in read_until(ours, "inputs: ")
        assert code_after(process, ours, key) == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_demo_with_one_line(number: signal.Signals) -> None:
    """Exit code 130, as of every other program that is interrupted."""
    with subprocess.Popen(
        PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        while "Ctrl-D" not in process.stdout.readline():
            pass
        process.send_signal(number)
        assert process.wait(END_SECONDS) == 130
        assert process.stderr.read() == "neuron-node: interrupted\n"


def test_overflow_ends_the_demo_with_one_line() -> None:
    """Exit code 3, as of a training that diverges."""
    options = ["--inputs", "1", "--activation", "identity", "--learning-rate", "1000000"]
    done = subprocess.run(
        [*PROGRAM, *options], input="1000\n1\nagain 100\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("neuron-node: diverged: ") and done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error_and_a_closed_input_is_one() -> None:
    """As with `head`, exit code 0 without a message; without standard input, exit code 2 and one line."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(PROGRAM, input=b"1 0\n1\n", stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    closed = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM], capture_output=True, text=True, check=False)
    assert closed.returncode == 2
    assert closed.stderr.startswith("neuron-node: ") and closed.stderr.count("\n") == 1


def test_a_full_disk_is_one_line() -> None:
    """Exit code 1."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        done = subprocess.run(PROGRAM, input="", stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("neuron-node: cannot ") and done.stderr.count("\n") == 1
