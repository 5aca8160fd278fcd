"""One neuron program: arithmetic, messages, state machine and ZeroMQ shell. Depends on pyzmq, msgpack and numpy only."""

import os

# One BLAS thread, set before NumPy is imported: another count gives other bits, and 86 programs would fight for the cores.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_variable, "1")

__version__ = "0.2.0"

__all__ = ["__version__", "activations", "errors", "losses", "neuron", "protocol", "role"]
"""The public modules, which docs/reference/api.md describes. All other modules are internal and may change at any time."""
