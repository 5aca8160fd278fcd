"""The fingerprint of a host's arithmetic: two programs with the same fingerprint compute the same bits.

NumPy's exp and BLAS differ between CPU types and versions, so a run does not mix fingerprints unless the user allows it.
"""

from __future__ import annotations

import hashlib
import math
import platform

import numpy as np


def fingerprint() -> str:
    """Return one line with NumPy's version, the type of CPU, and a digest of results.

    The digest covers exp, tanh and matrix products in NumPy, exp and tanh in `math`, and a running sum.
    """
    numbers = np.linspace(-8.0, 8.0, 4096).reshape(64, 64)
    plain = numbers.ravel().tolist()
    sums, total = list[float](), 0.1
    for number in plain:
        total += number
        sums.append(total)
    results = (
        np.exp(numbers),
        np.tanh(numbers),
        numbers @ numbers[::-1].copy(),
        numbers[:7] @ numbers.T,
        np.array([[math.exp(number), math.tanh(number)] for number in plain]),
        np.array(sums),
    )
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(result).tobytes() for result in results)).hexdigest()
    return f"numpy {np.__version__} {platform.machine()} {digest[:16]}"
