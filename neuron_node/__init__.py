"""The neuron program: arithmetic, messages, state machine and ZeroMQ shell. Depends on pyzmq, msgpack and numpy only.

Where to look:

* `neuron.py`: the nine steps of one neuron. Read this first. `activations.py` and `losses.py` hold its functions.
* `group.py`: receives data frames, and runs the nine steps as soon as all frames are there. `inbox.py` stores the frames.
* `node.py`: handles control messages; the table `TRANSITIONS` says which message does what in which state.
* `protocol.py`: every control message. `frames.py`: the layout of data frames. `transport.py`: ZeroMQ.
"""

import os

# Use one BLAS thread: another number of threads gives other bits, and 86 programs would compete for the cores.
# NumPy reads these variables when it is imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_variable, "1")

__version__ = "0.2.0"

__all__ = ["__version__", "activations", "errors", "losses", "neuron", "protocol", "role"]
"""The public modules, which docs/reference/api.md describes. All other modules are internal and may change at any time."""
