"""The commands that change a running network: `pause`, `resume`, `step`, `set`, `silence`, `rewind`, `rebalance` and `kill`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from coordinator.cli.ask import ask
from coordinator.cli.completing import complete_neuron
from coordinator.cli.helping import HelpfulCommand
from coordinator.cli.options import door_options, json_option, runs_option
from coordinator.cli.output import print_json, results, shown

RATE = "learning-rate"
Command = Callable[..., None]


def _where(command: Command) -> Command:
    return door_options(runs_option(json_option(command)))


def _print_pause(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    elif facts["state"] == "paused":
        results.print(f"paused after step {facts['step']:,}")
    elif facts["pauses_after"] is None:
        results.print("the training goes on")
    else:
        results.print(f"pauses after step {facts['pauses_after']:,}")


def _print_entry(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    if facts["change"] == "rewind":
        results.print(
            f"back at step {facts['step']:,} of branch {facts['origin']}; the steps from here on are branch {facts['branch']}"
        )
        return
    neuron = facts.get("neuron")
    what = {
        "rate": "the learning rate",
        "weight": f"the weight from {neuron} to {facts.get('to')}",
        "bias": f"the bias of {neuron}",
        "silence": f"{neuron} is silent",
        "wake": f"{neuron} is no longer silent",
    }[facts["change"]]
    if "value" in facts:
        before = facts.get("before")
        was = "" if before is None else f" (it was {shown(before)})"
        what += f" is {shown(facts['value'])}{was}"
    results.print(f"{what}, from the end of step {facts['step']:,} on")


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator pause
    coordinator pause --run flowers
    """,
)
@_where
def pause(runs: Path, as_json: bool, **where: Any) -> None:
    """Pause the training after the step that is in flight. No number changes."""
    _print_pause(ask(runs, where, "pause"), as_json)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator resume
    coordinator resume --to 120
    """,
)
@click.option(
    "--to", type=click.IntRange(1), metavar="STEP", help="Pause again after this step.  [default: the last one]"
)
@_where
def resume(to: int | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Continue a paused training, to its end or up to a step."""
    _print_pause(ask(runs, where, "resume", **({} if to is None else {"to": to})), as_json)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator step
    coordinator step 10
    """,
)
@click.argument("count", type=click.IntRange(1), default=1)
@_where
def step(count: int, runs: Path, as_json: bool, **where: Any) -> None:
    """Do one step, or COUNT steps, and pause."""
    _print_pause(ask(runs, where, "step", count=count), as_json)


@click.command(
    "set",
    cls=HelpfulCommand,
    context_settings={"ignore_unknown_options": True},
    epilog="""
    coordinator set learning-rate 0.5
    coordinator set hidden.3 -0.25 --to output.1
    coordinator set hidden.3 1.5
    """,
)
@click.argument("what", shell_complete=complete_neuron)
@click.argument("value", type=float)
@click.option(
    "--to", metavar="NEURON", shell_complete=complete_neuron, help="Set the weight of the synapse to this neuron."
)
@_where
def set_number(what: str, value: float, to: str | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Set the learning rate, the bias of a neuron or, with --to, the weight of a synapse.

    WHAT is learning-rate or the name of a neuron. The change takes effect between two steps; the journal of the run keeps it.
    """
    if what == RATE:
        facts = ask(runs, where, "set", what="rate", value=value)
    elif to is None:
        facts = ask(runs, where, "set", what="bias", neuron=what, value=value)
    else:
        facts = ask(runs, where, "set", what="weight", neuron=what, to=to, value=value)
    _print_entry(facts, as_json)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator silence hidden.3
    coordinator silence hidden.3 --end
    """,
)
@click.argument("name", shell_complete=complete_neuron)
@click.option("--end", is_flag=True, help="End the silence of the neuron.")
@_where
def silence(name: str, end: bool, runs: Path, as_json: bool, **where: Any) -> None:
    """Silence a neuron: its activity counts as 0, and it learns nothing, until its silence ends."""
    _print_entry(ask(runs, where, "silence", neuron=name, end=end), as_json)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator rewind 150
    coordinator rewind 300 --branch 0
    """,
)
@click.argument("step", metavar="STEP", type=click.IntRange(0))
@click.option(
    "--branch", type=click.IntRange(0), metavar="N", help="The branch of the snapshot.  [default: the present path]"
)
@_where
def rewind(step: int, branch: int | None, runs: Path, as_json: bool, **where: Any) -> None:
    """Go back to the snapshot after STEP, and train on from there as a new branch.

    `coordinator history` lists the kept snapshots. Step 0 is the beginning, and is always kept. Each rewind begins a branch; the
    run began with branch 0. A paused training stays paused.
    """
    _print_entry(ask(runs, where, "rewind", step=step, **({} if branch is None else {"branch": branch})), as_json)


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator kill hidden.3
    """,
)
@click.argument("name", shell_complete=complete_neuron)
@_where
def kill(name: str, runs: Path, as_json: bool, **where: Any) -> None:
    """Kill the program of a neuron with SIGKILL. The run goes back to its last snapshot, and loses nothing."""
    facts = ask(runs, where, "kill", neuron=name)
    if as_json:
        print_json(facts)
        return
    results.print(f"killed {facts['node']} ({facts['host']}, process {facts['process']}), which ran {name}")


@click.command(
    cls=HelpfulCommand,
    epilog="""
    coordinator rebalance
    coordinator rebalance --run flowers
    """,
)
@_where
def rebalance(runs: Path, as_json: bool, **where: Any) -> None:
    """Move groups that went to other nodes to free nodes.

    When a node is lost for long, another node takes its groups. This command goes back to the last snapshot, and gives the groups to
    nodes that host none. No weight changes.
    """
    facts = ask(runs, where, "rebalance")
    if as_json:
        print_json(facts)
        return
    rest = f"; {facts['remaining']} more could move, but no node is free" if facts["remaining"] else ""
    results.print(f"{facts['moved']} of the places of groups moved, from step {facts['step']:,} on{rest}")
