"""The coordinator: topology, data, schedule, snapshots and command line. It never computes a neuron's arithmetic."""
