"""The commands `trace` and `explain`: the nine steps of neurons with one sample, and why a weight changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from coordinator.cli.asking import Asked, asked_network
from coordinator.cli.completing import complete_dataset, complete_neuron
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.learned import learned
from coordinator.cli.options import (
    door_options,
    json_option,
    model_option,
    runs_option,
    table_options,
    table_options_of,
)
from coordinator.cli.output import errors, print_json, print_table, results
from coordinator.cli.predict import check_source
from coordinator.data.rows import read_labelled
from coordinator.data.sources import DATASET_NAMES
from coordinator.errors import UserError
from coordinator.storage.disk import write_whole
from coordinator.trace.explaining import explain_neuron, explain_weight, parts_of_weight
from coordinator.trace.messages import Message, messages_of
from coordinator.trace.perfetto import chrome_trace
from neuron_node.wording import shown, steps_of

LISTED_AT_MOST = 8
"""The most inputs or targets of a sample that are shown."""


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator trace --sample 1
    coordinator trace iris 100 --neuron output.2 --run flowers
    coordinator trace iris 100 --model iris.safetensors --all
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@click.argument("row", required=False, type=click.IntRange(min=1))
@click.option("--sample", type=click.IntRange(min=1), help="The number of a training sample of the run, from 1.")
@click.option(
    "--neuron",
    shell_complete=complete_neuron,
    help="The neuron whose steps are shown.  [default: the first hidden neuron]",
)
@click.option(
    "--all", "everything", is_flag=True, help="Show the steps of all neurons, every synapse, and all messages."
)
@click.option("--learn", is_flag=True, help="Let the neurons of a saved model learn the sample, in memory.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all numbers and messages to a file.",
)
@click.option(
    "--perfetto",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the times of a running network for ui.perfetto.dev.",
)
@click.option("--data", type=click.Path(path_type=Path), help="The file of the data set semeion.")
@click.option("--target", help="The column of the target: its name, first, last or its number.")
@model_option
@table_options
@door_options
@runs_option
def trace(
    dataset: str | None,
    row: int | None,
    sample: int | None,
    neuron: str | None,
    everything: bool,
    learn: bool,
    json_file: Path | None,
    perfetto: Path | None,
    data: Path | None,
    target: str | None,
    model: Path | None,
    runs: Path,
    **where: Any,
) -> None:
    """Send one sample through the neurons, forward and back, and show what each of them computes.

    The sample is row ROW of DATASET (a name or a file), or a training sample of the run. No weight changes.
    """
    options = table_options_of(where, target)
    if (dataset is None) == (sample is None) or (dataset is not None and row is None):
        raise UserError("name one sample: a data set and a row, as in trace iris 100, or --sample and its number")
    if dataset is not None and dataset not in DATASET_NAMES:
        check_source(dataset, DATASET_NAMES)
    with asked_network(model, runs, where) as network:
        name = neuron or _first_hidden(network)
        network.check_neuron(name)
        _check_possible(network, learn=learn, perfetto=perfetto is not None)
        arguments: dict[str, Any] = {} if everything or learn or json_file or perfetto else {"neurons": [name]}
        what = f"training sample {sample}"
        if dataset is not None and row is not None:
            rows = read_labelled(dataset, network.encoding, data=data, options=options)
            for note in rows.notes:
                errors.print(f"note: {note}")
            if row > len(rows.inputs):
                raise UserError(f"{dataset} has no row {row:,}; its rows are numbered 1 to {len(rows.inputs):,}")
            what = f"{dataset}, row {row:,}"
            both = np.concatenate([rows.inputs[row - 1 : row], rows.targets[row - 1 : row]], axis=1)
            facts, _ = network.ask("trace", both, **arguments)
        else:
            facts, _ = network.ask("trace", sample=sample, **arguments)
        facts |= {"sample": what, "place": network.place}
        if learn:
            assert network.model is not None
            given = np.array([[*facts["inputs"][0], *facts["targets"][0]]])
            facts["learned"] = learned(network.model, facts, given)
            facts["moment"] = f"one sample after step {facts['step']:,}; learned in memory, the file is unchanged"
    whole = not arguments
    messages = messages_of(facts["neurons"]) if whole else []
    if json_file:
        every = {**facts, "messages": [message.to_json(number) for number, message in enumerate(messages, 1)]}
        _write(json_file, every)
    if perfetto:
        _write(perfetto, chrome_trace(facts["neurons"], messages, {"sample": what, "moment": facts["moment"]}))
    _print(facts, name, messages if everything else (), everything=everything)


def _check_possible(network: Asked, *, learn: bool, perfetto: bool) -> None:
    """Raise `UserError` for an option that does not suit the network."""
    if learn and network.model is None:
        raise UserError(
            "--learn needs --model: a run learns the samples of its schedule only, or its weights would differ"
        )
    if perfetto and network.model is not None:
        raise UserError(
            "--perfetto needs a running network: the neurons of a saved model share one process and have no times"
        )


def _first_hidden(network: Asked) -> str:
    return network.names[network.layers[0]] if len(network.layers) > 1 else network.names[0]


def _write(path: Path, document: Mapping[str, Any]) -> None:
    try:
        write_whole(path, (json.dumps(document, ensure_ascii=False) + "\n").encode())
    except OSError as fault:
        raise UserError(f"can't write to {path}: {fault.strerror or fault}") from None
    errors.print(f"written: {path}")


def _print(facts: Mapping[str, Any], name: str, messages: Sequence[Message], *, everything: bool) -> None:
    print_table(
        ("", ""),
        [
            ("sample", facts["sample"]),
            ("inputs", _listed(facts["inputs"])),
            ("targets", _listed(facts["targets"])),
            ("pass", f"{facts['pass']}, with {facts['rows']} row"),
            ("moment", facts["moment"]),
            ("neurons", f"run {facts['place']}"),
        ],
    )
    chosen = facts["neurons"] if everything else [each for each in facts["neurons"] if each["neuron"] == name]
    lines = [line for each in chosen for line in steps_of(each, every_synapse=everything)]
    results.print()
    print_table(("neuron", "step", "what the neuron computes"), lines)
    results.print()
    print_layers(facts["layers"])
    if messages:
        results.print()
        rows = [
            (number, each.kind, each.sender, each.receiver, "-" if each.value is None else shown(each.value))
            for number, each in enumerate(messages, 1)
        ]
        print_table(("message", "kind", "from", "to", "number"), rows)
    if "learned" in facts:
        results.print()
        after = facts["learned"]
        print_table(
            ("", "before", "after"),
            [
                ("outputs", _listed(after["outputs_before"]), _listed(after["outputs_after"])),
                ("loss", shown(after["loss_before"]), shown(after["loss_after"])),
            ],
        )


def print_layers(layers: Sequence[Mapping[str, Any]]) -> None:
    """Print the range of activities and errors of each layer."""
    rows = [
        (
            layer["layer"],
            layer["neurons"],
            f"{shown(layer['least_activity'])} … {shown(layer['greatest_activity'])}",
            f"{shown(layer['least_error'])} … {shown(layer['greatest_error'])}",
        )
        for layer in layers
    ]
    print_table(("layer", "neurons", "activities", "errors"), rows)


def _listed(rows: Sequence[Sequence[float]]) -> str:
    numbers = rows[0]
    more = len(numbers) - LISTED_AT_MOST
    return ", ".join(map(shown, numbers[:LISTED_AT_MOST])) + (f" and {more:,} more" if more > 0 else "")


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator explain hidden.3
    coordinator explain hidden.3:output.2 --run flowers
    """,
)
@click.argument("what", metavar="NEURON|WEIGHT", shell_complete=complete_neuron)
@door_options
@runs_option
@json_option
def explain(what: str, runs: Path, as_json: bool, **where: Any) -> None:
    """Say why a weight changed in the last training step.

    A weight is named by its two neurons, as in hidden.3:output.2. Of a neuron, its bias and the weight that changed most are
    explained.
    """
    with asked_network(None, runs, where) as network:
        sender, receiver = parts_of_weight(what)
        network.check_neuron(sender)
        if receiver is not None:
            network.check_neuron(receiver)
        facts, _ = network.ask("neuron", neuron=sender)
        sentences = explain_neuron(facts) if receiver is None else explain_weight(facts, receiver)
    if as_json:
        print_json({"what": what, "pass": facts["pass"], "step": facts["step"], "rows": facts["rows"],
                    "moment": facts["moment"], "sentences": sentences})  # fmt: skip
        return
    for sentence in sentences:
        results.print(sentence)
