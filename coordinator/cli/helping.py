"""The help of a command: options in groups, the common ones first, then examples."""

from __future__ import annotations

import click

from coordinator.settings import LearnSettings

COMMON, NETWORK, DATA, PROGRAMS, FAULTS, SERVICE, OUTPUT = (
    "Common options",
    "Network and training",
    "Reading the data",
    "Programs and messages",
    "Faults",
    "The service to ask",
    "Output and files",
)
GROUPS: dict[str, tuple[str, ...]] = {
    COMMON: (
        "target", "hidden", "epochs", "batch_size", "learning_rate", "seed", "name", "save", "resume", "config", "lines",
        "model", "steps", "group_sizes", "check", "state", "limit", "follow", "watch",
    ),
    NETWORK: ("layers", "activation", "output_activation", "loss", "test_fraction", "scaling", "preset"),
    DATA: ("data", "target_kind", "delimiter", "decimal", "encoding", "header", "na", "ignore", "inputs", "noise"),
    PROGRAMS: (
        "group_size", "nodes", "wiring", "microbatches", "snapshot_interval_steps", "history", "regroup_after_seconds",
        "rebalance",
        "spares", "allow_mixed", "broker_in", "broker_out", "bind_door", "listen",
    ),
    FAULTS: ("chaos", "chaos_seed", "chaos_overlap", "compare"),
    SERVICE: ("run_name", "door", "keys", "key", "insecure", "patience"),
    OUTPUT: ("runs", "folder", "form", "as_json", "json_lines", "quiet", "yes", "help"),
}  # fmt: skip
"""The groups of options, by the names of their parameters. Other options come first."""

WHEN: dict[str, str] = {
    "data": "Set it to work offline; by default, the set is fetched from OpenML",
    "target": "Set it if another column is to be learned",
    "target_kind": "Set it if whole numbers are names of classes, or classes are really numbers",
    "delimiter": "Set it if `coordinator data` shows the wrong columns",
    "decimal": "Set it if numbers with commas are misread",
    "encoding": "Set it if letters with accents are misread",
    "header": "Set it if the first row is mistaken for data or for names",
    "na": "Set it if a number or a word stands for a missing value",
    "ignore": "Leave out columns that name rows, or that give the target away",
    "inputs": "Set it if only a few of many columns are to be used",
    "noise": "Set it to make circle, spiral, gauss or xor harder to learn; xor then has 200 rows",
    "hidden": "Use more or larger layers if the loss stays high, smaller ones for speed",
    "layers": "Set it to state the whole network; the first and last sizes must fit the data",
    "epochs": "Raise it if the loss still falls at the end",
    "batch_size": "Larger batches are faster per sample; 1 is online learning",
    "learning_rate": "Lower it if the training diverges, raise it if the loss falls slowly",
    "activation": "relu and tanh can help networks with several hidden layers",
    "output_activation": "identity suits numbers, logistic suits classes",
    "loss": "cross_entropy suits classes, and needs logistic outputs",
    "seed": "Change it to see how much a result depends on chance",
    "group_size": "Raise it for speed and less memory: layer is the fastest",
    "wiring": "direct is faster between a few large groups",
    "microbatches": "Raise it with large batches, so that the layers work at the same time",
    "nodes": "Lower it if the machine has too little memory for one program per group",
    "test_fraction": "0 trains on all samples, but then nothing shows how well the network generalizes",
    "scaling": "Set none if the inputs are scaled already",
    "preset": "Use it to compare with ExMachina",
    "snapshot_interval_steps": "Lower it if a failure may cost less time, raise it if the disk is slow",
    "history": "Raise it to keep more snapshots of a large network, 0 keeps only the last two",
    "regroup_after_seconds": "Raise it if lost nodes come back slowly, 0 moves their groups at once",
    "rebalance": "auto repeats the steps since the last snapshot whenever a node comes back",
    "name": "Set it to find the run again",
}
"""When to change a setting."""
FROM_THE_DATA = ("target", "hidden", "epochs", "batch_size", "learning_rate", "output_activation", "scaling", "layers")
"""Settings whose default follows from the data."""
AS_FOUND = ("delimiter", "decimal", "encoding", "header")
"""Settings whose default is found in the file."""
OTHER_DEFAULTS = {
    "data": "fetched", "na": "the usual marks", "ignore": "none", "inputs": "all columns", "nodes": "one per group",
    "preset": "none", "name": "date and data set", "noise": "none", "history": "64MB",
}  # fmt: skip


def help_of_setting(name: str, default: str | None = None) -> str:
    """Return what a setting does, its values, when to change it, and its default, if it is not `default` of this command."""
    field = LearnSettings.model_fields[name]
    return f"{field.title}: {field.description}. {WHEN[name]}.  [default: {default or default_of_setting(name)}]"


def default_of_setting(name: str) -> str:
    """Return the default of a setting in words."""
    if name in FROM_THE_DATA:
        return "from the data"
    return "as found" if name in AS_FOUND else OTHER_DEFAULTS.get(name) or str(LearnSettings.model_fields[name].default)


def _name(option: click.Parameter) -> str:
    return "help" if "--help" in option.opts else option.name or ""


class HelpfulCommand(click.Command):
    """A command whose help shows its options in groups, and then its examples."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        left = {_name(option): option for option in self.get_params(ctx) if isinstance(option, click.Option)}
        named = {name for names in GROUPS.values() for name in names}
        groups = {"Options": tuple(name for name in left if name not in named), **GROUPS}
        written = [
            (title, [record for name in names if name in left for record in self._records(ctx, name)])
            for title, names in groups.items()
        ]
        present = [(title, records) for title, records in written if records]
        for title, records in present:
            with formatter.section(title if len(present) > 1 else "Options"):
                formatter.write_dl(records)

    def _records(self, ctx: click.Context, name: str) -> list[tuple[str, str]]:
        """Return the lines of all options with this name, such as --json and --csv."""
        records = (option.get_help_record(ctx) for option in self.get_params(ctx) if _name(option) == name)
        return [record for record in records if record is not None]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples: each is a line of text and the command below it."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
