"""docs/reference says of settings, commands and programs what the code says."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import click
import pytest

import coordinator
import neuron_node
from coordinator.cli.main import COMMANDS, cli
from neuron_node import broker, program

from .reference import BLOCKS, FOLDER
from .tables import marked


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_block_of_a_reference_page_is_the_codes(name: str) -> None:
    """`python -m tests.docs` writes it anew."""
    page, made = BLOCKS[name]
    assert marked((FOLDER / page).read_text(encoding="utf-8"))[name] == made()


def test_help_of_the_group_has_the_first_sentence_of_each_command() -> None:
    """The group does not import its commands to print its help."""
    context = click.Context(cli)
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None and command.get_short_help_str(limit=1_000) == line


@pytest.mark.parametrize(("name", "main"), [("neuron-node", program.main), ("neuron-broker", broker.main)])
def test_reference_has_every_option_of_a_program(name: str, main: object, capsys: pytest.CaptureFixture[str]) -> None:
    """And no other, but for --help and --version."""
    assert callable(main)
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--version"}
    text = (FOLDER / "commands.md").read_text(encoding="utf-8")
    section = text[text.index(f"## `{name}`\n") :].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == known


def public_modules(package: ModuleType) -> set[str]:
    """The modules in `__all__` of a package and of the packages in it."""
    found: set[str] = set()
    for name in package.__all__:
        if name.startswith("__"):
            continue
        module = importlib.import_module(f"{package.__name__}.{name}")
        found |= public_modules(module) if hasattr(module, "__path__") else {module.__name__}
    return found


def test_api_page_describes_exactly_the_public_modules() -> None:
    """`__all__` of both packages names them."""
    text = (FOLDER / "api.md").read_text(encoding="utf-8")
    described = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert sorted(described) == sorted(public_modules(neuron_node) | public_modules(coordinator))
