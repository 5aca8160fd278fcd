"""What a document shows of a terminal: its commands, their output, and whether other output is the same.

A fenced block ```` ```console ```` holds commands, `$ ` before each (`> ` before what a command goes on with), and below each
its output. A line `…` stands for any lines. Words after `console` say what is special:

* `first-terminal`: the command runs on while others are typed elsewhere; a later block of the kind without a command
  shows how its output went on, and `^C` in it is Ctrl-C;
* `live`: the numbers depend on the moment; only where they stand is compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ELLIPSIS = "…"
FENCE = re.compile(r"^```console(?P<words>[ \w-]*)$")

VARYING = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\b\d{8}-\d{6}-([\w.]+?)(-\d+)?\b", r"DATE-\1"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "TIME"),
        (r"[\d.,]+ s\b", "N s"),
        (r"[\d.,]+ (steps|samples|messages)/s", r"N \1/s"),
        (r"^(steps/s|samples/s|messages) +[\d.,]+", r"\1 N"),
        (r"^((?:input|hidden\d*|output)\.\d+ +\d+ +\w+ +\S+ +)\d+ +[\d.,]+ *$", r"\1 PROCESS N"),
        (r"goes on after step \d+", "goes on after step N"),
        (r"\d\.\de[-+]\d\d \(.*?\)", "TINY (WHERE)"),
        (r"neuron \S+ were no longer finite at step \d+", "neuron NAME were no longer finite at step N"),
    )
)
"""What no two runs have in common: names made of dates, times, speeds, process numbers, rounding."""

SHA256 = re.compile(r"^[0-9a-f]{64}$")
NUMBER = re.compile(r"^[-+]?[\d,]*\.?\d+(e[-+]\d+)?$")
LIVE_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(\.\d+)?(?![\w.]*\w)")
PROCESS = re.compile(r"^((?:input|hidden\d*|output)\.\d+) +\d+ +\w+ +\S+ +(?P<process>\d+) +[\d.,]+ *$")


@dataclass(frozen=True)
class Command:
    """One command of a document, or (`text` empty) more output of the one in the first terminal."""

    line: int
    text: str
    shown: tuple[str, ...]
    words: frozenset[str]

    @property
    def name(self) -> str:
        """What stands after the prompt, without what it goes on with."""
        return self.text.partition("\n")[0]


def commands_of(document: Path) -> Iterator[Command]:
    """Every command of a document, in order."""
    block: list[tuple[int, str]] | None = None
    words: frozenset[str] = frozenset()
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        if block is None:
            if fence := FENCE.match(line):
                block, words = [], frozenset(fence["words"].split())
        elif line == "```":
            yield from _commands(block, words)
            block = None
        else:
            block.append((number, line))


def _commands(block: list[tuple[int, str]], words: frozenset[str]) -> Iterator[Command]:
    first, text, shown = block[0][0], "", list[str]()
    for number, line in block:
        if line.startswith("$ "):
            if text or shown:
                yield Command(first, text, tuple(shown), words)
            first, text, shown = number, line[2:], []
        elif line[:2] in ("> ", ">") and text and not shown:
            text += "\n" + line[2:]
        else:
            shown.append(line)
    yield Command(first, text, tuple(shown), words)


@dataclass
class Comparison:
    """Compares output with what a document shows, and remembers which names of the document stand for which real ones."""

    processes: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def end_of(self, command: Command, lines: list[str], start: int = 0) -> int | None:
        """The index after the part of `lines`, from `start`, that is what the command shows; None if it is not there."""
        live = "live" in command.words
        floating, at, pairs = False, start, list[tuple[str, str]]()
        for chunk in _chunks(command.shown):
            if chunk is None:
                floating = True
                continue
            places = range(at, len(lines) - len(chunk) + 1) if floating else range(at, at + 1)
            for place in places:
                part = lines[place : place + len(chunk)]
                if len(part) == len(chunk) and all(
                    same(shown, line, live) for shown, line in zip(chunk, part, strict=True)
                ):
                    break
            else:
                return None
            pairs += zip(chunk, part, strict=True)
            floating, at = False, place + len(chunk)
        for shown, line in pairs:
            self._remember(shown, line)
        return len(lines) if floating else at

    def _remember(self, shown: str, line: str) -> None:
        theirs, ours = PROCESS.match(shown), PROCESS.match(line)
        if theirs and ours:
            self.processes[theirs["process"]] = ours["process"]
        for word, real in zip(shown.split(), line.split(), strict=False):
            if SHA256.match(word):
                # The same digest twice in the document: the same digest twice in reality.
                assert self.digests.setdefault(word, real) == real, (
                    f"{word} stood for {self.digests[word]}, now for {real}"
                )


def _chunks(shown: tuple[str, ...]) -> Iterator[list[str] | None]:
    """Lines that follow each other, and None for each `…` between them."""
    chunk: list[str] = []
    for line in shown:
        if line.strip() == ELLIPSIS:
            if chunk:
                yield chunk
            chunk = []
            yield None
        else:
            chunk.append(line)
    if chunk:
        yield chunk


def same(shown: str, line: str, live: bool = False) -> bool:
    """Whether two lines say the same, but for what varies, for blanks, and for the last digits of numbers."""
    theirs, ours = (_masked(text, live).split() for text in (shown, line))
    return len(theirs) == len(ours) and all(_same_word(a, b) for a, b in zip(theirs, ours, strict=True))


def _masked(line: str, live: bool) -> str:
    for pattern, replacement in VARYING:
        line = pattern.sub(replacement, line)
    return LIVE_NUMBER.sub("N", line) if live else line


def _same_word(shown: str, word: str) -> bool:
    if shown == word or (SHA256.match(shown) and SHA256.match(word)):
        return True
    theirs, ours = shown.strip("();:,"), word.strip("();:,")
    if not (NUMBER.match(theirs) and NUMBER.match(ours)):
        return False
    # CPUs differ in the last bits, which training may carry into the first digits.
    a, b = float(theirs.replace(",", "")), float(ours.replace(",", ""))
    return math.isclose(a, b, rel_tol=0.05, abs_tol=0.002)
