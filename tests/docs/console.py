"""The terminal sessions in a document: commands, their output, and the comparison with real output.

A fenced block ```` ```console ```` holds commands, each after `$ ` (further lines of a command after `> `), and below each
command its output. A line `…` stands for any lines. Every digit is compared, except those that VARYING marks. Words after
`console` mark a whole block:

* `first-terminal`: the command keeps running while others are typed in the second terminal; a later block of this kind
  without a command shows further output, and `^C` in it is Ctrl-C;
* `live`: the numbers depend on the moment; only their places are compared.
"""

from __future__ import annotations

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
        (r"http://127\.0\.0\.1:\d+/\?token=\S+", "PAGE"),
        (r"[\d.,]+ s\b", "N s"),
        (r"[\d.,]+ (steps|samples|messages)/s", r"N \1/s"),
        (r"^(steps/s|samples/s|messages) +[\d.,]+", r"\1 N"),
        (r"^((?:input|hidden\d*|output)\.\d+ +\d+ +\w+ +\S+ +)\d+ +[\d.,]+ *$", r"\1 PROCESS N"),
        (r"[\d.,]+ (kB|MB)$", "N bytes"),
        (r"^pass +[\d,]+, with", "pass N, with"),
        (r"goes on after step [\d,]+", "goes on after step N"),
        (r": step [\d,]+ of", ": step N of"),
        (r"\d\.\de[-+]\d\d \(.*?\)", "TINY (WHERE)"),
        (r"neuron \S+ were no longer finite", "neuron NAME were no longer finite"),
    )
)
"""Parts of a line that differ from run to run: names made of dates, addresses of pages, times, speeds, process ids, tiny differences."""

SHA256 = re.compile(r"^[0-9a-f]{64}$")
LIVE_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(\.\d+)?(e[-+−]\d+)?(?![\w.]*\w)")
PROCESS = re.compile(r"^((?:input|hidden\d*|output)\.\d+) +\d+ +\w+ +\S+ +(?P<process>\d+) +[\d.,]+ *$")


@dataclass(frozen=True)
class Command:
    """One command of a document; with an empty `text`, more output of the command in the first terminal."""

    line: int
    text: str
    shown: tuple[str, ...]
    words: frozenset[str]

    @property
    def name(self) -> str:
        """The first line of the command."""
        return self.text.partition("\n")[0]


def commands_of(document: Path) -> Iterator[Command]:
    """Read all commands of a document, in order."""
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
    """Compares output with a document, and remembers which real process ids and digests belong to those in the document."""

    processes: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def end_of(self, command: Command, lines: list[str], start: int = 0) -> int | None:
        """Find the output that the command shows in `lines`; return the index after it, or None."""
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
    """Split the lines at each `…`, which becomes None."""
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
    """Whether two lines are the same, except for blanks and for the parts that vary."""
    theirs, ours = (_masked(text, live).split() for text in (shown, line))
    return len(theirs) == len(ours) and all(_same_word(a, b) for a, b in zip(theirs, ours, strict=True))


def _masked(line: str, live: bool) -> str:
    for pattern, replacement in VARYING:
        line = pattern.sub(replacement, line)
    return LIVE_NUMBER.sub("N", line) if live else line


def _same_word(shown: str, word: str) -> bool:
    # Another type of CPU gives other last bits, and so another digest; _remember compares equal digests of one document.
    return shown == word or bool(SHA256.match(shown) and SHA256.match(word))
