"""The documents are true: commands and their output, calculations, tables made from the code, and links."""

from __future__ import annotations

import importlib
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import click
import pytest

from coordinator.cli.learn import learn
from coordinator.cli.main import COMMANDS as CLI_COMMANDS
from coordinator.cli.main import cli
from coordinator.core.machine import TRANSITIONS as COORDINATOR_TRANSITIONS
from coordinator.core.queries import COMMANDS
from coordinator.job import Job
from neuron_node.node import TRANSITIONS as NODE_TRANSITIONS
from tests import networks

from .console import Command, Comparison, commands_of, same
from .formulas import formulas_in
from .reader import Reader
from .tables import TABLES, handlers, marked

CHECKOUT = Path(__file__).parents[2]
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")])
TYPED = [
    *(CHECKOUT / name for name in ("README.md", "docs/data.md", "docs/lesson.md", "docs/tutorial.md")),
    *sorted(CHECKOUT.glob("docs/how-to/*.md")),
]
"""The documents with terminal sessions: every command is typed here, or covered elsewhere."""

CONTAINERS = "tests/containers/test_compose.py::"
ELSEWHERE = {
    "git clone https://HOST/OWNER/exmachina.git": "tests/unit/project/test_conventions.py::test_clone_offers_the_commands_of_the_readme",
    "cd exmachina": "tests/unit/project/test_conventions.py::test_clone_offers_the_commands_of_the_readme",
    ". .venv/bin/activate": "Makefile::.venv/bin/python",
    "docker compose up": CONTAINERS + "test_network_with_too_few_neurons_waits_and_learns_when_more_come",
    "docker compose exec coordinator coordinator status": CONTAINERS + "test_a_network_of_containers_learns",
    "docker compose exec coordinator coordinator neurons": CONTAINERS + "test_every_neuron_has_a_container_of_its_own",
    "docker compose exec -T coordinator coordinator predict < rows.csv": CONTAINERS
    + "test_running_network_predicts_rows_from_standard_input",
    "docker compose run --rm -T keys coordinator keys export operator - | tar -x": CONTAINERS
    + "test_status_from_the_host_equals_status_inside",
    "coordinator status --door tcp://127.0.0.1:5573 --keys keys": CONTAINERS
    + "test_status_from_the_host_equals_status_inside",
    "NEURONS=15 EXMACHINA_DATASET=iris docker compose up": CONTAINERS + "test_a_network_of_containers_learns",
    "NEURONS=13 EXMACHINA_DATASET=/config/fruit.csv docker compose up": CONTAINERS
    + "test_network_with_too_few_neurons_waits_and_learns_when_more_come",
    "docker compose restart coordinator": "tests/containers/test_restart.py::test_a_coordinator_that_is_restarted_goes_on",
    "docker compose down -v": CONTAINERS + "test_network_with_too_few_neurons_waits_and_learns_when_more_come",
    "docker compose --env-file config/semeion.env up": "tests/docs/test_documentation.py::test_the_network_of_exmachina",
    "coordinator learn semeion --data semeion.data --preset exmachina": "tests/docs/test_documentation.py::test_the_network_of_exmachina",
}
"""Commands that are not typed here, since they need a container engine or half an hour, and the test that covers each."""

STANDS_FOR = {
    "make learn": ("coordinator learn digits --group-size layer", {r"\b86(?= nodes connected| hosted neurons)": "3"}),
    "coordinator learn digits --save digits.safetensors": (
        "coordinator learn digits --group-size layer --save digits.safetensors",
        {r"\b86(?= nodes connected| hosted neurons)": "3"},
    ),
    "make page ARGUMENTS='--epochs 1000'": (
        "coordinator learn digits --group-size layer --dashboard --epochs 1000",
        {},
    ),
}
"""Shorter commands that are typed instead of commands that take a minute, and how they change the output. The digits learn in
three processes instead of 86, with the same losses.
"""

SESSIONS = [path for path in TYPED if any(command.text not in ELSEWHERE for command in commands_of(path))]
"""The documents with commands that are typed here."""

TAKE_LONG = {"tutorial", "lesson", "chaos", "report", "runs", "watch"}
"""Documents of which only `make test-all` types the commands."""

LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#\s]*)(#(?P<part>[^)\s]+))?\)")
CODE = re.compile(r"`(?P<code>coordinator [^`]+)`")
CONSTANT = re.compile(r"^\| `(?P<module>[a-z_.]+)\.(?P<name>[A-Z_]+)` \| (?P<value>[\d,.]+)", re.MULTILINE)
KEYS = re.compile(r"^\| (?P<keys>`\w+`(?:, `\w+`)*) \|", re.MULTILINE)
STATUS_ONLY = {"state", "pauses_after", "nodes_registered", "nodes_needed", "dropped", "failure"}


def text_of(name: str) -> str:
    return (CHECKOUT / "docs" / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    level, _, _ = title.partition(" ")
    begun = text[text.index(f"{title}\n") :]
    ends = re.search(rf"\n#{{1,{len(level)}}} ", begun)
    return begun[: ends.start()] if ends else begun


def keys_of(text: str) -> list[str]:
    """What stands in backticks in the first column of the tables."""
    return sorted(key for match in KEYS.finditer(text) for key in re.findall(r"\w+", match["keys"]))


@pytest.mark.processes
@pytest.mark.parametrize(
    "document",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in TAKE_LONG), id=path.stem) for path in SESSIONS],
)
def test_every_command_does_what_is_shown(document: Path, tmp_path: Path) -> None:
    """Typed in order, each command ends with the right exit code and prints what the document shows, digit by digit."""
    folder = tmp_path.resolve() / "home"
    folder.mkdir()
    commands = [command for command in commands_of(document) if command.text not in ELSEWHERE]
    assert commands
    with Reader(folder) as reader:
        for command, following in zip(commands, [*commands[1:], None], strict=True):
            asked = following is not None and following.text == "echo $?"
            code = int(following.shown[0]) if asked and following else 0
            # What takes a minute is typed where its output is shown.
            if command.shown or command.text not in STANDS_FOR:
                reader.take(_standing_in(command), code)


def _standing_in(command: Command) -> Command:
    text, changes = STANDS_FOR.get(command.text, (command.text, {}))
    shown = "\n".join(command.shown)
    for pattern, replacement in changes.items():
        shown = re.sub(pattern, replacement, shown)
    return replace(command, text=text, shown=tuple(shown.splitlines()))


def test_command_that_is_not_typed_names_a_test() -> None:
    """What is not typed is in one of the documents, and names a test (or a rule of the Makefile) that exists."""
    told = {command.text for document in TYPED for command in commands_of(document)}
    assert {path.stem for path in SESSIONS} >= TAKE_LONG
    assert (ELSEWHERE.keys() | STANDS_FOR.keys()) <= told
    for place in ELSEWHERE.values():
        path, _, name = place.partition("::")
        mark = f"\n{name}:" if path == "Makefile" else f"\ndef {name}("
        assert mark in (CHECKOUT / path).read_text(encoding="utf-8"), place


