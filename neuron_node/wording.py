"""The nine steps of a neuron in words, with the numbers in the formulas.

Every view of the steps uses these words: `coordinator trace`, the page, and `neuron-node --demo`. The numbers of a neuron come as
plain data: `coordinator.trace.numbers` makes them from the reports of a network, `one_neuron` from a neuron in a terminal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

PLACES = 4
"""Digits after the decimal point, and the least number of significant digits."""
MORE_AT_MOST = 12
SMALLEST_PLAIN = 1e-4
LARGEST_PLAIN = 1e9
EVERY_STEP = range(1, 10)
TERMS_AT_MOST = 3
"""The most terms of a sum, or synapses of a neuron, that are shown unless all are wanted."""
COORDINATOR = "the coordinator"
"""The usual sender of inputs and targets, and receiver of outputs."""

SOURCES = {
    "squared_error": "(activity − target) × slope",
    "cross_entropy": "activity − target",
}
"""The formula of an output neuron's own error for each loss."""
SLOPES = {
    "logistic": "{a} × (1 − {a})",
    "tanh": "1 − {a} × {a}",
    "relu": "1 if {a} > 0, else 0",
    "identity": "1",
}
"""The slope of each activation, as a function of the activity."""


class Line(NamedTuple):
    """One line of a trace: the neuron, the number of the step, and the formula with its numbers."""

    neuron: str
    step: int
    text: str


def shown(number: float, more: int = 0) -> str:
    """Format a number for a formula, with four decimals or four significant digits; whole numbers have none.

    `more` digits are added.
    """
    size = abs(number)
    if size < LARGEST_PLAIN and number == int(number):
        return str(int(number)).replace("-", "−")
    if not SMALLEST_PLAIN <= size < LARGEST_PLAIN:
        return f"{number:.{PLACES - 1 + more}e}".replace("-", "−")
    places = PLACES + more + max(0, -1 - math.floor(math.log10(size)))
    return f"{number:.{places}f}".replace("-", "−")


def shown_apart(before: float, after: float) -> tuple[str, str]:
    """Format two numbers with so many digits that they differ."""
    change = abs(after - before)
    more = min(MORE_AT_MOST, max(0, math.ceil(-math.log10(change)) - PLACES)) if change and math.isfinite(change) else 0
    return shown(before, more), shown(after, more)


def steps_of(
    facts: Mapping[str, Any],
    row: int = 0,
    *,
    every_synapse: bool = False,
    steps: Iterable[int] = EVERY_STEP,
    outside: str = COORDINATOR,
) -> list[Line]:
    """Return the lines of the nine steps of one neuron for one row of the pass; of some steps only, if `steps` names them.

    `outside` names the sender of inputs and targets. Steps 1 to 4 need no numbers of the way back.
    """
    made = Steps(facts, row, None if every_synapse else TERMS_AT_MOST, outside)
    written = (made.receive, made.activity, made.fire, made.send, made.errors, made.own_error, made.reply, made.gradients,
               made.update)  # fmt: skip
    return [Line(facts["neuron"], number, text) for number in steps for text in written[number - 1]()]


def direction(gradient: float, what: str, samples: str = "these rows") -> str:
    """Return the sentence that says why a weight or a bias grew, fell or stayed."""
    if gradient == 0:
        return f"A gradient of 0 means that the {what} did not matter for {samples}, so it stays."
    sign, larger, done = ("negative", "lower", "grew") if gradient < 0 else ("positive", "raise", "fell")
    return f"The gradient is {sign}: a larger {what} would {larger} the loss, so the {what} {done}."


