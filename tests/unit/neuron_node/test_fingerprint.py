"""The fingerprint of the arithmetic: it changes with everything that changes bits."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuron_node import fingerprint as module
from neuron_node.fingerprint import fingerprint
from neuron_node.protocol import Register
from neuron_node.schema import Text


def test_fingerprint_stays_the_same_on_one_host() -> None:
    """Two programs with the same fingerprint may work together; it says the version of NumPy and the machine."""
    first = fingerprint()
    assert first == fingerprint() and np.__version__ in first
    bound = Text(512)
    assert bound.check(first) == first and "fingerprint" in Register._fields


def ulp(value: Any) -> Any:
    """The next number."""
    return np.nextafter(value, np.inf)


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_fingerprint_covers_the_functions_of_plain_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of `math.exp` or `math.tanh`: another fingerprint."""
    before, real = fingerprint(), getattr(math, name)
    functions = {"exp": math.exp, "tanh": math.tanh}
    functions[name] = lambda number: float(ulp(real(number)))
    monkeypatch.setattr(module, "math", SimpleNamespace(**functions))
    assert fingerprint() != before


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_fingerprint_covers_the_functions_of_arrays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of NumPy's."""
    before, real = fingerprint(), getattr(np, name)
    monkeypatch.setattr(np, name, lambda array: ulp(real(array)))
    assert fingerprint() != before


class Compensating(float):
    """A number whose sum with another is rounded in another way."""

    def __radd__(self, other: float) -> float:
        return float(ulp(other + float(self)))


def test_fingerprint_covers_addition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that are added up one by one, not with `sum`, which compensates in some versions of Python."""
    before, real = fingerprint(), np.linspace

    class Numbers(np.ndarray):
        def tolist(self) -> Any:
            return [Compensating(number) for number in super().tolist()]

    monkeypatch.setattr(np, "linspace", lambda *bounds: real(*bounds).view(Numbers))
    assert fingerprint() != before
