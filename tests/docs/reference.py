"""The tables of docs/reference, made from the settings and from the commands.

A test compares them with the pages; `python -m tests.docs` writes them into the pages.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import click

from coordinator.cli.exits import EXITS
from coordinator.cli.helping import WHEN, default_of_setting
from coordinator.cli.main import cli
from coordinator.cli.options import SETTINGS
from coordinator.defaults import DATASETS, PRESETS
from coordinator.settings import LearnSettings, flag_of, variable_of

from .tables import MARKED

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def settings() -> str:
    """Every setting: option, variable, purpose, allowed values and default."""
    rows = []
    for name, field in LearnSettings.model_fields.items():
        default = default_of_setting(name)
        default = f"`{default}`" if default == str(field.default) else default
        what = f"{field.title}: {field.description}. {WHEN.get(name, 'Set it to learn something else')}."
        rows.append((f"`{flag_of(name)}`", f"`{variable_of(name)}`", what, default))
    return _table(("option", "variable", "what it sets, and when to change it", "default"), rows)


def presets() -> str:
    """The defaults of each data set and preset."""
    names = ("hidden", "epochs", "batch_size", "learning_rate")
    rows = [(f"`{name}`", *(_value(values[key]) for key in names)) for name, values in (DATASETS | PRESETS).items()]
    return _table(("data set or preset", *(f"`{name}`" for name in names)), rows)


def exits() -> str:
    """Every exit code, its kind in JSON, and its meaning."""
    rows = [(str(code), f"`{kind}`" if code else "–", meaning) for code, kind, meaning in EXITS]
    return _table(("code", "kind", "meaning"), rows)


def commands() -> str:
    """Every command with its text, its arguments and its options."""
    return "".join(_command(name, command) for name, command in _all_commands(cli, ""))


BLOCKS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "settings": ("settings.md", settings),
    "presets": ("settings.md", presets),
    "exits": ("commands.md", exits),
    "commands": ("commands.md", commands),
}
"""The page and the content of each block."""


def _all_commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{prefix}{name} ")


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"coordinator {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    text = inspect.cleandoc(command.help or "")
    rows, has_settings = [], False
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        if option.name in SETTINGS and name in ("learn", "serve", "verify"):
            has_settings = True
            continue
        metavar = "" if option.is_flag else " " + option.make_metavar(context).partition(" RANGE")[0]
        default = f" (default `{option.default}`)" if option.show_default else ""
        rows.append((f"`{'`, `'.join(option.opts)}{metavar}`", _plain(f"{option.help}{default}")))
    settings_too = "All [settings](settings.md) are options too.\n\n" if has_settings else ""
    table = _table(("option", "what it does"), rows)
    return f"## `coordinator {name}`\n\n```\ncoordinator {name} {usage}\n```\n\n{text}\n\n{settings_too}{table}\n"


def _plain(text: str) -> str:
    """Without the two blanks before a default that click prints."""
    return re.sub(r" {2,}\[default: (.*)\]$", r" (default \1)", text)


def _value(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def write() -> None:
    """Put every block into its page."""
    for page in {name for name, _ in BLOCKS.values()}:
        text = (FOLDER / page).read_text(encoding="utf-8")
        (FOLDER / page).write_text(
            MARKED.sub(lambda match: f"{match['name']}{match['open']}{BLOCKS[match['name']][1]()}", text),
            encoding="utf-8",
        )
