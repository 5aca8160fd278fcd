"""The comparison of the neuron programs with a textbook implementation."""

__all__ = ["textbook"]
