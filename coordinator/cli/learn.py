"""The commands `learn` and `verify`: a whole run on this machine."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from coordinator.capacity.host import this_machine
from coordinator.capacity.resources import Needs, check_needs, needs_of_run
from coordinator.capacity.wiring import check_relayed
from coordinator.cli.chaos import Extras, RunChaos, check_identical, compared, extras_options, print_chaos
from coordinator.cli.choices import say_data, say_placement
from coordinator.cli.completing import complete_dataset, complete_run
from coordinator.cli.dashboard import check_installed, page_of
from coordinator.cli.exits import job_failure
from coordinator.cli.figures import Figures
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import SETTINGS, json_option, quiet_option, runs_option, settings_options
from coordinator.cli.output import errors, print_json, print_table, say_all, shown
from coordinator.cli.progress import JsonLines, watcher
from coordinator.cli.resume import run_to_resume
from coordinator.cli.verify_run import verify_run
from coordinator.data.sources import DATASET_NAMES, exists
from coordinator.errors import JobError, UserError
from coordinator.inference import forward
from coordinator.job import Job
from coordinator.local.launcher import LocalRun, check_sockets
from coordinator.local.remains import remove_remains, remove_remains_of
from coordinator.scores import balanced_accuracy
from coordinator.settings import LearnSettings
from coordinator.storage.disk import write_whole
from coordinator.storage.model_file import is_model, load_model
from coordinator.storage.run_facts import facts_of
from coordinator.storage.run_folder import RunFolder
from coordinator.storage.run_log import EventLog

OF_A_RUN = ("dataset", "run_name", "runs", "as_json", "quiet")
"""The parameters of `verify` that go with a run."""
NOTED_HERE = ("ended", "put_aside", "delayed", "continued", "struck", "released")
"""Events of the supervisor. The coordinator writes its own events into the log of the run."""


def check_save(path: Path | None) -> None:
    """Check the path of --save before the training, not after it. Raises `UserError`."""
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(
            f"--save: cannot write a model to {path}; give the path of a file in a folder that exists and is writable"
        )
    if exists(path) and not is_model(path):
        raise UserError(f"--save: {path} exists and is not a model, so it is not replaced; name another file")


def check_not_data(save: Path | None, settings: LearnSettings) -> None:
    """Refuse to write the model over the data. Raises `UserError`."""
    for source in (settings.dataset, settings.data):
        if save is not None and source is not None and save.exists() and exists(Path(source)) and save.samefile(source):
            raise UserError(f"--save: {save} is the file with the data; name another file for the model")


def check_machine(needs: Needs, advice: str = "it fits with") -> None:
    """Raise `UserError` if this machine lacks the resources of a run, or if the path of its sockets is too long."""
    check_sockets(needs.nodes + needs.spares, needs.wiring, relayed=needs.relayed)
    check_needs(needs, this_machine(), advice)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator learn iris
    coordinator learn fruit.csv --target fruit --hidden 16,8 --epochs 200
    coordinator learn digits --group-size layer --save digits.safetensors
    coordinator learn --resume NAME
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@settings_options()
@click.option("--save", type=click.Path(path_type=Path), help="Write the trained model to this file (safetensors).")
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete_run,
    help="Continue this run from its last snapshot, with its own settings.",
)
@click.option("--dashboard", "page", is_flag=True, help="Show the run as a live page too, and print its address.")
@extras_options
@runs_option
@quiet_option
@click.option(
    "--json-lines",
    is_flag=True,
    help="Print each event of the run as one JSON object per line on stdout, and the result in the last line.",
)
@json_option
def learn(
    dataset: str | None,
    config: Path | None,
    save: Path | None,
    resume: str | None,
    runs: Path,
    json_lines: bool,
    as_json: bool,
    extras: Extras,
    page: bool,
    **flags: Any,
) -> None:
    """Train a network on this machine, with one process per group (by default, one per neuron).

    DATASET is digits (the default), iris, wine, breast_cancer, xor, circle, spiral, gauss, semeion, or the path of a
    file: a table (CSV, Parquet, JSON, ARFF, svmlight) or arrays (NPZ, NPY).
    """
    check_save(save)
    if page:
        check_installed()
    say_all(remove_remains())
    job = None
    if resume is not None:
        if extras.compare:
            raise UserError("--compare cannot be used with --resume; it needs a run from the beginning")
        directory, nodes, restored = run_to_resume(runs, resume, dataset, flags)
        if restored:
            show_result(
                {**directory.read_json("result"), "run": directory.path.name},
                directory,
                save,
                as_json=as_json or json_lines,
            )
            return
        config_of_run = directory.config()
        check_relayed(config_of_run.get("wiring", "broker"), relayed=extras.relayed)
        needs = needs_of_run(config_of_run, spares=extras.spares, relayed=extras.relayed)
        check_machine(needs, "another run would fit with")
    else:
        job = Job.from_flags({"dataset": dataset, **flags}, config, spares=extras.spares, relayed=extras.relayed)
        nodes = job.nodes
        check_not_data(save, job.settings)
        check_machine(job.needs(spares=extras.spares))
        directory = job.create_run(runs)
        say_data(job)
        say_placement(job)
    with page_of(directory) if page else contextlib.nullcontext() as shown_page:
        result = _learnt(directory, nodes, extras, json_lines=json_lines)
        if job and extras.compare:
            errors.print("training again without chaos")
            undisturbed = job.create_run(runs, name=f"{directory.path.name}-undisturbed", numbered=True)
            result |= compared(result, _learnt(undisturbed, nodes, Extras(), json_lines=json_lines))
            directory.write_json("result", result)
        result |= _balanced(job, directory)
        if json_lines:
            result = {"event": "result", **result}
        show_result(result, directory, save, as_json=as_json or json_lines)
        if shown_page:
            shown_page.stay()
    check_identical(result)


def show_result(result: dict[str, Any], directory: RunFolder, save: Path | None, *, as_json: bool) -> None:
    """Save the model if asked to, and print the result. Raises `JobError` if the disk is full."""
    if save:
        try:
            write_whole(save, directory.model.read_bytes())
        except OSError as fault:
            raise JobError(
                f"--save: the model can't be written to {save}: {fault.strerror or fault}; the run has a copy: {directory.model}"
            ) from None
        result["model_path"] = str(save)
    try:
        if as_json:
            print_json(result)
        else:
            _print_result(result, Figures.of_run(directory))
    except BrokenPipeError:
        raise
    except OSError as fault:
        raise JobError(
            f"the result can't be printed: {fault.strerror or fault}; the run has a copy: {directory.path / 'result.json'}"
        ) from None


def _balanced(job: Job | None, directory: RunFolder) -> dict[str, Any]:
    """Return the balanced accuracy of the held-out rows, if nearly all rows are of one class."""
    if job is None or job.data.report is None or not job.data.report.one_class:
        return {}
    model = load_model(directory.model)
    activities = forward(model, job.data.test_inputs)
    return {"test_balanced_accuracy": balanced_accuracy(model.encoding, activities, job.data.test_targets)}


def _learnt(directory: RunFolder, nodes: int, extras: Extras, *, json_lines: bool = False) -> dict[str, Any]:
    """Train, with spares and faults, and return the result."""
    chaos = extras.chaos_in(directory)
    _watch(directory, nodes + extras.spares, chaos=chaos, relayed=extras.relayed, json_lines=json_lines)
    result: dict[str, Any] = directory.read_json("result")
    if chaos:
        result |= chaos.figures()
        directory.write_json("result", result)
    return {**result, "run": directory.path.name}


def _watch(
    directory: RunFolder,
    nodes: int,
    *,
    verify: bool = False,
    chaos: RunChaos | None = None,
    relayed: bool = False,
    json_lines: bool = False,
) -> None:
    """Show the events of a run until it ends. Raises `JobError` with the reason if it failed."""
    failure: str | None = None
    finished = False
    log = EventLog(directory.path / "events.jsonl")
    local = LocalRun(directory, nodes, verify=verify, relayed=relayed)
    with directory.claimed(), _able_to_go_on(directory), local as run:
        with JsonLines() if json_lines else watcher(Figures.of_run(directory)) as watch:
            for facts in run.events():
                event = facts.pop("event")
                if event == "failed":
                    failure = facts["reason"]
                    _note_failure(directory, log, facts)
                elif event == "finished":
                    finished = True
                elif event == "compared":
                    directory.write_json("comparison", facts)
                elif event in NOTED_HERE:
                    log.note(event, facts)
                if not (chaos and chaos.handle(event, facts, time.monotonic(), run.command)) or json_lines:
                    watch(event, facts)
        code = run.exit_code()
    if failure is not None:
        raise job_failure(failure)
    if code == 0 and not finished:
        raise JobError(f"the run {directory.path.name} was stopped before it finished; {local.how_to_go_on()}")
    if code:
        why = local.last_words() or "it gave no reason"
        raise JobError(
            f"the run ended with exit code {code} ({why}); its logs are in {directory.logs}; {local.how_to_go_on()}"
        )


@contextlib.contextmanager
def _able_to_go_on(directory: RunFolder) -> Iterator[None]:
    """Remove what an earlier process of the run left behind; on Ctrl-C, say what is kept and how to continue."""
    say_all(remove_remains_of(directory))
    try:
        yield
    except KeyboardInterrupt:
        name = directory.path.name
        # The terminal has printed ^C: begin a new line.
        errors.print(f"\n{_kept(directory)}")
        errors.print(f"continue the run {name} with: coordinator learn --resume {name}")
        raise click.Abort from None


def _kept(directory: RunFolder) -> str:
    """Say how much of an interrupted run is in its folder: the step of its last snapshot."""
    facts = facts_of(directory)
    return f"kept in {directory.path}: step {facts.step or 0:,} of {facts.steps or 0:,}"


def _note_failure(directory: RunFolder, log: EventLog, facts: dict[str, Any]) -> None:
    """Write down a failure, unless the coordinator has done so: it may never have started."""
    if directory.failure() != facts["reason"]:
        # The disk may be full.
        with contextlib.suppress(OSError):
            directory.write_json("failure", facts)
        log.note("failed", facts)


def _print_result(result: Mapping[str, Any], figures: Figures) -> None:
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
            *figures.result(result),
            ("weights", f"sha256 {result['weights_sha256']}"),
            ("model", result["model_path"]),
            ("run", result["run"]),
        ],
    )
    if "chaos" in result:
        print_chaos(result)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator verify xor --steps 50
    coordinator verify digits --group-sizes 1,layer
    coordinator verify --run flowers
    """,
)
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    shell_complete=complete_run,
    help="Compare the kept snapshots of this run instead.",
)
@settings_options([name for name in SETTINGS if name != "group_size"])
@click.option(
    "--steps", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Number of steps to compare."
)
@click.option("--group-sizes", default="1,4,layer", show_default=True, help="Group sizes to compare, one run each.")
@runs_option
@quiet_option
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
    run_name: str | None,
    **flags: Any,
) -> None:
    """Train the same network as programs and as textbook matrices, and compare every number of every step.

    Exit with 0 if no activity, error, weight or bias differs by more than 1e-12 of the largest of its kind, else with 1.

    With --run, or if DATASET is the name of a run, no program is started: each kept snapshot of the run, of every branch, is
    compared with the textbook's steps and interventions since the snapshot before it.
    """
    if run_name is None and dataset is not None and dataset not in DATASET_NAMES and not exists(Path(dataset)):
        run_name = dataset if (runs / dataset / "config.json").is_file() else None
    elif run_name is not None and dataset is not None:
        raise UserError(f"{dataset} and --run {run_name} exclude each other; give a data set, or a run")
    if run_name is not None:
        given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if others := [name for name in given if name not in OF_A_RUN]:
            raise UserError(
                f"--{others[0].replace('_', '-')} does not go with a run, which has its own settings; leave it out"
            )
        context.exit(0 if verify_run(RunFolder.existing(runs, run_name), as_json=as_json) else 1)
    say_all(remove_remains())
    sizes = [text.strip() for text in group_sizes.split(",")]
    jobs = [Job.from_flags({"dataset": dataset, **flags, "group_size": size}, config) for size in sizes]
    for number, job in enumerate(jobs):
        check_machine(job.needs())
        if number == 0:
            say_data(job)
        say_placement(job)
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