class Steps:
    """Writes each of the nine steps of one neuron."""

    def __init__(self, facts: Mapping[str, Any], row: int, most: int | None, outside: str) -> None:
        """`most` is the largest number of terms or synapses to write; None writes all. `outside` names the coordinator."""
        self._facts, self._row, self._most = facts, row, most
        self._axon: Sequence[Mapping[str, Any]] = facts["axon"]
        self._outside = outside
        self._is_output = facts["kind"] == "output"
        self._a = self._of("activity")

    def receive(self) -> list[str]:
        """Step 1: the signals and their senders."""
        signals = self._facts["signals"]
        texts = [f"{shown(signal['signal'][self._row])} from {signal['from']}" for signal in self._some(signals)]
        word = "input" if self._facts["kind"] == "input" else "signals" if len(signals) > 1 else "signal"
        return [f"{word}: {', '.join(texts)}{self._rest(signals)}; sum = {self._of('sum')}"]

    def activity(self) -> list[str]:
        """Step 2: the activity."""
        if self._facts.get("silent"):
            return [f"activity = {self._a}: the neuron is silent"]
        total = f"{self._of('sum')} + {shown(self._facts['bias'])}"
        name = self._facts["activation"]
        formula = total if name == "identity" else f"{name}({total})"
        return [f"activity = {formula} = {self._a}"]

    def fire(self) -> list[str]:
        """Step 3: the signals at the synapses."""
        if self._is_output:
            return [f"no synapses: the activity {self._a} is an output of the network"]
        lines = []
        for synapse in self._some(self._axon):
            product = f"{shown(synapse['weight'])} × {self._a}"
            if synapse["signal"] is None:
                lines.append(f"part of the signal to {synapse['to']} = weight × activity = {product}")
            else:
                lines.append(
                    f"signal to {synapse['to']} = weight × activity = {product} = {shown(synapse['signal'][self._row])}"
                )
        return [*lines, *self._others(self._axon)]

    def send(self) -> list[str]:
        """Step 4: the receivers."""
        if self._is_output:
            return [f"sends {self._a} to {self._outside}"]
        first, last = self._axon[0]["to"], self._axon[-1]["to"]
        if len(self._axon) == 1:
            return [f"sends the signal to {first}"]
        return [f"sends {len(self._axon):,} signals, to {first} … {last}"]

    def errors(self) -> list[str]:
        """Step 5: the errors of the receivers, or the target."""
        if self._is_output:
            return [f"target: {self._of('target')} from {self._outside}"]
        texts = [f"{shown(synapse['error'][self._row])} from {synapse['to']}" for synapse in self._some(self._axon)]
        word = "errors" if len(self._axon) > 1 else "error"
        return [f"{word}: {', '.join(texts)}{self._rest(self._axon)}"]

    def own_error(self) -> list[str]:
        """Step 6: the own error."""
        if self._facts.get("silent"):
            return [f"own error = {self._of('error')}: the activity of a silent neuron is constant"]
        slope = SLOPES[self._facts["activation"]].format(a=self._a)
        slopes = [f"slope = {slope}" if slope == self._of("slope") else f"slope = {slope} = {self._of('slope')}"]
        if self._is_output:
            difference = f"{self._a} − {_bracketed(self._of('target'))}"
            source = SOURCES[self._facts["loss"]]
            if self._facts["loss"] == "cross_entropy":
                return [f"own error = {source} = {difference} = {self._of('error')}"]
            product = f"({difference}) × {self._of('slope')}"
            return [*slopes, f"own error = {source} = {product} = {self._of('error')}"]
        some = [
            f"{shown(synapse['weight'])} × {shown(synapse['error'][self._row])}" for synapse in self._some(self._axon)
        ]
        more = len(self._axon) - len(some)
        total = " + ".join([*some, *([f"{more:,} more"] if more else [])])
        return [
            f"sum of weight × error = {total} = {self._of('error_sum')}",
            *slopes,
            f"own error = {self._of('error_sum')} × {self._of('slope')} = {self._of('error')}",
        ]

    def reply(self) -> list[str]:
        """Step 7: the receivers of the own error."""
        signals = self._facts["signals"]
        if self._facts["kind"] == "input":
            if self._facts["bias_learned"]:
                return [f"sends {self._of('error')} to {self._outside}"]
            return ["has no neuron to send its error to; reports that it is done"]
        if len(signals) == 1:
            return [f"sends {self._of('error')} back to {signals[0]['from']}"]
        return [
            f"sends {self._of('error')} back to all {len(signals):,} senders, {signals[0]['from']} … {signals[-1]['from']}"
        ]

    def gradients(self) -> list[str]:
        """Step 8: the gradients."""
        lines = []
        if len(self._facts["activity"]) == 1:
            lines = [
                f"gradient to {synapse['to']} = error × activity = "
                f"{shown(synapse['error'][0])} × {self._a} = {shown(synapse['gradient'])}"
                for synapse in self._some(self._axon)
            ]
        else:
            rows = len(self._facts["activity"])
            lines = [
                f"gradient to {synapse['to']} = mean of error × activity over {rows:,} rows = {shown(synapse['gradient'])}"
                for synapse in self._some(self._axon)
            ]
        bias = (
            "gradient of the bias = own error"
            if len(self._facts["activity"]) == 1
            else "gradient of the bias = mean of the own errors"
        )
        ours = [f"{bias} = {shown(self._facts['bias_gradient'])}"] if self._facts["bias_learned"] else []
        return [*lines, *self._others(self._axon), *(ours or ([] if lines else ["nothing to learn"]))]

    def update(self) -> list[str]:
        """Step 9: the values before and after."""
        rate = shown(self._facts["learning_rate"])

        def change(name: str, before: float, gradient: float, after: float) -> str:
            return f"{name} = {shown(before)} − {rate} × {shown(gradient)} = {shown(after)}"

        lines = [
            change(f"weight to {synapse['to']}", synapse["weight"], synapse["gradient"], synapse["after"])
            for synapse in self._some(self._axon)
        ]
        ours = []
        if self._facts["bias_learned"]:
            ours = [change("bias", self._facts["bias"], self._facts["bias_gradient"], self._facts["bias_after"])]
        return [*lines, *self._others(self._axon), *(ours or ([] if lines else ["nothing changes"]))]

    def _of(self, name: str) -> str:
        return shown(self._facts[name][self._row])

    def _some(self, items: Sequence[Any]) -> Sequence[Any]:
        return items if self._most is None or len(items) <= self._most + 1 else items[: self._most]

    def _rest(self, items: Sequence[Any]) -> str:
        more = len(items) - len(self._some(items))
        return f" and {more:,} more" if more else ""

    def _others(self, items: Sequence[Any]) -> list[str]:
        more = len(items) - len(self._some(items))
        return [f"… and {more:,} more synapses"] if more else []


def _bracketed(number: str) -> str:
    """Put a negative number in brackets after a minus sign."""
    return f"({number})" if number.startswith("−") else number
