"""The coordinator: topology, data, schedule, snapshots and command line. It never computes a neuron's arithmetic."""

# First of all, so that what it sets for NumPy's libraries holds here too.
import neuron_node  # noqa: F401
