"""The calculations in a text: `EXPRESSION = RESULT` with plain numbers, as in `4.9237 × 0.9787 = 4.8189`.

A text shows rounded numbers. A number with a decimal point stands for all numbers that are rounded to it, so an expression has a
least and a greatest value. A result is right if it can be the rounded value of such an expression. Whole numbers are exact.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

NUMBER = r"[−-]?\d+(?:\.\d+)?(?:e[−+]\d+)?"
EXPRESSION = re.compile(rf"(?:(?:logistic|tanh|relu)?\(|\)|[−+×/]|{NUMBER}|\s)++$")
SIGNALS = re.compile(rf"signals?: (.*); sum = ({NUMBER})$")
"""The first step of a neuron, with the senders of its signals."""
RESULT = re.compile(rf"\s*({NUMBER})(?![\d×])")
CALCULATES = re.compile(r"[\d)]\s+[−+×/]\s+[−(\d]|logistic|tanh|relu")
"""An operator between two numbers, or a function."""


def _logistic(total: float) -> float:
    return 1.0 / (1.0 + math.exp(-total))


GROWING: dict[str, Callable[[float], float]] = {
    "logistic": _logistic,
    "tanh": math.tanh,
    "relu": lambda total: max(total, 0.0),
}
"""Functions whose value grows with their argument."""


class Range(NamedTuple):
    """All numbers from `low` to `high`."""

    low: float
    high: float


class Formula(NamedTuple):
    """An expression and the result that a text gives for it."""

    expression: str
    result: str

    @property
    def right(self) -> bool:
        """Whether the result can be the rounded value of the expression."""
        value, result = _value_of(self.expression), _rounded(_plain(self.result))
        return value.low <= result.high and result.low <= value.high


def formulas_in(text: str) -> Iterator[Formula]:
    """Find all calculations in a text. A calculation stands in one line, and may have several steps: a × b = c × d = e."""
    for line in text.splitlines():
        if (added := SIGNALS.search(line)) and " more;" not in line:
            signals = [signal.partition(" from ")[0] for signal in added[1].split(", ")]
            yield Formula(" + ".join(signals), added[2])
        for before, after in pairwise(line.split(" = ")):
            expression, result = EXPRESSION.search(before), RESULT.match(after)
            if result is None or expression is None:
                continue
            worked_out = _balanced(expression[0].strip())
            if CALCULATES.search(worked_out):
                yield Formula(worked_out, result[1])


def _balanced(expression: str) -> str:
    """Leave out what stands before an unmatched bracket, which belongs to the sentence."""
    depth = 0
    for place in range(len(expression) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(expression[place], 0)
        if depth < 0:
            return expression[place + 1 :].strip()
    return expression


def _plain(text: str) -> str:
    return text.replace("−", "-").replace("×", "*")


def _rounded(number: str) -> Range:
    """Return the numbers that are rounded to this one."""
    mantissa, _, power = number.partition("e")
    half = 0.5 * 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2])) if "." in mantissa else 0.0
    return Range(float(number) - half, float(number) + half)


def _value_of(expression: str) -> Range:
    text = _plain(expression)
    return _evaluate(ast.parse(text, mode="eval").body, text)


def _evaluate(node: ast.expr, text: str) -> Range:
    match node:
        case ast.Constant():
            return _rounded(ast.get_source_segment(text, node) or "")
        case ast.UnaryOp(ast.USub(), operand):
            low, high = _evaluate(operand, text)
            return Range(-high, -low)
        case ast.BinOp(left, operator, right):
            return _combined(operator, _evaluate(left, text), _evaluate(right, text))
        case ast.Call(ast.Name(name), [argument]):
            return Range(*map(GROWING[name], _evaluate(argument, text)))
    raise AssertionError(f"no calculation: {text}")


def _combined(operator: ast.operator, left: Range, right: Range) -> Range:
    pairs = [(one, other) for one in left for other in right]
    match operator:
        case ast.Add():
            values = [one + other for one, other in pairs]
        case ast.Sub():
            values = [one - other for one, other in pairs]
        case ast.Mult():
            values = [one * other for one, other in pairs]
        case ast.Div():
            values = [one / other for one, other in pairs]
        case _:
            raise AssertionError(f"no calculation with {operator}")
    return Range(min(values), max(values))
