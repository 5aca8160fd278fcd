"""`serve`: the long-lived coordinator of a network whose nodes somebody else starts, as Compose does."""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click

from coordinator.cli.job import Job, say_data, say_placement
from coordinator.cli.options import broker_endpoint_options, endpoints, runs_option, settings_options
from coordinator.cli.output import errors
from coordinator.cli.progress import PlainLines
from coordinator.errors import JobError, UserError
from coordinator.host import other_machines
from coordinator.needs import check_needs, needs_of_run
from coordinator.resumption import config_to_go_on
from coordinator.run_directory import RunDirectory
from coordinator.service import Service
from neuron_node.program import LOG_FORMAT, listening_at

LARGEST_LOG_BYTES = 8 * 1024 * 1024


@click.command()
@click.argument("dataset", required=False)
@settings_options()
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Let nodes of another CPU type or NumPy take part; weights are then not exactly repeatable.",
)
@broker_endpoint_options
@click.option(
    "--listen",
    metavar="ENDPOINT",
    help="Where nodes hear this program in direct wiring, tcp://HOST:PORT, * for any.  "
    "[default: $EXMACHINA_LISTEN or any port here]",
)
@runs_option
@click.pass_context
def serve(
    context: click.Context,
    /,
    dataset: str | None,
    config: Path | None,
    allow_mixed: bool,
    broker_in: str | None,
    broker_out: str | None,
    listen: str | None,
    runs: Path,
    **flags: Any,
) -> None:
    """Wait for as many nodes as the network has groups, or --nodes, train as asked, then stay up and answer.

    The broker and the nodes are programs of their own: neuron-broker, and one neuron-node a group. A run of the same
    name (by default that of the data set), settings and data goes on where it stood; SIGTERM and Ctrl-C leave the nodes,
    for the next coordinator. `coordinator stop` ends the nodes too.
    """
    where = endpoints(runs, None, broker_in, broker_out)
    listening = listening_at("--listen", listen or os.environ.get("EXMACHINA_LISTEN") or "tcp://127.0.0.1:*")
    job = Job.from_flags({"dataset": dataset, **flags}, config, machine=other_machines)
    check_needs(job.needs(), other_machines())
    say_data(job)
    directory = _run_of(job, runs, allow_mixed)
    nodes = needs_of_run(directory.config()).nodes
    watch = _Watch(directory)
    service = Service(directory, watch, stop_when_finished=False)
    log = RotatingFileHandler(directory.logs / "coordinator.log", maxBytes=LARGEST_LOG_BYTES, backupCount=1)
    log.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.getLogger("exmachina").addHandler(log)
    layers = "-".join(map(str, job.network.layers))
    restart = service.plan.restart
    errors.print(
        f"{job.data.dataset} {layers}: {nodes} nodes wanted at {where.inward}; run {directory.path.name}"
        + (f" goes on after step {restart.step:,}" if restart else ""),
        markup=False,
    )
    watch.trained = service.plan.trained is not None
    code = service.run(where, listening=listening)
    if watch.failure is not None:
        raise JobError(watch.failure)
    context.exit(code)


def _run_of(job: Job, runs: Path, mixed: bool) -> RunDirectory:
    """The run that goes on, or a new one. Raises `UserError` if another coordinator is at work in the former."""
    name = job.settings.name or job.data.dataset
    directory = job.begun_before(runs, name, mixed_arithmetic=mixed)
    if directory is not None:
        directory.check_free()
        try:
            config_to_go_on(directory)
        except UserError as fault:
            errors.print(f"{fault}; this is another run")
        else:
            if job.placement is not None:
                size = directory.config()["group_size"]
                errors.print(f"group size auto: {size:,}, as the run {directory.path.name} was begun")
            return directory
    say_placement(job)
    return job.create_run(runs, name=name, mixed_arithmetic=mixed, numbered=True)


class _Watch:
    """Plain lines, and what came of it."""

    def __init__(self, directory: RunDirectory) -> None:
        self.failure: str | None = None
        self.trained = False
        """Whether the network had learned already when this coordinator began."""
        self._directory = directory
        self._lines = PlainLines(say_waiting=True)

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        if event == "failed":
            self.failure = facts["reason"]
        elif event == "finished":
            _say_trained(facts)
        self._lines(event, facts)
        if event == "wired" and self.trained and (result := self._directory.result()):
            _say_trained(result)


def _say_trained(result: dict[str, Any]) -> None:
    accuracy = result["test_accuracy"]
    figure = f"R² {result['test_r2']:.3f}" if accuracy is None else f"accuracy {100 * accuracy:.1f} %"
    errors.print(
        f"trained: {figure} held out, weights sha256 {result['weights_sha256']}; ready for questions", markup=False
    )
