"""The command `coordinator` and its exit codes.

Exit codes: 0 success, 1 the job failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

import click

from coordinator.cli.ask import logs, neuron, neurons, status, stop, why
from coordinator.cli.bench import bench
from coordinator.cli.learn import learn, verify
from coordinator.cli.output import errors
from coordinator.cli.plan import plan
from coordinator.cli.predict import evaluate, predict
from coordinator.cli.runs import runs
from coordinator.cli.serve import serve
from coordinator.errors import JobError, UserError
from coordinator.host import limit_of_memory
from neuron_node import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="coordinator")
@click.option("--verbose", is_flag=True, help="Print more messages on stderr.")
def cli(verbose: bool) -> None:
    """A neural network in which every neuron is a program of its own."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr
    )


for _command in (learn, serve, verify, plan, bench, runs, status, neurons, neuron, why, logs, predict, evaluate, stop):
    cli.add_command(_command)


def _terminated(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code. Errors of the user or the job are one line, never a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # nohup ignores it on purpose.
        signal.signal(signal.SIGHUP, _terminated)
    try:
        code = cli.main(arguments, prog_name="coordinator", standalone_mode=False)
    except click.ClickException as fault:
        fault.show()
        return 2
    except UserError as fault:
        errors.print(f"coordinator: {fault}", markup=False)
        return 2
    except JobError as fault:
        errors.print(f"coordinator: {fault}", markup=False)
        return 1
    except MemoryError:
        errors.print(f"coordinator: there is too little memory{limit_of_memory()}", markup=False)
        return 1
    except (KeyboardInterrupt, click.Abort):
        errors.print("coordinator: interrupted", markup=False)
        return 130
    except BrokenPipeError:
        # The reader of our output has closed the pipe, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
