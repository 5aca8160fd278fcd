"""The command `coordinator`. Its exit codes are in `exits.py`.

The module of a command is imported when the
command is given, so that help and short commands do not wait for the imports of other commands.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys

import click

from coordinator.cli.exits import FAILED, INTERRUPTED, USAGE, Exit, error_document, exit_of, wants_json
from coordinator.cli.output import errors, prepare_streams, print_json, results
from coordinator.cli.suggesting import SuggestingGroup
from coordinator.errors import JobError, UserError
from coordinator.local.processes import limit_of_memory
from neuron_node import __version__

COMMANDS = {
    "learn": ("learn", "Train a network on this machine, with one process per group (by default, one per neuron)."),
    "serve": ("serve", "Wait for the nodes of the network, train it, then stay up and answer requests."),
    "verify": (
        "learn",
        "Train the same network as programs and as textbook matrices, and compare every number of every step.",
    ),
    "data": ("data", "Report what is understood of a data set, without training."),
    "plan": (
        "plan",
        "Estimate what a network needs (programs, open files, memory, messages) and compare it with this machine.",
    ),
    "bench": (
        "bench",
        "Measure steps per second of networks of programs, of the bare wire under them, and of matrices.",
    ),
    "runs": ("runs", "List all runs, the oldest first."),
    "history": ("history", "List the kept snapshots of a run: the last two, the best, and older ones."),
    "dashboard": (
        "dashboard",
        "Show a run as a live page in the browser: the network, its neurons, curves, predictions and programs.",
    ),
    "report": ("report", "Write a report of a run: one HTML file that needs no server."),
    "status": ("ask", "Show the state of the run and its figures so far."),
    "neurons": ("ask", "List all neurons: layer, state, and the program that each one runs in."),
    "neuron": ("ask", "Show one neuron: its bias, the weights of its synapses, its last activity and error."),
    "trace": ("trace", "Send one sample through the neurons, forward and back, and show what each of them computes."),
    "explain": ("trace", "Say why a weight changed in the last training step."),
    "watch": (
        "watch",
        "Show what the neurons hold while they learn: activities, errors, and weights before and after an update.",
    ),
    "why": ("ask", "Show what blocks the run: which neuron waits for which, down to the cause."),
    "pause": ("intervene", "Pause the training after the step that is in flight."),
    "resume": ("intervene", "Continue a paused training, to its end or up to a step."),
    "step": ("intervene", "Do one step, or COUNT steps, and pause."),
    "set": (
        "intervene",
        "Set the learning rate, the bias of a neuron or, with --to, the weight of a synapse.",
    ),
    "silence": (
        "intervene",
        "Silence a neuron: its activity counts as 0, and it learns nothing, until its silence ends.",
    ),
    "rewind": ("intervene", "Go back to the snapshot after STEP, and train on from there as a new branch."),
    "restart": ("restart", "Begin another run of a service, with other settings; the nodes stay."),
    "rebalance": ("intervene", "Move groups that went to other nodes to free nodes."),
    "kill": (
        "intervene",
        "Kill the program of a neuron with SIGKILL.",
    ),
    "logs": ("ask", "Print the log of a program of a local run."),
    "predict": ("predict", "Predict the rows of a table."),
    "evaluate": ("predict", "Measure how good the network is."),
    "stop": ("ask", "Stop the service and all its nodes in order."),
    "config": ("config", "Show all settings and where each value comes from."),
    "keys": ("keys", "Create, list, revoke and replace the keys of a network."),
    "completion": ("completing", "Print the script by which a shell completes commands, options and values."),
}
"""The module of each command, and its line in the help of the group."""
FUNCTIONS = {"set": "set_number"}
"""The functions of commands whose name is a word of Python."""


class Commands(SuggestingGroup):
    """A group that imports a command when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"coordinator.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, FUNCTIONS.get(cmd_name, cmd_name))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="coordinator")
@click.option("--verbose", is_flag=True, help="Print more messages on stderr.")
def cli(verbose: bool) -> None:
    """A neural network in which every neuron is a program of its own."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr
    )


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code. Errors of the user or the job are one line, never a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    prepare_streams()
    results.written = errors.quiet = False
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # nohup ignores it on purpose.
        signal.signal(signal.SIGHUP, _terminated)
    given = sys.argv[1:] if arguments is None else arguments
    as_json = wants_json(given)
    try:
        code = cli.main(arguments, prog_name="coordinator", standalone_mode=False)
        _flush()
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()
        return _reported(USAGE, "a command is missing", as_json)
    except click.ClickException as fault:
        return _said(_in_one_line(fault), USAGE, as_json)
    except (UserError, JobError) as fault:
        return _said(fault, exit_of(fault), as_json)
    except MemoryError:
        return _said(f"there is too little memory{limit_of_memory()}", FAILED, as_json)
    except (KeyboardInterrupt, click.Abort):
        return _said("interrupted", INTERRUPTED, as_json)
    except (BrokenPipeError, SystemExit):
        # The reader of our output has closed the pipe, as `head` does; click turns that error into SystemExit.
        _to_nowhere()
        return 0
    except OSError as fault:
        # The disk under stdout is full, or there are too few processes or descriptors.
        _to_nowhere()
        where = f"{fault.filename}: " if fault.filename else "cannot write the output or start a program: "
        return _said(f"{where}{fault.strerror or fault}", FAILED, False)
    return code if isinstance(code, int) else 0


def _in_one_line(fault: click.ClickException) -> str:
    """Return what is wrong with options or arguments, and where help is."""
    message = " ".join(fault.format_message().split()).removesuffix(".")
    context = fault.ctx if isinstance(fault, click.UsageError) else None
    return f"{message}; see '{context.command_path} --help'" if context else message


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _to_nowhere() -> None:
    """Discard buffered output, so that Python does not try to write it again at its end."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _said(what: object, error: Exit, as_json: bool) -> int:
    """Print why a command ends, if stderr is open, and return its exit code."""
    errors.quiet = False
    with contextlib.suppress(OSError, ValueError):
        errors.print(f"coordinator: {what}")
    return _reported(error, str(what), as_json)


def _reported(error: Exit, message: str, as_json: bool) -> int:
    """Print an error as JSON if the command asks for JSON and has printed nothing; return the exit code."""
    if as_json and not results.written:
        with contextlib.suppress(OSError, ValueError, JobError):
            print_json(error_document(error, message))
    return error.code
