"""Toy data sets with two inputs and two classes, made from a seed: `circle`, `spiral`, `gauss`, and `xor` with noise.

The numbers have the same bits on every machine. Random draws come from SHAKE-256, as the split's do, and the only operations
are +, -, *, / and rounding, which IEEE 754 defines to the last bit. The functions of a mathematical library, such as sin and
log, are not used: they differ between machines. All inputs are rounded to four decimals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coordinator.data.columns import TextCells
from coordinator.data.limits import sha256_of
from coordinator.data.splitting import keyed_order
from coordinator.data.table import Floats, Table, number_columns

MOST_NOISE = 0.5
PER_CLASS = 100
"""Rows of each class."""
DECIMALS = 4
CANDIDATES = 2_000
"""Points in the square from which the circle takes its rows: 390 are expected in the disc, 800 in the ring."""
DISC, RING_FROM, RING_TO = 0.5, 0.7, 1.0
"""The radius of the inner class, and those between which the outer class lies."""
GAUSS_CENTRE, GAUSS_SPREAD = 0.5, 0.2
"""The clouds lie around (-centre, -centre) and (centre, centre), with this standard deviation."""
ARM_POINTS = 1_000
"""Points of an arm of the spiral, one turn from the centre to radius 1; the seed picks `PER_CLASS` of them."""
ROTATION = (0.9999802608561371, 0.006283143965558951)
"""Cosine and sine of a thousandth of a turn."""
UNIFORMS_PER_NORMAL = 12
"""A sum of twelve uniform draws has the variance 1, and is almost normal."""

Points = tuple[Floats, NDArray[np.int64]]
"""Inputs (rows, 2), and the class of each row, 0 or 1."""


def circle(seed: int) -> Points:
    """Return points in a disc, and points in the ring around it."""
    square = 2.0 * _uniform(f"circle/{seed}", CANDIDATES, 2) - 1.0
    distance = square[:, 0] * square[:, 0] + square[:, 1] * square[:, 1]
    ring = (distance >= RING_FROM * RING_FROM) & (distance <= RING_TO * RING_TO)
    return _one_by_one(square[distance <= DISC * DISC][:PER_CLASS], square[ring][:PER_CLASS])


def spiral(seed: int) -> Points:
    """Return points on two arms that wind around each other."""
    cosine, sine = ROTATION
    x, y = 1.0, 0.0
    arm = np.empty((ARM_POINTS, 2))
    for number in range(ARM_POINTS):
        radius = (number + 1) / ARM_POINTS
        arm[number] = radius * x, radius * y
        x, y = cosine * x - sine * y, sine * x + cosine * y
    first, second = (keyed_order(ARM_POINTS, f"exmachina/toy/spiral/{seed}/{part}")[:PER_CLASS] for part in range(2))
    return _one_by_one(arm[first], -arm[second])


def gauss(seed: int) -> Points:
    """Return points of two round clouds."""
    clouds = GAUSS_SPREAD * _normal(f"gauss/{seed}", 2 * PER_CLASS)
    return _one_by_one(clouds[:PER_CLASS] - GAUSS_CENTRE, clouds[PER_CLASS:] + GAUSS_CENTRE)


def xor_points(_seed: int) -> Points:
    """Return each of the four rows of exclusive or equally often."""
    times = PER_CLASS // 2
    same, different = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    return _one_by_one(np.tile(same, (times, 1)), np.tile(different, (times, 1)))


MAKERS: dict[str, tuple[Callable[[int], Points], str, tuple[str, str], tuple[str, str]]] = {
    "circle": (circle, "place", ("inside", "outside"), ("x", "y")),
    "spiral": (spiral, "arm", ("first", "second"), ("x", "y")),
    "gauss": (gauss, "cloud", ("low", "high"), ("x", "y")),
    "xor": (xor_points, "a xor b", ("0", "1"), ("a", "b")),
}
"""The points, the name of the target, the classes, and the names of the inputs of each toy data set."""


def make_toy(name: str, *, seed: int, noise: float) -> Table:
    """Return a toy data set: both inputs of each point are moved by a normal draw, with `noise` as standard deviation."""
    points, target_name, classes, columns = MAKERS[name]
    inputs, labels = points(seed)
    if noise:
        inputs = inputs + noise * _normal(f"{name}/noise/{seed}", len(inputs))
    # Adding zero replaces -0.0, which rounding makes of small negative numbers.
    inputs = np.ascontiguousarray(np.round(inputs, DECIMALS) + 0.0)
    return Table(
        name=name,
        place=name,
        inputs=inputs,
        columns=number_columns(columns),
        target_name=target_name,
        targets=TextCells(classes, labels),
        sha256=sha256_of(name.encode(), inputs.astype("<f8").tobytes(), labels.astype("<i8").tobytes()),
        classes=classes,
        default_scaling="none",
        default_outputs=1,
    )


def _one_by_one(first: Floats, second: Floats) -> Points:
    """Return rows of both classes in turn."""
    inputs = np.stack([first, second], axis=1).reshape(-1, 2)
    return inputs, np.tile(np.arange(2, dtype=np.int64), len(first))


def _uniform(key: str, rows: int, columns: int) -> Floats:
    """Return draws (rows, columns) from [0, 1) that depend only on `key`."""
    content = hashlib.shake_256(f"exmachina/toy/{key}".encode()).digest(8 * rows * columns)
    draws = np.frombuffer(content, dtype="<u8").astype(np.uint64)
    # 53 bits are exact in a float.
    return ((draws >> np.uint64(11)).astype(np.float64) / 2.0**53).reshape(rows, columns)


def _normal(key: str, rows: int) -> Floats:
    """Return draws (rows, 2) that are almost normal, with mean 0 and standard deviation 1."""
    draws = _uniform(key, rows, 2 * UNIFORMS_PER_NORMAL)
    total = np.full((rows, 2), -UNIFORMS_PER_NORMAL / 2)
    for number in range(UNIFORMS_PER_NORMAL):
        # One by one: the order of the sum in NumPy depends on the machine.
        total = total + draws[:, 2 * number : 2 * number + 2]
    return total
