"""The command `completion`, and the values that the shell completes: data sets, runs, neurons and words of settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.output import results
from coordinator.errors import UserError
from coordinator.settings import choices_of
from coordinator.storage.run_folder import RunFolder

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command(
    cls=HelpfulCommand,
    epilog="""
    source <(coordinator completion bash)
    coordinator completion fish > ~/.config/fish/completions/coordinator.fish
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes commands, options and values.

    The shell reads the script when it starts: write the first example into ~/.bashrc, or with zsh into ~/.zshrc.
    """
    from coordinator.cli.main import cli  # noqa: PLC0415 - imports this module when the command is given

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three shells"
    results.print(kind(cli, {}, "coordinator", "_COORDINATOR_COMPLETE").source().rstrip("\n"))


def complete_setting(name: str) -> Complete | None:
    """Return the completion of a setting, if it is one of some words or a file."""
    words = choices_of(name)
    if words:
        return lambda _context, _parameter, begun: _beginning(words, begun)
    return (lambda _context, _parameter, begun: [CompletionItem(begun, type="file")]) if name == "data" else None


def complete_dataset(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a data set, or the path of a file."""
    from coordinator.data.sources import DATASET_NAMES  # noqa: PLC0415 - takes a second

    return [*_beginning(DATASET_NAMES, begun), CompletionItem(begun, type="file")]


def complete_run(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a run."""
    return _beginning((directory.path.name for directory in RunFolder.all_in(_runs_of(context))), begun)


def complete_neuron(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a neuron of the named run, or of the latest one."""
    runs, name = _runs_of(context), context.params.get("run_name")
    directory = RunFolder(runs / name) if name else RunFolder.latest(runs)
    try:
        placements = directory.read_json("placements") if directory else {}
    except UserError:
        return []
    return _beginning(placements, begun)


def _runs_of(context: click.Context) -> Path:
    given = context.params.get("runs")
    return given if isinstance(given, Path) else Path(os.environ.get("EXMACHINA_RUNS") or "runs")


def _beginning(words: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(begun)]
