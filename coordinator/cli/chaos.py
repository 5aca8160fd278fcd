"""The options of `learn --chaos`, its messages during the run, and its figures at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from coordinator.cli.output import errors, print_table, shown
from coordinator.errors import JobError, UserError
from coordinator.local.chaos import KINDS, Chaos, ChaosSchedule, parse_counts
from coordinator.storage.run_folder import RunFolder

Command = TypeVar("Command", bound=Callable[..., Any])
MOST_SPARES = 1_000
HIGHEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Extras:
    """Options of a local run: spare nodes, faults to inject, and whether to compare with an undisturbed run."""

    spares: int = 0
    chaos: Chaos | None = None
    compare: bool = False

    @property
    def relayed(self) -> bool:
        """Whether nodes connect through a relay."""
        return self.chaos is not None and self.chaos.relayed

    def chaos_in(self, directory: RunFolder) -> RunChaos | None:
        """Return the chaos of a run, or None if the options ask for none."""
        return RunChaos(self.chaos, self.spares, directory) if self.chaos else None


def extras_of(spares: str, chaos: str | None, seed: str | None, overlap: bool, compare: bool) -> Extras:
    """Check the options and return them as one object. Raises `UserError`."""
    nodes = _whole("--spares", spares, MOST_SPARES)
    if chaos is not None:
        drawn_from = 0 if seed is None else _whole("--chaos-seed", seed, HIGHEST_SEED)
        return Extras(nodes, Chaos(parse_counts(chaos), drawn_from, overlap), compare)
    for given, option in ((seed is not None, "--chaos-seed"), (overlap, "--chaos-overlap"), (compare, "--compare")):
        if given:
            raise UserError(f"{option} needs --chaos, such as --chaos kill=20,pause=5")
    return Extras(nodes)


def _whole(option: str, text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and int(text) <= highest):
        raise UserError(f"{option} must be a whole number from 0 to {highest:,}, not {text[:60]!r}")
    return int(text)


def extras_options(command: Command) -> Command:
    """Add the options to a command, which receives them as the parameter `extras`."""

    @functools.wraps(command)
    def with_extras(**given: Any) -> Any:
        extras = extras_of(*(given.pop(name) for name in ("spares", "chaos", "chaos_seed", "chaos_overlap", "compare")))
        return command(**given, extras=extras)

    for option in (
        click.option("--compare", is_flag=True, help="Train again without chaos; exit 1 if the weights differ."),
        click.option("--chaos-overlap", is_flag=True, help="Do not wait for a recovery before the next fault."),
        click.option(
            "--chaos-seed",
            metavar="SEED",
            help="Seed of the order, the neurons and the steps of the faults.  [default: 0]",
        ),
        click.option(
            "--chaos",
            metavar="KIND=COUNT,…",
            help=f"Inject faults during the run, such as kill=20,pause=5. Kinds: {', '.join(KINDS)}.",
        ),
        click.option(
            "--spares",
            metavar="COUNT",
            default="0",
            show_default=True,
            help="Extra nodes, which take over when a node is lost.",
        ),
    ):
        with_extras = option(with_extras)
    return with_extras  # type: ignore[return-value]


class RunChaos:
    """The chaos of one run: receives its events, orders the faults, and prints what happens."""

    def __init__(self, chaos: Chaos, spares: int, directory: RunFolder) -> None:
        self._schedule = ChaosSchedule(chaos, spares, lambda: dict(directory.read_json("placements")))

    def handle(
        self, event: str, facts: Mapping[str, Any], now: float, command: Callable[[Mapping[str, Any]], None]
    ) -> bool:
        """Handle an event; return whether it has been printed and needs no other line."""
        samples = self._schedule.recoveries.samples
        known = len(samples)
        for order in self._schedule.handle(event, facts, now):
            command(order)
        if event == "struck":
            errors.print(_struck(facts))
        for sample in samples[known:]:
            errors.print(f"chaos: recovered in {sample.seconds:.2f} s ({sample.kind})")
        return event in ("struck", "released", "recovered") or (event == "ended" and bool(facts.get("chaos")))

    def figures(self) -> dict[str, Any]:
        """Return the keys of the result that only a run with chaos has."""
        return self._schedule.figures()


def _struck(facts: Mapping[str, Any]) -> str:
    number, neuron = f"chaos {facts['number']} of {facts['of']}", facts["neuron"]
    programs = facts["programs"]
    whom = {
        "kill": f"kill -9 of {neuron}",
        "pause": f"{neuron} is stopped",
        "partition": f"{neuron} is cut off",
        "broker": "kill -9 of the broker",
        "coordinator": "kill -9 of the coordinator",
        "everything": f"kill -9 of all {len(programs)} programs",
        "terminate": f"SIGTERM of {neuron}",
        "interrupt": f"SIGINT of {neuron}",
        "stop-broker": "the broker is stopped",
        "layer": f"kill -9 of the layer of {neuron}, {len(programs)} programs",
        "all": f"SIGTERM of all {len(programs)} neurons' programs",
    }[facts["kind"]]
    who = f" ({programs[0]['name']}, process {programs[0]['process']})" if len(programs) == 1 else ""
    return f"{number}: after step {facts['after_step']:,} {whom}{who}"


def compared(result: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that a comparison adds to the result."""
    return {
        "identical": result["weights_sha256"] == undisturbed["weights_sha256"],
        "undisturbed_weights_sha256": undisturbed["weights_sha256"],
        "undisturbed_run": undisturbed["run"],
        "undisturbed_seconds_training": undisturbed["seconds_training"],
    }


def check_identical(result: Mapping[str, Any]) -> None:
    """Raise `JobError` if the comparison found a difference."""
    if not result.get("identical", True):
        raise JobError(
            f"the weights differ: sha256 {result['weights_sha256']} with chaos (run {result['run']}), "
            f"{result['undisturbed_weights_sha256']} without (run {result['undisturbed_run']})"
        )


def print_chaos(result: Mapping[str, Any]) -> None:
    """Print the faults that were injected and the times of the recoveries."""

    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f} s"

    rows = [
        (
            kind,
            facts["done"],
            facts["asked"],
            seconds(facts["recovery_seconds_p50"]),
            seconds(facts["recovery_seconds_most"]),
        )
        for kind, facts in result["chaos"].items()
    ]
    print_table(("chaos", "done", "asked", "recovery, median", "longest"), rows)
    lines = [
        ("recoveries", shown(result["recoveries"])),
        ("stale messages", f"{shown(result['stale_messages'])}, all ignored"),
    ]
    if "identical" in result:
        same = "identical" if result["identical"] else "DIFFERENT"
        lines.append(("without chaos", f"{same}, sha256 {result['undisturbed_weights_sha256']}"))
    print_table(("", ""), lines)
