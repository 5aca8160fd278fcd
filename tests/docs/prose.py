"""The prose linter: proselint, and a short list of words to avoid, over documents, docstrings, comments and messages.

`python -m tests.docs.prose` prints all findings, and exits with 1 if there are any; so does `make test`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proselint import checks as proselint_checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

CHECKOUT = Path(__file__).resolve().parents[2]
CHECKED = (
    "*.md", "docs/**/*.md", "coordinator/**/*.py", "neuron_node/**/*.py", "tests/**/*.py", "tools/*.py", "requirements/*.py",
    "compose.yaml", "Dockerfile", "Makefile", ".env.example", "config/*.env", "mkdocs.yml", ".pre-commit-config.yaml",
    ".github/**/*.yml", ".ci/run",
)  # fmt: skip

AVOID = {
    r"who(m|ever|mever)": "name the person or program",
    r"whatever|whichever": "name the thing",
    r"what (comes|came|is lost|is not so|is wanted|is due|belongs|goes)": "use a noun",
    r"one of them|one of these": "name the member",
    r"somebody|nobody": "name the person or program",
    r"a thing|things": "name them",
    r"mended|dear|reckon(s|ed|ing)?|household|in peace|strikes?|struck|victims?": "use the words of the field",
    r"lets? go of|goes on with|moves? in with|has its place|of the past": "use the words of the field",
    r"anew|in vain|ever more|for ever": "again, without effect, at growing intervals, without end",
    r"unless (?:said|told) otherwise": "by default",
    r"unasked|worked out|works? out|lets? go": "without a request, computes, drops",
    r"second cop(?:y|ies)|well-formed|messages? by hand": "duplicate, valid",
    r"turned round|takes? turns|to be had": "use the words of the field",
    r"learnt": "learned",
    r"oftener": "more often",
}
"""Words and phrases to avoid, as regular expressions, and the advice for each."""

UNCHECKED = ("typography", "lexical_illusions")
"""Groups of checks of proselint that do not fit: quotes and accents in plain text, and repeated words, as tables have them."""

STILL_TO_DO = frozenset((
    "tests/containers/compose.py", "tests/containers/conftest.py", "tests/containers/disturbing.py",
    "tests/containers/test_chaos.py", "tests/containers/test_direct.py",
    "tests/docs/reader.py", "tests/docs/test_documentation.py", "tests/docs/test_prose.py", "tests/docs/test_reference.py",
    "tests/figures/containers.py", "tests/figures/cost.py", "tests/figures/disturbed.py", "tests/figures/scale.py",
    "tests/oracle/test_textbook.py",
    "tests/processes/programs.py", "tests/processes/test_altered_copies.py", "tests/processes/test_bench.py",
    "tests/processes/test_chaos.py", "tests/processes/test_direct.py", "tests/processes/test_learn.py",
    "tests/processes/test_link.py", "tests/processes/test_resume.py", "tests/processes/test_serve_again.py",
    "tests/processes/test_standalone.py", "tests/processes/test_strangers.py",
    "tests/simulation/altering.py", "tests/simulation/crash_points.py", "tests/simulation/disk.py",
    "tests/simulation/faults.py", "tests/simulation/invariants.py", "tests/simulation/network.py",
    "tests/simulation/outlets.py", "tests/simulation/plans.py", "tests/simulation/plants.py",
    "tests/simulation/plants_of_faults.py", "tests/simulation/run_seed.py", "tests/simulation/scenario.py",
    "tests/simulation/test_why.py", "tests/simulation/world.py",
    "tests/unit/bench/test_bare_link.py", "tests/unit/bench/test_measuring.py", "tests/unit/bench/test_profiled.py",
    "tests/unit/capacity/test_autotune.py", "tests/unit/capacity/test_host.py", "tests/unit/capacity/test_resources.py",
    "tests/unit/capacity/test_traffic.py", "tests/unit/capacity/test_wiring.py",
    "tests/unit/cli/test_help.py", "tests/unit/cli/test_resume_refused.py",
    "tests/unit/core/test_assignment.py", "tests/unit/core/test_failure_detector.py", "tests/unit/core/test_machine.py",
    "tests/unit/core/test_machine_recovery.py", "tests/unit/core/test_queries.py",
    "tests/unit/core/test_snapshot_interval.py", "tests/unit/core/test_steps.py",
    "tests/unit/local/test_chaos_schedule.py", "tests/unit/local/test_fault_injector.py", "tests/unit/local/test_relay.py",
    "tests/unit/neuron_node/test_codec.py", "tests/unit/neuron_node/test_direct_link.py",
    "tests/unit/neuron_node/test_direct_wiring.py", "tests/unit/neuron_node/test_group.py",
    "tests/unit/neuron_node/test_inbox.py", "tests/unit/neuron_node/test_local_delivery.py",
    "tests/unit/neuron_node/test_losses.py", "tests/unit/neuron_node/test_neuron.py", "tests/unit/neuron_node/test_node.py",
    "tests/unit/project/test_package.py",
    "tests/unit/storage/test_model_file.py", "tests/unit/storage/test_run_store.py",
    "tests/unit/storage/test_run_store_faults.py", "tests/unit/storage/test_snapshots.py",
    "tests/unit/test_schedule.py", "tests/unit/test_topology.py",
    "tests/vectors/make.py", "tests/vectors/test_vectors.py",
    "requirements/lock.py",
))  # fmt: skip
"""Files that are not yet written in plain English. All others are checked. This list only shrinks."""

CODE_SPAN = re.compile(r"`+[^`]*`+")
RAISED = re.compile(r"^ +[A-Z][A-Za-z]+(?=: )", re.MULTILINE)
"""The name of an exception in the section "Raises" of a docstring."""
LINK_TARGET = re.compile(r"\]\([^)]*\)")
COMMENT = re.compile(r"(?:^|\s)#(?!!)\s?(?P<text>.*)$")
FEWEST_WORDS = 3


class Finding(NamedTuple):
    """One place to rewrite."""

    path: str
    line: int
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.advice}"


def files() -> Iterator[Path]:
    """All files with text of the project."""
    for pattern in CHECKED:
        yield from sorted(path for path in CHECKOUT.glob(pattern) if path.is_file())


def is_still_to_do(path: Path) -> bool:
    """Whether a file may still have findings."""
    return str(path.relative_to(CHECKOUT)) in STILL_TO_DO


def findings_in(path: Path) -> list[Finding]:
    """Check one file."""
    text = path.read_text(encoding="utf-8")
    prose = {".md": prose_of_markdown, ".py": prose_of_python}.get(path.suffix, prose_of_comments)(text)
    return list(findings(str(path.relative_to(CHECKOUT)), prose))


def findings(name: str, prose: str) -> Iterator[Finding]:
    """Check prose whose lines have the numbers of the file."""
    for pattern, advice in AVOID.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", prose, re.IGNORECASE):
            yield Finding(name, prose.count("\n", 0, match.start()) + 1, f"avoid {match[0]!r}: {advice}")
    registry = CheckRegistry()
    if not registry.checks:
        registry.register_many(proselint_checks.__register__)
    checks = {check: wanted and not check.startswith(UNCHECKED) for check, wanted in DEFAULT["checks"].items()}
    for result in LintFile(name, prose or " ").lint({"max_errors": 100, "checks": checks}):
        yield Finding(name, result.pos[0], result.check_result.message)


def prose_of_markdown(text: str) -> str:
    """Blank out code, targets of links, and comments; end headings like sentences."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if fenced or line.startswith(("```", "<!--", "    ")):
            lines.append("")
        elif line.startswith("#"):
            lines.append(f"{line.lstrip('# ')}.")
        else:
            lines.append(line)
    return LINK_TARGET.sub("]", CODE_SPAN.sub("Code", "\n".join(lines)))


def prose_of_python(text: str) -> str:
    """Keep docstrings, comments, and strings of several words, each on its line; leave out regular expressions."""
    lines = [""] * (text.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] += token.string.lstrip("#! ")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_prose(node.value):
            for number, line in enumerate(node.value.splitlines(), start=node.lineno - 1):
                if number < len(lines):
                    lines[number] += f" {line}"
    return RAISED.sub("Code", CODE_SPAN.sub("Code", "\n".join(lines)))


def is_prose(text: str) -> bool:
    """Whether a string has several words, and is no regular expression."""
    return len(text.split()) >= FEWEST_WORDS and "|" not in text


def prose_of_comments(text: str) -> str:
    """Keep the comments of a file with # comments."""
    found = (COMMENT.search(line) for line in text.splitlines())
    return CODE_SPAN.sub("Code", "\n".join(match["text"] if match else "" for match in found))


def main() -> int:
    """Print all findings in files that are not still to be rewritten."""
    found = [finding for path in files() if not is_still_to_do(path) for finding in findings_in(path)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
