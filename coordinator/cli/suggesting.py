"""A group of commands that suggests a name for a misspelled one."""

from __future__ import annotations

import click


class SuggestingGroup(click.Group):
    """A group whose error for an unknown command names the most similar command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first argument."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as fault:
            # Only a wrong name waits for the import of the data sets.
            from coordinator.data.suggestion import did_you_mean  # noqa: PLC0415

            name, known = args[0], [each for each in self.list_commands(ctx) if not each.startswith("-")]
            found = did_you_mean(name, known)
            raise click.UsageError(
                f"No such command {name!r}{found or '; known are: ' + ', '.join(known)}", ctx
            ) from fault
