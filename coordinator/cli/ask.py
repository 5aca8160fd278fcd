"""The commands that query a running service: `status`, `neurons`, `neuron`, `why` and `stop`; and `logs`."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from coordinator.cli.asking import asked_network
from coordinator.cli.completing import complete_neuron, complete_run
from coordinator.cli.finding import client_of
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import door_options, json_option, model_option, runs_option
from coordinator.cli.output import print_json, print_table, results, shown
from coordinator.client import Client
from coordinator.data.suggestion import did_you_mean
from coordinator.errors import JobError, NobodyAnswers, UserError
from coordinator.storage.disk import open_regular
from coordinator.storage.run_folder import RunFolder

WATCH_SECONDS = 1.0
CHANGES = ("state", "finished", "failed", "recovery", "recovered")
"""The events after which `status --watch` shows the state at once."""
FOLLOW_SECONDS = 0.2
"""Seconds between two looks at a log that is followed."""
STATUS_LINES = (
    ("state", "state"),
    ("data set", "dataset"),
    ("layers", "layers"),
    ("nodes registered", "nodes_registered"),
    ("nodes needed", "nodes_needed"),
    ("epoch", "epoch"),
    ("epochs", "epochs"),
    ("step", "step"),
    ("pauses after step", "pauses_after"),
    ("steps", "steps"),
    ("training accuracy", "train_accuracy"),
    ("test accuracy", "test_accuracy"),
    ("test R²", "test_r2"),
    ("test loss", "test_loss"),
    ("steps/s", "steps_per_second"),
    ("samples/s", "samples_per_second"),
    ("messages", "messages"),
    ("recoveries", "recoveries"),
    ("weights sha256", "weights_sha256"),
    ("failure", "failure"),
)


def ask(runs: Path, where: dict[str, Any], command: str, **arguments: Any) -> dict[str, Any]:
    """Send one request to the service that the options name. Raises `UserError` and `JobError`."""
    with client_of(runs, where) as client:
        try:
            return client.ask(command, **arguments)[0]
        except UserError as fault:
            if "neuron" not in arguments:
                raise
            raise UserError(f"{fault}{did_you_mean(arguments['neuron'], names_of(client))}") from None


def names_of(client: Client) -> list[str]:
    """Return the names of the neurons of a service; none if it no longer answers. They serve only to complete an error message."""
    try:
        return [row["neuron"] for row in client.ask("neurons")[0]["neurons"]]
    except (UserError, JobError):
        return []


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator status
    coordinator status --run flowers --json
    """,
)
@click.option(
    "--watch",
    is_flag=True,
    help="Show the state again each second, until the run ends or Ctrl-C; with --json, one object per line.",
)
@door_options
@runs_option
@json_option
def status(runs: Path, watch: bool, as_json: bool, **where: Any) -> None:
    """Show the state of the run and its figures so far."""
    name = where["run_name"]
    with client_of(runs, where) as client:
        asked = False
        if watch:
            client.watch_events()
        while True:
            try:
                facts, _ = client.ask("status")
            except NobodyAnswers:
                if asked and name and RunFolder.existing(runs, name).holder() is None:
                    return
                raise
            asked = True
            if as_json:
                print_json(facts)
            else:
                if watch and results.is_terminal:
                    click.clear()
                _print_status(facts)
            if not watch or facts["state"] in ("stopping", "ended"):
                return
            _await_news(client)


def _await_news(client: Client) -> None:
    """Wait until the state of the run changes, at most one interval."""
    until = time.monotonic() + WATCH_SECONDS
    while (left := until - time.monotonic()) > 0:
        if client.next_event(left) in CHANGES:
            return


