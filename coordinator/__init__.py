"""The coordinator: it assigns neurons to nodes, sends the samples, and keeps snapshots. It computes no neuron itself.

Its command line, files and protocol are public and documented. Its modules are internal: their names may change.
"""

# Import it before NumPy: it sets the number of threads of the libraries of NumPy.
import neuron_node  # noqa: F401
