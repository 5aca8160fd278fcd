"""The coordinator: it assigns neurons to nodes, sends the samples, and keeps snapshots. It computes no neuron itself.

Its users run the commands, read the files of runs, and may import the modules in `__all__`.
"""

# Import it before NumPy: it sets the number of threads of the libraries of NumPy.
import neuron_node  # noqa: F401

__all__ = ["client", "defaults", "schedule", "settings", "storage", "topology", "verify"]
"""The public modules, with those in `__all__` of storage and verify; docs/reference/api.md describes them. All others are internal."""
