"""The conversation of `neuron-node --demo`: a person types numbers, and sees the nine steps of one neuron. No input or output here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite

from neuron_node.errors import UserError
from neuron_node.one_neuron import OUTPUT, Facts, OneNeuron
from neuron_node.wording import Line, direction, shown, steps_of

PERSON, EXAMPLE = "you", "this example"
LARGEST = 1e6
"""The largest number that a person may type."""
LONGEST_LINE = 200
"""The most characters of a line."""
EXAMPLES_AT_MOST = 16
REPEATS_AT_MOST = 10_000

FORWARD = ((3,), (1, 2, 3, 4))
BACK = ((8, 9), (5, 6, 7, 8, 9))
"""The steps that are shown of the input neurons, which only hold the weights, and of the output neuron."""

SEPARATORS = re.compile(r"[\s,;]+")
AGAIN = re.compile(r"again(?:\s+(?P<times>\S+))?")


class Demo:
    """Asks for inputs and for the desired output in turn, and answers each line with lines of text.

    The last examples are remembered: their inputs, and the output that was desired last for these inputs.
    """

    def __init__(self, one: OneNeuron) -> None:
        self._one = one
        self._count = len(one.inputs)
        self._forward: list[Facts] | None = None
        self._inputs: tuple[float, ...] = ()
        self._examples: dict[tuple[float, ...], float] = {}

    @property
    def question(self) -> str:
        """What the next line should hold."""
        return "inputs: " if self._forward is None else "desired output: "

    def begin(self) -> list[str]:
        """Introduce the neuron."""
        return [
            f"One neuron, {OUTPUT}, and {self._count} input neuron{'s' if self._count > 1 else ''}. Each input neuron passes "
            "on a number that you type, times its weight.",
            *self._state(),
            f"Type {self._wanted()}. Then type the desired output, or press Enter for another example.",
            "Press Enter instead of inputs to repeat the last example, or type again 100 to learn all examples 100 times.",
            "Ctrl-D ends the demo.",
        ]

    def receive(self, line: str) -> list[str]:
        """Handle a line and return the answer.

        Raises:
            UserError: the line is not valid; the question is the same as before.
            DivergedError: the numbers of the neuron are no longer finite.
        """
        text = line.strip()
        if self._forward is not None:
            return self._desired(text) if text else self._another()
        if again := AGAIN.fullmatch(text):
            return self._again(again["times"] or "1")
        return self._given(text) if text else self._repeated()

    def _given(self, text: str) -> list[str]:
        numbers = [_number(word) for word in SEPARATORS.split(text) if word]
        if len(numbers) != self._count:
            word = "number" if len(numbers) == 1 else "numbers"
            raise UserError(f"{len(numbers)} {word} came; right would be {self._wanted()}")
        return self._fire(tuple(numbers))

    def _fire(self, inputs: tuple[float, ...]) -> list[str]:
        self._inputs, self._forward = inputs, self._one.forward(inputs)
        return ["", *self._lines(self._forward, FORWARD)]

    def _another(self) -> list[str]:
        self._forward = None
        return ["nothing was learned from this example"]

    def _desired(self, text: str) -> list[str]:
        words = [word for word in SEPARATORS.split(text) if word]
        if len(words) != 1:
            raise UserError(
                f"{len(words)} words came; right would be one number, such as 1, or Enter for another example"
            )
        target = _number(words[0])
        assert self._forward is not None
        self._examples.pop(self._inputs, None)
        self._examples[self._inputs] = target
        if len(self._examples) > EXAMPLES_AT_MOST:
            del self._examples[next(iter(self._examples))]
        return self._learn(self._forward, target)

    def _learn(self, forward: Sequence[Facts], target: float) -> list[str]:
        facts = self._one.learn(forward, target)
        self._forward = None
        before, [after] = facts[-1]["activity"][0], self._one.forward(self._inputs)[-1]["activity"]
        # The output neuron first: its error is the cause of all changes.
        lines = self._lines([facts[-1]], BACK[1:]) + self._lines(facts[:-1], BACK[:1])
        return [
            *lines,
            "",
            *_reasons(facts),
            f"The same inputs now give {shown(after)}. Before, they gave {shown(before)}; you want {shown(target)}.",
        ]

    def _repeated(self) -> list[str]:
        if not self._examples:
            raise UserError(f"there is no example to repeat; right would be {self._wanted()}")
        inputs, target = list(self._examples.items())[-1]
        lines = self._fire(inputs)
        assert self._forward is not None
        return lines + self._learn(self._forward, target)

    def _again(self, times: str) -> list[str]:
        if not (times.isascii() and times.isdecimal() and len(times) < 9 and 1 <= int(times) <= REPEATS_AT_MOST):
            raise UserError(
                f"again {quoted(times)} is no number of times from 1 to {REPEATS_AT_MOST:,}; right would be again 100"
            )
        if not self._examples:
            raise UserError(f"there is no example to repeat; right would be {self._wanted()}")
        for _ in range(int(times)):
            for inputs, target in self._examples.items():
                self._one.learn(self._one.forward(inputs), target)
        outputs = {inputs: self._one.forward(inputs)[-1]["activity"][0] for inputs in self._examples}
        return [
            *(
                f"{', '.join(map(shown, inputs))} gives {shown(outputs[inputs])}; you want {shown(target)}"
                for inputs, target in self._examples.items()
            ),
            *self._state(),
        ]

    def _state(self) -> list[str]:
        weights = ", ".join(
            f"{shown(weight)} from {member.role.names[0]}"
            for weight, member in zip(self._one.weights, self._one.inputs, strict=True)
        )
        return [f"weight{'s' if self._count > 1 else ''}: {weights}; bias: {shown(self._one.bias)}"]

    def _lines(self, facts: Sequence[Facts], steps: Sequence[Iterable[int]]) -> list[str]:
        """Write the lines of the neurons; the last of `steps` belongs to the output neuron."""
        chosen = {"input": steps[0], "output": steps[-1]}
        return [
            _written(line)
            for each in facts
            for line in steps_of(each, every_synapse=True, steps=chosen[each["kind"]], outside=self._one.outside)
        ]

    def _wanted(self) -> str:
        example = " ".join("01"[index % 2 == 0] for index in range(self._count))
        return f"{self._count} number{'s' if self._count > 1 else ''}, such as {example}"


def _written(line: Line) -> str:
    return f"{line.neuron:<8}  {line.step}  {line.text}"


def _reasons(facts: Sequence[Facts]) -> list[str]:
    """Say what the error means, and why each weight and the bias have changed."""
    error = facts[-1]["error"][0]
    loss = "stay as it is" if error == 0 else "fall" if error < 0 else "rise"
    return [
        f"error {shown(error)}: if the sum of {OUTPUT} grew a little, the loss would {loss}.",
        *(f"{each['neuron']}: {direction(each['axon'][0]['gradient'], 'weight', EXAMPLE)}" for each in facts[:-1]),
        f"bias: {direction(facts[-1]['bias_gradient'], 'bias', EXAMPLE)}",
    ]


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise UserError(f"{quoted(word)} is no number; right would be a number such as 1 or -0.5") from None
    if not isfinite(number) or abs(number) > LARGEST:
        raise UserError(f"{quoted(word)} is out of range; right would be a number from -1000000 to 1000000")
    return number


def quoted(word: str) -> str:
    """Quote the beginning of a word."""
    return repr(word if len(word) <= 20 else f"{word[:20]}…")
