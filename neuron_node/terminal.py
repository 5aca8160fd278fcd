"""Run the demo in a terminal, or with lines from a file or a pipe."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, TextIO

from neuron_node.activations import ACTIVATIONS
from neuron_node.demo import LONGEST_LINE, PERSON, Demo, quoted
from neuron_node.errors import DivergedError, UserError
from neuron_node.one_neuron import OneNeuron

STOPPED, FAILED, DIVERGED, INTERRUPTED = 0, 1, 3, 130
"""The exit codes, as docs/reference/commands.md has them."""
MOST_INPUTS = 8
LARGEST_RATE, LARGEST_SEED = 1e6, 2**32 - 1


class DemoOptions(NamedTuple):
    """The options of the demo, with their default values."""

    inputs: int = 2
    activation: str = "logistic"
    learning_rate: float = 1.0
    seed: int = 0


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add --demo and the options that belong to it. An option without a value is None."""
    default = DemoOptions()
    names = ", ".join(ACTIVATIONS)
    demo = parser.add_argument_group("demo")
    demo.add_argument(
        "--demo", action="store_true", help="show one neuron in this terminal: type numbers, see the nine steps"
    )
    demo.add_argument(
        "--inputs", metavar="COUNT", help=f"number of inputs, from 1 to {MOST_INPUTS} (default {default.inputs})"
    )
    demo.add_argument("--activation", metavar="NAME", help=f"{names} (default {default.activation})")
    demo.add_argument(
        "--learning-rate", metavar="RATE", help=f"the factor of the gradient (default {default.learning_rate:g})"
    )
    demo.add_argument("--seed", metavar="SEED", help=f"seed of the first weights (default {default.seed})")


def demo_options(options: argparse.Namespace) -> DemoOptions | None:
    """Return the options of the demo, or None without --demo. Raises `UserError` for a wrong value."""
    given = {name: value for name in CHECKS if (value := getattr(options, name)) is not None}
    if not options.demo:
        if given:
            raise UserError(f"{_flag(next(iter(given)))} belongs to the demo; right would be neuron-node --demo")
        return None
    return DemoOptions(**{name: _checked(name, value) for name, value in given.items()})


class Check(NamedTuple):
    """How the text of an option becomes its value, which values are right, and how a message names them."""

    convert: Callable[[str], Any]
    is_right: Callable[[Any], bool]
    right: str


CHECKS = {
    "inputs": Check(int, lambda count: 1 <= count <= MOST_INPUTS, f"a whole number from 1 to {MOST_INPUTS}"),
    "activation": Check(str, lambda name: name in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "learning_rate": Check(
        float, lambda rate: 0 < rate <= LARGEST_RATE, "a number above 0, at most 1000000, such as 1"
    ),
    "seed": Check(int, lambda seed: 0 <= seed <= LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED}"),
}


def _checked(name: str, text: str) -> Any:
    check = CHECKS[name]
    try:
        value = check.convert(text[:LONGEST_LINE])
    except ValueError:
        value = None
    if value is None or not check.is_right(value):
        raise UserError(f"{_flag(name)}: {quoted(text)} is not right; right would be {check.right}")
    return value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def run_demo(options: DemoOptions) -> int:
    """Run the demo with the standard streams; return the exit code. Ctrl-C and SIGTERM end it, and so does a closed pipe.

    Raises:
        UserError: the standard input is closed.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.stdin is None:
        raise UserError(
            "the demo reads numbers from standard input, which is closed; right would be a terminal or a pipe"
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without the sign × shows another sign instead.
            stream.reconfigure(errors="replace")
    try:
        demo = Demo(OneNeuron(*options, PERSON))
        converse(demo, sys.stdin.buffer, sys.stdout, sys.stderr, prompts=sys.stdin.isatty())
    except DivergedError as fault:
        return _ended(fault, DIVERGED)
    except KeyboardInterrupt:
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _discard_output()
    except OSError as fault:
        _discard_output()
        return _ended(f"cannot read the numbers or write the answer: {fault.strerror or fault}", FAILED)
    return STOPPED


def _ended(why: object, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"neuron-node: {why}", file=sys.stderr)
    return code


def _discard_output() -> None:
    """Discard buffered output, so that Python does not try to write it again at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def converse(demo: Demo, source: BinaryIO, output: TextIO, errors: TextIO, *, prompts: bool) -> None:
    """Ask and answer until the input ends. After a wrong line, print to `errors` what would be right, and ask again."""
    _print(output, demo.begin())
    while True:
        if prompts:
            print(demo.question, end="", file=output, flush=True)
        line = source.readline(LONGEST_LINE + 1)
        if not line:
            if prompts:
                print(file=output)
            return
        try:
            if len(line) > LONGEST_LINE:
                _skip_rest(line, source)
                raise UserError(f"the line is too long; right would be at most {LONGEST_LINE} characters")
            answer = demo.receive(line.decode(errors="replace"))
        except UserError as fault:
            print(fault, file=errors, flush=True)
        else:
            _print(output, answer)


def _print(output: TextIO, lines: list[str]) -> None:
    print("\n".join(lines), file=output, flush=True)


def _skip_rest(line: bytes, source: BinaryIO) -> None:
    """Read the rest of a long line, in pieces."""
    while line and not line.endswith(b"\n"):
        line = source.readline(LONGEST_LINE)
