"""Help says what each option does, its default and when to change it; the common options come first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from coordinator.cli.helping import GROUPS, WHEN, HelpfulCommand
from coordinator.cli.main import cli
from coordinator.settings import LearnSettings


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", command.commands[each]) for each in command.commands)
        else:
            yield name, command


COMMANDS = dict(commands())


def help_of(command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name="x", help_option_names=["-h", "--help"]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_once(name: str) -> None:
    """Whatever group it is in."""
    command = COMMANDS[name]
    assert isinstance(command, HelpfulCommand)
    shown = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_of(command).partition("\nExamples")[0], re.MULTILINE)
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert sorted(shown) == sorted(["--help", *(option.opts[0] for option in options)])
    assert all(option.help for option in options)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_accepted(name: str) -> None:
    """Each example is a command line that the command parses."""
    examples = (COMMANDS[name].epilog or "").split("\n")
    lines = [line.strip() for line in examples if line.strip()]
    assert lines
    for line in lines:
        # Without what belongs to the shell: a pipe before the command, and a bracket or a redirection after it.
        words = shlex.split(re.split(r"\)| > ", line[line.index("coordinator ") :])[0])[1:]
        assert words[: len(name.split())] == name.split()
        COMMANDS[name].make_context(name, words[len(name.split()) :])


def test_common_options_come_first() -> None:
    """A user of `learn` reads them before the options of tables, programs and faults."""
    text = help_of(COMMANDS["learn"])
    titles = [title for title in GROUPS if f"\n{title}:" in text]
    assert titles[0] == "Common options" and [text.index(f"\n{title}:") for title in titles] == sorted(
        text.index(f"\n{title}:") for title in titles
    )
    assert text.index("--epochs") < text.index("--activation") < text.index("--delimiter") < text.index("--chaos")


def test_every_setting_says_when_to_change_it() -> None:
    """And its default, in words or as a value."""
    assert WHEN.keys() == LearnSettings.model_fields.keys() - {"dataset"}
    for option in COMMANDS["learn"].params:
        if isinstance(option, click.Option) and option.name in WHEN:
            assert option.help and WHEN[option.name] in option.help and "[default: " in option.help


def test_verify_has_no_option_that_it_refuses() -> None:
    """It takes several group sizes."""
    names = {option.name for option in COMMANDS["verify"].params}
    assert "group_sizes" in names and "group_size" not in names
