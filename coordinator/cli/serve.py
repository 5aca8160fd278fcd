"""The command `serve`: a coordinator for nodes that are started separately, for example by Compose."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import click

from coordinator.capacity.host import other_machines
from coordinator.capacity.resources import check_needs, needs_of_run
from coordinator.cli.choices import say_data, say_placement
from coordinator.cli.completing import complete_dataset
from coordinator.cli.exits import RESTARTED, job_failure
from coordinator.cli.figures import Figures
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import (
    broker_endpoint_options,
    broker_endpoints,
    key_options,
    runs_option,
    settings_options,
)
from coordinator.cli.output import errors, say_all
from coordinator.cli.progress import PlainLines
from coordinator.errors import UserError
from coordinator.front_door import check_door
from coordinator.job import Job
from coordinator.local.limits import largest_message_bytes
from coordinator.local.remains import local_door, remove_remains
from coordinator.restarting import Remembered, Restarting, recall
from coordinator.service import Service
from coordinator.settings import given_settings
from coordinator.storage.resumption import config_to_go_on
from coordinator.storage.run_facts import facts_of
from coordinator.storage.run_folder import RunFolder
from neuron_node.console import LOG_FORMAT, MESSAGE_VARIABLE, stated_message_bytes
from neuron_node.keys import COORDINATOR
from neuron_node.limits import MESSAGE_BYTES
from neuron_node.program import listening_at
from neuron_node.security import own_keys

COMMAND_VARIABLE = "EXMACHINA_COMMAND"
"""The command that users type for `coordinator`, if it runs in a container."""
LARGEST_LOG_BYTES = 8 * 1024 * 1024


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator serve iris --name flowers
    coordinator serve table.csv --broker-in tcp://10.0.0.7:5571 --broker-out tcp://10.0.0.7:5572
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@settings_options()
@click.option(
    "--allow-mixed",
    is_flag=True,
    help="Accept nodes with another CPU type or NumPy version; weights are then not exactly repeatable.",
)
@broker_endpoint_options
@click.option(
    "--data-folder",
    type=click.Path(path_type=Path),
    default=lambda: Path(os.environ.get("EXMACHINA_DATA_FOLDER") or "."),
    help="Folder with the files that `coordinator restart` may name as data.  "
    "[default: $EXMACHINA_DATA_FOLDER or the present folder]",
)
@click.option(
    "--start-again",
    is_flag=True,
    help="After `coordinator restart`, begin the new run, instead of ending with exit code 5.",
)
@click.option(
    "--bind-door",
    metavar="ENDPOINT",
    help="Where users of other hosts reach this program; the next port publishes events.  "
    "[default: $EXMACHINA_BIND_DOOR, else only users of this host]",
)
@click.option(
    "--listen",
    metavar="ENDPOINT",
    help="Endpoint of this program in direct wiring, tcp://HOST:PORT, * for any.  "
    "[default: $EXMACHINA_LISTEN or any local port]",
)
@click.option(
    "--max-message",
    metavar="BYTES",
    help="Size of the largest message; the same for broker, coordinator and nodes.  "
    f"[default: ${MESSAGE_VARIABLE} or {MESSAGE_BYTES}]",
)
@key_options
@runs_option
@click.pass_context
def serve(
    context: click.Context,
    /,
    dataset: str | None,
    config: Path | None,
    allow_mixed: bool,
    data_folder: Path,
    start_again: bool,
    broker_in: str | None,
    broker_out: str | None,
    bind_door: str | None,
    listen: str | None,
    max_message: str | None,
    keys: str | None,
    insecure: bool,
    runs: Path,
    **flags: Any,
) -> None:
    """Wait for the nodes of the network, train it, then stay up and answer requests.

    The broker and the nodes are separate programs: neuron-broker, and one neuron-node per group (or --nodes). A run with
    the same name (by default, the name of the data set), settings and data continues from its last snapshot. SIGTERM and
    Ctrl-C stop only the coordinator, and the nodes wait for the next one. `coordinator stop` stops the nodes too, and
    `coordinator restart` begins another run with the same nodes.
    """
    say_all(remove_remains())
    where = broker_endpoints(broker_in, broker_out)
    bind_door = bind_door or os.environ.get("EXMACHINA_BIND_DOOR")
    doors = [check_door("--bind-door", bind_door)] if bind_door else []
    listening_endpoint = listen or os.environ.get("EXMACHINA_LISTEN") or "tcp://127.0.0.1:*"
    listening = listening_at("--listen", listening_endpoint)
    message_bytes = stated_message_bytes(max_message)
    base = given_settings({"dataset": dataset, **flags}, os.environ, config)
    remembered, note = recall(runs, base)
    if note:
        errors.print(note)
    if remembered is None:
        job = Job.from_flags({"dataset": dataset, **flags}, config, machine=other_machines)
    else:
        job = Job.from_flags(remembered.settings, None, machine=other_machines, environment={})
    listens = [*doors, listening_endpoint] if job.wiring == "direct" else doors
    own = own_keys([COORDINATOR], keys, insecure=insecure, connects=where, listens=listens)
    check_needs(job.needs(), other_machines())
    say_data(job)
    before = {directory.path for directory in RunFolder.all_in(runs)}
    directory = _run_of(job, runs, allow_mixed) if remembered is None else _begun_by_restart(remembered, runs)
    _check_messages(directory, message_bytes)
    nodes = needs_of_run(directory.config()).nodes
    watch = _Watch(directory, Figures.of(job.data))
    restarting = Restarting(
        runs,
        base,
        base if remembered is None else remembered.settings,
        data_folder=data_folder,
        mixed_arithmetic=allow_mixed,
        check=lambda other: _check_messages(other, message_bytes),
    )
    service = Service(
        directory,
        watch,
        stop_when_finished=False,
        claims_broker=True,
        prepare_run=restarting,
        begun_by=remembered.begun_by if remembered else None,
    )
    log = RotatingFileHandler(directory.logs / "coordinator.log", maxBytes=LARGEST_LOG_BYTES, backupCount=1)
    log.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.getLogger("exmachina").addHandler(log)
    layers = "-".join(map(str, job.network.layers))
    restart = service.plan.restart
    errors.print(
        f"{job.data.dataset} {layers}: waiting for {nodes} nodes at {where.inward}; run {directory.path.name}"
        + (f" goes on after step {restart.step:,}" if restart else ""),
    )
    watch.trained = service.plan.trained is not None
    try:
        with local_door(directory, where) as door:
            code = service.run(where, [door, *doors], listening=listening, message_bytes=message_bytes, keys=own)
        if watch.refusal is not None:
            raise UserError(f"{watch.refusal}; stop it first, or start a broker for this run")
    except UserError:
        if directory.path not in before:
            directory.discard()
        raise
    if watch.failure is not None:
        raise job_failure(watch.failure)
    if code == RESTARTED.code and start_again:
        # The same process goes on, so that Compose and systemd see no end.
        logging.shutdown()
        os.execv(sys.executable, sys.orig_argv)
    context.exit(code)


def _check_messages(directory: RunFolder, message_bytes: int) -> None:
    """Raise `UserError` if the messages of the network may be larger than the broker takes."""
    if (largest := largest_message_bytes(directory.config())) > message_bytes:
        raise UserError(
            f"--max-message: a message of this network may have {largest} bytes, {message_bytes} are allowed; start broker, "
            f"coordinator and nodes with --max-message {largest} or {MESSAGE_VARIABLE}={largest}"
        )


def _begun_by_restart(remembered: Remembered, runs: Path) -> RunFolder:
    """Return the run that a client has begun. Raises `UserError` if another coordinator works on it."""
    directory = RunFolder.existing(runs, remembered.run)
    directory.check_free()
    errors.print(f"the run {remembered.run} was begun by `coordinator restart`, in the place of the given settings")
    return directory


def _run_of(job: Job, runs: Path, mixed: bool) -> RunFolder:
    """Return the run to continue, or a new one. Raises `UserError` if another coordinator works on the run."""
    name = job.settings.name or job.data.dataset
    directory = job.begun_before(runs, name, mixed_arithmetic=mixed)
    if directory is not None:
        directory.check_free()
        try:
            config_to_go_on(directory)
        except UserError as fault:
            errors.print(f"{fault}; starting another run")
        else:
            if job.placement is not None:
                size = directory.config()["group_size"]
                errors.print(f"group size auto: {size:,}, as in the run {directory.path.name}")
            return directory
    say_placement(job)
    if job.settings.name is None:
        _say_latest(runs)
    return job.create_run(runs, name=name, mixed_arithmetic=mixed, numbered=True)


def _say_latest(runs: Path) -> None:
    """Say which run was the latest, before another one begins: a setting may have been forgotten."""
    latest = RunFolder.latest(runs)
    if latest is None:
        return
    facts = facts_of(latest)
    what = "damaged" if facts.layers is None else f"{facts.dataset} {'-'.join(map(str, facts.layers))}, {facts.state}"
    errors.print(
        f"this is a new run with other settings than {facts.name} ({what}); to see its settings: "
        f"{_command()} runs show {facts.name}"
    )


def _command() -> str:
    """Return what users type for `coordinator`, also if it runs in a container."""
    return os.environ.get(COMMAND_VARIABLE) or "coordinator"


class _Watch:
    """Prints plain lines, and remembers how the run ended."""

    def __init__(self, directory: RunFolder, figures: Figures) -> None:
        self.failure: str | None = None
        self.refusal: str | None = None
        """The reason of another coordinator at the broker."""
        self.trained = False
        """Whether the training had finished before this coordinator started."""
        self._directory = directory
        self._figures = figures
        self._lines = PlainLines(figures, say_waiting=True)

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        if event == "failed":
            self.failure = facts["reason"]
        elif event == "refused":
            self.refusal = facts["reason"]
        elif event == "finished":
            self._say_trained(facts)
        self._lines(event, facts)
        if event == "wired" and self.trained and (result := self._directory.result()):
            self._say_trained(result)

    def _say_trained(self, result: dict[str, Any]) -> None:
        figure = self._figures.trained(result)
        errors.print(f"trained: {figure}, weights sha256 {result['weights_sha256']}")
        errors.print(f"ready for requests. Type in another terminal: {_command()} status (or neurons, predict, stop)")
