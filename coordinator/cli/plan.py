"""The command `plan`: estimate the resources of a network before it is started."""

from __future__ import annotations

from typing import Any

import click

from coordinator.capacity.autotune import place
from coordinator.capacity.host import Host, this_machine
from coordinator.capacity.resources import Needs, check_needs, check_nodes, lacks, needs_of, suggested_group_size
from coordinator.capacity.wiring import picked_wiring
from coordinator.cli.chaos import MOST_SPARES
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import json_option
from coordinator.cli.output import errors, print_json, print_table
from coordinator.cli.sizes import batch_sizes_of, group_sizes_of, layers_of
from coordinator.errors import UserError


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator plan --layers 784,128,10
    coordinator plan --layers 784,128,10 --group-size auto
    """,
)
@click.option("--layers", required=True, help="Sizes of all layers, such as 784,128,10.")
@click.option("--group-size", default="1", show_default=True, help="Neurons per program, layer or auto.")
@click.option("--batch-size", default="16", show_default=True, help="Samples per step.")
@click.option(
    "--spares",
    type=click.IntRange(0, MOST_SPARES),
    default=0,
    show_default=True,
    help="Number of extra nodes.",
)
@click.option(
    "--wiring",
    type=click.Choice(["auto", "broker", "direct"]),
    default="broker",
    show_default=True,
    help="Path of the data.",
)
@click.option(
    "--nodes", type=click.IntRange(1), default=None, help="Programs that host all groups.  [default: one per group]"
)
@json_option
def plan(
    layers: str, group_size: str, batch_size: str, spares: int, wiring: str, nodes: int | None, as_json: bool
) -> None:
    """Estimate what a network needs (programs, open files, memory, messages) and compare it with this machine.

    If the network does not fit, exit with 2 and name a group size that fits.
    """
    sizes = layers_of(layers)
    groups = group_sizes_of("--group-size", group_size, ("layer", "auto"))
    batches = batch_sizes_of("--batch-size", batch_size)
    if len(groups) != 1 or len(batches) != 1:
        raise UserError("plan takes one --group-size and one --batch-size")
    machine = this_machine()
    if groups[0] == "auto":
        check_nodes(nodes, sum(sizes))
        placement = place(sizes, batches[0], machine, nodes=nodes, spares=spares)
        errors.print(placement.told)
        neurons_a_group = placement.group_size
    else:
        neurons_a_group = max(sizes) if isinstance(groups[0], str) else groups[0]
    picked = picked_wiring(wiring, sizes, neurons_a_group, nodes=nodes)
    needs = needs_of(sizes, neurons_a_group, batches[0], nodes=nodes, spares=spares, wiring=picked)
    check_nodes(nodes, needs.groups)
    if as_json:
        print_json(_document(needs, machine))
    else:
        _print_needs(needs, machine)
    check_needs(needs, machine)


def _document(needs: Needs, machine: Host) -> dict[str, Any]:
    missing = lacks(needs, machine)
    return {
        **vars(needs),
        "layers": list(needs.layers),
        "limits": vars(machine),
        "fits": not missing,
        "lacks": missing,
        "suggested_group_size": suggested_group_size(needs, machine) if missing else None,
    }


def _print_needs(needs: Needs, machine: Host) -> None:
    print_table(
        ("", "needed", "here"),
        [
            ("neurons", needs.neurons, None),
            ("synapses", needs.synapses, None),
            ("groups", needs.groups, None),
            ("nodes", needs.nodes, None),
            ("spares", needs.spares, None),
            ("processes", needs.processes, None),
            ("processes and threads", needs.threads, machine.tasks),
            ("sockets", needs.sockets, None),
            ("wiring", needs.wiring, None),
            ("connections", needs.connections, None),
            ("open files, broker", needs.descriptors_broker, machine.descriptors),
            ("open files, any other program", needs.descriptors_a_program, machine.descriptors),
            ("memory, MB", needs.memory_megabytes, machine.memory_megabytes),
            ("messages per step", needs.messages_per_step, None),
            ("deliveries per step", needs.deliveries_per_step, None),
            ("bytes sent per step", needs.bytes_per_step, None),
            ("bytes delivered per step", needs.delivered_bytes_per_step, None),
        ],
    )
