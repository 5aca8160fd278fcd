"""The `coordinator` command: what it can do, and what every way of ending means.

Exit codes: 0 fine, 1 the job failed, 2 wrong usage, 130 interrupted. A command's module is imported when the command is
given, so that help and short commands need not wait for what others use.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys

import click

from coordinator.cli.output import errors, prepare_streams
from coordinator.errors import JobError, UserError
from neuron_node import __version__

COMMANDS = {
    "learn": ("learn", "Train a network on this machine, every neuron a program of its own."),
    "serve": ("serve", "Wait for the nodes of a network, train it, and stay up to answer."),
    "verify": ("learn", "Train as programs and as textbook matrices, and compare every number."),
    "data": ("data", "Report what is understood of a data set, before anything is learnt from it."),
    "plan": ("plan", "Work out what a network will need, and whether this machine has it."),
    "bench": ("bench", "Measure networks of programs, and the bare wire under them."),
    "runs": ("runs", "The runs that have a folder here, the oldest first."),
    "status": ("ask", "Where the run stands, and its figures so far."),
    "neurons": ("ask", "Every neuron: its layer, its state, and where it runs."),
    "neuron": ("ask", "One neuron: its bias, its synapses' weights, its last activity."),
    "why": ("ask", "What the run waits for: who waits for whom, down to the cause."),
    "logs": ("ask", "The log of a program of a local run."),
    "predict": ("predict", "Predict the rows of a table."),
    "evaluate": ("predict", "How good the network is."),
    "stop": ("ask", "End the service and all its nodes, cleanly."),
}
"""The module of each command, and the line that the group's help has for it."""


class Commands(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"coordinator.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="coordinator")
@click.option("--verbose", is_flag=True, help="Say more on stderr.")
def cli(verbose: bool) -> None:
    """A neural network in which every neuron is a program of its own."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr
    )


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def run(arguments: list[str] | None = None) -> int:
    """Carry out a command line; the exit code. No fault of the user's or of the job's ends in a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    prepare_streams()
    try:
        code = cli.main(arguments, prog_name="coordinator", standalone_mode=False)
        _flush()
    except click.ClickException as fault:
        fault.show()
        return 2
    except UserError as fault:
        return _said(fault, 2)
    except JobError as fault:
        return _said(fault, 1)
    except (KeyboardInterrupt, click.Abort):
        return _said("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; there is nobody left to tell.
        _to_nowhere()
        return 0
    except OSError as fault:
        # A full disk under stdout, too few processes or descriptors: what was asked for can't be done here and now.
        _to_nowhere()
        where = f"{fault.filename}: " if fault.filename else "the output can't be written, or a program not started: "
        return _said(f"{where}{fault.strerror or fault}", 1)
    return code if isinstance(code, int) else 0


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _to_nowhere() -> None:
    """Send what is still buffered to nowhere, so that it is not tried again at the end of the program."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _said(what: object, code: int) -> int:
    """Say why a command ends, if anybody can hear it, and return its exit code."""
    with contextlib.suppress(OSError, ValueError):
        errors.print(f"coordinator: {what}")
    return code
