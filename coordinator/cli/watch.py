"""The command `watch`: what the neurons of a running network hold now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from coordinator.cli.ask import names_of
from coordinator.cli.completing import complete_neuron
from coordinator.cli.finding import client_of
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import FiniteRange, door_options, runs_option
from coordinator.cli.output import errors, print_table, results
from coordinator.client import Client
from coordinator.core.state import CoordinatorState
from coordinator.core.telemetry import DEFAULT_RATE, LEAST_RATE, MOST_RATE
from coordinator.data.suggestion import did_you_mean
from coordinator.errors import NobodyAnswers, UserError
from coordinator.watching import Update, Watch
from neuron_node.wording import shown

SILENT_SECONDS = 2.0
"""After so long without an update, `watch` says why."""
LISTED_AT_MOST = 10
"""The most weights of a neuron that are shown."""
OVER = (CoordinatorState.IDLE.value, CoordinatorState.STOPPING.value, CoordinatorState.ENDED.value)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator watch
    coordinator watch --neuron hidden.3 --neuron output.0
    coordinator watch --rate 1 --json-lines > numbers.jsonl
    """,
)
@click.option(
    "--neuron",
    "neurons",
    multiple=True,
    shell_complete=complete_neuron,
    help="A neuron to watch; may be repeated.  [default: all, as a summary of each layer]",
)
@click.option(
    "--rate",
    type=FiniteRange(LEAST_RATE, MOST_RATE),
    default=DEFAULT_RATE,
    show_default=True,
    help="The most updates per second. The coordinator sends fewer if they would be more than 3 % of the messages.",
)
@click.option(
    "--count", type=click.IntRange(min=1), help="End after so many updates.  [default: when the training ends]"
)
@click.option("--json-lines", is_flag=True, help="Print one JSON object per update, with all numbers.")
@door_options
@runs_option
def watch(neurons: tuple[str, ...], rate: float, count: int | None, json_lines: bool, runs: Path, **where: Any) -> None:
    """Show what the neurons hold while they learn: activities, errors, and weights before and after an update.

    Each update is one training step. Neurons send these numbers only while a person or program watches.
    """
    with client_of(runs, where) as client:
        watching = _begin(client, neurons, rate)
        for number, update in enumerate(_updates(client, watching), start=1):
            facts = watching.facts_of(update)
            rows = len(facts[0]["activity"])
            if json_lines:
                results.print(
                    json.dumps({**update.facts, "rows_shown": rows, "neurons": facts}), markup=False, soft_wrap=True
                )
            else:
                if number > 1:
                    results.print()
                _print(update, facts, rows, each=bool(neurons))
            if number == count:
                return


def _begin(client: Client, neurons: Sequence[str], rate: float) -> Watch:
    try:
        return Watch(client, neurons or None, rate)
    except UserError as fault:
        names = names_of(client) if neurons else []
        unknown = next((name for name in neurons if name not in names), None)
        if unknown is None:
            raise
        raise UserError(f"{fault}{did_you_mean(unknown, names)}") from None


def _updates(client: Client, watching: Watch) -> Iterator[Update]:
    """Yield updates until the training is over; say once why there is none."""
    said = ""
    while True:
        update = watching.next(SILENT_SECONDS)
        if update is not None:
            said = ""
            yield update
            continue
        try:
            state = client.ask("status")[0]["state"]
        except NobodyAnswers:
            errors.print("the coordinator has ended")
            return
        if state in OVER:
            errors.print(f"the network learns nothing now: its state is {state}; see: coordinator neuron NAME")
            return
        if state != said:
            errors.print(f"no update yet: the state is {state}")
            said = state


def _print(update: Update, facts: Sequence[Mapping[str, Any]], rows: int, *, each: bool) -> None:
    told = update.facts
    loss = "" if told.get("loss") is None else f", loss {shown(told['loss'])}"
    results.print(
        f"step {told['step']:,} of {told['steps']:,}, pass {told['pass']:,}, {rows} rows shown{loss}: {told['moment']}"
    )
    if not each:
        print_table(("layer", "neurons", "activities", "errors", "greatest gradient"), _rows_of_layers(facts))
    for neuron in facts if each else ():
        print_table(
            ("neuron", "activities", "errors", "bias before", "gradient", "bias after"),
            [
                (
                    neuron["neuron"],
                    _range(neuron["activity"]),
                    _range(neuron["error"]),
                    *(shown(neuron[key]) for key in ("bias_before", "bias_gradient", "bias")),
                )
            ],
        )
        axon = neuron["axon"]
        if axon:
            print_table(
                ("weight to", "before", "gradient", "after"),
                [
                    (synapse["neuron"], *(shown(synapse[key]) for key in ("before", "gradient", "weight")))
                    for synapse in axon[:LISTED_AT_MOST]
                ],
            )
        if len(axon) > LISTED_AT_MOST:
            results.print(f"and {len(axon) - LISTED_AT_MOST:,} more; --json-lines has all")


def _rows_of_layers(facts: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for layer in sorted({neuron["layer"] for neuron in facts}):
        ours = [neuron for neuron in facts if neuron["layer"] == layer]
        gradients = [abs(synapse["gradient"]) for neuron in ours for synapse in neuron["axon"]]
        spans = (_range([value for neuron in ours for value in neuron[key]]) for key in ("activity", "error"))
        rows.append((layer, len(ours), *spans, shown(max(gradients)) if gradients else "-"))
    return rows


def _range(values: Sequence[float]) -> str:
    return f"{shown(min(values))} … {shown(max(values))}"
