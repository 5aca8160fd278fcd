"""One neuron program: arithmetic, messages, state machine and ZeroMQ shell. Depends on pyzmq, msgpack and numpy only."""

import os

# One BLAS thread, set before NumPy is imported: another count gives other bits, and 86 programs would fight for the cores.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_variable, "1")

__version__ = "0.2.0"
