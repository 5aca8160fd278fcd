"""Check an encoder that is written in any language: `python -m tests.vectors COMMAND [ARGUMENT]…`.

The command gets one JSON object per line on its standard input, and answers each with one line on its standard output.
docs/protocol.md, "Checking another implementation", is the contract.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.vectors import vectors

SECONDS = 60
SHOWN_AT_MOST = 10


def questions() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What a command is asked, and the answer that is right."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for entry in vectors("data"):
        fields = {key: value for key, value in entry.items() if key != "frame"}
        found.append(({"do": "encode", "fields": fields}, {"frame": entry["frame"]}))
        found.append(({"do": "decode", "frame": entry["frame"]}, {"fields": fields}))
    found += [
        ({"do": "split", "message": entry["message"]}, {key: entry[key] for key in ("address", "frames")})
        for entry in vectors("messages")
    ]
    found += [
        ({"do": "decode", "frame": entry["frame"]}, {"reason": entry["reason"]})
        for entry in vectors("malformed")
        if entry["is"] == "data"
    ]
    return found


def same(answer: Any, right: dict[str, Any]) -> bool:
    """Whether an answer is right: 1 is as good as 1.0 in the numbers, and 0.0 is not -0.0."""
    try:
        if "fields" in answer:
            values = [[float(number) for number in row] for row in answer["fields"]["values"]]
            answer = {"fields": {**answer["fields"], "values": values}}
        return json.dumps(answer, sort_keys=True) == json.dumps(right, sort_keys=True)
    except (TypeError, ValueError, LookupError):
        return False


def check(command: Sequence[str]) -> list[str]:
    """One line for each wrong answer. Raises `OSError` if there is no such program."""
    asked = questions()
    lines = "".join(json.dumps(question) + "\n" for question, _ in asked)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        return [f"the command ended with {done.returncode}: {done.stderr.strip()[-200:]}"]
    answers = done.stdout.splitlines()
    if len(answers) != len(asked):
        return [f"{len(answers)} lines came, {len(asked)} were asked for"]
    wrong = []
    for number, ((question, right), line) in enumerate(zip(asked, answers, strict=True), 1):
        try:
            answer = json.loads(line)
        except ValueError:
            answer = line
        if not same(answer, right):
            wrong.append(f"line {number}: {json.dumps(question)}\n  right: {json.dumps(right)}\n  got:   {line}")
    return wrong


def main(arguments: list[str]) -> int:
    """Exit codes: 0 all right, 1 a wrong answer, 2 wrong usage."""
    if not arguments:
        print("usage: python -m tests.vectors COMMAND [ARGUMENT]…", file=sys.stderr)
        return 2
    try:
        wrong = check(arguments)
    except OSError as fault:
        print(f"can't start {arguments[0]!r}: {fault.strerror}", file=sys.stderr)
        return 2
    except subprocess.TimeoutExpired:
        wrong = [f"no end after {SECONDS} seconds"]
    for line in wrong[:SHOWN_AT_MOST]:
        print(line)
    print(f"{len(wrong)} wrong of {len(questions())}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
