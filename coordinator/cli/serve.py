"""`serve`: the long-lived coordinator of a network whose nodes somebody else starts, as Compose does."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from coordinator.cli.job import Job
from coordinator.cli.options import broker_endpoint_options, endpoints, runs_option, settings_options
from coordinator.cli.output import errors
from coordinator.cli.progress import PlainLines
from coordinator.errors import JobError
from coordinator.service import Service
from neuron_node.program import LOG_FORMAT


@click.command()
@click.argument("dataset", required=False)
@settings_options
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Let nodes of another CPU type or NumPy take part; weights are then not exactly repeatable.",
)
@broker_endpoint_options
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
    runs: Path,
    **flags: Any,
) -> None:
    """Wait for as many nodes as the network has groups, train as asked, then stay up and answer.

    The broker and the nodes are programs of their own: neuron-broker, and one neuron-node a group.
    """
    where = endpoints(runs, None, broker_in, broker_out)
    job = Job.from_flags({"dataset": dataset, **flags}, config)
    directory = job.create_run(runs, mixed_arithmetic=allow_mixed, numbered=True)
    log = logging.FileHandler(directory.logs / "coordinator.log")
    log.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.getLogger("exmachina").addHandler(log)
    layers = "-".join(map(str, job.network.layers))
    errors.print(
        f"{job.data.dataset} {layers}: {job.nodes} nodes wanted at {where.inward}; run {directory.path.name}",
        markup=False,
    )
    watch = _Watch()
    code = Service(directory, watch, stop_when_finished=False).run(where)
    if watch.failure is not None:
        raise JobError(watch.failure)
    context.exit(code)


class _Watch:
    """Plain lines, and what came of it."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self._lines = PlainLines(say_waiting=True)

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        if event == "failed":
            self.failure = facts["reason"]
        elif event == "finished":
            accuracy = facts["test_accuracy"]
            figure = f"R² {facts['test_r2']:.3f}" if accuracy is None else f"accuracy {100 * accuracy:.1f} %"
            errors.print(
                f"trained: {figure} held out, weights sha256 {facts['weights_sha256']}; ready for questions",
                markup=False,
            )
        self._lines(event, facts)