def _print_status(facts: Mapping[str, Any]) -> None:
    lines = [
        (label, "-".join(map(str, value)) if isinstance(value := facts[key], list) else shown(value))
        for label, key in STATUS_LINES
    ]
    print_table(("", ""), [line for line in lines if line[1] != "-"])


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator neurons --run flowers
    """,
)
@door_options
@runs_option
@json_option
def neurons(runs: Path, as_json: bool, **where: Any) -> None:
    """List all neurons: layer, state, and the program that each one runs in."""
    facts = ask(runs, where, "neurons")
    if as_json:
        print_json(facts)
        return
    titles = ("neuron", "layer", "state", "host", "process", "messages/s")
    rows = []
    for row in facts["neurons"]:
        # A process id is a name, not a quantity: print it without separators.
        process = None if row["process"] is None else str(row["process"])
        rate = None if row["messages_per_second"] is None else round(row["messages_per_second"])
        rows.append((row["neuron"], row["layer"], row["state"], row["host"], process, rate))
    print_table(titles, rows, spare=("messages/s", "layer", "host"))


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator neuron hidden.0
    coordinator neuron hidden.0 --model iris.safetensors
    """,
)
@click.argument("name", shell_complete=complete_neuron)
@model_option
@door_options
@runs_option
@json_option
def neuron(name: str, model: Path | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Show one neuron: its bias, the weights of its synapses, its last activity and error.

    All numbers are of one pass, the last training step. A finished run and a saved model keep only bias and weights.

    NAME is, for example, input.5, hidden.3 (hidden2.3 where there are several hidden layers) or output.7.
    """
    with asked_network(model, runs, where) as network:
        network.check_neuron(name)
        facts, _ = network.ask("neuron", neuron=name)
    if as_json:
        print_json(facts)
        return
    lines = [("neuron", facts["neuron"]), ("activation", facts["activation"])]
    learned = facts["steps"] is not None
    if learned:
        rows = f"{facts['rows']:,} row{'s' if facts['rows'] > 1 else ''}"
        lines += [
            ("step", f"{facts['step']:,} (pass {facts['pass']:,}, {rows})"),
            ("moment", facts["moment"]),
            ("activity", _few(facts["last_activity"])),
            ("error", _few(facts["last_error"])),
            ("bias before", f"{facts['bias_before']:.6f}"),
            ("gradient", f"{facts['bias_gradient']:.6f}"),
            ("bias after", f"{facts['bias']:.6f}"),
        ]
    else:
        lines += [("bias", f"{facts['bias']:.6f}"), ("after step", shown(facts["step"])), ("moment", facts["moment"])]
    print_table(("", ""), lines)
    for title, key in (("axon: signal = weight × activity, to", "axon"), ("dendrites: signals from", "dendrites")):
        if facts[key] and learned:
            print_table((title, "before", "gradient", "after"), [_synapse(synapse) for synapse in facts[key]])
        elif facts[key]:
            print_table((title, "weight"), [(synapse["neuron"], f"{synapse['weight']:+.6f}") for synapse in facts[key]])


def _synapse(synapse: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of a synapse: its weight before the step, the gradient, and the weight after it."""
    return synapse["neuron"], *(f"{synapse[key]:+.6f}" for key in ("before", "gradient", "weight"))


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator why
    coordinator why output.2 --run flowers
    """,
)
@click.argument("name", required=False, shell_complete=complete_neuron)
@door_options
@runs_option
@json_option
def why(name: str | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Show what blocks the run: which neuron waits for which, down to the cause.

    NAME is the neuron to begin with; by default, the first neuron whose result the coordinator misses.
    """
    facts = ask(runs, where, "why", **({} if name is None else {"neuron": name}))
    if as_json:
        print_json(facts)
        return
    for depth, sentence in enumerate(facts["why"]):
        results.print(f"{'  ' * depth}{sentence}")


def _few(numbers: list[float], most: int = 6) -> str:
    if not numbers:
        return "none yet"
    rest = f" … ({len(numbers)} samples in the batch)" if len(numbers) > most else ""
    return ", ".join(f"{number:.6f}" for number in numbers[:most]) + rest


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator logs
    coordinator logs hidden.3 --run flowers --lines 200
    """,
)
@click.argument("name", default="coordinator", shell_complete=complete_neuron)
@click.option(
    "--run",
    "run_name",
    metavar="NAME",
    shell_complete=complete_run,
    help="The name of the run.  [default: the latest run]",
)
@click.option(
    "--lines",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Number of lines, counted from the end.",
)
@click.option(
    "--follow", "-f", is_flag=True, help="Print further lines as they are written, until the run ends or Ctrl-C."
)
@runs_option
def logs(name: str, run_name: str | None, lines: int, follow: bool, runs: Path) -> None:
    """Print the log of a program of a local run.

    NAME is coordinator (the default), broker, supervisor, node-7 or another node, or the name of a neuron.
    """
    directory = RunFolder.latest(runs) if run_name is None else RunFolder.existing(runs, run_name)
    if directory is None:
        raise UserError(f"there is no run in {runs}; the logs of containers are in: docker compose logs neuron")
    placements = directory.read_json("placements") if (directory.path / "placements.json").is_file() else {}
    placement = placements.get(name)
    program = placement["node"] if placement else name
    known = sorted(path.stem for path in directory.logs.glob("*.log"))
    if program not in known:
        if placement:
            raise UserError(
                f"{name} runs on host {placement['host']}, see its log there: docker logs {placement['host']}"
            )
        similar = did_you_mean(name, [*placements, *known]) or f"; it has the programs {', '.join(known[:6])} …"
        raise UserError(f"the run {directory.path.name} has no program or neuron {name!r}{similar}")
    path = directory.logs / f"{program}.log"
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8", errors="replace") as file:
            for line in deque(file, maxlen=lines):
                results.print(line.rstrip("\n"))
            if follow:
                _follow(file, directory)
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise UserError(f"{path} can't be read: {fault.strerror or fault}") from None


def _follow(file: io.TextIOWrapper, directory: RunFolder) -> None:
    """Print the lines that are added to a log, until no program uses the run."""
    begun, running = "", True
    while running:
        # Read once more after the end of the run: its last lines may have been written since.
        running = directory.holder() is not None
        for line in file:
            begun += line
            if begun.endswith("\n"):
                results.print(begun.rstrip("\n"))
                begun = ""
        if running:
            time.sleep(FOLLOW_SECONDS)
    if begun:
        results.print(begun)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator stop
    """,
)
@door_options
@runs_option
@json_option
def stop(runs: Path, as_json: bool, **where: Any) -> None:
    """Stop the service and all its nodes in order."""
    facts = ask(runs, where, "stop")
    if as_json:
        print_json(facts)
    else:
        results.print(facts["state"])
