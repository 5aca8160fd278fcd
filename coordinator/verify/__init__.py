"""The comparison of the neuron programs with a textbook implementation."""
