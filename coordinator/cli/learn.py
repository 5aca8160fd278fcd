"""`learn` and `verify`: a whole run on this machine."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from coordinator.cli.job import Job
from coordinator.cli.options import json_option, runs_option, settings_options
from coordinator.cli.output import print_json, print_table, shown
from coordinator.cli.progress import watcher
from coordinator.disk import write_whole
from coordinator.errors import JobError, UserError
from coordinator.local.launcher import LocalRun, check_machine
from coordinator.run_directory import RunDirectory


def check_save(path: Path | None) -> None:
    """Before an hour of training, not after it. Raises `UserError`."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(
            f"--save: can't write a model to {path}; right would be a file's path in a folder that exists and is writable"
        )


@click.command()
@click.argument("dataset", required=False)
@settings_options
@click.option("--save", type=click.Path(path_type=Path), help="Write the trained model to this file (safetensors).")
@runs_option
@json_option
def learn(dataset: str | None, config: Path | None, save: Path | None, runs: Path, as_json: bool, **flags: Any) -> None:
    """Train a network on this machine: one process a group, by default one a neuron.

    DATASET is digits (the default), iris, wine, breast_cancer, xor, semeion, or the path of a CSV or NPZ file.
    """
    job = Job.from_flags({"dataset": dataset, **flags}, config)
    check_save(save)
    check_machine(job.nodes)
    directory = job.create_run(runs)
    _watch(directory, job.nodes)
    result = directory.read_json("result")
    if save:
        write_whole(save, directory.model.read_bytes())
        result["model_path"] = str(save)
    result["run"] = directory.path.name
    if as_json:
        print_json(result)
    else:
        _print_result(result)


def _watch(directory: RunDirectory, nodes: int, *, verify: bool = False) -> None:
    """Show a run until it has ended. Raises `JobError` with the run's own line if it failed."""
    failure: str | None = None
    finished = False
    with LocalRun(directory, nodes, verify=verify) as run:
        with watcher() as watch:
            for facts in run.events():
                event = facts.pop("event")
                if event == "failed":
                    failure = facts["reason"]
                elif event == "finished":
                    finished = True
                elif event == "compared":
                    directory.write_json("comparison", facts)
                watch(event, facts)
        code = run.exit_code()
    if failure is not None:
        raise JobError(failure)
    if code == 0 and not finished:
        raise JobError(f"the run {directory.path.name} was stopped before it had finished; no model was saved")
    if code:
        raise JobError(f"the run ended with {code} and no word; its logs are in {directory.logs}")


def _print_result(result: Mapping[str, Any]) -> None:
    layers = "-".join(str(size) for size in result["layers"])
    print_table(
        ("", ""),
        [
            (
                "network",
                f"{result['dataset']} {layers}: {shown(result['neurons'])} neurons, {shown(result['synapses'])} synapses",
            ),
            ("processes", f"{result['processes']} hosted neurons, started in {result['seconds_starting']:.1f} s"),
            (
                "training",
                f"{result['epochs']} epochs, {shown(result['step'])} steps in {result['seconds_training']:.1f} s",
            ),
            (
                "speed",
                f"{shown(result['steps_per_second'])} steps/s, {shown(result['samples_per_second'])} samples/s, "
                f"{shown(result['messages_per_second'])} messages/s",
            ),
            *_quality(result),
            ("weights", f"sha256 {result['weights_sha256']}"),
            ("model", result["model_path"]),
            ("run", result["run"]),
        ],
    )


def _quality(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    if result["test_accuracy"] is None:
        figures = f"R² {shown(result['test_r2'])}, mean absolute error {shown(result['test_mean_absolute_error'])}"
        return [("held out", f"{figures}, loss {shown(result['test_loss'])}")]
    train, test = result["train_accuracy"], result["test_accuracy"]
    return [("accuracy", f"held out {test:.4f}, training {train:.4f} (held-out loss {shown(result['test_loss'])})")]


@click.command()
@click.argument("dataset", required=False)
@settings_options
@click.option("--steps", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Steps to compare.")
@click.option(
    "--group-sizes", default="1,4,layer", show_default=True, help="The group sizes to compare, one after the other."
)
@runs_option
@json_option
@click.pass_context
def verify(
    context: click.Context,
    /,
    dataset: str | None,
    config: Path | None,
    steps: int,
    group_sizes: str,
    runs: Path,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train the same network as programs and as textbook matrices, and compare every number of every step.

    Exit 0 if no activity, error, weight or bias differs by more than 1e-12 of the largest of its kind, else 1.
    """
    if flags.pop("group_size") is not None:
        raise UserError("verify takes --group-sizes, such as 1,4,layer")
    sizes = [text.strip() for text in group_sizes.split(",")]
    jobs = [Job.from_flags({"dataset": dataset, **flags, "group_size": size}, config) for size in sizes]
    for job in jobs:
        check_machine(job.nodes)
    comparisons = []
    for size, job in zip(sizes, jobs, strict=True):
        epochs = math.ceil(steps / math.ceil(len(job.data.train_inputs) / job.network.batch_size))
        shortened = replace(job, network=replace(job.network, epochs=epochs))
        directory = shortened.create_run(runs, steps_at_most=steps)
        _watch(directory, job.nodes, verify=True)
        comparisons.append({"group_size": size, "nodes": job.nodes, **directory.read_json("comparison")})
    good = all(comparison["first_beyond"] is None and comparison["steps"] == steps for comparison in comparisons)
    layers = list(job.network.layers)
    if as_json:
        print_json(
            {
                "verified": good,
                "dataset": job.data.dataset,
                "layers": layers,
                "seed": job.settings.seed,
                "comparisons": comparisons,
            }
        )
    else:
        _print_comparisons(comparisons, f"{job.data.dataset} {'-'.join(map(str, layers))}, {steps} steps")
    context.exit(0 if good else 1)


def _print_comparisons(comparisons: list[dict[str, Any]], title: str) -> None:
    rows = []
    for comparison in comparisons:
        largest, beyond = comparison["largest"], comparison["first_beyond"]
        rows.append(
            (
                comparison["group_size"],
                comparison["nodes"],
                comparison["numbers"],
                f"{largest['difference']:.1e} ({largest['kind']} of {largest['neuron']}, step {largest['step']})",
                f"{beyond['kind']} of {beyond['neuron']}, step {beyond['step']}: {beyond['difference']:.1e}"
                if beyond
                else None,
            )
        )
    print_table(
        ("group size", "processes", "numbers", "largest relative difference", "first beyond 1e-12"), rows, title
    )
