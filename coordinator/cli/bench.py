"""The command `bench`: compare the speed of the network with the bare wire and with matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from coordinator.bench.measuring import WORKS, Case, check_case, measure_case, measure_encryption
from coordinator.bench.network import profile_network
from coordinator.bench.picture import check_picture, save_picture
from coordinator.bench.profiled import STAGES
from coordinator.capacity.autotune import place
from coordinator.capacity.host import this_machine
from coordinator.capacity.wiring import picked_wiring
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import FiniteRange, json_option
from coordinator.cli.output import errors, print_json, print_table
from coordinator.cli.sizes import batch_sizes_of, group_sizes_of, layers_of, nodes_of, parts_of
from coordinator.errors import UserError
from coordinator.job import Job

USUAL_LAYERS = "64,12,10"
WIRINGS = ("broker", "direct", "auto")


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator bench digits
    coordinator bench --layers 64,12,10 --batch-sizes 1,64 --group-sizes 1,layer --picture speed.svg
    coordinator bench digits --group-sizes 1 --curve
    """,
)
@click.argument("datasets", metavar="[DATASET]...", nargs=-1)
@click.option("--layers", multiple=True, help="Sizes of all layers, such as 64,12,10; may be repeated.")
@click.option("--batch-sizes", default="1,64", show_default=True, help="Samples per step.")
@click.option(
    "--group-sizes", default="1,layer", show_default=True, help="Neurons per program; auto chooses for this machine."
)
@click.option("--work", default="training", show_default=True, help="Kinds of work: training, prediction or both.")
@click.option(
    "--wirings", default="broker", show_default=True, help="Paths of the data: broker, direct, both, or auto."
)
@click.option("--microbatches", default="1", show_default=True, help="Parts of each training batch.")
@click.option(
    "--nodes",
    default="group",
    show_default=True,
    help="Programs that host all groups; group means one program per group.",
)
@click.option("--repeats", type=click.IntRange(1, 1_000), default=5, show_default=True, help="Number of repeats.")
@click.option(
    "--seconds", type=FiniteRange(0.01, 3600), default=3.0, show_default=True, help="Seconds per measurement."
)
@click.option("--profile", is_flag=True, help="Also show where the time of a step is spent, by role.")
@click.option(
    "--curve",
    is_flag=True,
    help="Compare TCP with CURVE, as a network with keys has it, with TCP without; only for training through the broker.",
)
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the rows into this file (.svg or .png).")
@json_option
def bench(
    datasets: tuple[str, ...],
    layers: tuple[str, ...],
    batch_sizes: str,
    group_sizes: str,
    work: str,
    wirings: str,
    microbatches: str,
    nodes: str,
    repeats: int,
    seconds: float,
    profile: bool,
    curve: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Measure steps per second of networks of programs, of the bare wire under them, and of matrices.

    The measurements alternate and are repeated; medians are shown. In prediction, a step is a forward pass. A DATASET
    stands for the layer sizes of its network; the samples are generated. Without DATASET and --layers, the network is
    64-12-10. Run nothing else on the machine at the same time.
    """
    if picture is not None:
        check_picture(picture)
    networks = [Job.from_flags({"dataset": name}, None).network.layers for name in datasets]
    networks += [layers_of(text) for text in layers or (() if datasets else (USUAL_LAYERS,))]
    works, sizes = _known("--work", work, WORKS), group_sizes_of("--group-sizes", group_sizes, ("layer", "auto"))
    cases = [
        _wired(Case(network, batch_size, group_size, each, wiring, parts if each == "training" else 1, programs))
        for network in networks
        for batch_size in batch_sizes_of("--batch-sizes", batch_sizes)
        for group_size in (_settled(size, network, batch_size) for size in sizes)
        for each in works
        for wiring in _known("--wirings", wirings, WIRINGS)
        for programs in nodes_of("--nodes", nodes)
        for parts in parts_of("--microbatches", microbatches)[: None if each == "training" else 1]
    ]
    if curve:
        _check_encryption(cases, profile=profile)
    for case in cases:
        check_case(case)
    rows = []
    with errors.console().status("starting") as status:
        for number, case in enumerate(cases, start=1):
            before = f"{number} of {len(cases)}: {case.work}, batch {case.batch_size}, group {case.group_size}, "

            def tell(text: str, before: str = before) -> None:
                status.update(before + text)

            if curve:
                rows += measure_encryption(case, repeats, seconds, tell)
                continue
            rows.append(measure_case(case, repeats, seconds, tell))
            if profile and case.work == "training":
                tell("profile")
                rows[-1]["profile"] = profile_network(case.order(seconds))
    if picture is not None:
        save_picture(rows, picture)
    if as_json:
        print_json({"rows": rows})
    elif curve:
        _print_encryption(rows)
    else:
        _print_rows(rows)
        for row in rows:
            if "profile" in row:
                _print_profile(row)


def _check_encryption(cases: Sequence[Case], *, profile: bool) -> None:
    """Raise `UserError` for a case in which --curve measures nothing."""
    if bad := next((case for case in cases if (case.work, case.wiring) != ("training", "broker")), None):
        raise UserError(f"--curve measures training through the broker, not {bad.work} in {bad.wiring} wiring")
    if profile:
        raise UserError("--curve measures no profile; use one of --curve and --profile")
    if any(case.nodes is not None for case in cases):
        raise UserError("--curve compares with the bare wire, which has one program per group; leave out --nodes")


def _known(option: str, text: str, words: Sequence[str]) -> list[str]:
    given = [part.strip() for part in text.split(",")]
    if unknown := [part for part in given if part not in words]:
        raise UserError(f"{option}: {unknown[0][:60]!r} is not {' or '.join(words)}")
    return given


def _wired(case: Case) -> Case:
    """Replace the wiring `auto` by the one that it chooses."""
    return replace(case, wiring=picked_wiring(case.wiring, case.layers, case.neurons_a_group, nodes=case.nodes))


def _settled(group_size: int | str, layers: tuple[int, ...], batch_size: int) -> int | str:
    """Return the group size; `auto` is decided once and printed, because free memory changes between calls."""
    if group_size != "auto":
        return group_size
    placement = place(layers, batch_size, this_machine())
    errors.print(f"{'-'.join(map(str, layers))}, batch {batch_size}: {placement.told}")
    return placement.group_size


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        (
            "layers", "batch", "group", "nodes", "work", "wiring", "parts", "steps/s", "samples/s", "wire steps/s", "of wire",
            "of wire and arithmetic", "NumPy steps/s", "of NumPy", "NumPy, all cores", "µs/message", "MB/node", "start, s",
        ),
        [
            (
                "-".join(map(str, row["layers"])),
                row["batch_size"],
                row["group_size"],
                row["nodes"],
                row["work"],
                row["wiring"],
                row["microbatches"],
                row["steps_per_second"],
                row["samples_per_second"],
                row["wire_steps_per_second"],
                _with_spread(row, "ratio_to_wire"),
                _with_spread(row, "ratio_to_wire_and_arithmetic"),
                row["numpy_steps_per_second"],
                row["ratio_to_numpy"],
                row["numpy_all_cores_steps_per_second"],
                row["microseconds_per_message"],
                row["memory_megabytes_per_node"],
                row["seconds_starting"],
            )
            for row in rows
        ],
    )  # fmt: skip


def _print_encryption(rows: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        (
            "layers",
            "batch",
            "group",
            "transport",
            "steps/s",
            "wire steps/s",
            "of wire",
            "of TCP",
            "wire of TCP",
            "of wire, of TCP",
        ),
        [
            (
                "-".join(map(str, row["layers"])),
                row["batch_size"],
                row["group_size"],
                row["transport"],
                row["steps_per_second"],
                row["wire_steps_per_second"],
                _with_spread(row, "ratio_to_wire"),
                *(_with_spread(row, key) for key in ("ratio_to_tcp", "wire_ratio_to_tcp", "ratio_of_ratios_to_wire")),
            )
            for row in rows
        ],
    )


def _print_profile(row: Mapping[str, Any]) -> None:
    layers = "-".join(map(str, row["layers"]))
    print_table(
        ("role", *STAGES),
        [(role, *(round(spent[stage]) for stage in STAGES)) for role, spent in row["profile"].items()],
        f"\n{layers}, batch {row['batch_size']}, group {row['group_size']}: microseconds per step, mean over all programs of a role",
    )


def _with_spread(row: Mapping[str, Any], key: str) -> str | None:
    if row.get(key) is None:
        return None
    low, high = row["spread"][key]
    return f"{row[key]:.2f} ({low:.2f}–{high:.2f})"