def test_the_network_of_exmachina(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset's commands mean the network of ExMachina, 274 neurons, in processes as in containers."""
    for variable in [name for name in os.environ if name.startswith("EXMACHINA_")]:
        monkeypatch.delenv(variable)
    line = "".join("0 " * 256 + " ".join(str(int(label == digit)) for digit in range(10)) + "\n" for label in range(10))
    data = tmp_path / "semeion.data"
    data.write_text(line * 5, encoding="utf-8")
    [command] = [text for text in ELSEWHERE if text.startswith("coordinator learn semeion")]
    arguments = shlex.split(command.replace("semeion.data", str(data)))[2:]
    context = learn.make_context("learn", arguments)
    flags = {name: context.params[name] for name in ("dataset", "data", "preset")}
    job = Job.from_flags(flags, None)
    assert (job.network.layers, job.nodes) == ((256, 8, 10), 274)
    assert (job.network.batch_size, job.network.epochs, job.network.learning_rate) == (1, 20, 2.0)
    variables = dict(
        line.split("=") for line in (CHECKOUT / "config/semeion.env").read_text().splitlines() if line[:1].isupper()
    )
    assert variables == {"NEURONS": "274", "EXMACHINA_DATASET": "semeion", "EXMACHINA_PRESET": "exmachina"}


def test_commands_in_the_text_exist() -> None:
    """Every `coordinator …` that is mentioned anywhere names a command and options that there are."""
    mentioned = [(document, match["code"]) for document in DOCUMENTS for match in CODE.finditer(document.read_text())]
    typed = [(document, command.name) for document in TYPED for command in commands_of(document)]
    typed = [(document, text) for document, text in typed if text.startswith("coordinator ")]
    assert mentioned and typed
    for document, text in mentioned + typed:
        name, *rest = [word for word in text.split()[1:] if not word.startswith("[")]
        assert name in CLI_COMMANDS or name in ("COMMAND", "…"), f"{document}: {text}"
        command = cli.get_command(click.Context(cli), name) or cli
        if isinstance(command, click.Group) and rest:
            command = command.get_command(click.Context(command), rest[0]) or command
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        unknown = {word for word in rest if re.match(r"^--[a-z]", word)} - known
        assert not unknown, f"{document}: {text}"


OWN_WORDS = ("node", "group", "generation", "snapshot", "wired")
FIRST_READ = [*TYPED, CHECKOUT / "docs/explanation/exmachina.md"]


@pytest.mark.parametrize("document", FIRST_READ, ids=lambda path: path.stem)
def test_own_words_are_linked_where_they_are_first_used(document: Path) -> None:
    """A reader of any guide finds what a word of this project means: its first use in the text links to the glossary."""
    text = re.sub(
        r"^```.*?^```$|^#.*?$|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for word in OWN_WORDS:
        first = re.search(rf"(?<![-#\w]){word}s?(?![-\w])", text)
        if first:
            assert re.match(rf"{word}s?\]\(\S*glossary\.md#{word}\)", text[first.start() :]), (
                f"the first use of {word!r} in {document.name} has no link to the glossary"
            )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file or folder of the project, and a heading in it where it names one."""
    for match in LINK.finditer(document.read_text(encoding="utf-8")):
        target = document.parent / match["path"] if match["path"] else document
        assert target.exists(), match[0]
        assert target.resolve().is_relative_to(CHECKOUT), match[0]
        if match["part"]:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert match["part"] in {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, match[0]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_tables_are_the_codes(name: str) -> None:
    """A table of messages or states says what the code says; `python -m tests.docs` writes it anew."""
    tables = marked(text_of("protocol.md")) | marked(text_of("architecture.md"))
    assert tables.keys() == TABLES.keys()
    assert tables[name] == TABLES[name]()


def test_every_transition_is_explained() -> None:
    """Whatever a state table says that a machine does is told below it."""
    text = text_of("architecture.md")
    for title, transitions in (("### A node", NODE_TRANSITIONS), ("### The coordinator", COORDINATOR_TRANSITIONS)):
        told = set(re.findall(r"^- \*\*([\w ]+)\*\*", section(text, title), re.MULTILINE))
        assert told == handlers(transitions)


def test_every_figure_is_explained() -> None:
    """architecture.md explains each key of `learn --json` and of `status --json`, and no other."""
    finished = networks.trained(networks.plan_of(networks.settings_of((2, 3, 2)))).finished
    assert finished is not None
    told = keys_of(section(text_of("architecture.md"), "## What is measured"))
    assert told == sorted(finished.keys() | {"run"} | STATUS_ONLY)


def test_every_request_is_explained() -> None:
    """protocol.md names each command that a client may send."""
    assert keys_of(section(text_of("protocol.md"), "## Asking the coordinator")) == sorted(COMMANDS)


def test_constants_are_the_codes() -> None:
    """A limit or time in a document's table is the one in the module that it names."""
    found = [match for document in DOCUMENTS for match in CONSTANT.finditer(document.read_text(encoding="utf-8"))]
    assert len(found) >= 10
    for match in found:
        value = getattr(importlib.import_module(match["module"]), match["name"])
        assert float(value) == float(match["value"].replace(",", "")), match[0]


@pytest.mark.parametrize(
    ("shown", "line", "alike"),
    [
        ("training   12 epochs, 1,080 steps in 124.6 s", "training   12 epochs, 1,080 steps in 9.1 s  ", True),
        ("training   12 epochs, 1,080 steps in 124.6 s", "training   12 epochs, 1,200 steps in 124.6 s", False),
        ("accuracy   held out 0.9638, training 0.9847", "accuracy   held out 0.9637, training 0.9847", False),
        ("accuracy   held out 0.9638, training 0.9847", "accuracy   held out 0.8638, training 0.9847", False),
        ("run        20261124-064045-digits", "run        20270101-000000-digits", True),
        ("run        20261124-064045-digits", "run        20261124-064045-iris", False),
        ("input.0       0  working  laptop     2259       1,026", "input.0   0  working  laptop  77  12", True),
        ("input.0       0  working  laptop     2259       1,026", "input.0   0  wiring  laptop  77  12", False),
        ("hidden.0                 +4.923656", "hidden.0   -4.923656", False),
        ("last activity  0.953859", "last activity  0.954123", False),
        ("neuron hidden.0 were no longer finite at step 5;", "neuron hidden.2 were no longer finite at step 5;", True),
        ("neuron hidden.0 were no longer finite at step 5;", "neuron hidden.0 were no longer finite at step 6;", False),
        (f"weights    sha256 {'a' * 64}", f"weights    sha256 {'b' * 64}", True),
        (f"weights    sha256 {'a' * 64}", "weights    sha256 -", False),
    ],
)
def test_difference_in_output_is_found(shown: str, line: str, alike: bool) -> None:
    """Times, dates and digests may differ; all other digits may not."""
    assert same(shown, line) is alike


@pytest.mark.parametrize(
    ("shown", "line", "alike"),
    [
        ("errors  −0.0009105 … 0.0006182", "errors  0.2 … −1", True),
        ("error  -2.700e−05, 1.3e+09", "error  0.5, −3.1e-07", True),
        ("paused after step 1,937", "paused after step 12", True),
        ("errors  −0.0009105 … 0.0006182", "errors  −0.0009105", False),
        ("error of hidden.3", "error of hidden.4", False),
    ],
)
def test_number_in_a_live_block_may_be_any_number(shown: str, line: str, alike: bool) -> None:
    """With either minus sign, and with or without an exponent. The numbers in names are compared."""
    assert same(shown, line, live=True) is alike


def test_calculations_in_the_text_are_right() -> None:
    """Each result follows from the numbers that the document shows, to the last digit of what their rounding allows."""
    found = [formula for path in DOCUMENTS for formula in formulas_in(path.read_text(encoding="utf-8"))]
    assert len(found) >= 16
    assert [formula for formula in found if not formula.right] == []


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("weight × activity = 4.9237 × 0.9787 = 4.8189", True),
        ("weight × activity = 4.9237 × 0.9787 = 4.8187", True),
        ("weight × activity = 4.9237 × 0.9787 = 4.8192", False),
        ("weight × activity = 4.9237 × 0.9787 = −4.8189", False),
        ("the signal 4.923656 × 0.978715 = 4.818856 to", True),
        ("the signal 4.923656 × 0.978715 = 4.818866 to", False),
        ("6.040111 × 1 = 6.040111 and", True),
        ("6.040111 × 1 = 6.040113 and", False),
        ("slope = 0.9787 × (1 − 0.9787) = 0.02083", True),
        ("slope = 0.9787 × (1 − 0.9787) = 0.02183", False),
        ("activity = logistic(6.0401 + −2.2119) = 0.9787", True),
        ("activity = logistic(6.0401 + −2.2119) = 0.9789", False),
        ("change is −12 × 1.731e−05 = −0.0002077.", True),
        ("change is −12 × 1.731e−05 = 0.0002077.", False),
        ("mean (0.5 × 2 + −0.25 × 1) / 2 = 0.375", True),
        ("mean (0.5 × 2 + −0.25 × 1) / 2 = 0.475", False),
        ("signals: 6.0401 from input.0, −1.5 from input.1; sum = 4.5401", True),
        ("signals: 6.0401 from input.0, −1.5 from input.1; sum = 4.7401", False),
    ],
)
def test_wrong_calculation_is_found(line: str, right: bool) -> None:
    """A difference of more than the rounding of the factors is a wrong result."""
    [formula] = formulas_in(line)
    assert formula.right is right


def test_text_without_a_calculation_has_no_formulas() -> None:
    """Names, versions and ranges are no calculations."""
    for line in (
        "own error = −0.002031",
        "--nodes = 3",
        "x = a + b = c",
        "2 − 3 epochs",
        "gradient of the bias = own error = 5",
    ):
        assert list(formulas_in(line)) == []


def test_a_digest_stays_what_it_was() -> None:
    """Two lines with one digest in the document must have one digest in reality."""
    comparison = Comparison()
    told = [Command(1, "", (digit * 64,), frozenset()) for digit in "aab"]
    assert comparison.end_of(told[0], ["c" * 64]) == 1
    assert comparison.end_of(told[2], ["d" * 64]) == 1
    with pytest.raises(AssertionError, match="stood for"):
        comparison.end_of(told[1], ["d" * 64])
